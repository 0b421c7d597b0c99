"""Selected feature sets against controls, and the optimism of the search that selected them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


def rank_among(
    value: float, draws: NDArray[np.float64], *, less: bool = False
) -> tuple[int, float]:
    """Rank of a value among the draws of a control, and its permutation p value.

    Parameters
    ----------
    value
        Of the selected set.
    draws
        Of each draw of the control.
    less
        Whether less is better.

    Returns
    -------
    rank, p
        rank = 1 + number of draws that are at least as good; p = rank / (1 + number of draws). If
        the selection is not better than a random one, p is at most u with probability at most u.
    """
    at_least = int((draws <= value).sum() if less else (draws >= value).sum())
    return 1 + at_least, (1 + at_least) / (1 + len(draws))


@dataclass(frozen=True)
class SearchResult:
    """What a search says of itself, for one direction of its pair.

    Attributes
    ----------
    initial
        Score with every column.
    best
        Score with the columns it kept.
    metric
        Name of the score (`accuracy`, `auc`).
    """

    initial: float
    best: float
    metric: str


def optimism(
    searches: tuple[SearchResult, SearchResult],
    rest: float,
    baseline_rest: float,
    *,
    pair_test: float = float("nan"),
    baseline_pair_test: float = float("nan"),
) -> dict[str, float]:
    """Hold the gain on the pair that was searched against the gain on all other generators.

    Parameters
    ----------
    searches
        Both directions of the pair.
    rest, baseline_rest
        Mean score of the selected set and of the baseline over the other generators' cells.
    pair_test, baseline_pair_test
        Mean score of both on the pair's own test images, from one generator of the pair to the
        other; NaN where the selected set was not tested on them.

    Returns
    -------
    dict
        Columns of docs/formats.md; ``optimism`` is the gain on the pair minus the gain on the rest.
        It is the sum of two: ``winners_curse``, the gain on the images that the search saw minus the
        gain on new images of the same pair, and ``shift``, the gain on these minus the gain on
        other generators.
    """
    on_test = pair_test - baseline_pair_test
    on_pair = (searches[0].best + searches[1].best) / 2
    baseline = (searches[0].initial + searches[1].initial) / 2
    return {
        "score_on_search_pair": on_pair,
        "score_on_the_rest": rest,
        "baseline_on_search_pair": baseline,
        "baseline_on_the_rest": baseline_rest,
        "score_on_pair_test": pair_test,
        "baseline_on_pair_test": baseline_pair_test,
        "optimism": (on_pair - baseline) - (rest - baseline_rest),
        "winners_curse": (on_pair - baseline) - on_test,
        "shift": on_test - (rest - baseline_rest),
    }
