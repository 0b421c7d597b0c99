"""One step of the search: which column's removal scores best, with a proof.

Every candidate starts as the incumbent moved along its Hessian to where one coefficient is zero; an
error bound turns its logits into a score interval. Candidates whose interval reaches the best lower
end are refined together until a single winner is left, or only rounding errors are left.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import blas

from clipsieve.selection.greedy import score as greedy_score
from clipsieve.selection.greedy.errors import standard_error
from clipsieve.selection.greedy.newton import EPS, SAFETY, Fit, curvature_of, error_bound, fit
from clipsieve.selection.greedy.problem import Floats, Ints, Problem
from clipsieve.selection.greedy.refit import refit
from clipsieve.selection.greedy.screen import BLOCK, Candidates, Refined, moved, screen

SLOW = 0.5  # a shared step that leaves more of the gradient is not worth another
CONVERGED = 4  # multiples of rounding that a converged gradient may have
FRONT = 16  # candidates refined first: the likely winners, whose scores rule the others out
FEW = 32  # candidates that are refined for no more than the number of ties


@dataclass
class Step:
    """What one step found."""

    column: int
    score: float  # in the units of `greedy_score`
    ties: int  # candidates with the same score, the winner included
    ties_exact: bool  # False: at least so many
    certified: str  # "bound", "refined" or "tie_rule"
    w: Floats  # the winner's coefficients, its own position included (0 there)
    refined: int  # how many refinements of a candidate the step took
    # on the scoring rows, known once the winner's refit is the incumbent
    log_loss: float = np.nan
    error: float = np.nan  # standard error of the score


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
    for at in np.flatnonzero(~fresh):
        state = candidates.kept[int(which[at])]
        u[:, at], margin[:, at], wrong[:, at] = state.u, state.margin, state.wrong
    if fresh.any():
        j = own[fresh]
        u[:, fresh] = moved(incumbent, j)
        move = np.asfortranarray(a[:, j] * (incumbent.w[j] / a[j, j]))
        margin[:, fresh] = incumbent.margin[:, None] - blas.dgemm(1.0, x, move)
        wrong[:, fresh] = curvature_of(problem, margin[:, fresh])[0]

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
    new_wrong, weight = curvature_of(problem, margin)
    deviation = metric.weight[:, None] * move
    deviation += wrong
    deviation -= new_wrong

    used = metric.weight > 0
    inverse = np.divide(1.0, metric.weight, out=np.zeros_like(metric.weight), where=used)
    left = np.sqrt(inverse @ np.square(deviation))
    if not used.all():
        left += candidates.row_length[~used] @ np.abs(deviation[~used])
    noise = incumbent.rounding
    length = float(candidates.row_length.max(initial=0.0))
    error = error_bound(left + noise, length, metric.least_ratio(weight))
    candidates.logits[:, which] = blas.dgemm(1.0, problem.v, u)
    candidates.blur[which] = SAFETY * EPS * np.sqrt(np.einsum("ij,ij->j", u, u))

    far = []
    for c, candidate in enumerate(which.tolist()):
        before = candidates.kept.get(candidate)
        passes = before.passes + 1 if before else 1
        slow = before is not None and size[c] > SLOW * before.size and left[c] > noise
        if not np.isfinite(left[c]):
            alone(problem, incumbent, candidates, candidate)
            continue
        if slow or (passes >= 3 and not np.isfinite(error[c])):
            far.append(c)
            continue
        candidates.final[candidate] = left[c] <= noise and np.isfinite(error[c])
        candidates.error[candidate] = error[c]
        candidates.kept[candidate] = Refined(
            u[:, c], margin[:, c], new_wrong[:, c], float(size[c]), passes
        )
    if far:
        together(problem, incumbent, candidates, which[far], u[:, far])


def together(
    problem: Problem, incumbent: Fit, candidates: Candidates, which: Ints, u: Floats
) -> None:
    """Refit candidates far from the incumbent, from `u` [d, k]; by itself one that ends uncertified."""
    metric, noise = incumbent.metric, incumbent.rounding
    u, margin, size = refit(problem, incumbent, candidates.position[which], u, noise)
    wrong, weight = curvature_of(problem, margin)
    length = float(candidates.row_length.max(initial=0.0))
    error = error_bound(size + noise, length, metric.least_ratio(weight))
    candidates.logits[:, which] = blas.dgemm(1.0, problem.v, u)
    candidates.blur[which] = SAFETY * EPS * np.sqrt(np.einsum("ij,ij->j", u, u))
    candidates.error[which] = error
    candidates.final[which] = True
    for c, candidate in enumerate(which.tolist()):
        if np.isfinite(error[c]) and size[c] <= CONVERGED * noise:
            candidates.kept[candidate] = Refined(u[:, c], margin[:, c], wrong[:, c], 0.0, 0)
        else:
            alone(problem, incumbent, candidates, candidate)


def alone(problem: Problem, incumbent: Fit, candidates: Candidates, j: int) -> None:
    """Refit one candidate by itself, with its own Hessian, where the shared metric does not serve."""
    own = int(candidates.position[j])
    rest = np.delete(np.arange(problem.width), own)
    reduced = problem.without(own)
    result = fit(reduced, incumbent.w[rest], accuracy=0.0)
    metric = result.metric
    length = float(lengths(reduced.x, metric.inverse).max(initial=0.0))
    shrink = float(metric.least_ratio(result.weight[:, None])[0])
    error = float(error_bound(np.array(result.gradient), length, shrink))
    if not np.isfinite(error):  # double precision cannot certify it: say so where it matters
        candidates.doubtful.add(j)
        error = result.gradient
    full = np.zeros(problem.width)
    full[rest] = result.w
    # ||v||_A of its own metric, as a multiple of ||v||, turns the error into one of the logits
    own_length = lengths(np.asfortranarray(problem.v[:, rest]), metric.inverse)
    multiple = np.divide(
        own_length, problem.val_norm, out=np.zeros_like(own_length), where=problem.val_norm > 0
    )
    candidates.error[j] = 0.0
    candidates.blur[j] = error * float(multiple.max(initial=0.0))
    candidates.blur[j] += SAFETY * EPS * float(np.linalg.norm(full))
    candidates.logits[:, j] = blas.dgemv(1.0, problem.v, full)
    candidates.final[j] = True
    candidates.kept[j] = Refined(full, result.margin, result.wrong, 0.0, 0)


def lengths(rows: Floats, a: Floats) -> Floats:
    """Return ||x||_A for each of `rows`."""
    square = np.zeros(len(rows))
    for start in range(0, len(a), BLOCK):
        part = slice(start, min(start + BLOCK, len(a)))
        square += np.einsum("ij,ij->i", blas.dgemm(1.0, rows, a[:, part]), rows[:, part])
    return np.sqrt(np.maximum(square, 0.0))


def loss_bounds(
    problem: Problem,
    candidates: Candidates,
    which: Ints,
    share: Floats,
    tangent: tuple[float, Floats],
) -> tuple[Floats, Floats, Floats]:
    """Return the current log-loss of candidates `which`, and bounds on the refits'."""
    return greedy_score.log_loss_bounds(
        candidates.logits[:, which],
        problem.val_real,
        share,
        candidates.error[which],
        candidates.length,
        candidates.blur[which],
        candidates.norm,
        tangent,
    )


