"""Check a config, its image folders and this machine for mistakes before a long run.

Reads the config as the workflow does, looks into every image folder, tries the encoders' weights,
and estimates disk space and time. Prints one line per finding (ok, note, WRONG) and exits with
status 2 if anything is wrong.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from clipsieve.cli.options import add_config, read_config
from clipsieve.errors import UserError

HELP = "report what is wrong with a config, its images and this machine"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.epilog = "example:\n  clipsieve doctor --configfile config/paper.yaml"
    add_config(parser)
    parser.add_argument(
        "--results", default="results", help="where runs are written (default %(default)s)"
    )
    parser.add_argument(
        "--no-decode",
        action="store_true",
        help="check only file names; do not decode a sample of each folder",
    )


def run(args: argparse.Namespace) -> None:
    """Check everything, print what was found, and fail when something is wrong."""
    from clipsieve import config
    from clipsieve.audits.doctor import check_run

    findings = check_run(
        config.Run.of(read_config(args)), Path(args.results), decode_sample=not args.no_decode
    )
    for finding in findings:
        print(f"{finding.verdict:5}  {finding.text}")
    wrong = [finding for finding in findings if finding.verdict == "WRONG"]
    if wrong:
        raise UserError(f"{len(wrong)} of {len(findings)} checks found something wrong")
