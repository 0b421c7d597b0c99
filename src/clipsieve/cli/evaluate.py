"""Every number of an encoder and seed, from the scores of finished probes: nothing is refitted.

Metrics of every cell of every transfer matrix with intervals; means over all cells, within and
between families, with the paired difference to the baseline over the same cells, its p value and
Holm's correction; ranks of the selected sets among their controls; the optimism of the search.

Intervals come from resamples of groups (photographs, prompts), the same for every cell and feature
set. They say how far the test images bound the score of these probes; the spread over seeds, in the
leaderboard, says what other training images would have changed.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from pathlib import Path
from typing import Any

from clipsieve.errors import UserError

HELP = "metrics, intervals, comparisons and controls from scores"

log = logging.getLogger("clipsieve")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    parser.epilog = (
        "example:\n  clipsieve evaluate --run demo --scores scores/*.parquet --features"
        ' features/*.json\n    --searches searches/*.parquet --families \'{"biggan": "gan",'
        ' "sd": "diffusion"}\'\n    --cells cells.parquet --means means.parquet'
        " --controls controls.parquet --optimism optimism.parquet"
    )
    add = parser.add_argument
    add("--run", required=True, help="id of the run, for the column")
    add("--scores", nargs="+", required=True, metavar="PARQUET", help="every family's scores")
    add("--features", nargs="+", required=True, metavar="JSON", help="every family's feature sets")
    add(
        "--searches",
        nargs="*",
        default=[],
        metavar="PARQUET",
        help="both directions of every searched pair, named a--b.parquet; for the optimism",
    )
    add("--families", required=True, metavar="JSON", help="family of each generator, as an object")
    add(
        "--sources",
        metavar="JSON",
        help="source of each generator, as an object; needed where there is more than one source",
    )
    add("--resamples", type=int, default=2000, help="bootstrap resamples (default %(default)s)")
    add(
        "--interval",
        choices=("percentile", "bca", "studentized"),
        default="studentized",
        help="kind of bootstrap interval (default %(default)s, which covers best)",
    )
    add("--confidence", type=float, default=0.95, help="coverage (default %(default)s)")
    add("--flips", type=int, default=20_000, help="sign flips of a test (default %(default)s)")
    add("--seed", type=int, default=0, help="seed of resamples and flips (default %(default)s)")
    add("--threads", type=int, default=1, help="feature sets at once (default %(default)s)")
    for name in ("cells", "means", "controls", "optimism"):
        add(f"--{name}", required=True, metavar="PARQUET", help=f"table of {name} to write")


def run(args: argparse.Namespace) -> None:
    """Read, evaluate, write."""
    from clipsieve.evaluation.scores import read_features, read_scores
    from clipsieve.evaluation.tables import Options, evaluate
    from clipsieve.tables import write_table

    if args.resamples < 100:
        raise UserError(f"--resamples: {args.resamples} is too few; at least 100 are needed")
    if not 0 < args.confidence < 1:
        raise UserError(f"--confidence: {args.confidence} must lie between 0 and 1")
    started = time.monotonic()
    families = _object(args.families, "--families")
    sources = _object(args.sources, "--sources") if args.sources else None
    scores = read_scores(args.scores, sources)
    log.info(
        "evaluate: %d feature sets and draws, %d test images, read in %.1f s",
        len(scores.scores),
        len(scores.images.label),
        time.monotonic() - started,
    )
    tables = evaluate(
        scores,
        read_features(args.features),
        families,
        run=args.run,
        searches=_searches(args.searches),
        options=Options(
            resamples=args.resamples,
            interval=args.interval,
            confidence=args.confidence,
            flips=args.flips,
            seed=args.seed,
            threads=args.threads,
        ),
        progress=_Progress(),
    )
    note = {
        "resamples": args.resamples,
        "interval": args.interval,
        "confidence": args.confidence,
        "flips": args.flips,
        "seed": args.seed,
        "holm": "over the rows of each metric that have a p value",
    }
    for name in ("cells", "means", "controls", "optimism"):
        write_table(getattr(tables, name), getattr(args, name), note)
    log.info("evaluate: done in %.1f s", time.monotonic() - started)


def _object(text: str, option: str) -> dict[str, str]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"{option}: not JSON: {error.msg} at character {error.pos}") from None
    if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
        raise UserError(f"{option}: an object of generator and name is wanted")
    return value


def _searches(paths: list[str]) -> dict[str, Any]:
    """Read what each search says of itself: direction -> result."""
    from clipsieve.evaluation.controls import SearchResult
    from clipsieve.tables import read_table

    found = {}
    for path in paths:
        table, note = read_table(path, ("step", "score"))
        if "initial_score" not in note:
            raise UserError(f"{path}: its note has no initial_score; not a search of clipsieve")
        best = float(table["score"].max()) if len(table) else float(note["initial_score"])
        found[Path(path).stem] = SearchResult(
            float(note["initial_score"]), best, str(note.get("score", "accuracy"))
        )
    return found


class _Progress:
    """Log a line about every ten seconds."""

    def __init__(self) -> None:
        self.last = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self.last >= 10 or done == total:
            self.last = now
            log.info("evaluate: %d of %d feature sets and draws", done, total)
