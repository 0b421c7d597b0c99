"""Weighted scores and thresholds against scikit-learn and plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from clipsieve.errors import UserError
from clipsieve.probes.pooled import (
    Weights,
    fit_pooled_probe,
    weighted_scores,
    weighted_threshold,
)
from clipsieve.probes.scores import best_threshold


@pytest.fixture
def rows():
    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, 60)
    return np.round(rng.normal(size=60) + y, 1), y, rng.uniform(0.2, 3, 60)


def test_scores_are_scikit_learns_with_sample_weights(rows):
    z, y, w = rows
    found = weighted_scores(z, y, w)
    assert found["auc"] == pytest.approx(roc_auc_score(y, z, sample_weight=w))
    chance = 1 / (1 + np.exp(-z))
    assert found["log_loss"] == pytest.approx(log_loss(y, chance, sample_weight=w))
    right = (z > 0) == (y == 1)
    assert found["accuracy"] == pytest.approx(np.average(right, weights=w))
    sides = [np.average(right[y == k], weights=w[y == k]) for k in (0, 1)]
    assert found["balanced_accuracy"] == pytest.approx(np.mean(sides))


@pytest.mark.parametrize("balanced", [False, True])
def test_equal_weights_give_the_plain_threshold(rows, balanced):
    z, y, _ = rows
    plain = best_threshold(z, y, balanced=balanced)
    assert weighted_threshold(z, y, np.full(60, 2.0), balanced=balanced) == plain


@pytest.mark.parametrize("balanced", [False, True])
def test_no_other_threshold_is_better(rows, balanced):
    z, y, w = rows
    share = w / w.sum()
    if balanced:
        share = w / np.where(y == 1, w[y == 1].sum(), w[y == 0].sum())

    def worth(cut):
        return share[(z > cut) == (y == 1)].sum()

    found = weighted_threshold(z, y, w, balanced=balanced)
    assert worth(found) == pytest.approx(max(worth(c) for c in np.linspace(-4, 5, 2000)))


def test_weights_that_cannot_be_used_are_refused(rows):
    z, y, w = rows
    X, bad = z[:, None], Weights(w[:40], w[:20], w[:59])
    with pytest.raises(UserError, match=r"weights\.val"):
        fit_pooled_probe(X[:40], y[:40], X[40:], y[40:], Weights(w[:40], -w[40:], w))
    with pytest.raises(UserError, match=r"weights\.both must be 60"):
        fit_pooled_probe(X[:40], y[:40], X[40:], y[40:], bad)
