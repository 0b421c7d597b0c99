"""Resamples of groups, shared by every cell, and the intervals that come of them.

A group (a photograph, a prompt) is drawn whole, with all images that come from it, so replicates of
cells that share images move together and a difference of two feature sets is a paired one.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Interval = Literal["percentile", "bca", "studentized"]
INTERVALS: tuple[Interval, ...] = ("percentile", "bca", "studentized")

# A stratum below this many groups is joined with the other small ones of its source.
_SMALL = 10
# A chance this small that a draw leaves an image set without a group is none: 2,000 are drawn.
_NEVER = 1e-6


@dataclass(frozen=True)
class Strata:
    """Groups that are interchangeable in a resample: those with images in the same image sets.

    Attributes
    ----------
    of_group
        Stratum of each group, int64 [G].
    sizes
        Number of groups of each stratum, int64 [S].
    """

    of_group: NDArray[np.int64]
    sizes: NDArray[np.int64]


def strata_of(
    groups: NDArray[np.int64], sources: NDArray[np.int64], image_sets: NDArray[np.int64]
) -> Strata:
    """Divide groups by source and by the image sets in which they have images.

    Parameters
    ----------
    groups
        Group of each image, 0 .. G - 1, shape [n].
    sources
        Source of each image, shape [n]; a group has one source.
    image_sets
        Image set of each image, shape [n].

    Notes
    -----
    Where real and generated images are not paired, each class is then resampled to its own size, as
    it was collected; where every group has an image of every set, there is one stratum per source.
    Strata of fewer than 10 groups (a prompt that one generator refused) are joined within their
    source. A scarce image set, of which a draw from those might hold no group, keeps its groups to
    themselves. What is joined and still fewer than 10 groups goes to the source's largest stratum.
    """
    n_groups = int(groups.max()) + 1 if len(groups) else 0
    source_of = np.zeros(n_groups, dtype=np.int64)
    source_of[groups] = sources
    members: list[set[int]] = [set() for _ in range(n_groups)]
    for group, image_set in set(zip(groups.tolist(), image_sets.tolist(), strict=True)):
        members[group].add(image_set)
    keys: list[tuple[int, tuple[int, ...]]] = [(0, ())] * n_groups
    for source in np.unique(source_of).tolist():
        own = np.flatnonzero(source_of == source).tolist()
        joined = _joined([tuple(sorted(members[group])) for group in own])
        for group, stratum in zip(own, joined, strict=True):
            keys[group] = (source, stratum)
    names = {key: k for k, key in enumerate(sorted(set(keys)))}
    of_group = np.array([names[key] for key in keys], dtype=np.int64)
    return Strata(of_group, np.bincount(of_group, minlength=len(names)).astype(np.int64))


def _joined(patterns: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Return the stratum of each group of one source, from the image sets that each has images in."""
    total, count = len(patterns), Counter(patterns)
    size = Counter(image_set for pattern in patterns for image_set in pattern)
    large = {pattern for pattern, n in count.items() if n >= _SMALL}
    sure = {image_set for pattern in large for image_set in pattern}
    scarce = {s for s, n in size.items() if (1 - n / total) ** (total - 1) > _NEVER} - sure

    def stratum(pattern: tuple[int, ...]) -> tuple[int, ...]:
        if pattern in large:
            return pattern
        own = scarce.intersection(pattern)
        return (min(own, key=lambda s: (size[s], s)),) if own else ()

    found = [stratum(pattern) for pattern in patterns]
    if large and found.count(()) < _SMALL:
        largest = max(large, key=lambda pattern: (count[pattern], pattern))
        found = [largest if key == () else key for key in found]
    return found


def resample_weights(strata: Strata, resamples: int, seed: int) -> NDArray[np.float32]:
    """Draw how often each group counts in each resample, float32 [G, resamples].

    Notes
    -----
    From a stratum of n groups, n - 1 are drawn with replacement and weighted n / (n - 1) (Rao and
    Wu 1988): the variance of a replicate mean is then s^2 / n with the unbiased s^2, where a draw
    of n groups would give (n - 1) / n of it.
    """
    rng = np.random.default_rng(seed)
    weights = np.empty((len(strata.of_group), resamples), dtype=np.float32)
    for stratum, n in enumerate(strata.sizes):
        rows = strata.of_group == stratum
        if n == 1:
            weights[rows] = 1.0  # nothing to tell its spread by
            continue
        counts = rng.multinomial(n - 1, np.full(n, 1 / n), size=resamples)
        weights[rows] = counts.T * (n / (n - 1))
    return weights


def centred(influence: Floats, strata: Strata) -> Floats:
    """Take from the influence [..., G] of each group its stratum's mean.

    The influence is the statistic's derivative by the group's weight. The sum over a stratum of n
    groups of the centred squares, times n / (n - 1), estimates its share of the variance.
    """
    result: Floats = np.array(influence, dtype=np.float64)
    for stratum in range(len(strata.sizes)):
        rows = strata.of_group == stratum
        result[..., rows] -= result[..., rows].mean(axis=-1, keepdims=True)
    return result


