"""One step of the search: which column's removal scores best, with a proof.

Every candidate starts as the incumbent moved along its Hessian to where one coefficient is zero; an
error bound turns its logits into a score interval. Candidates whose interval reaches the best lower
end are refined together until the winner is alone, or rounding leaves no more to see.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import blas

from clipsieve.selection import greedy_score
from clipsieve.selection.greedy_newton import (
    EPS,
    SAFETY,
    TINY,
    Fit,
    curvature,
    error_bound,
    fit,
    taylor_gap,
)
from clipsieve.selection.greedy_problem import Floats, Ints, Problem

BLOCK = 256  # columns worked on at once: bounds the memory of the [rows, columns] temporaries


@dataclass
class Step:
    """What one step found."""

    column: int
    score: float  # in the units of `greedy_score`
    ties: int  # candidates with the same score, the winner included
    certified: str  # "bound", "refined" or "tie_rule"
    w: Floats  # the winner's coefficients, its own position included (0 there)
    refined: int  # how many refinements of a candidate the step took
    log_loss: float = np.nan  # on the scoring rows, known once the winner's refit is the incumbent


@dataclass
class Candidates:
    """Every removable column's candidate; arrays over candidates are indexed alike."""

    position: Ints  # [k]
    logits: Floats  # [m, k]
    error: Floats  # [k] bound on ||w* - u||_H
    final: NDArray[np.bool_]  # [k] no pass can lessen the error
    length: Floats  # [m] ||v||_A
    row_length: Floats  # [n] ||x||_A
    rounding: Floats  # [m] rounding of a logit
    kept: dict[int, Refined] = field(default_factory=dict)  # by candidate index
    passes: int = 0

    def half(self, which: Ints) -> Floats:
        """Return how far the logits of candidates `which` may be off, [m, len(which)]."""
        error = np.minimum(self.error[which], 1e300)
        return self.length[:, None] * error + self.rounding[:, None]


@dataclass
class Refined:
    """A candidate that has its own coefficients."""

    u: Floats  # [d]
    margin: Floats  # [n]
    wrong: Floats  # [n]


def screen(problem: Problem, incumbent: Fit) -> Candidates:
    """Give every candidate's logits and error bound from the incumbent alone."""
    metric = incumbent.metric
    a, w = metric.inverse, incumbent.w
    x, v, first = problem.x, problem.v, problem.first
    diagonal = np.einsum("ii->i", a)
    scale = w / diagonal
    distance = np.abs(w) / np.sqrt(diagonal)
    va = blas.dgemm(1.0, v, a)
    length = np.sqrt(np.maximum(np.einsum("ij,ij->i", va, v), 0.0))
    logits = va[:, first:]
    logits *= -scale[first:]
    logits += blas.dgemv(1.0, v, w)[:, None]

    # x'dw for every row and candidate, in blocks: only its largest and its 4th moment are kept
    row_square = np.zeros(len(x))
    reach = np.empty(problem.width)
    moment = np.empty(problem.width)
    for start in range(0, problem.width, BLOCK):
        stop = min(start + BLOCK, problem.width)
        xa = blas.dgemm(1.0, x, a[:, start:stop])
        row_square += np.einsum("ij,ij->i", xa, x[:, start:stop])
        reach[start:stop] = np.maximum(xa.max(axis=0), -xa.min(axis=0)) * np.abs(scale[start:stop])
        np.multiply(xa, xa, out=xa)
        np.multiply(xa, xa, out=xa)
        moment[start:stop] = metric.weight @ xa * scale[start:stop] ** 4
    row_length = np.sqrt(np.maximum(row_square, 0.0))

    left_out = metric.weight == 0
    gradient = incumbent.gradient + incumbent.lag * distance
    safe = np.maximum(reach, 1e-300)
    with np.errstate(over="ignore", invalid="ignore"):
        gap = taylor_gap(np.minimum(safe, 300.0)) / np.minimum(safe, 300.0) ** 2
        gradient += (1 + incumbent.lag) * gap * np.sqrt(moment)
        if left_out.any():  # rows outside the metric: |change of s| <= s' (e^t - 1) <= TINY e^t
            gradient += float(row_length[left_out].sum()) * TINY * np.exp(np.minimum(reach, 700.0))
        shrink = np.exp(-np.minimum(reach, 700.0)) * (1 - min(incumbent.lag, 0.5)) * metric.trust
        error = error_bound(gradient, float(row_length.max(initial=0.0)), shrink)
    rounding = SAFETY * EPS * problem.val_norm * np.linalg.norm(w)
    return Candidates(
        position=np.arange(first, problem.width),
        logits=logits,
        error=error[first:],
        final=np.zeros(problem.width - first, dtype=bool),
        length=length,
        row_length=row_length,
        rounding=rounding,
    )


