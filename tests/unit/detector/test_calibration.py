"""Calibration against scikit-learn, the band's guarantee by simulation, errors against loops."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from clipsieve.detector.calibration import (
    Band,
    abstain_band,
    balanced_weights,
    calibration_error,
    cross_fitted,
    fit_platt,
    lower_limit,
)


def test_platt_equals_an_unpenalised_logistic_regression_on_soft_targets():
    rng = np.random.default_rng(0)
    real = rng.random(200) < 0.3
    z = 40 * (rng.normal(size=200) + 1.5 * real) - 25
    weights = rng.uniform(0.5, 2, 200)
    ours = fit_platt(z, real, weights)
    # A soft target t is a row of either label with the weights t and 1 - t.
    target = np.where(real, (real.sum() + 1) / (real.sum() + 2), 1 / ((~real).sum() + 2))
    double = np.concatenate([z, z])[:, None] / 40
    reference = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(
        double, np.repeat([1, 0], 200), np.concatenate([weights * target, weights * (1 - target)])
    )
    np.testing.assert_allclose(
        ours.generated(z), reference.predict_proba(z[:, None] / 40)[:, 0], atol=1e-5
    )


def test_platt_stays_finite_on_separable_and_useless_logits():
    separable = fit_platt([-3.0, -2, 2, 3], [False, False, True, True], np.ones(4))
    assert 0 < separable.slope < 100
    assert separable.generated([-3.0])[0] == pytest.approx(0.75, abs=0.05)
    backwards = fit_platt([-3.0, -2, 2, 3], [True, True, False, False], np.ones(4))
    assert backwards.generated([-3.0, 3.0]).tolist() == pytest.approx([0.5, 0.5])
    assert fit_platt([1.0, 1.0], [True, False], np.ones(2)).slope == 0
    for n in range(3, 40):  # the mean of equal numbers is not always that number
        assert fit_platt([0.1234567] * n, np.arange(n) < 2, np.ones(n) / 3).slope == 0
    with pytest.raises(ValueError, match="real and generated"):
        fit_platt([1.0, 2.0], [True, True], np.ones(2))
    assert separable.generated([-1e6, 1e6]).tolist() == [1.0, 0.0]


def test_band_keeps_its_rates_on_new_images():
    """Over many draws, a new image is called wrongly with probability at most the rate."""
    rng = np.random.default_rng(1)
    rate, wrong_real, wrong_generated, decided = 0.1, [], [], []
    for _ in range(400):
        band = abstain_band(
            rng.standard_t(3, 37) + 1.0, rng.standard_t(3, 52), rate=rate, threshold=0.5
        )
        real = band.verdicts(rng.standard_t(3, 50) + 1.0)
        generated = band.verdicts(rng.standard_t(3, 50))
        wrong_real.append(np.mean(real == "generated"))
        wrong_generated.append(np.mean(generated == "real"))
        decided.append(np.mean(real != "unsure"))
    # k / (n + 1) with k = floor(0.1 (n + 1)): 3 / 38 and 5 / 53 are the exact rates.
    assert np.mean(wrong_real) == pytest.approx(3 / 38, abs=0.008)
    assert np.mean(wrong_generated) == pytest.approx(5 / 53, abs=0.008)
    assert np.mean(decided) > 0.2


def test_band_is_empty_where_labels_lie_apart_and_endless_with_few_images():
    apart = abstain_band(np.arange(100) + 50.0, -np.arange(100.0), rate=0.05, threshold=3.0)
    assert (apart.low, apart.high) == (3.0, 3.0)
    assert apart.verdicts([2.0, 4.0]).tolist() == ["generated", "real"]
    outside = abstain_band(np.arange(100) + 50.0, -np.arange(100.0), rate=0.05, threshold=999.0)
    assert outside.low == outside.high == 54.0
    few = abstain_band(np.arange(5.0), np.arange(5.0), rate=0.05, threshold=0.0)
    assert few == Band(-np.inf, np.inf)
    assert few.verdicts([-1e9, 1e9]).tolist() == ["unsure", "unsure"]


def test_calibration_error_equals_a_loop_over_bins():
    rng = np.random.default_rng(2)
    p, y, w = rng.random(300), rng.random(300) < 0.4, rng.random(300)
    total = 0.0
    for k in range(15):
        rows = (p >= k / 15) & ((p < (k + 1) / 15) | (k == 14))
        if rows.any():
            gap = np.average(p[rows], weights=w[rows]) - np.average(y[rows], weights=w[rows])
            total += w[rows].sum() / w.sum() * abs(gap)
    assert calibration_error(p, y, w) == pytest.approx(total)


def test_weights_balance_labels_and_generators():
    sets = np.array(["real"] * 6 + ["a"] * 3 + ["b"])
    weights = balanced_weights(sets, sets == "real")
    assert weights[:6].sum() == pytest.approx(0.5)
    assert weights[6:9].sum() == pytest.approx(0.25)
    assert weights[9] == pytest.approx(0.25)


def test_cross_fitting_never_lets_an_image_or_its_group_calibrate_itself():
    rng = np.random.default_rng(3)
    sets = np.repeat(["real", "a", "b"], 60)
    real = sets == "real"
    group = np.tile(np.arange(60) // 2, 3)
    z = rng.normal(size=180) + real
    before = cross_fitted(z, real, sets, group)
    changed = z.copy()
    mine = (sets == "a") | (group == 4)
    changed[mine & (sets != "b")] += 50.0 * rng.normal(size=(mine & (sets != "b")).sum())
    after = cross_fitted(changed, real, sets, group)
    # b's other images are calibrated by a and by the reals, so they move; a's own group does not
    # reach a: its images of group 4 saw neither a nor group 4.
    rows = (sets == "a") & (group == 4)
    again = changed.copy()
    again[rows] = z[rows]
    untouched = z.copy()
    untouched[(sets == "a") & (group != 4)] += 50.0
    same = cross_fitted(untouched, real, sets, group)
    np.testing.assert_array_equal(same["a"][rows], before["a"][rows])
    assert not np.allclose(after["b"][sets == "b"], before["b"][sets == "b"])
    assert np.isnan(before["a"][sets == "b"]).all()
    assert np.isfinite(before["a"][sets != "b"]).all()


def test_a_limit_keeps_its_rate_on_new_groups_of_any_size():
    """Images of a group are alike and groups have 1 to 30 of them: new groups are called wrongly at the rate."""
    rng = np.random.default_rng(5)

    def draw(n: int) -> tuple[np.ndarray, np.ndarray]:
        sizes = rng.integers(1, 31, n)
        # large groups lie higher, so that counting images instead of groups would break the rate
        centre = rng.normal(size=n) * 2.0 + sizes / 10.0
        group = np.repeat(np.arange(n), sizes)
        return centre[group] + 0.3 * rng.normal(size=len(group)), group

    rate, by_group, by_image = 0.1, [], []
    for _ in range(500):
        logits, group = draw(49)
        new, new_group = draw(20)
        for limit, kept in (
            (lower_limit(logits, rate, group), by_group), (lower_limit(logits, rate), by_image),
        ):  # fmt: skip
            kept.append(np.mean([np.mean(new[new_group == g] < limit) for g in range(20)]))
    assert 0.07 < np.mean(by_group) <= 0.1 + 3 * np.std(by_group) / np.sqrt(500)
    assert np.mean(by_image) > 0.12  # what counting images would give


def test_a_limit_with_groups_of_one_is_the_order_statistic():
    rng = np.random.default_rng(2)
    for n in (5, 19, 20, 99):
        z = rng.permutation(np.arange(n, dtype=float))
        for rate in (0.01, 0.05, 0.1, 0.33):
            k = int(np.floor(rate * (n + 1) + 1e-9))
            assert lower_limit(z, rate) == (k - 1 if k else -np.inf)
            assert lower_limit(z, rate, np.arange(n)) == lower_limit(z, rate)
    # ties: none of the images at the limit lies below it
    assert lower_limit([1.0] * 40, 0.05) == 1.0
