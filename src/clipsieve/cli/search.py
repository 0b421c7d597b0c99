"""Search greedily, in one direction of a pair, for columns whose removal makes a probe transfer.

Trains on one generator's train rows, scores on another generator's train and val rows without the
groups trained on, and removes one column per step until one is left. The list is the one that
converged refits of every candidate would give; each step records how it was proved. Test rows are
never read.
"""

from __future__ import annotations

import argparse
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING

from clipsieve.cli.options import add_image_sets, add_row_names, add_threads, identity_of
from clipsieve.cli.progress import Pace
from clipsieve.config import default

if TYPE_CHECKING:
    from clipsieve.io.dataset import Rows

HELP = "greedy component search, one direction of a pair"

log = logging.getLogger("clipsieve")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.epilog = (
        "example:\n  clipsieve search --train-embeddings e/biggan.h5 e/real.h5 \\\n"
        "    --train-splits s/biggan.parquet s/real.parquet \\\n"
        "    --val-embeddings e/sd.h5 e/laion.h5 --val-splits s/sd.parquet s/laion.parquet \\\n"
        "    --output biggan--sd.parquet"
    )
    for side, text in (("train", "trained on"), ("val", "scored on")):
        add_image_sets(parser, f"of the generator {text} and of its source", side=side)
    parser.add_argument(
        "--C",
        type=float,
        default=default("search.C"),
        help="inverse L2 strength (default %(default)s)",
    )
    parser.add_argument(
        "--score", choices=["accuracy", "balanced_accuracy", "auc", "log_loss"],
        default=default("search.score"),
        help="what a removal is judged by (default %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--tie", choices=["log_loss", "first"], default=default("search.tie"),
        help="among equal scores: lower log-loss, or lowest column (default %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--fit-intercept",
        action="store_true",
        help="with an unpenalised intercept (default: without, as in the paper)",
    )
    parser.add_argument(
        "--checkpoint", metavar="FILE", help="side file for resuming (default: beside the output)"
    )
    add_row_names(parser, "run", "encoder", "seed", required=False)
    add_threads(parser)
    parser.add_argument("--output", required=True, metavar="PARQUET", help="one row per step")


def run(args: argparse.Namespace) -> None:
    """Search, and write the steps."""
    import pandas as pd

    from clipsieve.io.dataset import read_rows, require_both_classes
    from clipsieve.io.files import hash_of
    from clipsieve.io.roles import FITTING
    from clipsieve.io.tables import write_table
    from clipsieve.selection import greedy_elimination
    from clipsieve.selection.greedy.stop import facts_of_stops

    train_name, val_name = (Path(p[0]).stem for p in (args.train_embeddings, args.val_embeddings))
    what = f"search {train_name}--{val_name}"
    train = read_rows(args.train_embeddings, args.train_splits, ("train",), what)
    scored = read_rows(args.val_embeddings, args.val_splits, FITTING, what)
    scored = scored.without_groups_of(train)
    require_both_classes(train, f"{what}: train rows of {train_name}")
    require_both_classes(scored, f"{what}: rows of {val_name} whose group was not trained on")
    log.info(
        "%s: %d columns, %d training rows, %d scoring rows",
        what, train.embedding.shape[1], len(train), len(scored),
    )  # fmt: skip
    output = Path(args.output)
    options = {name: getattr(args, name) for name in ("C", "score", "tie", "fit_intercept")}
    # named by what it depends on: a search of other data or options starts its own
    name = hash_of([options, *map(_digest, (train, scored))])[:12]
    checkpoint = Path(args.checkpoint or output.with_name(f".{output.stem}.{name}.checkpoint"))
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    result = greedy_elimination(
        train.embedding,
        train.label,
        scored.embedding,
        scored.label,
        **options,
        val_group=scored.group,
        checkpoint=checkpoint,
        threads=args.threads,
        progress=_Progress(what),
    )
    log.info("%s: done in %.1f s", what, time.monotonic() - started)
    note = {
        "of": identity_of(args),
        **result.params,
        "params_hash": result.params_hash,
        "train": train_name,
        "val": val_name,
        "columns": int(train.embedding.shape[1]),
        "initial_score": float(result.initial_score),
        "initial_log_loss": float(result.initial_log_loss),
        "initial_error": float(result.initial_error),
        **facts_of_stops(*result.path, score=args.score, columns=int(train.embedding.shape[1])),
        "n_train": len(train),
        "n_val": len(scored),
    }
    steps = len(result.removed)
    table = pd.DataFrame(
        {
            "step": range(1, steps + 1),
            "removed": result.removed,
            "score": result.scores,
            "error": result.errors,
            "log_loss": result.log_losses,
            "ties": result.ties,
            "certified": result.certified,
            "left": [train.embedding.shape[1] - step for step in range(1, steps + 1)],
        }
    )
    write_table(table, output, note)
    checkpoint.unlink(missing_ok=True)


def _digest(rows: Rows) -> str:
    import hashlib

    return hashlib.sha256(
        rows.embedding.tobytes() + rows.label.tobytes() + "\n".join(rows.group).encode()
    ).hexdigest()


class _Progress:
    """Log a line about every ten seconds."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.pace = Pace()

    def __call__(self, step: int, total: int, elapsed: float, remaining: float) -> None:
        if self.pace.due(finished=step == total):
            log.info(
                "%s: step %d of %d, %.0f s, about %.0f s left",
                self.what, step, total, elapsed, remaining,
            )  # fmt: skip
