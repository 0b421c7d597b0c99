"""The page of which generators to train on: the chosen sets beside random ones and all."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from clipsieve.report.facts import Facts
from clipsieve.report.frames import leading, rows_of, with_kinds
from clipsieve.report.html.page import (
    Cell,
    Content,
    Section,
    Table,
    generator_cell,
    integer,
    number,
)
from clipsieve.report.reading import Inputs

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = ("run", "encoder", "seed", "held_out", "step", "generator", "transfer", "value")


def training_choice_page(inputs: Inputs, facts: Facts) -> tuple[Content, pd.DataFrame]:
    """Build the page: the curve over the size of the set, then every held-out generator's choice."""
    table = inputs["training_choice"]
    sections = []
    for encoder in facts.order_encoders(table["encoder"]):
        mine = table[table["encoder"] == encoder]
        sections.append(
            Section(
                f"{facts.section_title(encoder)}: how many generators",
                [_agreement(mine, facts)],
                tables=[_curve(mine)],
                folded=facts.is_random(encoder),
            )
        )
        sections.append(
            Section(
                f"{facts.section_title(encoder)}: each held-out generator",
                tables=[_choices(mine, facts)],
                folded=True,
            )
        )
    notes = [
        "A set is chosen one generator at a time, each the one with which a probe transfers best to the"
        " generators outside the set. The held-out generator has no part in its own choice; the AUC is"
        " on its train and val images, which share no group with the images trained on.",
        "Random sets are of as many generators, drawn from those that the choice was made among. The"
        " best of them is what luck finds when it may look at the held-out generator.",
        "Steps are not chosen on the same generators: each step leaves one fewer to score.",
    ]
    page = Content(
        [
            "Which generators to train on, and how many: AUC on generators that had no part in the choice;"
            " chance is 0.5."
        ],
        sections,
        notes=notes,
    )
    return page, leading(with_kinds(table, facts), _COLUMNS)


def _curve(part: pd.DataFrame) -> Table:
    rows = []
    for step, each in part.groupby("step"):
        better = int((each["value"] > each["random_mean"]).sum())
        means = [
            float(each[name].mean())
            for name in ("value", "random_mean", "random_best", "all_others")
        ]
        rows.append(
            [
                Cell(integer(step), css="num"),
                *(
                    Cell(number(mean), css=f"num {'strong' if i == 0 else ''}".strip())
                    for i, mean in enumerate(means)
                ),
                Cell(f"{better} of {len(each)}", css="num"),
            ]
        )
    columns = [
        ("generators", "num", "in the set"),
        ("chosen", "num", "mean AUC of the chosen sets on the held-out generators"),
        ("random", "num", "the same of random sets of this size"),
        ("best random", "num", "of the best random set for each held-out generator"),
        ("all others", "num", "of all generators but the held-out one"),
        (
            "better on",
            "num",
            "held-out generators on which the chosen set is better than random sets",
        ),
    ]
    return Table(columns, rows)


def _agreement(part: pd.DataFrame, facts: Facts) -> str:
    """Say how alike the choices of the rounds are."""
    last = int(part["step"].max())
    rounds = part.groupby(["seed", "held_out"])["generator"].agg(list)
    counted = Counter(name for names in rounds for name in names)
    named = ", ".join(
        f"{facts.title(name)} in {count} of {len(rounds)}"
        for name, count in counted.most_common(last + 1)
    )
    return f"Chosen most often, in sets of {last}: {named} rounds."


def _choices(part: pd.DataFrame, facts: Facts) -> Table:
    rows = [
        [
            generator_cell(facts, row["held_out"]),
            Cell(integer(row["step"]), css="num"),
            generator_cell(facts, row["generator"]),
            *(
                Cell(number(row[name]), css="num")
                for name in ("transfer", "value", "random_mean", "all_others")
            ),
        ]
        for row in rows_of(part)
    ]
    columns = [
        ("held out", "", ""),
        ("step", "num", ""),
        ("added", "", ""),
        ("transfer", "num", "AUC that decided: on the others outside the set"),
        ("held-out AUC", "num", "of the set so far"),
        ("random", "num", "mean of random sets of this size"),
        ("all others", "num", ""),
    ]
    return Table(columns, rows, compact=True)
