"""Sign flips, Holm's rule, and intervals where resamples cannot vary."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from clipsieve.evaluation.bootstrap import Strata
from clipsieve.evaluation.intervals import metric_intervals
from clipsieve.evaluation.metrics import METRICS
from clipsieve.evaluation.significance import SignFlips, holm


def test_holm_is_the_step_down_rule() -> None:
    p = np.array([0.01, 0.04, np.nan, 0.03, 0.005])
    # by hand: 4 * 0.005, 3 * 0.01, 2 * 0.03, then 1 * 0.04 but not below the one before
    np.testing.assert_allclose(holm(p), [0.03, 0.06, np.nan, 0.06, 0.02])


def constant_intervals(groups: int, **changes: int) -> dict[str, tuple[float, float]]:
    """Intervals of a detector that calls every image real, in every resample."""
    values = np.full((len(METRICS), 1), 0.5)
    values[METRICS.index("accuracy_real")] = 1
    values[METRICS.index("accuracy_generated")] = 0
    counts = dict.fromkeys(("real", "generated", "both", "real_of_a_source"), groups) | changes
    found = metric_intervals(values, np.repeat(values[..., None], 50, axis=-1), counts, freedom=9)
    return {name: (found[0][m, 0], found[1][m, 0]) for m, name in enumerate(METRICS)}


def test_an_accuracy_of_one_class_all_right_and_one_all_wrong_has_the_bounds_of_both() -> None:
    found = constant_intervals(60)
    lowest = 0.025 ** (1 / 60)  # the least share that has 60 of 60 right with a chance of 2.5 %
    assert found["accuracy_real"] == pytest.approx((lowest, 1))
    assert found["accuracy_generated"] == pytest.approx((0, 1 - lowest))
    for name in ("accuracy", "accuracy_at_val_threshold", "balanced_accuracy"):
        assert found[name] == pytest.approx((lowest / 2, 1 - lowest / 2))


def test_a_class_of_one_group_has_no_interval() -> None:
    found = constant_intervals(60, generated=1)
    assert np.isnan(found["accuracy_generated"]).all()
    assert np.isnan(found["accuracy"]).all()
    assert np.isfinite(found["accuracy_real"]).all()


def one_stratum(n: int) -> Strata:
    return Strata(np.zeros(n, dtype=np.int64), np.array([n]))


@pytest.mark.parametrize("n", [9, 40])
def test_sign_flips_of_a_mean_are_scipys(n: int) -> None:
    x = np.random.default_rng(n).normal(0.2, 1, size=(3, n))
    value = x.mean(axis=1)
    influence = (x - value[:, None]) / n
    ours = SignFlips(one_stratum(n), 40_000, 0).p_values(value, influence, np.arange(n))
    for k in range(3):
        theirs = stats.permutation_test(
            (x[k],), np.mean, permutation_type="samples", n_resamples=40_000, rng=1
        )
        assert ours[k] == pytest.approx(theirs.pvalue, abs=0.015)


def test_a_difference_that_no_flip_reached_has_a_bound_that_no_exact_p_exceeds() -> None:
    n = 14
    signs = np.array(list(itertools.product((-1, 1), repeat=n)))
    x = 1 + 0.1 * np.random.default_rng(3).normal(size=n)
    value = np.array([x.mean()])
    influence = (x - x.mean())[None] / n
    p = SignFlips(one_stratum(n), 20, 1).p_values(value, influence, np.arange(n))[0]
    exact = np.mean(np.abs(signs @ x / n) >= value[0] * (1 - 1e-6))
    assert exact < p < 1 / 21
    many = SignFlips(one_stratum(200), 500, 0)
    x = np.random.default_rng(4).normal(0.5, 1, size=200)
    influence = (x - x.mean())[None] / 200
    p = many.p_values(np.array([x.mean()]), influence, np.arange(200))[0]
    assert stats.ttest_1samp(x, 0).pvalue < p < 1e-6


def test_equal_feature_sets_have_p_one() -> None:
    flips = SignFlips(one_stratum(30), 500, 0)
    assert flips.p_values(np.zeros(1), np.zeros((1, 30)), np.arange(30))[0] == 1
