"""Write the card of one image set: counts, sizes, formats, problems, licence, origin and thumbnails.

A card is a page, a Markdown file and a contact sheet beside it. For images that the workflow made,
it states the recipe, the weights, the machines and the prompts.
"""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path

from clipsieve.cli.options import json_object
from clipsieve.cli.page_options import add_facts, parse_facts
from clipsieve.io.files import replacing

HELP = "write the card of an image set: what it consists of and where it comes from"

log = logging.getLogger("clipsieve")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("--images", type=Path, required=True, metavar="FILE", help="the set's image table")
    add(
        "--data-root",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="the folder that the table's paths are relative to",
    )
    add(
        "--about",
        default="{}",
        metavar="JSON",
        help="title, licence, folder and recipe of the set (default: the table's own id)",
    )
    add(
        "--made", type=Path, metavar="FILE", help="table of a generator's images (clipsieve gather)"
    )
    add(
        "--fetched",
        type=Path,
        metavar="FILE",
        help="record of a fetched set, from clipsieve fetch (default: none)",
    )
    add("--count", type=int, default=12, help="images that are shown (default %(default)s)")
    add("--run", default="", help="name of the run, for the page (default: none)")
    add_facts(parser)
    add("--html", type=Path, required=True, help="the page to write")
    add("--markdown", type=Path, required=True, help="the Markdown file to write")
    add("--sheet", type=Path, required=True, metavar="JPEG", help="the contact sheet to write")
    parser.epilog = (
        "example:\n"
        "  clipsieve card --images results/demo/images/denoise_tv_4.parquet --data-root data \\\n"
        "      --html card.html --markdown card.md --sheet card.jpg"
    )


def run(args: argparse.Namespace) -> None:
    """Write the card in its three forms."""
    from clipsieve.errors import UserError
    from clipsieve.io.tables import read_table
    from clipsieve.report.html.gallery import Thumbnails
    from clipsieve.report.html.page import render
    from clipsieve.report.set_card import card_markdown, card_page, contact_sheet, set_card

    if args.count < 1:
        raise UserError(f"--count: {args.count} given, 1 or more allowed")
    about = json_object(args.about, "--about")
    unknown = sorted(set(about) - {"title", "licence", "folder", "recipe"})
    if unknown:
        raise UserError(f"--about: unknown key {unknown[0]!r}; title, licence, folder or recipe")
    images, _ = read_table(args.images)
    note, prompts = None, []
    if args.made is not None:
        table, note = read_table(args.made)
        prompts = table.drop_duplicates("prompt_id")["text"].dropna().tolist()
    fetched = None
    if args.fetched is not None:
        fetched = json.loads(args.fetched.read_text(encoding="utf-8"))
    found = set_card(
        images,
        **{"title": args.images.stem, **about},
        made=note,
        fetched=fetched,
        prompts=prompts,
        count=args.count,
    )
    thumbnails = Thumbnails(args.data_root)
    page = card_page(found, thumbnails, parse_facts(args.generators, args.encoders), args.run)
    with replacing(args.html) as temporary:
        temporary.write_text(render(page), encoding="utf-8")
    with replacing(args.sheet) as temporary:
        contact_sheet(found, thumbnails).save(temporary, "JPEG", quality=85)
    with replacing(args.markdown) as temporary:
        temporary.write_text(card_markdown(found, args.sheet.name), encoding="utf-8")
    log.info("card: %s", args.markdown)
