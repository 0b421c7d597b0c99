"""Spearman's rank correlation on a handful of generators, with an interval and an exact p value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import permutations
from typing import TYPE_CHECKING, Any

import numpy as np

from clipsieve import families
from clipsieve.errors import UserError

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike, NDArray

#: Up to this many pairs every order is enumerated (9! = 362,880).
EXACT_UP_TO = 9


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's rho of n pairs with its 95 % interval and two-sided p value.

    `leave_one_out` is the range of rho when any one pair is left out: with a dozen generators one
    of them can carry the whole correlation. Values that can't be computed (fewer than 3 pairs, or a
    constant side) are None; so is the interval of fewer than 4 pairs, and that of a perfect order.
    """

    rho: float | None
    low: float | None
    high: float | None
    p: float | None
    n: int
    p_method: str
    leave_one_out: tuple[float, float] | None

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-able values."""
        return asdict(self)


def spearman(
    x: ArrayLike, y: ArrayLike, *, seed: int = 0, draws: int = 100_000, level: float = 0.95
) -> RankCorrelation:
    """Correlate two lists by rank (mean ranks for ties).

    Parameters
    ----------
    x, y : array_like, shape [n]
        Pairs with a NaN on either side are left out.
    seed, draws : int
        For more than 9 pairs, p comes from this many random orders; else from all of them.
    level : float, default 0.95
        Of the interval: Fisher's z with Bonett and Wright's standard error
        sqrt((1 + rho^2 / 2) / (n - 3)) (Psychometrika 65, 2000).
    """
    from scipy.stats import norm, rankdata

    first, second = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(f"two lists of one length are needed, not {first.shape}, {second.shape}")
    whole = np.isfinite(first) & np.isfinite(second)
    a, b = rankdata(first[whole]), rankdata(second[whole])
    n = len(a)
    if n < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return RankCorrelation(None, None, None, None, n, "none", None)
    rho = _pearson(a, b)
    p, method = _permutation_p(a, b, rho, seed=seed, draws=draws)
    low = high = None
    if n > 3 and abs(rho) < 1 - 1e-12:  # the transform is infinite at 1
        centre = np.arctanh(rho)
        width = norm.ppf((1 + level) / 2) * np.sqrt((1 + rho**2 / 2) / (n - 3))
        low, high = float(np.tanh(centre - width)), float(np.tanh(centre + width))
    return RankCorrelation(rho, low, high, p, n, method, _leave_one_out(a, b))


def _pearson(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    a, b = a - a.mean(), b - b.mean()
    return float(np.clip(a @ b / np.sqrt((a @ a) * (b @ b)), -1.0, 1.0))


def _permutation_p(
    a: NDArray[np.float64], b: NDArray[np.float64], rho: float, *, seed: int, draws: int
) -> tuple[float, str]:
    """Two-sided p: the share of orders of `b` with a correlation at least as far from 0."""
    left, right = a - a.mean(), b - b.mean()
    scale = np.sqrt((left @ left) * (right @ right))
    # Orders that give the same |rho| up to rounding count as at least as far.
    limit = abs(rho) - 1e-12
    n = len(a)
    if n <= EXACT_UP_TO:
        orders = np.fromiter(
            (index for order in permutations(range(n)) for index in order), dtype=np.int8
        ).reshape(-1, n)
        reached = np.abs(right[orders] @ left) / scale >= limit
        return float(reached.mean()), "all orders"
    rng = np.random.default_rng(seed)
    reached_count = 0
    for start in range(0, draws, 10_000):
        rows = min(10_000, draws - start)
        shuffled = rng.permuted(np.broadcast_to(right, (rows, n)), axis=1)
        reached_count += int((np.abs(shuffled @ left) / scale >= limit).sum())
    return (1 + reached_count) / (1 + draws), f"{draws} random orders"


def _leave_one_out(a: NDArray[np.float64], b: NDArray[np.float64]) -> tuple[float, float] | None:
    """Return the smallest and largest rho over all n ways to leave one pair out."""
    from scipy.stats import rankdata

    if len(a) < 4:
        return None
    values = []
    for left_out in range(len(a)):
        x, y = rankdata(np.delete(a, left_out)), rankdata(np.delete(b, left_out))
        if np.ptp(x) == 0 or np.ptp(y) == 0:
            return None
        values.append(_pearson(x, y))
    return min(values), max(values)


@dataclass(frozen=True)
class WithinFamilies:
    """Rank correlation within families: what is left when families differ on both sides.

    `rho` is Pearson's correlation of the ranks within each family, centred on its family; `p` is two-sided,
    from orders that exchange values within families only. Both are None where no family has 3 pairs or a
    side does not vary within any.
    """

    rho: float | None
    p: float | None
    n: int
    families: int

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-able values."""
        return asdict(self)


