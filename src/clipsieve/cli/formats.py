"""Describe every file of a run and its columns, as Markdown; docs/formats.md is this text."""

from __future__ import annotations

import argparse

HELP = "print docs/formats.md: every file of a run and its columns"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.epilog = "example:\n  clipsieve formats > formats.md"


def run(args: argparse.Namespace) -> None:
    """Print the page."""
    from clipsieve import formats

    print(formats.page(), end="")
