"""The paper's grid against a plain loop over scikit-learn's 96 fits; the fast grid against its optimum."""

from __future__ import annotations

import subprocess
import sys
import warnings

import numpy as np
import pytest
from sklearn import metrics
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from clipsieve.errors import UserError
from clipsieve.probes import fit_path, fit_probe, saga
from clipsieve.probes.contest import SOLVERS
from clipsieve.probes.grid import CS, MAX_ITERS
from clipsieve.probes.scores import log_loss


@pytest.fixture(autouse=True)
def _one_thread():
    with threadpool_limits(1):
        yield


def draw(seed, n=80, n_val=60, D=10, shift=0.4, scale=1.0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    direction = rng.standard_normal(D) * shift
    spread = rng.uniform(0.2, 3.0, D)
    y, v = rng.permutation(np.arange(n) % 2), rng.permutation(np.arange(n_val) % 2)
    X, V = (
        scale * (rng.standard_normal((len(t), D)) * spread + 0.5 + np.outer(t - 0.5, direction))
        for t in (y, v)
    )
    return X.astype(dtype), y, V.astype(dtype), v


def sklearn_fit(X, y, solver, C, max_iter, fit_intercept=False, seed=0):
    model = LogisticRegression(
        solver=solver, C=C, max_iter=max_iter, fit_intercept=fit_intercept, random_state=seed
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(X, y)


SCORES = {
    "accuracy": lambda v, z: metrics.accuracy_score(v, z > 0),
    "balanced_accuracy": lambda v, z: metrics.balanced_accuracy_score(v, z > 0),
    "auc": metrics.roc_auc_score,
    "log_loss": lambda v, z: -log_loss(z, v),
}


def plain_loop(X, y, V, v, fit_intercept=False, seed=0, score="balanced_accuracy"):
    """Fit all 96 points; ties to the lower log-loss, then the smaller C, then the earlier point."""
    found = []
    for solver in SOLVERS:
        for C in CS:
            for max_iter in MAX_ITERS:
                model = sklearn_fit(X, y, solver, C, max_iter, fit_intercept, seed)
                logits = model.decision_function(V)
                value = (
                    round(SCORES[score](v, logits), 12)
                    if score != "log_loss"
                    else SCORES[score](v, logits)
                )
                found.append((value, log_loss(logits, v), solver, C, max_iter, logits))
    best = sorted(found, key=lambda f: (-f[0], f[1], f[3]))[0]  # a stable sort: then the earlier
    ties = sum(f[0] == best[0] for f in found)
    _, _, solver, C, max_iter, logits = best
    both = np.concatenate([X, V]), np.concatenate([y, v])
    refit = sklearn_fit(*both, solver, C, max_iter, fit_intercept, seed)
    return (best[0], solver, C, max_iter), ties, logits, refit


CASES = [
    {"seed": 0},
    {"seed": 1, "scale": 10.0},
    {"seed": 2, "scale": 40.0, "fit_intercept": True},
    {"seed": 3, "dtype": np.float32, "scale": 10.0},
    {"seed": 4, "dtype": np.float32, "fit_intercept": True},
    {"seed": 5, "D": 1},
    {"seed": 6, "n": 30, "D": 50, "scale": 3.0},
    {"seed": 7, "shift": 6.0},
    {"seed": 8, "scale": 3.0, "fit_seed": 5},
    {"seed": 9, "n": 81, "n_val": 41, "score": "accuracy"},
    {"seed": 10, "n": 70, "n_val": 51, "scale": 10.0},
    {"seed": 12, "score": "auc"},
    {"seed": 13, "score": "log_loss", "scale": 10.0},
]


@pytest.fixture(scope="module")
def compared():
    found = []
    with threadpool_limits(1):
        for case in CASES:
            options = dict(case)
            fit_intercept = options.pop("fit_intercept", False)
            seed, score = options.pop("fit_seed", 0), options.pop("score", "balanced_accuracy")
            data = draw(**options)
            ours = fit_probe(*data, fit_intercept=fit_intercept, seed=seed, score=score)
            found.append((ours, plain_loop(*data, fit_intercept, seed, score), data[3]))
    return found


@pytest.mark.parametrize("case", range(len(CASES)))
def test_paper_grid_equals_the_plain_loop(compared, case):
    ours, ((value, solver, C, max_iter), ties, logits, refit), v = compared[case]
    assert (ours.params["solver"], ours.params["C"], ours.params["max_iter"]) == (
        solver, C, max_iter,
    )  # fmt: skip
    assert ours.params["ties"] == ties
    assert SCORES[ours.params["score"]](v, ours.val_logits) == pytest.approx(value, abs=1e-12)
    np.testing.assert_array_equal(ours.val_logits, logits)
    np.testing.assert_array_equal(ours.coef, refit.coef_[0])
    assert ours.intercept == refit.intercept_[0]
    assert ours.params["n_iter"] == refit.n_iter_[0]


def test_the_cases_reach_both_solvers_and_unconverged_fits(compared):
    chosen = [ours.params for ours, *_ in compared]
    assert {p["solver"] for p in chosen} == set(SOLVERS)
    assert {p["converged"] for p in chosen} == {True, False}
    assert any(ours.val_accuracy == 1.0 for ours, *_ in compared)
    assert all(p["fits"] < 96 for p in chosen)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("fit_intercept", [False, True])
def test_saga_lanes_are_scikit_learns_iterates(dtype, fit_intercept):
    # unit-scale rows and C = 0.001 shrink the weights so fast that they are rescaled within an epoch
    X, y, _, _ = draw(11, n=150, D=6, dtype=dtype)
    X[:, 2] = 0.0
    X[:, 3] = X[:, 4]
    Cs = np.array([0.001, 0.01, 0.1, 1.0, 10.0, 100.0])
    lanes = saga.start(X, y, Cs, fit_intercept=fit_intercept, seed=3)
    for max_iter in (1, 2, 7, 30, 200):
        lanes.advance(max_iter)
        for lane, C in enumerate(Cs):
            model = sklearn_fit(X, y, "saga", C, max_iter, fit_intercept, seed=3)
            np.testing.assert_array_equal(lanes.coef[lane], model.coef_[0])
            assert lanes.intercept[lane] == model.intercept_[0]
            assert lanes.n_iter[lane] == model.n_iter_[0]


@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize(
    "options",
    [{"n": 200, "D": 12}, {"n": 40, "D": 90}, {"n": 60, "D": 1}, {"n": 90, "D": 8, "shift": 8.0}],
)
def test_converged_fits_are_scikit_learns_optimum(options, fit_intercept):
    X, y, V, _ = draw(21, **options)
    for C, fit in zip(CS, fit_path(X, y, list(CS), fit_intercept=fit_intercept), strict=True):
        model = LogisticRegression(
            C=C, solver="newton-cholesky", tol=1e-11, max_iter=200, fit_intercept=fit_intercept
        ).fit(X, y)
        np.testing.assert_allclose(
            V @ fit.coef + fit.intercept, model.decision_function(V), rtol=1e-6, atol=1e-7
        )


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e3])
def test_converged_fit_satisfies_the_optimality_condition(scale):
    # 300 columns, some duplicated, some zero, ill-conditioned
    rng = np.random.default_rng(5)
    X = rng.standard_normal((400, 300)) * np.geomspace(1e-3, 1.0, 300) * scale
    X[:, 10] = X[:, 11]
    X[:, 12] = 0.0
    y = (X[:, -1] + scale * rng.standard_normal(400) > 0).astype(int)
    fit = fit_path(X.astype(np.float32), y, [10.0], fit_intercept=True)[0]
    X = X.astype(np.float32).astype(np.float64)
    p = 1 / (1 + np.exp(-(X @ fit.coef + fit.intercept)))
    gradient = X.T @ (p - y) + fit.coef / 10.0
    assert np.abs(gradient).max() < 1e-6 * np.abs(X.T @ (0.5 - y)).max()
    assert abs((p - y).sum()) < 1e-5
    assert fit.coef[12] == pytest.approx(0.0, abs=1e-12)
    assert fit.coef[10] == pytest.approx(fit.coef[11], rel=1e-5)


