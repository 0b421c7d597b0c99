"""Feature sets of one family: from searches, rankings or a seed to lists of columns or heads.

What a family is made from:
  nothing                         all, all_intercept, residual, nearest_mean, shuffled
  --searches                      components, components_intercept, residual_components, random
  --searches, and rows of train   fisher, variance, l1
    and val (--embeddings, --splits)
  --rankings                      heads, random_heads
Test rows are never read.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from clipsieve.cli.options import add_image_sets, add_sources, count, words_by_generator
from clipsieve.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from clipsieve.selection.choose import Head, Pair, Searched

HELP = "make the feature sets of one family"

log = logging.getLogger("clipsieve")

FAMILIES = (
    "all", "all_intercept", "residual", "nearest_mean", "shuffled",
    "components", "components_intercept", "residual_components", "heads",
    "random", "fisher", "variance", "l1", "random_heads",
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    parser.epilog = (
        "example:\n  clipsieve select --family components --pairs biggan--sd \\\n"
        "    --searches biggan--sd.parquet sd--biggan.parquet --output components.json"
    )
    parser.add_argument(
        "--family", required=True, choices=FAMILIES, metavar="FAMILY", help="one of: %(choices)s"
    )
    parser.add_argument(
        "--pairs", nargs="*", default=[], metavar="A--B",
        help="pairs; for heads and random_heads, ordered train--val",
    )  # fmt: skip
    parser.add_argument(
        "--searches",
        nargs="*",
        default=[],
        metavar="PARQUET",
        help="both directions of each pair; for families made from searches",
    )
    parser.add_argument(
        "--rankings",
        nargs="*",
        default=[],
        metavar="PARQUET",
        help="head rankings; for heads and random_heads",
    )
    add_image_sets(
        parser, "of the pairs' generators and sources; for fisher, variance and l1",
        nargs="*", required=False, default=[],
    )  # fmt: skip
    parser.add_argument(
        "--alpha", choices=["first", "log_loss", "last", "one_se"], default="log_loss",
        help="where a search stops removing: first or last maximum of its score, least log-loss, or"
        " the smallest set within one standard error of the best score (default %(default)s)",
    )  # fmt: skip
    add_sources(parser)
    parser.add_argument("--best", type=count, default=3, help="heads a set (default %(default)s)")
    parser.add_argument(
        "--exclude", choices=["validation", "both"], default="validation",
        help="which generators of an ordered pair leave the evaluation of its heads"
        " (default %(default)s)",
    )  # fmt: skip
    for name, kind, default, what in (
        ("draws", count, 20, "random subsets a set; for random and random_heads"),
        ("shuffles", count, 5, "label permutations; for shuffled"),
        ("seed", int, 0, "seed of the random subsets"),
    ):
        parser.add_argument(
            f"--{name}", type=kind, default=default, help=f"{what} (default %(default)s)"
        )
    parser.add_argument("--output", required=True, metavar="JSON", help="the feature sets")


def run(args: argparse.Namespace) -> None:
    """Select, and write the feature sets."""
    from clipsieve.io.feature_sets import write_feature_sets
    from clipsieve.selection import choose

    pairs = [_pair(text) for text in args.pairs]
    family = args.family
    if family in choose.PLAIN:
        found = [choose.PLAIN[family]]
    elif family == "shuffled":
        found = choose.shuffled(args.shuffles)
    elif family in {"heads", "random_heads"}:
        ranked = _ranked(args.rankings, pairs)
        if family == "heads":
            found = choose.heads(ranked, args.best, args.exclude)
        else:
            found = choose.random_heads(ranked, args.best, args.exclude, args.draws, args.seed)
    else:
        searched = _searched(args.searches, pairs, args.alpha)
        if family == "random":
            found = choose.random_components(searched, args.draws, args.seed)
        elif family in {"fisher", "variance", "l1"}:
            found = choose.filtered(family, searched, _pair_rows(args, pairs))
        else:
            found = choose.components(family, searched)
    write_feature_sets(args.output, found)
    log.info("select %s: %d feature sets", family, len(found))


def _pair(text: str) -> Pair:
    first, sep, second = text.partition("--")
    if not (first and sep and second):
        raise UserError(f"--pairs: {text!r} is no pair A--B")
    return first, second


def _searched(paths: Sequence[str], pairs: Sequence[Pair], alpha: str) -> dict[Pair, Searched]:
    from clipsieve.io.tables import read_table
    from clipsieve.selection.choose import Searched
    from clipsieve.selection.greedy.stop import kept_at, warnings_of

    searches = {Path(path).stem: read_table(path, ("step", "removed")) for path in paths}
    found = {}
    for a, b in pairs:
        for direction in (f"{a}--{b}", f"{b}--{a}"):
            if direction not in searches:
                raise UserError(f"--searches: no {direction}.parquet, which pair {a}--{b} needs")
        there, back = searches[f"{a}--{b}"], searches[f"{b}--{a}"]
        found[a, b] = Searched(
            (kept_at(*there, alpha), kept_at(*back, alpha)),
            there[1]["columns"],
            alpha=alpha,
            warnings={
                direction: said
                for direction in (f"{a}--{b}", f"{b}--{a}")
                if (said := warnings_of(searches[direction][1], alpha))
            },
        )
    return found


def _ranked(paths: Sequence[str], pairs: Sequence[Pair]) -> dict[Pair, list[Head]]:
    from clipsieve.io.tables import read_table

    tables = {
        Path(path).stem: read_table(path, ("val", "layer", "head", "rank"))[0] for path in paths
    }
    found = {}
    for train, val in pairs:
        if train not in tables or not (tables[train]["val"] == val).any():
            raise UserError(f"--rankings: no ranking of {train} on {val}")
        table = tables[train][tables[train]["val"] == val].sort_values("rank")
        found[train, val] = list(zip(table["layer"], table["head"], strict=True))
    return found


def _pair_rows(
    args: argparse.Namespace, pairs: Sequence[Pair]
) -> dict[Pair, tuple[np.ndarray, np.ndarray]]:
    import numpy as np

    from clipsieve.io.dataset import read_rows
    from clipsieve.io.roles import FITTING

    rows = read_rows(args.embeddings, args.splits, FITTING, f"select {args.family}")
    sources = words_by_generator(args.sources, "--sources") if args.sources else {}
    real = np.unique(rows.image_set[rows.label == 1]).tolist()
    found = {}
    for pair in pairs:
        missing = [generator for generator in pair if generator not in sources]
        if missing and len(real) > 1:
            log.warning("select: --sources does not name that of %s: all real images", missing[0])
        theirs = real if missing else [sources[generator] for generator in pair]
        mine = rows.take(np.isin(rows.image_set, [*pair, *theirs]))
        found[pair] = (mine.embedding, mine.label)
    return found
