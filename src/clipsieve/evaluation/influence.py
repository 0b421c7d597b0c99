"""How much each image moves a metric: the derivative of a cell's metrics by the image's weight.

The derivatives are exact, so one pass over the sorted scores replaces a leave-one-out loop. Summed
over the images of a group they give the acceleration of BCa intervals and what a sign-flip test
permutes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clipsieve.evaluation.metrics import ECE_BINS, METRICS, sigmoid

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
        Shapes [len(METRICS), n] and [len(METRICS), m]. NaN for TPR at a fixed FPR, which depends on
        the weights through a quantile and has no useful derivative.
    """
    n, m = len(real), len(generated)
    found: dict[str, tuple[Array, Array]] = {}
    right, wrong = (real > 0).astype(float), (generated <= 0).astype(float)
    found["accuracy"] = _share(right, wrong)
    found["accuracy_at_val_threshold"] = _share(
        (real > threshold).astype(float), (generated <= threshold).astype(float)
    )
    of_real, of_generated = (right - right.mean()) / n, (wrong - wrong.mean()) / m
    found["accuracy_real"] = of_real, np.zeros(m)
    found["accuracy_generated"] = np.zeros(n), of_generated
    found["balanced_accuracy"] = of_real / 2, of_generated / 2
    found["auc"] = _auc(real, generated)
    found["average_precision"] = _average_precision(real, generated)
    found["ece"] = _ece(real, generated)
    nothing = np.full(n, np.nan), np.full(m, np.nan)
    rows = [found.get(name, nothing) for name in METRICS]
    return np.stack([row[0] for row in rows]), np.stack([row[1] for row in rows])


def _share(first: Array, second: Array) -> tuple[Array, Array]:
    """Derivatives of a weighted share of ones."""
    total = len(first) + len(second)
    mean = (first.sum() + second.sum()) / total
    return (first - mean) / total, (second - mean) / total


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