@pytest.mark.parametrize("seed", range(12))
def test_converged_fit_on_ill_conditioned_rows(seed):
    """Scales over 16 orders, equal and zero columns, far means, separable labels, C up to 1000."""
    rng = np.random.default_rng([71, seed])
    n, D = int(rng.integers(20, 300)), int(rng.choice([5, 40, 150, 250]))
    scale = 10.0 ** rng.uniform(-4, 4)
    X = rng.standard_normal((n, D)) * np.geomspace(1, 10.0 ** -rng.uniform(0, 4), D) * scale
    X[:, 1], X[:, 3] = X[:, 2], 0.0
    X += (seed % 2) * 5 * scale * rng.standard_normal(D)
    y = rng.integers(0, 2, n) if seed % 3 else (X[:, 0] > np.median(X[:, 0])).astype(int)
    Cs = [0.001, 1.0, 1000.0]
    fit_intercept = seed % 4 > 1
    for C, fit in zip(Cs, fit_path(X, y, Cs, fit_intercept=fit_intercept), strict=True):
        with np.errstate(over="ignore"):
            p = 1 / (1 + np.exp(-(X @ fit.coef + fit.intercept)))
        gradient = X.T @ (p - y) + fit.coef / C
        assert np.abs(gradient).max() < 1e-7 * np.abs(X.T @ (0.5 - y)).max()
        if fit_intercept:
            assert abs((p - y).sum()) < 1e-6 * n


