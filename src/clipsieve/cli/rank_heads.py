"""Rank attention heads by how well a probe on each head transfers to other generators.

Trains a probe on every head's output over one generator's train rows and scores it on each other
generator's train and val rows, without the groups trained on (paper, section 4). Test rows are
never read.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from clipsieve.cli.options import add_image_sets, add_row_names, add_threads, identity_of
from clipsieve.config import default

HELP = "rank attention heads by transfer from one generator to others"

log = logging.getLogger("clipsieve")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.epilog = (
        "example:\n  clipsieve rank-heads --train-embeddings e/biggan.h5 e/real.h5 \\\n"
        "    --train-splits s/biggan.parquet s/real.parquet \\\n"
        "    --val-embeddings e/sd.h5 e/laion.h5 --val-splits s/sd.parquet s/laion.parquet \\\n"
        "    --output biggan.parquet"
    )
    add_image_sets(parser, "of the generator trained on and of its source", side="train")
    add_image_sets(
        parser,
        "of a generator scored on and of its source; repeat both options for each",
        side="val",
        action="append",
    )
    parser.add_argument(
        "--C",
        type=float,
        default=default("heads.C"),
        help="inverse L2 strength (default %(default)s)",
    )
    add_row_names(parser, "run", "encoder", "seed", required=False)
    add_threads(parser)
    parser.add_argument(
        "--output",
        required=True,
        metavar="PARQUET",
        help="one row per validation generator and head",
    )


def run(args: argparse.Namespace) -> None:
    """Rank the heads, and write the scores."""
    import pandas as pd

    from clipsieve.io.dataset import read_rows, require_both_classes
    from clipsieve.io.roles import FITTING
    from clipsieve.io.tables import write_table
    from clipsieve.selection.heads import fit_heads

    train_name = Path(args.train_embeddings[0]).stem
    train = read_rows(args.train_embeddings, args.train_splits, ("train",), f"heads {train_name}")
    require_both_classes(train, f"heads {train_name}: train rows")
    probes = fit_heads(
        train.heads(), train.label, train.head_basis(), C=args.C, threads=args.threads
    )
    parts = []
    for embeddings, splits in zip(args.val_embeddings, args.val_splits, strict=True):
        val_name = Path(embeddings[0]).stem
        what = f"heads {train_name}--{val_name}"
        scored = read_rows(embeddings, splits, FITTING, what).without_groups_of(train)
        require_both_classes(scored, f"{what}: rows of {val_name} whose group was not trained on")
        ranking = probes.rank(scored.heads(), scored.label)
        frame = pd.DataFrame(
            [
                {
                    "train": train_name, "val": val_name, "layer": layer, "head": head,
                    "accuracy": ranking.accuracy[layer, head], "log_loss": ranking.log_loss[layer, head],
                    "auc": ranking.auc[layer, head], "rank": position + 1, "n": len(scored),
                }
                for position, (layer, head) in enumerate(ranking.order)
            ]
        )  # fmt: skip
        top = ranking.order[0]
        log.info("%s: best head %s, accuracy %.3f", what, tuple(top), ranking.accuracy[tuple(top)])
        parts.append(frame)
    note = {"of": identity_of(args), "C": args.C, "n_train": len(train)}
    write_table(pd.concat(parts, ignore_index=True), args.output, note)
