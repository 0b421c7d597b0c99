"""Newton's method for the probe, with an error bound for every iterate.

All bounds rest on two facts about the logistic loss s: |s''| <= s' for the sigmoid's derivatives
(so curvature changes by at most a factor e^|t| when a margin moves by t), and Cauchy-Schwarz in the
metric of a Hessian H: |v . e| <= ||v||_A ||e||_H with A = H^-1. docs/method/greedy.md derives them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import blas, lapack

from clipsieve.selection.greedy_problem import Floats, Problem

EPS = float(np.finfo(np.float64).eps)
TINY = 1e-200  # rows with less curvature than this are left out of the metric
SAFETY = 16.0  # multiple of machine precision granted to a rounded sum


def curvature(margin: Floats) -> tuple[Floats, Floats]:
    """Return `s(-a)` (how wrong each row is) and `s(a) s(-a)` (its curvature), accurate when tiny."""
    small = np.exp(-np.abs(margin))
    scale = 1.0 / (1.0 + small)
    wrong = np.where(margin > 0, small, 1.0) * scale
    return wrong, small * scale * scale


def taylor_gap(t: Floats) -> Floats:
    """Return `e^t - 1 - t` for t >= 0 without cancellation."""
    return np.where(t < 1e-3, t * t * (0.5 + t * (1 / 6 + t / 24 * 1.01)), np.expm1(t) - t)


def error_bound(gradient: Floats, length: float, shrink: Floats | float) -> Floats:
    """Bound ||w* - u||_H from ||gradient at u||_A.

    `length` is max_i ||x_i||_A; `shrink` is a factor by which the Hessian at u is at least that
    multiple of H. Infinite where the bound does not apply.
    """
    ratio = np.asarray(gradient) / np.maximum(shrink, 1e-300)
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
        largest = min(float(np.einsum("ii->", inverse)), float(np.abs(inverse).sum(1).max()))
        noise = jitter + 4 * EPS * np.sqrt(len(kept))
        floor = float((problem.lam / kept).min())
        trust = max(1.0 - noise * largest, floor / (floor + noise), 1e-6)
        inverse *= root
        inverse *= root[:, None]
        norm = float(np.einsum("ii->", inverse))
        if not problem.first:
            norm = min(norm, 1.0 / float(problem.lam.min()))
        return cls(inverse, weight, trust, norm)

    def least_ratio(self, weight: Floats) -> Floats:
        """Return, per column of `weight` [n, k], the least ratio of a row's curvature to H's."""
        used = self.weight > 0
        if used.all():
            ratio = weight / self.weight[:, None]
        else:
            ratio = weight[used] / self.weight[used][:, None]
        low = ratio.min(axis=0, initial=1.0)
        return np.minimum(low, 1.0) * self.trust


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
    metric: Metric
    gradient: float  # bound on ||gradient||_A, rounding included
    rounding: float  # the part of it that rounding alone can make
    lag: float  # largest relative difference between the metric's curvatures and those at w


def rounding_of(problem: Problem, metric: Metric, w: Floats, wrong: Floats) -> float:
    """Return the A-norm of a gradient that rounding alone can leave."""
    logit = float(np.linalg.norm(w)) * float(np.sqrt(metric.weight @ problem.train_norm**2))
    total = (wrong * problem.train_norm) @ (wrong * problem.train_norm) + np.sum((problem.lam * w) ** 2)
    return SAFETY * EPS * (logit + np.sqrt(metric.norm * float(total)) + 1e-3)


def objective(problem: Problem, w: Floats, margin: Floats) -> float:
    """Return the probe's loss."""
    return float(np.logaddexp(0.0, -margin).sum() + 0.5 * (problem.lam @ (w * w)))


def fit(problem: Problem, w: Floats, *, target: float = 1e-10, max_lag: float = 0.02) -> Fit:
    """Minimise the probe's loss from `w` [d]: Newton, with the metric kept while it serves.

    A step with the old metric costs three matrix-vector products, a new metric about a thousand;
    so the metric is renewed only where steps with it stop shrinking the gradient tenfold, or where
    the curvatures at the optimum differ by more than `max_lag` from its own.
    """
    x, lam = problem.x, problem.lam
    margin = blas.dgemv(1.0, x, w)
    wrong, weight = curvature(margin)
    metric = Metric.at(problem, weight)
    value = objective(problem, w, margin)
    before = np.inf
    for _ in range(500):
        gradient = lam * w - blas.dgemv(1.0, x, wrong, trans=1)
        step = blas.dgemv(1.0, metric.inverse, gradient)
        size = float(np.sqrt(max(float(gradient @ step), 0.0)))
        rounding = rounding_of(problem, metric, w, wrong)
        stale = size > 0.1 * before
        settled = size <= max(target, rounding) or (stale and size <= 64 * rounding)
        lag = relative_lag(metric, weight)
        if settled and lag <= max_lag:
            break
        if settled or (stale and lag > 1e-6):
            metric, before = Metric.at(problem, weight), np.inf
            continue
        if stale and np.isfinite(before) and size > before:
            break  # rounding stops it: the bound below says how far it came
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
            if lag == 0.0:
                break
            metric, before = Metric.at(problem, weight), np.inf
            continue
        w, margin, value, before = attempt, tried, tried_value, size
        wrong, weight = curvature(margin)
    return Fit(w, margin, wrong, metric, size + rounding, rounding, lag)


def relative_lag(metric: Metric, weight: Floats) -> float:
    """Return the largest relative difference between `weight` and the metric's curvatures."""
    used = metric.weight > 0
    return float(np.max(np.abs(weight[used] / metric.weight[used] - 1.0), initial=0.0))
