"""Pages of the selections: rank among controls and optimism; what was selected, and how stably."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipsieve.report import registry
from clipsieve.report.facts import Facts
from clipsieve.report.frames import (
    family_of,
    leading,
    order_feature_sets,
    over_seeds,
    rows_of,
    unordered,
    with_kinds,
)
from clipsieve.report.page import (
    Cell,
    Page,
    Section,
    Table,
    feature_set_cell,
    integer,
    interval,
    number,
    p_value,
)
from clipsieve.report.reading import read_features, read_tables
from clipsieve.report.transfer import metric_title

if TYPE_CHECKING:
    import pandas as pd


def controls_page(inputs: Mapping[str, Sequence[Path]], facts: Facts) -> tuple[Page, pd.DataFrame]:
    """Build the page of controls: where each selection stands among random ones of equal size."""
    table = read_tables("controls", inputs["controls"]).drop(columns="file_stem")
    optimism = read_tables("optimism", inputs["optimism"]).drop(columns="file_stem")
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
                        " rest, as any search does. What counts is the gain on the rest."
                    ],
                    tables=[_optimism_rows(part, facts)],
                )
            )
    page = Page(
        registry.TITLES["controls"],
        [
            "A selection is worth something if it beats random selections of the same size: rank 1"
            " means that it beats every draw."
        ],
        sections,
        facts,
        notes=[
            "p: the share of draws that score at least as well, (1 + those) / (1 + draws). A control"
            " of one draw has no rank; its Δ has an interval instead."
        ],
        run=str(table["run"].iloc[0]) if len(table) else "",
        encoders=facts.order_encoders(table["encoder"]),
        seeds=seeds,
    )
    columns = ("run", "encoder", "seed", "feature_set", "control", "metric", "value")
    return page, leading(with_kinds(table, facts), columns)


def _control_rows(part: pd.DataFrame, facts: Facts, seeds: int) -> Table:
    rows = []
    ordered = order_feature_sets(list(part["feature_set"]))
    records = sorted(rows_of(part), key=lambda r: (ordered.index(r["feature_set"]), r["seed"]))
    for row in records:
        drawn = row["draws"] > 1
        p = float(row["p"]) if row["p"] is not None else float("nan")
        z = (
            (row["value"] - row["control_mean"]) / row["control_sd"]
            if drawn and row["control_sd"] > 0
            else float("nan")
        )
        cells = [
            feature_set_cell(facts, row["feature_set"]),
            feature_set_cell(facts, row["control"]),
            Cell(number(row["value"]), css="num strong"),
            Cell(
                number(row["control_mean"]),
                sub=f"sd {number(row['control_sd'])}" if drawn else "",
                css="num",
            ),
            Cell(
                number(row["value"] - row["control_mean"], sign=True),
                sub=interval(row.get("difference_low"), row.get("difference_high"), sign=True),
                css="num",
            ),
            Cell(number(z, 1) if z == z else "", css="num"),
            Cell(
                f"{integer(row['rank'])} of {integer(row['draws'] + 1)}" if drawn else "",
                css="num good" if p <= 0.05 else "num",
            ),
            Cell(p_value(p) if drawn else "", css="num"),
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
        ("p", "num", ""),
    ]
    if seeds > 1:
        columns.insert(0, ("seed", "num", ""))
    return Table(columns, rows)


def _optimism_rows(part: pd.DataFrame, facts: Facts) -> Table:
    values = [
        *("score_on_search_pair", "baseline_on_search_pair"),
        *("score_on_the_rest", "baseline_on_the_rest", "n_cells"),
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
                Cell(integer(r["n_cells"]), css="num"),
            ]
        )
    columns = [
        ("Selected set", "", ""),
        ("on its pair", "num", "score on the pair that it was selected on"),
        ("gain", "num", "over all columns, on the pair"),
        ("on the rest", "num", "score on the generators that it was not selected on"),
        ("gain", "num", "over all columns, on the rest"),
        ("optimism", "num", "gain on the pair less gain on the rest"),
        ("cells", "num", "cells in the score on the rest"),
    ]
    return Table(columns, rows)


def selection_page(inputs: Mapping[str, Sequence[Path]], facts: Facts) -> tuple[Page, pd.DataFrame]:
    """Build the page of what was selected: search outcomes, kept columns, heads, stability.

    Returns
    -------
    tuple
        The page, and one row a selected set: `size`, `columns` (as JSON text of the list).
    """
    import json

    import pandas as pd

    searches = read_tables("searches", inputs["searches"]) if inputs["searches"] else None
    entries = [
        e for e in read_features(inputs["features"]) if family_of(e["feature_set"]) in _SELECTED
    ]
    rankings = (
        read_tables("head_rankings", inputs["head_rankings"]) if inputs["head_rankings"] else None
    )
    encoders = facts.order_encoders(
        [*(e["encoder"] for e in entries), *(searches["encoder"] if searches is not None else ())]
    )
    seeds = sorted({e["seed"] for e in entries})
    sections = []
    for encoder in encoders:
        title = facts.encoder_title(encoder)
        if searches is not None:
            mine = searches[searches["encoder"] == encoder]
            if len(mine):
                sections.append(
                    Section(f"{title}: component searches", tables=[_search_rows(mine, facts)])
                )
        mine_entries = [e for e in entries if e["encoder"] == encoder]
        if mine_entries:
            sections.append(
                Section(f"{title}: selected sets", tables=[_entry_rows(mine_entries, facts)])
            )
        sizes = _universe(
            mine_entries,
            None if searches is None else searches[searches["encoder"] == encoder],
            None if rankings is None else rankings[rankings["encoder"] == encoder],
        )
        stable = _stability_rows(mine_entries, sizes, facts)
        if stable is not None:
            sections.append(Section(f"{title}: how stable the choice is", tables=[stable]))
        if rankings is not None:
            mine = rankings[(rankings["encoder"] == encoder) & (rankings["rank"] <= 5)]
            if len(mine):
                sections.append(
                    Section(
                        f"{title}: best heads of each ordered pair",
                        tables=[_head_rows(mine, facts)],
                        folded=True,
                    )
                )
    tidy = pd.DataFrame(
        [
            {
                **{k: e[k] for k in ("run", "encoder", "seed", "feature_set")},
                "size": len(e["draws"][0]),
                "columns": json.dumps(e["draws"][0]),
                "excluded": json.dumps(e.get("excluded", [])),
            }
            for e in entries
        ],
        columns=["run", "encoder", "seed", "feature_set", "size", "columns", "excluded"],
    )
    page = Page(
        registry.TITLES["selection"],
        ["Which components and heads each pair kept, and whether pairs and seeds agree on them."],
        sections,
        facts,
        notes=[
            "Overlap: the Jaccard index, shared over all; chance: its expectation for two random"
            " sets of these sizes, to first order (expected shared over expected union)."
        ],
        run=str(tidy["run"].iloc[0]) if len(tidy) else "",
        encoders=encoders,
        seeds=seeds,
    )
    return page, with_kinds(tidy, facts)


_SELECTED = {"components", "heads"}


def _search_rows(part: pd.DataFrame, facts: Facts) -> Table:
    rows = []
    for (stem, seed), steps in part.groupby(["file_stem", "seed"], sort=False):
        steps = steps.sort_values("step")
        best = int(steps["score"].to_numpy().argmax())
        chosen = steps.iloc[best]
        rows.append(
            [
                Cell(facts.pair_title(str(stem), " \N{RIGHTWARDS ARROW} "), tip=str(stem)),
                Cell(str(seed), css="num quiet"),
                Cell(integer(len(steps) + 1), css="num"),
                Cell(number(chosen["score"]), css="num strong"),
                Cell(integer(chosen["step"]), css="num"),
                Cell(integer(chosen["left"]), css="num"),
                Cell(f"{100 * chosen['step'] / (len(steps) + 1):.0f} %", css="num"),
                Cell(integer((steps["ties"] > 1).sum()), css="num"),
            ]
        )
    columns = [
        *(("Direction", "", ""), ("seed", "num", ""), ("columns", "num", "at the start")),
        *(
            ("best score", "num", "on the other generator"),
            ("α", "num", "components removed at it"),
        ),
        *(("kept", "num", ""), ("removed", "num", "share removed at α")),
        ("steps tied", "num", "steps at which several candidates shared the best score"),
    ]
    return Table(columns, rows)


def _label(column: Any) -> str:
    return f"({column[0]}, {column[1]})" if isinstance(column, list) else str(column)


def _entry_rows(entries: Sequence[Mapping[str, Any]], facts: Facts) -> Table:
    rows = []
    for entry in entries:
        columns = entry["draws"][0]
        names = ", ".join(map(_label, columns))
        rows.append(
            [
                feature_set_cell(facts, entry["feature_set"]),
                Cell(str(entry["seed"]), css="num quiet"),
                Cell(integer(len(columns)), css="num strong"),
                Cell(
                    names if len(names) <= 160 else names[:157].rsplit(",", 1)[0] + ", …", tip=names
                ),
            ]
        )
    head = [("Feature set", "", ""), ("seed", "num", ""), ("size", "num", ""), ("columns", "", "")]
    return Table(head, rows)


def _key(columns: Sequence[Any]) -> frozenset[Any]:
    return frozenset(tuple(c) if isinstance(c, list) else c for c in columns)


def _universe(
    entries: Sequence[Mapping[str, Any]],
    searches: pd.DataFrame | None,
    rankings: pd.DataFrame | None,
) -> dict[str, int]:
    """Return how many components and heads there were to choose from."""
    seen: dict[str, list[tuple[int, ...]]] = {"components": [], "heads": []}
    for entry in entries:
        for column in entry["draws"][0]:
            place = tuple(column) if isinstance(column, list) else (int(column),)
            seen[family_of(entry["feature_set"])].append(place)
    if rankings is not None and len(rankings):
        seen["heads"].append((int(rankings["layer"].max()), int(rankings["head"].max())))
    if searches is not None and len(searches):
        seen["components"].append((int(searches["step"].max()),))
    return {
        family: math.prod(max(axis) + 1 for axis in zip(*places, strict=True)) if places else 0
        for family, places in seen.items()
    }


def _stability_rows(
    entries: Sequence[Mapping[str, Any]], universe: Mapping[str, int], facts: Facts
) -> Table | None:
    """Return the overlap of every two selections that differ in seed, or in pair, alone."""
    groups: dict[tuple[str, str], list[tuple[str, float, float]]] = {}
    for first, second in combinations(entries, 2):
        family = family_of(first["feature_set"])
        if family != family_of(second["feature_set"]):
            continue
        same_set = first["feature_set"] == second["feature_set"]
        if same_set == (first["seed"] == second["seed"]):
            continue
        a, b = _key(first["draws"][0]), _key(second["draws"][0])
        total = universe[family]
        expected = len(a) * len(b) / total
        chance = expected / (len(a) + len(b) - expected)
        what = "two seeds, one pair" if same_set else "two pairs, one seed"
        if not same_set and unordered(_pair(first)) == unordered(_pair(second)):
            what = "both orders of a pair"
        groups.setdefault((family, what), []).append(("", len(a & b) / len(a | b), chance))
    if not groups:
        return None
    rows = [
        [
            feature_set_cell(facts, family),
            Cell(what),
            Cell(integer(len(found)), css="num"),
            Cell(number(sum(f[1] for f in found) / len(found)), css="num strong"),
            Cell(number(sum(f[2] for f in found) / len(found)), css="num"),
        ]
        for (family, what), found in groups.items()
    ]
    head = [("Selection", "", ""), ("compared", "", ""), ("comparisons", "num", "")]
    return Table([*head, ("overlap", "num", "mean"), ("chance", "num", "mean")], rows)


def _pair(entry: Mapping[str, Any]) -> str:
    return str(entry["feature_set"]).partition("/")[2]


def _head_rows(part: pd.DataFrame, facts: Facts) -> Table:
    rows = []
    for (train, val, seed), heads in part.groupby(["train", "val", "seed"], sort=False):
        heads = heads.sort_values("rank")
        rows.append(
            [
                Cell(facts.title(str(train)), tip=str(train)),
                Cell(facts.title(str(val)), tip=str(val)),
                Cell(str(seed), css="num quiet"),
                *(
                    Cell(
                        f"({int(r['layer'])}, {int(r['head'])})",
                        sub=number(r["accuracy"]),
                        css="center",
                    )
                    for r in rows_of(heads)
                ),
                Cell(integer(heads["n"].iloc[0]), css="num"),
            ]
        )
    width = max(len(r) for r in rows) - 4
    rows = [[*r[:-1], *[Cell()] * (width + 4 - len(r)), r[-1]] for r in rows]
    head = [("Training", "", ""), ("Validation", "", ""), ("seed", "num", "")]
    head += [(f"rank {i + 1}", "center", "(layer, head), accuracy below") for i in range(width)]
    return Table([*head, ("rows", "num", "rows scored")], rows, compact=True)
