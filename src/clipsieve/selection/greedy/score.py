"""Scores of many candidates, as intervals that hold the converged refit's score.

`logits` [m, k] are the candidates' logits on the scoring rows and `half` [m, k] how far each may be
from the converged refit's. Every score is "higher is better": accuracy and AUC in counts of rows and
of half pairs (integers, so equality is exact), log-loss as its negative.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clipsieve.selection.greedy.problem import Floats

Flags = NDArray[np.bool_]


def accuracy_bounds(logits: Floats, half: Floats, real: Flags) -> tuple[Floats, Floats]:
    """Return the least and the most rows that can be right, per candidate.

    A logit of 0 counts as generated, as in scikit-learn's `predict`.
    """
    surely_real = logits > half
    surely_generated = logits <= -half
    low = np.where(real[:, None], surely_real, surely_generated).sum(axis=0)
    high = len(logits) - np.where(real[:, None], surely_generated, surely_real).sum(axis=0)
    return low.astype(float), high.astype(float)


def accuracy_at_precision(logits: Floats, half: Floats, real: Flags) -> Floats:
    """Count right rows where logits within `half` of 0 are taken as 0."""
    return ((logits > half) == real[:, None]).sum(axis=0).astype(float)


def auc_bounds(logits: Floats, half: Floats, real: Flags) -> tuple[Floats, Floats]:
    """Return bounds on the number of ordered (real, generated) half pairs, per candidate."""
    low = np.empty(logits.shape[1])
    high = np.empty(logits.shape[1])
    for k in range(logits.shape[1]):
        centre, width = logits[:, k], half[:, k]
        low[k] = half_pairs(centre[real] - width[real], centre[~real] + width[~real])
        high[k] = half_pairs(centre[real] + width[real], centre[~real] - width[~real])
    return low, high


def half_pairs(real: Floats, generated: Floats, equal: float = 0.0) -> float:
    """Count pairs with real above generated twice, and those at most `equal` apart once."""
    ranked = np.sort(generated)
    below = np.searchsorted(ranked, real - equal, side="left").sum()
    upto = np.searchsorted(ranked, real + equal, side="right").sum()
    return float(below + upto)


def auc_at_precision(logits: Floats, half: Floats, real: Flags) -> Floats:
    """Count half pairs where logits closer than their rounding are taken as equal."""
    return np.array(
        [
            half_pairs(logits[real, k], logits[~real, k], 2.0 * float(half[:, k].max()))
            for k in range(logits.shape[1])
        ]
    )


def wrongness(logits: Floats, real: Flags) -> tuple[Floats, Floats]:
    """Return each row's probability of the other label and its log-loss, for logits [m, k]."""
    margin = np.where(real[:, None], logits, -logits)
    small = np.exp(-np.abs(margin))
    wrong = np.where(margin > 0, small, 1.0) / (1.0 + small)
    return wrong, np.log1p(small) + np.maximum(-margin, 0.0)


def log_loss_bounds(
    logits: Floats,
    real: Flags,
    error: Floats,
    length: Floats,
    blur: Floats,
    norm: Floats,
    tangent: tuple[float, Floats] | None = None,
) -> tuple[Floats, Floats, Floats]:
    """Return the mean log-loss of each candidate's logits and bounds on the converged refit's.

    Logit i of candidate k is off by at most `length_i error_k` (`length` [m] is ||v||_A, `error`
    [k] bounds ||e||_H) and `norm_i blur_k` (rounding). The loss is convex with curvature at most
    1/4 a row: it lies above its tangent, and at most `mean (v . e)^2 / 8` above that. The tangent's
    slope is at most the mean of wrong_i length_i; or, with `tangent` = (||gradient||_A, wrong [m])
    of the mean log-loss at another point, that norm and the mean change of wrong_i times length_i.
    """
    wrong, losses = wrongness(logits, real)
    rows = len(logits)
    loss = losses.mean(axis=0)
    finite = np.where(np.isfinite(error), error, 0.0)
    steep = (length @ wrong) / rows
    if tangent is not None:
        steep = np.minimum(steep, tangent[0] + length @ np.abs(wrong - tangent[1][:, None]) / rows)
    slope = steep * finite + (norm @ wrong) / rows * blur
    slope += 8 * np.finfo(float).eps * loss
    bend = ((length @ length) * finite**2 + (norm @ norm) * blur**2) / (4 * rows)
    endless = ~np.isfinite(error) | (blur >= 1e300)
    low = np.where(endless, 0.0, loss - slope)
    return loss, low, np.where(endless, np.inf, loss + slope + bend)