def score_bounds(
    problem: Problem, candidates: Candidates, which: Ints
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Return each candidate's least and greatest score, and whether no rounding had to be ruled on.

    Of a candidate that no pass can better, logits within their rounding of each other (AUC) or of 0
    (accuracy) count as equal, which closes the interval.
    """
    scoring = problem.scoring
    proved = np.array([int(j) not in candidates.doubtful for j in which])
    if scoring.score == "log_loss":
        parts = [
            loss_bounds(problem, candidates, which, share, tangent)
            for share, tangent in zip(scoring.judged, candidates.judged, strict=True)
        ]
        low, high = (np.max([part[side] for part in parts], axis=0) for side in (1, 2))
        return -high, -low, proved
    logits = candidates.logits[:, which]
    half = candidates.half(which)
    low, high = scoring.bounds(logits, half)
    open_ = np.flatnonzero((low < high) & candidates.final[which])
    if len(open_):
        proved[open_] = False
        low[open_] = scoring.at_precision(logits[:, open_], half[:, open_])
        high[open_] = low[open_]
    return low, high, proved


def front(which: Ints, rank: Floats, whole: bool) -> Ints:
    """Return all of `which`, or just the few of least `rank`: what they prove may spare the rest."""
    if whole or len(which) <= 2 * FRONT:
        return which
    return np.sort(which[np.argsort(rank, kind="stable")[:FRONT]])


class Standing:
    """The state of the candidates of a step: score intervals, updated as candidates are refined."""

    def __init__(self, problem: Problem, incumbent: Fit) -> None:
        self.problem, self.incumbent, self.score = problem, incumbent, problem.scoring.score
        self.candidates = screen(problem, incumbent)
        self.names = problem.names[self.candidates.position]
        every = np.arange(len(self.names))
        self.low, self.high, self.proved = score_bounds(problem, self.candidates, every)
        self.losses = np.full((3, len(every)), np.nan)  # as `loss_bounds`; nan where not known

    @property
    def best(self) -> float:
        """The score that some candidate is sure to have (of log-loss: to reach)."""
        return float(self.low.max())

    def refine(self, which: Ints) -> None:
        """Refine candidates and renew their intervals."""
        refine(self.problem, self.incumbent, self.candidates, which)
        self.low[which], self.high[which], self.proved[which] = score_bounds(
            self.problem, self.candidates, which
        )
        self.losses[:, which] = np.nan

    def unsettled(self, which: NDArray[np.bool_]) -> Ints:
        """Return those of `which` whose interval a refinement may still narrow."""
        return np.flatnonzero(which & (self.low < self.high) & ~self.candidates.final)

    def settle_best(self) -> None:
        """Refine until no candidate may score above `best`; of log-loss, or until only one can."""
        whole = False
        while True:
            open_ = self.unsettled(self.high > self.best)
            if self.score == "log_loss" and np.count_nonzero(self.high >= self.best) == 1:
                return
            if len(open_) == 0:
                return
            self.refine(front(open_, -(self.low[open_] + self.high[open_]), whole))
            whole = True

    def least_log_loss(self) -> Ints:
        """Return the candidates with the best score that nothing separates from the least log-loss.

        A candidate whose score is not settled needs no settling where its log-loss is surely higher
        than that of one which is.
        """
        whole = False
        while True:
            sure = self.low >= self.best
            near = np.flatnonzero(self.high >= self.best)
            loss, low, high = self.losses_of(near)
            lowest = low <= high[sure[near]].min()
            near, loss = near[lowest], loss[lowest]
            open_ = ~self.candidates.final[near]
            if (len(near) == 1 and sure[near[0]]) or not open_.any():
                return near
            self.refine(front(near[open_], loss[open_], whole))
            whole = True

    def losses_of(self, which: Ints) -> Floats:
        """Return `loss_bounds` of candidates `which`, [3, len(which)], computed where not yet known."""
        unknown = which[np.isnan(self.losses[0, which])]
        if len(unknown):
            self.losses[:, unknown] = loss_bounds(
                self.problem,
                self.candidates,
                unknown,
                self.problem.scoring.share,
                self.candidates.tangent,
            )
        return self.losses[:, which]

    def lowest_column(self) -> Ints:
        """Return, as an array of one, the lowest column with the best score."""
        while True:
            first = self.names[self.low >= self.best].min()
            open_ = self.unsettled((self.high >= self.best) & (self.names < first))
            if len(open_) == 0:
                return np.flatnonzero(self.names == first)
            self.refine(open_)


def decide(problem: Problem, incumbent: Fit, *, tie: str, count_ties: bool = False) -> Step:
    """Find the column whose removal scores best; among equals, by the tie rule."""
    score = problem.scoring.score
    standing = Standing(problem, incumbent)
    candidates = standing.candidates
    standing.settle_best()
    if score == "log_loss":
        last = np.flatnonzero(standing.high >= standing.best)
    elif tie == "log_loss":
        last = standing.least_log_loss()
    else:
        last = standing.lowest_column()
    winner = int(last[np.argmin(standing.names[last])])
    # doubt where rounding was ruled on: between the last ones, or in the score itself
    ruled = len(last) > 1 or not standing.proved[winner]
    refined = candidates.passes > 0
    u = winner_of(candidates, incumbent, winner)

    open_ = standing.unsettled(standing.high >= standing.best)
    if score == "log_loss":
        open_ = open_[:0]
    while len(open_) and (count_ties or len(open_) <= FEW):
        standing.refine(open_)
        open_ = standing.unsettled(standing.high >= standing.best)
    tied = standing.high >= standing.best
    if len(open_):
        tied &= standing.low >= standing.best
    ruled |= not standing.proved[tied].all()
    return Step(
        column=int(standing.names[winner]),
        score=standing.best,
        ties=int(np.count_nonzero(tied)),
        ties_exact=len(open_) == 0,
        certified="tie_rule" if ruled else "refined" if refined else "bound",
        w=u,
        refined=candidates.passes,
    )


def winner_of(candidates: Candidates, incumbent: Fit, winner: int) -> Floats:
    """Return the best coefficients known for a candidate, [d]."""
    if winner in candidates.kept:
        return candidates.kept[winner].u
    return moved(incumbent, candidates.position[[winner]])[:, 0]


@dataclass(frozen=True)
class State:
    """How a probe itself does on the scoring rows."""

    score: float  # in the units of `greedy_score`
    log_loss: float
    error: float  # standard error of the score over groups, as a score


def state_of(problem: Problem, incumbent: Fit, group: Ints) -> State:
    """Return the score, the log-loss and the score's standard error of the incumbent."""
    scoring = problem.scoring
    logits = blas.dgemv(1.0, problem.v, incumbent.w)
    losses = greedy_score.wrongness(logits[:, None], scoring.real)[1][:, 0]
    if scoring.score == "log_loss":
        score = -max(float(share @ losses) for share in scoring.judged)
    else:
        blur = SAFETY * EPS * float(np.linalg.norm(incumbent.w))
        half = (problem.val_norm * blur)[:, None]
        score = float(scoring.at_precision(logits[:, None], half)[0])
    return State(
        score, float(scoring.share @ losses), standard_error(scoring, logits, losses, group)
    )
