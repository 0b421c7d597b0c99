"""Options of the commands that explain directions: which there are, and what their nulls are made of."""

from __future__ import annotations

import argparse

from clipsieve.cli.options import add_image_sets, add_row_names, add_threads
from clipsieve.config import default
from clipsieve.errors import UserError


def add_material_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which directions there are and what their nulls are made of."""
    parser.add_argument(
        "--probes", nargs="*", default=[], metavar="NPZ",
        help="probe files to explain; those of the family shuffled become the null",
    )  # fmt: skip
    add_image_sets(parser, "of all image sets of the encoder")
    parser.add_argument(
        "--images", nargs="*", default=[], metavar="PARQUET",
        help="image tables (which source a generator has; needed with several sources)",
    )  # fmt: skip
    parser.add_argument(
        "--features", nargs="*", default=[], metavar="JSON",
        help="feature-set files whose chosen heads are explained",
    )  # fmt: skip
    parser.add_argument("--head-maps", metavar="H5", help="the encoder's file of head maps")
    parser.add_argument(
        "--head-mode", choices=["mean", "difference"], default="mean",
        help="a head's output averaged over images of both labels, as the paper has it, or"
        " generated minus real (default %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--draws",
        type=int,
        default=default("interpretation.draws"),
        help="random directions of the null (default %(default)s)",
    )
    parser.add_argument(
        "--level", type=float, default=0.05,
        help="p value up to which a row counts as above its null (default %(default)s)",
    )  # fmt: skip
    add_row_names(parser, "run", "encoder", required=False)
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        help="seed of the splits and of the null (default %(default)s)",
    )
    add_threads(parser)


def check_null_arguments(args: argparse.Namespace) -> None:
    """Refuse draws and levels that can't mark anything."""
    if not 0 < args.level < 1:
        raise UserError(f"--level {args.level}: between 0 and 1")
    if args.draws < 2 or 1 / (1 + args.draws) > args.level:
        raise UserError(
            f"--draws {args.draws}: at least {int(1 / args.level)} for a p value of {args.level}"
        )
