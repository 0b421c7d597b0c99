"""Probes of one training generator, or of a training set, on every feature set of one family.

Hyperparameters are chosen on val, the probe is refitted on train and val together, and thresholds
are cross-fitted on both. With --tune-embeddings, feature sets whose pair has one of these
generators second (heads, in the paper) have hyperparameters and thresholds from that generator's
train and val rows instead.

With --train-set, the probes of several generators: rows are weighted so that both classes, each
generator and each source count the same, C is chosen on val rows with such weights, and generators
that a feature set gave up to its selection are left out of its set.

Label 0 is generated, 1 is real; a logit above 0 says real.
"""

from __future__ import annotations

import argparse
import logging
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from clipsieve.cli.options import (
    add_image_sets,
    add_own_pair,
    add_sources,
    add_threads,
    count,
    words_by_generator,
)
from clipsieve.config import default
from clipsieve.errors import UserError
from clipsieve.io.training import FEWEST, KINDS, ONE

if TYPE_CHECKING:
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
    add_image_sets(
        parser, "of the generator and of its source; of a training set, of all of both, each once"
    )
    group = parser.add_argument_group("training sets")
    group.add_argument(
        "--train-set", metavar="NAME", help="id of a training set; with --kind and --sources"
    )
    group.add_argument(
        "--kind",
        choices=[kind for kind in KINDS if kind != ONE],
        help="what kind of training set it is",
    )
    add_sources(group)
    group.add_argument(
        "--tested",
        nargs="*",
        default=[],
        metavar="GENERATOR",
        help="generators that it will be tested on: a feature set that gave all of them up is left"
        " out (default: none known, nothing is left out)",
    )
    group.add_argument(
        "--draws",
        type=count,
        default=default("training.draws"),
        help="how many draws of a feature set are fitted on a training set, at most"
        " (default %(default)s)",
    )
    add_image_sets(
        parser,
        "of the validation generator of a pair and of its source; repeat both options for each",
        side="tune",
        nargs=2,
        action="append",
        required=False,
        default=[],
    )
    parser.add_argument(
        "--grid", choices=["paper", "fast"], default=default("probe.grid"),
        help="paper: 96 combinations of solver, C and max_iter; fast: only C, with converged fits"
        " (default %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--twin", choices=["paper", "fast"],
        help="add a twin of each probe, made on this grid as the draws of the family's controls are,"
        " for ranks among them (default: none)",
    )  # fmt: skip
    parser.add_argument(
        "--score", choices=["accuracy", "balanced_accuracy", "auc", "log_loss"], default=default("probe.score"),
        help="what hyperparameters are chosen by (default %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--residual-kind", choices=["cosine", "dot"], default=default("residual.kind"),
        help="the feature of residual probes (default %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of label permutations (default %(default)s)"
    )
    add_own_pair(parser, "fit")
    add_threads(parser)
    parser.add_argument("--output", required=True, metavar="NPZ", help="the probes")


