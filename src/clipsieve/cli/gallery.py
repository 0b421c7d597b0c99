"""Make a page of the test images on which each probe is most confident, correct and incorrect.

The thumbnails are part of the page, so that it can be sent or kept on its own. Size and file facts
are shown under each image.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from clipsieve import families
from clipsieve.cli.page_options import add_facts, parse_facts
from clipsieve.io.files import replacing

HELP = "make a page of the images on which probes are most confident, correct and incorrect"

log = logging.getLogger("clipsieve")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--scores",
        type=Path,
        nargs="+",
        required=True,
        metavar="FILE",
        help="scores of one encoder",
    )
    add("--manifest", type=Path, required=True, metavar="FILE", help="the run's manifest")
    add(
        "--data-root",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="the folder that the manifest's paths are relative to",
    )
    add("--feature-set", default=families.BASELINE, help="whose probes (default %(default)s)")
    add(
        "--train",
        nargs="*",
        default=[],
        metavar="GENERATOR",
        help="generators whose probes are shown (default: all)",
    )
    add("--count", type=int, default=6, help="images per group (default %(default)s)")
    add(
        "--side",
        type=int,
        default=176,
        help="longer side of a thumbnail in pixels (default %(default)s)",
    )
    add_facts(parser)
    add("--html", type=Path, required=True, help="the page to write")
    parser.epilog = (
        "example:\n"
        "  clipsieve gallery --scores results/demo/seed0/clip_b16/scores/all.h5 \\\n"
        "      --manifest results/demo/manifest.parquet --data-root data --html gallery.html"
    )


def run(args: argparse.Namespace) -> None:
    from clipsieve.errors import UserError
    from clipsieve.report.html.gallery import gallery_page
    from clipsieve.report.html.page import render

    for name in ("count", "side"):
        if getattr(args, name) < 1:
            raise UserError(f"--{name}: {getattr(args, name)} given, 1 or more allowed")
    page = gallery_page(
        args.scores,
        args.manifest,
        args.data_root,
        parse_facts(args.generators, args.encoders),
        feature_set=args.feature_set,
        train=args.train,
        count=args.count,
        side=args.side,
    )
    with replacing(args.html) as temporary:
        temporary.write_text(render(page), encoding="utf-8")
    log.info("gallery: %s", args.html)
