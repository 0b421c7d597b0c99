"""Options of the commands that make tables, figures and galleries: input files, and facts of the run."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipsieve.cli.options import json_object
from clipsieve.errors import UserError
from clipsieve.report import registry

if TYPE_CHECKING:
    from clipsieve.report.facts import Facts


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


def parse_facts(generators: str | None, encoders: str | None) -> Facts:
    """Read the facts from the two options, each a JSON object or `@` and the path of one.

    Parameters
    ----------
    generators
        `{id: {"title": .., "family": .., "kind": "network" | "simulated"}}`; None for no facts.
    encoders
        `{id: {"title": .., "weights": name or null}}`; `title` may be left out.

    Raises
    ------
    UserError
        Where the JSON does not parse, a key is missing, or a kind is unknown.
    """
    from clipsieve.report.facts import KINDS, Encoder, Facts, Generator

    known_generators = {}
    for key, entry in _mapping(generators, "--generators").items():
        for name in ("family", "kind"):
            if not isinstance(entry.get(name), str):
                raise UserError(f"--generators: {key}: {name} is missing or not a word")
        if entry["kind"] not in KINDS:
            raise UserError(
                f"--generators: {key}: kind is {entry['kind']!r}, allowed: {', '.join(KINDS)}"
            )
        known_generators[key] = Generator(
            key, str(entry.get("title") or key), entry["family"], entry["kind"]
        )
    known_encoders = {}
    for key, entry in _mapping(encoders, "--encoders").items():
        if "weights" not in entry:
            raise UserError(f"--encoders: {key}: weights is missing; use null for random weights")
        weights = entry["weights"]
        known_encoders[key] = Encoder(
            key, str(entry.get("title") or key), None if weights is None else str(weights)
        )
    return Facts(known_generators, known_encoders)


def _mapping(text: str | None, option: str) -> dict[str, dict[str, Any]]:
    value = {} if text is None else json_object(text, option)
    if not all(isinstance(entry, dict) for entry in value.values()):
        raise UserError(f"{option}: must hold one object per id")
    return value
