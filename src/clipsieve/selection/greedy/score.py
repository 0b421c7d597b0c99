"""Scores of many candidates, as intervals that hold the converged refit's score.

`logits` [m, k] are the candidates' logits on the scoring rows and `half` [m, k] how far each may be
from the converged refit's. Every score is "higher is better": accuracy, balanced accuracy and AUC in
counts (of rows; of rows times the rows of the other label; of half pairs), whole numbers, so equality
is exact; log-loss as its negative.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


def accuracy_bounds(logits: Floats, half: Floats, real: Flags) -> tuple[Floats, Floats]:
    """Return the least and the most rows that can be right, per candidate.

    A logit of 0 counts as generated, as in scikit-learn's `predict`.
    """
    (low_real, low_generated), (high_real, high_generated) = right_rows(logits, half, real)
    return low_real + low_generated, high_real + high_generated


def balanced_accuracy_bounds(logits: Floats, half: Floats, real: Flags) -> tuple[Floats, Floats]:
    """Return `accuracy_bounds` with a right row counted as often as the other label has rows."""
    low, high = right_rows(logits, half, real)
    n_real, n_generated = float(real.sum()), float((~real).sum())
    return low[0] * n_generated + low[1] * n_real, high[0] * n_generated + high[1] * n_real


def right_rows(
    logits: Floats, half: Floats, real: Flags
) -> tuple[tuple[Floats, Floats], tuple[Floats, Floats]]:
    """Return the least and the most rows that can be right, of each label: (real, generated) twice."""
    positive, negative = logits > half, logits <= -half
    low = count(positive[real]), count(negative[~real])
    high = real.sum() - count(negative[real]), (~real).sum() - count(positive[~real])
    return low, high


def count(flags: Flags) -> Floats:
    """Return how many of each column's flags are set."""
    return flags.sum(axis=0).astype(np.float64)


def accuracy_at_precision(logits: Floats, half: Floats, real: Flags) -> Floats:
    """Count right rows where logits within `half` of 0 are taken as 0."""
    positive = logits > half
    return count(positive[real]) + count(~positive[~real])


def balanced_accuracy_at_precision(logits: Floats, half: Floats, real: Flags) -> Floats:
    """Return `accuracy_at_precision` with rows counted as in `balanced_accuracy_bounds`."""
    positive = logits > half
    n_real, n_generated = float(real.sum()), float((~real).sum())
    return count(positive[real]) * n_generated + count(~positive[~real]) * n_real


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
    share: Floats,
    error: Floats,
    length: Floats,
    blur: Floats,
    norm: Floats,
    tangent: tuple[float, Floats] | None = None,
) -> tuple[Floats, Floats, Floats]:
    """Return the log-loss of each candidate's logits and bounds on the converged refit's.

    The log-loss is the sum of the rows' losses times `share` [m], 1/m each for their mean. Logit i
    of candidate k is off by at most `length_i error_k` (`length` [m] is ||v||_A, `error` [k] bounds
    ||e||_H) and `norm_i blur_k` (rounding). The loss is convex with curvature at most 1/4 a row: it
    lies above its tangent, and at most `sum share (v . e)^2 / 8` above that. The tangent's slope is
    at most the sum of share_i wrong_i length_i; or, with `tangent` = (||gradient||_A, wrong [m]) of
    the log-loss at another point, that norm and the sum of share_i length_i times the change of
    wrong_i.
    """
    wrong, losses = wrongness(logits, real)
    loss = share @ losses
    finite = np.where(np.isfinite(error), error, 0.0)
    shared = share * length
    steep = shared @ wrong
    if tangent is not None:
        steep = np.minimum(steep, tangent[0] + shared @ np.abs(wrong - tangent[1][:, None]))
    slope = steep * finite + ((share * norm) @ wrong) * blur
    slope += 8 * np.finfo(float).eps * loss
    bend = (shared @ length * finite**2 + (share * norm) @ norm * blur**2) / 4
    endless = ~np.isfinite(error) | (blur >= 1e300)
    low = np.where(endless, 0.0, loss - slope)
    return loss, low, np.where(endless, np.inf, loss + slope + bend)


def units(score: str, real: Flags) -> float:
    """Return what a score of this module is divided by: rows, pairs of rows or nothing."""
    n_real, n_generated = float(real.sum()), float((~real).sum())
    return {
        "accuracy": float(len(real)),
        "balanced_accuracy": 2.0 * n_real * n_generated,
        "auc": 2.0 * n_real * n_generated,
        "log_loss": 1.0,
    }[score]


BOUNDS = {
    "accuracy": accuracy_bounds,
    "balanced_accuracy": balanced_accuracy_bounds,
    "auc": auc_bounds,
}
AT_PRECISION = {
    "accuracy": accuracy_at_precision,
    "balanced_accuracy": balanced_accuracy_at_precision,
    "auc": auc_at_precision,
}
