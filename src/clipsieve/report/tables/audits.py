"""Pages of the audits: what file facts alone can tell, and what stands in two splits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clipsieve import families
from clipsieve.report.facts import Facts
from clipsieve.report.frames import leading, over_seeds, rows_of, with_kinds
from clipsieve.report.html.page import (
    Cell,
    Content,
    Section,
    Table,
    generator_cell,
    integer,
    interval,
    is_known,
    number,
)
from clipsieve.report.reading import Inputs

if TYPE_CHECKING:
    import pandas as pd

# File facts that reach this accuracy, their interval above chance, are warned of.
SEPARATING = 0.75
_SHOWN_LEAKS = 200


def _separates(shortcuts: pd.DataFrame) -> pd.Series:
    """Return the audit's own verdict by row; accuracy and interval where it gives none."""
    if "separates" in shortcuts.columns:
        return shortcuts["separates"].astype(bool)
    return (shortcuts["accuracy"] >= SEPARATING) & (shortcuts["low"] > 0.5)


def shortcut_alert(shortcuts: pd.DataFrame, facts: Facts) -> str | None:
    """Return the warning of a run whose file facts alone separate the classes, else None."""
    bad = shortcuts[_separates(shortcuts)]
    names = facts.order(bad["generator"])
    if not names:
        return None
    worst = bad.sort_values("accuracy").iloc[-1]
    listed = ", ".join(facts.title(g) for g in names)
    strongest = str(worst["strongest_fact"]).replace("_", " ")
    return (
        f"File facts alone separate real from generated for {len(names)} of"
        f" {shortcuts['generator'].nunique()} generators ({listed}): up to"
        f" {number(worst['accuracy'])} accuracy without looking at one pixel; the strongest fact is"
        f" {strongest}. A detector's score on these may come from how the files were saved."
        " Re-encode both classes alike (the key align of the config) and compare."
    )


def shortcuts_page(inputs: Inputs, facts: Facts) -> tuple[Content, pd.DataFrame]:
    """Build the page of the shortcut audit; the warning stands at its top."""
    table = inputs["shortcuts"]
    alert = shortcut_alert(table, facts)
    detectors = _detectors(inputs.get("cells"), facts)
    shown = over_seeds(table, ["generator"], ["accuracy", "auc", "low", "high", "n"])
    records = {r["generator"]: r for r in rows_of(shown)}
    facts_of = table.groupby("generator")["strongest_fact"].agg(
        lambda s: ", ".join(dict.fromkeys(s))
    )
    warned = set(table.loc[_separates(table), "generator"])
    rows = []
    for generator in facts.order(records):
        r = records[generator]
        flagged = generator in warned
        rows.append(
            [
                generator_cell(facts, generator),
                Cell(
                    number(r["accuracy"]),
                    sub=interval(r["low"], r["high"]),
                    css="num warn" if flagged else "num strong",
                ),
                Cell(bar=(r["low"] - 0.5, r["accuracy"] - 0.5, r["high"] - 0.5, -0.5, 0.5)),
                Cell(number(r["auc"]), css="num"),
                Cell(str(facts_of[generator]).replace("_", " ")),
                *(Cell(number(found.get(generator)), css="num") for found in detectors.values()),
                Cell(integer(r["n"]), css="num"),
            ]
        )
    columns = [
        ("Generator", "", ""),
        ("file facts alone", "num", "accuracy, interval below"),
        ("0 to 1", "", "the interval; the dashed line is chance, 0.5"),
        ("AUC", "num", ""),
        ("strongest fact", "", ""),
        *(
            (f"probe, {facts.encoder_title(e)}", "num", "accuracy in domain, all columns")
            for e in detectors
        ),
        ("images", "num", "test images"),
    ]
    seeds = sorted(set(table["seed"]))
    page = Content(
        [
            "A classifier that sees no pixel, only facts of the file: format, width, height, bytes"
            " per pixel, estimated JPEG quality, mode. Where it tells the classes apart, a"
            " detector can too without knowing anything of generated images."
        ],
        [Section("By generator", tables=[Table(columns, rows)])],
        alerts=[alert] if alert else [],
        notes=[
            "Marked: the generators for which the audit says that file facts separate the classes"
            + (" (with some seed). Averages over seeds; bounds too." if len(seeds) > 1 else ".")
        ],
    )
    if not alert:
        page.lead = [*page.lead, "In this run file facts alone separate no generator from real."]
    return page, leading(with_kinds(table, facts), ("run", "seed", "generator", "accuracy"))


