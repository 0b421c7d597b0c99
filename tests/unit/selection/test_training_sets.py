"""The choice of training generators against a plain loop, and on data whose answer is planted."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from clipsieve.errors import UserError
from clipsieve.selection import choose_training_generators
from clipsieve.selection.training_sets import (
    balanced_weights,
    judged_choices,
    nested_choices,
)

SOURCE_OF = {"a": "coco", "b": "coco", "c": "laion", "d": "laion"}


def data(seed=0, n=40, columns=10):
    """Four generators: `c` carries the traces of all others, each of those mostly its own."""
    rng = np.random.default_rng(seed)
    traces = {g: 2.0 * np.eye(columns)[k] for k, g in enumerate("abd")}
    traces["c"] = 1.2 * np.eye(columns)[:3].sum(axis=0)
    X, y, domain, group = [], [], [], []
    for name in [*SOURCE_OF, "coco", "laion"]:
        real = name not in SOURCE_OF
        X.append(rng.standard_normal((n, columns)) - (0 if real else traces[name]))
        y += [int(real)] * n
        domain += [name] * n
        group += list(range(n))
    return np.concatenate(X), np.array(y), np.array(domain), np.array(group)


def test_the_generator_that_transfers_to_all_is_chosen_first():
    X, y, domain, group = data()
    found = choose_training_generators(X, y, domain, source_of=SOURCE_OF, group=group, k=3)
    assert found.chosen[0] == "c"
    assert len(found.scores) == 3
    assert [len(step) for step in found.candidates] == [4, 3, 2]
    assert found.scores[0] == max(found.candidates[0].values())


def test_scores_equal_a_plain_loop_over_the_folds():
    X, y, domain, group = data(3)
    found = choose_training_generators(
        X, y, domain, source_of=SOURCE_OF, group=group, k=1, C=0.3, folds=2, seed=4
    )
    names = np.array([f"{SOURCE_OF.get(d, d)}\t{g}" for d, g in zip(domain, group, strict=True)])
    order = np.random.default_rng(4).permutation(len(set(names.tolist())))
    fold = (order % 2)[np.unique(names, return_inverse=True)[1]]
    for candidate in SOURCE_OF:
        by_test = []
        for tested in SOURCE_OF:
            if tested == candidate:
                continue
            aucs = []
            for k in range(2):
                rows = np.isin(domain, [candidate, SOURCE_OF[candidate]]) & (fold != k)
                probe = LogisticRegression(C=0.3, fit_intercept=False, tol=1e-10, max_iter=10_000)
                n_generated = (y[rows] == 0).sum()
                weight = np.where(
                    y[rows] == 0,
                    rows.sum() / 2 / n_generated,
                    rows.sum() / 2 / (y[rows] == 1).sum(),
                )
                probe.fit(X[rows], y[rows], sample_weight=weight)
                cell = np.isin(domain, [tested, SOURCE_OF[tested]]) & (fold == k)
                aucs.append(roc_auc_score(y[cell], X[cell] @ probe.coef_[0]))
            by_test.append(np.mean(aucs))
        assert found.candidates[0][candidate] == pytest.approx(np.mean(by_test), abs=1e-6)


def test_a_held_out_generator_cannot_change_its_own_choice():
    X, y, domain, group = data(1)
    before = nested_choices(X, y, domain, source_of=SOURCE_OF, group=group, k=2)
    X[domain == "b"] = np.random.default_rng(9).standard_normal((40, 10)) * 50
    after = nested_choices(X, y, domain, source_of=SOURCE_OF, group=group, k=2)
    assert before["b"].chosen == after["b"].chosen
    np.testing.assert_array_equal(before["b"].scores, after["b"].scores)
    assert all("b" not in choice.candidates[0] for name, choice in before.items() if name == "b")


def test_weights_make_classes_generators_and_sources_equal():
    y = np.array([0] * 12 + [1] * 8)
    domain = np.array(["a"] * 9 + ["b"] * 3 + ["coco"] * 2 + ["laion"] * 6)
    weights = balanced_weights(y, domain)
    assert weights.sum() == pytest.approx(20)
    for name in ("a", "b", "coco", "laion"):
        assert weights[domain == name].sum() == pytest.approx(5)


def test_worst_and_log_loss_are_other_questions():
    X, y, domain, group = data(2)
    options = {"source_of": SOURCE_OF, "group": group, "k": 1}
    mean = choose_training_generators(X, y, domain, **options)
    worst = choose_training_generators(X, y, domain, pool="worst", **options)
    assert all(worst.candidates[0][g] <= mean.candidates[0][g] for g in SOURCE_OF)
    loss = choose_training_generators(X, y, domain, score="log_loss", **options)
    assert loss.scores[0] == min(loss.candidates[0].values())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"k": 4}, "1 to 3 can be chosen"),
        ({"score": "f1"}, "allowed: auc"),
        ({"pool": "sum"}, "mean, worst"),
        ({"folds": 1}, "folds is 1"),
        ({"source_of": {**SOURCE_OF, "a": "flickr"}}, r"source_of\['a'\] is 'flickr'"),
        ({"C": 0}, "positive"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(change, words):
    X, y, domain, group = data()
    with pytest.raises(UserError, match=words):
        choose_training_generators(
            X, y, domain, **{"source_of": SOURCE_OF, "group": group, "k": 2, **change}
        )


def test_chosen_sets_are_judged_on_the_generator_left_out_of_the_choice():
    X, y, domain, group = data(1, n=160)
    found = judged_choices(
        X, y, domain, source_of=SOURCE_OF, group=group, k=2, folds=2, seed=1, random_sets=6
    )
    assert [(one.held_out, one.step) for one in found] == [(g, k) for g in "abcd" for k in (1, 2)]
    choices = nested_choices(X, y, domain, source_of=SOURCE_OF, group=group, k=2, folds=2, seed=1)
    for one in found:
        assert one.added == choices[one.held_out].chosen[one.step - 1] != one.held_out
        assert one.transfer == choices[one.held_out].scores[one.step - 1]
        assert len(one.random) == 6
    # the hub of all traces is worth more than a random generator wherever it could be chosen
    first = [one for one in found if one.step == 1 and one.held_out != "c"]
    assert all(one.added == "c" for one in first)
    assert np.mean([one.score - one.random.mean() for one in first]) > 0.1


def test_a_judged_score_is_that_of_a_plain_fit():
    X, y, domain, group = data(2)
    one = judged_choices(
        X, y, domain, source_of=SOURCE_OF, group=group, k=1, C=0.2, folds=2, seed=3, random_sets=1
    )[0]
    names = np.array([f"{SOURCE_OF.get(d, d)}\t{g}" for d, g in zip(domain, group, strict=True)])
    order = np.random.default_rng(3).permutation(len(set(names.tolist())))
    fold = (order % 2)[np.unique(names, return_inverse=True)[1]]

    def plain(train):
        aucs = []
        for k in range(2):
            rows = np.isin(domain, [*train, *(SOURCE_OF[g] for g in train)]) & (fold != k)
            probe = LogisticRegression(C=0.2, fit_intercept=False, tol=1e-10, max_iter=10_000)
            probe.fit(X[rows], y[rows], sample_weight=balanced_weights(y[rows], domain[rows]))
            at = np.isin(domain, [one.held_out, SOURCE_OF[one.held_out]]) & (fold == k)
            aucs.append(roc_auc_score(y[at], X[at] @ probe.coef_[0]))
        return np.mean(aucs)

    assert one.score == pytest.approx(plain([one.added]), abs=1e-6)
    assert one.everyone == pytest.approx(
        plain([g for g in SOURCE_OF if g != one.held_out]), abs=1e-6
    )
