"""One self-contained HTML page: sections of tables and cards, escaped, with no outside resource."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from clipsieve import __version__, families
from clipsieve.report.facts import Facts, family_title
from clipsieve.report.frames import verdict

DASH = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"
EMPTY = "\N{EM DASH}"


@dataclass(frozen=True)
class Cell:
    """One cell of a table.

    Attributes
    ----------
    text
        What the cell says.
    sub
        A second, smaller line: the interval, or n.
    tip
        What the pointer shows.
    css
        Classes: `num`, `strong`, `quiet`, `warn`, `good`, `hidden-cell`, `head`.
    badge
        A word in a box behind the text, such as `simulated`.
    shade
        0 to 1: how deep the cell's background is; -1 to 0 takes the second colour.
    bar
        `(low, value, high, left end, right end)`: an interval drawn on a common scale.
    """

    text: str = ""
    sub: str = ""
    tip: str = ""
    css: str = ""
    badge: str = ""
    shade: float | None = None
    bar: tuple[float, float, float, float, float] | None = None

    @property
    def heat(self) -> tuple[str, int] | None:
        """The name of the background colour and its share in percent."""
        if self.shade is None or not math.isfinite(self.shade):
            return None
        share = round(62 * min(1.0, abs(self.shade)))
        return ("--heat" if self.shade >= 0 else "--cold", share)

    @property
    def drawn(self) -> dict[str, float] | None:
        """The interval bar in units of its 100 x 12 box."""
        if self.bar is None or not all(map(math.isfinite, self.bar)):
            return None
        low, value, high, left, right = self.bar
        scale = 96.0 / ((right - left) or 1.0)

        def place(number: float) -> float:
            return round(2 + scale * (min(max(number, left), right) - left), 1)

        return {
            "low": place(low),
            "mid": place(value),
            "high": place(high),
            "zero": place(0.0) if left < 0 < right else -1.0,
        }


@dataclass(frozen=True)
class Table:
    """Columns (label, css, tip) and rows of cells; `caption` stands above, `note` below."""

    columns: Sequence[tuple[str, str, str]]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""
    note: str = ""
    badge: str = ""
    spans: Sequence[tuple[str, int]] = ()
    compact: bool = False


@dataclass(frozen=True)
class Shot:
    """A thumbnail as a data URI, with what stands under it; `tip` is what the pointer shows."""

    uri: str
    title: str
    lines: Sequence[str]
    badge: str = ""
    tip: str = ""


@dataclass(frozen=True)
class Section:
    """A heading, paragraphs, tables one below the other, cards and thumbnails side by side.

    `folded` opens at a click; `minor` has a smaller heading, for a part of the section before it.
    """

    title: str
    text: Sequence[str] = ()
    tables: Sequence[Table] = ()
    cards: Sequence[Table] = ()
    shots: Sequence[Shot] = ()
    folded: bool = False
    minor: bool = False


@dataclass
class Content:
    """What a builder says: everything on a page but what follows from the record and the inputs."""

    lead: Sequence[str]
    sections: list[Section]
    notes: list[str] = field(default_factory=list)
    alerts: list[str] = field(default_factory=list)


@dataclass
class Page:
    """A page before it is rendered."""

    title: str
    lead: Sequence[str]
    sections: list[Section]
    facts: Facts
    alerts: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    run: str = ""
    encoders: Sequence[str] = ()
    seeds: Sequence[int] = ()
    confidence: float | None = None  # of the intervals; None where the page has none


def number(value: Any, digits: int = 3, *, sign: bool = False) -> str:
    """Return a number with `digits` decimals, a true minus, and a dash where there is none."""
    if value is None or not math.isfinite(float(value)):
        return EMPTY
    text = f"{float(value):+.{digits}f}" if sign else f"{float(value):.{digits}f}"
    if float(text) == 0:
        text = f"{0:.{digits}f}"
    return text.replace("-", MINUS)


def interval(low: Any, high: Any, digits: int = 3, *, sign: bool = False) -> str:
    """Return `low to high`; empty where either is missing."""
    low, high = (math.nan if v is None else float(v) for v in (low, high))
    if not (math.isfinite(low) and math.isfinite(high)):
        return ""
    return f"{number(low, digits, sign=sign)} to {number(high, digits, sign=sign)}"


def p_value(value: Any) -> str:
    """Return a p value with two significant digits, `<0.001` below that."""
    if value is None or not math.isfinite(float(value)):
        return EMPTY
    value = float(value)
    if value < 0.001:
        return "<0.001"
    return f"{value:.3f}" if value < 0.1 else f"{value:.2f}"


def integer(value: Any) -> str:
    """Return a count with a thin gap between thousands, a dash where there is none."""
    if value is None or not math.isfinite(float(value)):
        return EMPTY
    return f"{int(value):,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def is_known(value: Any) -> bool:
    """Say whether there is a value: neither None nor NaN."""
    return value is not None and value == value


def generator_cell(facts: Facts, generator: str, css: str = "") -> Cell:
    """Return the cell that names a generator; a simulated one carries the word."""
    known = facts.generators.get(generator)
    badge = "simulated" if known is not None and known.kind == "simulated" else ""
    tip = f"{generator}: {family_title(known.family)}, {known.kind_title}" if known else generator
    return Cell(facts.title(generator), tip=tip, badge=badge, css=css)


def feature_set_cell(facts: Facts, feature_set: str, css: str = "") -> Cell:
    """Return the cell that names a feature set: its family, and below it the pair."""
    return Cell(
        families.of(feature_set).title,
        sub=facts.selected_on(feature_set),
        tip=feature_set,
        css=f"wide {css}".strip(),
    )


def difference_cell(row: Mapping[str, Any], *, low_is_good: bool = False) -> Cell:
    """Return a difference to the baseline with its interval over new generators below.

    In colour where it differs significantly from 0 for generators not trained on (`verdict`); the interval over
    new photographs of these generators is in the tip.
    """
    if not is_known(row.get("difference")):
        return Cell(css="num")
    told = verdict(row) * (-1 if low_is_good else 1)
    known = is_known(row.get("generators_low"))
    return Cell(
        number(row["difference"], sign=True),
        sub=interval(row["generators_low"], row["generators_high"], sign=True)
        if known
        else "no interval over generators",
        tip="; ".join(filter(None, (without_ranked(row), over_photographs(row)))),
        css=("num", "num good", "num warn")[told],
    )


def without_ranked(row: Mapping[str, Any]) -> str:
    """Say what is left of a difference without the probes of the generator that it was selected on."""
    if not is_known(row.get("clean_difference")):
        return ""
    low, high = row.get("clean_generators_low"), row.get("clean_generators_high")
    return (
        "without the generator that heads were ranked on:"
        f" {number(row['clean_difference'], sign=True)} ({interval(low, high, sign=True)} over"
        " generators), which decides the colour"
    )


def over_photographs(row: Mapping[str, Any]) -> str:
    """Say what other photographs of the same generators could have given, where a row knows it."""
    if not is_known(row.get("difference_low")):
        return ""
    bounds = interval(row["difference_low"], row["difference_high"], sign=True)
    return f"over new photographs {bounds}, p (Holm) {p_value(row.get('p_holm'))}"


def better_on(row: Mapping[str, Any]) -> str:
    """Say on how many test generators a difference is an improvement; empty where it is not known.

    Examples
    --------
    >>> better_on({"better": 9.0, "n_generators": 12})
    '9 of 12'
    """
    if not is_known(row.get("better")):
        return ""
    return f"{number(row['better'], 1).removesuffix('.0')} of {integer(row['n_generators'])}"


def worst_cell(facts: Facts, row: Mapping[str, Any]) -> Cell:
    """Return the generator on which a row's probes do worst, with their mean there."""
    if not isinstance(row.get("worst_test"), str):
        return Cell()
    named = generator_cell(facts, row["worst_test"], css="wide")
    return replace(named, sub=number(row["worst"]))


