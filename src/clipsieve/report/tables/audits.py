"""Pages of the audits: what file facts and spectra alone can tell, and what occurs in two splits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clipsieve import families
from clipsieve.audits.leakage import KINDS
from clipsieve.audits.shortcuts import SEPARATING_AUC
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

_SHOWN_LEAKS = 200
_SEEN = {"file": "file facts", "spectrum": "spectrum", "both": "both"}


def _own(shortcuts: pd.DataFrame, seen: str, files: str = "used") -> pd.DataFrame:
    """Rows of generators on themselves, of one kind of facts."""
    of_kind = (shortcuts["facts"] == seen) & (shortcuts["files"] == files)
    return shortcuts[of_kind & (shortcuts["train"] == shortcuts["test"])]


def shortcut_alert(shortcuts: pd.DataFrame, facts: Facts) -> str | None:
    """Return the warning of a run whose file facts alone separate the classes, else None."""
    found = _own(shortcuts, "file")
    bad = found[found["separates"].astype(bool)]
    names = facts.order(bad["generator"])
    if not names:
        return None
    worst = bad.sort_values("auc").iloc[-1]
    listed = ", ".join(facts.title(g) for g in names)
    strongest = str(worst["strongest_fact"]).replace("_", " ")
    return (
        f"File facts alone separate real from generated for {len(names)} of"
        f" {found['generator'].nunique()} generators ({listed}): an AUC of up to"
        f" {number(worst['auc'])} without looking at one pixel; the strongest fact is"
        f" {strongest}. A detector's score on these may come from how the files were saved."
        " Re-encode both classes alike (the key align of the config) and compare."
    )


def _treatment_alert(shortcuts: pd.DataFrame, facts: Facts) -> str | None:
    """Return the warning of a run whose classes were resampled differently by align, else None."""
    found = _own(shortcuts, "file").drop_duplicates("generator")
    bad = found[found["unlike_treatment"].notna()].set_index("generator")["unlike_treatment"]
    if bad.empty:
        return None
    said = "; ".join(f"{facts.title(g)} ({bad[g]})" for g in facts.order(bad.index))
    return (
        f"Align did not resample real and generated images alike: {said}. The spectrum may tell them"
        " apart for that reason. Use another method (align.method: common_scale, crop or"
        " size_matched) and compare."
    )


def shortcuts_page(inputs: Inputs, facts: Facts) -> tuple[Content, pd.DataFrame]:
    """Build the page of the shortcut audit; the warnings stand at its top."""
    table = inputs["shortcuts"]
    alert = shortcut_alert(table, facts)
    alerts = [text for text in (alert, _treatment_alert(table, facts)) if text]
    cells = inputs.get("cells")
    aligned = "originals" in set(table["files"])
    title = "By generator, aligned files" if aligned else "By generator"
    sections = [Section(title, tables=[_by_generator(table, "used", facts, cells)])]
    if aligned:
        text = [
            "The same on the files as they were before they were aligned, for the images that were used."
        ]
        originals = _by_generator(table, "originals", facts, None)
        sections.append(Section("By generator, original files", text, tables=[originals]))
    if table["generator"].nunique() > 1:
        sections.append(_matrices(table, facts, cells))
        sections += _swaps(table, facts)
    seeds = sorted(set(table["seed"]))
    page = Content(
        [
            "A classifier that sees no pixel, only facts of the file: format, width, height, bytes"
            " per pixel, estimated JPEG quality, mode. Where it tells the classes apart, a"
            " detector can too without knowing anything of generated images.",
            "A second one sees only the slopes of the power spectrum. They show how an image was"
            " resized; they also show a generator's own up-sampling, so it may do well for a good"
            " reason. Where real and generated images came in different sizes or were resized"
            " differently, it is a shortcut.",
        ],
        sections,
        alerts=alerts,
        notes=[
            "Marked: where the audit says that the facts separate the classes (an AUC of"
            f" {SEPARATING_AUC} or more with an interval above 0.5)"
            + (" with some seed. Averages over seeds; bounds too." if len(seeds) > 1 else "."),
            "AUC and balanced accuracy have a chance level of 0.5 whatever the numbers of images;"
            " balanced accuracy is that of the threshold that takes both classes for equally common.",
        ],
    )
    if not alert:
        page.lead = [*page.lead, "In this run file facts alone separate no generator from real."]
    order = ("run", "seed", "files", "facts", "train", "test", "reals", "auc")
    return page, leading(with_kinds(table, facts), order)


def _by_generator(
    table: pd.DataFrame, files: str, facts: Facts, cells: pd.DataFrame | None
) -> Table:
    """Return the table of generators on themselves: both kinds of facts, alone and together."""
    keys = ("auc", "auc_low", "auc_high", "balanced_accuracy", "balanced_low", "balanced_high")
    seen = {kind: _own(table, kind, files) for kind in _SEEN}
    means = {
        kind: {r["generator"]: r for r in rows_of(over_seeds(part, ["generator"], [*keys, "n"]))}
        for kind, part in seen.items()
    }
    strongest = {
        kind: part.groupby("generator")["strongest_fact"].agg(lambda s: ", ".join(dict.fromkeys(s)))
        for kind, part in seen.items()
    }
    warned = {kind: set(part.loc[part["separates"], "generator"]) for kind, part in seen.items()}
    detectors = _detectors(cells, facts)
    rows = []
    for generator in facts.order(means["file"]):
        row = [generator_cell(facts, generator)]
        for kind, found in means.items():
            r = found[generator]
            css = "num warn" if generator in warned[kind] else "num strong"
            row.append(Cell(number(r["auc"]), sub=interval(r["auc_low"], r["auc_high"]), css=css))
            if kind == "file":
                ends = (r["auc_low"] - 0.5, r["auc"] - 0.5, r["auc_high"] - 0.5)
                row.append(Cell(bar=(*ends, -0.5, 0.5)))
                between = interval(r["balanced_low"], r["balanced_high"])
                row.append(Cell(number(r["balanced_accuracy"]), sub=between, css="num"))
            if kind != "both":
                row.append(Cell(str(strongest[kind][generator]).replace("_", " ")))
        row += [Cell(number(found.get(generator)), css="num") for found in detectors.values()]
        rows.append([*row, Cell(integer(means["file"][generator]["n"]), css="num")])
    columns = [
        ("Generator", "", ""),
        ("file facts alone", "num", "AUC, interval below"),
        ("0 to 1", "", "the interval; the dashed line is chance, 0.5"),
        ("balanced accuracy", "num", "of file facts, interval below"),
        ("strongest fact", "", ""),
        ("spectrum alone", "num", "AUC, interval below"),
        ("strongest slope", "", "hundredths of a cycle per pixel"),
        ("both", "num", "AUC, interval below"),
        *(
            (f"probe, {facts.encoder_title(e)}", "num", "AUC in domain, all columns")
            for e in detectors
        ),
        ("images", "num", "test images"),
    ]
    return Table(columns, rows)


def _matrices(table: pd.DataFrame, facts: Facts, cells: pd.DataFrame | None) -> Section:
    """Return the transfer matrices (AUC) of the facts, beside that of each encoder's probe."""
    used = table[table["files"] == "used"]
    source = _own(table, "file").drop_duplicates("test").set_index("test")["reals"]
    own_reals = used[used["reals"] == used["test"].map(source)]
    tables = [
        _matrix(own_reals[own_reals["facts"] == kind], "auc", facts, title)
        for kind, title in _SEEN.items()
    ]
    if cells is not None:
        probe = cells[(cells["metric"] == "auc") & (cells["feature_set"] == families.BASELINE)]
        for encoder in facts.order_encoders(probe["encoder"]):
            title = f"probe on all columns, {facts.encoder_title(encoder)}"
            tables.append(_matrix(probe[probe["encoder"] == encoder], "value", facts, title))
    return Section(
        "Transfer of the facts",
        [
            "AUC of a classifier trained on one generator (row) and tested on another (column). Where"
            " the facts transfer as the probe does, the probe's transfer may be theirs."
        ],
        tables=tables,
    )


