"""Controls against scikit-learn and brute force, and what their draws must keep."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.linear_model import LogisticRegression

from clipsieve.errors import UserError
from clipsieve.selection import filters as controls
from clipsieve.selection import lasso


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(3)
    y = np.arange(160) % 2
    X = rng.standard_normal((160, 14)) * rng.uniform(0.1, 8.0, 14)
    X[:, 5] += 4.0 * y
    X[:, 9] -= 0.6 * y
    X[:, 2] = 1.5  # constant
    return X, y


def test_random_subsets_are_sorted_distinct_and_reach_every_column_alike():
    found = controls.random_subsets(9, 4, 900, seed=1)
    assert found.shape == (900, 4)
    assert (np.diff(found, axis=1) > 0).all()
    counts = np.bincount(found.ravel(), minlength=9)
    assert stats.chisquare(counts).pvalue > 1e-4
    np.testing.assert_array_equal(found[:7], controls.random_subsets(9, 4, 7, seed=1))
    assert (controls.random_subsets(9, 4, 50, seed=2) != found[:50]).any()
    assert controls.random_subsets(3, 3, 1, seed=0).tolist() == [[0, 1, 2]]


def test_random_head_sets_are_distinct_heads():
    found = controls.random_head_sets(3, 5, 4, 300, seed=1)
    assert found.shape == (300, 4, 2)
    for heads in found:
        assert len({tuple(head) for head in heads}) == 4
    assert {tuple(head) for heads in found for head in heads} == {
        (layer, head) for layer in range(3) for head in range(5)
    }


def test_fisher_scores_by_hand(rows):
    X, y = rows
    scores = controls.fisher_scores(X, y)
    for j in range(14):
        a, b = X[y == 0, j].tolist(), X[y == 1, j].tolist()
        ma, mb = sum(a) / len(a), sum(b) / len(b)
        va = sum((x - ma) ** 2 for x in a) / len(a)
        vb = sum((x - mb) ** 2 for x in b) / len(b)
        expected = 0.0 if va + vb == 0 else (ma - mb) ** 2 / (va + vb)
        assert scores[j] == pytest.approx(expected, rel=1e-9, abs=1e-20)
    assert controls.fisher(X, y, 4).tolist() == sorted(np.argsort(-scores)[:4].tolist())
    perfect = np.column_stack([X[:, 0], y.astype(float)])
    assert controls.fisher(perfect, y, 1).tolist() == [1]


def test_variance_filter_and_its_ties(rows):
    X, y = rows
    assert controls.variance(X, y, 3).tolist() == sorted(np.argsort(-X.var(axis=0))[:3].tolist())
    assert controls.variance(np.ones((4, 5)), None, 2).tolist() == [0, 1]


def test_lasso_is_scikit_learns_optimum(rows):
    X, y = rows
    signed = X * np.where(y == 1, 1.0, -1.0)[:, None]
    for mu in (60.0, 10.0, 1.0):
        w = lasso._solve(signed, mu, np.zeros(14))
        model = LogisticRegression(
            l1_ratio=1, C=1 / mu, solver="liblinear", tol=1e-12, max_iter=100000, fit_intercept=False
        ).fit(X, y)  # fmt: skip
        np.testing.assert_allclose(w, model.coef_[0], atol=2e-4)


@pytest.mark.parametrize("k", range(1, 15))
def test_l1_keeps_exactly_k_and_follows_the_path(rows, k):
    X, y = rows
    found = controls.l1(X, y, k)
    assert len(set(found.tolist())) == k
    assert (np.diff(found) > 0).all()
    np.testing.assert_array_equal(found, controls.l1(X, y, k))
    if k < 6:
        # scikit-learn's supports along a fine path of penalties contain this one
        Z = X - X.mean(axis=0)
        Z /= np.where(Z.std(axis=0) > 0, Z.std(axis=0), 1.0)
        supports = set()
        for C in np.geomspace(2e-3, 1.0, 120):
            model = LogisticRegression(
                l1_ratio=1, C=C, solver="liblinear", tol=1e-8, fit_intercept=False
            ).fit(Z, y)  # fmt: skip
            supports.add(tuple(np.flatnonzero(model.coef_[0])))
        of_size = {s for s in supports if len(s) == k}
        assert not of_size or tuple(found) in of_size


def test_l1_takes_one_of_two_equal_columns_and_needs_no_columns_that_say_something(rows):
    X, y = rows
    assert controls.l1(X[:, [5, 5, 9]], y, 1).tolist() in ([0], [1])
    assert controls.l1(np.zeros((6, 4)), [0, 1] * 3, 2).tolist() == [0, 1]


labels = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 6)), min_size=1, max_size=40)


@given(labels, st.integers(0, 5))
@settings(deadline=None)
def test_shuffled_labels_keep_groups_and_nearly_the_counts(pairs, seed):
    y = np.array([a for a, _ in pairs])
    groups = np.array([f"g{b}" for _, b in pairs])
    assert (controls.shuffled_labels(y, 3, seed=seed).sum(axis=1) == y.sum()).all()
    found, other = controls.shuffled_labels(y, 2, seed=seed, groups=groups)
    again = controls.shuffled_labels(y, 2, seed=seed, groups=groups)
    np.testing.assert_array_equal([found, other], again)
    names, counts = np.unique(groups, return_counts=True)
    assert abs(found.sum() - y.sum()) <= counts.max()
    assert len(set(found.tolist())) == len(set(y.tolist()))
    for group in names:
        mine = groups == group
        if 0 < y[mine].sum() < mine.sum():
            assert found[mine].sum() == y[mine].sum()
        else:
            assert len(set(found[mine].tolist())) == 1


def test_shuffled_labels_carry_no_trace_of_the_label():
    # pairs of a photograph and its generated twin, and single images
    y = np.concatenate([np.tile([0, 1], 200), np.arange(400) % 2])
    groups = np.concatenate([np.repeat(np.arange(200), 2), 1000 + np.arange(400)])
    draws = controls.shuffled_labels(y, 40, seed=0, groups=groups)
    agreement = np.mean(draws == y, axis=1)
    # each row agrees with chance 1/2; 40 means of 800 rows
    assert abs(np.mean(agreement) - 0.5) < 0.02


def test_labels_are_shuffled_where_the_size_of_a_group_tells_its_class():
    """Photographs by themselves, generated images by four from a prompt."""
    y = np.repeat([1, 0], 200)
    groups = np.concatenate([np.arange(200), 1000 + np.arange(200) // 4])
    draws = controls.shuffled_labels(y, 50, seed=0, groups=groups)
    assert abs(np.mean(draws == y) - 0.5) < 0.05
    assert (np.abs(draws.sum(axis=1) - 200) <= 2).all()


def test_every_order_of_a_mixed_group_is_as_likely():
    y, groups = np.array([0, 1, 1, 0]), np.array(["a", "a", "a", "b"])
    draws = controls.shuffled_labels(y, 3000, seed=1, groups=groups)
    assert (draws[:, 3] == 0).all()
    # the generated one of three stands at each place in a third of 3,000 draws (5 sd: 130)
    assert (np.abs((draws[:, :3] == 0).sum(axis=0) - 1000) < 130).all()


@pytest.mark.parametrize("k", [0, 15])
def test_impossible_sizes_are_refused(rows, k):
    X, y = rows
    for choose in (controls.fisher, controls.variance, controls.l1):
        with pytest.raises(UserError, match="allowed: 1 to 14"):
            choose(X, y, k)
    with pytest.raises(UserError, match="allowed: 1 to 14"):
        controls.random_subsets(14, k, 2, seed=0)
