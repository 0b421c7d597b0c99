"""Newton's method for the probe, with an error bound for every iterate.

All bounds rest on two facts about the logistic loss s: |s''| <= s' for the sigmoid's derivatives
(so curvature changes by at most a factor e^|t| when a margin moves by t), and Cauchy-Schwarz in the
metric of a Hessian H: |v . e| <= ||v||_A ||e||_H with A = H^-1. docs/method/greedy.md derives them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import blas, lapack

from clipsieve.selection.greedy.problem import Floats, Problem

EPS = float(np.finfo(np.float64).eps)
TINY = 1e-200  # rows with less curvature than this are left out of the metric
SAFETY = 16.0  # multiple of machine precision granted to a rounded sum


def curvature(margin: Floats) -> tuple[Floats, Floats]:
    """Return `s(-a)` (how wrong each row is) and `s(a) s(-a)` (its curvature), accurate when tiny."""
    small = np.exp(-np.abs(margin))
    scale = 1.0 / (1.0 + small)
    wrong = np.where(margin > 0, small, 1.0) * scale
    return wrong, small * scale * scale


def curvature_of(problem: Problem, margin: Floats) -> tuple[Floats, Floats]:
    """Return `curvature` times the rows' weights, for margins [n] or [n, k]."""
    wrong, weight = curvature(margin)
    if problem.sample_weight is None:
        return wrong, weight
    rows = problem.sample_weight if margin.ndim == 1 else problem.sample_weight[:, None]
    return wrong * rows, weight * rows


def taylor_gap(t: Floats) -> Floats:
    """Return `e^t - 1 - t` for t >= 0 without cancellation."""
    return np.where(t < 1e-3, t * t * (0.5 + t * (1 / 6 + t / 24 * 1.01)), np.expm1(t) - t)


def error_bound(gradient: Floats, length: float, shrink: Floats | float) -> Floats:
    """Bound ||w* - u||_H from ||gradient at u||_A.

    `length` is max_i ||x_i||_A; `shrink` is a factor by which the Hessian at u is at least that
    multiple of H. Infinite where the bound does not apply.
    """
    ratio = np.minimum(gradient, 1e150) / np.maximum(shrink, 1e-150)
    argument = length * ratio
    # -ln(1 - L r)/L = r + ..., computed so that tiny arguments keep their digits
    safe = np.minimum(argument, 0.999999)
    bound = ratio if length == 0 else -np.log1p(-safe) / length
    return np.where(argument < 0.999999, bound, np.inf)


@dataclass
class Metric:
    """A Hessian at some coefficients, its inverse, and what its rounding costs."""

    inverse: Floats  # [d, d] A = H^-1, symmetric
    weight: Floats  # [n] curvatures that H was made of (0 for rows left out)
    trust: float  # H is at least `trust` times the metric that A is the inverse of
    norm: float  # bound on the 2-norm of A

    @classmethod
    def at(cls, problem: Problem, weight: Floats) -> Metric:
        """Form `X' diag(weight) X + penalty` and invert it."""
        weight = np.where(weight > TINY, weight, 0.0)
        scaled = np.multiply(problem.x, np.sqrt(weight)[:, None], order="F")
        hessian = blas.dsyrk(1.0, scaled, trans=1)
        diagonal = np.einsum("ii->i", hessian)
        diagonal += problem.lam
        if problem.first and diagonal[0] <= 0:  # every row saturated: nothing holds the intercept
            diagonal[0] = TINY
        kept = diagonal.copy()
        root = 1.0 / np.sqrt(kept)
        jitter = 0.0
        unit = np.multiply(hessian, root, order="F")
        unit *= root[:, None]
        while True:
            factor = unit.copy(order="F")
            np.einsum("ii->i", factor)[:] = 1.0 + jitter
            factor, bad = lapack.dpotrf(factor, clean=0, overwrite_a=1)
            if bad == 0:
                break
            jitter = max(10.0 * jitter, 64 * EPS * len(kept))
        inverse, _ = lapack.dpotri(factor, overwrite_c=1)
        mirror(inverse)
        # H~ >= H~num - noise I >= (1 - noise ||A~||) H~num; or, as H~ >= floor I, H~num / (1 + noise / floor)
        largest = float(np.einsum("ii->", inverse))
        noise = jitter + 4 * EPS * np.sqrt(len(kept))
        floor = float((problem.lam / kept).min())
        trust = max(1.0 - noise * largest, floor / (floor + noise), 1e-6)
        inverse *= root
        inverse *= root[:, None]
        norm = float(np.einsum("ii->", inverse))
        if not problem.first:
            norm = min(norm, 1.0 / float(problem.lam.min()))
        return cls(inverse, weight, trust, norm)

    def without(self, position: int) -> Metric:
        """Return the metric of the columns but one, in the order that `Problem.remove` leaves."""
        a, last = self.inverse, len(self.inverse) - 1
        pivot = a[:, position] / np.sqrt(a[position, position])
        rest = a[:last, :last].copy(order="F")
        if position != last:
            rest[:, position] = rest[position, :] = a[:last, last]
            rest[position, position] = a[last, last]
            pivot[position] = pivot[last]
        rest = blas.dger(-1.0, pivot[:last], pivot[:last], a=rest, overwrite_a=1)
        return Metric(rest, self.weight, self.trust, self.norm)

    def least_ratio(self, weight: Floats) -> Floats:
        """Return, per column of `weight` [n, k], the least ratio of a row's curvature to H's."""
        used = self.weight > 0
        if not used.all():
            weight = weight[used]
        low = (weight / self.weight[used][:, None]).min(axis=0, initial=1.0)
        return low * self.trust


