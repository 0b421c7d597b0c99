"""Draw one figure of a run as SVG (text stays text) and, if asked for, as PNG.

Each input option takes one or more files (those of every seed and encoder). The inputs of each
figure are listed below; all others are ignored. The same inputs give the same bytes.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from clipsieve.cli.page_options import add_facts, add_inputs, epilog, inputs_of, parse_facts
from clipsieve.io.files import replacing
from clipsieve.report import registry

HELP = "draw one figure of a run"

log = logging.getLogger("clipsieve")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "name", choices=sorted(registry.FIGURES), metavar="NAME", help="which figure, see below"
    )
    add_inputs(parser, {i for figure in registry.FIGURES.values() for i in figure.all_inputs})
    add_facts(parser)
    parser.add_argument(
        "--pair",
        metavar="A--B",
        help="figures 2, 3 and 4: the search pair to show (default: the first of the files)",
    )
    parser.add_argument("--svg", type=Path, required=True, help="the drawing to write")
    parser.add_argument("--pdf", type=Path, help="the same as PDF (default: none)")
    parser.add_argument(
        "--png", type=Path, help="the same as PNG, 200 dots per inch (default: none)"
    )
    parser.epilog = epilog(
        registry.FIGURES,
        "clipsieve figure figure5 --searches results/demo/seed0/*/searches/*.parquet --svg figure5.svg",
    )


def run(args: argparse.Namespace) -> None:
    from clipsieve.report.build import build_figure
    from clipsieve.report.figures.plot import save, style

    facts = parse_facts(args.generators, args.encoders)
    with style():
        figure = build_figure(args.name, inputs_of(args), facts, pair=args.pair)
        for path in filter(None, (args.svg, args.pdf, args.png)):
            with replacing(path) as temporary:
                save(figure, temporary)
    log.info("figure %s: %s", args.name, args.svg)
