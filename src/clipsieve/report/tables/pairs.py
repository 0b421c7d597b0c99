"""The page of all search pairs together: one row a way to select, its spread between pairs, its tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from clipsieve import families
from clipsieve.evaluation.metric_records import RECORDS
from clipsieve.evaluation.seeds import over_seeds as seeds_together
from clipsieve.report.facts import Facts, cells_title, metric_title
from clipsieve.report.frames import leading, rows_of, with_kinds
from clipsieve.report.html.page import (
    Cell,
    Content,
    Section,
    Table,
    difference_cell,
    integer,
    interval,
    number,
    p_value,
)
from clipsieve.report.reading import Inputs
from clipsieve.report.tables.transfer import HEADLINE, chance_sentence

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = ("run", "encoder", "seed", "family", "against", "cells", "metric", "pairs")


def together(pairs: pd.DataFrame) -> pd.DataFrame:
    """Sum up the joint rows over seeds, as means are.

    Parameters
    ----------
    pairs
        Rows of `pairs.parquet` of one seed or more.

    Returns
    -------
    DataFrame
        One row a run, encoder, family, what it is held against, group of cells and metric. `pairs`,
        `rank`, `draws`, `sd_between_pairs` and `against_value` are means over seeds.
    """
    keyed = pairs.assign(feature_set=pairs["family"] + "\t" + pairs["against"])
    found = seeds_together(keyed)
    keys = ["run", "encoder", "feature_set", "cells", "metric"]
    kept = ["pairs", "rank", "draws", "sd_between_pairs", "against_value"]
    found = found.merge(
        keyed.groupby(keys, sort=False)[kept].mean().reset_index(), on=keys, how="left"
    )
    found[["family", "against"]] = found["feature_set"].str.split("\t", expand=True)
    return found.drop(columns="feature_set")


def pairs_page(inputs: Inputs, facts: Facts) -> tuple[Content, pd.DataFrame]:
    """Build the page of all search pairs together; its table is every joint row of the files."""
    table = inputs["pairs"]
    sections = []
    if len(table):
        shown = together(table)
        for encoder in facts.order_encoders(shown["encoder"]):
            mine = shown[shown["encoder"] == encoder]
            for cells in dict.fromkeys(mine["cells"]):
                part = mine[(mine["cells"] == cells) & mine["metric"].isin(HEADLINE)]
                sections.append(
                    Section(
                        f"{facts.section_title(encoder)}: {cells_title(str(cells))}",
                        [chance_sentence(HEADLINE)] if cells == "all" else [],
                        tables=[_rows(part)],
                        folded=cells != "all" or facts.is_random(encoder),
                    )
                )
            drawn = table[(table["encoder"] == encoder) & (table["draws"] > 1)]
            drawn = drawn[(drawn["cells"] == "all") & drawn["metric"].isin(HEADLINE)]
            if len(drawn):
                sections.append(
                    Section(
                        f"{facts.section_title(encoder)}: rank among random selections",
                        [
                            "The mean over pairs among the means of the first, the second, .. draw of"
                            " every pair: one test for all pairs. It says whether the choice is better"
                            " than a random one for these generators, not for others."
                        ],
                        tables=[_ranks(drawn)],
                        folded=facts.is_random(encoder),
                    )
                )
    page = Content(
        [
            "Each way to select, summed up over its search pairs: one row and one test instead of one"
            " a pair."
        ],
        sections or [Section("One pair", ["Two search pairs or more are needed for a joint row."])],
        notes=[
            "Over generators and pairs: what other generators, searched on other pairs, could have"
            " given. Over photographs: what other photographs could have given for these generators"
            " and pairs; the narrower of the two. In colour: significantly different from 0 over"
            " generators, by both the interval and p (Holm) of at most 0.05.",
            "sd between pairs: the spread of the pairs' differences. Better: pairs with a difference"
            " in the good direction. A pair counts once, whichever of its orders it has.",
            "A control that was drawn many times has a rank and no interval.",
        ],
    )
    return page, leading(with_kinds(table, facts), _COLUMNS)


def _rows(part: pd.DataFrame) -> Table:
    rows = []
    for row in rows_of(part):
        own = {**row, "n_generators": row["pairs"]}
        low_is_good = not RECORDS[row["metric"]].higher_is_better
        photographs = interval(row["difference_low"], row["difference_high"], sign=True)
        rows.append(
            [
                Cell(families.get(row["family"]).title, tip=row["family"]),
                Cell(families.get(row["against"]).title, tip=row["against"]),
                Cell(metric_title(row["metric"])),
                Cell(number(row["value"]), css="num strong"),
                Cell(number(row["against_value"]), css="num"),
                difference_cell(own, low_is_good=low_is_good),
                Cell(p_value(row["generators_p_holm"]), css="num"),
                Cell(_better(row), css="num"),
                Cell(number(row["sd_between_pairs"]), css="num"),
                Cell(
                    photographs,
                    sub=f"p {p_value(row['p_holm'])}" if photographs else "",
                    css="num quiet",
                ),
            ]
        )
    columns = [
        *(("Selected", "", ""), ("against", "", ""), ("metric", "", ""), ("mean", "num", "")),
        ("against", "num", "mean of what it is held against, same cells"),
        ("Δ over generators and pairs", "num", ""),
        ("p\N{NO-BREAK SPACE}(Holm) over generators", "num", ""),
        ("better", "num", "pairs on which it is better"),
        *(("sd between pairs", "num", ""), ("over photographs", "num", "interval of Δ, p (Holm)")),
    ]
    return Table(columns, rows)


def _better(row: Mapping[str, Any]) -> str:
    return f"{number(row['better'], 1).removesuffix('.0')} of {integer(row['pairs'])} pairs"


def _ranks(drawn: pd.DataFrame) -> Table:
    rows = [
        [
            Cell(families.get(row["family"]).title),
            Cell(families.get(row["against"]).title),
            Cell(metric_title(row["metric"])),
            Cell(str(row["seed"]), css="num quiet"),
            Cell(number(row["difference"], sign=True), css="num"),
            Cell(
                f"{integer(row['rank'])} of {integer(row['draws'] + 1)}",
                css="num good" if row["p_holm"] <= 0.05 else "num",
            ),
            Cell(p_value(row["p"]), css="num"),
            Cell(p_value(row["p_holm"]), css="num"),
        ]
        for row in rows_of(drawn)
    ]
    columns = [("Selected", "", ""), ("among", "", ""), ("metric", "", ""), ("seed", "num", "")]
    columns += [("Δ", "num", "to the mean of the draws"), ("rank", "num", "1 is best")]
    columns += [("p", "num", "rank / (1 + draws)"), ("p\N{NO-BREAK SPACE}(Holm)", "num", "")]
    return Table(columns, rows)
