"""Probes of one training generator on every feature set of one family.

Hyperparameters are chosen on val, the probe is refitted on train and val together, and thresholds
are cross-fitted on both. Label 0 is generated, 1 is real; a logit above 0 says real.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from clipsieve.cli.options import add_image_sets, add_threads

if TYPE_CHECKING:
    from clipsieve.io.dataset import Rows
    from clipsieve.io.feature_sets import FeatureSet
    from clipsieve.io.probes import StoredProbe

HELP = "fit the probes of one generator on one family of feature sets"

log = logging.getLogger("clipsieve")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    parser.epilog = (
        "example:\n  clipsieve fit --features all.json --embeddings e/biggan.h5 e/real.h5 \\\n"
        "    --splits s/biggan.parquet s/real.parquet --grid fast --output probes/all/biggan.npz"
    )
    parser.add_argument(
        "--features", required=True, metavar="JSON", help="feature sets of a family"
    )
    add_image_sets(parser, "of the generator and of its source", nargs=2)
    parser.add_argument(
        "--grid", choices=["paper", "fast"], default="paper",
        help="paper: 96 combinations of solver, C and max_iter; fast: C alone, fits converged"
        " (default %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--score", choices=["accuracy", "balanced_accuracy", "auc", "log_loss"], default="balanced_accuracy",
        help="what hyperparameters are chosen by (default %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--residual-kind", choices=["cosine", "dot"], default="cosine",
        help="the residual space's one feature (default %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of label permutations (default %(default)s)"
    )
    add_threads(parser)
    parser.add_argument("--output", required=True, metavar="NPZ", help="the probes")


def run(args: argparse.Namespace) -> None:
    """Fit, and write the probes."""
    from clipsieve.io.dataset import read_rows, require_both_classes
    from clipsieve.io.feature_sets import read_feature_sets
    from clipsieve.io.probes import write_probes
    from clipsieve.io.roles import FITTING
    from clipsieve.threads import limited

    generator = Path(args.embeddings[0]).stem
    what = f"fit {generator}"
    rows = read_rows(args.embeddings, args.splits, FITTING, what)
    train, val = rows.of("train"), rows.of("val")
    require_both_classes(train, f"{what}: train rows")
    require_both_classes(val, f"{what}: val rows")
    probes = []
    with limited(args.threads):
        for feature_set in read_feature_sets(args.features):
            if generator in feature_set.excluded:
                continue
            for draw in range(len(feature_set.draws)):
                probes.append(fit_draw(feature_set, draw, generator, train, val, args))
            log.info(
                "%s: %s, val accuracy %.3f",
                what, feature_set.feature_set, probes[-1].facts["val_accuracy"],
            )  # fmt: skip
    write_probes(args.output, probes)


def fit_draw(
    feature_set: FeatureSet,
    draw: int,
    generator: str,
    train: Rows,
    val: Rows,
    args: argparse.Namespace,
) -> StoredProbe:
    """Fit one probe: one draw of a feature set on one generator."""
    from clipsieve.io.files import hash_of
    from clipsieve.io.probes import StoredProbe
    from clipsieve.probes import fit_nearest_mean, fit_probe, fit_residual_probe, residual
    from clipsieve.probes.features import features_of
    from clipsieve.selection.filters import shuffled_labels

    columns = feature_set.draws[draw]
    direction = None
    if feature_set.space == "residual":
        X = train.embedding if columns is None else train.embedding[:, columns]
        direction = residual(X, train.label)
    X_train, X_val = (
        features_of(
            rows, feature_set.space, columns,
            residual=direction, residual_kind=args.residual_kind,
        )
        for rows in (train, val)
    )  # fmt: skip
    y_train, y_val = train.label, val.label
    if feature_set.shuffle:
        # by name, so that generators of equal size do not share their permutations
        seed = int(hash_of([args.seed, draw, generator])[:8], 16)
        (y_train,) = shuffled_labels(y_train, 1, seed=seed, groups=train.group)
        (y_val,) = shuffled_labels(y_val, 1, seed=seed, groups=val.group)
    data = (X_train, y_train, X_val, y_val)
    options = {"score": args.score, "groups": (train.group, val.group)}
    if feature_set.family == "nearest_mean":
        probe = fit_nearest_mean(*data, **options)
    else:
        fit = fit_residual_probe if feature_set.space == "residual" else fit_probe
        probe = fit(*data, grid=args.grid, fit_intercept=feature_set.fit_intercept, **options)
    return StoredProbe(
        feature_set=feature_set.feature_set,
        draw=draw,
        train=generator,
        space=feature_set.space,
        columns=columns,
        coef=probe.coef,
        intercept=probe.intercept,
        threshold=probe.threshold,
        params=probe.params,
        facts={
            "n_train": len(train), "n_val": len(val), "n_tune": len(val), "tuned_on": generator,
            "val_accuracy": probe.val_accuracy, "thresholds": probe.threshold_facts,
            "residual_kind": args.residual_kind if direction is not None else None,
        },
        operating_points=probe.operating_points,
        residual=direction,
    )  # fmt: skip
