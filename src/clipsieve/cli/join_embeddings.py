"""Join the parts of an image set that were embedded by jobs of their own.

By default the parts are copied into the file that one job would have written, byte for byte. With
--virtual they stay where they are, and the file points to them: no second copy, but the parts must
be kept at the same place beside it.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

HELP = "join the parts of an image set that was embedded in parts"

log = logging.getLogger("clipsieve")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.epilog = (
        "example:\n  clipsieve join-embeddings --parts e/parts/laion/0.h5 e/parts/laion/1.h5 \\\n"
        "    --output e/laion.h5"
    )
    parser.add_argument(
        "--parts",
        nargs="+",
        type=Path,
        required=True,
        metavar="H5",
        help="embeddings of consecutive ranges of the image table, in their order",
    )
    parser.add_argument(
        "--virtual",
        action="store_true",
        help="leave the arrays in the parts and point to them (default: copy them)",
    )
    parser.add_argument(
        "--output", type=Path, required=True, metavar="H5", help="the embeddings of the whole set"
    )


def run(args: argparse.Namespace) -> None:
    """Join, and write."""
    from clipsieve.io.parts import join

    count = join(args.parts, args.output, virtual=args.virtual)
    log.info("%s: %d images of %d parts", args.output, count, len(args.parts))
