"""Does a generator whose probe has a near text transfer worse? Spearman's rank correlation.

For each generator: the mean accuracy of its probe (feature set all) on all other generators, and
the largest cosine of its probe with a text. The paper reports a negative correlation on 14
generators (section 5); so few points need an interval, an exact p value and a look at what one
generator carries, and all three stand in the file's note.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from clipsieve import families

HELP = "rank correlation of transfer with the largest cosine to a text"

log = logging.getLogger("clipsieve")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    parser.epilog = (
        "example:\n  clipsieve interpretability --cells cells.parquet \\\n"
        "    --interpretation interpretation/*.parquet --output interpretability.parquet"
    )
    parser.add_argument("--cells", required=True, metavar="PARQUET", help="cells of the transfer")
    parser.add_argument(
        "--interpretation", nargs="+", required=True, metavar="PARQUET",
        help="nearest texts, one file a text list; the list's name is the file's",
    )  # fmt: skip
    parser.add_argument(
        "--feature-set",
        default=families.BASELINE,
        help="whose probes are compared (default %(default)s)",
    )
    parser.add_argument(
        "--metric", default="accuracy", help="metric of transfer (default %(default)s)"
    )
    parser.add_argument(
        "--output", required=True, metavar="PARQUET", help="one row a text list and generator"
    )


def run(args: argparse.Namespace) -> None:
    """Correlate, and write the points with the correlation in the note."""
    import pandas as pd

    from clipsieve.interpretation.correlation import spearman, transfer_and_cosine
    from clipsieve.io.tables import read_table, write_table

    cells, _ = read_table(
        args.cells, ("run", "encoder", "seed", "feature_set", "train", "test", "metric", "value")
    )
    parts, correlations = [], {}
    for path in args.interpretation:
        texts = Path(path).stem
        nearest, _ = read_table(
            path, ("kind", "direction", "feature_set", "side", "rank", "text", "cosine")
        )
        points = transfer_and_cosine(
            cells, nearest, feature_set=args.feature_set, metric=args.metric, what=str(path)
        )
        points.insert(0, "texts", texts)
        parts.append(points)
        result = spearman(points["transfer"].to_numpy(), points["max_cosine"].to_numpy())
        correlations[texts] = result.as_dict()
        log.info("interpretability (%s): rho %s, p %s, n %d", texts, result.rho, result.p, result.n)
    frame = pd.concat(parts, ignore_index=True)
    for position, name in enumerate(("run", "encoder", "seed")):
        frame.insert(position, name, cells[name].iloc[0])
    write_table(
        frame, args.output,
        {"spearman": correlations, "metric": args.metric, "feature_set": args.feature_set},
    )  # fmt: skip
