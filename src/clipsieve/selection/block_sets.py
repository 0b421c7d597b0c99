"""Selectors of feature sets made of whole blocks of heads, instead of the embedding or beside it.

A single block is chosen by transfer between generators, for each tested generator without it
(docs/method/blocks.md); the middle blocks are fixed beforehand. Controls are random blocks, and as many
columns of the embedding once more.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from clipsieve.errors import UserError
from clipsieve.selection.blocks import Scored, choose_block, few_of_each, scale_of
from clipsieve.selection.choose import Chosen, Everyone, Given
from clipsieve.selection.filters import random_head_sets
from clipsieve.selection.nuisance import nuisance_directions, random_directions

Floats = NDArray[np.float64]


def block(given: Given) -> Chosen:
    """Choose the block that transfers best, instead of the embedding."""
    return _chosen(given, beside=False, project=False)


def block_less_sources(given: Given) -> Chosen:
    """Choose the block that transfers best less the sources' differences, instead of the embedding."""
    return _chosen(given, beside=False, project=True)


def block_beside(given: Given) -> Chosen:
    """Choose the block that transfers best beside the embedding."""
    return _chosen(given, beside=True, project=False)


def block_beside_less_sources(given: Given) -> Chosen:
    """Choose the block that transfers best beside the embedding, less the sources' differences."""
    return _chosen(given, beside=True, project=True)


def middle_beside(given: Given) -> Chosen:
    """Choose the middle third of the blocks, beside the embedding; no image decides."""
    rows = _everyone(given)
    return _of_layers(rows, middle(rows.layers), beside=True, project=False)


def middle_beside_less_sources(given: Given) -> Chosen:
    """Choose the middle third of the blocks beside the embedding, less the sources' differences."""
    rows = _everyone(given)
    return _of_layers(rows, middle(rows.layers), beside=True, project=True)


def random_block(given: Given) -> Chosen:
    """Draw a block, instead of the embedding, once for each draw."""
    return _random_blocks(given, beside=False)


def random_block_beside(given: Given) -> Chosen:
    """Draw a block beside the embedding, once for each draw."""
    return _random_blocks(given, beside=True)


def scattered_heads(given: Given) -> Chosen:
    """Draw as many heads as a block has, out of all blocks, instead of the embedding."""
    rows = _everyone(given)
    seed, k = given.seed, rows.heads
    sets = random_head_sets(rows.layers, rows.heads, k, given.draws, seed=seed)
    real = _real_train(rows)
    squares = np.zeros((rows.layers, rows.heads))
    for layer in range(rows.layers):
        outputs = rows.block(layer)[real].reshape(int(real.sum()), rows.heads, -1)
        squares[layer] = (outputs**2).sum(axis=2).mean(axis=0)
    length = float((rows.X[real] ** 2).sum(axis=1).mean())
    scales = [float(np.sqrt(length / squares[tuple(one.T)].sum())) for one in sets]
    return Chosen(list(sets), {"heads": k}, scales=scales)


def columns_beside_block(given: Given) -> Chosen:
    """Draw as many columns of the embedding as a block has numbers, to stand beside it once more."""
    rows = _everyone(given)
    return _columns_beside(given, rows.block(0).shape[1], project=False)


def columns_beside_middle(given: Given) -> Chosen:
    """Draw as many columns of the embedding as the middle blocks have numbers, beside it once more."""
    rows = _everyone(given)
    return _columns_beside(given, _middle_columns(rows), project=False)


def columns_beside_block_less_random(given: Given) -> Chosen:
    """Do as `columns_beside_block`, less as many random directions as the sources differ in."""
    rows = _everyone(given)
    return _columns_beside(given, rows.block(0).shape[1], project=True)


def columns_beside_middle_less_random(given: Given) -> Chosen:
    """Do as `columns_beside_middle`, less as many random directions as the sources differ in."""
    rows = _everyone(given)
    return _columns_beside(given, _middle_columns(rows), project=True)


