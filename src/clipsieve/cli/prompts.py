"""Write a run's prompts: filtered, without repeats, and drawn by a seed.

From tables of one row a prompt (parquet, CSV, or text of one prompt a line), as LAION has them with
address and score; or from a folder of images (--images), for generators that start from an image.
Where a table has the columns punsafe, NSFW and pwatermark, unsafe and watermarked images are left
out. The table written has the columns prompt_id, text, url, score and image; its note says how many
rows went at each step. A larger sample of the same seed holds every smaller one.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from clipsieve.cli.options import count
from clipsieve.errors import UserError

log = logging.getLogger("clipsieve")

HELP = "choose prompts out of a table (filtered at a score, sampled, without repeats)"

_EPILOG = """example:
  clipsieve prompts --table laion.parquet --text TEXT --url URL --score aesthetic \\
    --min-score 4.5 --sample 499 --output prompts.parquet
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = _EPILOG
    add = parser.add_argument
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--table", nargs="+", type=Path, help="tables of prompts")
    what.add_argument("--images", type=Path, metavar="DIR", help="folder of images to start from")
    add("--text", default="text", help="column of the prompt (default %(default)s)")
    add("--id", help="column of the prompt's id (default: a hash of its words)")
    add("--url", help="column of the image's address (default: none)")
    add("--score", help="column of the score (default: none)")
    add("--min-score", type=float, help="least score (default: any)")
    add(
        "--max-unsafe",
        type=float,
        default=0.5,
        help="largest punsafe, where the table has it (default %(default)s; 1 takes all but NSFW)",
    )
    add(
        "--max-watermark",
        type=float,
        default=0.8,
        help="largest pwatermark, where the table has it (default %(default)s; 1 takes all)",
    )
    add("--sample", type=count, help="how many prompts (default: all)")
    add("--seed", type=int, default=0, help="seed of the draw (default %(default)s)")
    add("--name", default="prompts", help="where they stand in the config (default %(default)s)")
    add("--output", required=True, type=Path, metavar="PARQUET", help="the table to write")


def run(args: argparse.Namespace) -> None:
    """Choose the prompts and write their table."""
    from clipsieve.generation.prompts import Choice, prompts_of_images, prompts_of_tables
    from clipsieve.images.listing import list_files
    from clipsieve.io.tables import write_table

    choice = Choice(
        text=args.text,
        id=args.id,
        url=args.url,
        score=args.score,
        min_score=args.min_score,
        max_unsafe=args.max_unsafe,
        max_watermark=args.max_watermark,
        sample=args.sample,
        seed=args.seed,
    )
    try:
        if args.images is not None:
            if not args.images.is_dir():
                raise UserError(f"folder {args.images} does not exist")
            table, counts = prompts_of_images(list_files(args.images), choice)
        else:
            table, counts = prompts_of_tables(args.table, choice)
    except UserError as error:
        raise UserError(f"{args.name}: {error}") from None
    facts = counts.facts()
    log.info("%s: %s", args.name, ", ".join(f"{v} {k.replace('_', ' ')}" for k, v in facts.items()))
    write_table(table, args.output, {"counts": facts, "choice": vars(choice)})
