"""The error bounds of the search hold, and its scores are those of the textbook."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from clipsieve.selection.greedy import score as greedy_score
from clipsieve.selection.greedy.newton import Metric, curvature, error_bound, fit, taylor_gap
from clipsieve.selection.greedy.problem import Problem
from clipsieve.selection.greedy.refit import refit
from clipsieve.selection.greedy.screen import screen
from clipsieve.selection.greedy.step import CONVERGED, refine


def build(seed, n=60, m=30, d=12, C=1.0, shift=0.0, fit_intercept=False):
    rng = np.random.default_rng(seed)
    X, V = rng.standard_normal((n, d)) + shift, rng.standard_normal((m, d)) + shift
    y = rng.integers(0, 2, n).astype(bool)
    y[:2] = [False, True]
    X[y] += rng.standard_normal(d)
    real = rng.integers(0, 2, m).astype(bool)
    return Problem.build(X, y, V, real, C=C, fit_intercept=fit_intercept)


def refitted(problem, position):
    """Return the converged coefficients [d] without one column."""
    rest = np.delete(np.arange(problem.width), position)
    w = np.zeros(problem.width)
    w[rest] = fit(problem.without(position), np.zeros(len(rest)), accuracy=0.0).w
    return w


@pytest.mark.parametrize(("seed", "shift"), [(0, 0.0), (1, 5.0)])
def test_fit_is_the_minimum(seed, shift):
    problem = build(seed, shift=shift, fit_intercept=True)
    found = fit(problem, np.zeros(problem.width))
    x, lam = problem.x, problem.lam
    other = minimize(
        lambda w: np.logaddexp(0, -x @ w).sum() + 0.5 * lam @ w**2,
        np.zeros(problem.width),
        jac=lambda w: lam * w - x.T @ curvature(x @ w)[0],
        method="BFGS",
        options={"gtol": 1e-9, "maxiter": 5000},
    )
    np.testing.assert_allclose(found.w, other.x, atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6), C=st.sampled_from([1e-2, 0.1, 1, 10]), shift=st.sampled_from([0, 3])
)
def test_every_candidate_lies_within_its_bound(seed, C, shift):
    problem = build(seed, C=C, shift=shift)
    incumbent = fit(problem, np.zeros(problem.width))
    candidates = screen(problem, incumbent)
    hessian = np.linalg.inv(incumbent.metric.inverse)
    truth = [refitted(problem, int(p)) for p in candidates.position]
    every = np.arange(len(truth))
    for passes in range(3):
        half = candidates.half(every)
        for k, w in enumerate(truth):
            if not np.isfinite(candidates.error[k]):
                continue
            off = np.abs(problem.v @ w - candidates.logits[:, k])
            assert (off <= half[:, k]).all()
            if k in candidates.kept:
                e = w - candidates.kept[k].u
                assert np.sqrt(e @ hessian @ e) <= candidates.error[k] * (1 + 1e-6) + 1e-12
        if passes < 2:
            refine(problem, incumbent, candidates, every)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    C=st.sampled_from([0.1, 10, 1e4]),
    n=st.sampled_from([10, 20, 60]),
    fit_intercept=st.booleans(),
)
def test_refits_made_together_are_those_made_one_by_one(seed, C, n, fit_intercept):
    """Also of separable rows under a weak penalty, where candidates end far from the incumbent."""
    problem = build(seed, n=n, C=C, fit_intercept=fit_intercept)
    incumbent = fit(problem, np.zeros(problem.width))
    own = np.arange(problem.first, problem.width)
    start = np.repeat(incumbent.w[:, None], len(own), axis=1)
    start[own, np.arange(len(own))] = 0.0
    u, margin, size = refit(problem, incumbent, own, start, incumbent.rounding)
    converged = size <= CONVERGED * incumbent.rounding
    assert converged.all() or C > 10
    truth = np.column_stack([refitted(problem, int(p)) for p in own])
    error = np.abs(u - truth).max(axis=0) / np.abs(truth).max(axis=0)
    assert (error[converged] < 1e-6).all()
    np.testing.assert_allclose(margin, problem.x @ u, atol=1e-9)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), scale=st.floats(1e-6, 0.5))
def test_error_bound_covers_any_point(seed, scale):
    """From a point off the optimum, the bound by its gradient reaches the optimum."""
    problem = build(seed)
    best = fit(problem, np.zeros(problem.width))
    u = best.w + scale * np.random.default_rng(seed).standard_normal(problem.width)
    margin = problem.x @ u
    wrong, weight = curvature(margin)
    metric = Metric.at(problem, weight)
    gradient = problem.lam * u - problem.x.T @ wrong
    length = np.sqrt(np.einsum("ij,jk,ik->i", problem.x, metric.inverse, problem.x).max())
    bound = float(error_bound(np.sqrt(gradient @ metric.inverse @ gradient), length, 1.0))
    e = best.w - u
    assert np.sqrt(e @ np.linalg.inv(metric.inverse) @ e) <= bound * (1 + 1e-9)


def test_metric_is_the_inverse_and_shrinks_right():
    problem = build(3, fit_intercept=True)
    weight = curvature(problem.x @ np.full(problem.width, 0.1))[1]
    metric = Metric.at(problem, weight)
    hessian = problem.x.T @ (weight[:, None] * problem.x) + np.diag(problem.lam)
    np.testing.assert_allclose(metric.inverse @ hessian, np.eye(problem.width), atol=1e-9)
    for position in (1, 5, problem.width - 1):
        smaller = build(3, fit_intercept=True)
        reduced = metric.without(position).inverse
        smaller.remove(position, np.zeros(problem.width))
        expected = smaller.x.T @ (weight[:, None] * smaller.x) + np.diag(smaller.lam)
        np.testing.assert_allclose(reduced @ expected, np.eye(smaller.width), atol=1e-8)


def test_taylor_gap_keeps_its_digits():
    mpmath = pytest.importorskip("mpmath")
    with mpmath.workdps(50):
        t = [10.0**k for k in range(-12, 3)]
        exact = [float(mpmath.expm1(v) - mpmath.mpf(v)) for v in t]
    np.testing.assert_allclose(taylor_gap(np.array(t)), exact, rtol=1e-9)


def test_removed_columns_leave_a_contiguous_problem():
    problem = build(4)
    before = {int(c): problem.x[:, i].copy() for i, c in enumerate(problem.names)}
    for column in (3, 11, 0):
        position = problem.position(column)
        w = problem.remove(position, np.arange(problem.width, dtype=float))
        assert len(w) == problem.width
        assert column not in problem.names
    for i, c in enumerate(problem.names):
        np.testing.assert_array_equal(problem.x[:, i], before[int(c)])
    assert problem.x.flags.f_contiguous


def test_scores_are_scikit_learns():
    from sklearn.metrics import accuracy_score, log_loss, roc_auc_score

    rng = np.random.default_rng(0)
    logits = np.round(rng.standard_normal((50, 7)), 1)  # with ties
    real = rng.integers(0, 2, 50).astype(bool)
    none = np.zeros_like(logits)
    pairs = 2 * real.sum() * (~real).sum()
    for low, high in (
        greedy_score.accuracy_bounds(logits, none, real),
        greedy_score.accuracy_bounds(logits, none + 0.1, real),
    ):
        exact = np.array([accuracy_score(real, z > 0) for z in logits.T]) * 50
        assert (low <= exact).all()
        assert (exact <= high).all()
    np.testing.assert_array_equal(greedy_score.accuracy_at_precision(logits, none, real), exact)
    areas = np.array([roc_auc_score(real, z) for z in logits.T]) * pairs
    np.testing.assert_allclose(greedy_score.auc_at_precision(logits, none + 1e-9, real), areas)
    low, high = greedy_score.auc_bounds(logits, none + 0.05, real)
    assert (low <= areas).all()
    assert (areas <= high).all()
    assert (low < high).all()
    one, zero = np.ones(50), np.zeros(7)
    losses, low, high = greedy_score.log_loss_bounds(logits, real, one / 50, zero, one, zero, one)
    np.testing.assert_allclose(losses, [log_loss(real, 1 / (1 + np.exp(-z))) for z in logits.T])
    assert (high - low < 1e-13).all()


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6), error=st.floats(1e-9, 1.0))
def test_log_loss_bounds_hold(seed, error):
    rng = np.random.default_rng(seed)
    logits, length = rng.standard_normal((20, 3)) * 2, rng.random(20)
    real = rng.integers(0, 2, 20).astype(bool)
    share = np.full(20, 1 / 20)
    args = (real, share, np.full(3, error), length, np.zeros(3), length)
    _, low, high = greedy_score.log_loss_bounds(logits, *args)
    moved = logits + error * length[:, None] * rng.uniform(-1, 1, logits.shape)
    after = np.logaddexp(0, np.where(real[:, None], -moved, moved)).mean(axis=0)
    assert (low <= after).all()
    assert (after <= high).all()
