"""IsoScore and mean cosine against eigenvalues, a plain loop over pairs and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipsieve.geometry import iso_score, mean_cosine, participation_ratio, subset_geometry


def iso_by_eigenvalues(X: np.ndarray) -> float:
    """Rudman et al.'s algorithm step by step: unit-length spectrum, defect, fraction."""
    d = X.shape[1]
    values = np.linalg.eigvalsh(np.cov(X, rowvar=False))
    spectrum = np.sqrt(d) * values / np.linalg.norm(values)
    defect = np.linalg.norm(spectrum - 1) / np.sqrt(2 * (d - np.sqrt(d)))
    fraction = (d - defect**2 * (d - np.sqrt(d))) ** 2 / d**2
    return float((d * fraction - 1) / (d - 1))


def cosine_by_loop(X: np.ndarray) -> float:
    total, pairs = 0.0, 0
    for i in range(len(X)):
        for j in range(i):
            lengths = np.linalg.norm(X[i]) * np.linalg.norm(X[j])
            total += 0.0 if lengths == 0 else float(X[i] @ X[j]) / lengths
            pairs += 1
    return total / pairs


@pytest.mark.parametrize(("samples", "dimensions"), [(200, 12), (12, 200), (50, 50), (3, 40)])
@pytest.mark.parametrize("shift", [0.0, 30.0])
def test_iso_score_equals_the_published_algorithm(samples: int, dimensions: int, shift: float):
    rng = np.random.default_rng(samples)
    X = rng.normal(size=(samples, dimensions)) * rng.uniform(0.1, 5, dimensions) + shift
    assert iso_score(X) == pytest.approx(iso_by_eigenvalues(X), rel=1e-9)


@pytest.mark.parametrize(("samples", "dimensions"), [(40, 5), (5, 40), (2, 3)])
def test_mean_cosine_equals_the_loop_over_pairs(samples: int, dimensions: int):
    rng = np.random.default_rng(samples)
    X = rng.normal(size=(samples, dimensions)) + 0.4
    assert mean_cosine(X) == pytest.approx(cosine_by_loop(X), abs=1e-12)
    X[1] = 0
    assert mean_cosine(X) == pytest.approx(cosine_by_loop(X), abs=1e-12)


def test_iso_score_at_its_ends():
    corners = np.concatenate([np.eye(6), -np.eye(6)])
    assert iso_score(corners) == pytest.approx(1.0)
    line = np.outer(np.arange(9.0), np.arange(1.0, 7.0)) + 3
    assert iso_score(line) == pytest.approx(0.0, abs=1e-12)
    # k of d directions used evenly: PR = k.
    half = np.zeros((6, 10))
    half[:3, :3], half[3:, :3] = np.eye(3), -np.eye(3)
    assert participation_ratio(half) == pytest.approx(3.0)
    assert iso_score(half) == pytest.approx(2 / 9)


def test_iso_score_without_variance_and_in_one_dimension():
    assert iso_score(np.full((7, 4), 0.1)) == 0.0
    assert iso_score(np.full((7, 4), 1e8 / 3)) == 0.0
    assert iso_score(np.zeros((3, 4))) == 0.0
    assert iso_score(np.ones((1, 4))) == 0.0
    assert iso_score([[0.0], [1.0], [5.0]]) == 1.0
    assert iso_score([[2.0], [2.0]]) == 0.0


def test_a_small_variance_on_a_large_mean_is_seen():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(300, 5))
    assert iso_score(1e4 + noise) == pytest.approx(iso_score(noise), rel=1e-6)


@pytest.mark.parametrize("bad", [np.zeros(4), np.zeros((0, 3)), np.array([[1.0, np.nan]])])
def test_what_is_no_finite_matrix_is_refused(bad: np.ndarray):
    with pytest.raises(ValueError, match="matrix"):
        iso_score(bad)
    with pytest.raises(ValueError, match="matrix"):
        mean_cosine(bad)


def test_one_row_has_no_pairs():
    with pytest.raises(ValueError, match="two rows"):
        mean_cosine(np.ones((1, 3)))


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    samples=st.integers(2, 30),
    dimensions=st.integers(2, 30),
    scale=st.floats(1e-6, 1e6),
)
def test_invariants(seed: int, samples: int, dimensions: int, scale: float):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(samples, dimensions))
    turn, _ = np.linalg.qr(rng.normal(size=(dimensions, dimensions)))
    order = rng.permutation(samples)
    assert 0.0 <= iso_score(X) <= 1.0
    assert iso_score(scale * X[order] @ turn + scale) == pytest.approx(
        iso_score(X), rel=1e-6, abs=1e-9
    )
    assert mean_cosine(scale * X[order] @ turn) == pytest.approx(mean_cosine(X), abs=1e-9)


@pytest.mark.parametrize("size", [1, 2, 7, 20])
def test_subsets_have_the_geometry_of_their_columns(size: int):
    rng = np.random.default_rng(size)
    X = rng.normal(size=(15, 20)) * rng.uniform(0.1, 5, 20) + 2.0
    X[3] = 0.0
    X[:, 4] = 1.7
    subsets = np.stack([rng.choice(20, size, replace=False) for _ in range(30)])
    subsets[0] = np.roll(np.arange(20), -4)[:size]  # the constant column is in it
    iso, cosine = subset_geometry(X, subsets)
    np.testing.assert_allclose(iso, [iso_score(X[:, s]) for s in subsets], atol=1e-10)
    np.testing.assert_allclose(cosine, [mean_cosine(X[:, s]) for s in subsets], atol=1e-10)


def test_a_random_selection_is_no_more_isotropic_than_chance():
    """Any small subset is more isotropic than all columns; the rank among random ones shows it."""
    from clipsieve.cli.geometry import against_random

    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 64)) * 0.2
    X[:, 10:16] += 8.0  # few columns hold most of the mean, as in CLIP's embeddings
    X[:, 20:26] *= 30.0
    p_iso, p_cosine = [], []
    for draw in range(60):
        columns = rng.choice(64, 12, replace=False)
        found = against_random(X, X[:, columns], 39, draw)
        p_iso.append(found["iso_p"])
        p_cosine.append(found["cosine_p"])
    assert np.mean(np.array(p_iso) <= 0.05) <= 0.12
    assert np.mean(np.array(p_cosine) <= 0.05) <= 0.12
    without = np.setdiff1d(np.arange(64), [*range(10, 16), *range(20, 26)])
    chosen = against_random(X, X[:, without[:50]], 199, 1)
    assert chosen["iso_p"] <= 0.05
    assert chosen["cosine_p"] <= 0.05
