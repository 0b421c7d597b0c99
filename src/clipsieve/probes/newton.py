"""The converged logistic regression, by Newton's method.

Minimises  sum_i log(1 + exp(-s_i x_i . w)) + |w|^2 / (2 C)  with s_i = +1 (real) or -1 (generated),
the objective of scikit-learn's LogisticRegression divided by C. The optimum is unique, so the result
depends on no starting point, no solver and no iteration limit.

A factored Hessian serves several steps (chord steps) as long as each shrinks the Newton decrement
well; steps far from the optimum are damped until the objective falls.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clipsieve.probes.checks import check_C, check_labels, check_matrix
from clipsieve.probes.scores import sigmoid

Floats = NDArray[np.float64]

_MAX_STEPS = 500
_KEEP_FACTOR = 0.2  # keep the factored Hessian while a step shrinks the decrement below this share


@dataclass
class Fit:
    """A converged fit: `coef` float64 [D], `intercept`, and the number of steps it took."""

    coef: Floats
    intercept: float
    n_iter: int


def minimise(
    X: Floats,
    y: NDArray[np.int64],
    penalty: Floats,
    start: Floats | None = None,
    *,
    rough: NDArray[np.float32] | None = None,
    tol: float = 1e-10,
) -> tuple[Floats, int]:
    """Return the optimum of sum of log-losses + sum_j penalty_j w_j^2 / 2, and the steps taken.

    Parameters
    ----------
    X : float64 [n, D]
    y : int64 [n], 0 or 1, both present.
    penalty : float64 [D]. 1/C for weights, 0 for an intercept column; D <= n if it holds zeros.
    start : float64 [D], optional. Where to begin; zeros by default.
    rough : float32 [n, D], optional. The same matrix: Hessians are then formed in float32, which
        changes the path, not where it ends (gradients stay in float64).
    tol : float. Stop when the Newton decrement is below tol * (1 + sqrt(objective)).
    """
    from scipy.linalg import cho_factor, cho_solve

    w = np.zeros(X.shape[1]) if start is None else start.astype(np.float64)
    target = y.astype(np.float64)
    sign = np.where(y == 1, -1.0, 1.0)
    diagonal = np.diag_indices(X.shape[1])

    def objective(z: Floats, v: Floats) -> float:
        return float(np.logaddexp(0.0, sign * z).sum() + 0.5 * (penalty * v) @ v)

    def factor(p: Floats) -> Any:
        weight = np.sqrt(p * (1.0 - p))
        if rough is not None:
            scaled = rough * weight.astype(np.float32)[:, None]
            H = (scaled.T @ scaled).astype(np.float64)
        else:
            exact = X * weight[:, None]
            H = exact.T @ exact
        H[diagonal] += penalty
        try:
            return cho_factor(H, overwrite_a=True, check_finite=False)
        except np.linalg.LinAlgError:
            # Only an unpenalised column on a saturated fit, or rounding, comes here.
            H[diagonal] += 1e-7 * np.trace(H) / len(H)
            return cho_factor(H, check_finite=False)

    z = X @ w
    value = objective(z, w)
    cholesky: Any = None
    decrement = np.inf
    for step in range(1, _MAX_STEPS + 1):
        p = sigmoid(z)
        gradient = X.T @ (p - target) + penalty * w
        fresh = cholesky is None
        if fresh:
            cholesky = factor(p)
        move = cho_solve(cholesky, gradient, check_finite=False)
        before, decrement = decrement, float(np.sqrt(max(gradient @ move, 0.0)))
        if not fresh and decrement > _KEEP_FACTOR * before:
            cholesky = factor(p)
            fresh = True
            move = cho_solve(cholesky, gradient, check_finite=False)
            decrement = float(np.sqrt(max(gradient @ move, 0.0)))
        done = decrement <= tol * (1.0 + np.sqrt(value))
        scale = 1.0
        while True:
            w_next = w - scale * move
            z_next = X @ w_next
            value_next = objective(z_next, w_next)
            # Rounding alone may raise the objective once the decrement is tiny.
            slack = 1e-12 * (1.0 + value)
            if value_next <= value - 1e-4 * scale * decrement**2 + slack or scale < 1e-6:
                break
            scale *= 0.5
        w, z, value = w_next, z_next, value_next
        if done:
            return w, step
        if scale < 1.0:
            cholesky = None  # far from the optimum: the Hessian is out of date
            decrement = np.inf
    return w, _MAX_STEPS


def fit_logistic(
    X: ArrayLike,
    y: ArrayLike,
    *,
    C: float = 1.0,
    fit_intercept: bool = False,
) -> Fit:
    """Fit one logistic regression to convergence.

    Parameters
    ----------
    X : [n, D], float32 or float64; computed in float64.
    y : [n]. 0 = generated, 1 = real.
    C : float. Inverse strength of the L2 penalty, as in scikit-learn.
    fit_intercept : bool. Add an unpenalised intercept.

    Returns
    -------
    Fit

    Raises
    ------
    UserError
        For shapes, labels or values that no fit can use.
    """
    return fit_path(X, y, [C], fit_intercept=fit_intercept)[0]


def fit_path(
    X: ArrayLike, y: ArrayLike, Cs: list[float], *, fit_intercept: bool = False
) -> list[Fit]:
    """Fit one logistic regression for each value of C, each to convergence.

    Each fit starts from the one before it. With fewer rows than columns the problem is solved in the
    row space: X = T Q^T with orthonormal columns Q (an LQ factorisation) leaves n columns T, the
    same penalty and the same optimum, w = Q v.

    Parameters, errors: as `fit_logistic`; `Cs` is a list of C, best in increasing order.
    """
    matrix = check_matrix(X, "X").astype(np.float64)
    labels = check_labels(y, "y", rows=len(matrix))
    strengths = [check_C(C) for C in Cs]
    n, D = matrix.shape
    basis = None
    if n < D:
        from scipy.linalg import qr

        basis, T = qr(matrix.T, mode="economic", check_finite=False, overwrite_a=False)
        matrix = np.ascontiguousarray(T.T)
    columns = matrix.shape[1]
    if fit_intercept:
        matrix = np.column_stack([matrix, np.ones(n)])
    w: Floats | None = None
    fits = []
    for C in strengths:
        penalty = np.full(matrix.shape[1], 1.0 / C)
        penalty[columns:] = 0.0
        w, steps = minimise(matrix, labels, penalty, w)
        coef = w[:columns] if basis is None else basis @ w[:columns]
        intercept = float(w[columns]) if fit_intercept else 0.0
        fits.append(Fit(coef=coef.copy(), intercept=intercept, n_iter=steps))
    return fits
