"""Alarms at fixed thresholds, against scikit-learn's confusion matrix and repeated images."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from clipsieve.evaluation.operating import operating_point


def test_shares_are_those_of_the_confusion_matrix_also_at_the_threshold_itself() -> None:
    rng = np.random.default_rng(0)
    real, generated = rng.normal(1, 1, (3, 40)).round(1), rng.normal(-1, 1, (3, 25)).round(1)
    thresholds = np.array([0.0, -0.5, real[2, 0]])
    found = operating_point(real, generated, thresholds)
    for k, threshold in enumerate(thresholds):
        truth = np.r_[np.zeros(40), np.ones(25)]
        called = np.r_[real[k], generated[k]] <= threshold
        right, false, missed, caught = confusion_matrix(truth, called).ravel()
        assert found.tpr[k, 0] == pytest.approx(caught / (caught + missed))
        assert found.fpr[k, 0] == pytest.approx(false / (false + right))
    assert found.fpr[2, 0] > 0


def test_weights_are_repeated_images() -> None:
    rng = np.random.default_rng(1)
    real, generated = rng.normal(1, 1, (2, 12)), rng.normal(-1, 1, (2, 9))
    counts, others = rng.integers(0, 4, (12, 5)), rng.integers(1, 4, (9, 5))
    limits = np.array([0.2, 0.8])
    found = operating_point(
        real,
        generated,
        limits,
        real_weights=counts.astype(float),
        generated_weights=others.astype(float),
    )
    for b in range(5):
        plain = operating_point(
            np.repeat(real, counts[:, b], axis=1),
            np.repeat(generated, others[:, b], axis=1),
            limits,
        )
        np.testing.assert_allclose(found.tpr[:, b], plain.tpr[:, 0])
        np.testing.assert_allclose(found.fpr[:, b], plain.fpr[:, 0])


def test_a_threshold_from_val_keeps_its_rate_on_images_like_those_and_not_on_others() -> None:
    rng = np.random.default_rng(2)
    val = rng.normal(1, 1, 20_000)
    threshold = np.quantile(val, 0.05)
    test = rng.normal([[1.0], [0.0]], 1, (2, 20_000))
    found = operating_point(test, np.full((2, 1), -5.0), np.full(2, threshold))
    assert found.fpr[0, 0] == pytest.approx(0.05, abs=0.006)
    assert found.fpr[1, 0] > 0.2
