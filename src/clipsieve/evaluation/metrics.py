"""Metrics of a transfer matrix's cells, for many weightings of the images at once.

Each function takes weights [n, B]: column b holds how often each image counts in weighting b. One
column of ones gives the plain metric; the counts of B bootstrap resamples give all B replicates in
a few matrix products and cumulative sums, without a loop over resamples.

Labels are 0 = generated, 1 = real, and a logit above 0 says *real*. The positive class of
AUC, average precision and TPR is *generated*.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clipsieve.evaluation.metric_records import RECORDS, PerImage
from clipsieve.probes.scores import sigmoid

Floats = NDArray[np.floating]

METRICS = tuple(RECORDS)
FALSE_POSITIVE_RATES = tuple(
    metric.false_positive_rate
    for metric in RECORDS.values()
    if metric.false_positive_rate is not None
)
ECE_BINS = 15


# Metrics that are a mean over images, and what each image is given for them.
_MEANS = {
    name: (metric, metric.per_image)
    for name, metric in RECORDS.items()
    if metric.per_image is not None
}
_COMPUTED = {"ece", "auc", "average_precision"} | {
    f"tpr_at_fpr_{rate * 100:.0f}" for rate in FALSE_POSITIVE_RATES
}
if set(METRICS) != _MEANS.keys() | _COMPUTED:
    raise ImportError(
        f"metrics without a computation: {set(METRICS) ^ (_MEANS.keys() | _COMPUTED)}"
    )


@dataclass(frozen=True)
class SetSums:
    """Weighted sums over one image set, for P probes and B weightings.

    Attributes
    ----------
    of_images
        Weighted sum of what each image is given, [P, B], by the function that gives it.
    calibration
        Per bin of P(real), the weighted sum of P(real) minus label, [P, ECE_BINS, B].
    total
        Weight of the set, [B].
    """

    of_images: Mapping[PerImage, Floats]
    calibration: Floats
    total: Floats


def set_sums(logits: Floats, label: int, thresholds: Floats, weights: Floats) -> SetSums:
    """Sum over an image set what accuracies, losses and calibration need.

    Parameters
    ----------
    logits
        Of P probes on the n images of the set, shape [P, n].
    label
        Label of the set: 0 = generated, 1 = real.
    thresholds
        Logit threshold of each probe, fixed on val, shape [P].
    weights
        Shape [n, B].
    """
    dtype = weights.dtype
    probability = sigmoid(logits)
    bins = np.minimum((probability * ECE_BINS).astype(np.int64), ECE_BINS - 1)
    n_probes, n = logits.shape
    gaps = np.zeros((n_probes, ECE_BINS, n), dtype=dtype)
    np.put_along_axis(gaps, bins[:, None, :], (probability - label)[:, None, :].astype(dtype), 1)
    return SetSums(
        of_images={
            per_image: per_image(logits, label, thresholds[:, None]).astype(dtype) @ weights
            for per_image in dict.fromkeys(function for _, function in _MEANS.values())
        },
        calibration=(gaps.reshape(-1, n) @ weights).reshape(n_probes, ECE_BINS, -1),
        total=weights.sum(axis=0),
    )


def threshold_metrics(real: SetSums, generated: SetSums) -> dict[str, Floats]:
    """Combine the sums of a real and a generated set into the metrics that need no ranking.

    Returns
    -------
    dict
        ``ece`` and every metric that is a mean over images (`metric_records`), each [P, B].

    Notes
    -----
    The expected calibration error is the weighted mean over 15 equally wide bins of P(real) of
    ``|mean P(real) - share of real images|``; for two classes it is the same for P(generated).
    """
    total = real.total + generated.total
    by_class = {"real": real, "generated": generated}
    found: dict[str, Floats] = {
        "ece": np.abs(real.calibration + generated.calibration).sum(axis=1) / total
    }
    for name, (metric, per_image) in _MEANS.items():
        if metric.pooled == "images":
            found[name] = (real.of_images[per_image] + generated.of_images[per_image]) / total
        else:
            sides = [by_class[side] for side in metric.classes]
            means = [side.of_images[per_image] / side.total for side in sides]
            found[name] = np.sum(means, axis=0) / len(means)
    return found


@dataclass(frozen=True)
class RankedReals:
    """The real images of a source, ranked by one probe; shared by every generator of the source.

    Attributes
    ----------
    scores
        How generated each real image looks (minus the logit), ascending, [n].
    cumulative
        Weight of the first k images, k = 0 .. n, shape [n + 1, B].
    beyond
        For each false positive rate, the number of images that lie below the lowest threshold that
        keeps to the rate, [len(FALSE_POSITIVE_RATES), B].
    """

    scores: Floats
    cumulative: Floats
    beyond: NDArray[np.int64]


def rank_reals(logits: Floats, weights: Floats) -> RankedReals:
    """Rank real images (logits [n], weights [n, B]) for `ranking_metrics`."""
    order = np.argsort(-logits, kind="stable")
    scores = -logits[order]
    cumulative = _cumulative(weights[order])
    total = cumulative[-1]
    # cumulative sums of fractional weights are rounded; the slack is far below one image
    slack = total * (2e-6 if weights.dtype == np.float32 else 1e-12)
    # below a threshold at rank m lie m images; tied images are on one side together
    block_end = np.r_[0, np.searchsorted(scores, scores, side="right")]
    beyond = np.empty((len(FALSE_POSITIVE_RATES), weights.shape[1]), dtype=np.int64)
    for k, rate in enumerate(FALSE_POSITIVE_RATES):
        beyond[k] = block_end[(cumulative < (1 - rate) * total - slack).sum(axis=0)]
    return RankedReals(scores, cumulative, beyond)


def ranking_metrics(reals: RankedReals, logits: Floats, weights: Floats) -> dict[str, Floats]:
    """Metrics of the ranking of one generator's images among the reals.

    Parameters
    ----------
    reals
        The real images under the same probe and weightings.
    logits
        Of the generator's images, shape [n].
    weights
        Shape [n, B].

    Returns
    -------
    dict
        ``auc``, ``average_precision``, ``tpr_at_fpr_1``, ``tpr_at_fpr_5``, each [B]. Ties count
        half in the AUC and share one threshold elsewhere, as in scikit-learn. TPR at a rate is that
        of the lowest threshold whose false positive rate does not exceed it.
    """
    order = np.argsort(logits, kind="stable")
    scores = -logits[order]
    weights = weights[order]
    caught = _cumulative(weights)
    total, total_real = caught[-1], reals.cumulative[-1]
    below = np.searchsorted(reals.scores, scores, side="left")
    at_or_below = np.searchsorted(reals.scores, scores, side="right")
    cleared = reals.cumulative[below]
    won = np.einsum("kb,kb->b", weights, cleared)
    tied = below != at_or_below
    if tied.any():
        extra = reals.cumulative[at_or_below[tied]] - cleared[tied]
        won = won + np.einsum("kb,kb->b", weights[tied], extra) / 2
    # at a threshold on image k, images tied with it are caught too
    last = np.searchsorted(-scores, -scores, side="right")
    true_positives = caught[1:] if (np.diff(scores) < 0).all() else caught[last]
    flagged = np.subtract(total_real, cleared, out=cleared)
    flagged += true_positives
    with np.errstate(invalid="ignore", divide="ignore"):
        # no weight at all at or above a threshold: then none of its terms count either
        precision = np.divide(true_positives, flagged, out=flagged)
        np.nan_to_num(precision, copy=False, nan=0.0)
        result = {
            "auc": won / (total * total_real),
            "average_precision": np.einsum("kb,kb->b", weights, precision) / total,
        }
        above = np.r_[len(scores), np.searchsorted(-scores, -reals.scores, side="left")]
        columns = np.arange(weights.shape[1])
        for rate, beyond in zip(FALSE_POSITIVE_RATES, reals.beyond, strict=True):
            result[f"tpr_at_fpr_{rate * 100:.0f}"] = caught[above[beyond], columns] / total
    return result


def cell_metrics(
    logits: Floats,
    labels: NDArray[np.integer],
    *,
    threshold: float = 0.0,
    weights: Floats | None = None,
) -> dict[str, Floats]:
    """All metrics of one cell.

    Parameters
    ----------
    logits
        Shape [n]; large = real.
    labels
        Shape [n]; 0 = generated, 1 = real. Both must occur.
    threshold
        Logit threshold for ``accuracy_at_val_threshold``.
    weights
        Shape [n, B]; one column of ones by default.

    Returns
    -------
    dict
        Metric name (`METRICS`) -> values [B].
    """
    logits = np.asarray(logits, dtype=np.float64)
    labels = np.asarray(labels)
    w = np.ones((len(logits), 1)) if weights is None else weights
    limit = np.array([threshold], dtype=np.float64)
    is_real = labels == 1
    real = set_sums(logits[None, is_real], 1, limit, w[is_real])
    generated = set_sums(logits[None, ~is_real], 0, limit, w[~is_real])
    found = {name: value[0] for name, value in threshold_metrics(real, generated).items()}
    ranked = rank_reals(logits[is_real], w[is_real])
    found |= ranking_metrics(ranked, logits[~is_real], w[~is_real])
    return {name: found[name] for name in METRICS}


def _cumulative(weights: Floats) -> Floats:
    """Cumulative sums down the rows, with a first row of zeros."""
    result = np.zeros((len(weights) + 1, weights.shape[1]), dtype=weights.dtype)
    np.cumsum(weights, axis=0, out=result[1:])
    return result
