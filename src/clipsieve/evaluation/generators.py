"""What other generators would have given: intervals over generators, not over photographs.

A generator is a row of the transfer matrix (its probe) and a column (its images). Drawn anew, both
change, so the cells of one generator belong together in both of its roles. The variance of a mean
over cells comes of leaving out one generator at a time, as row and as column, less what the cells'
own noise adds twice; the noise of photographs that all cells share, which no comparison of cells
can show, is added from the bootstrap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
Cell = tuple[str, str]

# Fewer generators in a role than this say nothing of their spread.
FEWEST = 4
# The correction for the cells' noise leaves at least this share of the jackknife's variance; pure
# noise would leave (n - 2) / (2 n - 2) of it. Chosen by simulation (docs/method/statistics.md).
_LEFT = 0.55


@dataclass(frozen=True)
class Deletions:
    """What leaving out generators does to a mean over cells, as linear maps of the cells' values.

    Attributes
    ----------
    of_role
        For each role (in both rows and columns, only rows, only columns): float64 [n, C], the
        mean without each generator less the average of those means, times the root of
        ``(n - 1) / n``. The squares of its product with the cells' values add up to the jackknife's
        variance.
    residual
        float64 [R, C]; the mean square of its product with the cells' values, over
        `residual_freedom`, is the variance of what rows and columns do not explain.
    residual_freedom
        Its degrees of freedom.
    twice
        How many times that variance the jackknife has too much.
    roles
        Generators of each role, in the order of `of_role`.
    """

    of_role: tuple[Array, ...]
    residual: Array
    residual_freedom: int
    twice: float
    roles: tuple[tuple[str, ...], ...]

    def of_means(self, names: Sequence[str], without: Array, average: Array) -> Deletions:
        """Maps for a mean over other values that are made of these cells.

        Parameters
        ----------
        names
            Every generator.
        without
            The mean without each of them, as a map of the values [len(names), V].
        average
            Each cell as an average of the values [C, V].
        """
        at = {name: k for k, name in enumerate(names)}
        own = tuple(_centred(without[[at[name] for name in role]]) for role in self.roles)
        return replace(self, of_role=own, residual=self.residual @ average)

    @property
    def freedom(self) -> NDArray[np.int64]:
        """Degrees of freedom of each role."""
        return np.array([len(one) - 1 for one in self.of_role], dtype=np.int64)


@lru_cache(maxsize=256)
def deletions(cells: tuple[Cell, ...]) -> Deletions | None:
    """Work out the maps for a mean over cells.

    Parameters
    ----------
    cells
        (train, test) of each cell, each once.

    Returns
    -------
    Deletions or None
        None where a role has fewer than `FEWEST` generators, or too few cells are left to tell
        their noise by.
    """
    roles = _roles(cells)
    if roles is None:
        return None
    n_cells = len(cells)
    of_role = []
    for names in roles:
        kept = np.array([[name not in cell for cell in cells] for name in names], dtype=float)
        if not kept.any(axis=1).all():
            return None
        of_role.append(_centred(kept / kept.sum(axis=1, keepdims=True)))
    residual, freedom = _residual(cells)
    if freedom < 1:
        return None
    twice = sum(float(np.square(one).sum()) for one in of_role) - 1 / n_cells
    return Deletions(tuple(of_role), residual, freedom, twice, tuple(map(tuple, roles)))


@lru_cache(maxsize=256)
def deletions_of_tested(cells: tuple[Cell, ...]) -> Deletions | None:
    """Work out the maps for a mean over cells whose rows are trained on several generators.

    Only the tested generator of a cell is drawn anew: the probes of two rows share nearly all of
    what they are trained on, so their rows are no sample of training sets. The variance is that of
    the jackknife over tested generators; every cell of a generator leaves with it.

    Parameters
    ----------
    cells
        (training set, test) of each cell, each once.

    Returns
    -------
    Deletions or None
        None where fewer than `FEWEST` generators are tested.
    """
    tested = sorted({test for _, test in cells})
    if len(tested) < FEWEST:
        return None
    kept = np.array([[test != name for _, test in cells] for name in tested], dtype=float)
    of_role = (_centred(kept / kept.sum(axis=1, keepdims=True)),)
    # nothing is taken off for the cells' own noise: generators are drawn with theirs, counted once
    return Deletions(of_role, np.zeros((1, len(cells))), 1, 0.0, (tuple(tested),))


def _centred(without: Array) -> Array:
    """Means without each generator, as maps, less their average and scaled for the jackknife."""
    n = len(without)
    result: Array = np.sqrt((n - 1) / n) * (without - without.mean(axis=0))
    return result


def _roles(cells: Sequence[Cell]) -> list[list[str]] | None:
    """Generators in rows and columns, only in rows, only in columns; None where they are too few.

    A few that are only in rows or only in columns count with those in both.
    """
    train, test = {cell[0] for cell in cells}, {cell[1] for cell in cells}
    both, rows, columns = sorted(train & test), sorted(train - test), sorted(test - train)
    if len(both) >= FEWEST:
        for few in (rows, columns):
            if len(few) < FEWEST:
                both = sorted([*both, *few])
                few.clear()
    roles = [names for names in (both, rows, columns) if names]
    return roles if all(len(names) >= FEWEST for names in roles) else None


def _residual(cells: Sequence[Cell]) -> tuple[Array, int]:
    """Map to what rows and columns do not explain, and its degrees of freedom.

    Of two generators that are tested on each other only the mean of both cells enters: the jackknife
    and the mean see no more of them. The diagonal has no noise of its own to tell.
    """
    at = {cell: k for k, cell in enumerate(cells)}
    effects: dict[tuple[str, str], int] = {}
    rows: list[tuple[list[int], list[int], float]] = []

    def effect(role: str, name: str) -> int:
        return effects.setdefault((role, name), len(effects))

    for (train, test), k in at.items():
        back = at.get((test, train))
        if back is None:
            rows.append(([k], [effect("train", train), effect("test", test)], 1.0))
        elif train < test:
            rows.append(([k, back], [effect("both", train), effect("both", test)], 2.0))
    averages, model = np.zeros((len(rows), len(cells))), np.zeros((len(rows), len(effects)))
    for k, (own, of, weight) in enumerate(rows):
        averages[k, own] = np.sqrt(weight) / len(own)
        model[k, of] = np.sqrt(weight)
    if not rows:
        return averages, 0
    left, sizes, _ = np.linalg.svd(model, full_matrices=False)
    left = left[:, sizes > 1e-9 * sizes[0]]
    return averages - left @ (left.T @ averages), len(rows) - left.shape[1]


@dataclass(frozen=True)
class Spread:
    """Variance of a mean over new generators (and new photographs), and its degrees of freedom.

    Attributes
    ----------
    variance, freedom
        float64 [M].
    """

    variance: Array
    freedom: Array

    def error(self) -> Array:
        """Standard error [M]."""
        return np.sqrt(self.variance)


def generator_spread(
    maps: Deletions,
    values: Array,
    replicates: NDArray[np.floating] | None = None,
    photographs: Array | None = None,
    *,
    between: Array | None = None,
    between_freedom: int = 0,
) -> Spread:
    """Estimate the variance of means over cells if generators and photographs were drawn anew.

    Parameters
    ----------
    maps
        Of the cells.
    values
        The cells' values, or differences, shape [M, C].
    replicates
        Bootstrap replicates of them over photographs, shape [M, C, B]; a hundred or two are enough.
    photographs
        Variance of the means over photographs, shape [M]. With `replicates`, what of it no
        comparison of cells can show (photographs that all cells share) is added.
    between, between_freedom
        A further independent variance [M] and its degrees of freedom: of a mean over search pairs,
        the variance between pairs.

    Notes
    -----
    With d_ij = mean + row_i + column_j + noise_ij the jackknife that leaves out generator k as row
    and as column estimates the variance that rows and columns cause without bias, whatever the
    correlation between a generator's row and column, and about twice what the noise causes. The
    noise's variance, from what rows and columns leave unexplained, is taken off again; for two
    separate sets of generators this is the classical analysis of variance of two crossed random
    factors. Degrees of freedom after Satterthwaite over the roles.
    """
    parts = [np.square(values @ one.T).sum(axis=-1) for one in maps.of_role]
    total = np.sum(parts, axis=0)
    noise = np.square(values @ maps.residual.T).sum(axis=-1) / maps.residual_freedom
    variance = np.maximum(total - maps.twice * noise, _LEFT * total)
    shares = sum(part**2 / freedom for part, freedom in zip(parts, maps.freedom, strict=True))
    # of the jackknife only: what is subtracted is known better, and moves with it
    with np.errstate(invalid="ignore", divide="ignore"):
        freedom = np.where(total > 0, total**2 / shares, maps.freedom.sum())
    uncertain = variance**2 / np.maximum(freedom, 1)
    if replicates is not None and photographs is not None:
        shown = _shown(maps, replicates)
        variance = np.maximum(variance + np.maximum(photographs - shown, 0), photographs)
    if between is not None:
        variance = variance + between
        uncertain = uncertain + between**2 / max(between_freedom, 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        freedom = np.where(uncertain > 0, variance**2 / uncertain, 1e9)
    return Spread(variance, np.clip(freedom, 1, 1e9))


def _shown(maps: Deletions, replicates: NDArray[np.floating]) -> Array:
    """Variance [M] by photographs that the comparison of cells shows already, on average."""
    noise = replicates - replicates.mean(axis=-1, keepdims=True)
    stacked = np.concatenate(maps.of_role).astype(noise.dtype)
    n = replicates.shape[-1]
    total = np.square(np.matmul(stacked, noise)).sum(axis=(-1, -2), dtype=np.float64)
    left = np.square(np.matmul(maps.residual.astype(noise.dtype), noise))
    left = left.sum(axis=(-1, -2), dtype=np.float64) / maps.residual_freedom
    result: Array = (total - maps.twice * left) / (n - 1)
    return np.maximum(result, 0)


def t_interval(
    value: Array, error: Array, freedom: Array, confidence: float | Array
) -> tuple[Array, Array, Array]:
    """Interval and two-sided p value (of 0) by Student's t: low, high, p, each of `value`'s shape."""
    from scipy.special import stdtr, stdtrit

    reach = stdtrit(freedom, (1 + confidence) / 2) * error
    with np.errstate(invalid="ignore", divide="ignore"):
        p = 2 * stdtr(freedom, -np.abs(value) / error)
    p = np.where((error == 0) & (value == 0), 1.0, p)
    return value - reach, value + reach, p
