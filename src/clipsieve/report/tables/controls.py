"""The page of controls: where each selection ranks among random ones, and the search's optimism."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clipsieve.report.facts import Facts, metric_title
from clipsieve.report.frames import (
    leading,
    order_feature_sets,
    over_seeds,
    rows_of,
    with_kinds,
)
from clipsieve.report.html.page import (
    Cell,
    Content,
    Section,
    Table,
    feature_set_cell,
    integer,
    interval,
    number,
    p_value,
)
from clipsieve.report.reading import Inputs

if TYPE_CHECKING:
    import pandas as pd


def controls_page(inputs: Inputs, facts: Facts) -> tuple[Content, pd.DataFrame]:
    """Build the page of controls: where each selection stands among random ones of equal size."""
    table = inputs["controls"]
    optimism = inputs["optimism"]
    seeds = sorted(set(table["seed"]) | set(optimism["seed"]))
    sections = []
    for encoder in facts.order_encoders([*table["encoder"], *optimism["encoder"]]):
        title = facts.encoder_title(encoder)
        mine = table[table["encoder"] == encoder]
        for metric in dict.fromkeys(mine["metric"]):
            part = mine[mine["metric"] == metric]
            sections.append(
                Section(
                    f"{title}: rank among controls, {metric_title(str(metric))}",
                    tables=[_control_rows(part, facts, len(seeds))],
                    folded=metric != "accuracy",
                )
            )
        part = optimism[optimism["encoder"] == encoder]
        if len(part):
            sections.append(
                Section(
                    f"{title}: optimism of the search",
                    [
                        "A selection scores better on the pair that it was made on than on the"
                        " rest, as any search does. What counts is the gain on the rest. Its interval"
                        " is over photographs; what other generators could have given stands on the"
                        " page of means."
                    ],
                    tables=[_optimism_rows(part, facts)],
                )
            )
    page = Content(
        [
            "A selection is worth something if it beats random selections of the same size: rank 1"
            " means that it beats every draw. Chance gives every rank alike. A rank is for the"
            " generators and photographs of this run; whether a selection helps on other generators"
            " stands on the pages of means and of pairs."
        ],
        sections,
        notes=[
            "p: the share of draws that score at least as well, (1 + those) / (1 + draws). A control"
            " of one draw has no rank; its Δ has an interval instead. What is compared with draws are"
            " probes of the selection made as theirs are (the value below the selected one); where"
            " the two were tuned on different grids there is no p.",
            "p (Holm) is corrected over all rows of the metric that have a p, of one encoder and"
            " seed; a rank is coloured where it is at most 0.05. Of k such ranks among d draws none"
            " can have a corrected p below k / (1 + d).",
        ],
    )
    columns = ("run", "encoder", "seed", "feature_set", "control", "metric", "value")
    return page, leading(with_kinds(table, facts), columns)


def _control_rows(part: pd.DataFrame, facts: Facts, seeds: int) -> Table:
    rows = []
    ordered = order_feature_sets(list(part["feature_set"]))
    records = sorted(rows_of(part), key=lambda r: (ordered.index(r["feature_set"]), r["seed"]))
    for row in records:
        drawn = row["draws"] > 1
        p, corrected = (
            float(row[name]) if row[name] is not None else float("nan") for name in ("p", "p_holm")
        )
        z = (
            (row["compared_value"] - row["control_mean"]) / row["control_sd"]
            if drawn and row["control_sd"] > 0
            else float("nan")
        )
        cells = [
            feature_set_cell(facts, row["feature_set"]),
            feature_set_cell(facts, row["control"]),
            Cell(
                number(row["value"]),
                sub=f"{number(row['compared_value'])} as the draws" if drawn else "",
                css="num strong",
            ),
            Cell(
                number(row["control_mean"]),
                sub=f"sd {number(row['control_sd'])}" if drawn else "",
                css="num",
            ),
            Cell(
                number(row["compared_value"] - row["control_mean"], sign=True),
                sub=interval(row.get("difference_low"), row.get("difference_high"), sign=True),
                css="num",
            ),
            Cell(number(z, 1) if z == z else "", css="num"),
            Cell(
                f"{integer(row['rank'])} of {integer(row['draws'] + 1)}" if drawn else "",
                css="num good" if corrected <= 0.05 else "num",
            ),
            Cell(p_value(p) if drawn else "", css="num"),
            Cell(p_value(corrected) if drawn else "", css="num"),
        ]
        if seeds > 1:
            cells.insert(0, Cell(str(row["seed"]), css="num quiet"))
        rows.append(cells)
    columns = [
        ("Selected set", "", ""),
        ("Control", "", ""),
        ("selected", "num", "mean over cells"),
        ("control", "num", "mean over draws, spread below"),
        ("Δ", "num", "selected less control"),
        ("z", "num", "in standard deviations of the draws"),
        ("rank", "num", "1 is best"),
        ("p", "num", "rank / (1 + draws)"),
        ("p\N{NO-BREAK SPACE}(Holm)", "num", "corrected over all ranks of the metric"),
    ]
    if seeds > 1:
        columns.insert(0, ("seed", "num", ""))
    return Table(columns, rows)


def _optimism_rows(part: pd.DataFrame, facts: Facts) -> Table:
    values = [
        *("score_on_search_pair", "baseline_on_search_pair"),
        *("score_on_the_rest", "baseline_on_the_rest", "winners_curse", "shift", "n_cells"),
    ]
    if part["seed"].nunique() == 1:
        values += [c for c in part.columns if c.startswith("gain_on_the_rest_")]
    shown = over_seeds(part, ["feature_set"], values)
    records = {r["feature_set"]: r for r in rows_of(shown)}
    rows = []
    for feature_set in order_feature_sets(list(records)):
        r = records[feature_set]
        on_pair = r["score_on_search_pair"] - r["baseline_on_search_pair"]
        on_rest = r["score_on_the_rest"] - r["baseline_on_the_rest"]
        rows.append(
            [
                feature_set_cell(facts, feature_set),
                Cell(number(r["score_on_search_pair"]), css="num"),
                Cell(number(on_pair, sign=True), css="num"),
                Cell(number(r["score_on_the_rest"]), css="num"),
                Cell(
                    number(on_rest, sign=True),
                    sub=interval(
                        r.get("gain_on_the_rest_low"), r.get("gain_on_the_rest_high"), sign=True
                    ),
                    css="num strong",
                ),
                Cell(number(on_pair - on_rest, sign=True), css="num"),
                Cell(number(r["winners_curse"], sign=True), css="num"),
                Cell(number(r["shift"], sign=True), css="num"),
                Cell(integer(r["n_cells"]), css="num"),
            ]
        )
    columns = [
        ("Selected set", "", ""),
        ("on its pair", "num", "score on the pair that it was selected on"),
        ("gain", "num", "over all columns, on the pair"),
        ("on the rest", "num", "score on the generators that it was not selected on"),
        ("gain", "num", "over all columns, on the rest"),
        ("optimism", "num", "gain on the pair less gain on the rest: the two columns after it"),
        (
            "winner's curse",
            "num",
            "gain on the images that the search saw, less gain on new images"
            " of the same pair, by probes tuned alike",
        ),
        ("shift", "num", "gain on new images of the pair less gain on the rest"),
        ("cells", "num", "cells in the score on the rest"),
    ]
    return Table(columns, rows)