def _detectors(cells: pd.DataFrame | None, facts: Facts) -> dict[str, dict[str, float]]:
    """Return for every encoder the in-domain accuracy of the probe on all columns by generator."""
    if cells is None:
        return {}
    own = cells[
        (cells["train"] == cells["test"])
        & (cells["metric"] == "accuracy")
        & (cells["feature_set"] == families.BASELINE)
    ]
    means = own.groupby(["encoder", "test"])["value"].mean()
    found: dict[str, dict[str, float]] = {}
    for encoder in facts.order_encoders(own["encoder"]):
        found[encoder] = {str(k): float(v) for k, v in means[encoder].items()}
    return found


def leaks_in_words(count: int) -> str:
    """Return `1 pair of images stands` or `5 pairs of images stand`."""
    return "1 pair of images stands" if count == 1 else f"{count} pairs of images stand"


def leakage_page(inputs: Inputs, facts: Facts) -> tuple[Content, pd.DataFrame]:
    """Build the page of the leakage audit: every pair of images that two splits share."""
    table = inputs["leakage"]
    manifest = inputs["manifest"]
    kinds = {
        "group": "one group in two splits",
        "identical": "one file in two splits",
        "near_duplicate": "near-duplicates in two splits",
    }
    counts = [
        [Cell(title), Cell(integer((table["kind"] == kind).sum()), css="num strong")]
        for kind, title in kinds.items()
    ]
    sections = [
        Section(
            "Found",
            tables=[Table([("Kind of leak", "", ""), ("pairs", "num", "")], counts)],
        )
    ]
    if len(table):
        rows = [
            [
                Cell(kinds.get(r["kind"], r["kind"])),
                Cell(str(r["first"]), sub=str(r["first_split"]), css="code wrap"),
                Cell(str(r["second"]), sub=str(r["second_split"]), css="code wrap"),
                Cell(f"{r['distance']:g}" if is_known(r["distance"]) else "", css="num"),
                Cell(str(r["seed"]), css="num quiet"),
            ]
            for r in rows_of(table.head(_SHOWN_LEAKS))
        ]
        columns = [("Kind", "", ""), ("first", "", "split below"), ("second", "", "split below")]
        columns += [("distance", "num", "bits of the perceptual hash"), ("seed", "num", "")]
        note = (
            f"The first {_SHOWN_LEAKS} of {len(table)}; the CSV file holds all."
            if len(table) > _SHOWN_LEAKS
            else ""
        )
        sections.append(Section("Pairs of images", tables=[Table(columns, rows, note=note)]))
    sections.append(Section("Images in each split", tables=[split_table(manifest, facts)]))
    alerts = []
    if len(table):
        alerts.append(f"{leaks_in_words(len(table))} in two splits: test scores are too good.")
    page = Content(
        [
            "No photograph, file or near-duplicate may stand in two splits, within a generator or"
            " across generators." + ("" if len(table) else " None does in this run.")
        ],
        sections,
        alerts=alerts,
    )
    return page, leading(table, ("run", "seed", "kind", "first", "second"))


def split_table(manifest: pd.DataFrame, facts: Facts) -> Table:
    """Return how many images of every image set stand in each split, and how many were left out."""
    sets: dict[str, dict[str, Any]] = {}
    for row in rows_of(manifest[["image_set", "generator", "split"]]):
        entry = sets.setdefault(str(row["image_set"]), {"generator": row["generator"]})
        split = row["split"] if row["split"] in {"train", "val", "test"} else "left out"
        entry[split] = entry.get(split, 0) + 1
    generated = [s for s, e in sets.items() if isinstance(e["generator"], str)]
    rows = []
    for image_set in [*(s for s in sets if s not in generated), *facts.order(generated)]:
        entry = sets[image_set]
        made = image_set in generated
        name = generator_cell(facts, image_set) if made else Cell(image_set, tip="real images")
        splits = ("train", "val", "test", "left out")
        rows.append(
            [
                name,
                Cell("generated (0)" if made else "real (1)"),
                *(Cell(integer(entry.get(s, 0)), css="num") for s in splits),
            ]
        )
    columns = [("Image set", "", ""), ("label", "", "")]
    columns += [(s, "num", "") for s in ("train", "val", "test", "left out")]
    return Table(columns, rows)
