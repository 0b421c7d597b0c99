"""The probes of many random subsets of the columns, fitted one after the other with shared work.

A control of as many random columns is drawn a hundred times, and each draw needs nine converged fits
on the `fast` grid: eight values of C, and the final one. All are on columns of one matrix with the
same rows and labels:

- rows are nearly as hard for one draw as for another, so the Hessian weights q (1 - q) of the first
  draw serve as those of all. With them the Hessian over all columns is formed once for each C, and a
  draw's own columns of it, inverted, give it a start near its optimum and precondition conjugate
  gradients so well that a Newton step takes a few of them;
- the eight fits of a draw run side by side: one product of its matrix with the weights of all.

Every fit goes on to its own optimum, the one of `clipsieve.probes.newton`, so the results are those of
`fit_probe(.., grid="fast", cross_fit=False)` for each draw by itself, to rounding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clipsieve.probes.checks import check_labels, check_matrix
from clipsieve.probes.contest import Contest
from clipsieve.probes.grid import CS, check_score, fit_probe, probe_of
from clipsieve.probes.newton import fit_path, minimise
from clipsieve.probes.probe import Probe
from clipsieve.probes.scores import losses, sigmoid
from clipsieve.probes.thresholds import thresholds_of

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_LEAST = 200  # columns below which a fit by itself is as quick
_STEPS = 40  # Newton steps before a fit is left to the solver of single ones
_INNER = 40  # conjugate-gradient steps of one Newton step
_REFRESH = 12  # more of them than this call for a Hessian of the fit's own


def minimise_together(
    X: Floats,
    signs: Floats,
    penalty: Floats,
    inverses: list[Any],
    *,
    start: Floats | None = None,
    tol: float = 1e-6,
) -> Floats:
    """Return the minima of several logistic losses on the same columns, float64 [B, k].

    Minimises  sum_i log(1 + exp(-s_i x_i . w)) + sum_j penalty_bj w_j^2 / 2  for each b.

    Parameters
    ----------
    X : float64 [n, k].
    signs : float64 [n]. s: +1 for label 1, -1 for label 0.
    penalty : float64 [B, k]. 1/C for weights, 0 for an intercept column.
    inverses : list of B inverses of matrices near each Hessian, float32 [k, k]. They decide how long
        it takes, not where it ends, and are replaced where they turn out too far off.
    start : float64 [B, k], optional. Where to begin; zeros by default.
    tol : float. The last Newton step is taken when the decrement is below
        tol * (1 + sqrt(objective)); that step leaves about 1e-4 of it, and 1e-10 is where
        single fits stop.
    """
    B, k = penalty.shape
    w = np.zeros((B, k)) if start is None else start.copy()
    rough = X.astype(np.float32)
    inverses = list(inverses)
    going = np.arange(B)
    margin = signs * (w @ X.T)
    value = _objective(margin, penalty, w)
    for _ in range(_STEPS):
        ridge = penalty[going]
        q = sigmoid(-margin)
        weights = q * (1.0 - q)
        gradient = ridge * w[going] - (q * signs) @ X
        own = [inverses[b] for b in going]
        move, decrement, slow = _direction(gradient, weights, ridge, own, rough)
        shift = signs * (move @ X.T)
        scale = np.ones(len(going))
        for _ in range(30):  # halved until the objective falls; rounding may raise it
            trial = w[going] - scale[:, None] * move
            new = _objective(margin - scale[:, None] * shift, ridge, trial)
            enough = value - 1e-4 * scale * decrement**2 + 1e-12 * (1.0 + value)
            short = ~(new <= enough)
            if not short.any():
                break
            scale[short] *= 0.5
        w[going] -= scale[:, None] * move
        margin = margin - scale[:, None] * shift
        on = ~(decrement <= tol * (1.0 + np.sqrt(value)))
        for i in np.flatnonzero(slow & on):
            inverses[going[i]] = _inverse(_gram(rough, weights[i]), ridge[i])
        going, margin, value = going[on], margin[on], new[on]
        if not len(going):
            return w
    for b in going:  # scales far apart, or separable and hardly penalised
        w[b] = minimise(X * signs[:, None], penalty[b], w[b])[0]
    return w


def _direction(
    gradient: Floats,
    weights: Floats,
    ridge: Floats,
    inverses: list[Any],
    rough: NDArray[np.float32],
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Return Newton directions by conjugate gradients, decrements, and which took too many steps."""
    light = weights.astype(np.float32)
    left = gradient.copy()
    z = _solve(inverses, left)
    towards = z.copy()
    size = np.einsum("bk,bk->b", left, z)
    first = np.maximum(size, 1e-300)
    goal = np.clip(first, 1e-8, 1e-2) * first
    move = np.zeros_like(gradient)
    steps = np.zeros(len(gradient), dtype=int)
    for _ in range(_INNER):
        product = light * (towards.astype(np.float32) @ rough.T)
        curved = (product @ rough).astype(np.float64) + ridge * towards
        bend = np.einsum("bk,bk->b", towards, curved)
        stride = np.divide(size, bend, out=np.zeros_like(size), where=bend > 0)
        move += stride[:, None] * towards
        left -= stride[:, None] * curved
        z = _solve(inverses, left)
        after = np.einsum("bk,bk->b", left, z)
        unfinished = after > goal
        steps += unfinished
        if not unfinished.any():
            break
        share = np.divide(after, size, out=np.zeros_like(size), where=size > 0)
        towards = z + share[:, None] * towards
        size = after
    decrement = np.sqrt(np.maximum(np.einsum("bk,bk->b", gradient, move), 0.0))
    return move, decrement, steps >= _REFRESH


