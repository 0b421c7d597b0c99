"""Re-encode images to one size and one file format, real and generated alike.

A detector can learn that real images are JPEG files of many sizes and generated ones PNG files of
one. Aligned copies take that away: run this verb on every image set of a run with the same options,
embed the copies, and compare. What it can't take away: the traces that earlier compression and
resizing left in the pixels.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from clipsieve.cli.options import add_threads
from clipsieve.cli.progress import counter
from clipsieve.config import default

log = logging.getLogger("clipsieve")

HELP = "re-encode an image set to one size and file format"

_EPILOG = """example:
  clipsieve align --images images/progan.parquet --data-root images --size 224 --format jpeg \\
    --quality 95 --output-dir aligned --output aligned/progan.parquet
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = _EPILOG
    add = parser.add_argument
    add(
        "--images",
        required=True,
        type=Path,
        metavar="PARQUET",
        help="image table of the set (clipsieve scan)",
    )
    add("--data-root", required=True, type=Path, help="folder that the table's paths start from")
    add(
        "--size",
        type=int,
        default=default("align.size"),
        help="side of the copies in pixels (default %(default)s)",
    )
    add(
        "--format",
        choices=("png", "jpeg", "webp"),
        default=default("align.format"),
        help="file format of the copies (default %(default)s)",
    )
    add(
        "--quality",
        type=int,
        default=default("align.quality"),
        help="JPEG or WebP quality, 1-100 (default %(default)s)",
    )
    add("--output-dir", required=True, type=Path, help="folder for the copies: their data root")
    add(
        "--output",
        required=True,
        type=Path,
        metavar="PARQUET",
        help="image table of the copies to write",
    )
    add_threads(parser, "images at once")


def run(args: argparse.Namespace) -> None:
    """Write the copies and their table."""
    from clipsieve.images.align import FORMATS, aligned, check_options
    from clipsieve.images.rewrite import rewrite
    from clipsieve.images.scan import read_images
    from clipsieve.io.files import replacing

    check_options(args.size, args.format, args.quality)
    images = read_images(args.images)
    table = rewrite(
        images,
        lambda picture, row: (
            aligned(picture, size=args.size, file_format=args.format, quality=args.quality),
            FORMATS[args.format],
            None,
        ),
        data_root=args.data_root,
        output_root=args.output_dir,
        threads=args.threads,
        progress=counter(args.images.stem, len(images)),
    )
    log.info("%s: %d aligned images in %s", args.images.stem, len(table), args.output_dir)
    with replacing(args.output) as temporary:
        table.to_parquet(temporary, index=False)
