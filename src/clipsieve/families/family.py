"""What a family of feature sets is: its record, and the checks that keep records complete and consistent."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Pair = tuple[str, str]
Role = Literal["method", "control"]
Pairs = Literal["none", "unordered", "ordered"]

PAIRS = ("none", "unordered", "ordered")
SPACES = ("embedding", "residual", "heads", "layers", "beside")
#: Those whose probes see outputs of heads.
OF_HEADS = ("heads", "beside")
#: Draw of a twin: the probe of a selected set made as those of its control's draws are.
TWIN = -1
#: What a selector can be made from, and the pairs that it needs for it.
READS = {
    "searches": "unordered",
    "rankings": "ordered",
    "layer_rankings": "ordered",
    "rows": "unordered",
    "reals": "none",
    "everyone": "none",
}
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
        and val rows of the pair's generators), any number of them; for families without pairs `reals`
        (train rows of the real images of every source) or `everyone` (train and val rows of every
        generator and source, for choices that are made for each tested generator without it).
    sources
        The fewest sources of a run in which it exists.
    generators
        The fewest generators of a run in which it exists.
    space
        What its probes see: columns of the `embedding`, one `residual` feature, `heads`, `layers`, or
        heads `beside` all columns of the embedding.
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
    tuned_on_partner
        Whether hyperparameters are tuned on the validation generator of the pair whatever the config
        says of heads; it tells what that way of tuning gives by itself.
    heads
        Whether it needs an encoder whose head outputs can be read though its probes see none.
    grid
        The hyperparameter grid of its probes whatever the config says; None for the config's. The
        paper's grid has solvers that crawl on thousands of columns.
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
    generators: int = 1
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
    tuned_on_partner: bool = False
    heads: bool = False
    grid: Literal["fast"] | None = None
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
                self.pairs == "none" and any(READS.get(n) != "none" for n in self.reads),
                "what it reads is of pairs, and it has none",
            ),
            (self.pairs != "none" and not self.reads, "it is selected on pairs and reads nothing"),
            (
                self.pooled and (self.space == "residual" or self.classifier or self.shuffle),
                "only logistic regressions of columns or heads are fitted on several generators",
            ),
            (
                self.tuned_on_partner and self.pairs != "ordered",
                "only an ordered pair has a validation generator to tune on",
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
        return self.heads or self.space in OF_HEADS or "rankings" in self.reads

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
    file = Path(__file__).parents[1].joinpath(*found[1].split(".")[1:]).with_suffix(".py")
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
        same = [one.name for one in baselines(records) if one.fit_intercept == intercept]
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
        if one.figure and len(counterparts(one, records)) != 1:
            raise ValueError(f"family {one.name!r}: {one.figure} needs one counterpart before")
    return found


def baselines(records: Sequence[Family]) -> list[Family]:
    """Return the methods on all columns of the embedding as they are."""
    return [
        one for one in records if not one.is_control and one.unselected and one.space == "embedding"
    ]


def counterparts(after: Family, records: Sequence[Family]) -> list[Family]:
    """Return what the probes of a selected family were before: the same space and intercept."""
    return [
        one
        for one in records
        if not one.is_control
        and one.unselected
        and (one.space, one.fit_intercept) == (after.space, after.fit_intercept)
    ]