def run(args: argparse.Namespace) -> None:
    """Fit, and write the probes."""
    from clipsieve.io.dataset import read_rows, require_both_classes
    from clipsieve.io.feature_sets import read_feature_sets
    from clipsieve.io.probes import write_probes
    from clipsieve.io.roles import FITTING
    from clipsieve.selection.seen import fit_choices
    from clipsieve.selection.set_probes import Data, Fitting, Shared, fit_draws
    from clipsieve.threads import limited

    if args.train_set is not None:
        with limited(args.threads):
            write_probes(args.output, fit_training_set(args))
        return
    if len(args.embeddings) != 2 or len(args.splits) != 2:
        raise UserError(
            "--embeddings: the files of a generator and of its source are wanted, and as many"
            " --splits; with more files, give --train-set"
        )
    if args.kind or args.sources or args.tested:
        raise UserError("--kind, --sources and --tested are of a training set; give --train-set")
    generator = Path(args.embeddings[0]).stem
    what = f"fit {generator}"
    rows = read_rows(args.embeddings, args.splits, FITTING, what)
    train, val = rows.of("train"), rows.of("val")
    require_both_classes(train, f"{what}: train rows")
    require_both_classes(val, f"{what}: val rows")
    others = {
        Path(embeddings[0]).stem: read_rows(embeddings, splits, FITTING, f"{what}: rows to tune on")
        for embeddings, splits in zip(args.tune_embeddings, args.tune_splits, strict=True)
    }
    how = Fitting(args.grid, args.score, args.residual_kind, args.twin, args.seed)
    probes: list[StoredProbe] = []
    shared: Shared = {}
    with limited(args.threads):
        for feature_set in read_feature_sets(args.features):
            if not takes_part(feature_set, generator, own_pair=args.own_pair):
                continue
            second = feature_set.pair[1] if feature_set.pair else None
            data = Data(
                generator,
                train,
                val,
                second if second in others else None,
                others.get(second or ""),
            )
            if data.tune is not None:
                require_both_classes(
                    data.tune.take(data.tune.apart_from(train)),
                    f"{what}: rows of {second} whose group was not trained on",
                )
            fit = partial(fit_draws, data=data, how=how, shared=shared)
            probes += fit_choices(feature_set, fit)
            log.info(
                "%s: %s, accuracy %.3f on the rows tuned on",
                what, feature_set.feature_set, probes[-1].facts["val_accuracy"],
            )  # fmt: skip
    write_probes(args.output, probes)


def takes_part(feature_set: FeatureSet, generator: str, *, own_pair: bool) -> bool:
    """Whether probes of a generator are fitted on a feature set.

    Those that it did not give up to its selection; with `own_pair` the two of its pair alone, whose
    probes only the optimism of the search may read.
    """
    if own_pair:
        return generator in (feature_set.pair or ())
    return generator not in feature_set.excluded


def fit_training_set(args: argparse.Namespace) -> list[StoredProbe]:
    """Fit the probes of a training set on every feature set of a family."""
    import numpy as np

    from clipsieve.io.dataset import read_rows, require_both_classes
    from clipsieve.io.feature_sets import read_feature_sets
    from clipsieve.io.roles import FITTING
    from clipsieve.selection.seen import fit_choices
    from clipsieve.selection.training_set_probes import fit_training_set_draws

    what = f"fit {args.train_set}"
    if args.kind is None or not args.sources:
        raise UserError("--train-set: a training set needs --kind and --sources")
    if args.tune_embeddings:
        raise UserError("--tune-embeddings: a training set is tuned on its own val rows")
    if args.twin is not None:
        raise UserError("--twin: only probes of one generator have twins; leave out --train-set")
    sources = words_by_generator(args.sources, "--sources")
    rows = read_rows(args.embeddings, args.splits, FITTING, what)
    members = list(dict.fromkeys(rows.image_set[rows.label == 0].tolist()))
    real = set(rows.image_set[rows.label == 1].tolist())
    for member in members:
        if sources.get(member) not in real:
            raise UserError(
                f"--sources: the source of {member} is {sources.get(member)!r}; there are real"
                f" images of: {', '.join(sorted(real))}"
            )
    inside = sorted({*members} & {*args.tested})
    if inside:
        raise UserError(f"--tested: {inside[0]} is in the training set")
    probes = []
    for feature_set in read_feature_sets(args.features):
        given_up = set(feature_set.excluded)
        left = [name for name in members if name not in given_up]
        if len(left) < FEWEST or (args.tested and given_up.issuperset(args.tested)):
            log.info("%s: %s is left out, too little is left of it", what, feature_set.feature_set)
            continue
        image_sets = [*left, *(sources[name] for name in left)]
        mine = rows.take(np.isin(rows.image_set, image_sets))
        for split in FITTING:
            require_both_classes(mine.of(split), f"{what}: {split} rows")
        fit = partial(
            fit_training_set_draws, rows=mine, members=left, sources=sources, draws=args.draws,
            train_set=args.train_set, kind=args.kind, score=args.score,
        )  # fmt: skip
        probes += fit_choices(feature_set, fit, members=left, tested=args.tested)
        log.info(
            "%s: %s, %d generators, accuracy %.3f on val",
            what, feature_set.feature_set, len(left), probes[-1].facts["val_accuracy"],
        )  # fmt: skip
    return probes