def kind_line(facts: Facts) -> str:
    """Return one sentence that counts the real networks and the simulated generators."""
    kinds = [g.kind for g in facts.generators.values()]
    if not kinds:
        return ""
    real, simulated = kinds.count("network"), kinds.count("simulated")
    if not simulated:
        return f"All {real} generators are real networks."
    if not real:
        return f"All {simulated} generators are simulated: no network made any of these images."
    return (
        f"Of {real + simulated} generators, {real} are real networks and {simulated} are simulated."
    )


def random_weights_lines(facts: Facts, encoders: Iterable[str]) -> list[str]:
    """Return one warning for every encoder of random weights among `encoders`."""
    return [
        f"Encoder {facts.encoders[e].title} has random weights: its words and directions mean"
        " nothing, and its scores only show that the stages run."
        for e in facts.order_encoders(encoders)
        if e in facts.encoders and facts.encoders[e].random
    ]


def render(page: Page) -> str:
    """Return the page as HTML text: the same text for the same page."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    generators = [
        [
            generator_cell(page.facts, g.id),
            Cell(g.id, css="code"),
            Cell(family_title(g.family)),
            Cell(g.kind_title, css="warn" if g.kind == "simulated" else ""),
        ]
        for g in page.facts.generators.values()
    ]
    roster = Table(
        [("Generator", "", ""), ("id", "", ""), ("Family", "", ""), ("Kind", "", "")], generators
    )
    encoders = [
        [Cell(e.title), Cell(e.id, css="code"), Cell(e.weights or "random", css="code")]
        for e in page.facts.encoders.values()
    ]
    encoder_table = Table([("Encoder", "", ""), ("id", "", ""), ("Weights", "", "")], encoders)
    shown = page.encoders or list(page.facts.encoders)
    return environment.get_template("page.html").render(
        page=page,
        warnings=[*page.alerts, *random_weights_lines(page.facts, shown)],
        kinds=kind_line(page.facts),
        encoder_titles=[page.facts.encoder_title(e) for e in page.encoders],
        roster=roster,
        encoder_table=encoder_table,
        version=__version__,
    )
