"""Re-encode images to one size and one file format, real and generated alike.

A detector can learn that real images are JPEG files of many sizes and generated ones PNG files of
a single size. Aligned copies remove this difference: run this command on every image set of a run
with the same options, embed the copies, and compare. Resizing itself leaves traces, so the method
determines what is the same for real and generated images:
  common_scale  one factor for the set, its source and every generator of the source: the one that
                brings the smallest image to the size; then the middle square
  crop          no resizing: the middle square; an image with a shorter side below the size is
                left out
  size_matched  a subset in which all these sets have the same shorter sides in the same shares;
                then as resize
  resize        each image by its own factor: its shorter side is brought to the size. Where real
                and generated images differ in size, the spectrum then tells them apart
No method removes the traces that earlier compression and resizing left in the pixels. An image
that is left out keeps its row, with the reason in the column problem.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import Any

from clipsieve.cli.options import add_profiles, add_threads
from clipsieve.cli.progress import counter
from clipsieve.config import default
from clipsieve.errors import UserError
from clipsieve.images.align import METHODS

log = logging.getLogger("clipsieve")

HELP = "re-encode an image set to a single size and file format"

_EPILOG = """example:
  clipsieve align --images images/progan.parquet --data-root images --size 224 --format jpeg \\
    --quality 95 --peers images/lsun.parquet images/progan.parquet --output-dir aligned \\
    --output aligned/progan.parquet
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
        "--method",
        choices=METHODS,
        default="common_scale",
        help="how images reach the size, see above (default %(default)s)",
    )
    add(
        "--peers",
        nargs="*",
        type=Path,
        default=[],
        metavar="PARQUET",
        help="image tables of the source and all its generators, for common_scale and size_matched",
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
    add_profiles(parser)
    add_threads(parser, "images at once")


def run(args: argparse.Namespace) -> None:
    """Write the copies and their table."""
    from clipsieve.images import align
    from clipsieve.images.rewrite import rewrite
    from clipsieve.images.scan import read_images, usable
    from clipsieve.io.files import replacing

    align.check_options(args.size, args.format, args.quality)
    images = read_images(args.images)
    found = len(usable(images))
    plan = align.plan(args.method, args.size, images, [read_images(path) for path in args.peers])
    if plan.kept is not None:
        left_out = images["problem"].isna() & ~images["image_id"].isin(list(plan.kept))
        images.loc[left_out, "problem"] = "left out by align: its size has no match"

    def change(picture: Any, row: dict[str, Any]) -> tuple[bytes, str, None]:
        data = align.aligned(
            picture,
            size=args.size,
            file_format=args.format,
            quality=args.quality,
            scale=plan.scale,
        )
        return data, align.FORMATS[args.format], None

    table = rewrite(
        images,
        change,
        data_root=args.data_root,
        output_root=args.output_dir,
        threads=args.threads,
        profiles=args.colour_profiles,
        progress=counter(args.images.stem, len(images)),
    )
    made = table["problem"].isna()
    if not made.any():
        problem = table["problem"].iloc[0]
        raise UserError(f"{args.images}: align {args.method} leaves no image ({problem})")
    before = align.shorter_side(usable(images)).set_axis(usable(images)["image_id"])
    factor = args.size / table.loc[made, "image_id"].map(before)
    table.loc[made, "align_scale"] = factor if plan.scale is None else plan.scale
    shares = align.treatment(table.loc[made, "align_scale"])
    log.info(
        "%s: %d aligned images in %s, %d of %d usable ones left out; %s",
        args.images.stem,
        made.sum(),
        args.output_dir,
        found - made.sum(),
        found,
        ", ".join(f"{100 * share:.0f} % {name}" for name, share in shares.items()),
    )
    with replacing(args.output) as temporary:
        table.to_parquet(temporary, index=False)
