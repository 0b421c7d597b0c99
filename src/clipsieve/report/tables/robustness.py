"""The page of robustness: each metric under each perturbation of the test images, with intervals."""

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
from clipsieve.report.html.page import Cell, Content, Section, Table, integer, interval, number
from clipsieve.report.reading import Inputs

if TYPE_CHECKING:
    import pandas as pd


def with_levels(table: pd.DataFrame) -> pd.DataFrame:
    """Return a robustness table in order; rows get `family` (sort of edit), `label` (its strength in words).

    Where the files name no family, `perturbation` is the sort of edit and `level` its strength.
    The untouched images are the family `none`. Milder edits come first where the files say.
    """
    table = table.copy()
    if "family" in table.columns:
        table["label"] = [
            str(edit).removeprefix(f"{family}_").replace("_", ".")
            for edit, family in zip(table["perturbation"], table["family"], strict=True)
        ]
        place = {f: i for i, f in enumerate(dict.fromkeys(table["family"]))}
        order = table.assign(place=table["family"].map(place))
        table = table.loc[order.sort_values(["place", "level"], kind="stable").index]
    else:
        table["family"] = table["perturbation"]
        table["label"] = [f"{level:g}" for level in table["level"]]
    table.loc[table["perturbation"] == "none", "family"] = "none"
    return table.reset_index(drop=True)


def robustness_page(inputs: Inputs, facts: Facts) -> tuple[Content, pd.DataFrame]:
    """Build the page: a row a perturbation, a column a feature set, a table a metric."""
    table = with_levels(inputs["robustness"])
    keys = ["encoder", "metric", "family", "label", "feature_set"]
    shown = over_seeds(table, keys, ["value", "low", "high", "n"])
    seeds = sorted(set(table["seed"]))
    sections = []
    for encoder in facts.order_encoders(table["encoder"]):
        for metric in dict.fromkeys(table["metric"]):
            part = shown[(shown["encoder"] == encoder) & (shown["metric"] == metric)]
            sections.append(
                Section(
                    f"{facts.encoder_title(encoder)}: {metric_title(str(metric))}",
                    tables=[_rows(part, facts)],
                    folded=metric != "accuracy",
                )
            )
    page = Content(
        [
            "The same probes on perturbed test images: means over the generators that a probe"
            " was not trained on."
        ],
        sections,
        notes=["Within a kind of perturbation, stronger levels are below milder ones."]
        + ([f"Averages over {len(seeds)} seeds; bounds too."] if len(seeds) > 1 else []),
    )
    columns = ("run", "encoder", "seed", "feature_set", "perturbation", "family", "level", "metric")
    table = table.drop(columns="label")
    return page, leading(with_kinds(table, facts), columns)


def _rows(part: pd.DataFrame, facts: Facts) -> Table:
    sets = order_feature_sets(list(part["feature_set"]))
    found = {(r["family"], r["label"], r["feature_set"]): r for r in rows_of(part)}
    start = {f: r for (family, _, f), r in found.items() if family == "none"}
    edits = list(dict.fromkeys((family, label) for family, label, _ in found))
    rows = []
    for edit in sorted(edits, key=lambda e: e[0] != "none"):
        untouched = edit[0] == "none"
        row = [
            Cell("untouched" if untouched else edit[0].replace("_", " ")),
            Cell("" if untouched else edit[1], css="num"),
        ]
        for feature_set in sets:
            cell = found.get((*edit, feature_set))
            if cell is None:
                row.append(Cell(css="num"))
                continue
            clean = start.get(feature_set)
            change = "" if clean is None else number(cell["value"] - clean["value"], sign=True)
            row.append(
                Cell(
                    number(cell["value"]),
                    sub=interval(cell["low"], cell["high"]),
                    tip=f"{change} from untouched" if change and not untouched else "",
                    css="num strong" if untouched else "num",
                )
            )
        counts = [c["n"] for s in sets if (c := found.get((*edit, s))) is not None]
        rows.append([*row, Cell(integer(max(counts)), css="num")])
    columns = [("Perturbation", "", ""), ("level", "num", "")]
    columns += [(facts.feature_set_title(s), "num", s) for s in sets]
    return Table([*columns, ("images", "num", "")], rows, compact=True)
