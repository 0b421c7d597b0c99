"""Make the explorer: one page in which a reader chooses what to see of a run.

The page holds its data, its script and its images, opens from disk and makes no request. `--cells`,
`--means` and `--manifest` are needed; parts whose files are not given are left out of the page.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from clipsieve.cli.page_options import add_facts, add_inputs, inputs_of, parse_facts
from clipsieve.io.files import replacing
from clipsieve.report import registry

HELP = "make one page in which a reader chooses what to see of a run"

log = logging.getLogger("clipsieve")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_inputs(parser, set(registry.EXPLORED))
    parser.add_argument(
        "--data-root",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="the folder that the manifest's paths are relative to",
    )
    add_facts(parser)
    parser.add_argument(
        "--side",
        type=int,
        default=72,
        help="longer side of a thumbnail in pixels (default %(default)s)",
    )
    parser.add_argument(
        "--thumbnails", type=int, default=600, help="at most this many (default %(default)s)"
    )
    parser.add_argument(
        "--megabytes",
        type=float,
        default=4.8,
        help="size up to which thumbnails are added (default %(default)s)",
    )
    parser.add_argument("--html", type=Path, required=True, help="the page to write")
    parser.epilog = (
        "example:\n"
        "  clipsieve explorer --cells results/demo/seed*/*/cells.parquet \\\n"
        "      --means results/demo/seed*/*/means.parquet --manifest results/demo/manifest.parquet \\\n"
        "      --data-root data --html explorer.html"
    )


def run(args: argparse.Namespace) -> None:
    from clipsieve.errors import UserError
    from clipsieve.report.explorer.document import explorer_page

    if args.side < 8 or args.thumbnails < 0 or args.megabytes <= 0:
        raise UserError(
            "--side: 8 or more is allowed; --thumbnails: 0 or more; --megabytes: more than 0"
        )
    page = explorer_page(
        inputs_of(args),
        parse_facts(args.generators, args.encoders),
        args.data_root,
        side=args.side,
        most=args.thumbnails,
        megabytes=args.megabytes,
    )
    with replacing(args.html) as temporary:
        temporary.write_text(page, encoding="utf-8")
    log.info("explorer: %s, %.2f MB", args.html, len(page.encode()) / 1e6)
