"""Families of feature sets: one record each. Whatever speaks of families is made from these records.

The config allows exactly these names; the rules take the inputs and options of a family from its
record; selection, fitting, the comparison with controls and the report ask it. A new family is its
selector and one record in `all_families.py` (docs/extending.md). What a record lacks is an error when this
package is imported, so that a control cannot be forgotten in silence.

Light on purpose: the Snakefile imports this package again in every cluster job.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from clipsieve.errors import UserError
from clipsieve.families.all_families import FAMILIES
from clipsieve.families.family import (
    SETTINGS,
    TWIN,
    Family,
    Pair,
    baselines,
    catalogue,
    counterparts,
)
from clipsieve.families.ids import (
    family_of,
    feature_set_id,
    generators_of,
    pair_id,
    pair_of,
    reverse,
    unordered,
)

__all__ = [
    "BASELINE", "BASELINE_INTERCEPT", "BEFORE_AND_AFTER", "CONTROLS", "EXPLAINED_WHOLE", "FAMILIES",
    "METHODS", "SELECTING", "SETTINGS", "TWIN", "Family", "Pair", "catalogue", "controls_of",
    "excluded", "family_of", "feature_set_id", "generators_of", "get", "load", "modules", "of",
    "pair_id", "pair_of", "reverse", "settings_of", "unordered",
]  # fmt: skip

METHODS = tuple(name for name, one in FAMILIES.items() if not one.is_control)
CONTROLS = tuple(name for name, one in FAMILIES.items() if one.is_control)
#: The baseline of probes without an intercept, which every run has, and of those with one.
BASELINE, BASELINE_INTERCEPT = (
    one.name for one in sorted(baselines(list(FAMILIES.values())), key=lambda f: f.fit_intercept)
)
#: Methods whose choice of columns or heads is judged: its stability, its optimism, its size.
SELECTING = tuple(name for name, one in FAMILIES.items() if one.selects)
#: Methods whose probes see what no pair has selected and whose directions are explained.
EXPLAINED_WHOLE = tuple(
    name for name in METHODS if FAMILIES[name].explained and FAMILIES[name].pairs == "none"
)
#: Figures of transfer before and after selection: the two families of each.
BEFORE_AND_AFTER = {
    one.figure: (counterparts(one, list(FAMILIES.values()))[0].name, one.name)
    for one in sorted(FAMILIES.values(), key=lambda f: f.figure or "")
    if one.figure
}


def get(name: str) -> Family:
    """Return the record of a family.

    Raises
    ------
    UserError
        No family has this name.
    """
    try:
        return FAMILIES[name]
    except KeyError:
        raise UserError(
            f"no family of feature sets {name!r}; one of: {', '.join(FAMILIES)}"
        ) from None


def of(feature_set: str) -> Family:
    """Return the record of a feature set's family; UserError as `get`."""
    return get(family_of(feature_set))


def settings_of(family: Family) -> dict[str, str]:
    """Return the settings of a family, name to config key: those of its methods, then its own.

    >>> settings_of(get("random_heads"))
    {'best': 'heads.best', 'exclude': 'heads.exclude', 'draws': 'controls.draws'}
    """
    methods = [FAMILIES[name].settings for name in family.control_of[:1]]
    return {name: key for part in (*methods, family.settings) for name, key in part.items()}


def excluded(
    family: Family, pair: Pair | None, exclude: str | None = None
) -> Pair | tuple[str, ...]:
    """Return the generators that take no part in the evaluation of a set selected on a pair.

    Parameters
    ----------
    family
        A control has its method's rule.
    pair
        The two generators, in order (train, val); None for a set that was selected on none.
    exclude
        Value of the setting of this name, for families that have it: `validation` (the paper: only
        the validation generator leaves) or `both`.

    >>> excluded(get("random"), ("a", "b"))
    ('a', 'b')
    >>> excluded(get("random_heads"), ("a", "b"), "validation")
    ('b',)
    """
    if pair is None:
        return ()
    if "exclude" in settings_of(family) and exclude == "validation":
        return pair[1:]
    return pair


def load(path: str) -> Callable[..., Any]:
    """Import the function that a record names as `module:function`."""
    module, _, function = path.partition(":")
    loaded: Callable[..., Any] = getattr(importlib.import_module(module), function)
    return loaded


def modules() -> tuple[str, ...]:
    """Return the modules that the records name, which no import statement shows."""
    paths = (path for one in FAMILIES.values() for path in (one.select, one.classifier) if path)
    return tuple(sorted({path.partition(":")[0] for path in paths}))


def controls_of(feature_set: str) -> list[str]:
    """Return the ids of the controls that a feature set is compared with: those of its own pair.

    >>> controls_of("heads/a--b")
    ['random_heads/a--b', 'all_tuned/a--b']
    """
    family, pair = family_of(feature_set), pair_of(feature_set)
    return [feature_set_id(c, pair) for c in CONTROLS if family in FAMILIES[c].control_of]
