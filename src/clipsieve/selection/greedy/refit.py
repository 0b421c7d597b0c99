"""Candidates far from the incumbent, refitted together by conjugate gradients.

Where curvatures have changed too much for steps with the shared metric, its inverse is still a good
preconditioner: a pass is three matrix products for all candidates at once, where a Hessian of its own
would be one factorisation for each.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import blas

from clipsieve.selection.greedy.newton import Fit, curvature_of
from clipsieve.selection.greedy.problem import Floats, Ints, Problem

PASSES = 100  # a candidate that has not converged by then is left as it is
STALLED = 8  # passes without a smaller gradient: rounding allows no more
EXACT = 0.1  # a line search ends where it has taken this much of the slope


def refit(
    problem: Problem, incumbent: Fit, own: Ints, u: Floats, goal: float
) -> tuple[Floats, Floats, Floats]:
    """Minimise the loss of each candidate from its current coefficients.

    Parameters
    ----------
    own
        Position that a candidate lacks, [k].
    u
        Coefficients to start from, 0 at `own`, [d, k].
    goal
        A gradient of this size in the norm of the shared metric is small enough.

    Returns
    -------
    u [d, k], margin [n, k] as X u gives it, and the size of the gradient there [k].
    """
    x = problem.x
    found = np.empty_like(u, order="F")
    left = np.arange(len(own))
    u = np.asfortranarray(u)
    margin = blas.dgemm(1.0, x, u)
    direction = np.zeros_like(u, order="F")
    along = np.zeros_like(margin, order="F")
    before: tuple[Floats, Floats] | None = None  # gradient and its squared size a pass ago
    least = np.full(len(own), np.inf)
    waited = np.zeros(len(own), dtype=np.int64)
    for number in range(PASSES):
        gradient, step = gradient_at(
            problem, incumbent, own[left], u, curvature_of(problem, margin)[0]
        )
        square = np.maximum(np.einsum("ij,ij->j", gradient, step), 0.0)
        smaller = square < 0.9 * least
        waited = np.where(smaller, 0, waited + 1)
        least = np.minimum(least, square)
        done = (square <= goal**2) | (waited >= STALLED) | ~np.isfinite(square)
        if number == PASSES - 1:
            done[:] = True
        if done.any():
            found[:, left[done]] = u[:, done]
            rest = ~done
            left, least, waited = left[rest], least[rest], waited[rest]
            u, margin, direction, along = (
                np.asfortranarray(a[:, rest]) for a in (u, margin, direction, along)
            )
            gradient, step, square = gradient[:, rest], step[:, rest], square[rest]
            if before is not None:
                before = before[0][:, rest], before[1][rest]
        if len(left) == 0:
            break
        keep = np.zeros(len(left))
        if before is not None:
            # Polak and Ribiere: forgets the old direction where the gradient has turned
            gain = np.einsum("ij,ij->j", gradient - before[0], step)
            keep = np.maximum(0.0, gain / np.maximum(before[1], 1e-150))
            downhill = square + keep * np.einsum("ij,ij->j", gradient, direction)
            keep[downhill <= 0.0] = 0.0
        before = gradient, square
        direction = step + keep * direction
        along = blas.dgemm(1.0, x, np.asfortranarray(step)) + keep * along
        length = line_search(problem, u, margin, direction, along)
        u = np.asfortranarray(u - length * direction)
        margin = margin - length * along
    margin = blas.dgemm(1.0, x, found)
    gradient, step = gradient_at(problem, incumbent, own, found, curvature_of(problem, margin)[0])
    size = np.sqrt(np.maximum(np.einsum("ij,ij->j", gradient, step), 0.0))
    return found, margin, size


def gradient_at(
    problem: Problem, incumbent: Fit, own: Ints, u: Floats, wrong: Floats
) -> tuple[Floats, Floats]:
    """Return the gradient [d, k] without each candidate's own column, and A_j times it."""
    a, columns = incumbent.metric.inverse, np.arange(len(own))
    gradient = blas.dgemm(-1.0, problem.x, np.asfortranarray(wrong), trans_a=1)
    gradient += problem.lam[:, None] * u
    gradient[own, columns] = 0.0
    step = blas.dgemm(1.0, a, gradient)
    step -= a[:, own] * (step[own, columns] / a[own, own])
    step[own, columns] = 0.0
    return gradient, step


def line_search(
    problem: Problem, u: Floats, margin: Floats, direction: Floats, along: Floats
) -> NDArray[np.float64]:
    """Return how far each candidate goes: Newton's method in one variable, kept within a bracket.

    The loss at `u - t direction` has the slope `along . wrong(margin - t along) - direction . lam (u - t
    direction)`, which rises in t from a negative value.
    """
    lam = problem.lam[:, None]
    pull = np.einsum("ij,ij->j", direction, lam * u)
    stiff = np.einsum("ij,ij->j", direction, lam * direction)
    t = np.zeros(u.shape[1])
    low, high = t.copy(), np.full(len(t), np.inf)
    first = None
    for _ in range(12):
        wrong, weight = curvature_of(problem, margin - t * along)
        slope = np.einsum("ij,ij->j", wrong, along) - pull + t * stiff
        bend = np.einsum("ij,ij->j", weight, np.square(along)) + stiff
        if first is None:
            first = np.abs(slope)
        low, high = np.where(slope <= 0, t, low), np.where(slope > 0, t, high)
        settled = np.abs(slope) <= EXACT * first
        if settled.all():
            break
        tried = t - slope / np.maximum(bend, 1e-150)
        middle = np.where(np.isfinite(high), 0.5 * (low + high), 2.0 * t + 1.0)
        inside = (tried > low) & (tried < high) & np.isfinite(tried)
        t = np.where(settled, t, np.where(inside, tried, middle))
    return t
