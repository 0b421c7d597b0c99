"""Pages of the transfer matrices: means with intervals, and every cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from clipsieve import families
from clipsieve.evaluation.metrics import METRICS
from clipsieve.evaluation.seeds import over_seeds as seeds_together
from clipsieve.report.facts import Facts, cells_title, metric_title
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
    difference_cell,
    feature_set_cell,
    generator_cell,
    integer,
    interval,
    is_known,
    number,
    p_value,
    worst_cell,
)
from clipsieve.report.reading import Inputs

if TYPE_CHECKING:
    import pandas as pd

ARROW = " \N{RIGHTWARDS ARROW} "
_MEAN_COLUMNS = (
    *("run", "encoder", "seed", "feature_set", "cells", "metric", "value", "low", "high"),
    *("n_cells", "n", "worst", "worst_test", "baseline", "difference", "difference_low"),
    *("difference_high", "p", "p_holm"),
)


def same_cells_note(seeds: int) -> list[str]:
    """Say what the means, differences and p values of a page are."""
    notes = [
        "A mean is over the cells off the diagonal: probes trained on one generator, tested on"
        " another. Intervals are of a bootstrap by group (photograph or prompt).",
        "Δ: the difference to the probe on all columns (with an intercept where the set has one)"
        " over the same cells. Generators used for a selection are in neither, so the baseline"
        " differs from row to row. p (Holm): corrected over all rows of the metric. In colour: told"
        " from 0 by both, the interval and p of at most 0.05.",
    ]
    if seeds > 1:
        notes.append(
            f"Averages over {seeds} seeds; sd is the spread over seeds. Intervals and p are the"
            " corrected resampled t of all seeds together (their test images overlap); worst is"
            " that of the least favourable seed. The CSV file holds each seed."
        )
    return notes


def means_page(inputs: Inputs, facts: Facts) -> tuple[Content, pd.DataFrame]:
    """Build the page of means: every feature set, cell group and metric, with intervals."""
    table = inputs["means"]
    seeds = sorted(set(table["seed"]))
    shown = seeds_together(table)
    sections = []
    for encoder in facts.order_encoders(table["encoder"]):
        mine = shown[shown["encoder"] == encoder]
        accuracy = mine[mine["metric"] == "accuracy"]
        for cells in dict.fromkeys(accuracy["cells"]):
            part = accuracy[accuracy["cells"] == cells]
            sections.append(
                Section(
                    f"{facts.encoder_title(encoder)}: {cells_title(str(cells))}, accuracy",
                    tables=[mean_rows(part, facts, len(seeds))],
                )
            )
        rest = mine[(mine["cells"] == "all") & (mine["metric"] != "accuracy")]
        if len(rest):
            sections.append(
                Section(
                    f"{facts.encoder_title(encoder)}: the other metrics, all pairs",
                    tables=[_metric_matrix(rest, facts)],
                    folded=True,
                )
            )
    page = Content(
        ["How well a probe trained on one generator tells another's images from real ones."],
        sections,
        notes=same_cells_note(len(seeds)),
    )
    tidy = with_kinds(table, facts)
    return page, leading(tidy, _MEAN_COLUMNS)


def mean_rows(part: pd.DataFrame, facts: Facts, seeds: int) -> Table:
    """Return one table of means, a row a feature set; controls stand last, in grey."""
    records = {r["feature_set"]: r for r in rows_of(part)}
    bounds = [float(x) for c in ("low", "high") for x in part[c] if x == x]
    left, right = (min(bounds), max(bounds)) if bounds else (0.0, 1.0)
    rows = []
    for feature_set in order_feature_sets(list(records)):
        rows.append(_mean_row(records[feature_set], facts, seeds, left, right))
    columns = [
        ("Feature set", "", ""),
        ("mean", "num", "mean over cells, interval below"),
        (f"{number(left, 2)} to {number(right, 2)}", "", "the interval, drawn"),
        ("baseline", "num", "all columns, same cells"),
        ("Δ", "num", "difference to the baseline over the same cells, interval below"),
        ("p\N{NO-BREAK SPACE}(Holm)", "num", ""),
        ("worst generator", "", "the test generator with the lowest mean"),
        ("cells", "num", "cells in the mean"),
        ("images", "num", "test images in the mean"),
    ]
    return Table(columns, rows)


def _mean_row(
    row: Mapping[str, Any], facts: Facts, seeds: int, left: float, right: float
) -> list[Cell]:
    control = families.of(row["feature_set"]).is_control
    own = not is_known(row["difference"])
    spread = f", sd {number(row['value_sd'])}" if seeds > 1 else ""
    return [
        feature_set_cell(facts, row["feature_set"], "quiet" if control else ""),
        Cell(
            number(row["value"]), sub=interval(row["low"], row["high"]) + spread, css="num strong"
        ),
        Cell(bar=(row["low"], row["value"], row["high"], left, right)),
        Cell("" if own else number(row["baseline"]), css="num"),
        Cell(css="num") if own else difference_cell(row),
        Cell("" if own else p_value(row["p_holm"]), tip=f"p {p_value(row['p'])}", css="num"),
        worst_cell(facts, row),
        Cell(integer(row["n_cells"]), css="num"),
        Cell(integer(row["n"]), css="num"),
    ]


def _metric_matrix(part: pd.DataFrame, facts: Facts) -> Table:
    metrics = [m for m in METRICS if m in set(part["metric"])]
    metrics += [m for m in dict.fromkeys(part["metric"]) if m not in metrics]
    records = {(r["feature_set"], r["metric"]): r for r in rows_of(part)}
    rows = []
    for feature_set in order_feature_sets(list(part["feature_set"])):
        row = [feature_set_cell(facts, feature_set)]
        for metric in metrics:
            found = records.get((feature_set, metric))
            if found is None:
                row.append(Cell(css="num"))
                continue
            tip = f"Δ {number(found['difference'], sign=True)}"
            row.append(
                Cell(
                    number(found["value"]),
                    sub=interval(found["low"], found["high"]),
                    tip=tip,
                    css="num",
                )
            )
        rows.append(row)
    columns = [("Feature set", "", ""), *((metric_title(m), "num", m) for m in metrics)]
    return Table(columns, rows, compact=True)


def cells_page(inputs: Inputs, facts: Facts) -> tuple[Content, pd.DataFrame]:
    """Build the page of every cell: train down, test across, accuracy with its interval."""
    import pandas as pd

    table = inputs["cells"]
    many = set(table.loc[table["draw"] > 0, "feature_set"])
    table = table[~table["feature_set"].isin(many)]
    seeds = sorted(set(table["seed"]))
    accuracy = table[table["metric"] == "accuracy"]
    shown = over_seeds(
        accuracy, ["encoder", "feature_set", "train", "test"], ["value", "low", "high", "n"]
    )
    sections = []
    for encoder in facts.order_encoders(table["encoder"]):
        mine = shown[shown["encoder"] == encoder]
        everyone = facts.order(pd.concat([mine["train"], mine["test"]]))
        for i, feature_set in enumerate(order_feature_sets(list(mine["feature_set"]))):
            part = mine[mine["feature_set"] == feature_set]
            sections.append(
                Section(
                    f"{facts.encoder_title(encoder)}: {facts.feature_set_title(feature_set)}",
                    tables=[_matrix(part, everyone, feature_set, facts, len(seeds))],
                    folded=i > 0,
                )
            )
    notes = [
        "Rows: the generator that a probe was trained on. Columns: the generator tested. Below each"
        " accuracy its interval"
        + (" (spread over seeds)" if len(seeds) > 1 else "")
        + "; n is in the tip of the pointer. Dashed: tested on the generator trained on, not"
        " counted in any mean. Hatched: used for the selection.",
        "The CSV file beside this page holds every metric"
        + (
            f"; controls drawn many times ({', '.join(sorted({families.family_of(f) for f in many}))}) are"
            " left out of both."
            if many
            else "."
        ),
    ]
    page = Content(
        [
            "One row of a matrix is one probe; a cell is its accuracy on one generator's test"
            " images."
        ],
        sections,
        notes=notes,
    )
    tidy = with_kinds(table, facts)
    return page, leading(tidy, ("run", "encoder", "seed", "feature_set", "train", "test", "metric"))


def _matrix(
    part: pd.DataFrame, everyone: Sequence[str], feature_set: str, facts: Facts, seeds: int
) -> Table:
    records = {(r["train"], r["test"]): r for r in rows_of(part)}
    pair = families.pair_of(feature_set)
    given = families.unordered(pair) if pair else frozenset()
    rows = []
    for train in everyone:
        row = [generator_cell(facts, train, css="head")]
        for test in everyone:
            found = records.get((train, test))
            if found is None:
                reason = "used for the selection" if given & {train, test} else "not run"
                row.append(Cell(css="given" if given & {train, test} else "quiet", tip=reason))
                continue
            sub = (
                f"sd {number(found['value_sd'])}"
                if seeds > 1
                else interval(found["low"], found["high"], 2).replace(" to ", "\N{EN DASH}")
            )
            row.append(
                Cell(
                    number(found["value"]),
                    sub=sub,
                    tip=f"{facts.pair_title(families.pair_id(train, test), ARROW)}, n {integer(found['n'])}",
                    css="center own" if train == test else "center",
                    shade=2 * (found["value"] - 0.5),
                )
            )
        rows.append(row)
    columns = [("train \\ test", "", ""), *((facts.title(g), "center", g) for g in everyone)]
    return Table(columns, rows, compact=True)
