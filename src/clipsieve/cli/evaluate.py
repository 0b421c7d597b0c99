"""Compute all statistics of an encoder and seed from finished scores; nothing is refitted.

Metrics of every cell of every transfer matrix with intervals; means over all cells, by families,
sources and time, with the paired difference to the baseline over the same cells, its p value and
Holm's correction; ranks of the selected sets among their controls; the optimism of the search;
each family over all search pairs; ranks of feature sets over test generators; true and false alarms
at thresholds that were fixed on val.

Intervals over photographs come from resamples of groups (photographs, prompts), the same for every
cell and feature set. They describe the variation with other test images, for these probes and
generators. Intervals over generators describe the variation with other generators. The spread over
seeds, in the leaderboard, describes the variation with other training images.
"""

from __future__ import annotations

import argparse
import logging
import re
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from clipsieve.cli.options import (
    add_bootstrap,
    add_threads,
    check_bootstrap,
    words_by_generator,
)
from clipsieve.cli.progress import Pace
from clipsieve.config import default
from clipsieve.errors import UserError

if TYPE_CHECKING:
    from clipsieve.io.feature_sets import FeatureSet

HELP = "metrics, intervals, comparisons and controls from scores"

log = logging.getLogger("clipsieve")

_TABLES = ("cells", "means", "controls", "optimism", "pairs", "ranking", "operating")
_DATE = re.compile(r"\d{4}(-\d{2}(-\d{2})?)?")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    parser.epilog = (
        "example:\n  clipsieve evaluate --scores scores/*.h5 \\\n"
        "    --features features/*.json --searches searches/*.parquet \\\n"
        "    --cells cells.parquet --means means.parquet \\\n"
        "    --controls controls.parquet --optimism optimism.parquet \\\n"
        "    --pairs pairs.parquet --ranking ranking.parquet \\\n"
        "    --operating operating.parquet"
    )
    add = parser.add_argument
    add("--scores", nargs="+", required=True, metavar="H5", help="every family's scores")
    add("--features", nargs="+", required=True, metavar="JSON", help="every family's feature sets")
    add(
        "--searches",
        nargs="*",
        default=[],
        metavar="PARQUET",
        help="both directions of every searched pair, named a--b.parquet; for the optimism",
    )
    add(
        "--own-pair",
        nargs="*",
        default=[],
        metavar="H5",
        help="scores of selected sets on the test images of the pair that they were selected on;"
        " used only for the optimism",
    )
    add(
        "--released",
        default="{}",
        metavar="JSON",
        help="release date (2022-08-22, 2022-08 or 2022) of generators, as a JSON object or @FILE;"
        " for the mean over cells trained on an earlier generator than the one tested"
        " (default: none known)",
    )
    add(
        "--test-share",
        type=float,
        default=default("splits.test"),
        help="share of the images in the test split; several seeds overlap by it (default %(default)s)",
    )
    add_bootstrap(parser)
    add("--flips", type=int, default=20_000, help="sign flips of a test (default %(default)s)")
    add("--seed", type=int, default=0, help="seed of resamples and flips (default %(default)s)")
    add_threads(parser, "feature sets at once")
    for name in _TABLES:
        add(f"--{name}", required=True, metavar="PARQUET", help=f"table of {name} to write")


def run(args: argparse.Namespace) -> None:
    """Read, evaluate, write."""
    from clipsieve.evaluation.evaluate import evaluate
    from clipsieve.evaluation.feature_set_tables import Options
    from clipsieve.io.feature_sets import read_feature_sets
    from clipsieve.io.scores import read_scores
    from clipsieve.io.tables import write_table

    check_bootstrap(args)
    if not 0 < args.test_share < 1:
        raise UserError(f"--test-share: {args.test_share}; it must be a share between 0 and 1")
    released = words_by_generator(args.released, "--released")
    for name, date in released.items():
        if not _DATE.fullmatch(date):
            raise UserError(
                f"--released: {name}: {date!r} is not a date like 2022-08-22 or 2022-08"
            )
    started = time.monotonic()
    scores = read_scores(args.scores)
    log.info(
        "evaluate: %d feature sets and draws, %d test images, read in %.1f s",
        len(scores.scores),
        len(scores.images.label),
        time.monotonic() - started,
    )
    features = {
        item.feature_set: item for path in args.features for item in read_feature_sets(path)
    }
    tables = evaluate(
        scores,
        features,
        searches=_searches(args.searches, _alphas(features.values())),
        own_pair=read_scores(args.own_pair) if args.own_pair else None,
        options=Options(
            resamples=args.resamples,
            interval=args.interval,
            confidence=args.confidence,
            flips=args.flips,
            seed=args.seed,
            threads=args.threads,
            released=released,
            test_share=args.test_share,
        ),
        progress=_progress(),
    )
    note = {
        "resamples": args.resamples,
        "interval": args.interval,
        "confidence": args.confidence,
        "flips": args.flips,
        "seed": args.seed,
        "holm": "over the rows of each metric that have a p value",
    }
    for name in _TABLES:
        write_table(getattr(tables, name), getattr(args, name), note)
    log.info("evaluate: done in %.1f s", time.monotonic() - started)


def _alphas(features: Iterable[FeatureSet]) -> dict[str, str]:
    """Where the selections say that their searches stopped: direction -> rule."""
    found = {}
    for item in features:
        if item.pair is not None and "alpha" in (item.facts or {}):
            for pair in (item.pair, item.pair[::-1]):
                found[f"{pair[0]}--{pair[1]}"] = str((item.facts or {})["alpha"])
    return found


def _searches(paths: list[str], alphas: Mapping[str, str]) -> dict[str, Any]:
    """Read what each search reports where it stopped: direction -> result.

    The score is that of the columns which were kept, under the rule that the selection used: a
    maximum elsewhere on the path was not selected, and its gain is not the search's.
    """
    from clipsieve.evaluation.ranks import SearchResult
    from clipsieve.io.tables import read_table

    found = {}
    for path in paths:
        table, note = read_table(path, ("step", "score"))
        for key in ("train", "val", "initial_score", "stops"):
            if key not in note:
                raise UserError(f"{path}: its note has no {key}; not a search of clipsieve")
        direction = f"{note['train']}--{note['val']}"
        alpha = alphas.get(direction)
        if alpha is None:
            continue  # nothing was selected from it
        initial, step = float(note["initial_score"]), int(note["stops"][alpha]["step"])
        reported = float(table.set_index("step")["score"].loc[step]) if step else initial
        found[direction] = SearchResult(initial, reported, str(note.get("score", "accuracy")))
    return found


def _progress() -> Callable[[int, int], None]:
    """Return a function that logs how many feature sets are done."""
    pace = Pace()

    def tell(done: int, total: int) -> None:
        if pace.due(finished=done == total):
            log.info("evaluate: %d of %d feature sets and draws", done, total)

    return tell
