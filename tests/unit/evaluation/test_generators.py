"""Intervals over generators: size over populations of generators with known variances, closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from bench import generators as study
from clipsieve.evaluation.generators import deletions, generator_spread, t_interval

SHAPES = (
    *("8 generators", "10 generators", "14 generators", "two families of 6, within", "7 to 7"),
    *("4 to 10", "past to future, 10", "10, and 3 that are tested alone"),
)


@pytest.mark.parametrize("shape", SHAPES)
def test_equally_good_over_all_generators_is_called_different_in_3_to_7_percent(shape: str) -> None:
    cells = study.SHAPES[shape]
    for k, (name, mix) in enumerate(study.MIXES.items()):
        drawn = study.differences(cells, mix, 4000, k)
        # between 3 and 7 %; three standard deviations of the share are 1 %
        assert 0.02 < (study.p_values(cells, drawn) <= 0.05).mean() < 0.08, name
        if name == "both":
            assert (study.naive_p(drawn) <= 0.05).mean() > 0.15


def test_a_true_difference_is_found_and_the_interval_holds_it() -> None:
    cells = study.square(10)
    values = 1.5 + study.differences(cells, study.MIXES["both"], 3000, 5)
    maps = deletions(study.names(cells))
    assert maps is not None
    spread = generator_spread(maps, values)
    low, high, p = t_interval(values.mean(axis=1), spread.error(), spread.freedom, 0.95)
    assert (p <= 0.05).mean() > 0.8
    assert 0.93 < ((low <= 1.5) & (high >= 1.5)).mean() < 0.97


def test_the_variance_is_that_of_the_classical_analysis_of_two_crossed_factors() -> None:
    cells = [(i, j + 5) for i in range(5) for j in range(7)]
    values = study.differences(cells, (1, 2, 0, 0.5), 50, 1)
    table = values.reshape(50, 5, 7)
    mean = table.mean(axis=(1, 2), keepdims=True)
    rows, columns = table.mean(axis=2, keepdims=True), table.mean(axis=1, keepdims=True)
    of_rows = 7 * ((rows - mean) ** 2).sum((1, 2)) / 4
    of_columns = 5 * ((columns - mean) ** 2).sum((1, 2)) / 6
    noise = ((table - rows - columns + mean) ** 2).sum((1, 2)) / 24
    maps = deletions(study.names(cells))
    assert maps is not None
    found = generator_spread(maps, values)
    np.testing.assert_allclose(found.variance, (of_rows + of_columns - noise) / 35)
    freedom = (of_rows + of_columns) ** 2 / (of_rows**2 / 4 + of_columns**2 / 6)
    np.testing.assert_allclose(found.freedom, freedom)


def test_the_jackknife_is_the_plain_loop_that_leaves_out_one_generator() -> None:
    cells = study.square(6)
    values = study.differences(cells, study.MIXES["both"], 1, 3)[0]
    maps = deletions(study.names(cells))
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
    cells, repeats = study.square(8), 1500
    rng = np.random.default_rng(0)
    columns = np.array(cells)[:, 1]
    maps = deletions(study.names(cells))
    assert maps is not None

    def photographs(n: int) -> NDArray[np.float64]:
        shared, of_test = rng.normal(size=(n, 1)), rng.normal(size=(n, 8))
        return shared + of_test[:, columns] + 0.5 * rng.normal(size=(n, len(cells)))

    true = effect * study.differences(cells, study.MIXES["both"], repeats, 2)
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
    assert deletions(study.names(study.square(3))) is None
    assert deletions(study.names([(i, j + 3) for i in range(3) for j in range(9)])) is None
    assert deletions((("a", "b"),)) is None
    assert deletions(study.names(study.square(4))) is not None