def middle(layers: int) -> list[int]:
    """Return the middle third of the layers, the later ones where it does not divide evenly.

    Examples
    --------
    >>> middle(12), middle(24)[:2], middle(2), middle(1)
    ([4, 5, 6, 7], [8, 9], [1], [0])
    """
    if layers < 3:
        return [layers - 1]
    count = layers // 3
    return list(range(layers - 2 * count, layers - count))


def heads_of(layers: Sequence[int], heads: int) -> list[tuple[int, int]]:
    """Return all heads (layer, head) of some layers."""
    return [(layer, head) for layer in layers for head in range(heads)]


def _everyone(given: Given) -> Everyone:
    if given.everyone is None or not given.everyone.layers:
        raise UserError("select: blocks need the rows of every generator, with their head outputs")
    return given.everyone


def _middle_columns(rows: Everyone) -> int:
    return len(middle(rows.layers)) * rows.block(0).shape[1]


def _real_train(rows: Everyone) -> NDArray[np.bool_]:
    return rows.train & (rows.y == 1)


def _of_layers(rows: Everyone, layers: Sequence[int], *, beside: bool, project: bool) -> Chosen:
    """Make a feature set of whole layers: scale and directions come from real train rows alone."""
    real = _real_train(rows)
    heads = np.concatenate([rows.block(layer)[real] for layer in layers], axis=1)
    scale = scale_of(heads, rows.X[real])
    directions: list[Floats] = []
    if project:
        X = np.concatenate([rows.X[real], scale * heads], axis=1) if beside else scale * heads
        directions = [nuisance_directions(X, rows.domain[real])]
    facts = {"layers": [int(layer) for layer in layers]}
    return Chosen([heads_of(layers, rows.heads)], facts, directions, [scale])


def _chosen(given: Given, *, beside: bool, project: bool) -> Chosen:
    """Choose a block for each tested generator without its images, and one with those of all."""
    rows = _everyone(given)
    few = few_of_each(rows.domain)
    scored = Scored.of(
        rows.y[few], rows.domain[few], source_of=rows.source_of, group=rows.group[few]
    )
    choice, _ = choose_block(
        lambda layer: rows.block(layer)[few],
        rows.layers,
        scored,
        embedding=rows.X[few] if beside else None,
        # what sources differ in hides which block transfers, whether or not the probes see it
        project=len(np.unique(rows.domain[rows.y == 1])) > 1,
    )
    # before a layer is written down: tested generators with the same layer share their fits
    made = {
        layer: _of_layers(rows, [layer], beside=beside, project=project)
        for layer in sorted({choice.chosen, *choice.nested.values()})
    }
    whole = made[choice.chosen]
    facts = {
        "layer": choice.chosen,
        "layers": choice.nested,
        "scores": {name: np.round(s, 6).tolist() for name, s in choice.scores.items() if not name},
    }
    nested = {name: made[layer] for name, layer in choice.nested.items()}
    return Chosen(whole.subsets, facts, whole.directions, whole.scales, nested)


def _random_blocks(given: Given, *, beside: bool) -> Chosen:
    rows = _everyone(given)
    layers = np.random.default_rng(given.seed).integers(rows.layers, size=given.draws).tolist()
    made = {layer: _of_layers(rows, [layer], beside=beside, project=False) for layer in {*layers}}
    subsets = [made[layer].subsets[0] for layer in layers]
    scales = [made[layer].scales[0] for layer in layers]
    return Chosen(subsets, {"layers": layers}, scales=scales)


def _columns_beside(given: Given, count: int, *, project: bool) -> Chosen:
    rows = _everyone(given)
    width = rows.X.shape[1]
    rng = np.random.default_rng(given.seed)
    subsets = [
        [*range(width), *np.sort(rng.integers(width, size=count)).tolist()]
        for _ in range(given.draws)
    ]
    directions: list[Floats] = []
    if project:
        real = _real_train(rows)
        few = len(nuisance_directions(rows.X[real], rows.domain[real]))
        for subset in subsets:
            seed = int(rng.integers(2**31))
            directions.append(random_directions(len(subset), few, seed=seed))
    return Chosen(subsets, {"columns": count}, directions)
