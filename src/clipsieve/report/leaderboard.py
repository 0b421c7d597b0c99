"""The leaderboard page: encoders and feature sets of a run, the best first, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipsieve.report import registry
from clipsieve.report.facts import Facts
from clipsieve.report.frames import CONTROLS, family_of, rows_of, with_kinds
from clipsieve.report.page import (
    Cell,
    Page,
    Section,
    Table,
    feature_set_cell,
    integer,
    interval,
    number,
)
from clipsieve.report.reading import read_tables
from clipsieve.report.transfer import metric_title

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = {"run", "encoder", "seed", "feature_set", "metric", "value", "low", "high"}


def leaderboard_page(
    inputs: Mapping[str, Sequence[Path]], facts: Facts
) -> tuple[Page, pd.DataFrame]:
    """Build the page of the leaderboard: encoders and feature sets, best first, with intervals."""
    table = read_tables("leaderboard", inputs["leaderboard"]).drop(columns="file_stem")
    extra = [c for c in table.columns if c not in _COLUMNS]
    sections: list[Section] = []
    for metric in dict.fromkeys(table["metric"]):
        part = table[table["metric"] == metric].sort_values("value", ascending=metric == "ece")
        left, right = float(part["low"].min()), float(part["high"].max())
        rows = []
        for place, row in enumerate(rows_of(part), 1):
            rows.append(
                [
                    Cell(str(place), css="num quiet"),
                    Cell(facts.encoder_title(str(row["encoder"])), tip=str(row["encoder"])),
                    feature_set_cell(
                        facts,
                        str(row["feature_set"]),
                        "quiet" if family_of(str(row["feature_set"])) in CONTROLS else "",
                    ),
                    Cell(
                        number(row["value"]),
                        sub=interval(row["low"], row["high"]),
                        css="num strong",
                    ),
                    Cell(bar=(row["low"], row["value"], row["high"], left, right)),
                    *(_plain(row[c]) for c in extra),
                ]
            )
        columns = [
            ("", "num", ""),
            ("Encoder", "", ""),
            ("Feature set", "", ""),
            (metric_title(str(metric)), "num", "interval below"),
            (f"{number(left, 2)} to {number(right, 2)}", "", "the interval, drawn"),
            *(
                (c.replace("_", " "), "num" if part[c].dtype.kind in "fiu" else "", c)
                for c in extra
            ),
        ]
        sections.append(
            Section(
                f"Mean {metric_title(str(metric))}",
                tables=[Table(columns, rows)],
                folded=bool(sections),
            )
        )
    page = Page(
        registry.TITLES["leaderboard"],
        ["Encoders and feature sets of this run, the best first."],
        sections,
        facts,
        notes=[
            "Rows with overlapping intervals are not told apart by this run. Feature sets that were"
            " selected on a pair are averages over other cells than those that were not: compare"
            " by difference, not by place."
        ],
        run=str(table["run"].iloc[0]) if len(table) and table["run"].iloc[0] else "",
        encoders=facts.order_encoders(table["encoder"]),
    )
    return page, with_kinds(table, facts)


def _plain(value: Any) -> Cell:
    """Return a cell for a column that this page knows nothing of."""
    if value is None or value != value:
        return Cell()
    if isinstance(value, float):
        return Cell(integer(value) if value.is_integer() else number(value), css="num")
    return Cell(integer(value), css="num") if isinstance(value, int) else Cell(str(value))
