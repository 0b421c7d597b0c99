"""Is the interval over generators as wide as it should be, and what does it find?

Simulates differences of two feature sets cell by cell: an effect of the training generator, one of
the test generator, a correlation between a generator's two effects, and noise of each cell, in
several mixes; counts how often sets that are equally good over all generators are called different
at 5 %, and how often a true difference is found. Run `python -m bench.generators --help`; the
results stand in docs/method/statistics.md.
"""

from __future__ import annotations

import argparse

import numpy as np
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
    """Every cell off the diagonal."""
    return [(i, j) for i in range(n) for j in range(n) if i != j]


SHAPES = {
    "4 generators": square(4),
    "6 generators": square(6),
    "8 generators": square(8),
    "10 generators": square(10),
    "14 generators": square(14),
    "two families of 6, within": [(i, j) for i, j in square(12) if (i < 6) == (j < 6)],
    "7 to 7": [(i, j + 7) for i in range(7) for j in range(7)],
    "4 to 10": [(i, j + 4) for i in range(4) for j in range(10)],
    "past to future, 10": [(i, j) for i, j in square(10) if i < j],
    "10, and 3 that are tested alone": [(i, j) for i in range(10) for j in range(13) if i != j],
}


def names(cells: list[tuple[int, int]]) -> tuple[tuple[str, str], ...]:
    """Cells by the names of their generators."""
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
    """P values over generators of mean differences."""
    maps = deletions(names(cells))
    if maps is None:
        raise ValueError("too few generators")
    spread = generator_spread(maps, values)
    return t_interval(values.mean(axis=1), spread.error(), spread.freedom, 0.95)[2]


def naive_p(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """P values of a t test that takes cells as independent."""
    from scipy.stats import ttest_1samp

    result: NDArray[np.float64] = ttest_1samp(values, 0, axis=1).pvalue
    return result


def main() -> None:
    """Print a table of sizes and one of powers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=10_000)
    repeats = parser.parse_args().repeats
    print("size |", " | ".join(MIXES), "| both, cells taken as independent")
    for shape, cells in SHAPES.items():
        drawn = [differences(cells, mix, repeats, k) for k, mix in enumerate(MIXES.values())]
        size = [float((p_values(cells, one) <= 0.05).mean()) for one in drawn]
        size.append(float((naive_p(drawn[2]) <= 0.05).mean()))
        print(f"| {shape} |", " | ".join(f"{100 * x:.1f}" for x in size), "|")
    # the difference that a z test which knew all variances would find in 80 % of cases
    print("power |", " | ".join(MIXES))
    for shape in ("8 generators", "10 generators", "14 generators"):
        cells = SHAPES[shape]
        found = []
        for k, mix in enumerate(MIXES.values()):
            drawn = differences(cells, mix, repeats, k)
            there = drawn + 2.8 * drawn.mean(axis=1).std()
            found.append(float((p_values(cells, there) <= 0.05).mean()))
        print(f"| {shape} |", " | ".join(f"{100 * x:.0f}" for x in found), "|")


if __name__ == "__main__":
    main()
