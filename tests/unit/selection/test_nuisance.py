"""Nuisance directions against closed forms, a planted source bias, and random directions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipsieve.errors import UserError
from clipsieve.selection import nuisance_directions, project_out
from clipsieve.selection.nuisance import random_directions


def reals(seed=0, n=60, columns=12, sources=3):
    rng = np.random.default_rng(seed)
    source = np.arange(n) % sources
    return rng.standard_normal((n, columns)) + 5 * rng.standard_normal((sources, columns))[
        source
    ], source


def test_two_sources_give_the_normalised_difference_of_their_means():
    X, source = reals(sources=2)
    (found,) = nuisance_directions(X, source)
    difference = X[source == 0].mean(axis=0) - X[source == 1].mean(axis=0)
    difference /= np.linalg.norm(difference)
    np.testing.assert_allclose(np.abs(found @ difference), 1.0, rtol=1e-12)


def test_after_projection_the_means_of_all_sources_are_equal():
    X, source = reals(sources=4)
    directions = nuisance_directions(X, source)
    assert directions.shape == (3, 12)
    means = [project_out(X, directions)[source == s].mean(axis=0) for s in range(4)]
    np.testing.assert_allclose(means, np.tile(means[0], (4, 1)), atol=1e-10)


def test_a_source_counts_the_same_however_many_images_it_has():
    X, source = reals(sources=3)
    more = np.concatenate([X, X[source == 0], X[source == 0]])
    names = np.concatenate([source, np.zeros(2 * (source == 0).sum(), int)])
    a, b = nuisance_directions(X, source), nuisance_directions(more, names)
    np.testing.assert_allclose(a.T @ a, b.T @ b, atol=1e-10)


def test_components_alone_are_those_of_scikit_learn():
    from sklearn.decomposition import PCA

    X, source = reals()
    found = nuisance_directions(X, source, between=False, components=4)
    expected = PCA(4, svd_solver="full").fit(X).components_
    np.testing.assert_allclose(np.abs(np.sum(found * expected, axis=1)), 1.0, rtol=1e-9)


def test_components_come_after_the_differences_and_within_sources():
    X, source = reals()
    both = nuisance_directions(X, source, components=3)
    np.testing.assert_array_equal(both[:2], nuisance_directions(X, source))
    np.testing.assert_allclose(both @ both.T, np.eye(5), atol=1e-10)
    # a shift of whole sources is in the first part already, so it changes no component
    moved = X + (source[:, None] == 1) * (7.0 * both[0])
    again = nuisance_directions(moved, source, components=3)
    np.testing.assert_allclose(again[2:].T @ again[2:], both[2:].T @ both[2:], atol=1e-8)


def test_one_source_has_nothing_to_remove():
    X, _ = reals()
    directions = nuisance_directions(X, ["coco"] * len(X))
    assert directions.shape == (0, 12)
    np.testing.assert_array_equal(project_out(X, directions), X)


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 10_000),
    st.integers(1, 5),
    st.integers(0, 4),
    st.floats(0.01, 100.0),
    st.booleans(),
)
def test_projection_is_idempotent_and_shortens(seed, sources, components, scale, between):
    X, source = reals(seed, sources=sources)
    X = scale * X
    directions = nuisance_directions(X, source, between=between, components=components)
    once = project_out(X, directions)
    np.testing.assert_allclose(project_out(once, directions), once, atol=1e-9 * scale)
    np.testing.assert_allclose(once @ directions.T, 0, atol=1e-9 * scale)
    assert (np.linalg.norm(once, axis=1) <= np.linalg.norm(X, axis=1) * (1 + 1e-12)).all()


def planted(seed, n=120, columns=40, strength=6.0):
    """Two sources with a planted bias; generators carry their source's bias and a common trace."""
    rng = np.random.default_rng(seed)
    bias, trace = np.linalg.qr(rng.standard_normal((columns, 2)))[0].T
    parts = {}
    for name, sign, label in (
        ("one", 1, 1),
        ("two", -1, 1),
        ("gen_one", 1, 0),
        ("gen_two", 1, 0),
        ("far", -1, 0),
    ):
        shift = 0.5 * sign * strength * bias - (0 if label else 1.5) * trace
        parts[name] = rng.standard_normal((n, columns)) + shift
    # a generator's images differ from its source's in subject matter, along the same direction
    parts["gen_one"] -= strength * bias
    return parts, bias, trace


def test_a_planted_source_bias_is_found_and_transfer_comes_back():
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score

    gains, controls = [], []
    for seed in range(5):
        parts, bias, _ = planted(seed)
        real = np.concatenate([parts["one"], parts["two"]])
        directions = nuisance_directions(real, np.repeat(["one", "two"], 120))
        assert abs(directions[0] @ bias) > 0.95

        def auc(N, parts=parts):
            X = project_out(np.concatenate([parts["gen_one"], parts["one"]]), N)
            y = np.repeat([0, 1], 120)
            probe = LogisticRegression(C=0.1, fit_intercept=False).fit(X, y)
            far = project_out(np.concatenate([parts["far"], parts["two"]]), N)
            return roc_auc_score(y, far @ probe.coef_[0])

        plain = auc(np.empty((0, 40)))
        gains.append(auc(directions) - plain)
        controls.append(auc(random_directions(40, 1, seed=seed)) - plain)
    assert np.mean(gains) > 0.05
    assert abs(np.mean(controls)) < 0.02


def test_generated_images_cannot_change_a_projection():
    # the function takes real images alone: the same reals give the same directions, whatever is tested
    X, source = reals()
    np.testing.assert_array_equal(
        nuisance_directions(X, source), nuisance_directions(X.copy(), source)
    )


def test_random_directions_are_orthonormal_and_follow_the_covariance():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((500, 8)) * np.array([10, 1, 1, 1, 1, 1, 1, 1])
    plain = np.array([random_directions(8, 1, seed=s)[0] for s in range(300)])
    shaped = np.array([random_directions(8, 1, seed=s, like=X)[0] for s in range(300)])
    assert np.mean(plain[:, 0] ** 2) == pytest.approx(1 / 8, abs=0.04)
    assert np.mean(shaped[:, 0] ** 2) > 0.6
    many = random_directions(8, 5, seed=1, like=X)
    np.testing.assert_allclose(many @ many.T, np.eye(5), atol=1e-10)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: nuisance_directions(np.ones((3, 2)), ["a"]), "source has shape"),
        (lambda: nuisance_directions(reals()[0], reals()[1], components=-1), "0 or more"),
        (lambda: nuisance_directions(reals()[0], reals()[1], components=11), "allow at most 10"),
        (lambda: nuisance_directions([[np.nan, 1.0]], ["a"]), "NaN"),
        (lambda: project_out(np.ones((3, 2)), np.ones((1, 3))), r"\[k, 2\]"),
        (lambda: project_out(np.ones((3, 2)), np.ones((1, 2))), "orthonormal"),
        (lambda: random_directions(4, 5, seed=0), "0 to 4"),
        (lambda: random_directions(4, 3, seed=0, like=np.eye(4)[:2]), "fewer than 3"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(call, words):
    with pytest.raises(UserError, match=words):
        call()
