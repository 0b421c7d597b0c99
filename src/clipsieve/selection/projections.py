"""Selectors of projected feature sets: all columns, less directions in which real images differ.

Directions come from the real training images of every source, or from a seed. No generated image and no
image of another split enters them (docs/method/nuisance.md).
"""

from __future__ import annotations

import logging

import numpy as np

from clipsieve.errors import UserError
from clipsieve.selection.choose import Chosen, Given
from clipsieve.selection.nuisance import Floats, nuisance_directions, random_directions

log = logging.getLogger("clipsieve")


def less_sources(given: Given) -> Chosen:
    """Choose all columns, less the differences between the sources' means."""
    return _projected(given, [_between(given)])


def less_sources_and_components(given: Given) -> Chosen:
    """Choose all columns, less the sources' differences and leading components within sources.

    With one source there are no differences, and the components alone are removed.
    """
    return _projected(given, [_with_components(given)])


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