def test_values_too_large_to_square_are_refused():
    X = np.array([[1e200, 1.0], [-1e200, 2.0], [3e200, 0.0]])
    with pytest.raises(UserError, match="too large to square"), np.errstate(all="ignore"):
        fit_path(X, [0, 1, 1], [1.0])


@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize("score", ["balanced_accuracy", "log_loss", "auc"])
def test_fast_grid_takes_the_best_C_and_refits_on_both(fit_intercept, score):
    X, y, V, v = draw(31, scale=2.0)
    ours = fit_probe(X, y, V, v, grid="fast", fit_intercept=fit_intercept, score=score)
    found = []
    for C in CS:
        model = LogisticRegression(C=C, tol=1e-10, max_iter=5000, fit_intercept=fit_intercept)
        logits = model.fit(X, y).decision_function(V)
        found.append((round(SCORES[score](v, logits), 9), log_loss(logits, v), C))
    value, _, C = sorted(found, key=lambda f: (-f[0], f[1], f[2]))[0]
    assert ours.params["C"] == C
    assert ours.params["ties"] == sum(f[0] == value for f in found)
    both = LogisticRegression(C=C, tol=1e-10, max_iter=5000, fit_intercept=fit_intercept)
    both.fit(np.concatenate([X, V]), np.concatenate([y, v]))
    np.testing.assert_allclose(ours.coef, both.coef_[0], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(ours.predict_proba(V), both.predict_proba(V), rtol=1e-5)


@pytest.mark.parametrize("grid", ["paper", "fast"])
def test_ties_go_to_the_lower_log_loss_and_are_counted(grid):
    # far apart: every point is right everywhere on val, and the weakest penalty is the surest
    X, y, V, v = draw(32, shift=9.0, D=4)
    ours = fit_probe(X, y, V, v, grid=grid)
    assert ours.params["ties"] > (90 if grid == "paper" else 7)
    assert ours.params["C"] == 10.0
    assert ours.val_scores["log_loss"] < 0.02


def test_imbalance_is_no_reason_to_call_everything_by_one_name():
    # three generated rows to a real one: all "generated" has accuracy 0.75, and no use
    rng = np.random.default_rng(33)
    y, v = (np.arange(n) % 4 == 0 for n in (200, 120))
    X, V = (rng.standard_normal((len(t), 3)) + 0.7 * t[:, None] for t in (y, v))
    chosen = {
        score: fit_probe(X, y, V, v, grid="fast", fit_intercept=True, score=score)
        for score in ("accuracy", "balanced_accuracy")
    }
    held_out = rng.standard_normal((4000, 3))
    t = np.arange(4000) % 2
    held_out += 0.7 * t[:, None]
    by_threshold = {
        score: np.mean((probe.logits(held_out) > probe.threshold) == t)
        for score, probe in chosen.items()
    }
    assert by_threshold["balanced_accuracy"] > by_threshold["accuracy"] + 0.05


def test_unknown_score_is_refused():
    with pytest.raises(UserError, match="allowed: accuracy, balanced_accuracy, auc, log_loss"):
        fit_probe(*draw(61, n=20, n_val=10, D=3), score="f1")


def test_permuted_and_scaled_columns_permute_and_scale_the_weights():
    X, y, _, _ = draw(41, D=7)
    order = np.random.default_rng(0).permutation(7)
    (fit,) = fit_path(X, y, [0.3])
    (permuted,) = fit_path(X[:, order], y, [0.3])
    np.testing.assert_allclose(permuted.coef, fit.coef[order], rtol=1e-8)
    (scaled,) = fit_path(X * 4.0, y, [0.3 / 16.0])
    np.testing.assert_allclose(scaled.coef * 4.0, fit.coef, rtol=1e-8)


@pytest.mark.parametrize("grid", ["paper", "fast"])
def test_same_bits_again_and_the_same_probe_on_two_threads(grid):
    data = draw(51, n=120, D=30)
    first, again = fit_probe(*data, grid=grid), fit_probe(*data, grid=grid)
    np.testing.assert_array_equal(first.coef, again.coef)
    with threadpool_limits(2):
        other = fit_probe(*data, grid=grid)
    assert other.params["C"] == first.params["C"]
    np.testing.assert_allclose(other.coef, first.coef, rtol=1e-6, atol=1e-9)


def test_fast_grid_needs_neither_scikit_learn_nor_numba():
    code = (
        "import sys, numpy as np, clipsieve.probes as p;"
        "X = np.eye(6); y = np.arange(6) % 2; p.fit_probe(X, y, X, y, grid='fast');"
        "sys.exit(any(m in sys.modules for m in ('sklearn', 'numba', 'torch')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def bad(which):
    X, y, V, v = draw(61, n=20, n_val=10, D=3)
    if which == "nan":
        X[3, 1] = np.nan
    elif which == "inf":
        V[0, 2] = np.inf
    elif which == "one class":
        y[:] = 1
    elif which == "one class in val":
        v[:] = 0
    elif which == "columns":
        V = V[:, :2]
    elif which == "rows":
        y = y[:-1]
    elif which == "label":
        y[0] = 2
    elif which == "flat":
        X = X[0]
    return X, y, V, v


@pytest.mark.parametrize("grid", ["paper", "fast"])
@pytest.mark.parametrize(
    ("which", "words"),
    [
        ("nan", "X_train has 1 values that are NaN or infinite, the first in row 3, column 1"),
        ("inf", "X_val has 1 values"),
        ("one class", r"y_train holds one class only, 1 \(real\)"),
        ("one class in val", r"y_val holds one class only, 0 \(generated\)"),
        ("columns", "X_val has 2 columns; it must have 3"),
        ("rows", r"y_train has shape \[19\]; it must be \[20\]"),
        ("label", "y_train holds the label 2"),
        ("flat", "X_train has shape"),
    ],
)
def test_unusable_input_is_refused_by_name(grid, which, words):
    with pytest.raises(UserError, match=words):
        fit_probe(*bad(which), grid=grid)


def test_unknown_grid_and_C_are_refused():
    data = draw(61, n=20, n_val=10, D=3)
    with pytest.raises(UserError, match="allowed: paper, fast"):
        fit_probe(*data, grid="coarse")
    with pytest.raises(UserError, match="C is 0"):
        fit_path(*data[:2], [0])
