"""The table of cells: every metric of every cell with its interval and counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clipsieve.evaluation.bootstrap import (
    Interval,
    centred,
    degrees_of_freedom,
    exact_bound,
    interval,
)
from clipsieve.evaluation.matrix import Layout, Matrix
from clipsieve.evaluation.metrics import METRICS

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.floating]


def cell_table(
    matrix: Matrix,
    layout: Layout,
    families: Mapping[str, str],
    *,
    confidence: float = 0.95,
    method: Interval = "percentile",
) -> pd.DataFrame:
    """Write a matrix as rows: the columns of docs/formats.md but for run, encoder and seed.

    Parameters
    ----------
    matrix
        Metrics of every cell; without replicates, the intervals are null.
    layout
        Of the test images.
    families
        Family of each generator.
    confidence, method
        Of the intervals.
    """
    import pandas as pd

    n_metrics, n_train, n_test = matrix.values.shape
    low, high = cell_intervals(matrix, layout, confidence=confidence, method=method)
    reals = [len(layout.columns[layout.source[name]]) for name in matrix.test]
    generated = [len(layout.columns[name]) for name in matrix.test]
    groups = [len(layout.groups_of(name, layout.source[name])) for name in matrix.test]
    size = n_metrics * n_train * n_test

    def by_test(values: list[int]) -> NDArray[np.int64]:
        return np.tile(np.array(values, dtype=np.int64), n_metrics * n_train)

    def names(values: list[str], axis: int) -> NDArray[np.object_]:
        shape = [1, 1, 1]
        shape[axis] = len(values)
        column = np.array(values, dtype=object).reshape(shape)
        return np.broadcast_to(column, matrix.values.shape).ravel()

    return pd.DataFrame(
        {
            "feature_set": np.full(size, matrix.feature_set, dtype=object),
            "draw": np.full(size, matrix.draw, dtype=np.int32),
            "train": names(matrix.train, 1),
            "test": names(matrix.test, 2),
            "train_family": names([families[name] for name in matrix.train], 1),
            "test_family": names([families[name] for name in matrix.test], 2),
            "metric": names(list(METRICS), 0),
            "value": matrix.values.ravel(),
            "low": low.ravel(),
            "high": high.ravel(),
            "n": by_test([a + b for a, b in zip(reals, generated, strict=True)]),
            "n_real": by_test(reals),
            "n_generated": by_test(generated),
            "groups": by_test(groups),
        }
    )


def cell_intervals(
    matrix: Matrix, layout: Layout, *, confidence: float, method: Interval
) -> tuple[Array, Array]:
    """Intervals of every metric and cell: low and high, [M, P, J]; NaN without replicates."""
    low = np.full(matrix.values.shape, np.nan)
    high = low.copy()
    if matrix.replicates is None:
        return low, high
    for groups, own, influence in matrix.influence:
        full = np.zeros((*influence.shape[:3], layout.n_groups))
        full[..., groups] = influence
        part = centred(full, layout.strata)[..., groups]
        for j, at in enumerate(own):
            mine = layout.groups_of(matrix.test[at], layout.source[matrix.test[at]])
            low[:, :, at], high[:, :, at] = interval(
                matrix.values[:, :, at],
                matrix.replicates[:, :, at],
                confidence=confidence,
                method=method,
                influence=part[:, :, j],
                freedom=degrees_of_freedom(layout.strata, mine),
            )
    for at, test in enumerate(matrix.test):
        real = len(layout.groups_of(layout.source[test]))
        generated = len(layout.groups_of(test))
        both = len(layout.groups_of(test, layout.source[test]))
        bound_shares(
            matrix.values[:, :, at],
            low[:, :, at],
            high[:, :, at],
            {"real": real, "generated": generated, "both": both},
            confidence,
        )
    return low, high


# A share that is 0 or 1 in every image is 0 or 1 in every resample; how many groups said so bounds
# it. An AUC of 1 is a share too: of groups taken in pairs, one real and one generated image each.
_WITNESSES = {
    "accuracy": "both",
    "accuracy_at_val_threshold": "both",
    "balanced_accuracy": "fewer",
    "accuracy_real": "real",
    "accuracy_generated": "generated",
    "auc": "pairs",
    "average_precision": "pairs",
    "tpr_at_fpr_1": "generated",
    "tpr_at_fpr_5": "generated",
}


def bound_shares(
    values: Array, low: Array, high: Array, groups: Mapping[str, int], confidence: float
) -> None:
    """Replace, in place, the empty intervals of shares that are exactly 0 or 1.

    Parameters
    ----------
    values, low, high
        Shape [M, ...].
    groups
        Number of groups with real images (``real``), with generated ones, and with any (``both``).
    confidence
        Coverage.
    """
    fewer = min(groups["real"], groups["generated"])
    witnesses = {**groups, "fewer": fewer, "pairs": max(1, fewer // 2)}
    for m, metric in enumerate(METRICS):
        if metric not in _WITNESSES:
            continue
        certain = (values[m] == 0) | (values[m] == 1)
        bounds = exact_bound(values[m], witnesses[_WITNESSES[metric]], confidence)
        low[m] = np.where(certain, np.fmin(bounds[0], low[m]), low[m])
        high[m] = np.where(certain, np.fmax(bounds[1], high[m]), high[m])