def degrees_of_freedom(strata: Strata, groups: NDArray[np.int64]) -> int:
    """Groups less strata among `groups`, at least 1."""
    return max(1, len(groups) - len(np.unique(strata.of_group[groups])))


def interval(
    values: Floats,
    replicates: Floats,
    *,
    confidence: float = 0.95,
    method: Interval = "percentile",
    influence: Floats | None = None,
    freedom: int | None = None,
    logit: bool = False,
    least_spread: Floats | None = None,
) -> tuple[Floats, Floats]:
    """Bootstrap intervals of many statistics at once.

    Parameters
    ----------
    values
        The statistics, shape [...].
    replicates
        Their bootstrap replicates, shape [..., B].
    confidence
        Coverage, in (0, 1).
    method
        ``percentile``: quantiles of the replicates. ``bca``: quantiles corrected for bias and
        acceleration (Efron 1987). ``studentized``: value -+ t times the replicates' standard
        deviation.
    influence
        Influence of each group, centred, shape [..., K]; used by ``bca`` (without it, or where it
        is not finite, there is no acceleration).
    freedom
        Degrees of freedom. Quantile levels are widened by the ratio of Student's t to the normal
        quantile, which matters below about 50 groups. None for no widening.
    logit
        Whether the statistics are shares: ``studentized`` then works on log(x / (1 - x)), with the
        standard deviation carried over by the derivative.
    least_spread
        Standard deviations below which those of the replicates are not believed, shape [...].

    Returns
    -------
    low, high
        Shape [...]; NaN where a replicate is not finite.
    """
    from scipy.special import ndtr, ndtri, stdtrit

    tail = (1 - confidence) / 2
    z = float(ndtri(tail) if freedom is None else stdtrit(freedom, tail))
    ordered = np.sort(replicates, axis=-1)
    broken = ~np.isfinite(ordered[..., -1])
    if method == "studentized":
        spread = ordered.std(axis=-1, ddof=1, dtype=np.float64)
        if least_spread is not None:
            spread = np.fmax(spread, least_spread)
        low, high = values + z * spread, values - z * spread
        if logit:
            low, high = _on_logit_scale(values, z * spread)
    else:
        shift: Floats = np.zeros(values.shape)
        skew: Floats = np.zeros(values.shape)
        if method == "bca":
            n = replicates.shape[-1]
            # ties count half: a metric of few images takes few values
            below = (ordered < values[..., None]).mean(-1) + (ordered <= values[..., None]).mean(-1)
            shift = ndtri(np.clip(below / 2, 0.5 / n, 1 - 0.5 / n))
            if influence is not None:
                squares, cubes = (influence**2).sum(-1), (influence**3).sum(-1)
                skew = np.nan_to_num(cubes / np.maximum(6 * squares**1.5, 1e-300))
        low, high = (
            _quantiles(ordered, ndtr(shift + (shift + q) / (1 - skew * (shift + q))))
            for q in (z, -z)
        )
    return np.where(broken, np.nan, low), np.where(broken, np.nan, high)


def _on_logit_scale(values: Floats, reach: Floats) -> tuple[Floats, Floats]:
    """Add -+ reach (negative) to shares on the scale of log(x / (1 - x)); 0 and 1 stay."""
    certain = (values < 1e-9) | (values > 1 - 1e-9)
    inside = np.where(certain, 0.5, values)
    steps = np.where(certain, 0.0, reach) / (inside * (1 - inside))
    odds = inside / (1 - inside)
    # 1 / (1 + e^-x) written for odds; a huge step gives 0 or 1
    with np.errstate(over="ignore"):
        low, high = 1 / (1 + np.exp(-steps) / odds), 1 / (1 + np.exp(steps) / odds)
    return np.where(certain, values, low), np.where(certain, values, high)


def exact_bound(value: Floats, n: int, confidence: float) -> tuple[Floats, Floats]:
    """Interval of a share of which every group says the same (0 or 1), where replicates can't vary.

    The exact binomial (Clopper-Pearson) interval for n of n, or 0 of n, groups.
    """
    reach = 1 - ((1 - confidence) / 2) ** (1 / n)
    return np.where(value > 0.5, 1 - reach, 0.0), np.where(value > 0.5, 1.0, reach)


def _quantiles(ordered: Floats, levels: Floats) -> Floats:
    """Quantiles of rows sorted along the last axis, at one level each, by linear interpolation."""
    n = ordered.shape[-1]
    position = np.clip(levels, 0, 1) * (n - 1)
    below = np.minimum(position.astype(np.int64), n - 2)
    share = position - below
    first = np.take_along_axis(ordered, below[..., None], axis=-1)[..., 0]
    second = np.take_along_axis(ordered, below[..., None] + 1, axis=-1)[..., 0]
    result: Floats = first + share * (second - first)
    return result
