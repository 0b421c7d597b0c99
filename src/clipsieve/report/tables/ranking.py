"""The page of average ranks over test generators: Friedman's test and Nemenyi's critical difference."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clipsieve import families
from clipsieve.evaluation.ranking import EVERY_PAIR
from clipsieve.report.facts import Facts, metric_title
from clipsieve.report.frames import leading, with_kinds
from clipsieve.report.html.page import (
    Cell,
    Content,
    Section,
    Table,
    feature_set_cell,
    integer,
    number,
    p_value,
)
from clipsieve.report.reading import Inputs
from clipsieve.report.tables.transfer import HEADLINE

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = ("run", "encoder", "seed", "comparison", "metric", "feature_set", "average_rank")


def first_comparison(table: pd.DataFrame) -> str:
    """Return the comparison to show first: of all sets where it is there, else of the first pair."""
    names = list(dict.fromkeys(table["comparison"]))
    return EVERY_PAIR if EVERY_PAIR in names else str(names[0])


def ranking_page(inputs: Inputs, facts: Facts) -> tuple[Content, pd.DataFrame]:
    """Build the page of average ranks; its table is every row of the files."""
    table = inputs["ranking"]
    sections = []
    for encoder in facts.order_encoders(table["encoder"]):
        mine = table[(table["encoder"] == encoder) & table["metric"].isin(HEADLINE)]
        if not len(mine):
            continue
        lead = first_comparison(mine)
        names = sorted(dict.fromkeys(mine["comparison"]), key=lambda name: name != lead)
        for comparison in names:
            part = mine[mine["comparison"] == comparison]
            for metric in [m for m in reversed(HEADLINE) if m in set(part["metric"])]:
                chosen = part[part["metric"] == metric]
                title = "every pair" if comparison == EVERY_PAIR else facts.pair_title(comparison)
                sections.append(
                    Section(
                        f"{facts.section_title(encoder)}: {title}, {metric_title(metric)}",
                        [_words(chosen)],
                        tables=[_rows(chosen, facts)],
                        folded=comparison != lead or metric != "auc" or facts.is_random(encoder),
                    )
                )
    page = Content(
        [
            "Feature sets ranked on each test generator, over the cells that all of them have; 1 is"
            " best. Generators are the blocks, so the test is about generators, not photographs."
        ],
        sections
        or [Section("No comparison", ["Two test generators and two feature sets are needed."])],
        notes=[
            "Friedman's test: whether any set ranks better than others over generators. Two sets whose"
            " average ranks differ by the critical difference (Nemenyi, 5 %) differ significantly.",
            "Cells of one test generator share its images, and probes are trained on the other test"
            " generators, so the blocks are not quite independent: take a p near 0.05 for less than it"
            " says. Chance, all sets equally good, gives every set the middle rank.",
        ],
    )
    return page, leading(with_kinds(table, facts), _COLUMNS)


def _words(part: pd.DataFrame) -> str:
    first = part.iloc[0]
    seeds = sorted(set(part["seed"]))
    each = part.groupby("seed")["friedman_p"].first()
    p = ", ".join(p_value(value) for value in each)
    more = f" (seeds {', '.join(map(str, seeds))})" if len(seeds) > 1 else ""
    return (
        f"{integer(first['sets'])} sets over {integer(first['generators'])} test generators,"
        f" {integer(first['n_cells'])} cells. Friedman p {p}{more}; critical difference"
        f" {number(first['critical_difference'], 2)}; chance gives each"
        f" {number((first['sets'] + 1) / 2, 1)}."
    )


def _rows(part: pd.DataFrame, facts: Facts) -> Table:
    groups = part.groupby("feature_set", sort=False)
    average = groups["average_rank"].mean().sort_values(kind="stable")
    apart = {str(name): int(count) for name, count in groups["best_told_apart"].sum().items()}
    seeds = part["seed"].nunique()
    rows = []
    for feature_set, rank in average.items():
        control = families.of(str(feature_set)).is_control
        times = apart[str(feature_set)]
        said = "" if not times else "yes" if seeds == 1 else f"in {times} of {seeds} seeds"
        rows.append(
            [
                feature_set_cell(facts, str(feature_set), "quiet" if control else ""),
                Cell(number(rank, 2), css="num strong"),
                Cell(said, css="warn" if times else ""),
            ]
        )
    columns = [("Feature set", "", ""), ("average rank", "num", "1 is best; mean over seeds")]
    return Table([*columns, ("significantly worse than the best", "", "")], rows)
