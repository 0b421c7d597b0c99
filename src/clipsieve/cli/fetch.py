"""Fetch a known public set, or one of your own description, into a folder.

What is there already is kept; a download that was cut goes on where it stopped. Hashes that the
catalogue pins are checked; where it has none, that of the first download is recorded and later
ones must have it. Archives are unpacked without harm and then removed. A set whose licence forbids
commercial use is fetched only when --consent names that licence.
`clipsieve fetch --dataset list` prints the catalogue.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from collections.abc import Callable
from pathlib import Path

from clipsieve.cli.options import json_object
from clipsieve.cli.progress import Pace
from clipsieve.errors import UserError

HELP = "fetch a known public set of images"

log = logging.getLogger("clipsieve")

_EPILOG = """example:
  clipsieve fetch --dataset cnndetection --consent "CC BY-NC-SA 4.0" --files progan_testset.zip \\
    --output-dir data/fetched/cnndetection --output data/fetched/cnndetection.json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = _EPILOG
    add = parser.add_argument
    add("--dataset", required=True, help="id of a set in the catalogue, or list to print them")
    add("--output-dir", type=Path, help="folder of the set")
    add("--output", type=Path, metavar="JSON", help="record of what was fetched, to write")
    add("--consent", default=None, help="name of the licence, for non-commercial sets")
    add("--files", nargs="*", default=[], help="names of single files (default: all needed ones)")
    add("--entry", metavar="JSON", help="a description of your own instead of the catalogue's")
    add("--keep-archives", action="store_true", help="keep archives after they are unpacked")


def run(args: argparse.Namespace) -> None:
    """Fetch, and write the record."""
    from clipsieve.datasets.catalogue import catalogue, entry_of
    from clipsieve.datasets.fetch import fetch
    from clipsieve.io.files import replacing

    known = catalogue()
    if args.dataset == "list":
        for name, entry in known.items():
            how = "" if entry.by_hand is None else ", by hand"
            terms = ", no commercial use" if entry.non_commercial else ""
            print(f"{name}: {entry.title} ({entry.licence}{terms}{how})")
        return
    for option in ("output_dir", "output"):
        if getattr(args, option) is None:
            raise UserError(f"--{option.replace('_', '-')} is needed")
    if args.entry:
        entry = entry_of(args.dataset, json_object(args.entry, "--entry"))
    elif args.dataset in known:
        entry = known[args.dataset]
    else:
        raise UserError(f"--dataset {args.dataset!r}: not known; one of: {', '.join(known)}")
    record = fetch(
        entry,
        args.output_dir,
        consent=args.consent,
        only=args.files,
        keep_archives=args.keep_archives,
        progress=meter,
    )
    with replacing(args.output) as temporary:
        temporary.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def meter(name: str) -> Callable[[int, int | None], None]:
    """Return a function that logs bytes, rate and time left of a download, now and then."""
    from clipsieve.datasets.download import in_words

    pace = Pace()
    first: list[tuple[float, int]] = []

    def tell(done: int, total: int | None) -> None:
        now = time.monotonic()
        if not first:
            first.append((now, done))
        if not pace.due(finished=done == total):
            return
        start, had = first[0]
        rate = (done - had) / max(now - start, 1e-9)
        of = f" of {in_words(total)}" if total else ""
        left = ""
        if total and rate > 0:
            left = ", " + time.strftime("%H:%M:%S left", time.gmtime((total - done) / rate))
        log.info("%s: %s%s, %s/s%s", name, in_words(done), of, in_words(rate), left)

    return tell
