"""What meaningless directions get: the distribution with which every reported cosine is compared.

Any direction has *some* nearest text among tens of thousands. Two families of directions carry no
meaning by construction: random ones with the covariance of the embeddings, and probes (or
residuals) made from shuffled labels. Their cosines with the same texts say how near the nearest
text of nothing lies.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

#: Texts a matrix product; 8,192 x 1,000 draws in float32 are 32 MB.
CHUNK = 8192
#: Cosines this near count as equal (float32 products of unit vectors).
ROUNDING = 1e-6


@dataclass(frozen=True)
class Null:
    """Cosines of M meaningless directions with T targets, as much of them as comparisons need.

    Attributes
    ----------
    highest : float64 [M, k]
        The k largest cosines of each draw, descending.
    lowest : float64 [M, k]
        The k smallest cosines of each draw, ascending.
    mean, sd : float64 [T]
        Mean and standard deviation (M - 1 in the denominator) over the draws for each target.
    """

    highest: NDArray[np.float64]
    lowest: NDArray[np.float64]
    mean: NDArray[np.float64]
    sd: NDArray[np.float64]

    @property
    def draws(self) -> int:
        """The number of meaningless directions."""
        return len(self.highest)


def unit_rows(X: ArrayLike, dtype: type[np.floating] = np.float64) -> NDArray:
    """Return `X` [n, D] in `dtype` with rows of length 1; a row of zeros stays zeros."""
    rows = np.asarray(X)
    # Texts come and stay in float32: a copy in float64 would cost more than the products.
    rows = rows if rows.dtype == dtype else rows.astype(np.float64)
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))[:, None]
    scale = np.divide(1.0, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    return np.asarray(rows * scale.astype(rows.dtype), dtype=dtype)


def covariance(X: ArrayLike) -> NDArray[np.float64]:
    """Return the covariance [D, D] of the rows of `X` [n, D], float64, n - 1 in the denominator.

    Raises
    ------
    ValueError
        With fewer than two rows or an entry that is not finite.
    """
    rows = np.asarray(X, dtype=np.float64)
    if rows.ndim != 2 or len(rows) < 2:
        raise ValueError(f"a covariance needs at least two rows, not the shape {rows.shape}")
    if not np.isfinite(rows).all():
        raise ValueError("the embeddings have NaN or infinite entries")
    centred = rows - rows.mean(axis=0)
    return centred.T @ centred / (len(rows) - 1)


def random_directions(
    cov: ArrayLike, draws: int, seed: int, *, columns: Sequence[int] | None = None
) -> NDArray[np.float64]:
    """Draw directions from N(0, `cov`), each scaled to length 1.

    Parameters
    ----------
    cov : array_like, shape [D, D]
        Covariance, symmetric and positive semi-definite; it may be singular.
    draws : int
        Number of directions M.
    seed : int
        The same seed gives the same draws.
    columns : sequence of int, optional
        Entries outside are set to zero before scaling: the null of a probe that sees only these.

    Returns
    -------
    float64 [M, D]

    Notes
    -----
    The difference of two means over a random division of the same images is, up to a factor,
    N(0, cov): this is the null of a residual, and of a strongly regularised probe.
    """
    matrix = np.asarray(cov, dtype=np.float64)
    values, vectors = np.linalg.eigh(matrix)
    root = vectors * np.sqrt(np.clip(values, 0.0, None))
    rows = np.random.default_rng(seed).standard_normal((draws, len(matrix))) @ root.T
    return unit_rows(restrict(rows, columns))


def restrict(rows: NDArray[np.float64], columns: Sequence[int] | None) -> NDArray[np.float64]:
    """Return `rows` [n, D] with every column outside `columns` set to zero (None: unchanged)."""
    if columns is None:
        return rows
    kept = np.zeros_like(rows)
    kept[:, list(columns)] = rows[:, list(columns)]
    return kept


def permuted_residuals(X: ArrayLike, generated: ArrayLike) -> NDArray[np.float64]:
    """Residuals (Norm of mean of generated - Norm of mean of real) under shuffled labels.

    Parameters
    ----------
    X : array_like, shape [n, D]
        Embeddings of one generator's images and of its real images.
    generated : array_like of bool, shape [M, n]
        Which rows each draw takes for generated.

    Returns
    -------
    float64 [M, D], rows of length 1.

    Raises
    ------
    ValueError
        A draw takes all rows for one class.
    """
    ours, real = permuted_means(X, generated)
    return unit_rows(unit_rows(ours) - unit_rows(real))


def permuted_means(
    X: ArrayLike, generated: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the means of the rows of `X` [n, k] taken for generated and for real, each float64 [M, k].

    Raises
    ------
    ValueError
        A draw of `generated` (bool [M, n]) takes all rows for one class.
    """
    rows = np.asarray(X, dtype=np.float64)
    chosen = np.asarray(generated, dtype=np.float64)
    number = chosen.sum(axis=1, keepdims=True)
    if not ((number > 0) & (number < len(rows))).all():
        raise ValueError("a difference of classes needs images of both labels")
    return chosen @ rows / number, (1.0 - chosen) @ rows / (len(rows) - number)


