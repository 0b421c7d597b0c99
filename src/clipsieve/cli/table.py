"""Build one table of a run: a tidy CSV file, a self-contained HTML page, and LaTeX (booktabs).

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
    parser.add_argument("--tex", type=Path, help="the page's tables as LaTeX (default: none)")
    parser.epilog = epilog(
        registry.TABLES,
        "clipsieve table means --means results/demo/seed0/*/means.parquet \\\n"
        "      --csv means.csv --html means.html",
    )


def run(args: argparse.Namespace) -> None:
    from clipsieve.report.build import csv_of, table_page
    from clipsieve.report.html.page import render
    from clipsieve.report.latex import latex_of

    page, table = table_page(
        args.name, inputs_of(args), parse_facts(args.generators, args.encoders)
    )
    written = [(args.csv, csv_of(table)), (args.html, render(page))]
    if args.tex is not None:
        written.append((args.tex, latex_of(page)))
    for path, text in written:
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    log.info("table %s: %s, %s", args.name, args.csv, args.html)