def _objective(margin: Floats, ridge: Floats, w: Floats) -> Floats:
    return np.asarray(losses(margin).sum(axis=1) + 0.5 * np.einsum("bk,bk->b", ridge * w, w))


def _inverse(gram: NDArray[np.float32], ridge: Floats) -> NDArray[np.float32]:
    """Return the inverse of gram + diag(ridge), float32; `gram` is overwritten.

    As a matrix, since one product with it takes less time than two triangular solves.
    """
    from scipy.linalg.lapack import spotrf, spotri

    diagonal = np.diag_indices(len(gram))
    gram[diagonal] += ridge.astype(np.float32)
    factor, info = spotrf(gram.T, lower=1)
    longer = np.float32(1e-6 * float(np.trace(gram)) / len(gram))
    while info != 0 and np.isfinite(longer):
        gram[diagonal] += longer
        factor, info = spotrf(gram.T, lower=1)
        longer *= np.float32(10.0)
    lower = np.tril(spotri(factor, lower=1)[0])
    return np.asarray(lower + np.tril(lower, -1).T)


def _solve(inverses: list[NDArray[np.float32]], right: Floats) -> Floats:
    rough = right.astype(np.float32)
    found = [inverse @ row for inverse, row in zip(inverses, rough, strict=True)]
    return np.asarray(found, dtype=np.float64)


class _Shared:
    """How hard each row is for the first draw at each C, and the Hessian over all columns there."""

    def __init__(self, X: Floats, logits: dict[float, Floats], signs: Floats) -> None:
        self._X, self._logits, self._signs = X, logits, signs
        self._known: dict[float, tuple[NDArray[np.float32], Floats]] = {}

    def hessian(self, C: float, columns: Ints) -> tuple[NDArray[np.float32], Floats]:
        """Return X^T W X and X^T (W z + s q) on these columns, at the first draw's logits z."""
        if C not in self._known:
            z = self._logits[C]
            q = sigmoid(-self._signs * z)
            weights = q * (1.0 - q)
            pull = (weights * z + self._signs * q) @ self._X
            self._known[C] = _gram(self._X.astype(np.float32), weights), pull
        gram, pull = self._known[C]
        return gram[np.ix_(columns, columns)], pull[columns]


def _gram(rough: NDArray[np.float32], weights: Floats) -> NDArray[np.float32]:
    """Return X^T W X in float32, which is enough for a preconditioner."""
    scaled = rough * np.sqrt(weights).astype(np.float32)[:, None]
    return np.asarray(scaled.T @ scaled)


