"""Choose which generators to train on, by transfer to the others, and judge the choice.

The choice is made once without each generator, and its sets are scored on that generator beside
random sets of as many generators and the set of all others. Train and val rows are read, no test
rows.
"""

from __future__ import annotations

import argparse
import logging

from clipsieve.cli.options import (
    add_image_sets,
    add_row_names,
    add_sources,
    add_threads,
    count,
    words_by_generator,
)
from clipsieve.errors import UserError

HELP = "choose generators to train on, and judge the choice on others"

log = logging.getLogger("clipsieve")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.epilog = (
        "example:\n  clipsieve choose-training --embeddings e/*.h5 --splits s/*.parquet \\\n"
        '    --sources \'{"biggan": "coco", "glide": "coco", "sd": "laion"}\' --most 2 \\\n'
        "    --run demo --encoder clip_b16 --seed 0 --output choice.parquet"
    )
    add_image_sets(parser, "of every generator and source")
    add_sources(parser)
    parser.add_argument(
        "--most", type=count, required=True, help="how many generators are chosen, at most"
    )
    parser.add_argument(
        "--random-sets", type=count, default=10,
        help="random sets beside each chosen one (default %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--C", type=float, default=0.1,
        help="inverse strength of the probes' penalty (default %(default)s)",
    )  # fmt: skip
    add_row_names(parser, "run", "encoder", "seed", required=True)
    add_threads(parser)
    parser.add_argument(
        "--output", required=True, metavar="PARQUET",
        help="the table: a row for each held-out generator and step",
    )  # fmt: skip


def run(args: argparse.Namespace) -> None:
    """Choose and judge, and write the table."""
    import numpy as np
    import pandas as pd

    from clipsieve.io.dataset import read_rows
    from clipsieve.io.roles import FITTING
    from clipsieve.io.tables import write_table
    from clipsieve.selection.training_sets import judged_choices
    from clipsieve.threads import limited

    rows = read_rows(args.embeddings, args.splits, FITTING, "choose-training")
    if not args.sources:
        raise UserError("--sources: give the source of every generator")
    sources = words_by_generator(args.sources, "--sources")
    generators = np.unique(rows.image_set[rows.label == 0]).tolist()
    most = min(args.most, len(generators) - 2)
    if most < 1:
        raise UserError(
            f"--embeddings: {len(generators)} generators; at least 3 are needed: one is held out, and"
            " one of the others scores what was trained on another"
        )
    with limited(args.threads):
        found = judged_choices(
            rows.embedding, rows.label, rows.image_set,
            source_of={name: sources.get(name, "") for name in generators}, group=rows.group,
            k=most, C=args.C, seed=args.seed, random_sets=args.random_sets,
        )  # fmt: skip
    table = pd.DataFrame(
        [
            {
                **{"run": args.run, "encoder": args.encoder, "seed": args.seed},
                **{"held_out": one.held_out, "step": one.step, "generator": one.added},
                **{"transfer": one.transfer, "value": one.score},
                **{"random_mean": float(one.random.mean()), "random_best": float(one.random.max())},
                **{"random_sets": len(one.random), "all_others": one.everyone},
            }
            for one in found
        ]
    )
    write_table(table, args.output, {"C": args.C, "score": "auc"})
    log.info("choose-training: %d generators, sets of up to %d", len(generators), most)
