"""Scores of logits against labels, and thresholds of logits; every other module takes them from here.

Label 0 is generated, 1 is real; a logit above the threshold says real.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipsieve.errors import UserError

# What hyperparameters can be chosen by; the threshold goes by balanced accuracy unless it is accuracy.
SCORES = ("accuracy", "balanced_accuracy", "auc", "log_loss")


def sigmoid(logits: NDArray[Any]) -> NDArray[np.float64]:
    """Return 1 / (1 + exp(-logits)), float64, without overflow (scipy.special.expit)."""
    from scipy.special import expit

    return np.asarray(expit(np.asarray(logits, dtype=np.float64)))


def losses(margins: NDArray[Any]) -> NDArray[np.float64]:
    """Return log(1 + exp(-margins)) in nats, exact for margins of any size.

    A margin is the logit of a row of label 1, and the negated logit of a row of label 0.
    """
    m = np.asarray(margins, dtype=np.float64)
    return np.asarray(np.log1p(np.exp(-np.abs(m))) - np.minimum(m, 0.0))


def accuracy(logits: NDArray[Any], y: NDArray[Any], threshold: float = 0.0) -> float:
    """Return the share of rows whose side of `threshold` is their label (above it: 1, real)."""
    return float(np.mean((logits > threshold) == (y == 1)))


def balanced_accuracy(logits: NDArray[Any], y: NDArray[Any], threshold: float = 0.0) -> float:
    """Return the mean of the accuracies of the two classes; NaN when one is missing.

    Equal to `accuracy` to the last bit where the classes are of equal size.
    """
    real = y == 1
    right = (logits > threshold) == real
    n_real = int(real.sum())
    n_generated = len(real) - n_real
    if not n_real or not n_generated:
        return float("nan")
    # whole numbers up to the one division, so that equal scores are equal as floats too
    weighed = int(right[real].sum()) * n_generated + int(right[~real].sum()) * n_real
    return weighed / (2 * n_real * n_generated)


def log_loss(logits: NDArray[Any], y: NDArray[Any]) -> float:
    """Return the mean negative log-likelihood in nats, exact for logits of any size."""
    z = np.asarray(logits, dtype=np.float64)
    return float(np.mean(losses(np.where(y == 1, z, -z))))


def auc(logits: NDArray[Any], y: NDArray[Any]) -> float:
    """Return the area under the ROC curve, ties counted half; NaN when one class is missing."""
    z = np.asarray(logits)
    real = y == 1
    n_real = int(real.sum())
    n_generated = len(z) - n_real
    if not n_real or not n_generated:
        return float("nan")
    _, place, counts = np.unique(z, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2.0  # mean rank of each value
    wins = ranks[place[real]].sum() - n_real * (n_real + 1) / 2.0
    return float(wins / (n_real * n_generated))


def score_of(name: str, logits: NDArray[Any], y: NDArray[Any]) -> float:
    """Return the score `name` of `SCORES`, larger is better: log_loss comes negated.

    Raises
    ------
    UserError
        For another name.
    """
    if name == "log_loss":
        return -log_loss(logits, y)
    scores = {"accuracy": accuracy, "balanced_accuracy": balanced_accuracy, "auc": auc}
    if name not in scores:
        raise UserError(f"the score of a probe is {name!r}; allowed: {', '.join(SCORES)}")
    return scores[name](logits, y)


def best_threshold(logits: NDArray[Any], y: NDArray[Any], *, balanced: bool = False) -> float:
    """Return the logit threshold with the best accuracy, or the best balanced accuracy.

    The candidates are 0 and the midpoints between neighbouring distinct logits, with one below and
    one above all of them. Ties: the smallest absolute value, then the smaller one; so the plain
    threshold 0 stays unless another is better.
    """
    z = np.asarray(logits, dtype=np.float64)
    real = y == 1
    n_real = int(real.sum())
    worth_real, worth_generated = (len(z) - n_real, n_real) if balanced else (1, 1)
    values, place = np.unique(z, return_inverse=True)
    below_real = np.concatenate([[0], np.cumsum(np.bincount(place[real], minlength=len(values)))])
    below_all = np.concatenate([[0], np.cumsum(np.bincount(place, minlength=len(values)))])
    # Right at a threshold with k distinct values below: generated ones below, real ones above.
    right = worth_generated * (below_all - below_real) + worth_real * (n_real - below_real)
    cuts = np.concatenate([[values[0] - 1.0], (values[:-1] + values[1:]) / 2, [values[-1] + 1.0]])
    # A midpoint can round onto the upper of two neighbours, which would then count as below it.
    cuts[1:-1] = np.where(cuts[1:-1] >= values[1:], values[:-1], cuts[1:-1])
    cuts = np.append(cuts, 0.0)
    above = z > 0
    at_zero = worth_real * np.sum(above & real) + worth_generated * np.sum(~above & ~real)
    right = np.append(right, at_zero)
    order = np.lexsort((cuts, np.abs(cuts), -right))
    return float(cuts[order[0]])


def false_alarm_threshold(real_logits: NDArray[Any], rate: float) -> float | None:
    """Return the largest threshold at which a new real image is called generated at most at `rate`.

    With n held-out logits of real images and k = floor(rate (n + 1)), it lies just below the k-th
    smallest: a new one that is exchangeable with them is at or below the threshold with a
    probability of at most k / (n + 1) <= rate, whatever the distribution. None where k = 0, that
    is with fewer than 1 / rate - 1 real images (99 for 1 %, 19 for 5 %).
    """
    z = np.sort(np.asarray(real_logits, dtype=np.float64))
    k = int(np.floor(rate * (len(z) + 1) + 1e-12))
    if k < 1:
        return None
    return float(np.nextafter(z[min(k, len(z)) - 1], -np.inf))
