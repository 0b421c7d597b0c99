"""From what searches and rankings found to feature sets; what a set excludes follows from its family.

A selector is a function of one `Given` that returns one `Chosen`: which columns or heads. Everything
else of a feature set (id, space, intercept, excluded generators) comes from the record of its family,
in `select`. The selectors of the methods are here, those of controls in `filters`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipsieve import families
from clipsieve.errors import UserError
from clipsieve.families import Family, Pair
from clipsieve.io.feature_sets import FeatureSet, Nested

Head = tuple[int, int]


@dataclass(frozen=True)
class Searched:
    """What the two searches of a pair found: kept columns of each direction, and the total of columns.

    `alpha` is the rule that says where they stop; `warnings` are what each direction's search warns of.
    """

    kept: tuple[Sequence[int], Sequence[int]]
    columns: int
    alpha: str = "first"
    warnings: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def union(self) -> list[int]:
        """Columns kept by either direction (paper, section 4), sorted."""
        return sorted(set(self.kept[0]) | set(self.kept[1]))


@dataclass(frozen=True)
class Everyone:
    """Train and val rows of every generator and source, for choices made for each tested generator.

    Attributes
    ----------
    X
        Embeddings [n, D].
    y
        Labels [n] (0 = generated, 1 = real).
    domain
        Generator or source of each row [n].
    group
        Group of each row [n].
    train
        Which rows are of the train split, bool [n].
    source_of
        Source of each generator.
    block
        Layer -> outputs of its heads side by side [n, H * d_out].
    layers, heads
        Number of layers, and of heads of each; 0 where they were not read.
    """

    X: NDArray[Any]
    y: NDArray[Any]
    domain: NDArray[Any]
    group: NDArray[Any]
    train: NDArray[np.bool_]
    source_of: Mapping[str, str]
    block: Callable[[int], NDArray[np.float64]]
    layers: int = 0
    heads: int = 0


@dataclass(frozen=True)
class Given:
    """What a selector may use, for one pair (or for none); its family's record says what is filled.

    Attributes
    ----------
    searched
        What the searches of the pair found.
    ranked
        Heads (layer, head) of the ordered pair, the best first.
    ranked_layers
        Layers of the ordered pair, the best first.
    X, y
        Embeddings [n, D] and labels [n] (0 = generated, 1 = real) of the train and val rows of the
        pair's generators and their sources.
    source
        Source of each row of X [n], where these are the real train rows of every source.
    everyone
        The rows of all generators, where the choice looks at transfer between them.
    best
        How many heads or layers make a set.
    components
        How many principal components are removed.
    draws
        How many sets are drawn.
    seed
        Seed of the draws: it depends on the run's seed and on the names of the pair.
    """

    searched: Searched = Searched(((), ()), 0)
    ranked: Sequence[Head] = ()
    ranked_layers: Sequence[int] = ()
    X: NDArray[Any] = field(default_factory=lambda: np.empty((0, 0)))
    y: NDArray[Any] = field(default_factory=lambda: np.empty(0))
    source: NDArray[Any] = field(default_factory=lambda: np.empty(0))
    everyone: Everyone | None = None
    best: int = 0
    components: int = 0
    draws: int = 1
    seed: int = 0

    @property
    def size(self) -> int:
        """How many columns the searches chose, which is what a control chooses too."""
        return len(self.searched.union)


@dataclass(frozen=True)
class Chosen:
    """What a selector returns.

    Attributes
    ----------
    subsets
        One list of columns, or of heads, for each draw; None for all columns.
    facts
        What the selection says of itself.
    directions
        float64 [k, D] for each draw: orthonormal directions that are projected out; none where empty.
    scales
        Factor of the heads' outputs for each draw; none where empty.
    nested
        The choice for each tested generator, where it is made for each apart.
    """

    subsets: Sequence[Any]
    facts: dict[str, Any] | None = None
    directions: Sequence[NDArray[np.float64]] = ()
    scales: Sequence[float] = ()
    nested: Mapping[str, Chosen] = field(default_factory=dict)


def select(
    family: Family, given: Mapping[Pair | None, Given], exclude: str | None = None
) -> list[FeatureSet]:
    """Return the feature sets of a family, one for each pair (or one for the key None).

    Parameters
    ----------
    family
        Its record.
    given
        What the selector may use, by pair.
    exclude
        As `families.excluded`.
    """
    selector = families.load(family.select)
    found = []
    for pair, mine in given.items():
        chosen = selector(mine)
        found.append(
            FeatureSet(
                families.feature_set_id(family.name, families.pair_id(*pair) if pair else ""),
                family.name,
                pair,
                space=family.space,
                fit_intercept=family.fit_intercept,
                shuffle=family.shuffle,
                excluded=families.excluded(family, pair, exclude),
                facts=chosen.facts,
                nested=_nested(chosen),
                **_written(chosen),
            )
        )
    return found


def _written(chosen: Chosen) -> dict[str, Any]:
    """Return a choice as lists: draws, directions and scales."""
    return {
        "draws": tuple(
            None if subset is None else np.asarray(subset).tolist() for subset in chosen.subsets
        ),
        # so many digits are orthonormal to 1e-8, and keep the file small
        "directions": tuple(np.round(one, 9).tolist() for one in chosen.directions),
        "scales": tuple(float(one) for one in chosen.scales),
    }


def _nested(chosen: Chosen) -> tuple[Nested, ...]:
    """Return the choices for tested generators, one for all generators that have the same one."""
    written = {name: _written(one) for name, one in sorted(chosen.nested.items())}
    alike: list[tuple[list[str], dict[str, Any]]] = []
    for name, one in written.items():
        for names, other in alike:
            if other == one:
                names.append(name)
                break
        else:
            alike.append(([name], one))
    return tuple(Nested(tuple(names), **one) for names, one in alike)


def every_column(given: Given) -> Chosen:
    """Choose all columns, as often as there are draws."""
    return Chosen([None] * given.draws)


def kept_columns(given: Given) -> Chosen:
    """Choose the union of what both searches of the pair kept."""
    union = given.searched.union
    kept = [len(columns) for columns in given.searched.kept]
    warnings = {direction: list(said) for direction, said in given.searched.warnings.items()}
    facts = {
        **{"columns": given.searched.columns, "kept": kept, "union": len(union)},
        **{"alpha": given.searched.alpha, "warnings": warnings},
    }
    return Chosen([union], facts)


def best_heads(given: Given) -> Chosen:
    """Choose the best heads of the ordered pair, the best first."""
    return Chosen([given.ranked[: given.best]])


def best_layers(given: Given) -> Chosen:
    """Choose the best layers of the ordered pair, the best first."""
    ranked = [int(layer) for layer in given.ranked_layers]
    if given.best > len(ranked):
        raise UserError(f"--best {given.best}: the encoder has {len(ranked)} layers")
    return Chosen([ranked[: given.best]], {"columns": len(ranked)})