def _matrix(rows: pd.DataFrame, value: str, facts: Facts, title: str) -> Table:
    """Return a matrix of training by test generators, averaged over seeds."""
    values = rows.groupby(["train", "test"])[value].mean().to_dict()
    names = facts.order({*rows["train"], *rows["test"]})
    body = [
        [
            generator_cell(facts, train),
            *(Cell(number(values.get((train, test)), 2), css="num") for test in names),
        ]
        for train in names
    ]
    columns = [("trained on", "", ""), *((facts.title(test), "num", "") for test in names)]
    return Table(columns, body, caption=f"AUC of {title}", compact=True)


def _swaps(table: pd.DataFrame, facts: Facts) -> list[Section]:
    """Return the section on swapped real images, where generators have different sources."""
    used = table[(table["files"] == "used") & (table["train"] != table["test"])]
    source = _own(table, "file").drop_duplicates("test").set_index("test")["reals"]
    swapped = used["reals"] != used["test"].map(source)
    if not swapped.any():
        return []
    keys = ["facts", "train", "test"]
    own = used[~swapped].groupby(keys)["auc"].mean().reset_index()
    other = used[swapped].groupby([*keys, "reals"])["auc"].mean().reset_index()
    shown = other[other["facts"] != "both"].merge(own, on=keys, suffixes=("", "_own"))
    rows = [
        [
            Cell(_SEEN[r["facts"]]),
            generator_cell(facts, r["train"]),
            generator_cell(facts, r["test"]),
            Cell(number(r["auc_own"]), css="num"),
            Cell(number(r["auc"]), css="num"),
            Cell(r["reals"]),
        ]
        for r in rows_of(shown)
    ]
    columns = [
        ("Seen", "", ""),
        ("trained on", "", ""),
        ("tested on", "", ""),
        ("own real images", "num", "AUC"),
        ("swapped", "num", "AUC with the training generator's real images"),
        ("source of those", "", ""),
    ]
    text = [
        "The same generated images, tested beside the real images of the training generator. Where"
        " the two differ, the detector separates the sources of real images."
    ]
    return [Section("Swap of real images", text, tables=[Table(columns, rows)], folded=True)]


