"""Test by rank correlation whether generators whose probe has a near text transfer worse.

For each generator: the mean accuracy of its probe (feature set all) on all other generators, and
the largest cosine of its probe with a text. The paper reports a negative correlation on 14
generators (section 5). With so few points, an interval, an exact p value and the influence of each
generator are needed, and all three are in the file's note.

Two confounders can produce such a correlation: probes that were tuned to different penalties, and
families that differ in both quantities. So rho over all generators is reported with rho within
families, and both at the same C for all generators (a sweep). Each generator is listed with its C,
the cosine of its probe with its residual, and how alike the probes of two halves are.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipsieve.cli.options import add_image_sets, add_threads

if TYPE_CHECKING:
    import pandas as pd

    from clipsieve.interpretation.confounders import GeneratorRows
    from clipsieve.io.probes import StoredProbe


HELP = "rank correlation of transfer with the largest cosine to a text"

log = logging.getLogger("clipsieve")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.epilog = (
        "example:\n  clipsieve interpretability --cells cells.parquet \\\n"
        "    --interpretation phrases.parquet --texts phrases.h5 --probes probes/all/*.npz \\\n"
        "    --embeddings e/*.h5 --splits s/*.parquet --images i/*.parquet \\\n"
        "    --output interpretability.parquet"
    )
    parser.add_argument("--cells", required=True, metavar="PARQUET", help="cells of the transfer")
    parser.add_argument(
        "--interpretation", nargs="+", required=True, metavar="PARQUET",
        help="nearest texts, one file per text list; the file name gives the name of the list",
    )  # fmt: skip
    parser.add_argument(
        "--texts", nargs="+", required=True, metavar="H5",
        help="embedded texts of the same lists, in the same order",
    )  # fmt: skip
    parser.add_argument(
        "--probes", nargs="+", required=True, metavar="NPZ", help="probes of the feature set all"
    )
    add_image_sets(parser, "of every image set, sources too")
    parser.add_argument(
        "--images", nargs="+", required=True, metavar="PARQUET", help="image tables (sources)"
    )
    parser.add_argument(
        "--metric", default="accuracy", help="metric of transfer (default %(default)s)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the divisions in halves (default %(default)s)"
    )
    add_threads(parser)
    parser.add_argument(
        "--output", required=True, metavar="PARQUET",
        help="one row per text list, generator and C; the probe as tuned first",
    )  # fmt: skip


def run(args: argparse.Namespace) -> None:
    """Correlate, and write the points with the correlations in the note."""
    import pandas as pd

    from clipsieve.errors import UserError
    from clipsieve.interpretation.confounders import sweep
    from clipsieve.interpretation.correlation import transfer_and_cosine
    from clipsieve.io import store
    from clipsieve.io.tables import read_table, write_table
    from clipsieve.threads import limited

    if len(args.interpretation) != len(args.texts):
        raise UserError(
            f"--texts: {len(args.texts)} files, {len(args.interpretation)} lists of texts"
        )
    cells, _ = read_table(
        args.cells,
        (
            "run",
            "encoder",
            "seed",
            "feature_set",
            "train",
            "test",
            "train_family",
            "metric",
            "value",
        ),
    )
    probes, rows = _probes_of_all(args.probes), _generator_rows(args)
    tuned, targets = [], {}
    for path, texts in zip(args.interpretation, args.texts, strict=True):
        nearest, _ = read_table(
            path, ("kind", "direction", "feature_set", "side", "rank", "text", "cosine")
        )
        points = transfer_and_cosine(cells, nearest, metric=args.metric, what=str(path))
        tuned.append(points.assign(texts=Path(path).stem))
        targets[Path(path).stem] = store.read_texts(texts).embedding
    with limited(args.threads):
        at_fixed = sweep(rows, targets).assign(tuned=False)
        of_probe = pd.DataFrame(
            [_facts_of(p, rows[name], args.seed) for name, p in probes.items() if name in rows]
        )
    points = pd.concat(tuned).assign(tuned=True).merge(of_probe, how="left", on="generator")
    frame = pd.concat([points, at_fixed], ignore_index=True)
    families = cells.drop_duplicates("train").set_index("train")["train_family"]
    frame.insert(0, "family", frame["generator"].map(families))
    for name in ("texts", "seed", "encoder", "run"):
        column = frame.pop(name) if name in frame else cells[name].iloc[0]
        frame.insert(0, name, column)
    write_table(frame, args.output, {**_correlations(frame), "metric": args.metric})


def _correlations(frame: pd.DataFrame) -> dict[str, Any]:
    """Return rho over all generators and within families, as tuned and at each C, by list of texts."""
    from clipsieve.interpretation.correlation import spearman, within_families

    found: dict[str, Any] = {"spearman": {}, "within_families": {}, "sweep": {}}
    for texts, part in frame.groupby("texts", sort=False):
        mine = part[part["tuned"]]
        x, y = mine["max_cosine"].to_numpy(), mine["transfer"].to_numpy()
        found["spearman"][str(texts)] = spearman(y, x).as_dict()
        within = within_families(x, y, mine["family"].astype(str).tolist())
        found["within_families"][str(texts)] = within.as_dict()
        found["sweep"][str(texts)] = [
            {
                "C": C,
                "rho": spearman(at["transfer"], at["max_cosine"], draws=2000).rho,
                "rho_within": within_families(
                    at["max_cosine"], at["transfer"], at["family"].astype(str).tolist(), draws=2000
                ).rho,
            }
            for C, at in part[~part["tuned"].astype(bool)].groupby("C")
        ]
        log.info(
            "interpretability (%s): rho %s, within families %s, n %d",
            texts, found["spearman"][str(texts)]["rho"], within.rho, len(mine),
        )  # fmt: skip
    return found


def _facts_of(probe: StoredProbe, rows: GeneratorRows, seed: int) -> dict[str, Any]:
    """Return a probe's C, its cosine with the residual, and how alike the probes of two halves are."""
    from clipsieve.interpretation.confounders import cosine, half_stability
    from clipsieve.probes import residual

    C = float(probe.params.get("C", float("nan")))
    weights = patterns = float("nan")
    if C > 0:  # NaN where the probe was fitted without one
        weights, patterns = half_stability(rows, C=C, seed=seed)
    towards = residual(rows.X[rows.train], rows.y[rows.train])
    return {
        "generator": probe.train,
        "C": C,
        "cos_residual": cosine(-probe.coef, towards),
        "half_cosine": weights,
        "half_cosine_pattern": patterns,
    }