def refine(problem: Problem, incumbent: Fit, candidates: Candidates, which: Ints) -> None:
    """Take one step with the shared metric for candidates `which`; renew their error bounds.

    With P the projection that holds the candidate's own coefficient at zero, the step is
    `P A gradient`. What it leaves as gradient is X' r with r the deviation of the loss from the
    quadratic of the metric, and ||X' r||_A <= || r / sqrt(weight) ||.
    """
    for start in range(0, len(which), BLOCK):
        refine_block(problem, incumbent, candidates, which[start : start + BLOCK])
    candidates.passes += len(which)


def refine_block(problem: Problem, incumbent: Fit, candidates: Candidates, which: Ints) -> None:
    """`refine` for at most BLOCK candidates."""
    metric = incumbent.metric
    a, x = metric.inverse, problem.x
    k, own = len(which), candidates.position[which]
    u = np.empty((problem.width, k), order="F")
    margin = np.empty((len(x), k), order="F")
    wrong = np.empty((len(x), k), order="F")
    fresh = np.array([int(j) not in candidates.kept for j in which])
    for c in np.flatnonzero(~fresh):
        state = candidates.kept[int(which[c])]
        u[:, c], margin[:, c], wrong[:, c] = state.u, state.margin, state.wrong
    if fresh.any():
        j = own[fresh]
        u[:, fresh] = moved(incumbent, j)
        move = np.asfortranarray(a[:, j] * (incumbent.w[j] / a[j, j]))
        margin[:, fresh] = incumbent.margin[:, None] - blas.dgemm(1.0, x, move)
        wrong[:, fresh] = curvature(margin[:, fresh])[0]

    columns = np.arange(k)
    gradient = blas.dgemm(-1.0, x, wrong, trans_a=1)
    gradient += problem.lam[:, None] * u
    gradient[own, columns] = 0.0
    step = blas.dgemm(1.0, a, gradient)
    step -= a[:, own] * (step[own, columns] / a[own, own])
    step[own, columns] = 0.0
    size = np.sqrt(np.maximum(np.einsum("ij,ij->j", gradient, step), 0.0))
    move = blas.dgemm(1.0, x, step)
    u -= step
    margin -= move
    new_wrong, weight = curvature(margin)
    deviation = metric.weight[:, None] * move
    deviation += wrong
    deviation -= new_wrong

    used = metric.weight > 0
    left = np.sqrt((1.0 / metric.weight[used]) @ np.square(deviation[used]))
    left += candidates.row_length[~used] @ np.abs(deviation[~used])
    noise = incumbent.rounding
    length = float(candidates.row_length.max(initial=0.0))
    error = error_bound(left + noise, length, metric.least_ratio(weight))
    candidates.logits[:, which] -= blas.dgemm(1.0, problem.v, step)

    for c, j in enumerate(which):
        if error[c] < np.inf and (left[c] <= 0.5 * size[c] or left[c] <= noise):
            candidates.final[j] = left[c] <= noise
            candidates.error[j] = error[c]
            candidates.kept[int(j)] = Refined(u[:, c], margin[:, c], new_wrong[:, c])
        else:
            alone(problem, incumbent, candidates, int(j))


def alone(problem: Problem, incumbent: Fit, candidates: Candidates, j: int) -> None:
    """Refit one candidate by itself, with its own Hessian, where the shared metric does not serve."""
    own = int(candidates.position[j])
    rest = np.delete(np.arange(problem.width), own)
    reduced = problem.without(own)
    result = fit(reduced, incumbent.w[rest], target=0.0)
    metric = result.metric
    square = np.zeros(len(reduced.x))
    for start in range(0, len(rest), BLOCK):
        stop = min(start + BLOCK, len(rest))
        xa = blas.dgemm(1.0, reduced.x, metric.inverse[:, start:stop])
        square += np.einsum("ij,ij->i", xa, reduced.x[:, start:stop])
    length = float(np.sqrt(max(square.max(initial=0.0), 0.0)))
    shrink = (1 - min(result.lag, 0.5)) * metric.trust
    error = float(error_bound(np.array(result.gradient), length, shrink))
    wrong, weight = curvature(result.margin)
    # from the candidate's own metric to the shared one
    ratio = float(incumbent.metric.least_ratio(weight[:, None])[0])
    full = np.zeros(problem.width)
    full[rest] = result.w
    candidates.error[j] = error / np.sqrt(ratio) if ratio > 0 else np.inf
    candidates.logits[:, j] = blas.dgemv(1.0, problem.v, full)
    candidates.final[j] = True
    candidates.kept[j] = Refined(full, result.margin, wrong)