def _detectors(cells: pd.DataFrame | None, facts: Facts) -> dict[str, dict[str, float]]:
    """Return for every encoder the in-domain AUC of the probe on all columns by generator."""
    if cells is None:
        return {}
    own = cells[
        (cells["train"] == cells["test"])
        & (cells["metric"] == "auc")
        & (cells["feature_set"] == families.BASELINE)
    ]
    means = own.groupby(["encoder", "test"])["value"].mean()
    found: dict[str, dict[str, float]] = {}
    for encoder in facts.order_encoders(own["encoder"]):
        found[encoder] = {str(k): float(v) for k, v in means[encoder].items()}
    return found


def leaks_in_words(leaks: pd.DataFrame) -> str:
    """Say how many pairs of images occur in two splits and in both classes.

    ``1 pair of images occurs in two splits``, ``5 pairs of images occur in both classes``.
    """
    classes = leaks["kind"].astype(str).str.endswith("_classes")
    said = []
    for count, where in (
        (int((~classes).sum()), "two splits"),
        (int(classes.sum()), "both classes"),
    ):
        if count:
            pairs = "1 pair of images occurs" if count == 1 else f"{count} pairs of images occur"
            said.append(f"{pairs} in {where}")
    return " and ".join(said)


def leakage_page(inputs: Inputs, facts: Facts) -> tuple[Content, pd.DataFrame]:
    """Build the page of the leakage audit: every pair of images that two splits share."""
    table = inputs["leakage"]
    manifest = inputs["manifest"]
    counts = [
        [Cell(title), Cell(integer((table["kind"] == kind).sum()), css="num strong")]
        for kind, title in KINDS.items()
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
                Cell(KINDS.get(r["kind"], r["kind"])),
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
        alerts.append(f"{leaks_in_words(table)}: test scores mean less than they say.")
    page = Content(
        [
            "No photograph, file or near-duplicate may occur in two splits, within a generator or"
            " across generators, and no file may be called both real and generated."
            + ("" if len(table) else " None does in this run.")
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
