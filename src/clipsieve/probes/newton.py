"""The converged logistic regression, by Newton's method.

Minimises  sum_i log(1 + exp(-s_i x_i . w)) + |w|^2 / (2 C),  s_i = +1 (real) or -1 (generated): the
objective of scikit-learn's LogisticRegression divided by C. The optimum is unique, so the result
depends on no starting point, no solver and no iteration limit.

A factored Hessian serves several steps (chord steps) as long as each shrinks the Newton decrement
well; steps far from the optimum are damped until the objective falls.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clipsieve.errors import UserError
from clipsieve.probes.checks import check_C, check_labels, check_matrix

Floats = NDArray[np.float64]

_MAX_STEPS = 500


@dataclass
class Fit:
    """A converged fit: `coef` float64 [D], `intercept`, and the number of steps it took."""

    coef: Floats
    intercept: float
    n_iter: int


class _Hessian:
    """X^T diag(q (1 - q)) X + diag(penalty), factored; formed in float32 while that is enough."""

    def __init__(self, X: Floats, penalty: Floats, rough: NDArray[np.float32] | None) -> None:
        self._X, self._penalty = X, penalty
        self._diagonal = np.diag_indices(X.shape[1])
        self._factor: Any = None
        # float32 is off by about 1e-6 of the largest eigenvalue, at most |X|^2 / 4; that must stay
        # below what the penalty adds.
        limit = 2.5e-7 * float(np.vdot(X, X))
        weakest = float(penalty[penalty > 0].min(initial=np.inf))
        self._rough = rough if weakest > limit else None

    @property
    def exact(self) -> bool:
        return self._rough is None

    def refine(self) -> None:
        """Form the next Hessians in float64."""
        self._rough = None

    def factorise(self, curvature: Floats) -> None:
        from scipy.linalg.lapack import dpotrf

        weight = np.sqrt(curvature)
        rows: NDArray[Any] = self._X if self._rough is None else self._rough
        scaled = rows * weight.astype(rows.dtype)[:, None]
        H = (scaled.T @ scaled).astype(np.float64, copy=False)
        H[self._diagonal] += self._penalty
        self._factor, info = dpotrf(H.T, lower=0)
        if info != 0 and not self.exact:
            self.refine()
            return self.factorise(curvature)
        longer = 1e-15 * float(np.trace(H))
        while info != 0 and np.isfinite(longer):
            # Rounding, or an unpenalised column on a saturated fit: a slightly longer diagonal
            # still gives a direction of descent.
            H[self._diagonal] += longer
            self._factor, info = dpotrf(H.T, lower=0)
            longer *= 10.0
        return None

    def solve(self, gradient: Floats) -> Floats:
        from scipy.linalg.lapack import dpotrs

        return np.asarray(dpotrs(self._factor, gradient, lower=0)[0])


def minimise(
    X: Floats,
    penalty: Floats,
    start: Floats | None = None,
    *,
    weights: Floats | None = None,
    rough: NDArray[np.float32] | None = None,
    keep: float = 0.2,
    tol: float = 1e-10,
) -> tuple[Floats, int]:
    """Return the w that minimises sum_i log(1 + exp(-x_i . w)) + sum_j penalty_j w_j^2 / 2.

    Parameters
    ----------
    X : float64 [n, D]. Rows of label 1, and negated rows of label 0.
    penalty : float64 [D]. 1/C for weights, 0 for an intercept column.
    start : float64 [D], optional. Where to begin; zeros by default.
    weights : float64 [n], optional. Weight of each row's loss; 1 by default.
    rough : float32 [n, D], optional. The same matrix: Hessians are then formed in float32, which
        changes the path, not where it ends (gradients stay in float64).
    keep : float. A factored Hessian is kept while a step with it shrinks the decrement below this
        share. Large where a factorisation costs much more than a step.
    tol : float. Stop when the Newton decrement is below tol * (1 + sqrt(objective)), or when
        rounding lets it shrink no further.

    Returns
    -------
    w : float64 [D]
    steps : int
    """
    w = np.zeros(X.shape[1]) if start is None else start.astype(np.float64)
    hessian = _Hessian(X, penalty, rough)

    def evaluate(at: Floats) -> tuple[Floats, float]:
        """Return q_i = 1 / (1 + exp(x_i . w)), the chance given to the wrong label; the objective."""
        margin: Floats = X @ at
        small = np.exp(-np.abs(margin))
        q: Floats = np.where(margin > 0, small, 1.0) / (1.0 + small)
        if weights is None:
            loss = np.log1p(small).sum() - np.minimum(margin, 0.0).sum()
        else:
            loss = weights @ (np.log1p(small) - np.minimum(margin, 0.0))
        return q, float(loss + 0.5 * ((penalty * at) @ at))

    q, value = evaluate(w)
    age = -1  # steps taken with the current factor; -1: there is none
    decrement = np.inf
    stalled = 0  # exact Newton steps in a row that shrank a small decrement no more
    for step in range(1, _MAX_STEPS + 1):
        gradient = penalty * w - X.T @ (q if weights is None else weights * q)
        before = decrement
        while True:
            if age < 0:
                curvature = q * (1.0 - q)
                hessian.factorise(curvature if weights is None else weights * curvature)
                age = 0
            move = hessian.solve(gradient)
            decrement = float(np.sqrt(max(float(gradient @ move), 0.0)))
            done = decrement <= tol * (1.0 + np.sqrt(value))
            if done or age == 0 or decrement <= keep * before:
                break
            if age == 1 and before < 1e-2:
                # A fresh factor this close to the optimum does better unless it is too rough.
                hessian.refine()
            age = -1
        if age == 0 and hessian.exact and before < 1e-2 and decrement > 0.5 * before:
            stalled += 1
        else:
            stalled = 0
        if done or stalled == 3:
            return w - move, step
        scale = 1.0
        while True:
            w_next = w - scale * move
            q_next, value_next = evaluate(w_next)
            # Rounding may raise the objective once the decrement is tiny.
            slack = 1e-12 * (1.0 + value)
            if value_next <= value - 1e-4 * scale * decrement**2 + slack or scale < 1e-9:
                break
            scale *= 0.5
        w, q, value = w_next, q_next, value_next
        age = age + 1 if scale == 1.0 else -1
    return w, _MAX_STEPS


def fit_path(
    X: ArrayLike,
    y: ArrayLike,
    Cs: list[float],
    *,
    fit_intercept: bool = False,
    weights: Floats | None = None,
) -> list[Fit]:
    """Fit one logistic regression for each value of C, each to convergence.

    Each fit starts from the one before it. With fewer rows than columns the problem is solved in
    the row space: X = T Q^T with orthonormal columns Q (an LQ factorisation) leaves n columns T,
    the same penalty and the same optimum, w = Q v.

    Parameters
    ----------
    X : [n, D], float32 or float64; computed in float64.
    y : [n]. 0 = generated, 1 = real.
    Cs : list of float. Inverse strengths of the L2 penalty, as in scikit-learn, best in increasing
        order.
    fit_intercept : bool. Add an unpenalised intercept.
    weights : float64 [n], optional. Weight of each row's loss (scikit-learn's sample_weight); 1 by
        default.

    Raises
    ------
    UserError
        For shapes, labels, values or strengths that no fit can use.
    """
    matrix = check_matrix(X, "X").astype(np.float64)
    labels = check_labels(y, "y", rows=len(matrix))
    strengths = [check_C(C) for C in Cs]
    if not np.isfinite(np.vdot(matrix, matrix)):
        raise UserError("the values of X are too large to square; scale its columns down")
    n, D = matrix.shape
    basis = None
    if n < D:
        from scipy.linalg import qr

        basis, T = qr(matrix.T, mode="economic", check_finite=False)
        matrix = np.ascontiguousarray(T.T)
    columns = matrix.shape[1]
    if fit_intercept:
        matrix = np.column_stack([matrix, np.ones(n)])
    matrix *= np.where(labels == 1, 1.0, -1.0)[:, None]
    rough = matrix.astype(np.float32)
    w: Floats | None = None
    fits = []
    for C in strengths:
        penalty = np.full(matrix.shape[1], 1.0 / C)
        penalty[columns:] = 0.0
        keep = 0.2 if columns < 256 else 0.6
        w, steps = minimise(matrix, penalty, w, weights=weights, rough=rough, keep=keep)
        coef = w[:columns] if basis is None else basis @ w[:columns]
        intercept = float(w[columns]) if fit_intercept else 0.0
        fits.append(Fit(coef=coef.copy(), intercept=intercept, n_iter=steps))
    return fits
