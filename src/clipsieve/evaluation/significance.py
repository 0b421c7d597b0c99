"""Is a difference of two feature sets more than chance: sign flips of groups, and Holm's rule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clipsieve.evaluation.bootstrap import Strata

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.floating]


class SignFlips:
    """Random signs of the run's groups, the same for every comparison.

    Parameters
    ----------
    strata
        Strata of the run's G groups.
    flips
        Number of random sign vectors.
    seed
        Seed of the signs.
    """

    def __init__(self, strata: Strata, flips: int = 20_000, seed: int = 0) -> None:
        rng = np.random.default_rng([seed, 1])
        shape = (len(strata.of_group), -(-flips // 8))
        self._bits = rng.integers(0, 256, size=shape, dtype=np.uint8)
        sizes = strata.sizes[strata.of_group]
        self._widening = sizes / np.maximum(sizes - 1, 1)
        self.flips = flips

    def p_values(self, difference: Array, influence: Array, groups: NDArray[np.int64]) -> Array:
        """Two-sided p values of differences of paired statistics.

        Parameters
        ----------
        difference
            The statistics, shape [M].
        influence
            Influence of each group of the run on each, centred, shape [M, G].
        groups
            The groups that have images in it [K].

        Returns
        -------
        array
            [M]; NaN where an influence is not finite.

        Notes
        -----
        Each group has the share ``d_g = influence_g + difference / K`` of the difference. If the two
        feature sets are equally good, a group's share is as likely to be ``-d_g``, so the sum under
        random signs shows what chance gives; p = (1 + number of sums at least as large) / (1 +
        flips), or, where no flip reached the difference and it is less, Hoeffding's bound on the
        share of all signs that could. For a mean over the groups of one stratum, d_g is the group's
        own difference and the test is exact when its sign is a coin toss; else it holds as the
        number of groups grows.
        Where there are several strata, of n groups each, the influence is widened by the root of
        ``(1 - 1 / K) n / (n - 1)``, so that the shares' squares add up to the variance without bias.
        """
        p = np.full(len(difference), np.nan)
        known = np.flatnonzero(np.isfinite(influence).all(axis=1))
        if not len(known):
            return p
        widening = np.sqrt((1 - 1 / len(groups)) * self._widening[groups])
        shares = influence[np.ix_(known, groups)] * widening
        shares += difference[known, None] / len(groups)
        size = np.abs(difference[known])
        # sums are rounded in single precision; what is as large as can be told is counted
        slack = 2e-6 * np.abs(shares).sum(axis=1)
        reached = np.zeros(len(known), dtype=np.int64)
        for start in range(0, self._bits.shape[1], 256):
            bits = np.unpackbits(self._bits[groups, start : start + 256], axis=1)
            signs = bits[:, : self.flips - 8 * start].astype(np.float32) * 2 - 1
            sums = np.abs(shares.astype(np.float32) @ signs)
            reached += (sums >= (size - slack)[:, None]).sum(axis=1)
        p[known] = (1 + reached) / (1 + self.flips)
        # Hoeffding: no more than this share of all signs can reach it, where none of ours did
        total = np.maximum(np.square(shares).sum(axis=1), np.finfo(float).tiny)
        bound = 2 * np.exp(-np.square(np.maximum(size - slack, 0)) / (2 * total))
        p[known] = np.where(reached == 0, np.minimum(p[known], bound), p[known])
        return p


def bootstrap_p(difference: Array, replicates: NDArray[np.floating], freedom: int) -> Array:
    """Two-sided p of the difference over its replicates' standard deviation, by Student's t.

    For metrics without an influence (TPR at a fixed FPR). Shapes [M] and [M, B].
    """
    from scipy.special import stdtr

    spread = replicates.std(axis=-1, ddof=1, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        p = 2 * stdtr(freedom, -np.abs(difference) / spread)
    return np.where(spread > 0, p, np.where(difference == 0, 1.0, np.nan))


def holm(p: Array) -> Array:
    """Holm's step-down correction of the p values [n]; NaN stays NaN and does not count."""
    result = np.full(len(p), np.nan)
    known = np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    result[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * factors))
    return result


def holm_by_metric(table: pd.DataFrame, column: str, *, within: Sequence[str] = ()) -> pd.Series:
    """Holm's correction of a column of p values over the rows that share a metric (and `within`)."""
    return table.groupby([*within, "metric"], sort=False)[column].transform(
        lambda p: holm(p.to_numpy(dtype=float))
    )
