"""Means over cells of the transfer matrix: all, by families, sources and time, with replicates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clipsieve.errors import UserError
from clipsieve.evaluation.bootstrap import centred
from clipsieve.evaluation.matrix import Layout, Matrix
from clipsieve.evaluation.metrics import METRICS

# The one group of cells that holds the diagonal: it says nothing of generators not trained on.
WITH_DIAGONAL = "all_with_diagonal"
# Cells of a set selected on an ordered pair, without those trained on the pair's first generator:
# its rows were seen when the set was selected, though it stays in the evaluation.
CLEAN = "clean"
# Replicates of single cells that are kept: what they are averaged for needs no more.
_KEPT = 200


def cell_groups(
    train: list[str],
    test: list[str],
    families: Mapping[str, str],
    *,
    sources: Mapping[str, str] | None = None,
    released: Mapping[str, str] | None = None,
    ranked_on: str | None = None,
) -> dict[str, NDArray[np.bool_]]:
    """Name the groups of cells that are averaged.

    Parameters
    ----------
    train, test
        Generators of the rows [P] and columns [J].
    families
        Family of each generator.
    sources
        Source of each generator, for the groups by source.
    released
        Release date of generators, ``2022-08-22`` or ``2022-08``, for the group by time.
    ranked_on
        A generator whose rows the feature set was selected on and that is still in the evaluation.

    Returns
    -------
    dict
        Masks [P, J]; groups without a cell are left out. ``all``: every cell off the diagonal;
        ``within_<family>`` and ``<family>_to_<family>``; ``same_source`` and ``other_source``, where
        there are several sources: generators that share real photographs, and those that do not;
        ``past_to_future``: trained on a generator released before the one tested;
        ``all_with_diagonal``: every cell; ``clean``: off the diagonal, and not trained on `ranked_on`.

    Raises
    ------
    UserError
        When a generator has no family.
    """
    missing = sorted({*train, *test} - set(families))
    if missing:
        raise UserError(f"evaluation: no family is given for generator {missing[0]}")
    rows, columns = np.array(train), np.array(test)
    off_diagonal = rows[:, None] != columns[None, :]
    row_family = np.array([families[name] for name in train])
    column_family = np.array([families[name] for name in test])
    kinds = sorted({families[name] for name in (*train, *test)})
    pairs = [(f, f) for f in kinds] + [(f, g) for f in kinds for g in kinds if f != g]
    groups = {"all": off_diagonal}
    for f, g in pairs:
        name = f"within_{f}" if f == g else f"{f}_to_{g}"
        groups[name] = off_diagonal & np.outer(row_family == f, column_family == g)
    if sources is not None and len({sources[name] for name in (*train, *test)}) > 1:
        same = _compared(train, test, lambda i, j: sources[i] == sources[j])
        groups |= {"same_source": off_diagonal & same, "other_source": off_diagonal & ~same}
    if released:
        groups["past_to_future"] = _compared(
            train, test, lambda i, j: _before(released.get(i, ""), released.get(j, ""))
        )
    if not off_diagonal.all():
        groups[WITH_DIAGONAL] = np.ones_like(off_diagonal)
    if ranked_on in train:
        groups[CLEAN] = off_diagonal & (rows != ranked_on)[:, None]
    if not off_diagonal.any():
        return {}
    return {name: mask for name, mask in groups.items() if mask.any()}


def _compared(
    train: list[str], test: list[str], holds: Callable[[str, str], bool]
) -> NDArray[np.bool_]:
    return np.array([[holds(i, j) for j in test] for i in train], dtype=bool)


def _before(first: str, second: str) -> bool:
    """Whether a date is before another, by what both of them say (year, month, day)."""
    known = min(len(first), len(second))
    return first[:known] < second[:known]


@dataclass
class Means:
    """Means of one feature set over groups of cells.

    Attributes
    ----------
    names
        Groups of cells [K].
    cells
        Which (train, test) cells each group has.
    values
        float64 [M, K].
    replicates
        float32 [M, K, B], or None for controls drawn many times.
    influence
        Of each of the run's groups, centred in its stratum, float64 [M, K, G], or None; NaN for
        metrics that have none.
    groups
        Which of the run's groups have images in the cells, by group of cells.
    class_groups
        How many of them have real images (``real``), how many generated ones (``generated``), how
        many any (``both``), and how many real ones of the source with fewest
        (``real_of_a_source``), by group of cells.
    n
        Test images in the cells, [K].
    tested
        Generators that the cells are tested on [T], by group of cells.
    by_test
        Mean over the cells of each of them, float64 [M, T], by group of cells.
    matrix
        The cells themselves, with their first 200 replicates (None without any).
    """

    names: list[str]
    cells: list[frozenset[tuple[str, str]]]
    values: NDArray[np.float64]
    replicates: NDArray[np.float32] | None
    influence: NDArray[np.floating] | None
    groups: list[NDArray[np.int64]]
    class_groups: list[dict[str, int]]
    n: list[int]
    tested: list[list[str]]
    by_test: list[NDArray[np.float64]]
    matrix: Matrix

    def cell_values(
        self, k: int
    ) -> tuple[tuple[tuple[str, str], ...], NDArray[np.float64], NDArray[np.float32] | None]:
        """Cells of group k in the order of their names, their values [M, C], replicates [M, C, B]."""
        cells = tuple(sorted(self.cells[k]))
        rows = [self.matrix.train.index(train) for train, _ in cells]
        columns = [self.matrix.test.index(test) for _, test in cells]
        drawn = self.matrix.replicates
        return (
            cells,
            self.matrix.values[:, rows, columns],
            None if drawn is None else drawn[:, rows, columns],
        )


def mean_over_cells(
    matrix: Matrix, masks: Mapping[str, NDArray[np.bool_]], layout: Layout
) -> Means:
    """Average a matrix over groups of cells.

    Parameters
    ----------
    matrix
        Metrics of every cell.
    masks
        Groups of cells: name -> mask [P, J].
    layout
        Of the test images.

    Raises
    ------
    UserError
        No cell is left to average.
    """
    if not masks:
        raise UserError(
            f"evaluation: {matrix.feature_set}: no cell off the diagonal is left; two generators are needed"
        )
    names = list(masks)
    shape = matrix.values.shape[1:]
    average = np.stack([masks[name] / masks[name].sum() for name in names])  # [K, P, J]
    values = np.einsum("kpj,mpj->mk", average, matrix.values)
    replicates = influence = None
    if matrix.replicates is not None:
        flat = matrix.replicates.reshape(len(METRICS), shape[0] * shape[1], -1)
        replicates = np.matmul(average.reshape(len(names), -1).astype(np.float32), flat)
        total = np.zeros((len(METRICS), len(names), layout.n_groups))
        for groups, own, part in matrix.influence:
            total[:, :, groups] += np.einsum("kpj,mpjg->mkg", average[:, :, own], part)
        influence = centred(total, layout.strata)
    kept = None if matrix.replicates is None else matrix.replicates[..., :_KEPT].copy()
    cells = Matrix(
        matrix.feature_set, matrix.draw, matrix.train, matrix.test, matrix.values, kept, [],
        matrix.training,
    )  # fmt: skip
    result = Means(names, [], values, replicates, influence, [], [], [], [], [], cells)
    for mask in masks.values():
        rows, columns = np.nonzero(mask)
        result.cells.append(
            frozenset((matrix.train[i], matrix.test[j]) for i, j in zip(rows, columns, strict=True))
        )
        at = np.flatnonzero(mask.any(axis=0))
        tested = [matrix.test[j] for j in at]
        sources = sorted({layout.source[name] for name in tested})
        result.groups.append(layout.groups_of(*tested, *sources))
        result.class_groups.append(
            {
                "real": len(layout.groups_of(*sources)),
                "generated": len(layout.groups_of(*tested)),
                "both": len(result.groups[-1]),
                "real_of_a_source": min(len(layout.groups_of(name)) for name in sources),
            }
        )
        result.n.append(sum(len(layout.columns[name]) for name in (*tested, *sources)))
        result.tested.append(tested)
        result.by_test.append((matrix.values * mask).sum(axis=1)[:, at] / mask.sum(axis=0)[at])
    return result


def restricted(matrix: Matrix, train: list[str], test: list[str]) -> Matrix | None:
    """Return the matrix with only these rows and columns, or None if it lacks one of them."""
    if not (set(train) <= set(matrix.train) and set(test) <= set(matrix.test)):
        return None
    rows = [matrix.train.index(name) for name in train]
    columns = [matrix.test.index(name) for name in test]
    at = np.ix_(rows, columns)
    influence = []
    for groups, own, part in matrix.influence:
        here = [(new, own.index(old)) for new, old in enumerate(columns) if old in own]
        if here:
            chosen = part[:, rows][:, :, [old for _, old in here]]
            influence.append((groups, [new for new, _ in here], chosen))
    replicates = None if matrix.replicates is None else matrix.replicates[:, at[0], at[1]]
    return Matrix(
        matrix.feature_set,
        matrix.draw,
        train,
        test,
        matrix.values[:, at[0], at[1]],
        replicates,
        influence,
        matrix.training,
    )
