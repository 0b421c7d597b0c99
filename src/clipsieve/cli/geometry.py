"""IsoScore and mean cosine of each image set's embeddings, before and after component removal.

IsoScore is the share of dimensions that the cloud of embeddings uses uniformly; the mean cosine of
all pairs says how narrow the cone is that they lie in (paper, Appendix A.5 and Figure 6). Unasked,
train and val rows are read, those that the components were selected on.
"""

from __future__ import annotations

import argparse
import logging

from clipsieve import families
from clipsieve.cli.options import add_image_sets, add_row_names, add_threads

HELP = "IsoScore and mean cosine before and after removal of components"

log = logging.getLogger("clipsieve")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    parser.epilog = (
        "example:\n  clipsieve geometry --embeddings e/biggan.h5 e/real.h5 \\\n"
        "    --splits s/biggan.parquet s/real.parquet --features features/components.json \\\n"
        "    --output geometry.parquet"
    )
    add_image_sets(parser, "of the image sets to measure")
    parser.add_argument(
        "--features", nargs="*", default=[], metavar="JSON",
        help="feature-set files; their sets of embedding columns are measured beside all columns",
    )  # fmt: skip
    parser.add_argument(
        "--rows", nargs="+", choices=["train", "val", "test"], default=["train", "val"],
        help="splits whose rows are measured (default train val)",
    )  # fmt: skip
    add_row_names(parser, "run", "encoder", "seed", required=False)
    add_threads(parser)
    parser.add_argument(
        "--output", required=True, metavar="PARQUET", help="one row an image set and feature set"
    )


def run(args: argparse.Namespace) -> None:
    """Measure every image set under every feature set, and write the rows."""
    import pandas as pd

    from clipsieve.errors import UserError
    from clipsieve.geometry import iso_score, mean_cosine
    from clipsieve.io.dataset import read_rows
    from clipsieve.io.feature_sets import read_feature_sets
    from clipsieve.io.tables import write_table
    from clipsieve.threads import limited

    if len(args.embeddings) != len(args.splits):
        raise UserError(
            f"geometry: {len(args.embeddings)} embedding files, {len(args.splits)} split tables"
        )
    column_sets: dict[str, tuple[list[int] | None, tuple[str, ...]]] = {
        families.BASELINE: (None, ())
    }
    for path in args.features:
        for item in read_feature_sets(path):
            if item.space == "embedding" and len(item.draws) == 1 and item.draws[0]:
                column_sets[item.feature_set] = ([int(c) for c in item.draws[0]], item.excluded)
    found = []
    with limited(args.threads):
        for embeddings, splits in zip(args.embeddings, args.splits, strict=True):
            rows = read_rows([embeddings], [splits], args.rows, "geometry")
            image_set = str(rows.image_set[0])
            if len(rows) < 2:
                raise UserError(f"{splits}: {len(rows)} row of {image_set}; geometry needs two")
            for feature_set, (columns, excluded) in column_sets.items():
                X = rows.embedding
                if columns is not None:
                    if max(columns) >= X.shape[1]:
                        raise UserError(
                            f"{embeddings}: no column {max(columns)} of {feature_set};"
                            f" it has {X.shape[1]}"
                        )
                    X = X[:, columns]
                found.append(
                    {
                        "run": args.run, "encoder": args.encoder, "seed": args.seed,
                        "image_set": image_set, "feature_set": feature_set,
                        "dimensions": X.shape[1], "iso_score": iso_score(X),
                        "mean_cosine": mean_cosine(X), "n": len(X),
                        "selected_on": image_set in excluded,
                    }
                )  # fmt: skip
    write_table(pd.DataFrame(found), args.output, {"rows": args.rows})
    log.info("geometry: %d image sets, %d feature sets", len(args.embeddings), len(column_sets))
