"""Feature sets: which columns a probe sees, where they were selected, and which generators were used for it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from clipsieve.errors import UserError
from clipsieve.families import family_of
from clipsieve.io.files import replacing


@dataclass(frozen=True)
class Nested:
    """What a feature set is for some tested generators: chosen without any image of theirs.

    Attributes
    ----------
    tested
        The generators.
    draws, directions, scales
        As those of the feature set, in whose place they stand.
    """

    tested: tuple[str, ...]
    draws: tuple[list[Any] | None, ...] = (None,)
    directions: tuple[list[list[float]], ...] = ()
    scales: tuple[float, ...] = ()


@dataclass(frozen=True)
class FeatureSet:
    """One feature set; see docs/formats.md, Feature sets.

    Attributes
    ----------
    feature_set
        Id: the family, or `<family>/<pair>`.
    family
        Which family it belongs to.
    pair
        The two generators it was selected on, or None.
    space
        `embedding` (columns of the embedding), `residual` (one feature made from columns), `heads`, or
        `beside` (heads beside all columns of the embedding).
    fit_intercept
        Whether its probes have an intercept.
    shuffle
        Whether its probes are fitted on permuted labels (a null).
    draws
        Column lists; None for all columns. More than one for controls drawn many times.
    excluded
        Generators that take no part in its evaluation.
    facts
        What the selection wants to say of itself (sizes, scores).
    directions
        For each draw the orthonormal directions [k][D] that are projected out of the embedding
        before a probe is fitted; empty where there are none.
    scales
        For each draw the factor of the heads' outputs before a probe is fitted, so that its penalty
        treats them and the embedding alike; empty where they are taken as they are.
    nested
        Where the choice is made for each tested generator apart: what it is for each. The fields
        above are then the choice made with all generators, for detectors alone; no score of the run
        is of it. Empty for all others.
    """

    feature_set: str
    family: str
    pair: tuple[str, str] | None = None
    space: str = "embedding"
    fit_intercept: bool = False
    shuffle: bool = False
    draws: tuple[list[Any] | None, ...] = (None,)
    excluded: tuple[str, ...] = ()
    facts: dict[str, Any] | None = None
    directions: tuple[list[list[float]], ...] = ()
    scales: tuple[float, ...] = ()
    nested: tuple[Nested, ...] = ()

    def choices(self) -> Iterator[tuple[int, tuple[str, ...], FeatureSet]]:
        """Yield the set itself, numbered 0, and each choice for tested generators, from 1, as a set."""
        yield 0, (), replace(self, nested=())
        for number, one in enumerate(self.nested, 1):
            chosen = replace(
                self, draws=one.draws, directions=one.directions, scales=one.scales, nested=()
            )
            yield number, one.tested, chosen


def write_feature_sets(path: str | os.PathLike[str], feature_sets: Sequence[FeatureSet]) -> None:
    """Write the feature sets of one family as JSON."""
    with replacing(path) as temporary:
        text = json.dumps([asdict(item) for item in feature_sets], sort_keys=True)
        temporary.write_text(text + "\n", encoding="utf-8")


def read_feature_sets(path: str | os.PathLike[str]) -> list[FeatureSet]:
    """Read the feature sets of one family; a key that is missing has its default.

    Raises
    ------
    UserError
        The file is missing or not of this form; the line names it.
    """
    try:
        with open(path, encoding="utf-8") as handle:
            entries = json.load(handle)
        return [_feature_set(**entry) for entry in entries]
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (ValueError, TypeError, AttributeError, LookupError) as error:
        raise UserError(f"{path}: not a feature-set file of clipsieve ({error})") from None


def _feature_set(
    feature_set: str,
    *,
    pair: Sequence[str] | None = None,
    draws: Sequence[list[Any] | None] = (None,),
    excluded: Sequence[str] = (),
    directions: Sequence[list[list[float]]] = (),
    scales: Sequence[float] = (),
    nested: Sequence[Mapping[str, Any]] = (),
    **others: Any,
) -> FeatureSet:
    """Make a feature set from its JSON object."""
    return FeatureSet(
        feature_set,
        pair=(pair[0], pair[1]) if pair else None,
        draws=tuple(draws),
        excluded=tuple(excluded),
        directions=tuple(directions),
        scales=tuple(scales),
        nested=tuple(
            Nested(
                tuple(one["tested"]),
                tuple(one["draws"]),
                tuple(one["directions"]),
                tuple(one["scales"]),
            )
            for one in nested
        ),
        **{"family": family_of(feature_set), **others},
    )