def _probes_of_all(paths: list[str]) -> dict[str, StoredProbe]:
    """Return the probe on all columns of each generator."""
    from clipsieve.io.probes import read_probes

    return {p.train: p for path in paths for p in read_probes(path) if p.columns is None}


def _generator_rows(args: argparse.Namespace) -> dict[str, GeneratorRows]:
    """Read each generator's rows with those of its source: train and val to fit, test to score."""
    import numpy as np

    from clipsieve.interpretation.confounders import GeneratorRows
    from clipsieve.interpretation.material import sources_of
    from clipsieve.io.dataset import read_rows
    from clipsieve.io.roles import EVALUATION, FITTING

    seen = read_rows(args.embeddings, args.splits, FITTING, "interpretability")
    tested = read_rows(args.embeddings, args.splits, EVALUATION, "interpretability")
    source_of = sources_of(args.images)
    found = {}
    for generator in dict.fromkeys(seen.image_set[seen.label == 0].tolist()):
        mine, test = (
            rows.take(np.isin(rows.image_set, [generator, source_of[generator]]))
            for rows in (seen, tested)
        )
        found[generator] = GeneratorRows(
            mine.embedding.astype(np.float64),
            mine.label,
            mine.group,
            mine.split == "train",
            test.embedding.astype(np.float64),
            test.label,
        )
    return found
