"""Draws fitted together against each draw fitted by itself."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from clipsieve.errors import UserError
from clipsieve.probes import TuneRows, fit_probe
from clipsieve.probes.batch import Draw, fit_probes, minimise_together


@pytest.fixture(autouse=True)
def _one_thread():
    with threadpool_limits(1):
        yield


def rows(seed, n=150, D=40, shift=0.6, scale=1.0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    X = rng.standard_normal((n, D)) * np.geomspace(3.0, 0.1, D) + 0.5
    X += np.outer(y - 0.5, rng.standard_normal(D) * shift)
    return scale * X, y, np.repeat(np.arange(n // 2), 2)


def same(ours, alone, X):
    for name in ("C", "ties", "fits", "score", "solver", "fit_intercept", "converged"):
        assert ours.params[name] == alone.params[name], name
    np.testing.assert_allclose(ours.logits(X), alone.logits(X), rtol=0, atol=1e-8)
    np.testing.assert_allclose(ours.val_logits, alone.val_logits, rtol=0, atol=1e-8)
    assert ours.threshold == pytest.approx(alone.threshold, abs=1e-7)
    assert ours.operating_points == pytest.approx(alone.operating_points, abs=1e-7)
    assert ours.threshold_facts == alone.threshold_facts


@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize(
    "case",
    [
        {"seed": 1},
        {"seed": 2, "scale": 20.0},
        {"seed": 3, "shift": 4.0},  # separable
        {"seed": 4, "scale": 1e-3},
        {"seed": 5, "n": 40},  # draws with more columns than rows
    ],
)
def test_random_columns(case, fit_intercept):
    X, y, groups = rows(**case)
    cut = 2 * len(X) // 3
    rng = np.random.default_rng(9)
    subsets = [np.sort(rng.choice(X.shape[1], k, replace=False)) for k in (12, 12, 12, 30)]
    options = {
        "fit_intercept": fit_intercept, "groups": (groups[:cut], groups[cut:]), "score": "auc",
    }  # fmt: skip
    together = list(
        fit_probes(X[:cut], y[:cut], X[cut:], y[cut:], [Draw(c) for c in subsets], **options)
    )
    for ours, columns in zip(together, subsets, strict=True):
        data = (X[:cut][:, columns], y[:cut], X[cut:][:, columns], y[cut:])
        same(ours, fit_probe(*data, grid="fast", **options), X[:, columns])


def test_matrices_of_their_own_tuned_on_other_rows():
    X, y, groups = rows(6, n=120, D=60)
    other, t, _ = rows(7, n=70, D=60, shift=0.3)
    blocks = [np.arange(20 * i, 20 * (i + 1)) for i in range(3)]

    def tune(columns):
        return TuneRows(other[:, columns], t, np.arange(70) // 2 + 40, np.arange(70) > 20)

    draws = [Draw(X_train=X[:80, c], X_val=X[80:, c], tune=tune(c)) for c in blocks]
    options = {"groups": (groups[:80], groups[80:])}
    together = list(fit_probes(None, y[:80], None, y[80:], draws, **options))
    for ours, columns in zip(together, blocks, strict=True):
        data = (X[:80, columns], y[:80], X[80:, columns], y[80:])
        alone = fit_probe(*data, grid="fast", tune=tune(columns), **options)
        same(ours, alone, X[:, columns])
    with pytest.raises(UserError, match="needs X_train and X_val"):
        next(fit_probes(None, y[:80], None, y[80:], [Draw(blocks[0])]))


def test_labels_of_their_own():
    X, y, _ = rows(8, D=20)
    rng = np.random.default_rng(0)
    orders = [rng.permutation(y) for _ in range(4)]
    draws = [Draw(y_train=z[:100], y_val=z[100:]) for z in orders]
    for ours, z in zip(fit_probes(X[:100], y[:100], X[100:], y[100:], draws), orders, strict=True):
        same(ours, fit_probe(X[:100], z[:100], X[100:], z[100:], grid="fast"), X)


@pytest.mark.parametrize("quality", [1.0, 1e-3, 1e3])
def test_the_optimum_does_not_depend_on_the_preconditioner(quality):
    """Rows left out, several penalties, an inverse that is of no use: scikit-learn's optimum."""
    X, y, _ = rows(10, n=90, D=8)
    signs = np.where(y == 1, 1.0, -1.0)
    Cs = np.array([0.01, 1.0, 100.0])
    seen = np.random.default_rng(1).random((3, 90)) < 0.8
    useless = np.diag(np.geomspace(1.0, quality, 8)).astype(np.float32)
    w = minimise_together(
        X, signs, np.repeat(1 / Cs[:, None], 8, axis=1), [useless] * 3, seen=seen.astype(float)
    )
    for b, C in enumerate(Cs):
        model = LogisticRegression(C=C, solver="newton-cholesky", tol=1e-12, fit_intercept=False)
        model.fit(X[seen[b]], y[seen[b]])
        np.testing.assert_allclose(w[b], model.coef_[0], rtol=1e-5, atol=1e-7)
