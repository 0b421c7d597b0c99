"""Which interval suits which metric: the rules behind every `low` and `high`.

Measured in docs/method/statistics.md: coverage over simulated data sets with a known truth.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from clipsieve.evaluation.bootstrap import Interval, exact_bound, interval
from clipsieve.evaluation.metric_records import RECORDS, Metric

Array = NDArray[np.floating]

# At a fixed rate of false positives the metric depends on a quantile of few real images: its
# replicates are too lumpy for a standard deviation or an acceleration. Where fewer than two false
# positives are allowed, they say nothing at all.
_ALLOWED = 2


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
    ``studentized`` intervals of shares and of the Brier score are made on the scale of
    log(x / (1 - x)), so they stay between 0 and 1 and lengthen to the middle; those of the log-loss
    on the scale of log(x); that of the average precision takes the spread from the influence where
    it is larger. TPR at a fixed FPR has percentiles always, and no interval (NaN) where fewer than
    two of a source's real images may be false positives; nor has a metric of a class with one
    group. The calibration error of a sample errs upwards, by about as much as its
    replicates do again: its interval reaches from two such biases below what the spread gives up to
    what the spread gives.
    """
    low, high = np.empty(values.shape), np.empty(values.shape)
    for m, metric in enumerate(RECORDS.values()):
        part = None if influence is None or not metric.has_influence else influence[m]
        chosen: Interval = method if metric.has_influence else "percentile"
        if metric.errs_upwards:
            chosen = "studentized"
        low[m], high[m] = interval(
            values[m],
            replicates[m],
            confidence=confidence,
            method=chosen,
            influence=part,
            freedom=freedom,
            logit=metric.scale == "logit",
            least_spread=_least_spread(metric, part, freedom),
        )
        if metric.scale == "log" and chosen == "studentized":
            low[m], high[m] = _on_log_scale(values[m], high[m] - values[m])
        if metric.errs_upwards:
            bias = np.maximum(replicates[m].mean(axis=-1, dtype=np.float64) - values[m], 0)
            low[m] = np.clip(low[m] - 2 * bias, metric.range[0], values[m])
            high[m] = np.minimum(high[m], metric.range[1])
    _bound_shares(values, low, high, groups, confidence)
    for m in too_few(groups):
        low[m] = high[m] = np.nan
    return low, high


def too_few(groups: Mapping[str, int]) -> list[int]:
    """Positions in `METRICS` of those that these numbers of groups say nothing of."""

    def is_one(metric: Metric) -> bool:
        rate = metric.false_positive_rate
        if rate is not None and groups["real_of_a_source"] * rate < _ALLOWED:
            return True
        # of one group nothing tells the spread
        return min(groups[side] for side in metric.classes) < 2

    return [m for m, metric in enumerate(RECORDS.values()) if is_one(metric)]


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
    for m, metric in enumerate(RECORDS.values()):
        part = None if influence is None or not metric.has_influence else influence[m]
        low[m], high[m] = interval(
            differences[m],
            replicates[m],
            confidence=confidence,
            method=method if metric.has_influence and not metric.errs_upwards else "percentile",
            influence=part,
            freedom=freedom,
            least_spread=_least_spread(metric, part, freedom),
        )
    return low, high


def _on_log_scale(values: Array, reach: Array) -> tuple[Array, Array]:
    """Lay the reach of an interval around positive values off on the scale of their logarithm."""
    steps = reach / np.maximum(values, np.finfo(float).tiny)
    with np.errstate(over="ignore"):
        return values * np.exp(-steps), values * np.exp(steps)


def _least_spread(metric: Metric, influence: Array | None, freedom: int | None) -> Array | None:
    """Standard deviation by the influence where repeated images tie; None for other metrics.

    An image that is drawn twice ties with itself, which makes replicates of the average precision
    too much alike: by a tenth with 30 groups, by a thirtieth with 300.
    """
    if not metric.repeats_tie or influence is None or freedom is None:
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
    for m, metric in enumerate(RECORDS.values()):
        if metric.witnesses is None:
            continue
        # A share that is 0 or 1 in every image is 0 or 1 in every resample; how many groups said so
        # bounds it. An AUC of 1 is a share too: of pairs of one real and one generated group.
        certain = (values[m] < 1e-9) | (values[m] > 1 - 1e-9)
        bounds = exact_bound(values[m], witnesses[metric.witnesses], confidence)
        low[m] = np.where(certain, np.fmin(bounds[0], low[m]), low[m])
        high[m] = np.where(certain, np.fmax(bounds[1], high[m]), high[m])
        if metric.witnesses in ("both", "fewer"):
            made = ~certain & (high[m] - low[m] < 1e-6)
            wrong = exact_bound(np.zeros_like(values[m]), fewer, confidence)[1]
            low[m] = np.where(made, values[m] * (1 - wrong), low[m])
            high[m] = np.where(made, values[m] + (1 - values[m]) * wrong, high[m])
