"""The residual of a generator: one direction from real images to its own (paper, Section 4)."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clipsieve.errors import UserError
from clipsieve.probes.checks import check_labels, check_matrix
from clipsieve.probes.probe import Probe, judge

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


def fit_nearest_mean(
    X_train: ArrayLike, y_train: ArrayLike, X_val: ArrayLike, y_val: ArrayLike
) -> Probe:
    """Return the nearest-class-mean classifier in the form of a probe (a control).

    A row is called real when it is nearer (Euclidean) to the mean of the real rows, which is
    linear: coef = mean_real - mean_generated, intercept = (|mean_generated|^2 - |mean_real|^2) / 2.
    The logit is half the difference of the squared distances; it is no calibrated probability. As
    for every probe, the coefficients come from train and val together, threshold and scores on val
    from train alone.

    Parameters
    ----------
    X_train, X_val : [n, D].
    y_train, y_val : [n]. 0 = generated, 1 = real.

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
    coef, intercept = _between_means(np.concatenate([X, V]), np.concatenate([y, v]))
    threshold, scores = judge(logits, v)
    return Probe(
        coef=coef,
        intercept=intercept,
        params={"solver": "nearest_mean", "fit_intercept": True, "n_iter": 0, "converged": True},
        threshold=threshold,
        val_logits=logits,
        val_scores=scores,
    )


def _between_means(X: ArrayLike, y: ArrayLike) -> tuple[Floats, float]:
    generated, real = _class_means(X, y)
    return real - generated, float(generated @ generated - real @ real) / 2.0
