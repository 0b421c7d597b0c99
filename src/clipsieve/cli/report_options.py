"""Options of the commands that make pages and figures: their inputs, and what the generators and encoders are."""

from __future__ import annotations

import argparse
from pathlib import Path

from clipsieve.report import registry


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


def epilog(names: dict[str, tuple[str, ...]], example: str) -> str:
    """Return the list of inputs by name, and an example."""
    width = max(map(len, names))
    lines = []
    for name, needs in names.items():
        words = [f"[{i}]" if (name, i) in registry.OPTIONAL else i for i in needs]
        lines.append(f"  {name:{width}}  {', '.join(words)}")
    return "\n".join(["inputs ([..]: can be left out):", *lines, "", "example:", f"  {example}"])


def inputs_of(args: argparse.Namespace) -> dict[str, list[Path]]:
    """Return the files of every input that was given."""
    found = {name: getattr(args, name, None) for name in registry.INPUTS}
    return {name: paths for name, paths in found.items() if paths}
