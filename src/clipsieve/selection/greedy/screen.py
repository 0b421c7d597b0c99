"""All candidates of a step at once, from the incumbent only: logits and error bounds.

The two large products run in single precision, half the time of double; every number taken from
them is widened by the worst rounding that any order of summation can make.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import blas

from clipsieve.selection.greedy import score as greedy_score
from clipsieve.selection.greedy.newton import EPS, SAFETY, TINY, Fit, error_bound, taylor_gap
from clipsieve.selection.greedy.problem import Floats, Ints, Problem

BLOCK = 256  # columns worked on at once: bounds the memory of the [rows, columns] temporaries
HALF_ULP = 2.0**-24  # unit roundoff of single precision


@dataclass
class Refined:
    """A candidate that has its own coefficients."""

    u: Floats  # [d]
    margin: Floats  # [n]
    wrong: Floats  # [n]
    size: float  # ||gradient||_A where its last step began
    passes: int


@dataclass
class Candidates:
    """Every removable column's candidate; arrays over candidates are indexed alike."""

    position: Ints  # [k]
    logits: Floats  # [m, k]
    error: Floats  # [k] bound on ||w* - u||_H
    blur: Floats  # [k] multiple of ||v|| by which a logit may be off from u's
    final: NDArray[np.bool_]  # [k] no pass can lessen the error
    length: Floats  # [m] ||v||_A
    norm: Floats  # [m] ||v||
    row_length: Floats  # [n] ||x||_A
    tangent: tuple[float, Floats]  # of the log-loss at the incumbent, see `greedy_score`
    judged: list[tuple[float, Floats]]  # the same for each of `Scoring.judged`, for that score only
    kept: dict[int, Refined] = field(default_factory=dict)  # by candidate index
    doubtful: set[int] = field(default_factory=set)  # those that nothing could certify
    passes: int = 0

    def half(self, which: Ints) -> Floats:
        """Return how far the logits of candidates `which` may be off, [m, len(which)]."""
        error = np.minimum(self.error[which], 1e300)
        half = np.outer(self.length, error)
        half += np.outer(self.norm, self.blur[which])
        return half


