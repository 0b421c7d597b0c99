"""Measure IsoScore and mean cosine of each image set, before and after component removal.

IsoScore is the share of dimensions that the cloud of embeddings uses uniformly; the mean cosine of
all pairs says how narrow the cone of the embeddings is (paper, Appendix A.5 and Figure 6). By
default train and val rows are read, those that the components were selected on.

Any small subset of columns is more isotropic than all of them, so each selected set is compared
with random subsets of its size: their 95 % band, and the set's rank and p value among them.
"""

from __future__ import annotations

import argparse
import logging
from typing import TYPE_CHECKING

from clipsieve import families
from clipsieve.cli.options import add_image_sets, add_row_names, add_threads, count

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

HELP = "IsoScore and mean cosine before and after removal of components"

log = logging.getLogger("clipsieve")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
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
    parser.add_argument(
        "--draws",
        type=count,
        default=99,
        help="random subsets that each set is compared with (default %(default)s)",
    )
    add_row_names(parser, "run", "encoder", "seed", required=False)
    add_threads(parser)
    parser.add_argument(
        "--output", required=True, metavar="PARQUET", help="one row per image set and feature set"
    )


def run(args: argparse.Namespace) -> None:
    """Measure every image set under every feature set, and write the rows."""
    import pandas as pd

    from clipsieve.errors import UserError
    from clipsieve.geometry import iso_score, mean_cosine
    from clipsieve.io.dataset import read_rows
    from clipsieve.io.feature_sets import read_feature_sets
    from clipsieve.io.files import hash_of
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
                chance = {}
                if columns is not None:
                    if max(columns) >= X.shape[1]:
                        raise UserError(
                            f"{embeddings}: no column {max(columns)} of {feature_set};"
                            f" it has {X.shape[1]}"
                        )
                    X = X[:, columns]
                    seed = int(hash_of([args.seed, image_set, feature_set])[:8], 16)
                    chance = against_random(rows.embedding, X, args.draws, seed)
                found.append(
                    {
                        "run": args.run, "encoder": args.encoder, "seed": args.seed,
                        "image_set": image_set, "feature_set": feature_set,
                        "dimensions": X.shape[1], "iso_score": iso_score(X),
                        "mean_cosine": mean_cosine(X), "n": len(X),
                        "selected_on": image_set in excluded, **chance,
                    }
                )  # fmt: skip
    write_table(pd.DataFrame(found), args.output, {"rows": args.rows, "draws": args.draws})
    log.info("geometry: %d image sets, %d feature sets", len(args.embeddings), len(column_sets))


def against_random(
    whole: NDArray[np.floating], selected: NDArray[np.floating], draws: int, seed: int
) -> dict[str, float]:
    """Hold the geometry of selected columns against random subsets of as many columns.

    Parameters
    ----------
    whole : [n, D]. All columns.
    selected : [n, k]. The selected ones.
    draws : int. Random subsets.
    seed : int

    Returns
    -------
    dict
        For `iso` and `cosine`: mean over the subsets, 95 % band, rank (1 + the number of subsets at
        least as isotropic) and p = rank / (1 + draws).
    """
    import numpy as np

    from clipsieve.geometry import iso_score, mean_cosine, subset_geometry
    from clipsieve.selection.filters import random_subsets

    subsets = random_subsets(whole.shape[1], selected.shape[1], draws, seed=seed)
    iso, cosine = subset_geometry(whole, subsets)
    found: dict[str, float] = {}
    for name, of_random, at_least in (
        ("iso", iso, iso >= iso_score(selected)),
        ("cosine", cosine, cosine <= mean_cosine(selected)),
    ):
        low, high = np.quantile(of_random, [0.025, 0.975])
        rank = 1 + int(at_least.sum())
        found |= {
            f"{name}_random_mean": float(of_random.mean()),
            f"{name}_random_low": float(low),
            f"{name}_random_high": float(high),
            f"{name}_rank": rank,
            f"{name}_p": rank / (1 + draws),
        }
    return found
