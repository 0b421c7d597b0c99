"""Build one table of a run: a tidy CSV file and a self-contained HTML page.

Each input option takes one or more files (those of every seed and encoder). Which inputs a table
takes is listed below; others that are given are ignored.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping
from pathlib import Path

from clipsieve.io.files import replacing
from clipsieve.report import registry

HELP = "build one table of a run as CSV and as an HTML page"

log = logging.getLogger("clipsieve")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "name", choices=sorted(registry.TABLES), metavar="NAME", help="which table, see below"
    )
    add_inputs(parser, {i for table in registry.TABLES.values() for i in table.all_inputs})
    add_facts(parser)
    parser.add_argument("--csv", type=Path, required=True, help="the tidy table to write")
    parser.add_argument("--html", type=Path, required=True, help="the page to write")
    parser.epilog = epilog(
        registry.TABLES,
        "clipsieve table means --means results/demo/seed0/*/means.parquet \\\n"
        "      --csv means.csv --html means.html",
    )


def add_inputs(parser: argparse.ArgumentParser, names: set[str]) -> None:
    """Add the option of each input, in the order of the registry."""
    for name in registry.INPUTS:
        if name in names:
            parser.add_argument(
                f"--{name.replace('_', '-')}",
                type=Path,
                nargs="*",
                metavar="FILE",
                help=f"results/RUN/{registry.INPUTS[name]}",
            )


def add_facts(parser: argparse.ArgumentParser) -> None:
    """Add the two options that say what the generators and encoders are."""
    parser.add_argument(
        "--generators",
        metavar="JSON",
        help='JSON, or @FILE: {id: {"title": .., "family": .., "kind": "network" or "simulated"}}'
        " (default: none is named)",
    )
    parser.add_argument(
        "--encoders",
        metavar="JSON",
        help='JSON, or @FILE: {id: {"title": .., "weights": a name, or null for random weights}}'
        " (default: none is named)",
    )


def epilog(results: Mapping[str, registry.Result], example: str) -> str:
    """Return the list of inputs by name, and an example."""
    width = max(map(len, results))
    lines = []
    for name, result in results.items():
        words = [*result.inputs, *(f"[{i}]" for i in result.optional)]
        lines.append(f"  {name:{width}}  {', '.join(words)}")
    return "\n".join(["inputs ([..]: can be left out):", *lines, "", "example:", f"  {example}"])


def inputs_of(args: argparse.Namespace) -> dict[str, list[Path]]:
    """Return the files of every input that was given."""
    found = {name: getattr(args, name, None) for name in registry.INPUTS}
    return {name: paths for name, paths in found.items() if paths}


def run(args: argparse.Namespace) -> None:
    from clipsieve.report.build import build_table
    from clipsieve.report.facts import parse_facts

    facts = parse_facts(args.generators, args.encoders)
    csv, html = build_table(args.name, inputs_of(args), facts)
    for path, text in ((args.csv, csv), (args.html, html)):
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    log.info("table %s: %s, %s", args.name, args.csv, args.html)
