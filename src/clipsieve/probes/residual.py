"""The residual of a generator: one direction from real images to its own (paper, Section 4)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clipsieve.errors import UserError
from clipsieve.probes.checks import check_labels, check_matrix
from clipsieve.probes.grid import fit_probe
from clipsieve.probes.probe import Probe, judge
from clipsieve.probes.thresholds import held_out_thresholds, joined_groups

Floats = NDArray[np.float64]


def _class_means(X: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
    matrix = check_matrix(X, "X")
    labels = check_labels(y, "y", rows=len(matrix))
    generated = matrix[labels == 0].mean(axis=0, dtype=np.float64)
    real = matrix[labels == 1].mean(axis=0, dtype=np.float64)
    return generated, real


def residual(X: ArrayLike, y: ArrayLike) -> Floats:
    """Return Norm[mean of generated rows] - Norm[mean of real rows].

    Parameters
    ----------
    X : [n, D]. Embeddings of training rows.
    y : [n]. 0 = generated, 1 = real.

    Returns
    -------
    float64 [D]

    Raises
    ------
    UserError
        When a class is missing, its mean is zero, or values or shapes are wrong.
    """
    units = []
    for name, mean in zip(("generated", "real"), _class_means(X, y), strict=True):
        length = np.linalg.norm(mean)
        if length == 0.0:
            raise UserError(f"the mean of the {name} rows is zero; it has no direction")
        units.append(mean / length)
    return np.asarray(units[0] - units[1])


def residual_feature(
    X: ArrayLike, resid: ArrayLike, kind: Literal["cosine", "dot"] = "cosine"
) -> Floats:
    """Return the one feature that a residual probe sees.

    Parameters
    ----------
    X : [n, D]. Embeddings.
    resid : [D]. From `residual`.
    kind : `cosine` gives cos(x, resid); `dot` gives x . resid, as in the paper's Appendix A.3.
        A row of zeros has the feature 0.

    Returns
    -------
    float64 [n, 1]

    Raises
    ------
    UserError
        For another `kind`, for shapes that differ, for a residual of zero with `cosine`.
    """
    direction = np.asarray(resid, dtype=np.float64)
    if direction.ndim != 1 or not np.isfinite(direction).all():
        raise UserError(f"resid has shape {list(direction.shape)}; it must be [D], all finite")
    matrix = check_matrix(X, "X", columns=len(direction)).astype(np.float64)
    product = matrix @ direction
    if kind == "cosine":
        length = np.linalg.norm(direction)
        if length == 0.0:
            raise UserError("resid is zero; it has no direction")
        rows = np.linalg.norm(matrix, axis=1)
        product = np.divide(product, rows * length, out=np.zeros_like(product), where=rows > 0)
    elif kind != "dot":
        raise UserError(f"the kind of residual feature is {kind!r}; allowed: cosine, dot")
    return product[:, None]


def fit_residual_probe(
    X_train: ArrayLike, y_train: ArrayLike, X_val: ArrayLike, y_val: ArrayLike, **options: Any
) -> Probe:
    """Fit a probe on the one feature of `residual_feature`, scaled by its spread over train rows.

    A cosine with the residual spreads over a few hundredths, so under a penalty on its weight no
    value of C in the grid would let the logits leave 0. The standard deviation of the train rows
    is divided out before the fit and folded into the coefficient after it: `coef` applies to the
    feature as it is.

    Parameters
    ----------
    X_train, X_val : [n, 1]. The feature.
    y_train, y_val : [n]. 0 = generated, 1 = real.
    options : as `fit_probe`, without `tune`.

    Returns
    -------
    Probe
        `params["scale"]` is the standard deviation that was divided out (1 for a constant feature).

    Raises
    ------
    UserError
        As `fit_probe`.
    """
    X, V = check_matrix(X_train, "X_train"), check_matrix(X_val, "X_val")
    spread = float(X.std(dtype=np.float64))
    scale = spread if spread > 1e-12 * float(np.abs(X).max()) else 1.0
    probe = fit_probe(X / scale, y_train, V / scale, y_val, **options)
    return replace(probe, coef=probe.coef / scale, params={**probe.params, "scale": scale})


def fit_nearest_mean(
    X_train: ArrayLike,
    y_train: ArrayLike,
    X_val: ArrayLike,
    y_val: ArrayLike,
    *,
    score: str = "balanced_accuracy",
    groups: tuple[ArrayLike, ArrayLike] | None = None,
) -> Probe:
    """Return the nearest-class-mean classifier in the form of a probe (a control).

    A row is called real when it is nearer (Euclidean) to the mean of the real rows, which is
    linear: coef = mean_real - mean_generated, intercept = (|mean_generated|^2 - |mean_real|^2) / 2.
    The logit is half the difference of the squared distances; it is not a calibrated probability. As
    for every probe, the coefficients come from train and val together, scores on val from train
    alone, and thresholds from folds.

    Parameters
    ----------
    X_train, X_val : [n, D].
    y_train, y_val : [n]. 0 = generated, 1 = real.
    score, groups : as `fit_probe`; they affect only the thresholds.

    Raises
    ------
    UserError
        For shapes, labels or values that no fit can use.
    """
    X = check_matrix(X_train, "X_train")
    V = check_matrix(X_val, "X_val", columns=X.shape[1])
    y = check_labels(y_train, "y_train", rows=len(X))
    v = check_labels(y_val, "y_val", rows=len(V))
    coef, intercept = _between_means(X, y)
    logits = V.astype(np.float64) @ coef + intercept
    both, labels = np.concatenate([X, V]), np.concatenate([y, v])
    coef, intercept = _between_means(both, labels)
    thresholds = held_out_thresholds(
        lambda kept, factor: _between_means(both[kept], labels[kept]),
        joined_groups(groups, len(X), len(V)), labels, both, labels,
        otherwise=(logits, v), balanced=score != "accuracy",
    )  # fmt: skip
    return Probe(
        coef=coef,
        intercept=intercept,
        params={"solver": "nearest_mean", "fit_intercept": True, "n_iter": 0, "converged": True},
        threshold=thresholds.threshold,
        operating_points=thresholds.operating_points,
        threshold_facts=thresholds.facts,
        val_logits=logits,
        val_scores=judge(logits, v),
    )


def _between_means(X: ArrayLike, y: ArrayLike) -> tuple[Floats, float]:
    generated, real = _class_means(X, y)
    return real - generated, float(generated @ generated - real @ real) / 2.0
