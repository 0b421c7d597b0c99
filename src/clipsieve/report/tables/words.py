"""Tables 1, 2, 3, 6 and 7: the texts nearest to (and farthest from) probes, residuals and heads."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

from clipsieve import families
from clipsieve.io.phrases import own_phrases
from clipsieve.report.facts import PAPER_ENCODERS, Facts
from clipsieve.report.frames import leading, rows_of, with_kinds
from clipsieve.report.html.page import Cell, Content, Section, Table, is_known, number, p_value
from clipsieve.report.published import published
from clipsieve.report.reading import Inputs

if TYPE_CHECKING:
    import pandas as pd

BUILT_IN = "phrases"  # id of the list of texts that this package ships
SHOWN = 5  # texts a direction, as in the paper
_KIND_TITLES = {"probe": "Probe weights", "residual": "Residuals", "head": "Heads"}
_COLUMNS = (
    *("run", "encoder", "seed", "texts", "kind", "direction", "feature_set", "side", "rank"),
    *("text", "cosine", "z_random", "z_shuffled", "p", "q", "above_null", "centred"),
)


def nearest_to_probes(inputs: Inputs, facts: Facts) -> tuple[Content, pd.DataFrame]:
    """Build the table of the texts nearest to each generator's probe (see `_words`)."""
    return _words(inputs, facts, ("probe",))


def nearest_to_probes_and_residuals(inputs: Inputs, facts: Facts) -> tuple[Content, pd.DataFrame]:
    """Build the table of the texts nearest to probes and to residuals (see `_words`)."""
    return _words(inputs, facts, ("probe", "residual"))


def nearest_to_heads(inputs: Inputs, facts: Facts) -> tuple[Content, pd.DataFrame]:
    """Build the table of the texts nearest to and farthest from heads (see `_words`)."""
    return _words(inputs, facts, ("head",))


def _words(inputs: Inputs, facts: Facts, kinds: tuple[str, ...]) -> tuple[Content, pd.DataFrame]:
    """Build one of the paper's tables of texts.

    Parameters
    ----------
    inputs
        `interpretation`, of all seeds, encoders and text lists.
    facts
        Titles and kinds.
    kinds
        Kinds of directions that the table shows: `probe`, `residual` or `head`.

    Returns
    -------
    tuple
        The page, and the tidy table: every rank that the files hold, `texts` the list's name.
    """
    name = inputs.result.name
    table = inputs["interpretation"]
    table = table[table["kind"].isin(kinds)]
    if "head" not in kinds:
        # The paper's words are those of probes on all columns, without an intercept.
        table = table[table["feature_set"].isin(families.EXPLAINED_WHOLE)]
        table = table[table["side"] == "nearest"]
    table = table.assign(stability=[]) if table.empty else _with_stability(table)
    for column in ("z_shuffled", "p", "q"):
        if column not in table.columns:
            table[column] = float("nan")
    if "centred" not in table.columns:
        table["centred"] = False

    sections = []
    for encoder in facts.order_encoders(table["encoder"]):
        for texts in dict.fromkeys(table["texts"]):
            part = table[(table["encoder"] == encoder) & (table["texts"] == texts)]
            centred = part["centred"].astype(bool)
            sections += _sections(
                name, kinds, part[~centred], part[centred], encoder, str(texts), facts
            )
    lead = [
        "The texts whose embeddings have the largest cosine to each direction, taken so that it"
        " raises the probability of generated: the texts describe the generated images."
        if "head" not in kinds
        else "The texts with the largest and the smallest cosine to the mean output of each"
        " selected head, projected into the joint space of images and texts."
    ]
    notes = [
        "z: how many standard deviations the cosine is from those of this text with random"
        " directions of the embeddings' covariance. p, in the tip of the pointer: the share of"
        " random directions whose own nearest text is at least as near.",
        "A grey text marked “within null” is not nearer than the nearest text of a meaningless"
        " direction (random, or a probe on shuffled labels): it says nothing of the generator. The marks"
        " are corrected over all directions of a list (Benjamini and Hochberg).",
    ]
    if "head" in kinds:
        notes.append(
            "The mean output of a head is mostly the same for every image, and no meaningless direction"
            " is exchangeable with it: these texts have no p value, and none of them is marked."
        )
    if table["centred"].any():
        notes.append(
            "“Centred” lists the texts that are nearest after the mean text is subtracted from each. Where"
            " both lists differ, the plain one owes much to the cone in which all texts lie."
        )
    if table["seed"].nunique() > 1:
        notes.append(
            "The page shows the first seed; “seeds” says under how many of the run's seeds the same"
            f" text is among the first {SHOWN}. The CSV file holds every seed."
        )
    page = Content(
        lead,
        sections or [Section("No text list", ["No direction was read against a text list."])],
        notes=notes,
    )
    tidy = with_kinds(
        table.assign(generator=table["direction"].where(table["kind"] != "head", "")), facts
    ).drop(columns="generator")
    return page, leading(tidy, _COLUMNS)


def _with_stability(table: pd.DataFrame) -> pd.DataFrame:
    keys = ["encoder", "texts", "kind", "direction", "feature_set", "side", "text"]
    top = table[table["rank"] <= SHOWN]
    counts = top.groupby(keys, dropna=False)["seed"].nunique().rename("stability").reset_index()
    return table.merge(counts, how="left", on=keys)


