"""Several probes as one: what a plain mean of logits loses, and what cannot matter."""

from __future__ import annotations

import numpy as np
import pytest

from clipsieve.errors import UserError
from clipsieve.probes import auc, fit_probe
from clipsieve.probes.ensemble import held_out_scale, joined_logits


def test_a_member_whose_logits_are_multiplied_counts_as_before():
    rng = np.random.default_rng(0)
    y = np.arange(200) % 2
    z = rng.normal(size=(3, 200)) + 1.5 * y
    thresholds = np.array([0.7, 0.8, 0.6])
    scales = np.array([held_out_scale(row, y) for row in z])
    factor = np.array([1.0, 40.0, 0.02])
    again = joined_logits(
        z * factor[:, None],
        thresholds * factor,
        [held_out_scale(row, y) for row in z * factor[:, None]],
    )
    np.testing.assert_allclose(again, joined_logits(z, thresholds, scales), rtol=1e-12)


def test_probes_of_unlike_C_are_better_together_than_their_plain_mean():
    """Three equally good probes of unlike penalties: the plain mean is the least penalised one's."""
    rng = np.random.default_rng(1)
    y = np.arange(1200) % 2
    signal = [rng.normal(size=(1200, 4)) + 0.45 * y[:, None] for _ in range(3)]
    test = np.arange(1200) >= 400
    members, scales, thresholds, plain = [], [], [], []
    for X, factor in zip(signal, (1.0, 0.005, 0.003), strict=True):
        X = X * factor  # a strong penalty on small features keeps the logits small
        probe = fit_probe(X[:300], y[:300], X[300:400], y[300:400], grid="fast")
        z = X[test] @ probe.coef + probe.intercept
        plain.append(z)
        members.append(z)
        scales.append(probe.threshold_facts["scale"])
        thresholds.append(probe.threshold)
    assert max(scales) / min(scales) > 5
    together = auc(joined_logits(members, thresholds, scales), y[test])
    assert together > auc(np.mean(plain, axis=0), y[test]) + 0.02
    assert together > max(auc(z, y[test]) for z in plain) + 0.02


def test_the_scale_of_a_probe_is_that_of_its_cross_fitted_logits():
    rng = np.random.default_rng(2)
    y = np.arange(300) % 2
    X = rng.normal(size=(300, 3)) + 0.8 * y[:, None]
    probe = fit_probe(X[:200], y[:200], X[200:], y[200:], grid="fast")
    own = held_out_scale(X @ probe.coef + probe.intercept, y)
    assert probe.threshold_facts["scale"] == pytest.approx(own, rel=0.1)


def test_an_image_is_judged_by_the_members_that_may():
    z = np.array([[1.0, np.nan, np.nan], [3.0, 4.0, np.nan]])
    found = joined_logits(z, [0.0, 1.0], [1.0, 2.0])
    np.testing.assert_array_equal(found, [1.0, 1.5, np.nan])


@pytest.mark.parametrize("scale", [0.0, np.nan, -1.0])
def test_a_scale_that_is_no_positive_number_is_refused(scale):
    with pytest.raises(UserError, match="not a positive number"):
        joined_logits([[1.0]], [0.0], [scale])
