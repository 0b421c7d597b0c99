"""Measure how well generated images can be told from real ones without regard to their content.

A forest sees only file facts (format, width, height, bytes per pixel, estimated JPEG quality,
mode), only the slopes of the power spectrum (which show resampling), or both. It is trained on
the train and val images of each generator and its source, as a detector is, and tested on the test
images of every generator; where two generators have different sources, also with the training
generator's real images in place of the other's. Where file facts do well, a detector's score can
come from how the files were saved.
"""

from __future__ import annotations

import argparse
import logging
from typing import TYPE_CHECKING, Any

from clipsieve.cli.options import add_bootstrap, check_bootstrap
from clipsieve.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

HELP = "how well file facts and spectra alone identify each generator"

log = logging.getLogger("clipsieve")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.epilog = (
        "example:\n  clipsieve audit-shortcuts --manifest manifest.parquet --seed 0 \\\n"
        "    --output seed0/shortcuts.parquet"
    )
    add = parser.add_argument
    add("--manifest", required=True, metavar="PARQUET", help="manifest of the run")
    add(
        "--originals", nargs="*", default=[], metavar="PARQUET",
        help="image tables of the files before they were aligned: they are audited, too"
        " (default: none)",
    )  # fmt: skip
    add("--seed", type=int, required=True, help="seed whose splits are used")
    add_bootstrap(parser, kinds=False)
    add(
        "--output", required=True, metavar="PARQUET",
        help="the table: a row for each training and test generator",
    )  # fmt: skip


def run(args: argparse.Namespace) -> None:
    """Audit every generator of the manifest."""
    import pandas as pd

    from clipsieve.audits.shortcuts import NEEDED, audit
    from clipsieve.io.tables import read_table, write_table

    check_bootstrap(args)
    split = f"split_seed{args.seed}"
    manifest, _ = read_table(args.manifest, (*NEEDED, split))
    if manifest.loc[manifest[split].notna(), "generator"].dropna().empty:
        raise UserError(f"{args.manifest}: no generated image has a split")
    audited = {"used": manifest}
    if args.originals:
        tables = [read_table(path, NEEDED)[0] for path in args.originals]
        audited["originals"] = with_splits(pd.concat(tables, ignore_index=True), manifest, split)
    rows: list[dict[str, Any]] = []
    for files, images in audited.items():
        found = audit(images, split, resamples=args.resamples, confidence=args.confidence)
        rows += [{"files": files, **row} for row in found]
    table = pd.DataFrame(rows)
    table["unlike_treatment"] = treatments(manifest, table, split)
    warn(table)
    note = {
        "of": {"seed": args.seed},
        "resamples": args.resamples,
        "confidence": args.confidence,
    }
    write_table(table, args.output, note)


def with_splits(originals: pd.DataFrame, manifest: pd.DataFrame, split: str) -> pd.DataFrame:
    """Give original files the splits of the images that were made from them."""
    of_image = manifest.dropna(subset=[split]).set_index("image_id")[split]
    return originals.assign(**{split: originals["image_id"].map(of_image)})


def treatments(manifest: pd.DataFrame, table: pd.DataFrame, split: str) -> list[str | None]:
    """Say of each generator, in its own row, how align treated it and its source differently."""
    from clipsieve.images.align import unlike_treatment

    used = manifest[manifest[split].notna()]
    if "align_scale" not in used:
        return [None] * len(table)
    said: list[str | None] = []
    for row in table.to_dict("records"):
        own = row["files"] == "used" and row["facts"] == "file" and row["train"] == row["test"]
        real = used.loc[used["image_set"] == row["reals"], "align_scale"]
        generated = used.loc[used["image_set"] == row["test"], "align_scale"]
        said.append(unlike_treatment(real, generated) if own else None)
    return said


def warn(table: pd.DataFrame) -> None:
    """Log the generators that are told apart, and those that were treated unlike their source."""
    own = table[table["train"] == table["test"]]
    words = {"file": "file facts", "spectrum": "the spectrum"}
    for row in own[own["separates"] & own["facts"].isin(list(words))].itertuples():
        log.warning(
            "shortcuts: %s can be told from real images by %s alone%s, AUC %.3f; strongest: %s",
            row.test,
            words[str(row.facts)],
            "" if row.files == "used" else " (original files)",
            row.auc,
            row.strongest_fact,
        )
    for row in own[own["unlike_treatment"].notna()].itertuples():
        log.warning(
            "align: %s and %s were not resampled alike (%s): the spectrum may tell them apart",
            row.test,
            row.reals,
            row.unlike_treatment,
        )
    facts = own[(own["facts"] == "file") & (own["files"] == "used")]
    log.info("shortcuts: %d generators, %d separated", len(facts), int(facts["separates"].sum()))
