"""Selectors of projected feature sets: all columns, less directions in which real images differ.

Directions come from the real training images of the sources, or from a seed. No generated image and no
image of another split enters them; how many are removed may be chosen by transfer between generators
that are not tested (docs/method/nuisance.md).
"""

from __future__ import annotations

import logging

import numpy as np

from clipsieve.errors import UserError
from clipsieve.selection.blocks import Choice, Scored, best_of, few_of_each
from clipsieve.selection.choose import Chosen, Everyone, Given
from clipsieve.selection.nuisance import (
    Floats,
    nuisance_directions,
    project_out,
    random_directions,
)

log = logging.getLogger("clipsieve")

#: Numbers of components that are tried.
COMPONENTS = (0, 1, 2, 4, 8, 16, 32)


def less_sources(given: Given) -> Chosen:
    """Choose all columns, less the differences between the sources' means."""
    return _projected(given, [_between(given)])


def less_sources_and_components(given: Given) -> Chosen:
    """Choose all columns, less the sources' differences and leading components within sources.

    With one source there are no differences, and the components alone are removed.
    """
    return _projected(given, [_with_components(given)])


def less_other_sources(given: Given) -> Chosen:
    """Choose all columns, less the differences between sources other than the tested generator's own.

    The strict form: no real image of the source that a generator is tested with has a part in the
    projection. For detectors, all sources have.
    """
    rows = _everyone(given)
    real = rows.train & (rows.y == 1)
    sources = np.unique(rows.domain[real]).tolist()
    if len(sources) < 3:
        raise UserError(
            f"select: real images of {len(sources)} sources; the strict form leaves one of them out,"
            " and the differences between the others need two"
        )
    of_others = {
        source: _removed(nuisance_directions(rows.X[mine], rows.domain[mine]), source)
        for source in sources
        if (mine := real & (rows.domain != source)).any()
    }
    whole = _removed(nuisance_directions(rows.X[real], rows.domain[real]), None)
    nested = {name: of_others[source] for name, source in sorted(rows.source_of.items())}
    return Chosen(whole.subsets, whole.facts, whole.directions, nested=nested)


def less_chosen_components(given: Given) -> Chosen:
    """Choose all columns, less the sources' differences and as many components as transfer best.

    How many is chosen for each tested generator by transfer between the others.
    """
    rows = _everyone(given)
    numbers, choice = _chosen_components(rows)
    bases = _bases(rows, numbers)
    made = [_removed(basis, None) for basis in bases]
    whole = made[choice.chosen]
    facts = {
        "directions": len(bases[choice.chosen]),
        "number": numbers[choice.chosen],
        "number_for": {name: numbers[k] for name, k in choice.nested.items()},
        "tried": {str(k): float(s) for k, s in zip(numbers, choice.scores[""], strict=True)},
    }
    nested = {name: made[k] for name, k in choice.nested.items()}
    return Chosen(whole.subsets, facts, whole.directions, nested=nested)


def less_random_chosen(given: Given) -> Chosen:
    """Choose as many random directions as `less_chosen_components` removes, once for each draw."""
    rows = _everyone(given)
    numbers, choice = _chosen_components(rows)
    k = len(_bases(rows, numbers)[choice.chosen])
    seeds = np.random.default_rng(given.seed).integers(2**31, size=given.draws).tolist()
    real = rows.X[rows.train & (rows.y == 1)]
    drawn = [
        random_directions(real.shape[1], k, seed=seed, like=real if turn % 2 else None)
        for turn, seed in enumerate(seeds)
    ]
    return Chosen([None] * len(drawn), {"directions": k}, drawn)


def _everyone(given: Given) -> Everyone:
    if given.everyone is None:
        raise UserError("select: a choice by transfer needs the rows of every generator")
    return given.everyone


def _removed(directions: Floats, left_out: str | None) -> Chosen:
    facts = {"directions": len(directions), "left_out": left_out}
    return Chosen([None], facts, [directions])


def _bases(rows: Everyone, numbers: list[int]) -> list[Floats]:
    """Return the directions for each number of components: each is the beginning of the next."""
    real = rows.train & (rows.y == 1)
    X, source = rows.X[real], rows.domain[real]
    between = len(nuisance_directions(X, source)) if len(np.unique(source)) > 1 else 0
    whole = nuisance_directions(X, source, components=max(numbers))
    return [whole[: between + number] for number in numbers]


def _chosen_components(rows: Everyone) -> tuple[list[int], Choice]:
    real = rows.train & (rows.y == 1)
    # as many components as half of the real images: beyond, they are noise of these images
    most = min(rows.X.shape[1], int(real.sum())) // 2
    numbers = [number for number in COMPONENTS if number <= most]
    few = few_of_each(rows.domain)
    scored = Scored.of(
        rows.y[few], rows.domain[few], source_of=rows.source_of, group=rows.group[few]
    )
    X = rows.X[few]
    candidates = [scored.transfer(project_out(X, basis)) for basis in _bases(rows, numbers)]
    return numbers, best_of(candidates)


def less_random_directions(given: Given) -> Chosen:
    """Choose as many random directions as `less_sources` removes, once for each draw."""
    return _random(given, len(_between(given)))


def less_random_components(given: Given) -> Chosen:
    """Choose as many random directions as `less_sources_and_components` removes, for each draw."""
    return _random(given, len(_with_components(given)))


def _between(given: Given) -> Floats:
    sources = np.unique(given.source)
    if len(sources) < 2:
        raise UserError(
            f"select: real images of {len(sources)} source; the differences between sources need two"
        )
    return nuisance_directions(given.X, given.source)


def _with_components(given: Given) -> Floats:
    if len(np.unique(given.source)) < 2:
        log.info("select: one source, so that components alone are removed")
    return nuisance_directions(given.X, given.source, components=given.components)


def _random(given: Given, k: int) -> Chosen:
    """Draw k directions by turns: uniformly, and with the covariance of the real images."""
    rng = np.random.default_rng(given.seed)
    seeds = rng.integers(2**31, size=given.draws).tolist()
    return _projected(
        given,
        [
            random_directions(given.X.shape[1], k, seed=seed, like=given.X if turn % 2 else None)
            for turn, seed in enumerate(seeds)
        ],
    )


def _projected(given: Given, directions: list[Floats]) -> Chosen:
    facts = {
        "directions": len(directions[0]),
        "sources": np.unique(given.source).tolist(),
        "images": len(given.X),
    }
    return Chosen([None] * len(directions), facts, directions)