def null_of(directions: ArrayLike, targets: ArrayLike, *, top: int = 10) -> Null:
    """Return the `Null` of meaningless `directions` [M, D] against `targets` [T, D].

    Parameters
    ----------
    directions : array_like, shape [M, D]
        At least two; any length.
    targets : array_like, shape [T, D]
        Embeddings of texts, or directions of edits; any length.
    top : int, default 10
        Order statistics kept at either end (at most T).
    """
    draws = unit_rows(directions, np.float32)
    goals = unit_rows(targets, np.float32)
    if len(draws) < 2:
        raise ValueError("a null needs at least two draws")
    if not len(goals):
        raise ValueError("there is no text to compare with")
    keep = min(top, len(goals))
    highest = np.empty((0, len(draws)), dtype=np.float32)
    lowest = highest
    mean, sd = np.empty(len(goals)), np.empty(len(goals))
    for start in range(0, len(goals), CHUNK):
        cosines = goals[start : start + CHUNK] @ draws.T
        stop = start + len(cosines)
        mean[start:stop] = cosines.mean(axis=1, dtype=np.float64)
        sd[start:stop] = cosines.std(axis=1, ddof=1, dtype=np.float64)
        highest = -_smallest(np.concatenate([-highest, -cosines]), keep)
        lowest = _smallest(np.concatenate([lowest, cosines]), keep)
    return Null(highest.T.astype(np.float64), lowest.T.astype(np.float64), mean, sd)


def _smallest(values: NDArray, count: int) -> NDArray:
    """Return the `count` smallest of each column, ascending."""
    if len(values) > count:
        values = np.partition(values, count - 1, axis=0)[:count]
    return np.sort(values, axis=0)


def share_at_least(draws: NDArray[np.float64], observed: ArrayLike) -> NDArray[np.float64]:
    """Return the permutation p value (1 + number of draws >= observed) / (1 + number of draws).

    Exactly valid when the observed value is exchangeable with the draws: then
    P(p <= a) <= a for every a.
    """
    ordered = np.sort(np.asarray(draws, dtype=np.float64))
    below = np.searchsorted(ordered, np.asarray(observed, dtype=np.float64), side="left")
    return np.asarray((1.0 + len(ordered) - below) / (1.0 + len(ordered)), dtype=np.float64)


@dataclass(frozen=True)
class Comparison:
    """How one ranked list of cosines (nearest or farthest) compares with a null.

    Attributes
    ----------
    z : float64 [k]
        (cosine - mean) / sd of the same target over the draws; NaN where the sd is 0.
    p : float64 [k]
        Against the draws' *largest* cosine over all targets (single-step max-T): the chance that a
        meaningless direction has any target this near. Corrected for the search over targets.
    p_rank : float64 [k]
        Against the draws' cosine of the same rank: the chance that the r-th nearest target of a
        meaningless direction is this near. Valid for each single r.
    """

    z: NDArray[np.float64]
    p: NDArray[np.float64]
    p_rank: NDArray[np.float64]


def compare(cosines: ArrayLike, targets: ArrayLike, null: Null, *, side: str) -> Comparison:
    """Hold a direction's ranked cosines against a null.

    Parameters
    ----------
    cosines : array_like, shape [k]
        Descending for `side` nearest, ascending for farthest.
    targets : array_like of int, shape [k]
        Which target each belongs to.
    null : Null
        From `null_of` with the same targets in the same order and `top` of at least k.
    side : {"nearest", "farthest"}
        Farthest is the mirror image: small cosines are the extreme ones.
    """
    values = np.asarray(cosines, dtype=np.float64)
    which = np.asarray(targets, dtype=np.int64)
    spread = null.sd[which]
    z = np.full(len(values), np.nan)
    np.divide(values - null.mean[which], spread, out=z, where=spread > 0)
    if side == "nearest":
        ranked, sign = null.highest, 1.0
    elif side == "farthest":
        ranked, sign = null.lowest, -1.0
    else:
        raise ValueError(f"side is nearest or farthest, not {side!r}")
    # Cosines come from float32 products: those within rounding count as reached.
    ranked, ours = sign * ranked, sign * values - ROUNDING
    p_rank = [float(share_at_least(ranked[:, r], ours[r])) for r in range(len(ours))]
    return Comparison(z, share_at_least(ranked[:, 0], ours), np.array(p_rank))


def above_null(
    random: Comparison, shuffled: Comparison | None, shuffled_draws: int, *, level: float = 0.05
) -> NDArray[np.bool_]:
    """Mark the targets that stand out from meaningless directions.

    A target stands out when its `p` against random directions is at most `level` and, where a
    shuffled-label null was run, its `p` there is at most `level` too. With fewer than
    1 / level - 1 shuffled draws no p value can be that small; then it must beat every draw.
    """
    marks = random.p <= level
    if shuffled is not None:
        marks &= shuffled.p <= max(level, 1.0 / (1.0 + shuffled_draws)) + 1e-12
    return marks