def _sections(
    name: str,
    kinds: tuple[str, ...],
    part: pd.DataFrame,
    centred: pd.DataFrame,
    encoder: str,
    texts: str,
    facts: Facts,
) -> list[Section]:
    seeds = sorted(set(part["seed"]))
    if not seeds:
        return []
    part, centred = (t[(t["seed"] == seeds[0]) & (t["rank"] <= SHOWN)] for t in (part, centred))
    heading = f"{facts.encoder_title(encoder)}, {texts.replace('_', ' ')}"
    if "head" in kinds:
        return [
            Section(
                f"{heading}: {facts.feature_set_title(str(feature_set))}",
                cards=[
                    _card(name, chosen, centred, direction, encoder, facts, len(seeds))
                    for direction in dict.fromkeys(chosen["direction"])
                ],
            )
            for feature_set, chosen in part.groupby("feature_set", sort=False)
        ]
    found = []
    for kind in kinds:
        chosen = part[part["kind"] == kind]
        directions = facts.order(chosen["direction"])
        title = heading if len(kinds) == 1 else f"{heading}: {_KIND_TITLES[kind].lower()}"
        if directions:
            cards = [
                _card(name, chosen, centred, g, encoder, facts, len(seeds)) for g in directions
            ]
            found.append(Section(title, cards=cards))
    return found


def _card(
    name: str,
    part: pd.DataFrame,
    centred: pd.DataFrame,
    direction: str,
    encoder: str,
    facts: Facts,
    seeds: int,
) -> Table:
    chosen = part[part["direction"] == direction].sort_values(
        ["side", "rank"], ascending=[False, True]
    )
    known = facts.generators.get(direction)
    columns = [("Text", "", ""), ("cosine", "num", ""), ("z", "num", "above random directions")]
    if seeds > 1:
        columns.append(("seeds", "num", f"seeds with this text among the first {SHOWN}"))
    rows = []
    for side in ("nearest", "farthest"):
        side_rows = chosen[chosen["side"] == side]
        if side == "farthest" and len(side_rows):
            rows.append([Cell("farthest", css="quiet"), *[Cell() for _ in columns[1:]]])
        for row in rows_of(side_rows):
            above = row["above_null"] is True or row["above_null"] == 1
            tip = f"rank {row['rank']}, p {p_value(row['p'])}"
            if is_known(row["z_shuffled"]):
                tip += f", z against shuffled labels {number(row['z_shuffled'], 1)}"
            cells = [
                Cell(
                    str(row["text"]),
                    sub="" if above else "within null" if is_known(row["p"]) else "",
                    tip=tip,
                    css="" if above else "quiet",
                ),
                Cell(number(row["cosine"]), css="num" if above else "num quiet"),
                Cell(number(row["z_random"], 1), css="num" if above else "num quiet"),
            ]
            if seeds > 1:
                cells.append(Cell(f"{int(row['stability'])}/{seeds}", css="num quiet"))
            rows.append(cells)
    caption = facts.title(direction)
    if head := re.fullmatch(r"l(\d+)_h(\d+)", direction):
        caption = f"Head ({head[1]}, {head[2]})"
    return Table(
        columns,
        rows,
        caption=caption,
        badge="simulated" if known is not None and known.kind == "simulated" else "",
        note=" ".join(
            filter(
                None,
                [
                    _centred(chosen, centred),
                    _shared_with_paper(name, chosen, direction, encoder, facts),
                ],
            )
        ),
        compact=True,
    )


@cache
def _built_in() -> frozenset[str]:
    """Return the phrases of this package, in lower case."""
    return frozenset(text.lower() for text in own_phrases())


def _centred(chosen: pd.DataFrame, centred: pd.DataFrame) -> str:
    """Say which texts are nearest after the mean text is subtracted; empty where they were not listed."""
    keys = ["kind", "direction", "feature_set"]
    one = chosen[keys].drop_duplicates().merge(centred[centred["side"] == "nearest"], on=keys)
    listed = one.sort_values("rank")["text"].astype(str).tolist()
    return f"Centred: {', '.join(listed)}." if listed else ""


def _shared_with_paper(
    name: str, chosen: pd.DataFrame, direction: str, encoder: str, facts: Facts
) -> str:
    """Say which of the paper's texts are among ours; only in the paper's own run."""
    if not facts.is_paper_run() or encoder not in PAPER_ENCODERS or not len(chosen):
        return ""
    words = published("words")
    kind = str(chosen["kind"].iloc[0])
    theirs = words[
        (words["table"] == int(name.removeprefix("table")))
        & (words["kind"] == kind)
        & (words["direction"] == direction)
        & (words["side"] == "nearest")
    ]["text"].tolist()
    if not theirs:
        return ""
    ours = {str(t).strip().lower() for t in chosen[chosen["side"] == "nearest"]["text"]}
    if str(chosen["texts"].iloc[0]) == BUILT_IN and not _built_in() & {t.lower() for t in theirs}:
        return (
            "List absent: the paper's texts are of another list than this package's phrases, so none of"
            f" its {len(theirs)} could be among ours."
        )
    shared = [t for t in theirs if t.lower() in ours]
    listed = f": {', '.join(shared)}" if shared else ""
    return f"{len(shared)} of the paper's {len(theirs)} texts are among ours{listed}."
