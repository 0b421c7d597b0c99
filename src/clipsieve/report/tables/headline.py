"""The page of what survives: every method on generators not trained on, one and several to train on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from clipsieve import families
from clipsieve.evaluation.metric_records import RECORDS
from clipsieve.evaluation.seeds import over_seeds
from clipsieve.report.facts import Facts, cells_title, metric_title
from clipsieve.report.frames import leading, order_feature_sets, rows_of, with_kinds
from clipsieve.report.html.page import (
    Cell,
    Content,
    Section,
    Table,
    better_on,
    integer,
    interval,
    is_known,
    number,
)
from clipsieve.report.reading import Inputs

if TYPE_CHECKING:
    import pandas as pd

#: Training of the columns, as groups of cells: one generator, then all but those tested.
TRAINED = ("all", "all_but_one", "all_but_family")
METRICS = ("auc", "balanced_accuracy")
_AVERAGED = (
    *("value", "baseline", "difference", "generators_low", "generators_high"),
    *("value_generators_low", "value_generators_high", "better", "n_generators", "n_cells"),
)
_COLUMNS = (
    "run",
    "encoder",
    "family",
    "role",
    "compared_with",
    "cells",
    "metric",
    "pairs",
    "seeds",
)


def headline_page(inputs: Inputs, facts: Facts) -> tuple[Content, pd.DataFrame]:
    """Build the page of methods, each with its random controls, over pairs and seeds."""
    table = inputs["means"]
    joined = by_family(table)
    sections = []
    for encoder in facts.order_encoders(joined["encoder"]):
        for metric in METRICS:
            part = joined[(joined["encoder"] == encoder) & (joined["metric"] == metric)]
            if not len(part):
                continue
            chance = RECORDS[metric].chance_level()
            sections.append(
                Section(
                    f"{facts.section_title(encoder)}: {metric_title(metric)}",
                    [f"Chance is {chance:g}. {_best(part)}"],
                    tables=[_rows(part)],
                    folded=metric != METRICS[0] or facts.is_random(encoder),
                )
            )
    notes = [
        "Each method comes first, and its controls below it, in grey. A gain that a control of equal"
        " size has too is not due to what the method chose.",
        "Δ is the difference to the probe on all columns over the same cells, with its interval over"
        " generators and the number of test generators on which it is positive.",
        "A method that is selected on pairs is the mean over its pairs, and its interval that of the"
        " pairs' bounds: as wide as if the pairs' errors were one and the same. A control that is drawn"
        " many times is the mean over its draws, without an interval.",
        "Rows trained on several generators have no rank among draws: their interval is over tested"
        " generators alone.",
    ]
    page = Content(
        [
            "What transfers to a generator that was not trained on. Each method is held against all"
            " columns of the embedding and against controls of the same size."
        ],
        sections,
        notes=notes,
    )
    return page, leading(with_kinds(joined, facts), _COLUMNS)


def by_family(table: pd.DataFrame) -> pd.DataFrame:
    """Average means over the pairs of each family, and over seeds.

    Parameters
    ----------
    table
        Rows of the table of means, of any seeds.

    Returns
    -------
    DataFrame
        One row for each encoder, family, group of cells of `TRAINED` and metric of `METRICS`, with
        `pairs` (feature sets averaged) and `seeds`. A control is there once for each method that it
        is compared with (`compared_with`).
    """
    import pandas as pd

    wanted = table[table["cells"].isin(TRAINED) & table["metric"].isin(METRICS)]
    seeds = len(set(wanted["seed"]))
    shown = over_seeds(wanted)
    shown = shown.assign(family=[families.family_of(name) for name in shown["feature_set"]])
    run = str(table["run"].iloc[0]) if len(table) else ""
    rows: list[dict[str, Any]] = []
    keys = ["encoder", "family", "cells", "metric"]
    columns = [name for name in _AVERAGED if name in shown.columns]
    for key, part in shown.groupby(keys, sort=False):
        encoder, family, cells, metric = (str(text) for text in key)
        record = families.get(family)
        averages = {
            name: float(part[name].mean(skipna=False)) if len(part) else float("nan")
            for name in columns
        }
        for method in record.control_of or ("",):
            rows.append(
                {
                    **{"run": run, "encoder": encoder, "family": family, "role": record.role},
                    **{"compared_with": method, "cells": cells, "metric": metric},
                    **{"pairs": len(part), "seeds": seeds, **averages},
                }
            )
    return pd.DataFrame(rows)


def _best(part: pd.DataFrame) -> str:
    """Say which method has the best mean, and whether it is told from all columns."""
    said = []
    for cells in TRAINED:
        mine = part[(part["cells"] == cells) & (part["role"] == "method")]
        if not len(mine):
            continue
        row = rows_of(mine.sort_values("value", ascending=False))[0]
        title = families.get(row["family"]).title
        words = f"{_trained(cells)}: {title}, {number(row['value'])}"
        if is_known(row["difference"]):
            words += f" (Δ {number(row['difference'], sign=True)}, better on {better_on(row)})"
        said.append(words)
    return f"The best mean, {'; '.join(said)}."


def _trained(cells: str) -> str:
    return "trained on one" if cells == "all" else cells_title(cells)


def _rows(part: pd.DataFrame) -> Table:
    records = {(r["family"], r["compared_with"], r["cells"]): r for r in rows_of(part)}
    there = [cells for cells in TRAINED if any(key[2] == cells for key in records)]
    names = {family for family, _, _ in records}
    rows = []
    for family in order_feature_sets([n for n in names if not families.get(n).is_control]):
        rows.append(_row(families.get(family).title, family, "", there, records, ""))
        for control in families.controls_of(family):
            if control in names:
                title = families.get(control).title
                rows.append(_row(title, control, family, there, records, "quiet"))
    columns = [("Feature set", "", "")]
    for cells in there:
        columns += [
            (_trained(cells), "num", "mean; below, its interval over generators"),
            ("Δ", "num", "to all columns over the same cells; interval over generators"),
            ("better on", "num", "test generators with a positive difference"),
        ]
    return Table(columns, rows)


def _row(
    title: str,
    family: str,
    method: str,
    there: list[str],
    records: Mapping[tuple[str, str, str], Mapping[str, Any]],
    css: str,
) -> list[Cell]:
    known = [
        records[family, method, cells] for cells in there if (family, method, cells) in records
    ]
    pairs = max((one["pairs"] for one in known), default=1)
    paired = families.get(family).pairs != "none"
    sub = f"mean of {integer(pairs)} pairs" if paired else ""
    row = [Cell(title, sub=sub, tip=family, css=f"wide {css}".strip())]
    for cells in there:
        found = records.get((family, method, cells))
        if found is None:
            row += [Cell(css="num")] * 3
            continue
        over = interval(found.get("value_generators_low"), found.get("value_generators_high"))
        row.append(Cell(number(found["value"]), sub=over, css=f"num {css or 'strong'}"))
        if not is_known(found["difference"]):
            row += [Cell(css="num")] * 2
            continue
        told = interval(found.get("generators_low"), found.get("generators_high"), sign=True)
        row.append(Cell(number(found["difference"], sign=True), sub=told, css=f"num {css}".strip()))
        row.append(Cell(better_on(found), css=f"num {css}".strip()))
    return row
