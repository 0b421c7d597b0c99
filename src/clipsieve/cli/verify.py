"""Check a finished run against its record: every recorded file must be there, byte for byte.

Prints one line for each file that is changed or missing and exits with status 1; exits with 0 if
all are as recorded, and with 2 if there is no record to check against. Files that the record does
not list (made later) are named too, but are not a failure.
"""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path
from typing import Any

from clipsieve.cli.options import count
from clipsieve.errors import UserError

HELP = "check every file of a finished run against its record"

_EPILOG = """example:
  clipsieve verify results/demo
"""

log = logging.getLogger("clipsieve")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = _EPILOG
    parser.add_argument("run_dir", type=Path, metavar="RUN_DIR", help="the run, as results/demo")
    parser.add_argument(
        "--threads", type=count, default=4, help="files hashed at once (default %(default)s)"
    )


def run(args: argparse.Namespace) -> None:
    """Compare, print what differs, and leave with status 1 if anything does."""
    from clipsieve.provenance import record as provenance

    record = _record(args.run_dir / provenance.RECORD_NAME)
    found = provenance.compare(args.run_dir, record, threads=args.threads)
    for word in ("changed", "missing", "unlisted"):
        for name in getattr(found, word):
            print(f"{word}\t{name}")
    log.info(
        "%s: %d files recorded, %d changed, %d missing, %d not in the record",
        args.run_dir,
        len(record["files"]),
        len(found.changed),
        len(found.missing),
        len(found.unlisted),
    )
    if not found.as_recorded:
        raise SystemExit(1)


def _record(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; the run is not finished") from None
    except ValueError as error:
        raise UserError(f"{path}: not JSON ({error})") from None
    if not isinstance(record, dict):
        raise UserError(f"{path}: not a record of a run")
    return record
