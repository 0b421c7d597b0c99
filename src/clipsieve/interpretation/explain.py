"""Compare directions with texts and known edits, and both with meaningless directions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from clipsieve.interpretation.nearest import Direction, nearest_texts
from clipsieve.interpretation.nulls import (
    Null,
    above_null,
    compare,
    null_of,
    share_at_least,
    unit_rows,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from numpy.typing import ArrayLike, NDArray

    from clipsieve.interpretation.null_directions import Key, Meaningless

TEXT_COLUMNS = (
    "kind", "direction", "feature_set", "side", "rank", "text", "cosine", "z_random",
    "z_shuffled", "p", "p_rank", "p_shuffled", "q", "above_null",
)  # fmt: skip
EDIT_COLUMNS = (
    "kind", "direction", "feature_set", "edit", "cosine", "z_random", "z_shuffled", "p",
    "p_single", "p_shuffled", "above_null", "n",
)  # fmt: skip


def explain_with_texts(
    directions: Sequence[Direction],
    texts: Sequence[str],
    embeddings: ArrayLike,
    meaningless: Meaningless,
    *,
    top: int = 5,
    level: float = 0.05,
) -> pd.DataFrame:
    """Return the nearest and farthest texts of each direction with their nulls.

    Parameters
    ----------
    directions : sequence of Direction
    texts : sequence of str, length T
        Without repeats.
    embeddings : array_like, shape [T, D]
        Their embeddings.
    meaningless : Meaningless
        Where the nulls' directions come from.
    top : int, default 5
        Texts at either side.
    level : float, default 0.05
        A text is marked above its null when p is at most this (see `nulls.above_null`) and the
        first text of its direction and side has a q of at most this.

    Returns
    -------
    DataFrame
        One row per direction, side and rank; columns `TEXT_COLUMNS`. `q` is the first rank's p after
        Benjamini and Hochberg's correction over all directions and both sides. A direction without
        a valid null (`Meaningless.exchangeable`) has neither p nor q, and no mark.
    """
    import pandas as pd

    goals = unit_rows(embeddings, np.float32)
    # Directions with the same null are kept together, so that one null at a time is in memory.
    keys = [(meaningless.random_key(d), meaningless.shuffled_key(d)) for d in directions]
    order = sorted(range(len(directions)), key=lambda i: repr(keys[i]))
    ranked = list(nearest_texts([d.vector for d in directions], goals, top=top))
    random, shuffled = _Latest(goals, top), _Latest(goals, top)
    rows: dict[int, list[dict[str, Any]]] = {}
    for i in order:
        direction = directions[i]
        random_key, shuffled_key = keys[i]
        by_chance = random.get(random_key, meaningless.random, direction)
        by_shuffle = None
        if shuffled_key is not None:
            by_shuffle = shuffled.get(shuffled_key, meaningless.shuffled, direction)
        rows[i] = []
        for side in ranked[i]:
            first = compare(side.cosines, side.indices, by_chance, side=side.side)
            second = None
            if by_shuffle is not None:
                second = compare(side.cosines, side.indices, by_shuffle, side=side.side)
            shuffled_draws = by_shuffle.draws if by_shuffle is not None else 0
            marks = above_null(first, second, shuffled_draws, level=level)
            valid = meaningless.exchangeable(direction)
            for rank, (index, cosine) in enumerate(zip(side.indices, side.cosines, strict=True)):
                rows[i].append(
                    {
                        "kind": direction.kind,
                        "direction": direction.name,
                        "feature_set": direction.feature_set,
                        "side": side.side,
                        "rank": rank + 1,
                        "text": str(texts[index]),
                        "cosine": float(cosine),
                        "z_random": float(first.z[rank]),
                        "z_shuffled": float(second.z[rank]) if second else np.nan,
                        "p": float(first.p[rank]) if valid else np.nan,
                        "p_rank": float(first.p_rank[rank]) if valid else np.nan,
                        "p_shuffled": float(second.p[rank]) if second else np.nan,
                        "q": np.nan,
                        "above_null": bool(marks[rank]) and valid,
                    }
                )
    flat = [row for i in range(len(directions)) for row in rows[i]]
    return _corrected(pd.DataFrame(flat, columns=list(TEXT_COLUMNS)), level)


def _corrected(table: pd.DataFrame, level: float) -> pd.DataFrame:
    """Fill `q` over the first ranks of a list, and take marks from lists whose first rank has a larger one."""
    from scipy.stats import false_discovery_control

    first = table[(table["rank"] == 1) & table["p"].notna()]
    if first.empty:
        return table
    keys = ["kind", "direction", "feature_set", "side"]
    first = first[keys].assign(q=false_discovery_control(first["p"], method="bh"))
    table = table.drop(columns="q").merge(first, how="left", on=keys)[list(table.columns)]
    return table.assign(above_null=table["above_null"] & (table["q"] <= level))


class _Latest:
    """The null that was asked for last; asking for the same again costs nothing."""

    def __init__(self, targets: NDArray, top: int) -> None:
        self.targets, self.top = targets, top
        self.key: Key | None = None
        self.null: Null | None = None

    def get(self, key: Key, make: Any, direction: Direction) -> Null:
        if self.null is None or key != self.key:
            self.key, self.null = key, null_of(make(direction), self.targets, top=self.top)
        return self.null


def explain_with_edits(
    directions: Sequence[Direction],
    edits: Sequence[str],
    changes: ArrayLike,
    counts: Sequence[int],
    meaningless: Meaningless,
    *,
    level: float = 0.05,
) -> pd.DataFrame:
    """Return the cosine of each direction with the direction of each known edit, with its null.

    Parameters
    ----------
    directions : sequence of Direction
    edits : sequence of str, length E
        Names of the edits.
    changes : array_like, shape [E, D]
        Mean change of the embedding under each.
    counts : sequence of int, length E
        Images behind each.
    meaningless : Meaningless
    level : float, default 0.05
        An edit is marked above its null when p is at most this (see `nulls.above_null`).

    Returns
    -------
    DataFrame
        One row per direction and edit; columns `EDIT_COLUMNS`. A positive cosine: the edit moves real
        images to where the generated ones are. `p_single` is two-sided for this single edit, `p` and
        `p_shuffled` are against the largest absolute cosine over all edits.
    """
    import pandas as pd

    goals = unit_rows(changes)
    rows = []
    for direction in directions:
        cosines = goals @ unit_rows(direction.vector[None])[0]
        chance = meaningless.random(direction) @ goals.T
        z, single, together = two_sided(cosines, chance)
        marks = together <= level
        z_shuffled = p_shuffled = np.full(len(goals), np.nan)
        if meaningless.shuffled_key(direction) is not None:
            shuffled = meaningless.shuffled(direction) @ goals.T
            z_shuffled, _, p_shuffled = two_sided(cosines, shuffled)
            marks = marks & (p_shuffled <= max(level, 1.0 / (1.0 + len(shuffled))) + 1e-12)
        for e, edit in enumerate(edits):
            rows.append(
                {
                    "kind": direction.kind,
                    "direction": direction.name,
                    "feature_set": direction.feature_set,
                    "edit": edit,
                    "cosine": float(cosines[e]),
                    "z_random": float(z[e]),
                    "z_shuffled": float(z_shuffled[e]),
                    "p": float(together[e]),
                    "p_single": float(single[e]),
                    "p_shuffled": float(p_shuffled[e]),
                    "above_null": bool(marks[e]),
                    "n": int(counts[e]),
                }
            )
    return pd.DataFrame(rows, columns=list(EDIT_COLUMNS))


def two_sided(
    cosines: NDArray[np.float64], draws: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return z, the p of each single target and the p over all targets, for cosines of either sign.

    Parameters
    ----------
    cosines : float64 [E]
    draws : float64 [M, E]
        Cosines of meaningless directions with the same targets.
    """
    spread = draws.std(axis=0, ddof=1)
    z = np.full(len(cosines), np.nan)
    np.divide(cosines - draws.mean(axis=0), spread, out=z, where=spread > 0)
    far = np.abs(cosines)
    single = np.array([share_at_least(np.abs(draws[:, e]), far[e]) for e in range(len(far))])
    return z, single, share_at_least(np.abs(draws).max(axis=1), far)