def screen(problem: Problem, incumbent: Fit) -> Candidates:
    """Move the incumbent along its Hessian to where each coefficient is zero, and bound the error.

    Candidate j is `w - m_j w_j` with `m_j = A e_j / A_jj`. What that leaves as gradient is X' r,
    r the deviation of the loss from the metric's quadratic:
    `|r_i| <= s'_i (e^|t| - 1 - |t|) + |s'_i - weight_i| |t|` at t = x_i . m_j w_j.
    """
    metric, w = incumbent.metric, incumbent.w
    first, width = problem.first, problem.width
    diagonal = np.einsum("ii->i", metric.inverse)
    unit = metric.inverse / diagonal  # columns m_j; symmetric A keeps it in Fortran order
    spread = np.sqrt(np.einsum("ij,ij->j", unit, unit))  # ||m_j||
    with np.errstate(over="ignore"):  # an overflow makes the bounds infinite, not wrong
        single = np.asfortranarray(unit, dtype=np.float32)
        weight_of = diagonal.astype(np.float32)
    del unit
    gamma = 1.01 * (width + 8) * HALF_ULP
    frobenius = float(np.linalg.norm(spread * diagonal))

    scale = problem.val_scale
    product = blas.sgemm(1.0, problem.v_single, single)
    square = (product * problem.v_single) @ weight_of
    length = widened(square, scale, problem.val_norm, gamma * frobenius)
    logits = np.multiply(product[:, first:], -scale * w[first:], dtype=np.float64)
    logits += blas.dgemv(1.0, problem.v, w)[:, None]

    # t for every row and candidate, in blocks: only its largest and two moments are kept
    scale = problem.train_scale
    used = metric.weight > 0
    inverse_weight = np.divide(1.0, metric.weight, out=np.zeros_like(metric.weight), where=used)
    bent = incumbent.weight**2 * inverse_weight  # s'^2 / weight
    lagged = (incumbent.weight - metric.weight) ** 2 * inverse_weight
    weights = np.stack([bent, lagged]).astype(np.float32)
    square = np.zeros(len(used), dtype=np.float32)
    reach, fourth, second = np.empty(width), np.empty(width), np.empty(width)
    for start in range(0, width, BLOCK):
        part = slice(start, min(start + BLOCK, width))
        product = blas.sgemm(1.0, problem.x_single, single[:, part])
        square += (product * problem.x_single[:, part]) @ weight_of[part]
        reach[part] = np.maximum(product.max(axis=0), -product.min(axis=0))
        np.multiply(product, product, out=product)
        second[part] = weights[1] @ product
        np.multiply(product, product, out=product)
        fourth[part] = weights[0] @ product
    row_length = widened(square, scale, problem.train_norm, gamma * frobenius)
    move = np.abs(w)  # Minkowski: the moments of |t| + its rounding
    norm = problem.train_norm
    reach = move * (scale * reach + gamma * spread * norm.max())
    fourth = move * (
        scale * np.sqrt(np.sqrt(1.001 * fourth)) + (gamma * spread) * (bent @ norm**4) ** 0.25
    )
    second = move * (scale * np.sqrt(1.001 * second) + (gamma * spread) * (lagged @ norm**2) ** 0.5)
    with np.errstate(over="ignore", invalid="ignore"):
        far = np.clip(reach, 1e-150, 300.0)
        gradient = incumbent.gradient + second + taylor_gap(far) / far**2 * fourth**2
        if not used.all():  # rows outside the metric: |change of s| <= s' (e^t - 1)
            outside = incumbent.weight[~used] + TINY
            gradient += (row_length[~used] @ outside) * np.expm1(np.minimum(reach, 700.0))
        ratio = float(np.min(incumbent.weight[used] / metric.weight[used], initial=1.0))
        shrink = np.exp(-np.minimum(reach, 700.0)) * ratio * metric.trust
        gradient = np.where(
            reach < 300.0, gradient, np.inf
        )  # also where single precision overflowed
        error = error_bound(gradient, float(row_length.max(initial=0.0)), shrink)
    blur = SAFETY * EPS * float(np.linalg.norm(w)) + gamma * spread * np.abs(w)
    scoring = problem.scoring
    judged = scoring.judged if scoring.score == "log_loss" else ()
    return Candidates(
        position=np.arange(first, width),
        logits=logits,
        error=np.where(np.isnan(error), np.inf, error)[first:],
        blur=np.where(np.isfinite(blur), blur, 1e300)[first:],
        final=np.zeros(width - first, dtype=bool),
        length=length,
        norm=problem.val_norm,
        row_length=row_length,
        tangent=tangent_of(problem, incumbent, scoring.share),
        judged=[tangent_of(problem, incumbent, share) for share in judged],
    )


def tangent_of(problem: Problem, incumbent: Fit, share: Floats) -> tuple[float, Floats]:
    """Return ||gradient||_A of a log-loss of the scoring rows at the incumbent, and its `wrong`."""
    logits = blas.dgemv(1.0, problem.v, incumbent.w)
    wrong = greedy_score.wrongness(logits[:, None], problem.val_real)[0][:, 0]
    signed = np.where(problem.val_real, -wrong, wrong) * share
    gradient = blas.dgemv(1.0, problem.v, signed, trans=1)
    size = float(gradient @ blas.dgemv(1.0, incumbent.metric.inverse, gradient))
    return 1.000001 * float(np.sqrt(max(size, 0.0))), wrong


def widened(square: NDArray[np.float32], scale: float, norm: Floats, slack: float) -> Floats:
    """Return an upper bound on ||x||_A from its square as single precision has it."""
    exact = np.maximum(square.astype(np.float64), 0.0) * scale**2
    return np.sqrt(exact + 2 * slack * norm**2)


def moved(incumbent: Fit, positions: Ints) -> Floats:
    """Return the incumbent moved along its Hessian to where one coefficient is zero, [d, k]."""
    a = incumbent.metric.inverse
    u = incumbent.w[:, None] - a[:, positions] * (incumbent.w[positions] / a[positions, positions])
    u[positions, np.arange(len(positions))] = 0.0
    return u
