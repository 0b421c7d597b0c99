"""Training sets: what a probe is trained on besides one generator, as the config asks for it.

A training set is several generators with the real images of their sources. A generator that a probe of
it is tested on is never in it: `all_but_<g>` is tested on g, `all_but_family_<f>` on the generators of
family f, and a set of one's own on every generator outside it.

Light on purpose: the Snakefile imports this module again in every cluster job.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clipsieve.errors import UserError

#: What a probe can be trained on, as the column `training` says it: one generator, or one of these sets.
ONE = "one"
ALL_BUT_ONE, ALL_BUT_FAMILY, NAMED = "all_but_one", "all_but_family", "set"
KINDS = (ONE, ALL_BUT_ONE, ALL_BUT_FAMILY, NAMED)
#: The fewest generators of a set; a smaller one says what the row of one generator says.
FEWEST = 2


@dataclass(frozen=True)
class TrainingSet:
    """Several generators to train on.

    Attributes
    ----------
    name
        Its id, which stands where the id of a training generator stands.
    kind
        One of `KINDS` but `one`.
    members
        Its generators, in the order of the run.
    tested
        The generators of the run outside it.
    """

    name: str
    kind: str
    members: tuple[str, ...]
    tested: tuple[str, ...]


def training_sets(
    asked: Mapping[str, Any], family_of: Mapping[str, str], reserved: Sequence[str] = ()
) -> dict[str, TrainingSet]:
    """Return the training sets that the section `training` of a config asks for, by name.

    Parameters
    ----------
    asked
        Keys `all_but_one`, `all_but_family` (booleans) and `sets` (name -> generators).
    family_of
        Family of each generator of the run, in the order of the run.
    reserved
        Further ids that a set may not have (sources).

    Raises
    ------
    UserError
        A set has an unknown or repeated generator, fewer than two of them or all of them, or the
        id of something else; or there are too few generators or families to leave one out.

    Examples
    --------
    >>> family_of = {"biggan": "gan", "progan": "gan", "glide": "diffusion"}
    >>> training_sets({"all_but_one": True}, family_of)["all_but_glide"].members
    ('biggan', 'progan')
    """
    generators = tuple(family_of)
    found: dict[str, TrainingSet] = {}

    def add(key: str, name: str, kind: str, members: Sequence[str]) -> None:
        if name in found or name in family_of or name in reserved:
            raise UserError(f"config: {key}: {name!r} is the id of something else; ids are unique")
        inside = tuple(g for g in generators if g in members)
        outside = tuple(g for g in generators if g not in members)
        if len(inside) < FEWEST or not outside:
            raise UserError(
                f"config: {key}: {name!r} would have {len(inside)} of {len(generators)} generators;"
                f" at least {FEWEST} are needed, and one outside to test on"
            )
        found[name] = TrainingSet(name, kind, inside, outside)

    if asked.get("all_but_one"):
        for left_out in generators:
            rest = [g for g in generators if g != left_out]
            add("training.all_but_one", f"all_but_{left_out}", ALL_BUT_ONE, rest)
    if asked.get("all_but_family"):
        for family in dict.fromkeys(family_of.values()):
            rest = [g for g in generators if family_of[g] != family]
            add("training.all_but_family", f"all_but_family_{family}", ALL_BUT_FAMILY, rest)
    for name, members in asked.get("sets", {}).items():
        for member in members:
            if member not in family_of:
                raise UserError(
                    f"config: training.sets.{name}: {member!r} is not in use.generators; one of:"
                    f" {', '.join(generators)}"
                )
        add(f"training.sets.{name}", name, NAMED, members)
    return found
