"""The page of what was selected: search outcomes, kept columns and heads, and how stable they are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipsieve.report import registry
from clipsieve.report.facts import Facts
from clipsieve.report.frames import family_of, rows_of, run_of, unordered, with_kinds
from clipsieve.report.html.page import (
    Cell,
    Page,
    Section,
    Table,
    feature_set_cell,
    integer,
    number,
)
from clipsieve.report.reading import read_features, read_tables

if TYPE_CHECKING:
    import pandas as pd


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
            " sets of these sizes, to first order (expected shared over expected union).",
            *_warnings(entries, facts),
        ],
        run=run_of(tidy),
        encoders=encoders,
        seeds=seeds,
    )
    return page, with_kinds(tidy, facts)


_SELECTED = {"components", "heads"}


def _warnings(entries: Sequence[Mapping[str, Any]], facts: Facts) -> list[str]:
    """Return a sentence for each search whose outcome says less than its score suggests."""
    found = {}
    for entry in entries:
        for direction, said in ((entry.get("facts") or {}).get("warnings") or {}).items():
            where = f"{facts.encoder_title(entry['encoder'])}, seed {entry['seed']}"
            pair = facts.pair_title(direction, " \N{RIGHTWARDS ARROW} ")
            found[where, direction] = f"{where}, search {pair}: {'; '.join(said)}."
    return list(found.values())


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
