"""Which interval suits which metric: the rules behind every `low` and `high`.

Measured in docs/method/statistics.md: coverage over simulated data sets with a known truth.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from clipsieve.evaluation.bootstrap import Interval, exact_bound, interval
from clipsieve.evaluation.metrics import METRICS

Array = NDArray[np.floating]

# At a fixed rate of false positives the metric depends on a quantile of few real images: its
# replicates are too lumpy for a standard deviation or an acceleration. Where fewer than two false
# positives are allowed, they say nothing at all.
_RATES = {"tpr_at_fpr_1": 0.01, "tpr_at_fpr_5": 0.05}
_ALLOWED = 2

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

# Classes whose images a metric is made of, where not both; of one group nothing tells the spread.
_CLASSES = {"accuracy_real": ("real",), "accuracy_generated": ("generated",)}


def metric_intervals(
    values: Array,
    replicates: NDArray[np.floating],
    groups: Mapping[str, int],
    *,
    confidence: float = 0.95,
    method: Interval = "studentized",
    influence: Array | None = None,
    freedom: int | None = None,
) -> tuple[Array, Array]:
    """Intervals of every metric, of cells or means of cells.

    Parameters
    ----------
    values
        In the order of `METRICS`, shape [M, ...].
    replicates
        Shape [M, ..., B].
    groups
        Number of groups with real images (``real``), with generated ones (``generated``), with any
        (``both``), and with real images of the source that has fewest (``real_of_a_source``).
    confidence, method, influence, freedom
        As in `bootstrap.interval`.

    Returns
    -------
    low, high
        Shape [M, ...].

    Notes
    -----
    ``studentized`` intervals of shares are made on the scale of log(x / (1 - x)), so they stay
    between 0 and 1 and lengthen to the middle; that of the average precision takes the spread from
    the influence where it is larger. TPR at a fixed FPR has percentiles always, and no interval
    (NaN) where fewer than two of a source's real images may be false positives; nor has a metric of a
    class with one group. The calibration error of a sample errs upwards, by about as much as its
    replicates do again: its interval reaches from two such biases below what the spread gives up to
    what the spread gives.
    """
    low, high = np.empty(values.shape), np.empty(values.shape)
    for m, metric in enumerate(METRICS):
        lumpy = metric in _RATES
        part = None if influence is None or lumpy else influence[m]
        low[m], high[m] = interval(
            values[m],
            replicates[m],
            confidence=confidence,
            method="percentile" if lumpy else "studentized" if metric == "ece" else method,
            influence=part,
            freedom=freedom,
            logit=metric != "ece",
            least_spread=_least_spread(metric, part, freedom),
        )
        if metric == "ece":
            bias = np.maximum(replicates[m].mean(axis=-1, dtype=np.float64) - values[m], 0)
            low[m] = np.clip(low[m] - 2 * bias, 0, values[m])
            high[m] = np.minimum(high[m], 1)
    _bound_shares(values, low, high, groups, confidence)
    for m in too_few(groups):
        low[m] = high[m] = np.nan
    return low, high


def too_few(groups: Mapping[str, int]) -> list[int]:
    """Positions in `METRICS` of those that these numbers of groups say nothing of."""
    return [
        m
        for m, metric in enumerate(METRICS)
        if groups["real_of_a_source"] * _RATES.get(metric, np.inf) < _ALLOWED
        or min(groups[name] for name in _CLASSES.get(metric, ("real", "generated"))) < 2
    ]


def difference_intervals(
    differences: Array,
    replicates: NDArray[np.floating],
    *,
    confidence: float = 0.95,
    method: Interval = "studentized",
    influence: Array | None = None,
    freedom: int | None = None,
) -> tuple[Array, Array]:
    """Intervals of paired differences of every metric; shapes as in `metric_intervals`."""
    low, high = np.empty(differences.shape), np.empty(differences.shape)
    for m, metric in enumerate(METRICS):
        lumpy = metric in _RATES
        part = None if influence is None or lumpy else influence[m]
        low[m], high[m] = interval(
            differences[m],
            replicates[m],
            confidence=confidence,
            method="percentile" if lumpy or metric == "ece" else method,
            influence=part,
            freedom=freedom,
            least_spread=_least_spread(metric, part, freedom),
        )
    return low, high


def _least_spread(metric: str, influence: Array | None, freedom: int | None) -> Array | None:
    """Standard deviation of the average precision by its influence; None for other metrics.

    An image that is drawn twice ties with itself, which makes replicates of the average precision
    too much alike: by a tenth with 30 groups, by a thirtieth with 300.
    """
    if metric != "average_precision" or influence is None or freedom is None:
        return None
    spread: Array = np.sqrt((influence**2).sum(axis=-1) * (freedom + 1) / freedom)
    return spread


def _bound_shares(
    values: Array, low: Array, high: Array, groups: Mapping[str, int], confidence: float
) -> None:
    """Widen, in place, the empty intervals of shares that are exactly 0 or 1, or made of such.

    Where every image of one class is judged right and every one of the other wrong, no resample of
    an accuracy over both differs either: both shares then have their bounds.
    """
    fewer = min(groups["real"], groups["generated"])
    witnesses = {**groups, "fewer": fewer, "pairs": max(1, fewer // 2)}
    for m, metric in enumerate(METRICS):
        if metric not in _WITNESSES:
            continue
        certain = (values[m] < 1e-9) | (values[m] > 1 - 1e-9)
        bounds = exact_bound(values[m], witnesses[_WITNESSES[metric]], confidence)
        low[m] = np.where(certain, np.fmin(bounds[0], low[m]), low[m])
        high[m] = np.where(certain, np.fmax(bounds[1], high[m]), high[m])
        if _WITNESSES[metric] in ("both", "fewer"):
            made = ~certain & (high[m] - low[m] < 1e-6)
            wrong = exact_bound(np.zeros_like(values[m]), fewer, confidence)[1]
            low[m] = np.where(made, values[m] * (1 - wrong), low[m])
            high[m] = np.where(made, values[m] + (1 - values[m]) * wrong, high[m])
