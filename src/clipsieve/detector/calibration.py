"""From a detector's logit to a probability and to a verdict that may be *unsure*.

Logits are large for real images (label 1). Everything here is fitted on images that the detector
was not trained on, of generators that it was not trained on where there are any.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from clipsieve.evaluation.metrics import ECE_BINS
from clipsieve.probes.newton import minimise
from clipsieve.probes.scores import sigmoid

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Platt:
    """P(real) = sigmoid(slope * logit + offset), with slope >= 0."""

    slope: float
    offset: float

    def generated(self, logits: ArrayLike) -> NDArray[np.float64]:
        """Return P(generated) for each logit."""
        z = self.slope * np.asarray(logits, dtype=np.float64) + self.offset
        return sigmoid(-z)


def fit_platt(logits: ArrayLike, is_real: ArrayLike, weights: ArrayLike) -> Platt:
    """Fit a logistic curve to logits (Platt scaling with Platt's soft targets).

    Parameters
    ----------
    logits : array_like, shape [n]
    is_real : array_like of bool, shape [n]
        Both labels must occur.
    weights : array_like, shape [n]
        Non-negative weight of each image.

    Returns
    -------
    Platt
        A slope that would come out negative (a detector worse than chance) is 0: then every image
        gets the share of generated ones.

    Raises
    ------
    ValueError
        If one of the labels has no weight.

    Notes
    -----
    The targets are (N + 1)/(N + 2) for real and 1/(M + 2) for generated images, N and M being their
    numbers, so that separable logits don't give an infinite slope (Platt 1999).
    """
    z, real = np.asarray(logits, np.float64), np.asarray(is_real, bool)
    w = np.asarray(weights, np.float64)
    if not w[real].sum() > 0 or not w[~real].sum() > 0:
        raise ValueError("calibration needs real and generated images")
    count_real, count_generated = int((real & (w > 0)).sum()), int((~real & (w > 0)).sum())
    target = np.where(real, (count_real + 1) / (count_real + 2), 1 / (count_generated + 2))
    w = w / w.sum()
    centre = float(w @ z)
    scale = float(np.sqrt(w @ np.square(z - centre)))
    if scale <= 1e-12 * max(1.0, float(np.abs(z).max())):  # all equal but for rounding
        return Platt(0.0, _log_odds(float(w @ target)))
    design = np.column_stack([(z - centre) / scale, np.ones_like(z)])
    # a soft target is a real and a generated image of the same logit, weighed by its two shares
    rows = np.concatenate([design, -design])
    beta, _ = minimise(rows, np.zeros(2), weights=np.concatenate([w * target, w * (1.0 - target)]))
    if beta[0] <= 0.0:
        return Platt(0.0, _log_odds(float(w @ target)))
    return Platt(float(beta[0] / scale), float(beta[1] - beta[0] * centre / scale))


def _log_odds(share: float) -> float:
    return float(np.log(share / (1.0 - share)))


@dataclass(frozen=True)
class Band:
    """Below `low` an image is called generated, above `high` real, and in between unsure.

    `low` is -inf (`high` +inf) where there are too few images to call any one so at the rate asked.
    """

    low: float
    high: float

    def verdicts(self, logits: ArrayLike) -> NDArray[np.str_]:
        """Return ``generated``, ``real`` or ``unsure`` for each logit."""
        z = np.asarray(logits, dtype=np.float64)
        return np.where(z < self.low, "generated", np.where(z > self.high, "real", "unsure"))


def abstain_band(
    real: ArrayLike,
    generated: ArrayLike,
    *,
    rate: float,
    threshold: float,
    real_groups: ArrayLike | None = None,
    generated_groups: ArrayLike | None = None,
) -> Band:
    """Find the band of logits in which no verdict is given.

    Parameters
    ----------
    real, generated : array_like, shape [n], [m]
        Logits of held-out images.
    rate : float
        Largest share of real images called generated, and of generated images called real.
    threshold : float
        The detector's threshold, used where the labels lie so far apart that the band is empty.
    real_groups, generated_groups : array_like, shape [n], [m], optional
        Groups of the images; each image is one of its own by default.

    Returns
    -------
    Band

    Notes
    -----
    Split-conformal, each label by itself: an image of a new group that is exchangeable with the
    groups here is called wrongly with probability at most `rate`. It holds for any distribution of
    logits, but not for images of another kind than these. Groups count once each, however many
    images they have (hierarchical conformal prediction, Lee, Barber and Willett 2023).
    """
    low = lower_limit(real, rate, real_groups)
    high = -lower_limit(-np.asarray(generated, np.float64), rate, generated_groups)
    if low > high:
        # Both labels are told apart at this rate wherever the cut lies between the two.
        low = high = float(np.clip(threshold, high, low))
    return Band(low, high)


def lower_limit(logits: ArrayLike, rate: float, groups: ArrayLike | None = None) -> float:
    """Return the largest logit below which a new group's image falls with at most this chance.

    Parameters
    ----------
    logits : array_like, shape [n]
        Of held-out images.
    rate : float
        Largest chance that an image of a new group lies below the limit.
    groups : array_like, shape [n], optional
        Each image is a group of its own by default.

    Returns
    -------
    float
        One of the logits, or -inf where there are too few groups for the rate.

    Examples
    --------
    >>> lower_limit([3.0, 1.0, 2.0, 4.0], 0.4)
    2.0
    >>> lower_limit([3.0, 1.0, 2.0, 4.0], 0.1)
    -inf
    """
    z = np.asarray(logits, np.float64)
    if not len(z):
        return -np.inf
    names = np.arange(len(z)) if groups is None else np.asarray(groups)
    _, code, counts = np.unique(names, return_inverse=True, return_counts=True)
    order = np.argsort(z, kind="stable")
    values = z[order]
    share = 1.0 / counts[code[order]]
    # the new group, wherever its images lie, counts as one below
    below = 1.0 + np.concatenate([[0.0], np.cumsum(share)[:-1]])
    first = np.searchsorted(values, values, side="left")
    fits = np.flatnonzero(below[first] <= rate * (len(counts) + 1) + 1e-9)
    return float(values[fits[-1]]) if len(fits) else -np.inf


def calibration_error(probability: ArrayLike, happened: ArrayLike, weights: ArrayLike) -> float:
    """Return the expected calibration error over 15 equally wide bins of probability."""
    p, y = np.asarray(probability, np.float64), np.asarray(happened, np.float64)
    w = np.asarray(weights, np.float64) / np.sum(weights)
    bins = np.minimum((p * ECE_BINS).astype(np.int64), ECE_BINS - 1)
    return float(np.abs(np.bincount(bins, w * (p - y), ECE_BINS)).sum())


def balanced_weights(image_set: ArrayLike, is_real: ArrayLike) -> NDArray[np.float64]:
    """Weigh images so that both labels, and within a label every image set, weigh the same."""
    sets, real = np.asarray(image_set), np.asarray(is_real, bool)
    weights = np.zeros(len(sets))
    for label in (True, False):
        names = np.unique(sets[real == label])
        for name in names:
            rows = (sets == name) & (real == label)
            weights[rows] = 1.0 / (2.0 * len(names) * rows.sum())
    return weights


def cross_fitted(
    logits: ArrayLike,
    is_real: ArrayLike,
    image_set: ArrayLike,
    group: ArrayLike,
    *,
    folds: int = 5,
) -> dict[str, NDArray[np.float64]]:
    """Calibrate each generator's images by a curve that saw neither them nor their groups.

    Parameters
    ----------
    logits, is_real, image_set, group : array_like, shape [n]
    folds : int, default 5
        Parts into which the groups are divided.

    Returns
    -------
    dict
        For each generated image set, P(generated) [n] of its own and of all real images, NaN
        elsewhere; with one generator its own images of other groups calibrate it.
    """
    z, real = np.asarray(logits, np.float64), np.asarray(is_real, bool)
    sets = np.asarray(image_set)
    _, code = np.unique(np.asarray(group), return_inverse=True)
    part = np.random.default_rng(0).permutation(int(code.max()) + 1)[code] % folds
    generators = np.unique(sets[~real]).tolist()
    found = {}
    for name in generators:
        result = np.full(len(z), np.nan)
        others = real | (sets != name) if len(generators) > 1 else np.ones(len(z), bool)
        for fold in range(folds):
            seen = others & (part != fold)
            shown = (real | (sets == name)) & (part == fold)
            if not shown.any() or not (real & seen).any() or not (~real & seen).any():
                continue
            weights = balanced_weights(sets[seen], real[seen])
            result[shown] = fit_platt(z[seen], real[seen], weights).generated(z[shown])
        found[name] = result
    return found
