"""Gather the shards of a generator into one folder and one table.

The images are linked, not copied, where the file system allows it. The folder holds them alone, so
`clipsieve scan` takes it as it is. Every file's hash is compared with the table's.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
from pathlib import Path

from clipsieve.errors import UserError

log = logging.getLogger("clipsieve")

HELP = "gather the shards of a generator's images into one folder and one table"

_EPILOG = """example:
  clipsieve gather --tables shards/sd14_50/0.parquet shards/sd14_50/1.parquet \\
    --output-dir images/sd14_50 --output images/sd14_50.parquet
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = _EPILOG
    add = parser.add_argument
    add(
        "--tables",
        nargs="+",
        required=True,
        type=Path,
        metavar="PARQUET",
        help="tables of `clipsieve generate`; the images lie beside each in a folder of its name",
    )
    add("--output-dir", required=True, type=Path, help="folder for the images; made anew")
    add("--output", required=True, type=Path, metavar="PARQUET", help="the table to write")


def run(args: argparse.Namespace) -> None:
    """Link the images and write the table."""
    import pandas as pd

    from clipsieve.generation.shard import COLUMNS
    from clipsieve.io.files import sha256_of
    from clipsieve.io.tables import read_table, write_table

    tables, machines, recipe = [], {}, None
    folders = {}
    for path in args.tables:
        table, note = read_table(path, COLUMNS)
        tables.append(table)
        machines.update(note["machines"])
        if recipe not in (None, note["recipe"]):
            raise UserError(f"{path}: another recipe than {args.tables[0]}; make the shard again")
        recipe = note["recipe"]
        for name in table["file"].dropna():
            if name in folders:
                raise UserError(f"{path}: {name} stands in two shards")
            folders[name] = path.with_suffix("")
    whole = pd.concat(tables, ignore_index=True)
    kept = whole[whole["file"].notna()]
    if kept.empty:
        raise UserError(f"{args.output_dir}: no usable image in {len(tables)} shards")
    if args.output_dir.exists():
        shutil.rmtree(args.output_dir)
    args.output_dir.mkdir(parents=True)
    for name, sha256 in zip(kept["file"], kept["sha256"], strict=True):
        source = folders[name] / name
        if not source.is_file() or sha256_of(source) != sha256:
            raise UserError(
                f"{source}: is missing or was changed; remove {folders[name].with_suffix('.parquet')} and run again"
            )
        _link(source, args.output_dir / name)
    wanted = len(whole.drop_duplicates(["prompt_id", "k"]))
    log.info("%s: %d of %d images", args.output_dir.name, len(kept), wanted)
    if len(machines) > 1:
        log.warning("%s: made on %d kinds of machine", args.output_dir.name, len(machines))
    write_table(whole, args.output, {"recipe": recipe, "machines": machines, "wanted": wanted})


def _link(source: Path, target: Path) -> None:
    """Make a hard link, or a copy where the file system has none."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
