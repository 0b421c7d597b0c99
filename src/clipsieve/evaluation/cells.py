"""The table of cells: every metric of every cell with its interval and counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clipsieve.evaluation.bootstrap import Interval, centred, degrees_of_freedom
from clipsieve.evaluation.intervals import metric_intervals
from clipsieve.evaluation.matrix import Layout, Matrix
from clipsieve.evaluation.metrics import METRICS
from clipsieve.training import ONE

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.floating]

#: Stands for the family of a training set.
SEVERAL = "several"


def cell_table(
    matrix: Matrix,
    layout: Layout,
    families: Mapping[str, str],
    *,
    confidence: float = 0.95,
    method: Interval = "studentized",
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

    def of_row(train: str) -> str:
        return families[train] if matrix.training == ONE else SEVERAL

    return pd.DataFrame(
        {
            "feature_set": np.full(size, matrix.feature_set, dtype=object),
            "draw": np.full(size, matrix.draw, dtype=np.int32),
            "train": names(matrix.train, 1),
            "test": names(matrix.test, 2),
            "train_family": names([of_row(name) for name in matrix.train], 1),
            "test_family": names([families[name] for name in matrix.test], 2),
            "metric": names(list(METRICS), 0),
            "value": matrix.values.ravel(),
            "low": low.ravel(),
            "high": high.ravel(),
            "n": by_test([a + b for a, b in zip(reals, generated, strict=True)]),
            "n_real": by_test(reals),
            "n_generated": by_test(generated),
            "groups": by_test(groups),
            "training": np.full(size, matrix.training, dtype=object),
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
            test, source = matrix.test[at], layout.source[matrix.test[at]]
            both = layout.groups_of(test, source)
            low[:, :, at], high[:, :, at] = metric_intervals(
                matrix.values[:, :, at],
                matrix.replicates[:, :, at],
                {
                    "real": len(layout.groups_of(source)),
                    "real_of_a_source": len(layout.groups_of(source)),
                    "generated": len(layout.groups_of(test)),
                    "both": len(both),
                },
                confidence=confidence,
                method=method,
                influence=part[:, :, j],
                freedom=degrees_of_freedom(layout.strata, both),
            )
    return low, high
