"""Greedy elimination against slow, converged refits of every candidate."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clipsieve.errors import UserError
from clipsieve.selection import greedy_elimination


def newton(X, sign, penalty):
    """Minimise the logistic loss with numpy alone: damped Newton from 0."""

    def value(w):
        return np.logaddexp(0, -sign * (X @ w)).sum() + 0.5 * (penalty * w * w).sum()

    w = np.zeros(X.shape[1])
    for _ in range(300):
        margin = sign * (X @ w)
        wrong = np.exp(-np.logaddexp(0, margin))
        weight = wrong * np.exp(-np.logaddexp(0, -margin))
        gradient = -X.T @ (sign * wrong) + penalty * w
        hessian = X.T @ (weight[:, None] * X) + np.diag(np.maximum(penalty, 1e-300))
        step = np.linalg.solve(hessian, gradient)
        decrease = gradient @ step
        now = value(w)
        if decrease < 1e-15 * now:
            return w - step
        scale = 1.0
        while value(w - scale * step) > now - 1e-4 * scale * decrease and scale > 1e-6:
            scale *= 0.5
        if scale <= 1e-6:
            return w
        w = w - scale * step
    raise AssertionError("the reference did not converge")


def area(logits, real):
    """Return the AUC by comparing every pair."""
    gap = logits[real][:, None] - logits[~real][None, :]
    gap[np.abs(gap) < 1e-9 * np.abs(logits).max(initial=0)] = 0
    return (gap > 0).mean() + 0.5 * (gap == 0).mean()


def plain_loop(X, y, V, yv, *, C=1.0, tie="log_loss", fit_intercept=False, score="accuracy"):
    """Return the list, scores, tie counts and log-losses of converged refits at every candidate."""
    X, V = np.asarray(X, float), np.asarray(V, float)
    columns, real, sign = list(range(X.shape[1])), np.asarray(yv) == 1, 2.0 * np.asarray(y) - 1
    penalty = np.full(X.shape[1] + fit_intercept, 1 / C)
    fixed = []
    if fit_intercept:
        fixed, penalty[-1] = [X.shape[1]], 0
        X, V = np.c_[X, np.ones(len(X))], np.c_[V, np.ones(len(V))]
    steps = []
    while len(columns) > 1:
        found = []
        for j in columns:
            rest = [i for i in columns if i != j] + fixed
            logits = V[:, rest] @ newton(X[:, rest], sign, penalty[rest])
            logits = np.where(np.abs(logits) < 1e-11 * np.abs(logits).max(initial=0), 0, logits)
            loss = np.logaddexp(0, np.where(real, -logits, logits)).mean()
            value = {
                "accuracy": lambda z=logits: ((z > 0) == real).mean(),
                "auc": lambda z=logits: area(z, real),
                "log_loss": lambda c=loss: -c,
            }[score]()
            found.append((value, loss, j))
        best = max(f[0] for f in found)
        tied = [f for f in found if f[0] >= best - (1e-10 if score == "log_loss" else 1e-12)]
        ties = len(tied)
        if tie == "log_loss" and score != "log_loss":
            least = min(f[1] for f in tied)
            tied = [f for f in tied if f[1] <= least + 1e-10]
        winner = min(tied, key=lambda f: f[2])
        steps.append((winner[2], winner[0], ties, winner[1]))
        columns.remove(winner[2])
    return [np.array(part) for part in zip(*steps, strict=True)]


KINDS = ("plain", "duplicate", "zero", "constant", "scaled", "shifted", "zero_rows")


def problem(seed, kind, columns=(2, 8), rows=(6, 50), scoring=(4, 40)):
    """Return a small problem of one kind; half of them have fewer rows than would fit them."""
    rng = np.random.default_rng(seed)
    D, n, m = (int(rng.integers(*r)) for r in (columns, rows, scoring))
    X, V = rng.standard_normal((n, D)), rng.standard_normal((m, D))
    y, yv = rng.integers(0, 2, n), rng.integers(0, 2, m)
    y[:2] = yv[:2] = [0, 1]
    X[y == 0] += rng.standard_normal(D) * rng.choice([0.1, 1, 3])  # 3: separable
    V[yv == 0] += rng.standard_normal(D) * 0.5
    if kind == "duplicate":
        X[:, -1], V[:, -1] = X[:, 0], V[:, 0]
    elif kind == "zero":
        X[:, [0, D - 1]], V[:, 0] = 0, 0
    elif kind == "constant":
        X[:, 0] = V[:, 0] = 1
    elif kind == "scaled":
        scale = 10.0 ** rng.integers(-3, 4, D)
        X, V = X * scale, V * scale
    elif kind == "shifted":  # a strong mean: ill-conditioned, as raw embeddings are
        X, V = X + 10 * rng.standard_normal(D), V + 10 * rng.standard_normal(D)
    elif kind == "zero_rows":
        X[:2], V[:4] = 0, 0
    return X, y, V, yv


def agree(found, expected):
    removed, scores, ties, losses = expected
    np.testing.assert_array_equal(found.removed, removed)
    np.testing.assert_array_equal(found.ties, ties)
    np.testing.assert_allclose(found.scores, scores, atol=1e-9)
    np.testing.assert_allclose(found.log_losses, losses, atol=1e-7, rtol=1e-7)
    first = int(np.argmax(found.scores))
    left = set(range(len(removed) + 1)) - set(removed[: first + 1].tolist())
    assert found.kept.tolist() == sorted(left)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tie", ["log_loss", "first"])
@pytest.mark.parametrize("fit_intercept", [False, True])
def test_equals_converged_refits(kind, tie, fit_intercept):
    for seed, (C, score) in enumerate(
        itertools.product([1e-3, 1.0, 1e3], ["accuracy", "auc", "log_loss"])
    ):
        data = problem(seed + 1000 * KINDS.index(kind), kind)
        options = {"C": C, "score": score, "tie": tie, "fit_intercept": fit_intercept}
        found = greedy_elimination(*data, **options)
        agree(found, plain_loop(*data, **options))
        assert set(found.certified.tolist()) <= {"bound", "refined", "tie_rule"}


def test_equals_converged_refits_at_a_larger_size():
    data = problem(5, "shifted", columns=(28, 29), rows=(120, 121), scoring=(80, 81))
    agree(greedy_elimination(*data), plain_loop(*data))


def test_refits_agree_with_scikit_learn():
    from sklearn.linear_model import LogisticRegression

    X, y, V, yv = problem(11, "plain", columns=(8, 9), rows=(50, 51))
    for fit_intercept in (False, True):
        found = greedy_elimination(X, y, V, yv, C=0.7, fit_intercept=fit_intercept)
        left = list(range(8))
        for column, score in zip(found.removed, found.scores, strict=True):
            probe = LogisticRegression(
                C=0.7, fit_intercept=fit_intercept, solver="newton-cholesky", tol=1e-10
            )
            scores = {}
            for j in left:
                rest = [i for i in left if i != j]
                scores[j] = probe.fit(X[:, rest], y).score(V[:, rest], yv)
            assert scores[column] == pytest.approx(score) == max(scores.values())
            left.remove(column)


def test_equals_sequential_feature_selector():
    """Backward selection scored on one split by accuracy, ties to the lowest index."""
    from sklearn.feature_selection import SequentialFeatureSelector
    from sklearn.linear_model import LogisticRegression

    X, y, V, yv = problem(21, "plain", columns=(9, 10), rows=(60, 61), scoring=(39, 40))
    split = [(np.arange(len(X)), np.arange(len(X), len(X) + len(V)))]
    found = greedy_elimination(X, y, V, yv, tie="first")
    for left in (6, 3):
        selector = SequentialFeatureSelector(
            LogisticRegression(fit_intercept=False, tol=1e-10, max_iter=10_000),
            direction="backward",
            n_features_to_select=left,
            scoring="accuracy",
            cv=split,
        ).fit(np.r_[X, V], np.r_[y, yv])
        removed = set(np.flatnonzero(~selector.get_support()).tolist())
        assert removed == set(found.removed[: 9 - left].tolist())


def test_separable_data_with_a_weak_penalty():
    X, y, V, yv = problem(3, "plain", columns=(7, 8), rows=(30, 31))
    X[y == 0] += 8
    agree(greedy_elimination(X, y, V, yv, C=1e6), plain_loop(X, y, V, yv, C=1e6))


def test_null_columns_leave_by_the_tie_rule():
    X, y, V, yv = problem(8, "plain", columns=(5, 6), rows=(40, 41))
    X[:, [1, 3]] = V[:, [1, 3]] = 0
    found = greedy_elimination(X, y, V, yv, score="log_loss")
    where = {int(c): i for i, c in enumerate(found.removed)}
    assert where[1] < where.get(3, 5)  # nothing tells them apart: the lower index goes first
    assert found.certified[where[1]] == "tie_rule"
    assert found.ties[where[1]] == 2


def test_all_columns_zero():
    X, V = np.zeros((6, 4)), np.zeros((5, 4))
    found = greedy_elimination(X, [0, 1] * 3, V, [0, 0, 0, 1, 1])
    np.testing.assert_array_equal(found.removed, [0, 1, 2])
    np.testing.assert_allclose(found.scores, 0.6)  # a logit of 0 reads as generated
    np.testing.assert_array_equal(found.kept, [1, 2, 3])


def test_single_and_double_precision_input_give_the_same():
    X, y, V, yv = problem(4, "plain", columns=(12, 13), rows=(60, 61))
    X, V = X.astype(np.float32), V.astype(np.float32)
    one = greedy_elimination(X, y, V, yv)
    two = greedy_elimination(X.astype(float), y.astype(bool), V.astype(float), yv.astype(float))
    np.testing.assert_array_equal(one.removed, two.removed)
    assert one.params_hash == two.params_hash


def test_one_column_and_stop_at():
    X, y, V, yv = problem(4, "plain", columns=(9, 10))
    whole = greedy_elimination(X, y, V, yv)
    part = greedy_elimination(X, y, V, yv, stop_at=5)
    np.testing.assert_array_equal(part.removed, whole.removed[:4])
    np.testing.assert_array_equal(
        part.kept, sorted(set(range(9)) - set(part.removed[: part.scores.argmax() + 1]))
    )
    alone = greedy_elimination(X[:, :1], y, V[:, :1], yv)
    assert len(alone.removed) == 0
    assert alone.kept.tolist() == [0]
    assert alone.initial_score in np.arange(len(yv) + 1) / len(yv)


def test_progress_counts_down():
    seen = []
    greedy_elimination(*problem(4, "plain", columns=(9, 10)), progress=lambda *a: seen.append(a))
    assert [s[:2] for s in seen] == [(i, 8) for i in range(1, 9)]
    assert seen[-1][3] == 0
    assert all(s[2] >= 0 and s[3] >= 0 for s in seen)


ANY = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@ANY
@given(seed=st.integers(0, 10**6))
def test_permuting_columns_permutes_the_list(seed):
    X, y, V, yv = problem(seed, "plain")
    order = np.random.default_rng(seed).permutation(X.shape[1])
    found = greedy_elimination(X, y, V, yv)
    mixed = greedy_elimination(X[:, order], y, V[:, order], yv)
    if (found.certified != "tie_rule").all():
        np.testing.assert_array_equal(order[mixed.removed], found.removed)
        np.testing.assert_array_equal(mixed.ties, found.ties)


@ANY
@given(seed=st.integers(0, 10**6), power=st.integers(-12, 12))
def test_scale_is_the_penalty(seed, power):
    X, y, V, yv = problem(seed, "plain")
    scale = 10.0**power
    found = greedy_elimination(X, y, V, yv)
    scaled = greedy_elimination(X * scale, y, V * scale, yv, C=1 / scale**2)
    if (found.certified != "tie_rule").all():
        np.testing.assert_array_equal(scaled.removed, found.removed)
        np.testing.assert_array_equal(scaled.scores, found.scores)


@ANY
@given(seed=st.integers(0, 10**6))
def test_the_lower_of_two_equal_columns_goes_first(seed):
    X, y, V, yv = problem(seed, "duplicate", columns=(3, 9))
    found = greedy_elimination(X, y, V, yv)
    where = {int(c): i for i, c in enumerate(found.removed)}
    last = X.shape[1] - 1
    assert where[0] < where.get(last, X.shape[1])
    assert found.certified[where[0]] == "tie_rule"


@ANY
@given(seed=st.integers(0, 10**6))
def test_swapping_labels_and_signs_changes_nothing(seed):
    X, y, V, yv = problem(seed, "plain")
    found = greedy_elimination(X, y, V, yv)
    swapped = greedy_elimination(-X, 1 - y, -V, 1 - yv)
    if (found.certified != "tie_rule").all():
        np.testing.assert_array_equal(found.removed, swapped.removed)


def test_threads_do_not_change_the_list():
    data = problem(2, "shifted", columns=(60, 61), rows=(200, 201), scoring=(100, 101))
    one, two = (greedy_elimination(*data, threads=t) for t in (1, 2))
    np.testing.assert_array_equal(one.removed, two.removed)
    np.testing.assert_array_equal(one.ties, two.ties)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"tie": "last"}, "tie: 'last'"),
        ({"score": "f1"}, "score: 'f1'"),
        ({"C": 0.0}, "C: 0.0"),
        ({"stop_at": 0}, "stop_at: 0"),
        ({"X_val": np.ones((4, 2))}, "X_val: has 2 columns"),
        ({"y_train": np.ones(6)}, "one label only"),
        ({"y_train": np.arange(6)}, "other than 0"),
        ({"y_val": np.zeros(3)}, "y_val: shape"),
        ({"X_train": np.full((6, 3), np.nan)}, "not finite"),
        ({"X_train": np.ones(6)}, "X_train: shape"),
        ({"X_train": np.full((6, 3), "a")}, "X_train: type"),
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


def test_ties_are_a_lower_bound_unless_they_are_counted(monkeypatch):
    """On a plateau, candidates that their log-loss rules out may leave their score unsettled."""
    monkeypatch.setattr("clipsieve.selection.greedy.step.FEW", 2)
    rng = np.random.default_rng(0)
    X, V = rng.standard_normal((100, 40)), rng.standard_normal((40, 40))
    y, yv = np.arange(100) % 2, np.arange(40) % 2
    X[y == 0] += 0.35
    V[yv == 0] += 0.35
    some = greedy_elimination(X, y, V, yv, stop_at=20)
    every = greedy_elimination(X, y, V, yv, stop_at=20, count_ties=True)
    np.testing.assert_array_equal(some.removed, every.removed)
    np.testing.assert_array_equal(some.scores, every.scores)
    assert every.ties_exact.all()
    assert not some.ties_exact.all()
    assert (some.ties <= every.ties).all()
    np.testing.assert_array_equal(some.ties[some.ties_exact], every.ties[some.ties_exact])
    assert some.refinements.sum() < every.refinements.sum()
