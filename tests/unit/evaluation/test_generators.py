"""Intervals over generators: size over populations of generators with known variances, closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from clipsieve.evaluation.generators import deletions, generator_spread, t_interval

# Standard deviations of a generator's effect as training and as test generator, their correlation,
# and the standard deviation of a cell.
MIXES = {
    "training": (1, 0, 0, 0.3),
    "test": (0, 1, 0, 0.3),
    "both": (1, 1, 0, 1),
    "alike": (1, 1, 0.7, 1),
    "opposed": (1, 1, -0.7, 1),
    "cells": (0, 0, 0, 1),
    "weak": (0.25, 0.25, 0, 1),
}


def square(n: int) -> list[tuple[int, int]]:
    return [(i, j) for i in range(n) for j in range(n) if i != j]


SHAPES = {
    "8": square(8),
    "10": square(10),
    "14": square(14),
    "two families of 6, within": [(i, j) for i, j in square(12) if (i < 6) == (j < 6)],
    "7 to 7": [(i, j + 7) for i in range(7) for j in range(7)],
    "4 to 10": [(i, j + 4) for i in range(4) for j in range(10)],
    "past to future, 10": [(i, j) for i, j in square(10) if i < j],
    "10 and 3 that are tested alone": [(i, j) for i in range(10) for j in range(13) if i != j],
}


def names(cells: list[tuple[int, int]]) -> tuple[tuple[str, str], ...]:
    return tuple((f"g{i:02d}", f"g{j:02d}") for i, j in cells)


def differences(
    cells: list[tuple[int, int]], mix: tuple[float, float, float, float], repeats: int, seed: int
) -> NDArray[np.float64]:
    """Differences of two feature sets that are equally good over all generators, [repeats, C]."""
    rng = np.random.default_rng(seed)
    as_train, as_test, correlation, cell = mix
    rows, columns = np.array(cells).T
    own = rng.normal(size=(2, repeats, max(*rows, *columns) + 1))
    tested = correlation * own[0] + np.sqrt(1 - correlation**2) * own[1]
    noise = cell * rng.normal(size=(repeats, len(cells)))
    return as_train * own[0][:, rows] + as_test * tested[:, columns] + noise


def p_values(cells: list[tuple[int, int]], values: NDArray[np.float64]) -> NDArray[np.float64]:
    maps = deletions(names(cells))
    assert maps is not None
    spread = generator_spread(maps, values)
    return t_interval(values.mean(axis=1), spread.error(), spread.freedom, 0.95)[2]


@pytest.mark.parametrize("shape", SHAPES)
def test_equally_good_over_all_generators_is_called_different_in_3_to_7_percent(shape) -> None:
    cells = SHAPES[shape]
    for k, (name, mix) in enumerate(MIXES.items()):
        size = (p_values(cells, differences(cells, mix, 4000, k)) <= 0.05).mean()
        # a standard deviation of the share is 0.35 %
        assert 0.02 < size < 0.08, (name, size)
        naive = differences(cells, mix, 4000, k)
        t = naive.mean(1) / naive.std(1, ddof=1) * np.sqrt(len(cells))
        if name in ("both", "alike") and shape != "past to future, 10":
            assert (np.abs(t) > 2).mean() > 0.15  # cells taken as independent


def test_a_true_difference_is_found_and_the_interval_holds_it() -> None:
    cells = square(10)
    values = 1.5 + differences(cells, MIXES["both"], 3000, 5)
    maps = deletions(names(cells))
    assert maps is not None
    spread = generator_spread(maps, values)
    low, high, p = t_interval(values.mean(axis=1), spread.error(), spread.freedom, 0.95)
    assert (p <= 0.05).mean() > 0.8
    assert 0.93 < ((low <= 1.5) & (high >= 1.5)).mean() < 0.97


def test_the_variance_is_that_of_the_classical_analysis_of_two_crossed_factors() -> None:
    cells = [(i, j + 5) for i in range(5) for j in range(7)]
    values = differences(cells, (1, 2, 0, 0.5), 50, 1)
    table = values.reshape(50, 5, 7)
    mean = table.mean(axis=(1, 2), keepdims=True)
    rows, columns = table.mean(axis=2, keepdims=True), table.mean(axis=1, keepdims=True)
    of_rows = 7 * ((rows - mean) ** 2).sum((1, 2)) / 4
    of_columns = 5 * ((columns - mean) ** 2).sum((1, 2)) / 6
    noise = ((table - rows - columns + mean) ** 2).sum((1, 2)) / 24
    maps = deletions(names(cells))
    assert maps is not None
    found = generator_spread(maps, values)
    np.testing.assert_allclose(found.variance, (of_rows + of_columns - noise) / 35)
    freedom = (of_rows + of_columns) ** 2 / (of_rows**2 / 4 + of_columns**2 / 6)
    np.testing.assert_allclose(found.freedom, freedom)


def test_the_jackknife_is_the_plain_loop_that_leaves_out_one_generator() -> None:
    cells = square(6)
    values = differences(cells, MIXES["both"], 1, 3)[0]
    maps = deletions(names(cells))
    assert maps is not None
    without = [
        np.mean([v for v, cell in zip(values, cells, strict=True) if k not in cell])
        for k in range(6)
    ]
    expected = 5 / 6 * np.square(np.array(without) - np.mean(without)).sum()
    assert np.square(maps.of_role[0] @ values).sum() == pytest.approx(expected)
    # rows, columns and generators alike leave no residue; a lone pair of cells does
    additive = np.array([i**2 - 3 * j for i, j in cells], dtype=float)
    np.testing.assert_allclose(maps.residual @ additive, 0, atol=1e-9)
    assert maps.residual_freedom == 15 - 6


@pytest.mark.parametrize("effect", [0.0, 1.0])
def test_photographs_that_all_cells_share_are_in_the_interval(effect: float) -> None:
    """Noise of shared photographs moves all cells alike, so cells alone can't show it."""
    cells, repeats = square(8), 1500
    rng = np.random.default_rng(0)
    columns = np.array(cells)[:, 1]
    maps = deletions(names(cells))
    assert maps is not None

    def photographs(n: int) -> NDArray[np.float64]:
        shared, of_test = rng.normal(size=(n, 1)), rng.normal(size=(n, 8))
        return shared + of_test[:, columns] + 0.5 * rng.normal(size=(n, len(cells)))

    true = effect * differences(cells, MIXES["both"], repeats, 2)
    measured = true + photographs(repeats)
    drawn = photographs(2000)
    total = np.full(repeats, drawn.mean(axis=1).var())
    replicates = np.broadcast_to(drawn[:200].T, (repeats, len(cells), 200))
    spread = generator_spread(maps, measured, replicates, total)
    p = t_interval(measured.mean(1), spread.error(), spread.freedom, 0.95)[2]
    assert 0.02 < (p <= 0.05).mean() < 0.07
    blind = generator_spread(maps, measured)
    p = t_interval(measured.mean(1), blind.error(), blind.freedom, 0.95)[2]
    assert (p <= 0.05).mean() > 0.1


def test_too_few_generators_say_nothing() -> None:
    assert deletions(names(square(3))) is None
    assert deletions(names([(i, j + 3) for i in range(3) for j in range(9)])) is None
    assert deletions((("a", "b"),)) is None
    assert deletions(names(square(4))) is not None
