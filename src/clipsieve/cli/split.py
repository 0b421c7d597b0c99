"""Assign every usable image of a set to train, val or test.

A group is never divided. Its split depends only on the seed and the groups of the source, so it is
the same for every generator of the source. Images with a problem have no split; they stay in the
image table with their reason.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from clipsieve.config import default
from clipsieve.errors import UserError

log = logging.getLogger("clipsieve")

HELP = "assign the images of one set to train, val and test by group"

_EPILOG = """example:
  clipsieve split --images images/progan.parquet --source-images images/lsun.parquet \\
    --seed 0 --test 0.3 --val 0.2 --output splits/progan.parquet
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = _EPILOG
    add = parser.add_argument
    for name, what in (
        ("images", "of the set (clipsieve scan)"),
        ("source-images", "of its source"),
    ):
        add(f"--{name}", required=True, type=Path, metavar="PARQUET", help=f"image table {what}")
    add("--seed", type=int, required=True, help="seed of the division")
    add(
        "--test",
        type=float,
        default=default("splits.test"),
        help="share of the source's images that go to test (default %(default)s, as in the paper)",
    )
    add(
        "--val",
        type=float,
        default=default("splits.val"),
        help="share of what test leaves that goes to val (default %(default)s)",
    )
    add("--output", required=True, type=Path, metavar="PARQUET", help="the split table to write")


def run(args: argparse.Namespace) -> None:
    """Assign and write the splits."""
    from clipsieve.images.scan import read_images, usable
    from clipsieve.images.splits import assign_splits
    from clipsieve.io.files import replacing

    images = usable(read_images(args.images)).reset_index(drop=True)
    source = usable(read_images(args.source_images))
    try:
        split = assign_splits(
            source["group"], images["group"], seed=args.seed, test=args.test, val=args.val
        )
    except UserError as error:
        raise UserError(f"{args.images}: {error}") from None
    table = images[["image_id", "group", "label", "generator"]].assign(split=split)
    counts = ", ".join(f"{n} {name}" for name, n in table["split"].value_counts().items())
    log.info("%s: %s", args.images.stem, counts)
    with replacing(args.output) as temporary:
        table.to_parquet(temporary, index=False)
