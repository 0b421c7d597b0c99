"""Families of feature sets: one record each. Whatever speaks of families is made from these records.

The config allows exactly these names; the rules take the inputs and options of a family from its
record; selection, fitting, the comparison with controls and the report ask it. A new family is its
selector and one record (docs/extending.md). What a record lacks is an error when this module is
imported, so that a control cannot be forgotten in silence.

Light on purpose: the Snakefile imports this module again in every cluster job.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from clipsieve.errors import UserError

Pair = tuple[str, str]
Role = Literal["method", "control"]
Pairs = Literal["none", "unordered", "ordered"]

PAIRS = ("none", "unordered", "ordered")
SPACES = ("embedding", "residual", "heads", "layers")
#: Draw of a twin: the probe of a selected set made as those of its control's draws are.
TWIN = -1
#: What a selector can be made from, and the pairs that it needs for it.
READS = {
    "searches": "unordered", "rankings": "ordered", "layer_rankings": "ordered",
    "rows": "unordered", "reals": "none",
}  # fmt: skip
#: Values of the config that a selector can be told; options of `clipsieve select` have these names.
SETTINGS = ("best", "exclude", "draws", "alpha", "components")

_PATH = re.compile(r"clipsieve((?:\.[a-z_0-9]+)+):([a-z_0-9]+)")


@dataclass(frozen=True)
class Family:
    """One family of feature sets.

    Attributes
    ----------
    name
        Id in the config, in file names and in feature-set ids; `[a-z0-9_]+`.
    title
        What the report calls it.
    role
        `method`, or `control`: a null or a simpler choice that a method is compared with.
    select
        Its selector, as `module:function`, imported when it is used. The function takes a
        `selection.choose.Given` and returns a `selection.choose.Chosen`.
    pairs
        Whether its sets are selected on pairs of generators: `none`, `unordered` or `ordered`
        (train, val).
    reads
        What the selector is made from: `searches`, `rankings` of heads, `layer_rankings`, `rows` (train
        and val rows of the pair's generators), any number of them; for families without pairs `reals` (train rows of
        the real images of every source).
    sources
        The fewest sources of a run in which it exists.
    space
        What its probes see: columns of the `embedding`, one `residual` feature, `heads` or `layers`.
    fit_intercept
        Whether its probes have an intercept.
    shuffle
        Whether its probes are fitted on permuted labels.
    classifier
        What fits its probes in place of the logistic regression, as `module:function` of
        (X_train, y_train, X_val, y_val).
    settings
        Values of the config that its selector uses: name (one of `SETTINGS`) to config key. A
        control has those of its methods too. `draws` says that it is drawn many times; `exclude`
        says that the config decides which generators of a pair leave the evaluation.
    control_of
        The methods that a control is compared with. A control excludes what they exclude.
    same_choice_as
        The method whose columns it takes over, seen in another way; its choice is not judged twice.
    explained
        Whether texts and known edits explain its probes or heads; of a family on shuffled labels,
        whether it is their null.
    robustness
        Whether its probes are applied to perturbed images.
    pooled
        Whether its probes are fitted on training sets of several generators too, where the config
        asks for such sets.
    figure
        The figure of the paper that shows it after selection, beside its counterpart before.
    """

    name: str
    title: str
    role: Role
    select: str
    pairs: Pairs = "none"
    reads: tuple[str, ...] = ()
    sources: int = 1
    space: str = "embedding"
    fit_intercept: bool = False
    shuffle: bool = False
    classifier: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    control_of: tuple[str, ...] = ()
    same_choice_as: str | None = None
    explained: bool = False
    robustness: bool = False
    pooled: bool = False
    figure: str | None = None

    def __post_init__(self) -> None:
        """Raise ValueError for a record that contradicts itself or lacks something."""
        for wrong, why in (
            (not re.fullmatch("[a-z0-9_]+", self.name), "the name must match [a-z0-9_]+"),
            (not self.title.strip(), "it has no title"),
            (self.role not in ("method", "control"), "its role must be method or control"),
            (self.pairs not in PAIRS, f"pairs must be one of {', '.join(PAIRS)}"),
            (self.space not in SPACES, f"space must be one of {', '.join(SPACES)}"),
            (self.role == "control" and not self.control_of, "a control needs control_of"),
            (self.role == "method" and self.control_of, "a method has no control_of"),
            (self.shuffle and self.role == "method", "a family on shuffled labels is a control"),
            (
                self.drawn and self.role == "method",
                "a family that is drawn many times is a control",
            ),
            (
                self.pairs == "none" and set(self.reads) - {"reals"},
                "what it reads is of pairs, and it has none",
            ),
            (self.pairs != "none" and not self.reads, "it is selected on pairs and reads nothing"),
            (
                self.pooled and (self.space == "residual" or self.classifier or self.shuffle),
                "only logistic regressions of columns or heads are fitted on several generators",
            ),
            (self.figure and self.pairs == "none", "a figure shows it after a selection on pairs"),
        ):
            if wrong:
                raise ValueError(f"family {self.name!r}: {why}")
        for name in self.reads:
            if READS.get(name) != self.pairs:
                raise ValueError(
                    f"family {self.name!r}: {name} are not read for {self.pairs} pairs"
                )
        for name, key in self.settings.items():
            if name not in SETTINGS or not re.fullmatch(r"[a-z_]+\.[a-z_]+", key):
                raise ValueError(f"family {self.name!r}: {name}: {key!r} is not a setting")
        for path in (self.select, self.classifier):
            if path is not None:
                _check_path(path, f"family {self.name!r}")

    @property
    def is_control(self) -> bool:
        """Whether it is a control; the report shows controls in grey."""
        return self.role == "control"

    @property
    def unselected(self) -> bool:
        """Whether it is made from nothing: all columns of the embedding as they are."""
        return self.pairs == "none" and not self.reads

    @property
    def drawn(self) -> bool:
        """Whether its sets are drawn many times."""
        return "draws" in self.settings

    @property
    def needs_heads(self) -> bool:
        """Whether it exists only for encoders whose head outputs can be read."""
        return self.space == "heads" or "rankings" in self.reads

    @property
    def needs_layers(self) -> bool:
        """Whether it exists only for encoders whose layers are cached (`has_layers`)."""
        return self.space == "layers" or "layer_rankings" in self.reads

    @property
    def selects(self) -> bool:
        """Whether it is a method whose choice is its own, so that the choice itself is judged."""
        return not self.is_control and self.pairs != "none" and self.same_choice_as is None


def _check_path(path: str, what: str) -> None:
    """Raise ValueError unless `module:function` names a function of this package; imports nothing."""
    found = _PATH.fullmatch(path)
    if found is None:
        raise ValueError(f"{what}: {path!r} is not of the form clipsieve.module:function")
    file = Path(__file__).parent.joinpath(*found[1].split(".")[1:]).with_suffix(".py")
    if not file.is_file():
        raise ValueError(f"{what}: {path!r}: no module {file.name}")
    if not re.search(rf"^def {found[2]}\(", file.read_text(encoding="utf-8"), re.MULTILINE):
        raise ValueError(f"{what}: {path!r}: {file.name} has no function {found[2]}")


def catalogue(records: Sequence[Family]) -> dict[str, Family]:
    """Return the records by name, in order.

    Raises
    ------
    ValueError
        Two records have one name; a control is compared with no method, or with one of other pairs;
        methods of one control exclude unlike generators; a family takes over the choice of a family
        that it cannot; there is not exactly one baseline for each way to fit an intercept; a family
        of a figure has no counterpart.
    """
    found = {record.name: record for record in records}
    if len(found) != len(records):
        names = [record.name for record in records]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"family {twice!r} is recorded twice")
    for intercept in (False, True):
        same = [one.name for one in _baselines(records) if one.fit_intercept == intercept]
        if len(same) != 1:
            raise ValueError(f"one baseline is needed for fit_intercept={intercept}, not {same}")
    for one in records:
        for name in one.control_of:
            method = found.get(name)
            if method is None or method.is_control:
                raise ValueError(f"family {one.name!r}: control_of: {name!r} is not a method")
            if method.pairs != one.pairs:
                raise ValueError(f"family {one.name!r}: {name!r} is selected on other pairs")
            if set(method.settings) & set(one.settings):
                raise ValueError(f"family {one.name!r}: repeats a setting of {name!r}")
            if method.settings != found[one.control_of[0]].settings:
                raise ValueError(f"family {one.name!r}: its methods have different settings")
        if one.same_choice_as is not None:
            other = found.get(one.same_choice_as)
            if other is None or (other.select, other.pairs) != (one.select, one.pairs):
                raise ValueError(f"family {one.name!r}: same_choice_as: not of the same selector")
        if one.figure and len(_counterparts(one, records)) != 1:
            raise ValueError(f"family {one.name!r}: {one.figure} needs one counterpart before")
    return found


def _baselines(records: Sequence[Family]) -> list[Family]:
    return [
        one for one in records if not one.is_control and one.unselected and one.space == "embedding"
    ]


def _counterparts(after: Family, records: Sequence[Family]) -> list[Family]:
    """Return what the probes of a selected family were before: the same space and intercept."""
    return [
        one
        for one in records
        if not one.is_control
        and one.unselected
        and (one.space, one.fit_intercept) == (after.space, after.fit_intercept)
    ]


_CHOOSE = "clipsieve.selection.choose"
_FILTERS = "clipsieve.selection.filters"
_PROJECTIONS = "clipsieve.selection.projections"

#: Every family, by name. The order is that of the config's defaults and of every page.
FAMILIES = catalogue((
    Family(
        "all", "all columns", "method", f"{_CHOOSE}:every_column",
        explained=True, robustness=True, pooled=True,
    ),
    Family(
        "all_intercept", "all columns, with intercept", "method", f"{_CHOOSE}:every_column",
        fit_intercept=True,
    ),
    Family(
        "residual", "residual", "method", f"{_CHOOSE}:every_column",
        space="residual", fit_intercept=True, explained=True, robustness=True,
    ),
    Family(
        "components", "components", "method", f"{_CHOOSE}:kept_columns",
        pairs="unordered", reads=("searches",),
        settings={"alpha": "search.alpha"}, explained=True, robustness=True, pooled=True,
        figure="figure3",
    ),
    Family(
        "components_intercept", "components, with intercept", "method", f"{_CHOOSE}:kept_columns",
        pairs="unordered", reads=("searches",),
        settings={"alpha": "search.alpha"}, fit_intercept=True,
        same_choice_as="components", figure="figure2",
    ),
    Family(
        "residual_components", "residual on components", "method", f"{_CHOOSE}:kept_columns",
        pairs="unordered", reads=("searches",),
        settings={"alpha": "search.alpha"}, space="residual", fit_intercept=True,
        same_choice_as="components", figure="figure4",
    ),
    Family(
        "heads", "heads", "method", f"{_CHOOSE}:best_heads",
        pairs="ordered", reads=("rankings",), space="heads", explained=True, robustness=True,
        pooled=True,
        settings={"best": "heads.best", "exclude": "heads.exclude"},
    ),
    Family(
        "layers", "layers", "method", f"{_CHOOSE}:best_layers",
        pairs="ordered", reads=("layer_rankings",), space="layers", pooled=True,
        settings={"best": "layers.best", "exclude": "heads.exclude"},
    ),
    Family(
        "nuisance", "less the sources' differences", "method", f"{_PROJECTIONS}:less_sources",
        reads=("reals",), sources=2, pooled=True,
    ),
    Family(
        "nuisance_components", "less the sources' differences and components", "method",
        f"{_PROJECTIONS}:less_sources_and_components",
        reads=("reals",), settings={"components": "nuisance.components"}, pooled=True,
    ),
    Family(
        "shuffled", "shuffled labels", "control", f"{_CHOOSE}:every_column",
        shuffle=True, settings={"draws": "controls.shuffles"}, control_of=("all",), explained=True,
    ),
    Family(
        "nearest_mean", "nearest class mean", "control", f"{_CHOOSE}:every_column",
        fit_intercept=True, classifier="clipsieve.probes.residual:fit_nearest_mean",
        control_of=("all",),
    ),
    Family(
        "random", "random columns", "control", f"{_FILTERS}:select_random_columns",
        pairs="unordered", reads=("searches",), settings={"draws": "controls.draws"},
        control_of=("components",), pooled=True,
    ),
    Family(
        "fisher", "Fisher filter", "control", f"{_FILTERS}:select_fisher",
        pairs="unordered", reads=("searches", "rows"), control_of=("components",),
    ),
    Family(
        "variance", "variance filter", "control", f"{_FILTERS}:select_variance",
        pairs="unordered", reads=("searches", "rows"), control_of=("components",),
    ),
    Family(
        "l1", "L1 selection", "control", f"{_FILTERS}:select_l1",
        pairs="unordered", reads=("searches", "rows"), control_of=("components",),
    ),
    Family(
        "random_heads", "random heads", "control", f"{_FILTERS}:select_random_heads",
        pairs="ordered", reads=("rankings",), space="heads", settings={"draws": "controls.draws"},
        control_of=("heads",), pooled=True,
    ),
    Family(
        "random_layers", "random layers", "control", f"{_FILTERS}:select_random_layers",
        pairs="ordered", reads=("layer_rankings",), space="layers",
        settings={"draws": "controls.draws"}, control_of=("layers",), pooled=True,
    ),
    Family(
        "random_directions", "less random directions, as many as sources differ in", "control",
        f"{_PROJECTIONS}:less_random_directions",
        reads=("reals",), sources=2, settings={"draws": "controls.draws"},
        control_of=("nuisance",), pooled=True,
    ),
    Family(
        "random_components", "less random directions, components as well", "control",
        f"{_PROJECTIONS}:less_random_components",
        reads=("reals",), settings={"draws": "controls.draws"},
        control_of=("nuisance_components",), pooled=True,
    ),
))  # fmt: skip

METHODS = tuple(name for name, one in FAMILIES.items() if not one.is_control)
CONTROLS = tuple(name for name, one in FAMILIES.items() if one.is_control)
#: The baseline of probes without an intercept, which every run has, and of those with one.
BASELINE, BASELINE_INTERCEPT = (
    one.name for one in sorted(_baselines(list(FAMILIES.values())), key=lambda f: f.fit_intercept)
)
#: Methods whose choice of columns or heads is judged: its stability, its optimism, its size.
SELECTING = tuple(name for name, one in FAMILIES.items() if one.selects)
#: Methods whose probes see what no pair has selected and whose directions are explained.
EXPLAINED_WHOLE = tuple(
    name for name in METHODS if FAMILIES[name].explained and FAMILIES[name].pairs == "none"
)
#: Figures of transfer before and after selection: the two families of each.
BEFORE_AND_AFTER = {
    one.figure: (_counterparts(one, list(FAMILIES.values()))[0].name, one.name)
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


# ---- ids --------------------------------------------------------------------------------------


def pair_id(first: str, second: str) -> str:
    """Return the id of a pair, `a--b`: the two in the order given."""
    return f"{first}--{second}"


def generators_of(pair: str) -> Pair:
    """Return the two generators of a pair `a--b`.

    Raises
    ------
    UserError
        The text is not of this form.
    """
    first, _, second = pair.partition("--")
    if not (first and second) or "--" in second:
        raise UserError(f"{pair!r} is not a pair A--B")
    return first, second


def unordered(pair: str) -> frozenset[str]:
    """Return the two generators of a pair `a--b`, without their order."""
    return frozenset(generators_of(pair))


def reverse(pair: str) -> str:
    """Return the pair in the other order: `b--a` of `a--b`."""
    first, second = generators_of(pair)
    return pair_id(second, first)


def feature_set_id(family: str, pair: str = "") -> str:
    """Return the id of a feature set: `<family>/<pair>`, or the family where there is no pair."""
    return f"{family}/{pair}" if pair else family


def family_of(feature_set: str) -> str:
    """Return the family of a feature set: what comes before the pair."""
    return feature_set.partition("/")[0]


def pair_of(feature_set: str) -> str:
    """Return the pair `a--b` of a feature set, empty where it was selected on none."""
    return feature_set.partition("/")[2]


def controls_of(feature_set: str) -> list[str]:
    """Return the ids of the controls that a feature set is compared with: those of its own pair.

    >>> controls_of("heads/a--b")
    ['random_heads/a--b']
    """
    family, pair = family_of(feature_set), pair_of(feature_set)
    return [feature_set_id(c, pair) for c in CONTROLS if family in FAMILIES[c].control_of]
