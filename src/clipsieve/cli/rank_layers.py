"""Rank an encoder's layers by how well a probe on each transfers to other generators.

Trains a probe on the token after every block over one generator's train rows and scores it on each
other generator's train and val rows, without the groups trained on. Test rows are never read. The
final embedding is scored beside the layers, as layer -1, and has no rank.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from clipsieve.cli.options import add_image_sets, add_row_names, add_threads, identity_of
from clipsieve.config import default

HELP = "rank layers by transfer from one generator to others"

log = logging.getLogger("clipsieve")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.epilog = (
        "example:\n  clipsieve rank-layers --train-embeddings e/biggan.h5 e/real.h5 \\\n"
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
        default=default("layers.C"),
        help="inverse L2 strength (default %(default)s)",
    )
    add_row_names(parser, "run", "encoder", "seed", required=False)
    add_threads(parser)
    parser.add_argument(
        "--output",
        required=True,
        metavar="PARQUET",
        help="one row per validation generator and layer",
    )


def run(args: argparse.Namespace) -> None:
    """Rank the layers, and write the scores."""
    import pandas as pd

    from clipsieve.io.dataset import read_rows, require_both_classes
    from clipsieve.io.roles import FITTING
    from clipsieve.io.tables import write_table
    from clipsieve.selection.depth_ranking import fit_layers

    train_name = Path(args.train_embeddings[0]).stem
    what = f"layers {train_name}"
    train = read_rows(args.train_embeddings, args.train_splits, ("train",), what)
    require_both_classes(train, f"{what}: train rows")
    options = {"C": args.C, "threads": args.threads}
    probes = fit_layers(train.layers(), train.label, **options)
    whole = fit_layers(train.embedding[:, None], train.label, **options)
    rows = []
    for embeddings, splits in zip(args.val_embeddings, args.val_splits, strict=True):
        val_name = Path(embeddings[0]).stem
        pair = f"{what}--{val_name}"
        scored = read_rows(embeddings, splits, FITTING, pair).without_groups_of(train)
        require_both_classes(scored, f"{pair}: rows of {val_name} whose group was not trained on")
        names = {"train": train_name, "val": val_name}
        ranking = probes.rank(scored.layers(), scored.label)
        final = whole.rank(scored.embedding[:, None], scored.label)
        for layer, found, rank in (
            *((int(layer), ranking, place + 1) for place, layer in enumerate(ranking.order)),
            (-1, final, 0),
        ):
            scores = {
                name: getattr(found, name)[max(layer, 0)]
                for name in ("accuracy", "log_loss", "auc")
            }
            rows.append({**names, "layer": layer, **scores, "rank": rank, "n": len(scored)})
        top = int(ranking.order[0])
        log.info("%s: best layer %d, AUC %.3f", pair, top, ranking.auc[top])
    note = {"of": identity_of(args), "C": args.C, "n_train": len(train)}
    write_table(pd.DataFrame(rows), args.output, note)
