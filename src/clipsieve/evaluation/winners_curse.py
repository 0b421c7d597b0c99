"""The optimism of component searches: the gain on the searched pair beside that on new generators."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from clipsieve import families
from clipsieve.evaluation.comparisons import Comparer
from clipsieve.evaluation.matrix import Matrix, layout_of, transfer_matrix
from clipsieve.evaluation.means import Means
from clipsieve.evaluation.metric_records import RECORDS
from clipsieve.evaluation.metrics import METRICS
from clipsieve.evaluation.ranks import SearchResult, optimism
from clipsieve.io.scores import AllScores

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger("clipsieve")

OPTIMISM_COLUMNS = [
    *("feature_set", "score_on_search_pair", "score_on_the_rest", "baseline_on_search_pair"),
    *("baseline_on_the_rest", "score_on_pair_test", "baseline_on_pair_test", "optimism"),
    *("winners_curse", "shift", "gain_on_the_rest_low", "gain_on_the_rest_high"),
    *("n_cells", "metric"),
]


def own_pair_matrices(scores: AllScores | None) -> dict[str, Matrix]:
    """Work out the cells of selected sets on the pairs that they were selected on; one draw each."""
    if scores is None:
        return {}
    layout = layout_of(scores.images, resamples=1, seed=0)
    return {one.feature_set: transfer_matrix(one, layout, replicate=False) for one in scores.scores}


def optimism_table(
    comparer: Comparer,
    by_set: Mapping[str, Sequence[Means]],
    baseline_of: Callable[[str], Means | None],
    baselines: Mapping[str, Matrix],
    searches: Mapping[str, SearchResult],
    own_pair: Mapping[str, Matrix],
) -> pd.DataFrame:
    """Hold each searched set's gain on its pair against its gain on all other generators.

    Parameters
    ----------
    comparer
        Of intervals.
    by_set
        Means of each feature set and draw; the first group of cells is all off the diagonal.
    baseline_of
        Gives the means of a set's baseline over the same cells.
    baselines
        Whole matrices of the baselines.
    searches
        Result of each searched direction, ``a--b``, where the selection stopped it.
    own_pair
        Cells of selected sets on their own pairs (`own_pair_matrices`).
    """
    import pandas as pd

    rows = []
    for name, mine in by_set.items():
        record, pair = families.of(name), families.pair_of(name)
        if not (record.selects and "searches" in record.reads):
            continue
        there, back = searches.get(pair), searches.get(families.reverse(pair))
        if there is None or back is None:
            continue
        baseline = baseline_of(name)
        if baseline is None:
            continue
        if there.metric not in METRICS:
            log.info("optimism: %s was searched by %s, no metric", pair, there.metric)
            continue
        m = METRICS.index(there.metric)
        base = baselines[baseline.matrix.feature_set]
        # a search maximises: of a metric of which less is better, it reports the negative
        sign = 1 if RECORDS[there.metric].higher_is_better else -1
        found = optimism(
            (there, back),
            sign * mine[0].values[m, 0],
            sign * baseline.values[m, 0],
            pair_test=sign * _across(own_pair.get(name), pair, m),
            baseline_pair_test=sign * _across(base, pair, m),
        )
        ends = comparer.difference_interval(mine[0], baseline, there.metric)
        low, high = sorted(sign * end for end in ends)
        rows.append(
            {
                "feature_set": name,
                **found,
                "gain_on_the_rest_low": low,
                "gain_on_the_rest_high": high,
                "n_cells": len(mine[0].cells[0]),
                "metric": there.metric,
            }
        )
    return pd.DataFrame(rows, columns=OPTIMISM_COLUMNS)


def _across(matrix: Matrix | None, pair: str, m: int) -> float:
    """Mean of a metric over both cells of a pair ``a--b``; NaN where one of them is not there."""
    first, second = families.generators_of(pair)
    values = []
    for train, test in ((first, second), (second, first)):
        if matrix is None or train not in matrix.train or test not in matrix.test:
            return float("nan")
        values.append(matrix.values[m, matrix.train.index(train), matrix.test.index(test)])
    return float(np.mean(values))
