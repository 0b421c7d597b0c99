"""Columns that several pooled searches agree on: what helps transfer whichever generators are scored.

Each round trains on some generators and scores on the others, so that a column is kept for what it
does for many generators and not for one pair. The columns that enough rounds keep are the selection;
`expected` says how many would get as many votes if each round had kept a random set of its size.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clipsieve.errors import UserError
from clipsieve.selection.greedy.score import Flags, Floats, Ints
from clipsieve.selection.greedy.scoring import SCORES
from clipsieve.selection.greedy.search import GreedyResult, checked, greedy_elimination
from clipsieve.selection.greedy.stop import ALPHAS


@dataclass(frozen=True)
class ConsensusRound:
    """One search of a consensus.

    Attributes
    ----------
    train_domains, val_domains : tuple of str
        Generators trained on and generators scored, sorted.
    train_rows, val_rows : int64, sorted
        Rows of X on either side, real ones included; no group is on both.
    result : GreedyResult
        What the search found.
    kept : int64, sorted
        Columns that it keeps, at the consensus's stopping rule.
    """

    train_domains: tuple[str, ...]
    val_domains: tuple[str, ...]
    train_rows: Ints
    val_rows: Ints
    result: GreedyResult
    kept: Ints


@dataclass(frozen=True)
class Consensus:
    """What several searches agree on.

    Attributes
    ----------
    kept : int64, sorted
        Columns with at least `min_votes` votes.
    votes : int64 [D]
        Searches that kept each column.
    searches : tuple of ConsensusRound
        The searches.
    min_votes : int
        Votes that a kept column needs.
    expected : float64 [searches + 1]
        Columns that would have at least 0, 1, 2, .. votes on average if every search had kept a
        random set as large as its own, independently of the others.
    """

    kept: Ints
    votes: Ints
    searches: tuple[ConsensusRound, ...]
    min_votes: int
    expected: Floats


def consensus_elimination(
    X: ArrayLike,
    y: ArrayLike,
    domain: ArrayLike,
    *,
    group: ArrayLike | None = None,
    C: float = 1.0,
    score: str = "auc",
    min_votes: int = 2,
    rounds: int = 4,
    alpha: str = "log_loss",
    pool: str = "mean",
    source_of: Mapping[str, str] | None = None,
    seed: int = 0,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Consensus:
    """Return the columns that at least `min_votes` of several pooled searches keep.

    The generators are dealt to `rounds` parts by `seed`. Each round scores on one part and trains
    on all other generators, every generator, every source and both labels weighing the same.

    Parameters
    ----------
    X : float [n, D]
        Embeddings, any scale.
    y : [n]
        Labels: 0 generated, 1 real.
    domain : [n]
        The generator of a generated row, the source of a real one.
    group : [n], optional
        Rows of one group are never on both sides of a round; each row is its own by default.
        Groups that both sides want (real images, mostly) are dealt to them in equal parts.
    C : float, default 1.0
        Inverse penalty of the refits, weights adding up to the number of training rows.
    score : {"accuracy", "balanced_accuracy", "auc", "log_loss"}, default "auc"
        What a removal should make best on the scored generators.
    min_votes : int, default 2
        Searches that must keep a column.
    rounds : int, default 4
        Searches; as many as there are generators where those are fewer.
    alpha : {"first", "log_loss", "last", "one_se"}, default "log_loss"
        Where each search stops.
    pool : {"mean", "worst"}, default "mean"
        How the scores of a round's scored generators become one.
    source_of : mapping, optional
        Source of each generator: a round then has the real images of its generators' sources on
        either side. None: all sources are on both sides, and every generator is told from all.
    seed : int, default 0
        Of the parts of generators and groups. The order of the rows does not matter to them.
    threads : int, optional
        Threads of the linear algebra; as the environment says by default.
    progress : callable, optional
        Called after each search with (searches done, searches in all).

    Returns
    -------
    Consensus

    Raises
    ------
    UserError
        Fewer than two generators, a domain with both labels, more votes than rounds, or a round
        that lacks real rows.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> domain = np.repeat(["a", "b", "photographs"], 40)
    >>> y = (domain == "photographs").astype(int)
    >>> X = rng.standard_normal((120, 4)) - np.c_[1 - y, np.zeros((120, 3))]
    >>> found = consensus_elimination(X, y, domain)
    >>> int(found.kept[0]), len(found.searches)
    (0, 2)
    """
    rows, real = checked(X, y, "")
    names = np.asarray(domain).astype(str)
    if names.shape != real.shape:
        raise UserError(f"domain: shape {names.shape} is not [{len(real)}], one name per row")
    for option, value, allowed in (("score", score, SCORES), ("alpha", alpha, ALPHAS)):
        if value not in allowed:
            raise UserError(f"{option}: {value!r} is not one of {', '.join(allowed)}")
    generators = sorted(set(names[~real].tolist()))
    both = sorted(set(generators) & set(names[real].tolist()))
    if both:
        raise UserError(
            f"domain: {both[0]} has rows of both labels; name generators and sources apart"
        )
    if len(generators) < 2:
        raise UserError(f"domain: {len(generators)} generators; a round needs at least two")
    missing = [g for g in generators if source_of is not None and g not in source_of]
    if missing:
        raise UserError(f"source_of: does not name the source of {missing[0]}")
    parts = dealt(generators, min(int(rounds), len(generators)), seed)
    if not 1 <= min_votes <= len(parts):
        raise UserError(
            f"min_votes: {min_votes!r} is not a number from 1 to {len(parts)} (searches)"
        )
    groups = np.arange(len(real)).astype(str) if group is None else np.asarray(group).astype(str)
    if groups.shape != real.shape:
        raise UserError(f"group: shape {groups.shape} is not [{len(real)}], one group per row")
    found = []
    for number, scored in enumerate(parts):
        trained = [g for g in generators if g not in scored]
        train, val = sides(names, real, groups, trained, scored, source_of, seed + number)
        result = greedy_elimination(
            rows[train], real[train], rows[val], real[val],
            C=C, score=score, pool=pool, threads=threads,
            sample_weight=equal_weights(real[train], names[train]),
            val_domain=names[val], val_group=groups[val], source_of=source_of,
        )  # fmt: skip
        found.append(
            ConsensusRound(tuple(trained), tuple(scored), train, val, result, result.kept_at(alpha))
        )
        if progress is not None:
            progress(number + 1, len(parts))
    votes = np.zeros(rows.shape[1], dtype=np.int64)
    for one in found:
        votes[one.kept] += 1
    sizes = [len(one.kept) for one in found]
    return Consensus(
        kept=np.flatnonzero(votes >= min_votes).astype(np.int64),
        votes=votes,
        searches=tuple(found),
        min_votes=int(min_votes),
        expected=expected_columns(sizes, rows.shape[1]),
    )


def expected_columns(sizes: Sequence[int], columns: int) -> Floats:
    """Return how many columns get at least 0, 1, .. votes from random sets, on average.

    A random set of `size` holds a column with probability size / columns; sets are independent, so a
    column's votes have the Poisson binomial distribution, computed here one set at a time.

    Parameters
    ----------
    sizes : sequence of int
        Columns that each search keeps.
    columns : int
        All columns.

    Returns
    -------
    float64 [len(sizes) + 1]

    Examples
    --------
    >>> expected_columns([5, 5], 10).tolist()
    [10.0, 7.5, 2.5]
    """
    chance = np.array([1.0])
    for size in sizes:
        share = size / columns
        chance = np.r_[chance * (1 - share), 0.0] + np.r_[0.0, chance * share]
    return columns * np.cumsum(chance[::-1])[::-1]


def equal_weights(real: Flags, domain: ArrayLike) -> Floats:
    """Return weights by which both labels, and each domain within its label, count alike.

    Parameters
    ----------
    real : bool [n]
        Label 1.
    domain : [n]
        Generator of a generated row, source of a real one.

    Returns
    -------
    float64 [n]
        They add up to n, so that a penalty means what it does without weights.
    """
    names = np.asarray(domain).astype(str)
    weights = np.empty(len(real))
    for label in (real, ~real):
        _, which, count = np.unique(names[label], return_inverse=True, return_counts=True)
        weights[label] = len(real) / (2.0 * len(count) * count[which])
    return weights


def dealt(names: Sequence[str], parts: int, seed: int) -> list[list[str]]:
    """Return `names` in `parts` parts as equal as can be, by `seed` and not by their order."""
    order = sorted(names, key=lambda name: ticket(seed, name))
    return [sorted(order[part::parts]) for part in range(parts)]


def ticket(seed: int, name: str) -> str:
    """Return a draw that depends only on the seed and the name."""
    return hashlib.sha256(f"{seed}:{name}".encode()).hexdigest()


def sides(
    names: NDArray[np.str_],
    real: Flags,
    groups: NDArray[np.str_],
    trained: Sequence[str],
    scored: Sequence[str],
    source_of: Mapping[str, str] | None,
    seed: int,
) -> tuple[Ints, Ints]:
    """Return the rows trained on and the rows scored; groups that both want are dealt, half each."""
    wanted = []
    for generators in (trained, scored):
        sources = [source_of[g] for g in generators] if source_of is not None else names[real]
        told_from = real & np.isin(names, sources)
        wanted.append((~real & np.isin(names, generators)) | told_from)
    shared = set(groups[wanted[0]].tolist()) & set(groups[wanted[1]].tolist())
    # dealt within each source, so that both sides have their share of every one
    home: dict[str, str] = {}
    for group, name in sorted(zip(groups[real].tolist(), names[real].tolist(), strict=True)):
        home.setdefault(group, name)
    order = sorted(shared, key=lambda g: (home.get(g, ""), ticket(seed, g)))
    wanted = [wanted[i] & ~np.isin(groups, order[1 - i :: 2]) for i in (0, 1)]
    for side, what in zip(wanted, ("trained on", "scored"), strict=True):
        if not (side & real).any() or not (side & ~real).any():
            kind = "generated" if (side & real).any() else "real"
            raise UserError(
                f"domain: the round that scores {', '.join(scored)} has no {kind} row to be {what}"
            )
    return np.flatnonzero(wanted[0]).astype(np.int64), np.flatnonzero(wanted[1]).astype(np.int64)
