"""Ids of pairs and of feature sets: `a--b`, and `<family>/<pair>`."""

from __future__ import annotations

from clipsieve.errors import UserError
from clipsieve.families.family import Pair


def pair_id(first: str, second: str) -> str:
    """Return the id of a pair, `a--b`: the two in the order given."""
    return f"{first}--{second}"


def generators_of(pair: str) -> Pair:
    """Return the two generators of a pair `a--b`.

    Raises
    ------
    UserError
        The text is not of this form.
    """
    first, _, second = pair.partition("--")
    if not (first and second) or "--" in second:
        raise UserError(f"{pair!r} is not a pair A--B")
    return first, second


def unordered(pair: str) -> frozenset[str]:
    """Return the two generators of a pair `a--b`, without their order."""
    return frozenset(generators_of(pair))


def reverse(pair: str) -> str:
    """Return the pair in the other order: `b--a` of `a--b`."""
    first, second = generators_of(pair)
    return pair_id(second, first)


def feature_set_id(family: str, pair: str = "") -> str:
    """Return the id of a feature set: `<family>/<pair>`, or the family where there is no pair."""
    return f"{family}/{pair}" if pair else family


def family_of(feature_set: str) -> str:
    """Return the family of a feature set: what comes before the pair."""
    return feature_set.partition("/")[0]


def pair_of(feature_set: str) -> str:
    """Return the pair `a--b` of a feature set, empty where it was selected on none."""
    return feature_set.partition("/")[2]
