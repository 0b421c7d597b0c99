"""Compare encoders and feature sets over all cells of the transfer matrix and all seeds.

Each selection excludes different generators, so rows are ranked not by their means but by the
baseline's mean over all cells plus the paired difference to it over the set's own cells. AUC and
balanced accuracy come first. Several runs can be shown beside each other (say, the same images
aligned). With several seeds: mean, spread and the corrected resampled t interval; and how similar
the selections are (Jaccard index of kept components or heads) against chance.
"""

from __future__ import annotations

import argparse
import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from clipsieve.errors import UserError
from clipsieve.io.feature_sets import read_feature_sets

HELP = "compare encoders and feature sets over seeds"

log = logging.getLogger("clipsieve")

# <run>/seed<seed>/<encoder>/features/<family>.json
_PLACE = re.compile(
    r"(?P<run>[^/]+)/seed(?P<seed>\d+)/(?P<encoder>[a-z0-9_]+)/features/[a-z0-9_]+\.json$"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.epilog = (
        "example:\n  clipsieve leaderboard --means results/demo/seed*/*/means.parquet \\\n"
        "    --features results/demo/seed*/*/features/components.json \\\n"
        "    --output results/demo/leaderboard.csv"
    )
    add = parser.add_argument
    add(
        "--means",
        nargs="+",
        required=True,
        metavar="PARQUET",
        help="means of every encoder and seed",
    )
    add(
        "--features",
        nargs="*",
        default=[],
        metavar="JSON",
        help="selected feature sets, in their place <run>/seed<seed>/<encoder>/features; their"
        " stability over seeds is judged",
    )
    add(
        "--rankings",
        nargs="*",
        default=[],
        metavar="PARQUET",
        help="rankings of heads, in <run>/seed<seed>/<encoder>/head_rankings; they say of how many"
        " heads a feature set of heads was chosen",
    )
    add("--output", required=True, metavar="CSV", help="the leaderboard")


def run(args: argparse.Namespace) -> None:
    """Gather, and write the leaderboard."""
    import pandas as pd

    from clipsieve.evaluation.leaderboard import leaderboard
    from clipsieve.io.files import replacing
    from clipsieve.io.tables import read_table

    needed = ("run", "encoder", "seed", "feature_set", "cells", "metric", "value", "low", "high")
    parts = [read_table(path, needed) for path in args.means]
    coverages = {note.get("confidence", 0.95) for _, note in parts}
    if len(coverages) > 1:
        raise UserError(f"--means: intervals of different coverage: {sorted(coverages)}")
    (confidence,) = coverages
    table = leaderboard(
        pd.concat([frame for frame, _ in parts], ignore_index=True),
        _selections(args.features, args.rankings),
    ).assign(confidence=confidence)
    with replacing(args.output) as temporary:
        table.to_csv(temporary, index=False)
    log.info("leaderboard: %d rows from %d tables", len(table), len(parts))


def _selections(
    paths: Sequence[str], rankings: Sequence[str]
) -> dict[tuple[str, str, str], dict[int, tuple[list[Any], int]]]:
    """What was selected: (run, encoder, feature set) -> seed -> (columns or heads, of how many)."""
    ranked = {Path(path).absolute().parent.parent: path for path in rankings}
    found: dict[tuple[str, str, str], dict[int, tuple[list[Any], int]]] = {}
    for path in paths:
        place = _PLACE.search(Path(path).absolute().as_posix())
        if place is None:
            raise UserError(f"{path}: not in a folder seed<seed>/<encoder>/features")
        for item in read_feature_sets(path):
            if len(item.draws) != 1 or item.draws[0] is None:
                continue
            chosen = [tuple(one) if isinstance(one, list) else one for one in item.draws[0]]
            total = int((item.facts or {}).get("columns", 0))
            if item.space == "heads":
                folder = Path(path).absolute().parent.parent
                if folder not in ranked:
                    raise UserError(
                        f"--rankings: a file of {folder / 'head_rankings'} is needed beside {path}"
                    )
                total = _heads_ranked(ranked[folder])
            key = (place["run"], place["encoder"], item.feature_set)
            found.setdefault(key, {})[int(place["seed"])] = (chosen, total)
    return found


def _heads_ranked(path: str) -> int:
    """Number of heads in a ranking."""
    from clipsieve.io.tables import read_table

    table, _ = read_table(path, ("layer", "head"))
    return len(table[["layer", "head"]].drop_duplicates())
