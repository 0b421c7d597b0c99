"""Consensus of pooled searches: rows of each round, votes, chance, and a trace that generators share."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from clipsieve.errors import UserError
from clipsieve.selection import consensus_elimination, greedy_elimination
from clipsieve.selection.consensus import dealt, equal_weights, expected_columns

SOURCES = {"a": "one", "b": "one", "c": "two", "d": "two"}
D, SHARED, OWN = 24, 6, 3


def planted(seed=0, per=80):
    """Columns 0 to 5 tell every generator from real; 6 to 17 each tell one of four and mislead on the rest."""
    rng = np.random.default_rng(seed)
    names = np.repeat(["a", "b", "c", "d", "one", "two"], per)
    group = np.tile([f"g{i}" for i in range(per)], 6).astype(object)
    group[:] = [f"{g}-{SOURCES.get(n, n)}" for g, n in zip(group, names, strict=True)]
    y = np.isin(names, ["one", "two"]).astype(int)
    X = rng.standard_normal((len(y), D))
    X[y == 0, :SHARED] += 0.7
    for i, g in enumerate("abcd"):
        own = slice(SHARED + OWN * i, SHARED + OWN * (i + 1))
        X[names == g, own] += 1.0
        X[(y == 0) & (names != g), own] -= 0.5
    return X, y, names, group


@pytest.fixture(scope="module")
def found():
    X, y, names, group = planted()
    return (
        consensus_elimination(X, y, names, group=group, C=0.1, source_of=SOURCES),
        group,
        names,
        y,
    )


def test_the_shared_trace_is_kept_and_votes_add_up(found):
    consensus, *_ = found
    votes = np.zeros(D, dtype=int)
    for search in consensus.searches:
        votes[search.kept] += 1
    np.testing.assert_array_equal(consensus.votes, votes)
    assert consensus.kept.tolist() == np.flatnonzero(votes >= 2).tolist()
    assert consensus.votes.dtype == np.int64
    assert set(range(SHARED)) <= set(consensus.kept)
    for search in consensus.searches:  # columns that mislead on the scored generator leave
        start = SHARED + OWN * "abcd".index(search.val_domains[0])
        assert not set(search.kept) & set(range(start, start + OWN))


def test_no_group_is_on_both_sides_and_no_scored_generator_is_trained_on(found):
    consensus, group, names, y = found
    scored = [g for search in consensus.searches for g in search.val_domains]
    assert sorted(scored) == ["a", "b", "c", "d"]
    for search in consensus.searches:
        train, val = search.train_rows, search.val_rows
        assert not set(group[train]) & set(group[val])
        assert set(names[train][y[train] == 0]) == set(search.train_domains)
        assert set(names[val][y[val] == 0]) == set(search.val_domains)
        assert set(names[val][y[val] == 1]) == {SOURCES[g] for g in search.val_domains}
        assert not set(search.train_domains) & set(search.val_domains)
        # real rows that both sides want are dealt in halves
        shared = names[val][y[val] == 1][0]
        assert (names[train] == shared).sum() == (names[val] == shared).sum() == 40


def test_a_round_is_the_pooled_search_of_its_rows(found):
    consensus, _, names, _ = found
    X, y, _, _ = planted()
    search = consensus.searches[0]
    train, val = search.train_rows, search.val_rows
    alone = greedy_elimination(
        X[train], y[train], X[val], y[val], C=0.1, score="auc", val_domain=names[val],
        sample_weight=equal_weights(y[train] == 1, names[train]), source_of=SOURCES,
    )  # fmt: skip
    np.testing.assert_array_equal(alone.removed, search.result.removed)
    np.testing.assert_array_equal(alone.kept_at("log_loss"), search.kept)


def test_the_same_seed_and_rows_in_any_order_give_the_same(found):
    consensus, *_ = found
    X, y, names, group = planted()
    order = np.random.default_rng(1).permutation(len(y))
    again = consensus_elimination(
        X[order], y[order], names[order], group=group[order], C=0.1, source_of=SOURCES
    )
    np.testing.assert_array_equal(again.votes, consensus.votes)
    assert [s.val_domains for s in again.searches] == [s.val_domains for s in consensus.searches]


def test_the_agreement_of_chance_is_counted_exactly():
    """Against every outcome of independent sets, and against a simulation of random sets."""
    sizes, columns = [3, 7, 5], 10
    exact = np.zeros(4)
    for hits in itertools.product([0, 1], repeat=3):
        p = np.prod(
            [s / columns if h else 1 - s / columns for s, h in zip(sizes, hits, strict=True)]
        )
        exact[: sum(hits) + 1] += columns * p
    np.testing.assert_allclose(expected_columns(sizes, columns), exact)
    rng = np.random.default_rng(0)
    at_least = np.zeros(4)
    for _ in range(4000):
        votes = np.zeros(columns, dtype=int)
        for size in sizes:
            votes[rng.choice(columns, size, replace=False)] += 1
        at_least += [(votes >= k).sum() for k in range(4)]
    np.testing.assert_allclose(at_least / 4000, exact, atol=0.06)


def test_weights_of_labels_and_domains_are_equal():
    names = np.array(["a"] * 5 + ["b"] * 15 + ["one"] * 30 + ["two"] * 10)
    real = np.isin(names, ["one", "two"])
    weights = equal_weights(real, names)
    assert weights.sum() == pytest.approx(60)
    for name in ("a", "b", "one", "two"):
        assert weights[names == name].sum() == pytest.approx(15)


def test_parts_do_not_depend_on_the_order_of_names():
    names = list("abcdefg")
    parts = dealt(names, 3, seed=4)
    assert sorted(name for part in parts for name in part) == names
    assert sorted(map(len, parts)) == [2, 2, 3]
    assert dealt(names[::-1], 3, seed=4) == parts
    assert any(dealt(names, 3, seed=s) != parts for s in range(5))


def test_without_groups_and_sources():
    X, y, names, _ = planted(per=12)
    found = consensus_elimination(X[:, :5], y, names, rounds=2, min_votes=1)
    assert len(found.searches) == 2
    for search in found.searches:
        assert not set(search.train_rows) & set(search.val_rows)
        assert set(names[search.val_rows][y[search.val_rows] == 1]) == {"one", "two"}
    assert found.expected[0] == pytest.approx(5)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"domain": ["a", "r"]}, "domain: shape"),
        ({"domain": ["a", "a", "r", "a"]}, "domain: a has rows of both labels"),
        ({"domain": ["a", "a", "r", "r"]}, "1 generators"),
        ({"score": "f1"}, "score: 'f1'"),
        ({"alpha": "middle"}, "alpha: 'middle'"),
        ({"min_votes": 3}, "min_votes: 3"),
        ({"source_of": {"a": "r"}}, "does not name the source of b"),
        ({"group": [1]}, "group: shape"),
        ({"group": [1, 2, 3, 3]}, "no real row"),
    ],
)
def test_mistakes_are_named(change, said):
    arguments = {"X": np.eye(4), "y": [0, 0, 1, 1], "domain": ["a", "b", "r", "r"]}
    with pytest.raises(UserError, match=said):
        consensus_elimination(**(arguments | change))
