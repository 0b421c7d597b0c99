"""Spearman's rho against scipy, its p by permutation, and the table that it is taken from."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from clipsieve.errors import UserError
from clipsieve.interpretation.correlation import spearman, transfer_and_cosine, within_families


@pytest.mark.parametrize("n", [4, 7, 9, 14])
@pytest.mark.parametrize("ties", [False, True])
def test_rho_equals_scipy(n: int, ties: bool):
    rng = np.random.default_rng(n)
    x, y = rng.normal(size=n), rng.normal(size=n)
    if ties:
        x[1] = x[0]
    result = spearman(x, y, draws=2000)
    assert result.rho == pytest.approx(stats.spearmanr(x, y).statistic)
    assert result.low < result.rho < result.high
    low, high = result.leave_one_out
    without = [stats.spearmanr(np.delete(x, i), np.delete(y, i)).statistic for i in range(n)]
    assert (low, high) == pytest.approx((min(without), max(without)))


def test_exact_p_counts_every_order():
    x, y = np.array([1.0, 2, 3, 4, 5, 6]), np.array([2.0, 1, 4, 3, 6, 5])
    seen = abs(stats.spearmanr(x, y).statistic)
    all_rho = [abs(stats.spearmanr(x, np.array(o)).statistic) for o in permutations(y)]
    result = spearman(x, y)
    assert result.p == pytest.approx(np.mean(np.array(all_rho) >= seen - 1e-9))
    assert result.p_method == "all orders"
    assert spearman([1, 2, 3, 4], [1, 2, 3, 4]).p == pytest.approx(2 / 24)


def test_sampled_p_is_near_the_exact_one(monkeypatch: pytest.MonkeyPatch):
    rng = np.random.default_rng(0)
    x = rng.normal(size=8)
    y = -x + rng.normal(size=8)
    exact = spearman(x, y).p
    monkeypatch.setattr("clipsieve.interpretation.correlation.EXACT_UP_TO", 5)
    sampled = spearman(x, y, draws=20_000)
    assert sampled.p_method == "20000 random orders"
    assert sampled.p == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 20_000))


def test_p_is_not_too_small_without_correlation():
    rng = np.random.default_rng(1)
    ps = np.array([spearman(*rng.normal(size=(2, 7))).p for _ in range(300)])
    for level in (0.05, 0.2, 0.5):
        assert np.mean(ps <= level) <= level + 3 * np.sqrt(level * (1 - level) / 300)


def test_interval_covers_the_truth():
    """Bivariate normal with correlation r has rho = 6/pi asin(r/2); 95 % of intervals hold it."""
    rng = np.random.default_rng(2)
    r, trials, inside = -0.6, 500, 0
    truth = 6 / np.pi * np.arcsin(r / 2)
    for _ in range(trials):
        x = rng.normal(size=14)
        y = r * x + np.sqrt(1 - r**2) * rng.normal(size=14)
        result = spearman(x, y, draws=1)
        inside += result.low <= truth <= result.high
    assert 0.92 <= inside / trials <= 0.985


def test_a_perfect_order_has_no_interval():
    found = spearman([1, 2, 3, 4], [2, 3, 5, 9])
    assert (found.rho, found.low, found.high) == (1.0, None, None)
    assert found.p == pytest.approx(2 / 24)


def test_too_few_or_constant_values_have_no_correlation():
    assert spearman([1, 2], [2, 1]).rho is None
    assert spearman([1, 1, 1, 1], [1, 2, 3, 4]).rho is None
    assert spearman([1, 2, np.nan, 4, 5], [1, 2, 3, 4, 5]).n == 4
    assert spearman([1, 2, 3], [1, 3, 2]).low is None


def test_transfer_leaves_the_diagonal_and_other_metrics_out():
    cells = pd.DataFrame(
        [
            ("all", "a", "a", "accuracy", 1.0),
            ("all", "a", "b", "accuracy", 0.6),
            ("all", "a", "c", "accuracy", 0.8),
            ("all", "a", "b", "auc", 0.1),
            ("heads/a--b", "a", "c", "accuracy", 0.2),
            ("all", "b", "a", "accuracy", 0.5),
            ("all", "b", "b", "accuracy", 1.0),
        ],
        columns=["feature_set", "train", "test", "metric", "value"],
    )
    nearest = pd.DataFrame(
        [
            ("probe", "a", "all", "nearest", 1, "blur", 0.12),
            ("probe", "a", "all", "nearest", 2, "blurry", 0.11),
            ("probe", "a", "all", "farthest", 1, "sharp", -0.3),
            ("residual", "a", "residual", "nearest", 1, "noise", 0.4),
            ("probe", "b", "all", "nearest", 1, "dog", 0.2),
        ],
        columns=["kind", "direction", "feature_set", "side", "rank", "text", "cosine"],
    )
    points = transfer_and_cosine(cells, nearest).set_index("generator")
    assert points["transfer"].to_dict() == pytest.approx({"a": 0.7, "b": 0.5})
    assert points["max_cosine"].to_dict() == {"a": 0.12, "b": 0.2}
    assert points["n_cells"].to_dict() == {"a": 2, "b": 1}
    with pytest.raises(UserError, match="no generator"):
        transfer_and_cosine(cells, nearest, feature_set="residual")


def test_two_families_alone_make_a_correlation_that_is_not_there_within_them():
    """14 points in two families two standard deviations apart, nothing within either."""
    rng = np.random.default_rng(3)
    family = ["gan"] * 7 + ["diffusion"] * 7
    shift = np.repeat([0.0, 2.0], 7)
    plain, within = [], []
    for trial in range(200):
        x, y = rng.normal(size=14) + shift, rng.normal(size=14) - shift
        plain.append(spearman(x, y, draws=400).p)
        within.append(within_families(x, y, family, draws=400, seed=trial).p)
    assert np.mean(np.array(plain) <= 0.05) > 0.4
    assert np.mean(np.array(within) <= 0.05) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 200)


def test_within_one_family_it_is_spearman():
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(2, 8))
    found = within_families(x, y, ["gan"] * 8, draws=20_000)
    assert found.rho == pytest.approx(stats.spearmanr(x, y).statistic)
    exact = spearman(x, y).p
    assert found.p == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 20_000))


def test_a_relation_within_families_is_found_although_they_differ():
    base = np.concatenate([np.arange(7.0), np.arange(7.0)])
    shift = np.repeat([0.0, 20.0], 7)
    found = within_families(base + shift, -base + shift, ["a"] * 7 + ["b"] * 7)
    assert found.rho == pytest.approx(-1.0)
    assert found.p < 0.001
    assert within_families([1, 2], [1, 2], ["a", "b"]).rho is None


def test_small_families_and_missing_values_are_left_out():
    x = [1.0, 2.0, 3.0, np.nan, 5.0, 6.0]
    found = within_families(x, [3.0, 2.0, 1.0, 4.0, 0.0, 1.0], ["a"] * 4 + ["b"] * 2)
    assert (found.n, found.families) == (3, 1)
    assert found.rho == pytest.approx(-1.0)
