"""Which feature set is better over generators: average ranks, Friedman's test, Nemenyi's distance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clipsieve import families
from clipsieve.evaluation.means import Means
from clipsieve.evaluation.metric_records import RECORDS
from clipsieve.evaluation.metrics import METRICS

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.floating]

EVERY_PAIR = "every pair"
COLUMNS = (
    *("comparison", "feature_set", "metric", "average_rank", "sets", "generators", "n_cells"),
    *("friedman", "friedman_p", "critical_difference", "best_told_apart"),
)


@dataclass(frozen=True)
class Ranking:
    """Average ranks of k methods over N blocks.

    Attributes
    ----------
    average
        Average rank of each method, 1 is best, float64 [k].
    statistic, p
        Friedman's chi-square, corrected for ties, and its p value; NaN for fewer than three methods
        or two blocks, or where every block is tied throughout.
    critical_difference
        Two methods whose average ranks are at least this far apart differ (Nemenyi).
    """

    average: Array
    statistic: float
    p: float
    critical_difference: float


def rank_methods(values: Array, *, less: bool = False, alpha: float = 0.05) -> Ranking:
    """Rank methods in each block and compare their average ranks.

    Parameters
    ----------
    values
        Shape [N, k]: N blocks (test generators), k methods (feature sets). Ties share a rank.
    less
        Whether less is better.
    alpha
        Level of the critical difference.

    Returns
    -------
    Ranking
        After Demsar (2006): critical difference q(alpha, k) sqrt(k (k + 1) / (6 N)), q the
        studentised range at infinitely many degrees of freedom over the root of 2.

    Examples
    --------
    >>> ranking = rank_methods(np.array([[0.9, 0.8], [0.7, 0.6], [0.8, 0.5]]))
    >>> ranking.average.tolist()
    [1.0, 2.0]
    """
    from scipy.stats import friedmanchisquare, rankdata, studentized_range

    blocks, k = values.shape
    # what differs only by rounding is tied
    ranks = rankdata(np.round(values if less else -values, 12), axis=1)
    statistic = p = float("nan")
    if k >= 3 and blocks >= 2 and (ranks != ranks[:, :1]).any():
        found = friedmanchisquare(*ranks.T)
        statistic, p = float(found.statistic), float(found.pvalue)
    distance = float("nan")
    if k >= 2:
        q = float(studentized_range.ppf(1 - alpha, k, np.inf)) / np.sqrt(2)
        distance = q * float(np.sqrt(k * (k + 1) / (6 * blocks)))
    return Ranking(ranks.mean(axis=0), statistic, p, distance)


def ranking_table(by_set: Mapping[str, Sequence[Means]]) -> pd.DataFrame:
    """Rank feature sets over test generators on the cells that all compared sets have.

    Parameters
    ----------
    by_set
        Means of each feature set and draw; the first group of cells is all off the diagonal. A
        control drawn many times enters with the average of its draws.

    Returns
    -------
    DataFrame
        One row per comparison, metric and feature set. A comparison is a search pair (both orders
        together): what was selected on it and its controls, beside the sets that were selected on
        no pair; or ``every pair``: all sets, over the generators that no pair took.
        ``best_told_apart``: whether the set with the best average rank is better by the critical
        difference.
    """
    import pandas as pd

    pairs: dict[frozenset[str], str] = {}
    free: list[str] = []
    members: dict[str, list[str]] = {}
    for name in by_set:
        pair = families.pair_of(name)
        if not pair:
            free.append(name)
            continue
        label = pairs.setdefault(families.unordered(pair), pair)
        members.setdefault(label, []).append(name)
    comparisons = {label: [*free, *own] for label, own in members.items()}
    if len(members) != 1:
        comparisons[EVERY_PAIR] = list(by_set)
    rows: list[dict[str, Any]] = []
    for label, names in comparisons.items():
        rows += _rows(label, names, by_set)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _rows(
    label: str, names: Sequence[str], by_set: Mapping[str, Sequence[Means]]
) -> list[dict[str, Any]]:
    if len(names) < 2:
        return []
    cells = sorted(frozenset.intersection(*(by_set[name][0].cells[0] for name in names)))
    tested = sorted({test for _, test in cells})
    if len(tested) < 2:
        return []
    columns = {test: [k for k, cell in enumerate(cells) if cell[1] == test] for test in tested}
    values = np.stack([_by_test(by_set[name], cells, columns) for name in names], axis=-1)
    rows = []
    for m, metric in enumerate(METRICS):
        if not np.isfinite(values[m]).all():
            continue
        found = rank_methods(values[m], less=not RECORDS[metric].higher_is_better)
        best = found.average.min()
        for name, average in zip(names, found.average, strict=True):
            rows.append(
                {
                    "comparison": label,
                    "feature_set": name,
                    "metric": metric,
                    "average_rank": average,
                    "sets": len(names),
                    "generators": len(tested),
                    "n_cells": len(cells),
                    "friedman": found.statistic,
                    "friedman_p": found.p,
                    "critical_difference": found.critical_difference,
                    "best_told_apart": bool(average - best >= found.critical_difference),
                }
            )
    return rows


def _by_test(
    draws: Sequence[Means], cells: Sequence[tuple[str, str]], columns: Mapping[str, list[int]]
) -> Array:
    """Mean over draws and the cells of each test generator, [M, T]."""
    matrix = draws[0].matrix
    rows = [matrix.train.index(train) for train, _ in cells]
    tests = [matrix.test.index(test) for _, test in cells]
    mean = np.mean([one.matrix.values[:, rows, tests] for one in draws], axis=0)
    return np.stack([mean[:, at].mean(axis=1) for at in columns.values()], axis=1)