def moved(incumbent: Fit, positions: Ints) -> Floats:
    """Return the incumbent moved along its Hessian to where one coefficient is zero, [d, k]."""
    a = incumbent.metric.inverse
    u = incumbent.w[:, None] - a[:, positions] * (
        incumbent.w[positions] / a[positions, positions]
    )
    u[positions, np.arange(len(positions))] = 0.0
    return u


def score_bounds(
    problem: Problem, candidates: Candidates, which: Ints, score: str
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Return each candidate's least and greatest score, and whether no rounding had to be ruled on.

    Of a candidate that no pass can better, logits within their rounding of each other (AUC) or of 0
    (accuracy) count as equal, which closes the interval.
    """
    logits, real = candidates.logits[:, which], problem.val_real
    proved = np.ones(len(which), dtype=bool)
    if score == "log_loss":
        _, low, high = greedy_score.log_loss_bounds(
            logits, candidates.error[which], candidates.rounding, real, candidates.length
        )
        return -high, -low, proved
    bounds, at_precision = {
        "accuracy": (greedy_score.accuracy_bounds, greedy_score.accuracy_at_precision),
        "auc": (greedy_score.auc_bounds, greedy_score.auc_at_precision),
    }[score]
    half = candidates.half(which)
    low, high = bounds(logits, half, real)
    open_ = np.flatnonzero((low < high) & candidates.final[which])
    if len(open_):
        proved[open_] = False
        low[open_] = at_precision(logits[:, open_], half[:, open_], real)
        high[open_] = low[open_]
    return low, high, proved


def least_log_loss(
    problem: Problem, incumbent: Fit, candidates: Candidates, tied: Ints
) -> tuple[Ints, bool]:
    """Return those of `tied` whose log-loss nothing separates from the least, and if they are several."""
    while True:
        _, low, high = greedy_score.log_loss_bounds(
            candidates.logits[:, tied],
            candidates.error[tied],
            candidates.rounding,
            problem.val_real,
            candidates.length,
        )
        tied = tied[low <= high.min()]
        open_ = tied[~candidates.final[tied]]
        if len(tied) == 1 or len(open_) == 0:
            return tied, len(tied) > 1
        refine(problem, incumbent, candidates, open_)


def decide(problem: Problem, incumbent: Fit, *, score: str, tie: str) -> Step:
    """Find the column whose removal scores best; among equals, by the tie rule."""
    candidates = screen(problem, incumbent)
    every = np.arange(len(candidates.position))
    low, high, exact = score_bounds(problem, candidates, every, score)
    while True:
        best = low.max()
        open_ = np.flatnonzero((high >= best) & (low < high) & ~candidates.final)
        if score == "log_loss" and np.count_nonzero(high >= best) == 1:
            open_ = open_[:0]
        if len(open_) == 0:
            break
        refine(problem, incumbent, candidates, open_)
        low[open_], high[open_], settled = score_bounds(problem, candidates, open_, score)
        exact[open_] = settled
    tied = np.flatnonzero(high >= best)
    ruled = bool((~exact[tied]).any()) if score != "log_loss" else len(tied) > 1
    ties = len(tied)
    names = problem.names[candidates.position]
    if score != "log_loss" and tie == "log_loss" and ties > 1:
        tied, by_rule = least_log_loss(problem, incumbent, candidates, tied)
        ruled |= by_rule
    winner = int(tied[np.argmin(names[tied])])
    if winner in candidates.kept:
        u = candidates.kept[winner].u
    else:
        u = moved(incumbent, candidates.position[[winner]])[:, 0]
    certified = "tie_rule" if ruled else "refined" if candidates.passes else "bound"
    return Step(
        column=int(names[winner]),
        score=float(best),
        ties=ties,
        certified=certified,
        w=u,
        refined=candidates.passes,
    )


def score_of(problem: Problem, incumbent: Fit, score: str) -> float:
    """Return the score of the incumbent itself, in the units of `greedy_score`."""
    logits = blas.dgemv(1.0, problem.v, incumbent.w)[:, None]
    rounding = SAFETY * EPS * problem.val_norm * float(np.linalg.norm(incumbent.w))
    real = problem.val_real
    if score == "log_loss":
        zero = np.zeros(1)
        return -float(
            greedy_score.log_loss_bounds(logits, zero, rounding, real, np.zeros(len(logits)))[0][0]
        )
    if score == "auc":
        return float(greedy_score.auc_at_precision(logits, rounding[:, None], real)[0])
    return float(greedy_score.accuracy_at_precision(logits, rounding[:, None], real)[0])
