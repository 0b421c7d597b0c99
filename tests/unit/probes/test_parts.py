"""Residuals, nearest mean and scores against scikit-learn, closed forms and brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics
from sklearn.neighbors import NearestCentroid

from clipsieve.errors import UserError
from clipsieve.probes import (
    Probe,
    accuracy,
    auc,
    balanced_accuracy,
    best_threshold,
    fit_nearest_mean,
    fit_probe,
    fit_residual_probe,
    log_loss,
    residual,
    residual_feature,
    sigmoid,
)
from clipsieve.probes.checks import check_basis

ROWS = np.random.default_rng(1).standard_normal((40, 6)) + np.arange(6)
LABELS = np.arange(40) % 2


def test_residual_is_the_difference_of_normed_means():
    expected = np.zeros(6)
    for label, sign in ((0, 1.0), (1, -1.0)):
        mean = sum(row for row, y in zip(ROWS, LABELS, strict=True) if y == label) / 20
        expected += sign * mean / np.sqrt(mean @ mean)
    np.testing.assert_allclose(residual(ROWS, LABELS), expected, rtol=1e-12)
    np.testing.assert_allclose(
        residual(ROWS.astype(np.float32), LABELS), expected, rtol=1e-4, atol=1e-6
    )


def test_residual_feature_is_cosine_or_dot():
    direction = residual(ROWS, LABELS)
    cosine = metrics.pairwise.cosine_similarity(ROWS, direction[None])
    np.testing.assert_allclose(residual_feature(ROWS, direction), cosine, rtol=1e-12)
    np.testing.assert_allclose(
        residual_feature(ROWS, direction, kind="dot")[:, 0], [row @ direction for row in ROWS]
    )
    assert residual_feature(np.zeros((2, 6)), direction).tolist() == [[0.0], [0.0]]


def test_residual_refuses_what_has_no_direction():
    with pytest.raises(UserError, match="mean of the generated rows is zero"):
        residual(np.array([[0.0, 0.0], [1.0, 2.0]]), [0, 1])
    with pytest.raises(UserError, match="resid is zero"):
        residual_feature(ROWS, np.zeros(6))
    with pytest.raises(UserError, match="allowed: cosine, dot"):
        residual_feature(ROWS, np.ones(6), kind="angle")
    with pytest.raises(UserError, match="must have 5"):
        residual_feature(ROWS, np.ones(5))


@pytest.mark.parametrize("kind", ["cosine", "dot"])
@pytest.mark.parametrize("grid", ["paper", "fast"])
def test_residual_probe_is_sure_of_what_is_apart(kind, grid):
    """One unscaled cosine under the penalty would leave every probability at 0.5."""
    rng = np.random.default_rng(3)
    y = np.arange(300) % 2
    X = rng.standard_normal((300, 20)) * 0.3 + 5.0  # a large common mean: cosines hardly spread
    X[:, 0] += y * 1.5
    direction = residual(X[:200], y[:200])
    feature = residual_feature(X, direction, kind=kind)
    data = (feature[:200], y[:200], feature[200:], y[200:])
    probe = fit_residual_probe(*data, grid=grid, fit_intercept=True)
    logits = probe.logits(feature)  # the scale is in the coefficient
    assert logits.std() > 0.3
    assert probe.params["scale"] == pytest.approx(feature[:200].std())
    assert (np.diff(logits[np.argsort(-feature[:, 0])]) >= 0).all()
    expected = metrics.log_loss(y, 1 / (1 + np.exp(-logits)))
    assert log_loss(logits, y) == pytest.approx(expected)
    assert expected < 0.55
    if kind == "cosine" and grid == "fast":
        unscaled = fit_probe(*data, grid=grid, fit_intercept=True).logits(feature)
        assert expected < 0.6 * log_loss(unscaled, y)
    other = fit_residual_probe(
        feature[:200] * 1e3, y[:200], feature[200:] * 1e3, y[200:], grid="fast", fit_intercept=True
    )
    same = fit_residual_probe(*data, grid="fast", fit_intercept=True)
    np.testing.assert_allclose(other.coef * 1e3, same.coef, rtol=1e-6)


def test_a_constant_feature_is_left_as_it_is():
    y = np.arange(20) % 2
    probe = fit_residual_probe(np.ones((20, 1)), y, np.ones((20, 1)), y, grid="fast")
    assert probe.params["scale"] == 1.0
    assert abs(probe.coef[0]) < 1e-9


def test_nearest_mean_is_scikit_learns_nearest_centroid():
    rng = np.random.default_rng(2)
    new = rng.standard_normal((200, 6)) + np.arange(6)
    probe = fit_nearest_mean(ROWS[:30], LABELS[:30], ROWS[30:], LABELS[30:])
    np.testing.assert_array_equal(
        probe.logits(new) > 0, NearestCentroid().fit(ROWS, LABELS).predict(new)
    )
    on_train = NearestCentroid().fit(ROWS[:30], LABELS[:30])
    assert probe.val_accuracy == on_train.score(ROWS[30:], LABELS[30:])


def test_probe_says_real_for_high_logits():
    probe = Probe(coef=np.array([2.0, 0.0]), intercept=1.0, params={})
    X = np.array([[1.0, 9.0], [-400.0, 9.0], [400.0, 0.0]])
    np.testing.assert_array_equal(probe.logits(X), [3.0, -799.0, 801.0])
    proba = probe.predict_proba(X)
    np.testing.assert_allclose(proba.sum(axis=1), 1.0)
    assert proba[0, 1] == pytest.approx(1 / (1 + np.exp(-3)))
    assert proba[1, 1] == pytest.approx(np.exp(-799.0))  # no underflow to 1 - 1
    with pytest.raises(UserError, match="must have 2"):
        probe.logits(np.ones((2, 3)))


few = st.lists(st.tuples(st.integers(-4, 4), st.booleans()), min_size=2, max_size=30)


@given(few)
@settings(deadline=None)
def test_scores_are_scikit_learns(rows):
    z = np.array([a / 2 for a, _ in rows])
    y = np.array([int(b) for _, b in rows])
    assert accuracy(z, y) == metrics.accuracy_score(y, z > 0)
    assert log_loss(z, y) == pytest.approx(metrics.log_loss(y, sigmoid(z), labels=[0, 1]))
    if 0 < y.sum() < len(y):
        expected = metrics.balanced_accuracy_score(y, z > 0)
        assert balanced_accuracy(z, y) == pytest.approx(expected, abs=1e-14)
        if 2 * y.sum() == len(y):
            assert balanced_accuracy(z, y) == accuracy(z, y)
    if 0 < y.sum() < len(y):
        assert auc(z, y) == pytest.approx(metrics.roc_auc_score(y, z))
    else:
        assert np.isnan(auc(z, y))


@given(few)
@settings(max_examples=200, deadline=None)
def test_threshold_is_the_best_of_all_and_zero_when_that_is_as_good(rows):
    z = np.array([a / 2 for a, _ in rows])
    y = np.array([int(b) for _, b in rows])
    everywhere = np.arange(-3.25, 3.5, 0.25)
    best = max(accuracy(z, y, t) for t in everywhere)
    found = best_threshold(z, y)
    assert accuracy(z, y, found) == best
    if accuracy(z, y) == best:
        assert found == 0.0


def test_threshold_between_neighbouring_floats():
    low = 1.0
    high = np.nextafter(low, 2.0)
    z = np.array([low, high, -5.0, -6.0])
    y = np.array([0, 1, 0, 0])
    assert accuracy(z, y, best_threshold(z, y)) == 1.0


def test_weights_of_rows_are_scikit_learns_sample_weights():
    from sklearn.linear_model import LogisticRegression

    from clipsieve.probes.newton import minimise

    weights = np.random.default_rng(4).uniform(0.0, 3.0, 40)
    signed = ROWS * np.where(LABELS == 1, 1.0, -1.0)[:, None]
    w, _ = minimise(signed, np.full(6, 2.0), weights=weights)
    model = LogisticRegression(C=0.5, solver="newton-cholesky", tol=1e-12, fit_intercept=False)
    model.fit(ROWS, LABELS, sample_weight=weights)
    np.testing.assert_allclose(w, model.coef_[0], rtol=1e-6)


def test_a_basis_that_all_heads_share_stays_one_in_memory():
    shared = np.broadcast_to(np.eye(3, dtype=np.float32), (2, 5, 3, 3))
    found = check_basis(shared, (2, 5, 3))
    assert found.dtype == np.float64
    assert found.strides[:2] == (0, 0)
    np.testing.assert_array_equal(found, np.array(shared))
