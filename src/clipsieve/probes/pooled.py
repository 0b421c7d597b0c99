"""A probe of several generators: rows are weighted, in the fit, in the choice of C and in the threshold.

Generators and sources have different numbers of images. Weights (docs/method/nuisance.md) make both
classes, each generator and each source count the same, wherever rows are counted: a large generator
would otherwise decide what the probe of a training set learns and where its threshold lies.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clipsieve.errors import UserError
from clipsieve.probes.checks import check_labels, check_matrix
from clipsieve.probes.contest import Contest, Point
from clipsieve.probes.grid import CS, check_score, probe_of
from clipsieve.probes.newton import fit_path
from clipsieve.probes.probe import Probe
from clipsieve.probes.scores import losses
from clipsieve.probes.thresholds import (
    Thresholds,
    cross_fitted,
    joined_groups,
    plan_folds,
    thresholds_of,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Weights:
    """Weights of the rows, each float64 [n] and positive with a mean of 1.

    Attributes
    ----------
    train, val
        Of the rows of each split, by themselves.
    both
        Of train and val rows together, in this order.
    """

    train: Floats
    val: Floats
    both: Floats


def fit_pooled_probe(
    X_train: ArrayLike,
    y_train: ArrayLike,
    X_val: ArrayLike,
    y_val: ArrayLike,
    weights: Weights,
    *,
    fit_intercept: bool = False,
    score: str = "balanced_accuracy",
    groups: tuple[ArrayLike, ArrayLike] | None = None,
) -> Probe:
    """Choose C on val and fit the probe on train and val together, with weighted rows throughout.

    Parameters
    ----------
    X_train, X_val : [n, D], float32 or float64; computed in float64.
    y_train, y_val : [n]. 0 = generated, 1 = real.
    weights : Weights
        Of the same rows.
    fit_intercept : bool, default False. Add an unpenalised intercept.
    score : `accuracy`, `balanced_accuracy` (default), `auc` or `log_loss`, of weighted rows. What
        C is chosen by, among the values of the fast grid, each fit converged.
    groups : (groups_train, groups_val), optional. As `fit_probe` takes them.

    Returns
    -------
    Probe
        As `fit_probe` returns it. `val_scores` are of weighted rows, and so is the threshold; the
        operating points are quantiles of the pooled real images, each counted once.

    Raises
    ------
    UserError
        For rows that `fit_probe` would refuse, weights of another length or that are not positive,
        or an unknown score.
    """
    X = check_matrix(X_train, "X_train")
    V = check_matrix(X_val, "X_val", columns=X.shape[1])
    y = check_labels(y_train, "y_train", rows=len(X))
    v = check_labels(y_val, "y_val", rows=len(V))
    check_score(score)
    both, labels = np.concatenate([X, V]), np.concatenate([y, v])
    parts = ("train", weights.train, y), ("val", weights.val, v), ("both", weights.both, labels)
    for name, given, rows in parts:
        if given.shape != rows.shape or not (np.isfinite(given).all() and (given > 0).all()):
            raise UserError(f"weights.{name} must be {len(rows)} positive numbers")
    contest = Contest(v, score)
    for C, fit in zip(
        CS,
        fit_path(X, y, list(CS), fit_intercept=fit_intercept, weights=weights.train),
        strict=True,
    ):
        logits = V @ fit.coef + fit.intercept
        found = weighted_scores(logits, v, weights.val)
        worth = -found["log_loss"] if score == "log_loss" else found[score]
        _enter(contest, Point("newton", C, None, worth, found["log_loss"], logits))
    point = contest.won()
    final = fit_path(both, labels, [point.C], fit_intercept=fit_intercept, weights=weights.both)[0]

    def refit(kept: NDArray[np.bool_], factor: float) -> tuple[Any, float]:
        one = fit_path(
            both[kept], labels[kept], [point.C * factor],
            fit_intercept=fit_intercept, weights=weights.both[kept],
        )[0]  # fmt: skip
        return one.coef, one.intercept

    folds = plan_folds(joined_groups(groups, len(X), len(V)), labels, None, None)
    if folds is None:
        thresholds = _thresholds(point.logits, v, weights.val, score, 0)
    else:
        logits = cross_fitted(refit, both, *folds)
        n_folds = len(np.unique(folds[1]))
        thresholds = _thresholds(logits, labels, weights.both, score, n_folds)
    probe = probe_of(
        "fast", contest, v, final.coef, final.intercept, final.n_iter, thresholds,
        fit_intercept=fit_intercept, score=score, seed=None,
    )  # fmt: skip
    return replace(probe, val_scores=weighted_scores(point.logits, v, weights.val))


def _enter(contest: Contest, point: Point) -> None:
    """Enter a point whose score is of weighted rows."""
    contest.fits += 1
    if contest.best is None or point.score > contest.best.score:
        contest.ties = 0
    if contest.best is None or point.score >= contest.best.score:
        contest.ties += 1
    if contest.best is None or point.rank() < contest.best.rank():
        contest.best = point


def _thresholds(
    logits: NDArray[Any], y: Ints, weights: Floats, score: str, folds: int
) -> Thresholds:
    balanced = score != "accuracy"
    found = thresholds_of(logits, y, balanced=balanced, folds=folds)
    return replace(found, threshold=weighted_threshold(logits, y, weights, balanced=balanced))


def weighted_scores(logits: ArrayLike, y: ArrayLike, weights: ArrayLike) -> dict[str, float]:
    """Return `accuracy` and `balanced_accuracy` at logit 0, `log_loss` and `auc` of weighted rows.

    Parameters
    ----------
    logits, y, weights : [n]. A logit above 0 says real (label 1); weights are positive.

    Notes
    -----
    The weighted AUC is the chance that a real row, drawn by weight, has a larger logit than a
    generated row drawn by weight, ties counted half.
    """
    z, w = np.asarray(logits, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    real = np.asarray(y) == 1
    right = (z > 0) == real
    sides = [float(w[side] @ right[side] / w[side].sum()) for side in (real, ~real)]
    _, place = np.unique(z, return_inverse=True)
    reals, generated = (np.bincount(place[s], w[s], place.max() + 1) for s in (real, ~real))
    below = np.cumsum(generated) - 0.5 * generated
    return {
        "accuracy": float(w @ right / w.sum()),
        "balanced_accuracy": sum(sides) / 2,
        "log_loss": float(w @ losses(np.where(real, z, -z)) / w.sum()),
        "auc": float(reals @ below / (reals.sum() * generated.sum())),
    }


def weighted_threshold(
    logits: ArrayLike, y: ArrayLike, weights: ArrayLike, *, balanced: bool
) -> float:
    """Return the logit threshold with the best weighted accuracy, or balanced accuracy.

    Candidates and ties are those of `clipsieve.probes.scores.best_threshold`; scores that differ by
    rounding alone are ties.
    """
    z, w = np.asarray(logits, dtype=np.float64), np.asarray(weights, dtype=np.float64).copy()
    real = np.asarray(y) == 1
    if balanced:
        for side in (real, ~real):
            w[side] /= w[side].sum()
    values, place = np.unique(z, return_inverse=True)
    gain = np.bincount(place, np.where(real, -w, w), len(values))  # of a threshold above this value
    right = w[real].sum() + np.concatenate([[0.0], np.cumsum(gain)])
    cuts = np.concatenate([[values[0] - 1.0], (values[:-1] + values[1:]) / 2, [values[-1] + 1.0]])
    # a midpoint can round onto the upper of two neighbours, which would then count as below it
    cuts[1:-1] = np.where(cuts[1:-1] >= values[1:], values[:-1], cuts[1:-1])
    cuts, right = np.append(cuts, 0.0), np.append(right, w[(z > 0) == real].sum())
    best = np.flatnonzero(right >= right.max() - 1e-9 * w.sum())
    return float(cuts[best[np.lexsort((cuts[best], np.abs(cuts[best])))[0]]])
