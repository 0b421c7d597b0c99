"""Every metric under every perturbation of the test images, with intervals.

Reads scores alone. Each perturbation is evaluated like the clean images, over all cells off the diagonal; the clean
scores are first cut down to the images that were perturbed, so both columns are about the same images.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

HELP = "metrics under perturbations of the test images, with intervals"

log = logging.getLogger("clipsieve")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    parser.epilog = (
        "example:\n  clipsieve robustness --run mine --clean scores/all.parquet\n"
        "    --perturbed perturbed/jpeg_50/all.parquet --features features/all.json\n"
        '    --families \'{"biggan": "gan"}\' --output robustness.parquet'
    )
    parser.add_argument("--run", required=True, help="name of the run, for the rows")
    parser.add_argument(
        "--clean", nargs="+", required=True, metavar="PARQUET", help="scores of the clean images"
    )
    parser.add_argument(
        "--perturbed", nargs="+", required=True, metavar="PARQUET",
        help="scores of perturbed images; the folder's name is the perturbation's",
    )  # fmt: skip
    parser.add_argument("--features", nargs="+", required=True, metavar="JSON", help="feature sets")
    parser.add_argument("--families", required=True, help="JSON: generator -> family")
    parser.add_argument("--sources", help="JSON: generator -> source")
    parser.add_argument("--resamples", type=int, default=2000, help="bootstrap resamples")
    parser.add_argument(
        "--interval", choices=["percentile", "bca", "studentized"], default="studentized",
        help="kind of interval (default studentized)",
    )  # fmt: skip
    parser.add_argument("--confidence", type=float, default=0.95, help="coverage (default 0.95)")
    parser.add_argument("--threads", type=int, default=1, help="threads")
    parser.add_argument("--output", required=True, metavar="PARQUET", help="the curves' points")


def run(args: argparse.Namespace) -> None:
    """Evaluate each perturbation, and write the table."""
    import json

    import pandas as pd

    from clipsieve.evaluation.scores import read_features, read_scores
    from clipsieve.evaluation.tables import Options, evaluate
    from clipsieve.tables import write_table

    families = json.loads(args.families)
    sources = json.loads(args.sources) if args.sources else None
    features = read_features(args.features)
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
        clean = _only_perturbed(args.clean, args.perturbed, Path(folder))
        for edit, paths in {"none": clean, **edits}.items():
            tables = evaluate(
                read_scores(paths, sources), features, families, run=args.run, options=options
            )
            parts.append(_points(tables.means, edit))
            log.info("robustness: %s", edit)
    write_table(pd.concat(parts, ignore_index=True), args.output, {"perturbations": list(edits)})


def _only_perturbed(clean: Sequence[str], perturbed: Sequence[str], folder: Path) -> list[str]:
    """Write the clean scores of the images that were perturbed into `folder`; return the files."""
    from clipsieve.tables import read_table, write_table

    wanted = set(read_table(perturbed[0], ("image_id",))[0]["image_id"])
    files = []
    for path in clean:
        scores, _ = read_table(path, ("image_id",))
        target = folder / Path(path).name
        write_table(scores[scores["image_id"].isin(wanted)], target)
        files.append(str(target))
    return files


def _points(means: pd.DataFrame, edit: str) -> pd.DataFrame:
    """Return the rows over all cells, with the perturbation, its family and its level."""
    from clipsieve.images.perturb import find

    known = None if edit == "none" else find(edit)
    columns = ["run", "encoder", "seed", "feature_set", "metric", "value", "low", "high"]
    points = means.loc[means["cells"] == "all", [*columns, "n_cells", "n"]].copy()
    points.insert(4, "perturbation", edit)
    points.insert(5, "family", known.family if known else "none")
    points.insert(6, "level", known.level if known else 0.0)
    return points