def within_families(
    x: ArrayLike, y: ArrayLike, family: Sequence[str], *, seed: int = 0, draws: int = 20_000
) -> WithinFamilies:
    """Correlate two lists by rank within families.

    Two families that differ on both sides give a correlation over all points even where neither family
    has one; this one is not moved by differences between families.

    Parameters
    ----------
    x, y : array_like, shape [n]
        Pairs with a NaN on either side are left out, and so are families of fewer than 3 pairs.
    family : sequence of str, length n
    seed, draws : int
        Of the random orders within families.
    """
    from scipy.stats import rankdata

    first, second = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    names = np.asarray(family, dtype=str)
    whole = np.isfinite(first) & np.isfinite(second)
    members = [np.flatnonzero(whole & (names == name)) for name in np.unique(names)]
    members = [rows for rows in members if len(rows) >= 3]
    n = sum(map(len, members))
    ranks = [
        [rankdata(side[rows]) - (len(rows) + 1) / 2 for rows in members] for side in (first, second)
    ]
    a, b = (np.concatenate(side) if side else np.zeros(0) for side in ranks)
    scale = np.sqrt((a @ a) * (b @ b))
    if not scale:
        return WithinFamilies(None, None, n, len(members))
    rng = np.random.default_rng(seed)
    sums = np.zeros(draws)
    for left, right in zip(*ranks, strict=True):
        sums += rng.permuted(np.broadcast_to(right, (draws, len(right))), axis=1) @ left
    rho = float(a @ b / scale)
    reached = int((np.abs(sums) / scale >= abs(rho) - 1e-12).sum())
    return WithinFamilies(rho, (1 + reached) / (1 + draws), n, len(members))


def transfer_and_cosine(
    cells: pd.DataFrame,
    nearest: pd.DataFrame,
    *,
    feature_set: str = families.BASELINE,
    metric: str = "accuracy",
    what: str = "interpretability",
) -> pd.DataFrame:
    """Return each generator's mean transfer and the largest cosine of its probe to a text.

    Parameters
    ----------
    cells : DataFrame
        Cells of the transfer matrix: `feature_set`, `train`, `test`, `metric`, `value`.
    nearest : DataFrame
        Nearest texts: `kind`, `direction`, `feature_set`, `side`, `rank`, `text`, `cosine`.
    feature_set, metric : str
        Which rows of either.
    what : str
        For messages.

    Returns
    -------
    DataFrame
        `generator`, `transfer` (mean over the other generators), `max_cosine`, `text`,
        `above_null` (None where unknown), `n_cells`.

    Raises
    ------
    UserError
        If no generator is in both tables.
    """
    mine = cells[
        (cells["feature_set"] == feature_set)
        & (cells["metric"] == metric)
        & (cells["train"] != cells["test"])
    ]
    means = mine.groupby("train", sort=False)["value"].agg(["mean", "count"])
    if "centred" in nearest.columns:
        nearest = nearest[~nearest["centred"].astype(bool)]
    top = nearest[
        (nearest["kind"] == "probe")
        & (nearest["feature_set"] == feature_set)
        & (nearest["side"] == "nearest")
        & (nearest["rank"] == 1)
    ].set_index("direction")
    both = [generator for generator in means.index if generator in top.index]
    if not both:
        raise UserError(
            f"{what}: no generator has both a cell ({feature_set}, {metric}, off the diagonal) and"
            f" a nearest text of its probe"
        )
    import pandas as pd

    marks = top["above_null"] if "above_null" in top.columns else None
    return pd.DataFrame(
        {
            "generator": both,
            "transfer": [float(means.loc[g, "mean"]) for g in both],
            "max_cosine": [float(top.loc[g, "cosine"]) for g in both],
            "text": [str(top.loc[g, "text"]) for g in both],
            "above_null": [None if marks is None else bool(marks[g]) for g in both],
            "n_cells": [int(means.loc[g, "count"]) for g in both],
        }
    )
