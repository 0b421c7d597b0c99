"""Every metric under every perturbation of the test images, with intervals.

Reads scores alone. Each perturbation is evaluated like the clean images, over all cells off the
diagonal; the clean scores are first cut down to the images that were perturbed, so both are about
the same images.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from clipsieve.cli.options import (
    add_bootstrap,
    add_generator_facts,
    add_row_names,
    add_threads,
    check_bootstrap,
    words_by_generator,
)

if TYPE_CHECKING:
    import pandas as pd

HELP = "metrics under perturbations of the test images, with intervals"

log = logging.getLogger("clipsieve")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    parser.epilog = (
        "example:\n  clipsieve robustness --run mine --clean scores/all.parquet \\\n"
        "    --perturbed perturbed/jpeg_50/all.parquet --features features/all.json \\\n"
        '    --families \'{"biggan": "gan"}\' --output robustness.parquet'
    )
    add_row_names(parser, "run", required=True)
    parser.add_argument(
        "--clean", nargs="+", required=True, metavar="PARQUET", help="scores of the clean images"
    )
    parser.add_argument(
        "--perturbed", nargs="+", required=True, metavar="PARQUET",
        help="scores of perturbed images; the folder's name is the perturbation's",
    )  # fmt: skip
    parser.add_argument("--features", nargs="+", required=True, metavar="JSON", help="feature sets")
    add_generator_facts(parser)
    add_bootstrap(parser)
    add_threads(parser, "feature sets at once")
    parser.add_argument(
        "--output",
        required=True,
        metavar="PARQUET",
        help="one row a feature set, perturbation and metric",
    )


def run(args: argparse.Namespace) -> None:
    """Evaluate each perturbation, and write the table."""
    import pandas as pd

    from clipsieve.evaluation.evaluate import Options, evaluate
    from clipsieve.io.feature_sets import read_feature_sets
    from clipsieve.io.scores import read_scores
    from clipsieve.io.tables import write_table

    check_bootstrap(args)
    families = words_by_generator(args.families, "--families")
    sources = words_by_generator(args.sources, "--sources") if args.sources else None
    features = {
        item.feature_set: item for path in args.features for item in read_feature_sets(path)
    }
    options = Options(
        resamples=args.resamples,
        interval=args.interval,
        confidence=args.confidence,
        threads=args.threads,
    )
    edits: dict[str, list[str]] = {}
    for path in args.perturbed:
        edits.setdefault(Path(path).parent.name, []).append(path)
    parts = []
    with tempfile.TemporaryDirectory() as folder:
        everywhere = _in_all([paths[0] for paths in edits.values()])
        for edit, whole in {"none": args.clean, **edits}.items():
            paths = _cut(whole, everywhere, Path(folder))
            tables = evaluate(
                read_scores(paths, sources), features, families, run=args.run, options=options
            )
            parts.append(_points(tables.means, edit))
            log.info("robustness: %s", edit)
    note = {"perturbations": list(edits), "confidence": args.confidence}
    write_table(pd.concat(parts, ignore_index=True), args.output, note)


def _in_all(paths: Sequence[str]) -> set[str]:
    """Return the images that every file has: an edit that does nothing to an image leaves it out."""
    from clipsieve.io.tables import read_table

    return set.intersection(*(set(read_table(p, ("image_id",))[0]["image_id"]) for p in paths))


def _cut(paths: Sequence[str], wanted: set[str], folder: Path) -> list[str]:
    """Write the scores of the wanted images into `folder`, over what stood there; return the files."""
    from clipsieve.io.tables import read_table, write_table

    files = []
    for path in paths:
        scores, _ = read_table(path, ("image_id",))
        target = folder / Path(path).name
        write_table(scores[scores["image_id"].isin(wanted)], target)
        files.append(str(target))
    return files


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
