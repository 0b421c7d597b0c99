"""Transfer along a component search: probes on what is left after some removals, on test images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clipsieve.evaluation.metrics import cell_metrics
from clipsieve.probes.newton import minimise

Floats = NDArray[np.floating]

#: Metrics that are kept.
ALONG = ("accuracy", "auc")


@dataclass(frozen=True)
class Sides:
    """Rows of one generator and of its source's real images.

    Attributes
    ----------
    train, test
        Embeddings [n, D]: train and val images, and test images.
    train_label, test_label
        int64 [n], 0 = generated, 1 = real.
    """

    train: Floats
    train_label: NDArray[np.int64]
    test: Floats
    test_label: NDArray[np.int64]


def sizes_of(columns: int, count: int, stops: Sequence[int] = ()) -> list[int]:
    """Return after how many removals probes are fitted.

    Parameters
    ----------
    columns
        Number of columns at the start.
    count
        How many sizes, evenly spaced on a logarithmic scale from all columns to one.
    stops
        Numbers of removals that are taken as well, such as where a search would stop.

    Examples
    --------
    >>> sizes_of(64, 4, stops=[50])
    [0, 48, 50, 60, 63]
    """
    left = np.rint(np.geomspace(columns, 1, count)).astype(int)
    return sorted({*(columns - left).tolist(), *(s for s in stops if 0 <= s < columns)})


def transfer_along(
    sides: Mapping[str, Sides], removed: Sequence[int], steps: Sequence[int], *, C: float = 1.0
) -> Floats:
    """Fit a probe of each generator on what is left after each number of removals, and apply it to all.

    Parameters
    ----------
    sides
        Rows by generator, those of the search left out.
    removed
        Columns in the order of their removal, [D - 1].
    steps
        Numbers of removals.
    C
        Inverse strength of the L2 penalty: that of the search. No intercept, as in the search.

    Returns
    -------
    float64 [steps, metrics, train, test]
        Values of `ALONG`.
    """
    names = list(sides)
    found = np.empty((len(steps), len(ALONG), len(names), len(names)))
    for k, step in enumerate(steps):
        gone = np.asarray(removed[:step], dtype=np.int64)
        for i, train in enumerate(names):
            one = sides[train]
            left = np.setdiff1d(np.arange(one.train.shape[1]), gone)
            X = one.train[:, left].astype(np.float64)
            signed = np.where(one.train_label[:, None] == 1, X, -X)
            w, _ = minimise(signed, np.full(len(left), 1 / C))
            for t, test in enumerate(names):
                other = sides[test]
                values = cell_metrics(other.test[:, left] @ w, other.test_label)
                found[k, :, i, t] = [values[name][0] for name in ALONG]
    return found
