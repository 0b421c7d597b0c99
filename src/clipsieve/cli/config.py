"""Print the config of a run, merged, checked and with all defaults; or the reference of all keys.

A mistake is reported as one line that names the key, its value and what is allowed, and the exit
status is 2.
"""

from __future__ import annotations

import argparse

from clipsieve.cli.options import add_config, read_config

HELP = "check a config and print it with every default, or the reference of all keys"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.epilog = "example:\n  clipsieve config --configfile config/paper.yaml"
    add_config(parser)
    parser.add_argument(
        "--reference", action="store_true", help="print docs/config.md, made from the schema"
    )


def run(args: argparse.Namespace) -> None:
    """Print the resolved config or the reference."""
    import yaml

    from clipsieve import config

    if args.reference:
        print(config.reference(config.read_schema()), end="")
        return
    resolved = read_config(args)
    config.Run.of(resolved)
    print(yaml.safe_dump(resolved, sort_keys=False, allow_unicode=True), end="")
