"""Stop if a group, an identical file or a near-duplicate occurs in two splits or in both classes.

Looks within and across generators and sources. A near-duplicate is a picture whose 64-bit
perceptual hash differs in few bits; a generated image may look like the photograph of its own
group. All findings are written to the table, and the error names some of them.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from clipsieve.config import default
from clipsieve.errors import UserError

HELP = "refuse groups, files and near-duplicates that occur in two splits or in both classes"

log = logging.getLogger("clipsieve")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.epilog = (
        "example:\n  clipsieve audit-leakage --manifest manifest.parquet --seed 0 --near-duplicate-bits 2 \\\n"
        "    --output seed0/leakage.parquet"
    )
    add = parser.add_argument
    add("--manifest", required=True, metavar="PARQUET", help="manifest of the run")
    add("--seed", type=int, required=True, help="seed whose splits are looked at")
    add(
        "--near-duplicate-bits",
        type=int,
        default=default("audit.near_duplicate_bits"),
        help="most bits, of 64, in which near-duplicates differ, 0 to 16 (default %(default)s)",
    )
    add(
        "--on-leak",
        choices=("error", "warn"),
        default=default("audit.on_leak"),
        help="stop, or write the table and go on (default %(default)s)",
    )
    add(
        "--output",
        required=True,
        metavar="PARQUET",
        help="the table; with findings and --on-leak error, a copy is also written beside it as"
        " leakage_found.csv, which a workflow that removes failed outputs does not touch",
    )


def run(args: argparse.Namespace) -> None:
    """Look, write, and stop when something is found."""
    from clipsieve.audits import leakage
    from clipsieve.io.files import replacing
    from clipsieve.io.tables import read_table, write_table

    if not 0 <= args.near_duplicate_bits <= 16:
        raise UserError(
            f"--near-duplicate-bits: {args.near_duplicate_bits} must lie between 0 and 16"
        )
    split = f"split_seed{args.seed}"
    manifest, _ = read_table(args.manifest, (*leakage.NEEDED, split))
    leaks = leakage.find_leaks(manifest, split, near_duplicate_bits=args.near_duplicate_bits)
    plain = int((manifest["perceptual_hash"] == "0" * 16).sum())
    note = {
        "of": {"seed": args.seed},
        "images": int(manifest[split].notna().sum()),
        "near_duplicate_bits": args.near_duplicate_bits,
        "one_colour": plain,
    }
    write_table(leaks, args.output, note)
    log.info("audit: %d images, %d findings", note["images"], len(leaks))
    if plain:
        log.warning("audit: %d pictures of one colour were not compared by their look", plain)
    if names := leakage.shared_names(manifest, split):
        log.warning("audit: %d group names occur in several sources, in different splits", names)
    beside = Path(args.output).with_name("leakage_found.csv")
    if leaks.empty:
        beside.unlink(missing_ok=True)
    elif args.on_leak == "warn":
        log.warning("audit: %d images leak; see %s", len(leaks), args.output)
    else:
        with replacing(beside) as temporary:
            leaks.to_csv(temporary, index=False)
        leakage.stop_on_leaks(leaks, str(beside))