def fit_probes(
    X_train: ArrayLike,
    y_train: ArrayLike,
    X_val: ArrayLike,
    y_val: ArrayLike,
    subsets: Sequence[Sequence[int]],
    *,
    fit_intercept: bool = False,
    score: str = "balanced_accuracy",
) -> Iterator[Probe]:
    """Fit the probe of each subset of the columns on the `fast` grid, with shared work.

    Parameters
    ----------
    X_train, X_val : [n, D]. The matrices that subsets take columns of.
    y_train, y_val : [n]. 0 = generated, 1 = real.
    subsets : column lists.
    fit_intercept, score : as `fit_probe`.

    Yields
    ------
    Probe
        Of each subset in turn, as `fit_probe(.., grid="fast", cross_fit=False)` gives it for the
        subset by itself, up to rounding (`params["n_iter"]` is None where work was shared).

    Raises
    ------
    UserError
        As `fit_probe`.
    """
    check_score(score)
    X = check_matrix(X_train, "X_train")
    V = check_matrix(X_val, "X_val", columns=X.shape[1])
    y = check_labels(y_train, "y_train", rows=len(X))
    v = check_labels(y_val, "y_val", rows=len(V))
    whole = _prepared(X, fit_intercept)
    shared: _Shared | None = None
    for subset in subsets:
        columns = np.asarray(subset, dtype=np.int64)
        if len(columns) < _LEAST or len(columns) > len(X):
            # small ones gain nothing; those with fewer rows are quicker in the space of the rows
            yield fit_probe(
                X[:, columns], y, V[:, columns], v, grid="fast", fit_intercept=fit_intercept,
                score=score, cross_fit=False,
            )  # fmt: skip
            continue
        every = np.append(columns, X.shape[1]) if fit_intercept else columns
        if shared is None:
            first = fit_path(X[:, columns], y, list(CS), fit_intercept=fit_intercept)
            logits = {
                C: X[:, columns].astype(np.float64) @ fit.coef + fit.intercept
                for C, fit in zip(CS, first, strict=True)
            }
            shared = _Shared(whole, logits, _signs(y))
        S = _prepared(V[:, columns], fit_intercept)
        yield _fit_subset(whole[:, every], y, S, v, every, shared, fit_intercept, score)


def _prepared(X: Any, fit_intercept: bool) -> Floats:
    matrix = np.asarray(X, dtype=np.float64)
    if fit_intercept:
        matrix = np.column_stack([matrix, np.ones(len(matrix))])
    return np.ascontiguousarray(matrix)


def _signs(y: Ints) -> Floats:
    return np.where(y == 1, 1.0, -1.0)


def _fit_subset(
    A: Floats,
    y: Ints,
    S: Floats,
    s: Ints,
    columns: Ints,
    shared: _Shared,
    fit_intercept: bool,
    score: str,
) -> Probe:
    k = A.shape[1]
    weight_columns = k - int(fit_intercept)
    A = np.ascontiguousarray(A)
    penalty = np.repeat(1.0 / np.array(CS)[:, None], k, axis=1)
    penalty[:, weight_columns:] = 0.0
    inverses, start = [], np.zeros((len(CS), k))
    for i, C in enumerate(CS):
        gram, pull = shared.hessian(C, columns)
        inverses.append(_inverse(gram, penalty[i]))
        start[i] = _solve([inverses[i]], pull[None])[0]
    w = minimise_together(A, _signs(y), penalty, inverses, start=start)
    contest = Contest(s, score)
    for i, C in enumerate(CS):
        contest.offer("newton", C, None, S @ w[i])
    point = contest.won()
    best = CS.index(point.C)
    both = np.concatenate([A, S])
    both *= _signs(np.concatenate([y, s]))[:, None]
    final, _ = minimise(
        both, penalty[best], w[best], rough=both.astype(np.float32), keep=0.6
    )  # fmt: skip
    thresholds = thresholds_of(point.logits, s, balanced=score != "accuracy", folds=0, wanted=False)
    return probe_of(
        "fast", contest, s, final[:weight_columns],
        float(final[-1]) if fit_intercept else 0.0, None, thresholds,
        fit_intercept=fit_intercept, score=score, seed=None,
    )  # fmt: skip
