"""Logits of finished probes on every test image: all metrics and galleries are made from them.

Applies, never fits. A generator that a feature set gave up to its selection occurs in it neither as
training generator nor as image set.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from clipsieve.cli.options import add_image_sets, add_row_names

HELP = "apply the probes of one family to all test images"

log = logging.getLogger("clipsieve")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    parser.epilog = (
        "example:\n  clipsieve transfer --features all.json --probes probes/all/*.npz \\\n"
        "    --embeddings e/*.h5 --splits s/*.parquet --encoder clip_b16 --seed 0 \\\n"
        "    --output scores/all.parquet"
    )
    parser.add_argument(
        "--features", required=True, metavar="JSON", help="feature sets of the family"
    )
    parser.add_argument(
        "--probes", nargs="+", required=True, metavar="NPZ", help="finished probes of it"
    )
    add_image_sets(parser, "of every image set, sources too")
    add_row_names(parser, "encoder", "seed", required=True)
    parser.add_argument("--output", required=True, metavar="PARQUET", help="the scores")


def run(args: argparse.Namespace) -> None:
    """Apply, and write the scores."""
    import pandas as pd

    from clipsieve.io.dataset import read_rows
    from clipsieve.io.feature_sets import read_feature_sets
    from clipsieve.io.probes import read_probes
    from clipsieve.io.roles import EVALUATION
    from clipsieve.io.tables import write_table
    from clipsieve.probes.apply import apply_probes

    excluded = {item.feature_set: item.excluded for item in read_feature_sets(args.features)}
    probes = [probe for path in args.probes for probe in read_probes(path)]
    parts = []
    for embeddings, splits in zip(args.embeddings, args.splits, strict=True):
        rows = read_rows([embeddings], [splits], EVALUATION, f"transfer {Path(embeddings).stem}")
        parts.append(apply_probes(probes, rows, excluded))
    scores = pd.concat(parts, ignore_index=True)
    scores.insert(0, "encoder", args.encoder)
    scores.insert(1, "seed", args.seed)
    grids = sorted({str(probe.params["grid"]) for probe in probes if "grid" in probe.params})
    write_table(scores, args.output, {"probes": len(probes), "grid": ", ".join(grids)})
    log.info("transfer: %d probes, %d scores", len(probes), len(scores))
