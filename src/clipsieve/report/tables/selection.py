"""The page of what was selected: search outcomes, kept columns and heads, and how stable they are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

from clipsieve import families
from clipsieve.evaluation.stability import expected_jaccard, jaccard
from clipsieve.report.facts import Facts
from clipsieve.report.frames import rows_of, with_kinds
from clipsieve.report.html.page import (
    Cell,
    Content,
    Section,
    Table,
    feature_set_cell,
    integer,
    number,
)
from clipsieve.report.reading import Inputs

if TYPE_CHECKING:
    import pandas as pd


def selection_page(inputs: Inputs, facts: Facts) -> tuple[Content, pd.DataFrame]:
    """Build the page of what was selected: search outcomes, kept columns, heads, stability.

    Returns
    -------
    tuple
        The page, and one row a selected set: `size`, `columns` (as JSON text of the list).
    """
    import json

    import pandas as pd

    searches, rankings = inputs.get("searches"), inputs.get("head_rankings")
    entries = [
        e
        for e in (rows_of(inputs["features"]) if "features" in inputs else [])
        if families.family_of(e["feature_set"]) in families.SELECTING
    ]
    encoders = facts.order_encoders(
        [*(e["encoder"] for e in entries), *(searches["encoder"] if searches is not None else ())]
    )
    sections = []
    for encoder in encoders:
        title = facts.section_title(encoder)
        if searches is not None:
            mine = searches[searches["encoder"] == encoder]
            if len(mine):
                sections.append(
                    Section(
                        f"{title}: component searches",
                        tables=[_search_rows(mine, _stops(inputs, entries, encoder), facts)],
                    )
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
    page = Content(
        ["Which components and heads each pair kept, and whether pairs and seeds agree on them."],
        sections,
        notes=[
            "Overlap: the Jaccard index, shared over all; chance: its exact mean for two random"
            " sets of these sizes.",
            *_warnings(entries, facts),
        ],
    )
    return page, with_kinds(tidy, facts)


def _warnings(entries: Sequence[Mapping[str, Any]], facts: Facts) -> list[str]:
    """Return a sentence for each search whose outcome says less than its score suggests."""
    found = {}
    for entry in entries:
        for direction, said in ((entry.get("facts") or {}).get("warnings") or {}).items():
            where = f"{facts.encoder_title(entry['encoder'])}, seed {entry['seed']}"
            pair = facts.pair_title(direction, " \N{RIGHTWARDS ARROW} ")
            found[where, direction] = f"{where}, search {pair}: {'; '.join(said)}."
    return list(found.values())


Direction = tuple[int, str]


def _stops(
    inputs: Inputs, entries: Sequence[Mapping[str, Any]], encoder: str
) -> dict[Direction, dict[str, Any]]:
    """Return where each search stopped: seed and direction -> `alpha`, `step`, and the initial score."""
    alphas = {}
    for entry in entries:
        known = entry.get("facts") or {}
        if entry["encoder"] == encoder and "alpha" in known:
            for pair in (entry["pair"], entry["pair"][::-1]):
                alphas[entry["seed"], families.pair_id(*pair)] = known["alpha"]
    found = {}
    for note in inputs.notes("searches"):
        key = int(note.get("seed", 0)), families.pair_id(note["train"], note["val"])
        alpha = alphas.get(key)
        if note.get("encoder", "") == encoder and alpha is not None:
            stop = {"alpha": alpha, "initial_score": float(note["initial_score"])}
            found[key] = {**stop, "step": int(note["stops"][alpha]["step"])}
    return found


_STOP_TITLES = {
    "first": "first maximum",
    "log_loss": "least log-loss",
    "last": "last maximum",
    "one_se": "one standard error",
}


def _search_rows(
    part: pd.DataFrame, stops: Mapping[Direction, Mapping[str, Any]], facts: Facts
) -> Table:
    rows = []
    for (train, val, seed), steps in part.groupby(["train", "val", "seed"], sort=False):
        direction = families.pair_id(str(train), str(val))
        scores = steps.set_index("step")["score"]
        total = len(steps) + 1
        stop = stops.get((int(str(seed)), direction))
        cells = [Cell()] * 5
        if stop is not None:
            step = stop["step"]
            cells = [
                Cell(_STOP_TITLES[stop["alpha"]], tip=stop["alpha"]),
                Cell(number(scores[step] if step else stop["initial_score"]), css="num strong"),
                Cell(integer(step), css="num"),
                Cell(integer(total - step), css="num"),
                Cell(f"{100 * step / total:.0f} %", css="num"),
            ]
        rows.append(
            [
                Cell(facts.pair_title(direction, " \N{RIGHTWARDS ARROW} "), tip=direction),
                Cell(str(seed), css="num quiet"),
                Cell(integer(total), css="num"),
                *cells,
                Cell(number(scores.max()), css="num"),
                Cell(integer((steps["ties"] > 1).sum()), css="num"),
            ]
        )
    columns = [
        *(("Direction", "", ""), ("seed", "num", ""), ("columns", "num", "at the start")),
        ("stopped at", "", "the rule that the run chose (search.alpha); empty where nothing was"
         " selected from this search"),
        ("score there", "num", "on the other generator's train and val images; chance as on other pages"),
        ("α", "num", "components removed there"),
        *(("kept", "num", ""), ("removed", "num", "share removed at α")),
        ("best score", "num", "the highest of any step"),
        ("steps tied", "num", "steps at which several candidates shared the best score"),
    ]  # fmt: skip
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
    """Return how many columns or heads each method had to choose from."""
    seen: dict[str, list[tuple[int, ...]]] = {name: [] for name in families.SELECTING}
    for entry in entries:
        known = (entry.get("facts") or {}).get("columns")
        if known and families.of(entry["feature_set"]).needs_layers:
            seen[families.family_of(entry["feature_set"])].append((int(known) - 1,))
        for column in entry["draws"][0]:
            place = tuple(column) if isinstance(column, list) else (int(column),)
            seen[families.family_of(entry["feature_set"])].append(place)
    for name, places in seen.items():
        reads = families.get(name).reads
        if "rankings" in reads and rankings is not None and len(rankings):
            places.append((int(rankings["layer"].max()), int(rankings["head"].max())))
        if "searches" in reads and searches is not None and len(searches):
            places.append((int(searches["step"].max()),))
    return {
        family: math.prod(max(axis) + 1 for axis in zip(*places, strict=True)) if places else 0
        for family, places in seen.items()
    }


def _stability_rows(
    entries: Sequence[Mapping[str, Any]], universe: Mapping[str, int], facts: Facts
) -> Table | None:
    """Return the overlap of every two selections that differ in seed, or in pair, alone."""
    groups: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for first, second in combinations(entries, 2):
        family = families.family_of(first["feature_set"])
        if family != families.family_of(second["feature_set"]):
            continue
        same_set = first["feature_set"] == second["feature_set"]
        if same_set == (first["seed"] == second["seed"]):
            continue
        a, b = _key(first["draws"][0]), _key(second["draws"][0])
        total = universe[family]
        chance = expected_jaccard(len(a), len(b), total)
        what = "two seeds, one pair" if same_set else "two pairs, one seed"
        if not same_set and (
            families.unordered(families.pair_of(first["feature_set"]))
            == families.unordered(families.pair_of(second["feature_set"]))
        ):
            what = "both orders of a pair"
        groups.setdefault((family, what), []).append((jaccard(a, b), chance))
    if not groups:
        return None
    rows = [
        [
            feature_set_cell(facts, family),
            Cell(what),
            Cell(integer(len(found)), css="num"),
            Cell(number(sum(f[0] for f in found) / len(found)), css="num strong"),
            Cell(number(sum(f[1] for f in found) / len(found)), css="num"),
        ]
        for (family, what), found in groups.items()
    ]
    head = [("Selection", "", ""), ("compared", "", ""), ("comparisons", "num", "")]
    return Table([*head, ("overlap", "num", "mean"), ("chance", "num", "mean")], rows)


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
