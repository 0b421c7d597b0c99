"""Find the nearest and farthest texts of probes, residuals and heads, and compare them with chance.

A probe's direction is the one that raises the probability of *generated*. Every cosine comes with a
z-score and a p value against random directions with the embeddings' covariance and, where there are
such probes, against probes (or residuals) made from shuffled labels. The p value is against the
*largest* cosine of each meaningless direction, so it is corrected for the search over all texts.
Repeats of one word in the text list are merged. The column q is corrected over all directions of
the list. Only train and val rows are read.
"""

from __future__ import annotations

import argparse
import logging

from clipsieve.cli.material_options import add_material_arguments, check_null_arguments
from clipsieve.config import default

HELP = "nearest texts of probes, residuals and heads, with nulls"

log = logging.getLogger("clipsieve")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.epilog = (
        "example:\n  clipsieve interpret --texts texts/phrases.h5 \\\n"
        "    --probes probes/all/*.npz probes/shuffled/*.npz --embeddings e/biggan.h5 e/real.h5 \\\n"
        "    --splits s/biggan.parquet s/real.parquet --output phrases.parquet"
    )
    parser.add_argument("--texts", required=True, metavar="H5", help="embedded texts")
    add_material_arguments(parser)
    parser.add_argument(
        "--top",
        type=int,
        default=default("interpretation.nearest"),
        help="texts of each direction at either side (default %(default)s)",
    )
    parser.add_argument(
        "--centred", action="store_true",
        help="list the nearest texts once more after subtracting the mean text from each; texts lie in a narrow"
        " cone apart from the images, and plain cosines, as the paper has them, depend on it",
    )  # fmt: skip
    parser.add_argument(
        "--output", required=True, metavar="PARQUET", help="one row per direction and text"
    )


def run(args: argparse.Namespace) -> None:
    """Explain the directions, and write the rows."""
    import numpy as np
    import pandas as pd

    from clipsieve.errors import UserError
    from clipsieve.interpretation.explain import explain_with_texts
    from clipsieve.interpretation.material import read_material
    from clipsieve.interpretation.nearest import first_of_each
    from clipsieve.interpretation.nulls import unit_rows
    from clipsieve.io import store
    from clipsieve.io.tables import write_table
    from clipsieve.threads import limited

    check_null_arguments(args)
    if args.top < 1:
        raise UserError(f"--top {args.top}: at least 1")
    stored = store.read_texts(args.texts)
    keep = first_of_each(stored.duplicate_of)
    goals = stored.embedding[keep]
    with limited(args.threads):
        material = read_material(
            embeddings=args.embeddings, splits=args.splits, probes=args.probes,
            images=args.images, features=args.features, head_maps=args.head_maps,
            head_mode=args.head_mode, patterns=True, draws=args.draws, seed=args.seed,
            what=f"interpret {args.texts}",
        )  # fmt: skip
        width = material.rows.embedding.shape[1]
        if goals.shape[1] != width:
            raise UserError(
                f"{args.texts}: texts of {goals.shape[1]} columns, embeddings of {width}; texts can"
                " explain only embeddings in the joint space of the same encoder"
            )
        variants = {False: goals}
        if args.centred:
            units = unit_rows(goals)
            variants[True] = (units - units.mean(axis=0)).astype(np.float32)
        parts = []
        for centred, targets in variants.items():
            part = explain_with_texts(
                material.directions, stored.text[keep].tolist(), targets, material.meaningless,
                top=args.top, level=args.level,
            )  # fmt: skip
            parts.append(part.assign(centred=centred))
        frame = pd.concat(parts, ignore_index=True)
    for position, name in enumerate(("run", "encoder", "seed")):
        frame.insert(position, name, getattr(args, name))
    null = material.meaningless.shuffled_probes
    note = {
        "texts": len(stored.text), "texts_without_repeats": len(keep), "draws": args.draws,
        "shuffled_probes": 0 if null is None else len(null), "level": args.level,
        "head_mode": args.head_mode, "centred": args.centred, "n": len(material.rows),
    }  # fmt: skip
    write_table(frame, args.output, note)
    first = frame[(frame["side"] == "nearest") & (frame["rank"] == 1) & ~frame["centred"]]
    log.info(
        "interpret %s: the nearest text is above its null for %d of %d directions",
        args.texts, int(first["above_null"].sum()), len(first),
    )  # fmt: skip
