"""Weights, balanced accuracy and several scored generators, against a plain loop of scikit-learn refits."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, log_loss, roc_auc_score

from clipsieve.errors import UserError
from clipsieve.selection import greedy_elimination
from tests.unit.selection.test_greedy import problem

SCORES = ("accuracy", "balanced_accuracy", "auc", "log_loss")


def score_of(name, logits, label):
    return {
        "accuracy": lambda: ((logits > 0) == label).mean(),
        "balanced_accuracy": lambda: balanced_accuracy_score(label, logits > 0),
        "auc": lambda: roc_auc_score(label, logits),
        "log_loss": lambda: -log_loss(label, 1 / (1 + np.exp(-logits)), labels=[0, 1]),
    }[name]()


def plain_loop(X, y, V, yv, *, sets, score, pool="mean", C=1.0, sample_weight=None):
    """Return the list, the scores and the log-losses of converged refits at every candidate."""
    columns, steps = list(range(X.shape[1])), []
    probe = LogisticRegression(
        C=C, fit_intercept=False, solver="newton-cholesky", tol=1e-12, max_iter=500
    )
    while len(columns) > 1:
        found = []
        for j in columns:
            rest = [c for c in columns if c != j]
            probe.fit(X[:, rest], y, sample_weight=sample_weight)
            logits = probe.decision_function(V[:, rest])
            scores = [score_of(score, logits[rows], yv[rows]) for rows in sets]
            loss = -np.mean([score_of("log_loss", logits[rows], yv[rows]) for rows in sets])
            found.append((min(scores) if pool == "worst" else np.mean(scores), loss, j))
        best = max(f[0] for f in found)
        tied = [f for f in found if f[0] >= best - 1e-10]
        least = min(f[1] for f in tied)
        winner = min((f for f in tied if f[1] <= least + 1e-10), key=lambda f: f[2])
        steps.append(winner)
        columns.remove(winner[2])
    scores, losses, removed = zip(*steps, strict=True)
    return np.array(removed), np.array(scores), np.array(losses)


def agree(found, expected):
    removed, scores, losses = expected
    np.testing.assert_array_equal(found.removed, removed)
    np.testing.assert_allclose(found.scores, scores, atol=1e-8)
    np.testing.assert_allclose(found.log_losses, losses, atol=1e-8, rtol=1e-8)


def several(seed, columns=7):
    """Training rows with weights, and scoring rows of three generators and two sources."""
    rng = np.random.default_rng(seed)
    X, V = rng.standard_normal((40, columns)), rng.standard_normal((48, columns))
    y = np.arange(40) % 2
    X[y == 0] += rng.standard_normal(columns) * 0.5
    domain = np.array(["a", "b", "c", "one", "two"])[
        rng.choice(5, 48, p=[0.3, 0.15, 0.1, 0.25, 0.2])
    ]
    domain[:5] = ["a", "b", "c", "one", "two"]
    yv = np.isin(domain, ["one", "two"]).astype(int)
    for g in "abc":
        V[domain == g] += rng.standard_normal(columns) * 0.5
    return X, y, V, yv, domain, rng.choice([0.0, 0.3, 1.0, 4.0], 40, p=[0.1, 0.3, 0.3, 0.3])


def rows_of(domain, source_of=None):
    real = {g: ["one", "two"] if source_of is None else [source_of[g]] for g in "abc"}
    return [np.flatnonzero(np.isin(domain, [g, *real[g]])) for g in "abc"]


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("pool", ["mean", "worst"])
@pytest.mark.parametrize("sources", [None, {"a": "one", "b": "two", "c": "one"}])
def test_pooled_searches_equal_converged_refits(score, pool, sources):
    for seed in range(3):
        X, y, V, yv, domain, weight = several(seed)
        options = {"score": score, "pool": pool, "C": [0.1, 1.0, 30.0][seed]}
        found = greedy_elimination(
            X, y, V, yv, val_domain=domain, source_of=sources, sample_weight=weight, **options
        )
        sets = rows_of(domain, sources)
        agree(found, plain_loop(X, y, V, yv, sets=sets, sample_weight=weight, **options))
        assert found.params["scored"] == ["a", "b", "c"]


@pytest.mark.parametrize("score", SCORES)
def test_weighted_searches_equal_converged_refits(score):
    for seed, kind in itertools.product(range(3), ["plain", "shifted", "scaled"]):
        X, y, V, yv = problem(seed + 50, kind, columns=(4, 8), rows=(20, 50), scoring=(20, 40))
        weight = np.random.default_rng(seed).choice([0.1, 1.0, 7.0], len(X))
        found = greedy_elimination(X, y, V, yv, score=score, sample_weight=weight, C=0.5)
        sets = [np.arange(len(V))]
        options = {"score": score, "sample_weight": weight, "C": 0.5}
        agree(found, plain_loop(X, y, V, yv, sets=sets, **options))


ANY = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def same(one, two):
    if (one.certified != "tie_rule").all() and (two.certified != "tie_rule").all():
        np.testing.assert_array_equal(one.removed, two.removed)
        np.testing.assert_allclose(one.scores, two.scores, atol=1e-12)


@ANY
@given(seed=st.integers(0, 10**6), score=st.sampled_from(SCORES))
def test_a_weight_is_a_number_of_copies(seed, score):
    X, y, V, yv = problem(seed, "plain", scoring=(10, 40))
    times = np.random.default_rng(seed).integers(0, 4, len(X))
    times[:2] = 1  # one of either label
    copied = np.repeat(np.arange(len(X)), times)
    same(
        greedy_elimination(X, y, V, yv, score=score, sample_weight=times),
        greedy_elimination(X[copied], y[copied], V, yv, score=score),
    )


@ANY
@given(seed=st.integers(0, 10**6), factor=st.sampled_from([0.01, 0.5, 3.0, 1e4]))
def test_a_common_weight_is_the_penalty(seed, factor):
    X, y, V, yv = problem(seed, "plain")
    same(
        greedy_elimination(X, y, V, yv, sample_weight=np.full(len(X), factor)),
        greedy_elimination(X, y, V, yv, C=factor),
    )


@ANY
@given(seed=st.integers(0, 10**6))
def test_balanced_accuracy_of_equal_classes_is_accuracy_bit_by_bit(seed):
    X, y, V, yv = problem(seed, "plain", scoring=(20, 40))
    keep = np.concatenate(
        [np.flatnonzero(yv == c)[: min(yv.sum(), (1 - yv).sum())] for c in (0, 1)]
    )
    one = greedy_elimination(X, y, V[keep], yv[keep], score="accuracy")
    two = greedy_elimination(X, y, V[keep], yv[keep], score="balanced_accuracy")
    for name in ("removed", "scores", "kept", "ties", "certified", "log_losses"):
        assert getattr(one, name).tobytes() == getattr(two, name).tobytes(), name
    assert one.initial_score == two.initial_score


@ANY
@given(
    seed=st.integers(0, 10**6),
    score=st.sampled_from(SCORES),
    pool=st.sampled_from(["mean", "worst"]),
)
def test_one_scored_generator_is_no_pool(seed, score, pool):
    X, y, V, yv = problem(seed, "plain", scoring=(10, 40))
    one = greedy_elimination(X, y, V, yv, score=score)
    two = greedy_elimination(
        X, y, V, yv, score=score, pool=pool, val_domain=np.where(yv == 1, "source", "generator")
    )
    np.testing.assert_array_equal(one.removed, two.removed)
    np.testing.assert_array_equal(one.scores, two.scores)


@ANY
@given(
    seed=st.integers(0, 10**6),
    score=st.sampled_from(SCORES),
    pool=st.sampled_from(["mean", "worst"]),
)
def test_names_and_order_of_generators_do_not_matter(seed, score, pool):
    X, y, V, yv, domain, weight = several(seed % 10**6, columns=5)
    renamed = np.array([{"a": "z", "b": "y", "c": "x"}.get(d, d) for d in domain])
    order = np.random.default_rng(seed).permutation(len(V))
    options = {"score": score, "pool": pool, "sample_weight": weight}
    one = greedy_elimination(X, y, V, yv, val_domain=domain, **options)
    two = greedy_elimination(X, y, V[order], yv[order], val_domain=renamed[order], **options)
    same(one, two)


def test_the_mean_of_pooled_scores_keeps_equal_means_equal():
    """0.1 + 0.2 + 0.3 and 0.3 + 0.2 + 0.1 differ as doubles, and must tie."""
    from clipsieve.selection.greedy.scoring import Scoring

    real = np.tile([True, False], 30)
    sets = {name: np.arange(20 * i, 20 * i + 20) for i, name in enumerate("abc")}
    scoring = Scoring.of("accuracy", real, sets)
    right = np.array([[1, 3, 2, 2], [2, 2, 2, 3], [3, 1, 2, 1]])  # of 20 each
    logits = np.empty((60, 4))
    for i, k in itertools.product(range(3), range(4)):
        wins = np.arange(20) < right[i, k]
        logits[20 * i : 20 * i + 20, k] = np.where(wins == real[:20], 1.0, -1.0)
    low, high = scoring.bounds(logits, np.zeros_like(logits))
    assert len(set(low.tolist())) == 1
    np.testing.assert_array_equal(low, high)
    assert low[0] == pytest.approx(0.1, abs=1e-12)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"pool": "median"}, "pool: 'median'"),
        ({"sample_weight": [1.0]}, "sample_weight: shape"),
        ({"sample_weight": [-1.0] * 6}, "sample_weight: holds a negative"),
        ({"sample_weight": [1, 0, 1, 0, 1, 0]}, "y_train: holds one label only"),
        ({"val_domain": ["a"]}, "val_domain: shape"),
        ({"source_of": {"a": "one"}}, "source_of: needs val_domain"),
        ({"val_domain": ["a", "r", "b", "r"], "source_of": {"a": "r"}}, "source of b"),
        (
            {"val_domain": ["a", "r", "b", "r"], "source_of": {"a": "r", "b": "q"}, "score": "auc"},
            "one label only of b",
        ),
        ({"val_group": [1, 2]}, "val_group: shape"),
        ({"y_val": [0, 0, 0, 0], "score": "balanced_accuracy"}, "score 'balanced_accuracy' needs"),
    ],
)
def test_mistakes_are_named(change, said):
    arguments = {
        "X_train": np.eye(6, 3),
        "y_train": [0, 1] * 3,
        "X_val": np.eye(4, 3),
        "y_val": [0, 1, 0, 1],
    }
    with pytest.raises(UserError, match=said):
        greedy_elimination(**(arguments | change))
