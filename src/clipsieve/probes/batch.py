"""The probes of many draws of one control, fitted together on the `fast` grid.

A control is drawn a hundred times: as many random columns, as many random heads, or labels in
another order. Each draw needs fourteen converged fits (eight values of C, the final fit, five folds),
and the draws are of one shape on the same rows. What is shared:

- the fits of a draw run side by side: one product of its matrix with the weights of all of them;
- rows are nearly as hard for one draw as for another, so the Hessian weights q (1 - q) of the first
  draw serve as those of all. With them the Hessian over all columns is formed once for each C, and a
  draw's own columns of it, inverted, give it a start near its optimum and precondition conjugate
  gradients so well that a Newton step takes a few of them.

Every fit goes on to its own optimum, the one of `clipsieve.probes.newton`, so the results are those of
`fit_probe(.., grid="fast")` for each draw by itself, to rounding.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clipsieve.errors import UserError
from clipsieve.probes.checks import check_labels, check_matrix
from clipsieve.probes.grid import CS, Contest, TuneRows, check_score, fit_probe, probe_of
from clipsieve.probes.newton import fit_path, minimise
from clipsieve.probes.probe import Probe
from clipsieve.probes.scores import losses, sigmoid
from clipsieve.probes.thresholds import check_groups, joined_groups, plan_folds, thresholds_of

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_STEPS = 40  # Newton steps before a fit is left to the solver of single ones
_INNER = 40  # conjugate-gradient steps of one Newton step
_REFRESH = 12  # more of them than this call for a Hessian of the fit's own


def minimise_together(
    X: Floats,
    signs: Floats,
    penalty: Floats,
    inverses: list[Any],
    *,
    seen: Floats | None = None,
    start: Floats | None = None,
    tol: float = 1e-6,
) -> Floats:
    """Return the minima of several logistic losses on the same columns, float64 [B, k].

    Minimises  sum_i u_bi log(1 + exp(-s_i x_i . w)) + sum_j penalty_bj w_j^2 / 2  for each b.

    Parameters
    ----------
    X : float64 [n, k].
    signs : float64 [n]. s: +1 for label 1, -1 for label 0.
    penalty : float64 [B, k]. 1/C for weights, 0 for an intercept column.
    inverses : list of B inverses of matrices near each Hessian, float32 [k, k]. They decide how long
        it takes, not where it ends, and are replaced where they turn out too far off.
    seen : float64 [B, n], optional. u: 1 for a row that is fitted, 0 for one left out.
    start : float64 [B, k], optional. Where to begin; zeros by default.
    tol : float. The last Newton step is taken when the decrement is below
        tol * (1 + sqrt(objective)); that step leaves about 1e-4 of it, and 1e-10 is where
        single fits stop.
    """
    B, k = penalty.shape
    w = np.zeros((B, k)) if start is None else start.copy()
    u_all = np.ones((B, len(X))) if seen is None else seen
    rough = X.astype(np.float32)
    inverses = list(inverses)
    going = np.arange(B)
    margin = signs * (w @ X.T)
    value = _objective(margin, u_all, penalty, w)
    for _ in range(_STEPS):
        u, ridge = u_all[going], penalty[going]
        wrong = sigmoid(-margin)
        q = u * wrong
        weights = q * (1.0 - wrong)
        gradient = ridge * w[going] - (q * signs) @ X
        own = [inverses[b] for b in going]
        move, decrement, slow = _direction(gradient, weights, ridge, own, rough)
        shift = signs * (move @ X.T)
        scale = np.ones(len(going))
        for _ in range(30):  # halved until the objective falls; rounding may raise it
            trial = w[going] - scale[:, None] * move
            new = _objective(margin - scale[:, None] * shift, u, ridge, trial)
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
        w[b] = minimise(X * signs[:, None], penalty[b], w[b], weights=u_all[b])[0]
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


def _objective(margin: Floats, seen: Floats, ridge: Floats, w: Floats) -> Floats:
    loss = np.einsum("bn,bn->b", seen, losses(margin))
    return np.asarray(loss + 0.5 * np.einsum("bk,bk->b", ridge * w, w))


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
    if all(inverse is inverses[0] for inverse in inverses):
        return np.asarray(rough @ inverses[0], dtype=np.float64)
    found = [inverse @ row for inverse, row in zip(inverses, rough, strict=True)]
    return np.asarray(found, dtype=np.float64)


@dataclass(frozen=True)
class Draw:
    """What one draw of a control sees.

    Attributes
    ----------
    columns : int [k], optional. Its columns of the shared matrices; all by default.
    X_train, X_val : [n, k], optional. Matrices of its own instead.
    y_train, y_val : [n], optional. Labels of its own; those of all by default.
    tune : TuneRows, optional. As in `fit_probe`, with k columns.
    """

    columns: ArrayLike | None = None
    X_train: ArrayLike | None = None
    X_val: ArrayLike | None = None
    y_train: ArrayLike | None = None
    y_val: ArrayLike | None = None
    tune: TuneRows | None = None


class _Rows:
    """Rows that all draws are fitted on, and how hard each is for the first draw at each C."""

    def __init__(self, X: Floats | None, logits: dict[float, Floats], signs: Floats) -> None:
        self._X, self._logits, self._signs = X, logits, signs
        self._known: dict[float, tuple[NDArray[np.float32], Floats]] = {}

    def _weights(self, C: float) -> tuple[Floats, Floats]:
        z = self._logits[C]
        q = sigmoid(-self._signs * z)
        weights = q * (1.0 - q)
        return weights, weights * z + self._signs * q

    def hessian(
        self, C: float, columns: Ints | None, X: Floats
    ) -> tuple[NDArray[np.float32], Floats]:
        """Return X^T W X and X^T (W z + s q) of a draw, with the first draw's weights and logits."""
        if self._X is None or columns is None:
            weights, response = self._weights(C)
            return _gram(X.astype(np.float32), weights), response @ X
        if C not in self._known:
            weights, response = self._weights(C)
            self._known[C] = _gram(self._X.astype(np.float32), weights), response @ self._X
        gram, pull = self._known[C]
        return gram[np.ix_(columns, columns)], pull[columns]


