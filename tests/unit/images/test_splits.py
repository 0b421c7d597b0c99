"""Splits: no group divided, the same for every generator of a source, shares as wanted."""

from __future__ import annotations

import hashlib
from collections import Counter

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipsieve.errors import UserError
from clipsieve.images.splits import assign_splits, group_position, source_assignment

COUNTS = st.dictionaries(
    st.text(alphabet="abcdefgh", min_size=1, max_size=4), st.integers(1, 9), min_size=3, max_size=30
)


def series(counts: dict[str, int]) -> pd.Series:
    return pd.Series([group for group, n in counts.items() for _ in range(n)], dtype=str)


@given(COUNTS, st.integers(0, 1000))
def test_every_split_has_a_group_and_no_group_is_divided(counts: dict[str, int], seed: int) -> None:
    groups = series(counts)
    split = assign_splits(groups, groups, seed=seed)
    assert set(split) == {"train", "val", "test"}
    assert (split.groupby(groups.to_numpy()).nunique() == 1).all()


@given(COUNTS, st.integers(0, 1000), st.randoms())
def test_order_of_images_does_not_matter(counts: dict[str, int], seed: int, random) -> None:  # type: ignore[no-untyped-def]
    groups = series(counts)
    shuffled = list(groups)
    random.shuffle(shuffled)
    one = assign_splits(groups, groups, seed=seed)
    two = assign_splits(pd.Series(shuffled), groups, seed=seed)
    assert one.equals(two)


@given(COUNTS, st.integers(0, 1000))
def test_the_share_is_as_near_as_whole_groups_allow(counts: dict[str, int], seed: int) -> None:
    assignment = source_assignment(counts, seed=seed)
    total = sum(counts.values())
    in_test = sum(n for group, n in counts.items() if assignment[group] == "test")
    # A plain bound: no further from the target than half of the largest group, unless the floor of
    # one group a split decided.
    if Counter(assignment.values())["test"] > 1 and Counter(assignment.values())["train"] > 1:
        assert abs(in_test - 0.3 * total) <= max(counts.values())


def test_many_equal_groups_give_the_paper_s_shares() -> None:
    groups = pd.Series([f"g{i}" for i in range(1000)])
    split = assign_splits(groups, groups, seed=1).value_counts()
    assert split["test"] == 300
    assert split["val"] == 140
    assert split["train"] == 560


def test_a_generator_follows_its_source_whatever_else_there_is() -> None:
    source = pd.Series([f"p{i}" for i in range(60)])
    one = pd.Series([f"p{i}" for i in range(0, 60, 2)], index=range(100, 130))
    two = pd.Series([f"p{i}" for i in range(60)] * 2)
    of_source = dict(zip(source, assign_splits(source, source, seed=4), strict=True))
    split_one = assign_splits(source, one, seed=4)
    split_two = assign_splits(source, two, seed=4)
    assert list(split_one.index) == list(range(100, 130))
    assert list(split_one) == [of_source[g] for g in one]
    assert list(split_two) == [of_source[g] for g in two]


def test_unknown_groups_are_placed_by_their_hash_and_at_the_right_rate() -> None:
    source = pd.Series([f"real{i}" for i in range(50)])
    groups = pd.Series([f"fake{i}" for i in range(4000)])
    split = assign_splits(source, groups, seed=9, test=0.3, val=0.2)
    position = groups.map(
        lambda g: int(hashlib.sha256(f"9:{g}".encode()).hexdigest()[:16], 16) / 2**64
    )
    assert ((split == "test") == (position < 0.3)).all()
    assert ((split == "train") == (position >= 0.44)).all()
    # Four standard deviations of a binomial of 4,000.
    assert abs((split == "test").mean() - 0.3) < 4 * (0.3 * 0.7 / 4000) ** 0.5


def test_the_seed_moves_groups() -> None:
    groups = pd.Series([f"g{i}" for i in range(100)])
    splits = [tuple(assign_splits(groups, groups, seed=s)) for s in range(5)]
    assert len(set(splits)) == 5


def test_a_giant_group_does_not_swallow_test() -> None:
    counts = {"giant": 80} | {f"g{i}": 1 for i in range(20)}
    for seed in range(20):
        assert source_assignment(counts, seed=seed)["giant"] == "train"


@pytest.mark.parametrize("groups", [["a"], ["a", "a", "b"]])
def test_too_few_groups_is_said(groups: list[str]) -> None:
    with pytest.raises(UserError, match=r"at least 3"):
        assign_splits(pd.Series(groups), pd.Series(groups), seed=0)


def test_an_empty_split_of_a_set_is_said() -> None:
    source = pd.Series([f"p{i}" for i in range(10)])
    with pytest.raises(UserError, match=r"no image falls in"):
        assign_splits(source, source[:1], seed=0)


@pytest.mark.parametrize("share", [0, 1, -0.1, 1.5])
def test_a_share_out_of_range_is_said(share: float) -> None:
    groups = pd.Series(list("abcd"))
    with pytest.raises(UserError, match="test is"):
        assign_splits(groups, groups, seed=0, test=share)


def test_positions_are_uniform() -> None:
    from scipy.stats import kstest

    values = [group_position(3, f"x{i}") for i in range(2000)]
    assert kstest(values, "uniform").pvalue > 0.001
