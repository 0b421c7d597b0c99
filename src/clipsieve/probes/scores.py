"""Scores of logits against labels: accuracy, log-loss, AUC, the threshold with best accuracy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def sigmoid(logits: NDArray[Any]) -> NDArray[np.float64]:
    """Return 1 / (1 + exp(-logits)), float64, without overflow."""
    z = np.asarray(logits, dtype=np.float64)
    small = np.exp(-np.abs(z))
    return np.where(z >= 0, 1.0, small) / (1.0 + small)


def accuracy(logits: NDArray[Any], y: NDArray[Any], threshold: float = 0.0) -> float:
    """Return the share of rows whose side of `threshold` is their label (above it: 1, real)."""
    return float(np.mean((logits > threshold) == (y == 1)))


def log_loss(logits: NDArray[Any], y: NDArray[Any]) -> float:
    """Return the mean negative log-likelihood in nats, exact for logits of any size."""
    z = np.asarray(logits, dtype=np.float64)
    return float(np.mean(np.logaddexp(0.0, np.where(y == 1, -z, z))))


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


def best_threshold(logits: NDArray[Any], y: NDArray[Any]) -> float:
    """Return the logit threshold with the best accuracy.

    The candidates are 0 and the midpoints between neighbouring distinct logits, with one below and
    one above all of them. Ties: the smallest absolute value, then the smaller one; so the plain
    threshold 0 stays unless another is better.
    """
    z = np.asarray(logits, dtype=np.float64)
    real = y == 1
    values, place = np.unique(z, return_inverse=True)
    below_real = np.concatenate([[0], np.cumsum(np.bincount(place[real], minlength=len(values)))])
    below_all = np.concatenate([[0], np.cumsum(np.bincount(place, minlength=len(values)))])
    # Right at a threshold with k distinct values below: generated ones below, real ones above.
    right = (below_all - below_real) + (below_real[-1] - below_real)
    cuts = np.concatenate([[values[0] - 1.0], (values[:-1] + values[1:]) / 2, [values[-1] + 1.0]])
    # A midpoint can round onto the upper of two neighbours, which would then count as below it.
    cuts[1:-1] = np.where(cuts[1:-1] >= values[1:], values[:-1], cuts[1:-1])
    cuts = np.append(cuts, 0.0)
    right = np.append(right, np.sum((z > 0) == real))
    order = np.lexsort((cuts, np.abs(cuts), -right))
    return float(cuts[order[0]])
