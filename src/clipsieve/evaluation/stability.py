"""How alike repeated selections are, against what chance would give."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np


@dataclass(frozen=True)
class Stability:
    """Likeness of the sets selected under several seeds.

    Attributes
    ----------
    jaccard
        Mean over pairs of seeds of |A and B| / |A or B|.
    chance
        What random sets of the same sizes give on average.
    p
        Share of random repeats that are at least as alike, (1 + number) / (1 + repeats).
    shared
        Number of members that every seed selected.
    """

    jaccard: float
    chance: float
    p: float
    shared: int


def jaccard(first: Collection[Hashable], second: Collection[Hashable]) -> float:
    """|A and B| / |A or B|; 1 for two empty sets."""
    a, b = set(first), set(second)
    return len(a & b) / len(a | b) if a | b else 1.0


def expected_jaccard(first: int, second: int, total: int) -> float:
    """Mean Jaccard index of random sets of these sizes out of `total` (hypergeometric, exact)."""
    from scipy.stats import hypergeom

    if first + second == 0:
        return 1.0
    overlap = np.arange(max(0, first + second - total), min(first, second) + 1)
    weight = hypergeom.pmf(overlap, total, first, second)
    return float((weight * overlap / (first + second - overlap)).sum())


def stability(
    selections: Sequence[Collection[Hashable]],
    total: int,
    *,
    repeats: int = 2000,
    seed: int = 0,
) -> Stability:
    """Judge how alike selections are.

    Parameters
    ----------
    selections
        One set per seed, at least two.
    total
        Number of things that each was selected from.
    repeats, seed
        Of the random sets.

    Raises
    ------
    ValueError
        With fewer than two selections, or one larger than `total`.
    """
    sets = [set(one) for one in selections]
    sizes = [len(one) for one in sets]
    if len(sets) < 2 or max(sizes) > total:
        raise ValueError(f"{len(sets)} selections of {sizes} out of {total}")
    pairs = list(combinations(range(len(sets)), 2))
    value = float(np.mean([jaccard(sets[a], sets[b]) for a, b in pairs]))
    chance = float(np.mean([expected_jaccard(sizes[a], sizes[b], total) for a, b in pairs]))
    rng = np.random.default_rng(seed)
    at_least = 0
    for start in range(0, repeats, 200):
        n = min(200, repeats - start)
        drawn = []
        for size in sizes:
            # the places of the `size` smallest of random numbers are a random subset
            ranks = rng.random((n, total)).argsort(axis=1).argsort(axis=1)
            drawn.append(ranks < size)
        likeness = np.mean(
            [
                (drawn[a] & drawn[b]).sum(1) / np.maximum((drawn[a] | drawn[b]).sum(1), 1)
                for a, b in pairs
            ],
            axis=0,
        )
        at_least += int((likeness >= value - 1e-12).sum())
    shared = len(set.intersection(*sets))
    return Stability(value, chance, (1 + at_least) / (1 + repeats), shared)
