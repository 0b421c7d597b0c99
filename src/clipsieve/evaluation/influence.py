"""How much each image moves a metric: the derivative of a cell's metrics by the image's weight.

The derivatives are exact, so one pass over the sorted scores replaces a leave-one-out loop. Summed
over the images of a group they give the acceleration of BCa intervals and what a sign-flip test
permutes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clipsieve.evaluation.metric_records import RECORDS, Metric, PerImage
from clipsieve.evaluation.metrics import ECE_BINS
from clipsieve.probes.scores import sigmoid

Array = NDArray[np.float64]


def cell_influence(real: Array, generated: Array, threshold: float) -> tuple[Array, Array]:
    """Derivatives of every metric by the weight of every image, at equal weights of 1.

    Parameters
    ----------
    real, generated
        Logits of the cell's images, shapes [n] and [m]; large = real.
    threshold
        Logit threshold for ``accuracy_at_val_threshold``.

    Returns
    -------
    of_real, of_generated
        Shapes [M, n] and [M, m], in the order of `METRICS`. NaN for TPR at a fixed FPR, which depends on
        the weights through a quantile and has no useful derivative.
    """
    nothing = np.full(len(real), np.nan), np.full(len(generated), np.nan)
    rows = []
    for name, metric in RECORDS.items():
        if metric.per_image is not None:
            rows.append(_of_mean(metric, metric.per_image, real, generated, threshold))
        elif metric.has_influence:
            rows.append(_DERIVATIVES[name](real, generated))
        else:
            rows.append(nothing)
    return np.stack([row[0] for row in rows]), np.stack([row[1] for row in rows])


def _of_mean(
    metric: Metric, per_image: PerImage, real: Array, generated: Array, threshold: float
) -> tuple[Array, Array]:
    """Derivatives of a weighted mean over images, or of the mean of one mean a class."""
    limit = np.array([[threshold]])
    values = {
        "real": per_image(real[None], 1, limit)[0].astype(np.float64),
        "generated": per_image(generated[None], 0, limit)[0].astype(np.float64),
    }
    if metric.pooled == "images":
        total = len(real) + len(generated)
        mean = (values["real"].sum() + values["generated"].sum()) / total
        return (values["real"] - mean) / total, (values["generated"] - mean) / total
    found = {side: np.zeros(len(x)) for side, x in values.items()}
    for side in metric.classes:
        own = values[side]
        found[side] = (own - own.mean()) / len(own) / len(metric.classes)
    return found["real"], found["generated"]


def _auc(real: Array, generated: Array) -> tuple[Array, Array]:
    n, m = len(real), len(generated)
    reals, fakes = np.sort(real), np.sort(generated)
    # a generated image wins over the real ones with a larger logit
    beats = np.searchsorted(reals, generated, "left") + np.searchsorted(reals, generated, "right")
    wins = 1 - beats / (2 * n)
    loses = np.searchsorted(fakes, real, "left") + np.searchsorted(fakes, real, "right")
    losses = loses / (2 * m)
    auc = wins.mean()
    return (losses - auc) / n, (wins - auc) / m


def _average_precision(real: Array, generated: Array) -> tuple[Array, Array]:
    m = len(generated)
    fakes = np.sort(generated)
    caught = np.searchsorted(fakes, fakes, "right")
    flagged = caught + np.searchsorted(np.sort(real), fakes, "right")
    precision = caught / flagged
    # an image enters the precision at every threshold at or beyond its own logit
    gain = np.append(np.cumsum(((flagged - caught) / flagged**2)[::-1])[::-1], 0.0)
    loss = np.append(np.cumsum((caught / flagged**2)[::-1])[::-1], 0.0)
    at_own = precision[np.searchsorted(fakes, generated, "left")]
    of_generated = at_own - precision.mean() + gain[np.searchsorted(fakes, generated, "left")]
    return -loss[np.searchsorted(fakes, real, "left")] / m, of_generated / m


def _ece(real: Array, generated: Array) -> tuple[Array, Array]:
    probability = sigmoid(np.concatenate([real, generated]))
    label = np.r_[np.ones(len(real)), np.zeros(len(generated))]
    bins = np.minimum((probability * ECE_BINS).astype(np.int64), ECE_BINS - 1)
    gap = np.bincount(bins, weights=probability - label, minlength=ECE_BINS)
    total = len(label)
    value = np.abs(gap).sum() / total
    derivative = (np.sign(gap)[bins] * (probability - label) - value) / total
    return derivative[: len(real)], derivative[len(real) :]


_DERIVATIVES = {"auc": _auc, "average_precision": _average_precision, "ece": _ece}
_NEEDED = {
    name for name, metric in RECORDS.items() if metric.has_influence and metric.per_image is None
}
if _DERIVATIVES.keys() != _NEEDED:
    raise ImportError(f"metrics without a derivative: {_NEEDED ^ _DERIVATIVES.keys()}")
