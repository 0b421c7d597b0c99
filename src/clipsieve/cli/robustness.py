"""Compute every metric under every perturbation of the test images, with intervals.

Reads only scores. Each perturbation is evaluated like the clean images, over all cells off the
diagonal; the clean scores are first cut down to the images that were perturbed, so both are about
the same images.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from clipsieve.cli.options import add_bootstrap, add_threads, check_bootstrap

if TYPE_CHECKING:
    import pandas as pd

HELP = "metrics under perturbations of the test images, with intervals"

log = logging.getLogger("clipsieve")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.epilog = (
        "example:\n  clipsieve robustness --clean scores/all.h5 \\\n"
        "    --perturbed perturbed/jpeg_50/all.h5 --features features/all.json \\\n"
        "    --output robustness.parquet"
    )
    parser.add_argument(
        "--clean", nargs="+", required=True, metavar="H5", help="scores of the clean images"
    )
    parser.add_argument(
        "--perturbed", nargs="+", required=True, metavar="H5",
        help="scores of perturbed images; the folder's name is the perturbation's",
    )  # fmt: skip
    parser.add_argument("--features", nargs="+", required=True, metavar="JSON", help="feature sets")
    add_bootstrap(parser)
    add_threads(parser, "feature sets at once")
    parser.add_argument(
        "--output",
        required=True,
        metavar="PARQUET",
        help="one row per feature set, perturbation and metric",
    )


def run(args: argparse.Namespace) -> None:
    """Evaluate each perturbation, and write the table."""
    import numpy as np
    import pandas as pd

    from clipsieve.evaluation.evaluate import evaluate
    from clipsieve.evaluation.feature_set_tables import Options
    from clipsieve.io.feature_sets import read_feature_sets
    from clipsieve.io.scores import read_scores
    from clipsieve.io.tables import write_table

    check_bootstrap(args)
    features = {
        item.feature_set: item for path in args.features for item in read_feature_sets(path)
    }
    options = Options(
        resamples=args.resamples,
        interval=args.interval,
        confidence=args.confidence,
        threads=args.threads,
    )
    files: dict[str, list[str]] = {}
    for path in args.perturbed:
        files.setdefault(Path(path).parent.name, []).append(path)
    edits = {edit: read_scores(paths) for edit, paths in files.items()}
    # an edit that does nothing to an image leaves it out
    everywhere = sorted(
        set.intersection(*(set(edited.images.image_id.tolist()) for edited in edits.values()))
    )
    parts = []
    for edit, whole in {"none": read_scores(args.clean), **edits}.items():
        scores = whole.take(np.isin(whole.images.image_id, everywhere))
        parts.append(_points(evaluate(scores, features, options=options).means, edit))
        log.info("robustness: %s", edit)
    note = {"perturbations": list(edits), "confidence": args.confidence}
    write_table(pd.concat(parts, ignore_index=True), args.output, note)


def _points(means: pd.DataFrame, edit: str) -> pd.DataFrame:
    """Return the rows over all cells, with the perturbation, its family and its level."""
    from clipsieve.images.perturbations.catalogue import find

    known = None if edit == "none" else find(edit)
    columns = ["run", "encoder", "seed", "feature_set", "metric", "value", "low", "high"]
    points = means.loc[means["cells"] == "all", [*columns, "n_cells", "n"]].copy()
    points.insert(4, "perturbation", edit)
    points.insert(5, "family", known.family if known else "none")
    points.insert(6, "level", known.level if known else 0.0)
    return points
