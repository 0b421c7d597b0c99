"""Write one manifest of a run: every image of every image set, with its split under each seed."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

HELP = "gather the image tables and splits of a run into one manifest"

log = logging.getLogger("clipsieve")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.epilog = (
        "example:\n  clipsieve manifest --images images/lsun.parquet images/progan.parquet \\\n"
        "    --splits seed0/splits/lsun.parquet seed0/splits/progan.parquet --seeds 0 \\\n"
        "    --output manifest.parquet"
    )
    parser.add_argument(
        "--images", nargs="+", required=True, metavar="PARQUET", help="image tables, one per set"
    )
    parser.add_argument(
        "--splits", nargs="+", required=True, metavar="PARQUET",
        help="split tables: all sets of the first seed, then all of the second, ..",
    )  # fmt: skip
    parser.add_argument("--seeds", nargs="+", type=int, required=True, help="seeds, in that order")
    parser.add_argument("--output", required=True, metavar="PARQUET", help="the manifest")


def run(args: argparse.Namespace) -> None:
    """Gather, and write the manifest."""
    import pandas as pd

    from clipsieve.errors import UserError
    from clipsieve.io.tables import read_table, write_table

    manifest = pd.concat([read_table(path)[0] for path in args.images], ignore_index=True)
    if len(args.splits) != len(args.images) * len(args.seeds):
        raise UserError(
            f"--splits: {len(args.splits)} tables for {len(args.images)} image sets and {len(args.seeds)} seeds"
        )
    for i, seed in enumerate(args.seeds):
        chosen = args.splits[i * len(args.images) : (i + 1) * len(args.images)]
        tables = [read_table(path, ("image_id", "split"))[0] for path in chosen]
        split = pd.concat(tables, ignore_index=True).set_index("image_id")["split"]
        manifest[f"split_seed{seed}"] = manifest["image_id"].map(split)
    position = list(manifest.columns).index("group") + 1
    manifest.insert(position, "split", manifest[f"split_seed{args.seeds[0]}"])
    write_table(manifest, args.output, {"image_sets": [Path(path).stem for path in args.images]})
    problems = int(manifest["problem"].notna().sum())
    log.info("manifest: %d images, %d with a problem", len(manifest), problems)
