"""Where a search stops: the four rules on hand-made paths, what notes and tables say, standard errors."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score, log_loss, roc_auc_score

from clipsieve.errors import UserError
from clipsieve.selection import greedy_elimination
from clipsieve.selection.greedy.errors import standard_error
from clipsieve.selection.greedy.score import wrongness
from clipsieve.selection.greedy.scoring import Scoring, scored_sets
from clipsieve.selection.greedy.stop import (
    ALPHAS,
    facts_of_stops,
    kept_at,
    stopping_steps,
    warnings_of,
)
from tests.unit.selection.test_greedy import problem


def steps(scores, losses, error):
    return stopping_steps(np.array(scores), np.array(losses), np.full(len(scores), error))


def test_each_rule_on_a_plateau():
    found = steps([0.6, 0.9, 1.0, 1.0, 1.0, 0.96, 0.5], [0.9, 0.5, 0.4, 0.2, 0.3, 0.4, 0.7], 0.05)
    assert found == {"first": 2, "log_loss": 3, "last": 4, "one_se": 5}


def test_no_removal_may_win_except_with_the_papers_rule():
    found = steps([0.9, 0.8, 0.85, 0.5], [0.2, 0.3, 0.25, 0.7], 0.0)
    assert found == {"first": 2, "log_loss": 0, "last": 0, "one_se": 0}
    assert steps([0.7], [0.5], 0.1) == dict.fromkeys(ALPHAS, 0)


def test_a_perfect_score_has_no_error_so_one_se_is_the_last_maximum():
    found = steps([0.5, 1.0, 1.0, 0.99], [0.5, 0.1, 0.2, 0.3], 0.0)
    assert found["one_se"] == found["last"] == 2


def test_the_table_of_a_search_gives_what_the_search_keeps():
    X, y, V, yv = problem(4, "plain", columns=(12, 13), rows=(60, 61), scoring=(40, 41))
    found = greedy_elimination(X, y, V, yv, score="balanced_accuracy")
    table = pd.DataFrame({"step": range(1, 12), "removed": found.removed})
    note = {"columns": 12, **facts_of_stops(*found.path, score="balanced_accuracy", columns=12)}
    for alpha in ALPHAS:
        assert kept_at(table, note, alpha) == found.kept_at(alpha).tolist()
        assert note["stops"][alpha]["kept"] == len(found.kept_at(alpha))
    np.testing.assert_array_equal(found.kept_at("first"), found.kept)
    assert note["plateau"] == (found.scores == found.scores.max()).sum()
    with pytest.raises(UserError, match="alpha: 'middle'"):
        kept_at(table, note, "middle")
    with pytest.raises(UserError, match="alpha: 'middle'"):
        found.kept_at("middle")
    with pytest.raises(UserError, match="run its search again"):
        kept_at(table, {"columns": 12}, "last")


def test_warnings():
    ceiling = facts_of_stops(
        np.r_[0.5, np.ones(15), np.full(4, 0.9)], np.full(20, 0.1), np.zeros(20),
        score="auc", columns=20,
    )  # fmt: skip
    assert ceiling["plateau"] == ceiling["at_ceiling"] == 15
    assert warnings_of(ceiling, "last") == ["the score sat at its ceiling for 15 of 19 steps"]
    first = warnings_of(ceiling, "first")
    assert first[0] == "the score sat at its ceiling for 15 of 19 steps"
    assert first[1].startswith("95 % of the columns were kept")
    flat = facts_of_stops(
        np.linspace(0.9, 0.5, 20), np.linspace(0.1, 0.5, 20), np.zeros(20), score="auc", columns=20
    )
    assert warnings_of(flat, "last") == ["no removal did better than all columns"]
    better = facts_of_stops(
        np.r_[np.linspace(0.5, 0.9, 15), np.full(5, 0.4)], np.full(20, 1.0), np.zeros(20),
        score="log_loss", columns=20,
    )  # fmt: skip
    assert better["at_ceiling"] == 0
    assert warnings_of(better, "last") == []


def scored(seed, score, sets=False, pool="mean"):
    """Rows of 60 groups of 2 to 6, with logits that a group shares in part."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(60), rng.integers(2, 7, 60))
    real = rng.random(len(group)) < 0.4
    logits = np.where(real, 0.8, -0.6) + rng.standard_normal(60)[group]
    logits += rng.standard_normal(len(group))
    domain = np.where(real, "photographs", rng.choice(["a", "b", "c"], len(group)))
    logits[domain == "c"] += 1.6  # the worst is no close call
    scoring = Scoring.of(score, real, scored_sets(real, domain, None) if sets else None, pool)
    return scoring, logits, real, group, domain


def value(score, logits, real, domain, sets, pool):
    """Return the score by scikit-learn, of all rows or pooled over generators."""
    one = {
        "accuracy": lambda z, r: ((z > 0) == r).mean(),
        "balanced_accuracy": lambda z, r: balanced_accuracy_score(r, z > 0),
        "auc": lambda z, r: roc_auc_score(r, z),
        "log_loss": lambda z, r: -log_loss(r, 1 / (1 + np.exp(-z))),
    }[score]
    if not sets:
        return one(logits, real)
    parts = [real | (domain == g) for g in "abc"]
    values = [one(logits[p], real[p]) for p in parts]
    return min(values) if pool == "worst" else np.mean(values)


@pytest.mark.parametrize("score", ["accuracy", "balanced_accuracy", "auc", "log_loss"])
@pytest.mark.parametrize(("sets", "pool"), [(False, "mean"), (True, "mean"), (True, "worst")])
def test_the_standard_error_is_the_jackknifes_over_groups(score, sets, pool):
    """To first order: leave one group out, G - 1 over G times the sum of squared deviations."""
    ratios = []
    for seed in range(5):
        scoring, logits, real, group, domain = scored(seed, score, sets, pool)
        losses = wrongness(logits[:, None], real)[1][:, 0]
        left = []
        for g in range(60):
            keep = group != g
            left.append(value(score, logits[keep], real[keep], domain[keep], sets, pool))
        left = np.array(left)
        jackknife = np.sqrt(59 / 60 * ((left - left.mean()) ** 2).sum())
        ratios.append(standard_error(scoring, logits, losses, group) / jackknife)
    assert 0.9 < np.mean(ratios) < 1.05
    assert np.ptp(ratios) < 0.15


def test_a_groups_rows_are_not_independent():
    """Every row twice: the error is that of the rows once, not smaller by the root of 2."""
    scoring, logits, real, _, _ = scored(0, "accuracy")
    losses = wrongness(logits[:, None], real)[1][:, 0]
    once = standard_error(scoring, logits, losses, np.arange(len(real)))
    right = (logits > 0) == real
    assert once == pytest.approx(right.std(ddof=1) / np.sqrt(len(real)))
    twice = Scoring.of("accuracy", np.r_[real, real])
    both = np.r_[logits, logits], np.r_[losses, losses]
    assert standard_error(twice, *both, np.tile(np.arange(len(real)), 2)) == pytest.approx(once)
    assert standard_error(twice, *both, np.arange(2 * len(real))) < 0.72 * once
    assert standard_error(twice, *both, np.zeros(2 * len(real), dtype=int)) == 0.0