def mirror(a: Floats) -> None:
    """Copy the upper triangle of `a` onto the lower one, in blocks that stay in cache."""
    d = len(a)
    for start in range(0, d, 64):
        stop = min(start + 64, d)
        block = a[start:stop, start:stop]
        block[:] = np.triu(block) + np.triu(block, 1).T
        a[stop:, start:stop] = a[start:stop, stop:].T


@dataclass
class Fit:
    """Coefficients at (nearly) the optimum, with the metric that candidates are measured in."""

    w: Floats  # [d]
    margin: Floats  # [n] signed training logits
    wrong: Floats  # [n]
    weight: Floats  # [n] curvatures at w; the metric's differ by the lag
    metric: Metric
    gradient: float  # bound on ||gradient||_A, rounding included
    rounding: float  # the part of it that rounding can produce


def rounding_of(problem: Problem, metric: Metric, w: Floats, wrong: Floats) -> float:
    """Return the A-norm of a gradient that consists only of rounding errors."""
    rows = problem.train_norm**2
    logit = float(np.linalg.norm(w)) * float(np.sqrt(metric.weight @ rows))
    total = float(wrong**2 @ rows + np.sum((problem.lam * w) ** 2))
    return SAFETY * EPS * (logit + np.sqrt(metric.norm * total))


def objective(problem: Problem, w: Floats, margin: Floats) -> float:
    """Return the probe's loss, inf or nan for coefficients beyond double precision."""
    with np.errstate(over="ignore", invalid="ignore"):
        losses = np.logaddexp(0.0, -margin)
        total = losses.sum() if problem.sample_weight is None else problem.sample_weight @ losses
        return float(total + 0.5 * (problem.lam @ (w * w)))


def lag_of(metric: Metric, weight: Floats) -> float:
    """Return the root mean square relative difference of the metric's curvatures from `weight`."""
    used = metric.weight > 0
    own = metric.weight[used]
    square = float(np.sum((weight[used] - own) ** 2 / own))
    return float(np.sqrt(square / max(float(own.sum()), 1e-300)))


def approach(problem: Problem, w: Floats, metric: Metric) -> Floats:
    """Take steps from `w` [d] with a nearby problem's metric while they shrink the gradient.

    Each costs three matrix-vector products; a metric made where they end needs no renewal. A step
    that moves some margin by more than 1 is not trusted: curvatures there are no longer alike.
    """
    before = np.inf
    best = w
    margin = blas.dgemv(1.0, problem.x, w)
    for _ in range(6):
        wrong, _weight = curvature_of(problem, margin)
        gradient = problem.lam * w - blas.dgemv(1.0, problem.x, wrong, trans=1)
        step = blas.dgemv(1.0, metric.inverse, gradient)
        size = float(gradient @ step)
        if not size < 0.25 * before:
            break
        best, before = w, size
        move = blas.dgemv(1.0, problem.x, step)
        if size < 1e-10 or np.abs(move).max() > 1.0:
            break
        w, margin = w - step, margin - move
    return best


def fit(problem: Problem, w: Floats, *, accuracy: float = 1e-10, max_lag: float = 1e-3) -> Fit:
    """Minimise the probe's loss from `w` [d]: Newton, with a metric kept while it serves.

    A step with the old metric costs three matrix-vector products, a new metric about a thousand. So
    it is renewed only where it has stopped shrinking the gradient fast, or where the curvatures at
    the optimum differ from its own by more than `max_lag`. The end is a gradient `accuracy` times
    the coefficients in the metric's norm, or all rounding.
    """
    x, lam = problem.x, problem.lam
    margin = blas.dgemv(1.0, x, w)
    wrong, weight = curvature_of(problem, margin)
    value = objective(problem, w, margin)
    metric = Metric.at(problem, weight)
    before = np.inf
    restarted = not w.any()
    for _ in range(500):
        gradient = lam * w - blas.dgemv(1.0, x, wrong, trans=1)
        step = blas.dgemv(1.0, metric.inverse, gradient)
        size = float(np.sqrt(max(float(gradient @ step), 0.0)))
        length = float(np.sqrt(metric.weight @ margin**2 + lam @ (w * w)))
        rounding = rounding_of(problem, metric, w, wrong)
        lag = lag_of(metric, weight)
        slow = size > 0.2 * before
        settled = size <= max(accuracy * length, min(rounding, 1e-3 * length))
        settled = settled or (slow and size <= min(64 * rounding, 1e-3 * length))
        if lag > max_lag and (settled or slow):
            metric, before = Metric.at(problem, weight), np.inf
            continue
        if settled:
            break
        if slow and lag > 1e-6:
            metric, before = Metric.at(problem, weight), np.inf
            continue
        if size > before:
            break  # rounding stops it: the bound says how far it came
        move = blas.dgemv(1.0, x, step)
        scale = 1.0
        while True:
            tried = margin - scale * move
            attempt = w - scale * step
            tried_value = objective(problem, attempt, tried)
            if size < 1e-4 or tried_value <= value - 1e-4 * scale * size * size:
                break
            scale *= 0.5
            if scale < 1e-8:  # the metric is of no use here, or rounding hides all descent
                break
        if scale < 1e-8:
            if lag == 0.0 and (restarted or size <= 1e-6 * length):
                break
            if lag == 0.0:  # a start where every row is saturated leads nowhere: Newton from 0 does
                restarted, w = True, np.zeros_like(w)
                margin = np.zeros_like(margin)
                wrong, weight = curvature_of(problem, margin)
                value = objective(problem, w, margin)
            metric, before = Metric.at(problem, weight), np.inf
            continue
        w, margin, value, before = attempt, tried, tried_value, size
        wrong, weight = curvature_of(problem, margin)
    return Fit(w, margin, wrong, weight, metric, size + rounding, rounding)
