"""Every mean that the paper prints beside ours: difference, tolerance, or why there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clipsieve import families
from clipsieve.evaluation.seeds import over_seeds as seeds_together
from clipsieve.report.facts import PAPER_ENCODERS, Facts, cells_title
from clipsieve.report.frames import leading, rows_of, with_kinds
from clipsieve.report.html.page import Cell, Content, Section, Table, interval, number
from clipsieve.report.published import ROUNDING, published
from clipsieve.report.reading import Inputs
from clipsieve.report.tables.transfer import chance_sentence

if TYPE_CHECKING:
    import pandas as pd

#: The pair of Figures 2 to 5 (appendix A.2 and A.4 of the paper).
FIGURE_PAIR = ("sd14_200", "progan")
_COLUMNS = (
    *("run", "where", "encoder", "feature_set", "cells", "published", "ours", "low", "high"),
    *("generators_low", "generators_high", "difference", "tolerance", "within_tolerance"),
    *("seeds", "reason"),
)


def paper_page(inputs: Inputs, facts: Facts) -> tuple[Content, pd.DataFrame]:
    """Build the page of printed values; its table has one row a printed mean, comparable or not."""
    import pandas as pd

    means = seeds_together(inputs["means"])
    means = means[means["metric"] == "accuracy"]
    ours = {(r["encoder"], r["feature_set"], r["cells"]): r for r in rows_of(means)}
    rows = [_beside(row, ours, facts) for row in _printed()]
    table = pd.DataFrame(rows).assign(run=", ".join(map(str, inputs.values("run"))))
    compared = table[table["ours"].notna()]
    rest = table[table["ours"].isna()]
    sections = []
    for title, part in (("Side by side", compared), ("Without a counterpart in this run", rest)):
        if len(part):
            sections.append(Section(title, tables=[_rows(part, facts)], folded=part is rest))
    inside = int(compared["within_tolerance"].eq(True).sum())
    page = Content(
        [
            f"Of {len(table)} printed mean accuracies {len(compared)} can be set beside ours;"
            f" {inside} lie within the tolerance. {chance_sentence()}"
        ],
        sections,
        notes=[
            "Tolerance: how far our interval over photographs reaches towards the printed value, and"
            " half of its last digit. The paper's images and splits are not known, so a value outside is"
            " not proof of an error. What other generators could have given is wider and stands beside it.",
            "Ids of generators and encoders decide what is compared; images and weights are not compared.",
        ],
    )
    return page, leading(with_kinds(table, facts), _COLUMNS)


def _printed() -> list[dict[str, Any]]:
    """Return every printed mean: where it stands, encoder, feature set, cells, value, and doubts."""
    found = []
    for row in rows_of(published("table4_left")):
        method, pair, note = row["method"], "", ""
        name = families.BASELINE
        if row["train"] == row["train"]:
            pair = families.pair_id(row["train"], row["val"])
            name = families.feature_set_id(method, pair)
        else:
            note = f"the baseline printed beside {method}"
        found.append(_value("Table 4, left", row["encoder"], name, "all", row["value"], note))
    for row in rows_of(published("table4_right")):
        baseline = row["method"] == "baseline"
        name = families.BASELINE if baseline else row["method"]
        note = "the print leaves its place open" if row["reading"] == "uncertain" else ""
        found.append(
            _value("Table 4, right", row["encoder"], name, row["cells"], row["value"], note)
        )
    for row in rows_of(published("figure_means")):
        record = families.get(row["family"])
        pair = families.pair_id(*FIGURE_PAIR)
        name = (
            row["family"]
            if record.pairs == "none"
            else families.feature_set_id(row["family"], pair)
        )
        where = f"Figure {row['figure']}, caption"
        found.append(_value(where, row["encoder"], name, row["cells"], row["value"], ""))
    return found


def _value(
    where: str, encoder: str, feature_set: str, cells: str, value: float, note: str
) -> dict[str, Any]:
    return {
        **{"where": where, "encoder": encoder, "feature_set": feature_set, "cells": cells},
        **{"published": value, "note": note},
    }


def _beside(
    row: dict[str, Any], ours: dict[tuple[str, str, str], dict[str, Any]], facts: Facts
) -> dict[str, Any]:
    """Return a printed value with ours, or with the reason why there is none."""
    nothing = float("nan")
    result = {**row, "ours": nothing, "low": nothing, "high": nothing, "tolerance": nothing}
    result |= {"generators_low": nothing, "generators_high": nothing, "seeds": nothing}
    result |= {"difference": nothing, "within_tolerance": None, "reason": row["note"]}
    del result["note"]
    found, reason = _counterpart(row, ours, facts)
    if found is None:
        return {**result, "reason": "; ".join(filter(None, (reason, row["note"])))}
    low, high, value = found["low"], found["high"], found["value"]
    difference = value - row["published"]
    known = low == low and high == high
    reach = (value - low if difference > 0 else high - value) if known else nothing
    tolerance = reach + ROUNDING
    return result | {
        **{"ours": value, "low": low, "high": high, "difference": difference},
        **{"generators_low": found.get("value_generators_low", nothing)},
        **{"generators_high": found.get("value_generators_high", nothing)},
        **{"tolerance": tolerance, "seeds": found.get("seeds", nothing)},
        "within_tolerance": bool(abs(difference) <= tolerance) if known else None,
    }


def _counterpart(
    row: dict[str, Any], ours: dict[tuple[str, str, str], dict[str, Any]], facts: Facts
) -> tuple[dict[str, Any] | None, str]:
    """Return our row for a printed value; None and the reason where there is none."""
    if not facts.is_paper_run():
        return None, "this run has other generators than the paper's fourteen"
    encoder, name, cells = row["encoder"], row["feature_set"], row["cells"]
    if encoder not in facts.encoders or encoder not in PAPER_ENCODERS:
        return None, "this encoder is not in this run"
    record = families.of(name)
    pair = families.pair_of(name)
    if row["where"] == "Table 4, right" and record.pairs != "none":
        return _over_pairs(encoder, name, cells, ours)
    if pair and row["where"].startswith("Figure") and cells == "all":
        return (
            None,
            "printed with the search pair counted in, which takes no part in our evaluation",
        )
    if not pair and cells == "rest":
        base = families.feature_set_id(
            "components_intercept" if record.fit_intercept else "components",
            families.pair_id(*FIGURE_PAIR),
        )
        selected = _found(encoder, base, "all", ours)
        if selected is None:
            return None, "the pair of the figures is not in this run"
        return {"value": selected["baseline"], "low": float("nan"), "high": float("nan")}, ""
    mine = _found(encoder, name, "all" if cells == "rest" else cells, ours)
    return mine, "" if mine is not None else "this selection is not in this run"


def _found(
    encoder: str, name: str, cells: str, ours: dict[tuple[str, str, str], dict[str, Any]]
) -> dict[str, Any] | None:
    """Return our row of a feature set, whichever order an unordered pair is named in."""
    mine = ours.get((encoder, name, cells))
    pair = families.pair_of(name)
    if mine is None and pair and families.of(name).pairs == "unordered":
        back = families.feature_set_id(families.family_of(name), families.reverse(pair))
        mine = ours.get((encoder, back, cells))
    return mine


def _over_pairs(
    encoder: str, method: str, cells: str, ours: dict[tuple[str, str, str], dict[str, Any]]
) -> tuple[dict[str, Any] | None, str]:
    """Average a method over the pairs of Table 4; the pair of the figures is not one of them."""
    figures = frozenset(FIGURE_PAIR)
    mine = [
        row
        for (of, name, group), row in ours.items()
        if of == encoder
        and group == cells
        and families.family_of(name) == method
        and families.unordered(families.pair_of(name)) != figures
    ]
    if not mine:
        return None, "this selection is not in this run"
    value = sum(row["value"] for row in mine) / len(mine)
    return {"value": value, "low": float("nan"), "high": float("nan")}, ""


def _rows(part: pd.DataFrame, facts: Facts) -> Table:
    rows = []
    for row in rows_of(part):
        inside = row["within_tolerance"]
        pair = families.pair_of(row["feature_set"])
        said = "" if inside is None else "within" if inside else "outside"
        rows.append(
            [
                Cell(row["where"]),
                Cell(facts.encoder_title(row["encoder"])),
                Cell(
                    families.of(row["feature_set"]).title,
                    sub=facts.selected_on(row["feature_set"]) if pair else "",
                    tip=row["feature_set"],
                    css="wide",
                ),
                Cell("without the pair" if row["cells"] == "rest" else cells_title(row["cells"])),
                Cell(number(row["published"]), css="num"),
                Cell(
                    number(row["ours"]),
                    sub=interval(row["generators_low"], row["generators_high"]),
                    tip=f"over photographs {interval(row['low'], row['high'])}",
                    css="num strong",
                ),
                Cell(number(row["difference"], sign=True), css="num"),
                Cell(number(row["tolerance"]), css="num"),
                Cell(
                    said, sub=row["reason"], css="good" if inside else "warn" if said else "quiet"
                ),
            ]
        )
    columns = [
        *(("Where", "", ""), ("Encoder", "", ""), ("Feature set", "", ""), ("cells", "", "")),
        *(("paper", "num", ""), ("ours", "num", "interval over generators below")),
        *(("ours \N{MINUS SIGN} paper", "num", ""), ("tolerance", "num", ""), ("", "", "")),
    ]
    return Table(columns, rows, compact=True)
