"""The page that a report opens with: how well, what helps, is it more than chance, what to beware of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from clipsieve import families
from clipsieve.evaluation.metric_records import RECORDS
from clipsieve.evaluation.seeds import over_seeds as seeds_together
from clipsieve.evaluation.seeds import with_clean
from clipsieve.report.facts import Facts, metric_title
from clipsieve.report.frames import leading, rows_of, verdict, with_kinds
from clipsieve.report.html.page import (
    Content,
    Section,
    better_on,
    integer,
    interval,
    is_known,
    number,
    p_value,
)
from clipsieve.report.reading import Inputs
from clipsieve.report.tables.audits import leaks_in_words, shortcut_alert, split_table
from clipsieve.report.tables.pairs import together
from clipsieve.report.tables.transfer import (
    HEADLINE,
    chance_sentence,
    headline_rows,
    lacks_generators,
    listed,
    same_cells_note,
)

if TYPE_CHECKING:
    import pandas as pd


def overview_page(inputs: Inputs, facts: Facts) -> tuple[Content, pd.DataFrame]:
    """Build the overview; its table holds the headline metrics of every feature set over all pairs."""
    means = inputs["means"]
    shown = with_clean(seeds_together(means))
    shown = shown[shown["metric"].isin(HEADLINE) & (shown["cells"] == "all")]
    means = means[means["metric"].isin(HEADLINE) & (means["cells"] == "all")]
    joint = together(inputs["pairs"]) if "pairs" in inputs and len(inputs["pairs"]) else None
    seeds = sorted(set(means["seed"]))
    chosen = shown[shown["feature_set"].map(families.family_of).isin(families.METHODS)]
    sections, lead = [], []
    encoders = facts.order_encoders(chosen["encoder"])
    # nothing leads with random weights, unless there is nothing else
    apart = [e for e in encoders if facts.is_random(e)]
    if len(apart) == len(encoders):
        apart = []
    for encoder in encoders:
        mine = chosen[chosen["encoder"] == encoder]
        pairs = None if joint is None else joint[joint["encoder"] == encoder]
        sentences = _sentences(mine, pairs, encoder, facts)
        if encoder not in apart:
            lead += sentences
        sections.append(
            Section(
                f"{facts.section_title(encoder)}: means on generators not trained on",
                [*(sentences if encoder in apart else ()), chance_sentence(HEADLINE)],
                tables=[headline_rows(mine, facts)],
                folded=encoder in apart,
            )
        )
    split = Section("Images in each split", tables=[split_table(inputs["manifest"], facts)])
    sections.insert(len(sections) - len(apart), split)
    page = Content(
        lead,
        sections,
        alerts=_alerts(inputs, chosen[~chosen["encoder"].isin(apart)], facts),
        notes=same_cells_note(len(seeds), chosen),
    )
    return page, leading(with_kinds(means, facts), ("run", "encoder", "seed", "feature_set"))


def _alerts(inputs: Inputs, chosen: pd.DataFrame, facts: Facts) -> list[str]:
    """Say what to be careful of before any number is read."""
    alerts = []
    if "shortcuts" in inputs:
        alert = shortcut_alert(inputs["shortcuts"], facts)
        alerts += [alert] if alert else []
    if "leakage" in inputs:
        leaks = inputs["leakage"]
        if len(leaks):
            alerts.append(f"{leaks_in_words(leaks)}: see the leakage audit.")
    if lacks_generators(chosen):
        alerts.append(
            "Some comparisons are over fewer than four generators: too few to say anything of"
            " generators that are not in this run."
        )
    return alerts


def _sentences(
    mine: pd.DataFrame, pairs: pd.DataFrame | None, encoder: str, facts: Facts
) -> list[str]:
    """Answer in words: how well, more than chance, what helps and by how much."""
    records = {(r["feature_set"], r["metric"]): r for r in rows_of(mine)}
    base = {m: records[families.BASELINE, m] for m in HEADLINE if (families.BASELINE, m) in records}
    if not base:
        return []
    levels = ", ".join(
        f"{metric_title(m)} {number(row['value'])}{_over(row)}" for m, row in base.items()
    )
    first = next(iter(base.values()))
    sentences = [
        f"How well: {facts.encoder_title(encoder)}, probes on all columns, reaches {levels} on"
        f" generators not trained on. {_beyond_chance(base)} It does worst on"
        f" {facts.title(str(first['worst_test']))} ({metric_title(first['metric'])}"
        f" {number(first['worst'])})."
    ]
    for family in families.SELECTING:
        text = _what_helps(family, mine, pairs)
        if text:
            sentences.append(text)
    return sentences


def _over(row: Mapping[str, Any]) -> str:
    """Return the interval of a mean in brackets: over generators, then over photographs."""
    over = interval(row.get("value_generators_low"), row.get("value_generators_high"))
    photographs = interval(row["low"], row["high"])
    said = [f"{over} over generators"] if over else []
    said += [f"{photographs} over photographs"] if photographs else []
    return f" ({'; '.join(said)})" if said else ""


def _beyond_chance(base: Mapping[str, Mapping[str, Any]]) -> str:
    """Say of which metrics the interval over generators lies above chance."""
    known = {m: r for m, r in base.items() if is_known(r.get("value_generators_low"))}
    if not known:
        return (
            "With fewer than four generators, nothing can be said about whether this is better than"
            " chance for generators in general."
        )
    above = [
        metric_title(m)
        for m, r in known.items()
        if r["value_generators_low"] > RECORDS[m].chance_level()
    ]
    rest = [metric_title(m) for m in known if metric_title(m) not in above]
    level = f"{RECORDS[next(iter(known))].chance_level():g}"
    if not above:
        return f"For generators in general this is not distinguishable from chance ({level})."
    text = f"For generators in general, too, {listed(above)} would be above chance ({level})"
    return f"{text}; for {listed(rest)} this cannot be said." if rest else f"{text}."


def _what_helps(family: str, mine: pd.DataFrame, pairs: pd.DataFrame | None) -> str:
    """Say what a way to select changes, jointly over its pairs and pair by pair."""
    part = mine[mine["feature_set"].map(families.family_of) == family]
    part = part[part["difference"].notna()]
    if not len(part):
        return ""
    metric = "auc" if (part["metric"] == "auc").any() else str(part["metric"].iloc[0])
    part = part[part["metric"] == metric]
    title = metric_title(metric)
    text = f"What helps: selecting {families.get(family).title} changes {title} by "
    joint = {} if pairs is None else _joint(pairs, family, metric)
    base = joint.get(families.BASELINE)
    if base is not None:
        bounds = interval(base["generators_low"], base["generators_high"], sign=True)
        over = (
            f"{bounds} over generators and pairs, p (Holm) {p_value(base['generators_p_holm'])}"
            if bounds
            else "too few generators for an interval over them"
        )
        photographs = interval(base["difference_low"], base["difference_high"], sign=True)
        text += (
            f"{number(base['difference'], sign=True)} over the same cells, mean of"
            f" {integer(base['pairs'])} pairs ({over}; {photographs} over photographs)."
        )
    elif len(part) == 1:
        row = rows_of(part)[0]
        bounds = interval(row["generators_low"], row["generators_high"], sign=True)
        over = (
            f"{bounds} over generators, p (Holm) {p_value(row['generators_p_holm'])}, better on"
            f" {better_on(row)} test generators"
            if bounds
            else "too few generators for an interval over them"
        )
        photographs = interval(row["difference_low"], row["difference_high"], sign=True)
        text += (
            f"{number(row['difference'], sign=True)} over the same cells ({over}; {photographs} over"
            " photographs)."
        )
    else:
        text += f"{number(part['difference'].mean(), sign=True)}, mean of {len(part)} selections."
    if len(part) > 1:
        told = [verdict(r) for r in rows_of(part)]
        text += (
            f" Of {len(part)} selections, {told.count(1)} are significantly better and {told.count(-1)}"
            f" significantly worse over generators; {told.count(0)} show no significant difference."
        )
    return text + _beyond_controls(joint)


def _joint(pairs: pd.DataFrame, family: str, metric: str) -> dict[str, dict[str, Any]]:
    """Return the joint rows of a family over all cells, by what it is held against."""
    whole = pairs[pairs["cells"] == "all"]
    part = whole[(whole["family"] == family) & (whole["metric"] == metric)]
    return {r["against"]: r for r in rows_of(part)}


def _beyond_controls(joint: Mapping[str, Mapping[str, Any]]) -> str:
    """Say where the selection stands among random ones of equal size."""
    text = ""
    for against, row in joint.items():
        if families.get(against).drawn and row["seeds"] == 1:
            text += (
                f" Against {families.get(against).title}, as many: {number(row['difference'], sign=True)},"
                f" rank {integer(row['rank'])} of {integer(row['draws'] + 1)}, p {p_value(row['p'])}."
            )
        elif families.get(against).drawn:
            text += (
                f" Against {families.get(against).title}, as many:"
                f" {number(row['difference'], sign=True)}, mean of {integer(row['seeds'])} seeds"
                " (ranks stand on the page of pairs)."
            )
    return text
