"""Build one table of a run: a tidy CSV file and a self-contained HTML page.

Each input option takes one or more files (those of every seed and encoder). The inputs of each
table are listed below; all others are ignored.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from clipsieve.cli.page_options import add_facts, add_inputs, epilog, inputs_of, parse_facts
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


def run(args: argparse.Namespace) -> None:
    from clipsieve.report.build import build_table

    facts = parse_facts(args.generators, args.encoders)
    csv, html = build_table(args.name, inputs_of(args), facts)
    for path, text in ((args.csv, csv), (args.html, html)):
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    log.info("table %s: %s, %s", args.name, args.csv, args.html)