def _gram(rough: NDArray[np.float32], weights: Floats) -> NDArray[np.float32]:
    """Return X^T W X in float32, which is enough for a preconditioner."""
    scaled = rough * np.sqrt(weights).astype(np.float32)[:, None]
    return np.asarray(scaled.T @ scaled)


def fit_probes(
    X_train: ArrayLike | None,
    y_train: ArrayLike,
    X_val: ArrayLike | None,
    y_val: ArrayLike,
    draws: Iterable[Draw],
    *,
    fit_intercept: bool = False,
    score: str = "balanced_accuracy",
    groups: tuple[ArrayLike, ArrayLike] | None = None,
) -> Iterator[Probe]:
    """Fit the probes of many draws on the `fast` grid, one after the other, with shared work.

    Parameters
    ----------
    X_train, X_val : [n, D]. The matrices that draws take columns of; None where every draw brings
        its own.
    y_train, y_val : [n]. 0 = generated, 1 = real.
    draws : iterable of Draw, taken one at a time.
    fit_intercept, score, groups : as `fit_probe`.

    Yields
    ------
    Probe
        Of each draw in turn, as `fit_probe(.., grid="fast")` gives it for the draw by itself, up to
        rounding (`params["n_iter"]` is None).

    Raises
    ------
    UserError
        As `fit_probe`.
    """
    check_score(score)
    X = None if X_train is None else check_matrix(X_train, "X_train")
    V = None if X is None or X_val is None else check_matrix(X_val, "X_val", columns=X.shape[1])
    labels = y_train, y_val
    shared: tuple[_Rows, _Rows] | None = None
    for draw in draws:
        columns = None if draw.columns is None else np.asarray(draw.columns, dtype=np.int64)
        if draw.X_train is None or draw.X_val is None:
            if X is None or V is None:
                raise UserError("a draw without matrices of its own needs X_train and X_val")
            parts = X, V
            if columns is not None:
                parts = X[:, columns], V[:, columns]
            chosen = np.arange(X.shape[1]) if columns is None else columns
        else:
            parts = check_matrix(draw.X_train, "X_train"), check_matrix(draw.X_val, "X_val")
            chosen = None
        y = check_labels(
            labels[0] if draw.y_train is None else draw.y_train, "y_train", rows=len(parts[0])
        )
        v = check_labels(
            labels[1] if draw.y_val is None else draw.y_val, "y_val", rows=len(parts[1])
        )
        if len(parts[0]) < parts[0].shape[1]:
            # fewer rows than columns: cheaper by itself, in the space of its rows
            yield fit_probe(
                parts[0], y, parts[1], v, grid="fast", fit_intercept=fit_intercept, score=score,
                groups=groups, tune=draw.tune,
            )  # fmt: skip
            continue
        A = _prepared(parts[0], fit_intercept)
        both = _prepared(np.concatenate(parts), fit_intercept)
        if shared is None:
            first = fit_path(parts[0], y, list(CS), fit_intercept=fit_intercept)
            weights = {
                C: np.append(f.coef, f.intercept) if fit_intercept else f.coef
                for C, f in zip(CS, first, strict=True)
            }
            whole_train = whole_both = None
            if X is not None and V is not None:
                whole_train = _prepared(X, fit_intercept)
                whole_both = _prepared(np.concatenate([X, V]), fit_intercept)
            shared = (
                _Rows(whole_train, {C: A @ w for C, w in weights.items()}, _signs(y)),
                _Rows(
                    whole_both,
                    {C: both @ w for C, w in weights.items()},
                    _signs(np.concatenate([y, v])),
                ),
            )
        if fit_intercept and chosen is not None and X is not None:
            chosen = np.append(chosen, X.shape[1])
        yield _fit_draw(draw, A, y, both, v, chosen, shared, fit_intercept, score, groups)


