"""The page that a report opens with: what was run, how it came out, what to beware of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clipsieve import families
from clipsieve.evaluation.seeds import over_seeds as seeds_together
from clipsieve.report.facts import Facts
from clipsieve.report.frames import leading, rows_of, verdict, with_kinds
from clipsieve.report.html.page import Content, Section, number
from clipsieve.report.reading import Inputs
from clipsieve.report.tables.audits import leaks_in_words, shortcut_alert, split_table
from clipsieve.report.tables.transfer import mean_rows, same_cells_note

if TYPE_CHECKING:
    import pandas as pd


def overview_page(inputs: Inputs, facts: Facts) -> tuple[Content, pd.DataFrame]:
    """Build the overview; its table is the mean accuracy over all pairs of every feature set."""
    means = inputs["means"]
    shown = seeds_together(means)
    shown = shown[(shown["metric"] == "accuracy") & (shown["cells"] == "all")]
    means = means[(means["metric"] == "accuracy") & (means["cells"] == "all")]
    manifest = inputs["manifest"]
    alerts = []
    if "shortcuts" in inputs:
        alert = shortcut_alert(inputs["shortcuts"], facts)
        alerts += [alert] if alert else []
    if "leakage" in inputs:
        leaks = inputs["leakage"]
        if len(leaks):
            alerts.append(f"{leaks_in_words(leaks)}: see the leakage audit.")
    seeds = sorted(set(means["seed"]))
    chosen = shown[shown["feature_set"].map(families.family_of).isin(families.METHODS)]
    sections = []
    sentences = []
    for encoder in facts.order_encoders(chosen["encoder"]):
        mine = chosen[chosen["encoder"] == encoder]
        sentences += _sentence(mine, encoder, facts)
        sections.append(
            Section(
                f"{facts.encoder_title(encoder)}: mean accuracy on generators not trained on",
                tables=[mean_rows(mine, facts, len(seeds))],
            )
        )
    sections.append(Section("Images in each split", tables=[split_table(manifest, facts)]))
    page = Content(
        sentences,
        sections,
        alerts=alerts,
        notes=same_cells_note(len(seeds)),
    )
    return page, leading(with_kinds(means, facts), ("run", "encoder", "seed", "feature_set"))


def _sentence(mine: pd.DataFrame, encoder: str, facts: Facts) -> list[str]:
    """Say in words what the encoder's baseline is and what selecting did to it."""
    base = mine[mine["feature_set"] == families.BASELINE]
    if not len(base):
        return []
    row = base.iloc[0]
    text = (
        f"{facts.encoder_title(encoder)}: a probe on all columns reaches {number(row['value'])}"
        f" ({number(row['low'])} to {number(row['high'])}) on generators not trained on;"
        f" worst on {facts.title(str(row['worst_test']))} ({number(row['worst'])})."
    )
    for family in families.SELECTING:
        part = mine[mine["feature_set"].map(families.family_of) == family]
        if not len(part):
            continue
        told = [verdict(r) for r in rows_of(part)]
        text += (
            f" Selecting {family} changes that by {number(part['difference'].mean(), sign=True)}"
            f" over the same cells (mean of {len(part)}): better in {told.count(1)}, worse in"
            f" {told.count(-1)}, not told apart in {told.count(0)}."
        )
    return [text]
