"""The leaderboard page: encoders and feature sets of a run, the best first, with intervals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from clipsieve import families
from clipsieve.evaluation.metric_records import RECORDS
from clipsieve.report.facts import Facts, metric_title
from clipsieve.report.frames import rows_of, with_kinds
from clipsieve.report.html.page import (
    Cell,
    Content,
    Section,
    Table,
    better_on,
    difference_cell,
    feature_set_cell,
    integer,
    interval,
    is_known,
    number,
    worst_cell,
)
from clipsieve.report.reading import Inputs

if TYPE_CHECKING:
    import pandas as pd


def leaderboard_page(inputs: Inputs, facts: Facts) -> tuple[Content, pd.DataFrame]:
    """Build the page of the leaderboard: a section a metric, a row an encoder and feature set."""
    table = inputs["leaderboard"]
    sections: list[Section] = []
    untrained = table["encoder"].map(facts.is_random)
    if untrained.all():
        untrained = ~untrained
    for apart in (False, True):
        for metric in dict.fromkeys(table["metric"]):
            # the file is in the order of rank
            part = table[(table["metric"] == metric) & (untrained == apart)]
            if not len(part):
                continue
            title = f"Mean {metric_title(str(metric))} on generators not trained on"
            sections.append(
                Section(
                    f"Stages run, encoders of random weights: {title[0].lower()}{title[1:]}"
                    if apart
                    else title,
                    [_what_is_good(str(metric))],
                    tables=[_rows(part, str(metric), facts)],
                    folded=bool(sections),
                )
            )
    page = Content(
        ["Encoders and feature sets of this run, the best first. Controls are in grey."],
        sections,
        notes=[
            "Intervals of means and of Δ are over generators: what other generators could have given."
            " Over photographs of these same generators they are narrower, and stand in the tip of the"
            " pointer. In colour: significantly different from 0 over generators. Rows with overlapping"
            " intervals cannot be ordered by this run. Feature sets that were selected"
            " on a pair are means over other cells than those that were not, so rows stand"
            " in the order of Δ, the difference to all columns over the same cells (between encoders:"
            " of the mean of all columns over all cells plus Δ). The calibration error is in the"
            " order of a proper score, since an answer that never changes can be calibrated.",
            "With several seeds, intervals are the corrected resampled t of all seeds; overlap is"
            " the Jaccard index of what was selected under two seeds, beside that of random choices.",
        ],
    )
    return page, with_kinds(table, facts)


def _what_is_good(metric: str) -> str:
    """Say which way is better, what chance gives, and where the order means nothing."""
    record = RECORDS[metric]
    text = f"{'Higher' if record.higher_is_better else 'Lower'} is better."
    if not callable(record.chance):
        text += f" An answer that does not depend on the image scores {number(record.chance)}."
    if not record.may_rank:
        text += " A constant answer can reach the best value, so the order says little on its own."
    return text


def _rows(part: pd.DataFrame, metric: str, facts: Facts) -> Table:
    # Shuffled labels stand at chance: with them on the scale the others would lie in a heap.
    scale = (
        part[[not families.of(s).shuffle for s in part["feature_set"]]] if len(part) > 1 else part
    )
    names = ["value_generators_low", "value_generators_high"]
    ends = scale[[n for n in names if n in scale.columns]].to_numpy(dtype=float)
    ends = ends if np.isfinite(ends).any() else scale[["low", "high"]].to_numpy(dtype=float)
    left, right = float(np.nanmin(ends)), float(np.nanmax(ends))
    several = part["run"].nunique() > 1
    sized = "selected" in part.columns and part["selected"].notna().any()
    rows = []
    for place, row in enumerate(rows_of(part), 1):
        control = "quiet" if families.of(row["feature_set"]).is_control else ""
        spread = row.get("sd_over_seeds")
        seeds = row.get("seeds")
        more = f"; {integer(seeds)} seeds, sd {number(spread)}" if is_known(spread) else ""
        low, high = row.get("value_generators_low"), row.get("value_generators_high")
        low, high = (float("nan") if value is None else value for value in (low, high))
        cells = [
            Cell(str(place), css="num quiet"),
            Cell(
                facts.encoder_title(str(row["encoder"])),
                sub=str(row["run"]) if several else "",
                tip=str(row["encoder"]),
                css=control,
            ),
            feature_set_cell(facts, str(row["feature_set"]), control),
            Cell(
                number(row["value"]),
                sub=interval(low, high) + more,
                tip=f"over photographs {interval(row['low'], row['high'])}",
                css="num strong",
            ),
            Cell(bar=(low, row["value"], high, left, right)),
            difference_cell(row, low_is_good=not RECORDS[metric].higher_is_better),
            Cell(better_on(row), css="num"),
            worst_cell(facts, row),
        ]
        if sized:
            cells.append(_size(row))
        cells.append(
            Cell(integer(row.get("n_cells")), sub=f"{integer(row.get('n'))} images", css="num")
        )
        rows.append(cells)
    columns = [
        ("", "num", ""),
        ("Encoder", "", ""),
        ("Feature set", "", ""),
        (metric_title(metric), "num", "interval over generators below"),
        (f"{number(left, 2)} to {number(right, 2)}", "", "the interval over generators, drawn"),
        (
            "Δ",
            "num",
            "difference to all columns over the same cells, interval over generators below",
        ),
        ("better on", "num", "test generators on which it is better than all columns"),
        ("worst generator", "", "the test generator with the worst mean"),
    ]
    if sized:
        columns.append(("columns", "num", "selected, out of how many; overlap of two seeds below"))
    columns.append(("cells", "num", "cells in the mean, test images below"))
    return Table(columns, rows, compact=True)


def _size(row: Mapping[str, Any]) -> Cell:
    if not is_known(row["selected"]):
        return Cell(css="num")
    whole = float(row["selected"]).is_integer()
    size = integer(row["selected"]) if whole else number(row["selected"], 1)
    total = row.get("selected_from")
    overlap = row.get("jaccard")
    return Cell(
        f"{size} of {integer(total)}" if is_known(total) else size,
        sub=f"overlap {number(overlap, 2)}" if is_known(overlap) else "",
        tip=f"overlap by chance {number(row.get('jaccard_by_chance'), 2)}"
        if is_known(overlap)
        else "",
        css="num",
    )
