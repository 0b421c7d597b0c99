"""Ask how well each generator is told from its source by file facts alone, without a pixel.

The facts: format, width, height, bytes per pixel, estimated JPEG quality, mode. A forest is trained
on the train and val images and tested on the test images, as a detector is. Where it does well, a
detector's score can come from how the files were saved.
"""

from __future__ import annotations

import argparse
import logging

from clipsieve.cli.options import add_bootstrap, check_bootstrap
from clipsieve.errors import UserError

HELP = "what file facts alone can tell of each generator"

log = logging.getLogger("clipsieve")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    parser.epilog = (
        "example:\n  clipsieve audit-shortcuts --manifest manifest.parquet --seed 0 \\\n"
        "    --output seed0/shortcuts.parquet"
    )
    add = parser.add_argument
    add("--manifest", required=True, metavar="PARQUET", help="manifest of the run")
    add("--seed", type=int, required=True, help="seed whose splits are used")
    add_bootstrap(parser, kinds=False)
    add("--output", required=True, metavar="PARQUET", help="the table, one row a generator")


def run(args: argparse.Namespace) -> None:
    """Audit every generator of the manifest."""
    import pandas as pd

    from clipsieve.audits.shortcuts import NEEDED, audit_generator
    from clipsieve.io.tables import read_table, write_table

    check_bootstrap(args)
    split = f"split_seed{args.seed}"
    manifest, _ = read_table(args.manifest, (*NEEDED, split))
    generators = manifest.loc[manifest[split].notna(), "generator"].dropna()
    if generators.empty:
        raise UserError(f"{args.manifest}: no generated image has a split")
    rows = [
        audit_generator(
            manifest,
            split,
            str(generator),
            resamples=args.resamples,
            confidence=args.confidence,
        )
        for generator in dict.fromkeys(generators)
    ]
    table = pd.DataFrame(rows)
    for row in table[table["separates"]].itertuples():
        log.warning(
            "shortcuts: %s is told from real images by file facts alone, accuracy %.3f;"
            " strongest: %s",
            row.generator,
            row.accuracy,
            row.strongest_fact,
        )
    note = {
        "of": {"seed": args.seed},
        "resamples": args.resamples,
        "confidence": args.confidence,
    }
    write_table(table, args.output, note)
    log.info("shortcuts: %d generators, %d separated", len(table), int(table["separates"].sum()))
