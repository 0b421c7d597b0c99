"""Draws fitted together against each draw fitted by itself."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from clipsieve.probes import batch, fit_probe
from clipsieve.probes.batch import fit_probes, minimise_together


@pytest.fixture(autouse=True)
def _one_thread():
    with threadpool_limits(1):
        yield


def rows(seed, n=150, D=40, shift=0.6, scale=1.0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    X = rng.standard_normal((n, D)) * np.geomspace(3.0, 0.1, D) + 0.5
    X += np.outer(y - 0.5, rng.standard_normal(D) * shift)
    return scale * X, y


def same(ours, alone, X):
    for name in ("C", "ties", "fits", "score", "solver", "fit_intercept", "converged"):
        assert ours.params[name] == alone.params[name], name
    np.testing.assert_allclose(ours.logits(X), alone.logits(X), rtol=0, atol=1e-8)
    np.testing.assert_allclose(ours.val_logits, alone.val_logits, rtol=0, atol=1e-8)
    assert ours.threshold == pytest.approx(alone.threshold, abs=1e-7)
    assert ours.operating_points == pytest.approx(alone.operating_points, abs=1e-7)
    # the two ways differ in their last digits
    facts, wanted = dict(ours.threshold_facts), dict(alone.threshold_facts)
    assert facts.pop("scale") == pytest.approx(wanted.pop("scale"), rel=1e-6)
    assert facts == wanted


@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize(
    "case",
    [
        {"seed": 1},
        {"seed": 2, "scale": 20.0},
        {"seed": 3, "shift": 4.0},  # separable
        {"seed": 4, "scale": 1e-3},
        {"seed": 5, "n": 40},  # subsets with more columns than rows
    ],
)
def test_random_columns(case, fit_intercept, monkeypatch):
    monkeypatch.setattr(batch, "_LEAST", 15)  # 12 columns are fitted alone, 25 with shared work
    X, y = rows(**case)
    cut = 2 * len(X) // 3
    rng = np.random.default_rng(9)
    subsets = [np.sort(rng.choice(X.shape[1], k, replace=False)) for k in (12, 25, 25, 25, 30)]
    options = {"fit_intercept": fit_intercept, "score": "auc"}
    together = list(fit_probes(X[:cut], y[:cut], X[cut:], y[cut:], subsets, **options))
    shared = [probe.params["n_iter"] is None for probe in together]
    assert shared == [False, *[True] * 3, cut >= 30]
    for ours, columns in zip(together, subsets, strict=True):
        data = (X[:cut][:, columns], y[:cut], X[cut:][:, columns], y[cut:])
        same(ours, fit_probe(*data, grid="fast", cross_fit=False, **options), X[:, columns])


@pytest.mark.parametrize("quality", [1.0, 1e-3, 1e3])
def test_the_optimum_does_not_depend_on_the_preconditioner(quality):
    """Several penalties, an inverse that is of no use: scikit-learn's optimum."""
    X, y = rows(10, n=90, D=8)
    signs = np.where(y == 1, 1.0, -1.0)
    Cs = np.array([0.01, 1.0, 100.0])
    useless = np.diag(np.geomspace(1.0, quality, 8)).astype(np.float32)
    w = minimise_together(X, signs, np.repeat(1 / Cs[:, None], 8, axis=1), [useless] * 3)
    for b, C in enumerate(Cs):
        model = LogisticRegression(C=C, solver="newton-cholesky", tol=1e-12, fit_intercept=False)
        model.fit(X, y)
        np.testing.assert_allclose(w[b], model.coef_[0], rtol=1e-5, atol=1e-7)