def _prepared(X: Any, fit_intercept: bool) -> Floats:
    matrix = np.asarray(X, dtype=np.float64)
    if fit_intercept:
        matrix = np.column_stack([matrix, np.ones(len(matrix))])
    return np.ascontiguousarray(matrix)


def _signs(y: Ints) -> Floats:
    return np.where(y == 1, 1.0, -1.0)


def _fit_draw(
    draw: Draw,
    A: Floats,
    y: Ints,
    both: Floats,
    v: Ints,
    columns: Ints | None,
    shared: tuple[_Rows, _Rows],
    fit_intercept: bool,
    score: str,
    groups: tuple[ArrayLike, ArrayLike] | None,
) -> Probe:
    on_train, on_both = shared
    k = A.shape[1]
    weight_columns = k - int(fit_intercept)
    labels = np.concatenate([y, v])

    def ridge(C: float) -> Floats:
        found = np.full(k, 1.0 / C)
        found[weight_columns:] = 0.0
        return found

    if draw.tune is None:
        S, s, T, t, row_groups = both[len(y) :], v, both, labels, None
    else:
        rows = check_matrix(draw.tune.X, "tune.X", columns=weight_columns)
        T = _prepared(rows, fit_intercept)
        t = check_labels(draw.tune.y, "tune.y", rows=len(T))
        row_groups = check_groups(draw.tune.groups, len(T), "tune.groups")
        if draw.tune.groups is None:
            row_groups = row_groups + len(both)
        scored = np.ones(len(T), bool)
        if draw.tune.scored is not None:
            scored = np.asarray(draw.tune.scored, bool)
        S, s = T[scored], check_labels(t[scored], "tune.y of the scored rows", rows=scored.sum())

    penalty = np.stack([ridge(C) for C in CS])
    inverses, start = [], np.zeros((len(CS), k))
    for i in range(len(CS)):
        # a Hessian of the draw's own matrix serves two neighbouring values of C
        if i % 2 == 0 or columns is not None:
            gram, pull = on_train.hessian(CS[i], columns, A)
        inverses.append(_inverse(gram.copy(), penalty[i]))
        if draw.y_train is None:
            start[i] = _solve([inverses[i]], pull[None])[0]
    w = minimise_together(A, _signs(y), penalty, inverses, start=start)
    contest = Contest(s, score)
    for i, C in enumerate(CS):
        contest.offer("newton", C, None, S @ w[i])
    point = contest.won()
    best = CS.index(point.C)

    folds = plan_folds(
        joined_groups(groups, len(y), len(v)), labels, row_groups,
        None if draw.tune is None else t,
    )  # fmt: skip
    ridges, seen = [ridge(point.C)], [np.ones(len(both))]
    if folds is not None:
        for left_out in np.unique(folds[1]):
            kept = folds[0] != left_out
            ridges.append(ridge(point.C * (len(kept) / int(kept.sum()))))
            seen.append(kept.astype(np.float64))
    gram, _ = on_both.hessian(point.C, columns, both)
    inverse = _inverse(gram.copy(), ridges[0])
    final = minimise_together(
        both, _signs(labels), np.stack(ridges), [inverse] * len(ridges),
        seen=np.stack(seen), start=np.tile(w[best], (len(ridges), 1)),
    )  # fmt: skip
    if folds is None:
        logits, on, count = point.logits, s, 0
    else:
        logits, on, count = np.empty(len(T)), t, len(ridges) - 1
        for fold, left_out in enumerate(np.unique(folds[1]), start=1):
            of_fold = folds[1] == left_out
            logits[of_fold] = T[of_fold] @ final[fold]
    thresholds = thresholds_of(logits, on, balanced=score != "accuracy", folds=count)
    return probe_of(
        "fast", contest, s, final[0, :weight_columns],
        float(final[0, -1]) if fit_intercept else 0.0, None, thresholds,
        fit_intercept=fit_intercept, score=score, seed=None,
    )  # fmt: skip
