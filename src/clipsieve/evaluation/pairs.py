"""One row for all search pairs: the mean over pairs, its spread, and joint tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clipsieve import families
from clipsieve.evaluation.comparisons import GENERATOR_COLUMNS, Comparer, over_new
from clipsieve.evaluation.generators import Deletions, deletions, generator_spread
from clipsieve.evaluation.intervals import too_few
from clipsieve.evaluation.means import Means
from clipsieve.evaluation.metric_records import RECORDS
from clipsieve.evaluation.metrics import METRICS
from clipsieve.evaluation.ranks import rank_among
from clipsieve.evaluation.significance import holm_by_metric

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.floating]

COLUMNS = (
    *("family", "against", "cells", "metric", "pairs", "value", "against_value", "difference"),
    *("difference_low", "difference_high", "p", "p_holm", "sd_between_pairs", "better"),
    *("generators_low", "generators_high", "generators_p", "generators_p_holm", "generators_se"),
    *("generators_freedom", "rank", "draws"),
)


@dataclass(frozen=True)
class Compared:
    """How a feature set is held against something.

    Attributes
    ----------
    twin
        Means of its probes made as the draws of the control are, which are ranked in its place;
        None where its own probes are.
    alike
        Whether the probes compared were tuned on one grid; a rank says something only then.
    """

    twin: Means | None = None
    alike: bool = True


@dataclass(frozen=True)
class Member:
    """The feature set of one pair and what it is compared with.

    Attributes
    ----------
    pair
        The two generators, in either order.
    mine, other
        Means of each draw over the same cells.
    how
        Whether a twin is ranked, and whether a rank says something.
    """

    pair: frozenset[str]
    mine: Sequence[Means]
    other: Sequence[Means]
    how: Compared = Compared()

    @property
    def compared(self) -> Sequence[Means]:
        """What is compared: the twin, or each draw itself."""
        return self.mine if self.how.twin is None else [self.how.twin]


def pair_table(
    comparer: Comparer,
    by_set: Mapping[str, Sequence[Means]],
    baselines: Mapping[str, Means | None],
    compared: Callable[[str, str], Compared],
) -> pd.DataFrame:
    """Sum up each family of feature sets over its search pairs.

    Parameters
    ----------
    comparer
        Of intervals and tests.
    by_set
        Means of each feature set and draw.
    baselines
        Means of the baseline over each set's own cells.
    compared
        Tells how a feature set is compared with a control, given both ids.

    Returns
    -------
    DataFrame
        One row per family with two pairs or more, what it is compared with (the baseline's id, or a
        family of controls), group of cells that every pair has, and metric.

    Notes
    -----
    A pair counts once, whichever of its orders it has. The interval over photographs is of these
    pairs. That over generators takes pairs as drawn anew too: the jackknife leaves one generator
    out of every pair's cells, and the variance between pairs over their number is added.
    A family's rank among draws is that of its mean over pairs among the means of the first, the
    second, .. draw of every pair: one test for all pairs.
    """
    import pandas as pd

    selected: dict[str, list[str]] = {}
    for name in by_set:
        if families.pair_of(name):
            selected.setdefault(families.family_of(name), []).append(name)
    rows: list[dict[str, Any]] = []
    for family, names in selected.items():
        against: dict[str, list[Member]] = {}
        for name in names:
            pair = families.unordered(families.pair_of(name))
            base = baselines.get(name)
            if base is not None:
                member = Member(pair, by_set[name], [base])
                against.setdefault(base.matrix.feature_set, []).append(member)
            for control in families.controls_of(name):
                if control in by_set:
                    member = Member(pair, by_set[name], by_set[control], compared(name, control))
                    against.setdefault(families.family_of(control), []).append(member)
        for other, members in against.items():
            if len({member.pair for member in members}) > 1:
                rows += _rows(comparer, family, other, members)
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    for column in ("p", "generators_p"):
        table[f"{column}_holm"] = holm_by_metric(table, column)
    return table


def _rows(
    comparer: Comparer, family: str, against: str, members: Sequence[Member]
) -> list[dict[str, Any]]:
    pairs = sorted({member.pair for member in members}, key=sorted)
    # every pair has the same weight, and so has each of its orders
    share = np.array(
        [1 / len(pairs) / sum(one.pair == member.pair for one in members) for member in members]
    )
    shared = [
        cells
        for cells in members[0].mine[0].names
        if all(cells in member.mine[0].names for member in members)
    ]
    rows = []
    for cells in shared:
        at = [member.mine[0].names.index(cells) for member in members]
        mine = _values([member.mine for member in members], at)
        other = _values([member.other for member in members], at)
        compared = _values([member.compared for member in members], at)
        gain = compared.mean(axis=1) - other.mean(axis=1)  # [members, M], draws averaged
        by_pair = np.stack(
            [gain[[one.pair == pair for one in members]].mean(axis=0) for pair in pairs]
        )
        spread = by_pair.std(axis=0, ddof=1)
        found = _intervals(comparer, members, at, share, spread**2 / len(pairs), len(pairs) - 1)
        draws = other.shape[1]
        ranked = draws > 1 and all(member.how.alike for member in members)
        for m, metric in enumerate(METRICS):
            less = not RECORDS[metric].higher_is_better
            value = float(share @ compared[:, 0, m])
            rank, p = rank_among(value, share @ other[:, :, m], less=less)
            sign = -1 if less else 1
            row = {
                "family": family,
                "against": against,
                "cells": cells,
                "metric": metric,
                "pairs": len(pairs),
                "value": float(share @ mine[:, :, m].mean(axis=1)),
                "against_value": float(share @ other[:, :, m].mean(axis=1)),
                "difference": float(share @ gain[:, m]),
                "sd_between_pairs": spread[m],
                "better": int((sign * by_pair[:, m] > 1e-12).sum()),
                **{name: column[m] for name, column in found.items()},
                "rank": rank if draws > 1 else np.nan,
                "draws": draws,
            }
            if draws > 1:
                row["p"] = p if ranked else np.nan
            rows.append(row)
    return rows


def _values(sets: Sequence[Sequence[Means]], at: Sequence[int]) -> Array:
    """Values of a group of cells, [members, draws, M]; as many draws as every member has."""
    draws = min(len(one) for one in sets)
    return np.stack(
        [
            np.stack([mean.values[:, k] for mean in one[:draws]])
            for one, k in zip(sets, at, strict=True)
        ]
    )


def _intervals(
    comparer: Comparer,
    members: Sequence[Member],
    at: Sequence[int],
    share: Array,
    between: Array,
    freedom: int,
) -> dict[str, Array]:
    """Intervals over photographs and over generators and pairs; NaN for many draws."""
    nothing = np.full(len(METRICS), np.nan)
    found = dict.fromkeys(("difference_low", "difference_high", "p", *GENERATOR_COLUMNS), nothing)
    if any(len(member.mine) > 1 or len(member.other) > 1 for member in members):
        return found
    difference = np.zeros(len(METRICS))
    replicates = influence = None
    stacked, drawn, deleted = [], [], []
    every: set[tuple[str, str]] = set()
    for member, k, weight in zip(members, at, share, strict=True):
        mine, other = member.mine[0], member.other[0]
        if (
            mine.replicates is None
            or mine.influence is None
            or other.replicates is None
            or other.influence is None
        ):
            return found
        difference += weight * (mine.values[:, k] - other.values[:, k])
        part = weight * (mine.replicates[:, k] - other.replicates[:, k])
        moved = weight * (mine.influence[:, k] - other.influence[:, k])
        replicates = part if replicates is None else replicates + part
        influence = moved if influence is None else influence + moved
        cells, values, some = mine.cell_values(k)
        _, theirs, others = other.cell_values(k)
        stacked.append(values - theirs)
        drawn.append(None if some is None or others is None else some - others)
        deleted.append((cells, weight))
        every.update(cells)
    assert replicates is not None
    assert influence is not None
    groups = np.unique(
        np.concatenate([m.mine[0].groups[k] for m, k in zip(members, at, strict=True)])
    )
    unknown = sorted(
        {
            m
            for one, k in zip(members, at, strict=True)
            for m in too_few(one.mine[0].class_groups[k])
        }
    )
    found |= comparer.over_photographs(difference, replicates, influence, groups, unknown)
    maps = _over_pairs(deleted, tuple(sorted(every)))
    if maps is None or any(one is None for one in drawn):
        return found
    spread = generator_spread(
        maps,
        np.concatenate(stacked, axis=1),
        np.concatenate([one for one in drawn if one is not None], axis=1),
        replicates.var(axis=-1, ddof=1, dtype=np.float64),
        between=between,
        between_freedom=freedom,
    )
    found |= over_new(difference, spread, comparer.confidence)
    for name in GENERATOR_COLUMNS:
        found[name][unknown] = np.nan
    return found


def _over_pairs(
    parts: Sequence[tuple[tuple[tuple[str, str], ...], float]], every: tuple[tuple[str, str], ...]
) -> Deletions | None:
    """Maps for a weighted mean of means over cells, of the pairs' cells one after the other.

    A generator is left out of every pair's cells at once. The cells' noise is estimated from the average of
    each cell over the pairs that have it.
    """
    whole = deletions(every)
    if whole is None:
        return None
    names = sorted({name for cell in every for name in cell})
    without = []
    for cells, weight in parts:
        kept = np.array([[name not in cell for cell in cells] for name in names], dtype=float)
        if not kept.any(axis=1).all():
            return None
        without.append(weight * kept / kept.sum(axis=1, keepdims=True))
    place = {cell: k for k, cell in enumerate(every)}
    average = np.zeros((len(every), sum(len(cells) for cells, _ in parts)))
    column = 0
    for cells, _ in parts:
        for cell in cells:
            average[place[cell], column] = 1
            column += 1
    average /= average.sum(axis=1, keepdims=True)
    return whole.of_means(names, np.concatenate(without, axis=1), average)
