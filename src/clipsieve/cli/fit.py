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
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipsieve import families
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
from clipsieve.families import TWIN
from clipsieve.io.training import FEWEST, KINDS, ONE

if TYPE_CHECKING:
    from clipsieve.io.dataset import Rows
    from clipsieve.io.feature_sets import FeatureSet
    from clipsieve.io.probes import StoredProbe
    from clipsieve.probes import Probe, TuneRows
    from clipsieve.probes.pooled import Weights

    Fitted = tuple[Probe, Any]

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
    probes = []
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
            probes += fit_choices(feature_set, partial(fit_draws, data=data, args=args))
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
        fit = partial(_fit_pooled, rows=mine, members=left, sources=sources, args=args)
        probes += fit_choices(feature_set, fit, members=left, tested=args.tested)
        log.info(
            "%s: %s, %d generators, accuracy %.3f on val",
            what, feature_set.feature_set, len(left), probes[-1].facts["val_accuracy"],
        )  # fmt: skip
    return probes


def _fit_pooled(
    feature_set: FeatureSet,
    rows: Rows,
    members: list[str],
    sources: dict[str, str],
    args: argparse.Namespace,
) -> list[StoredProbe]:
    """Fit the draws of a feature set on the rows of several generators and of their sources."""
    from clipsieve.probes.pooled import Weights
    from clipsieve.selection.training_sets import balanced_weights

    train, val = rows.of("train"), rows.of("val")
    both = train.label.tolist() + val.label.tolist()
    domains = train.image_set.tolist() + val.image_set.tolist()
    weights = Weights(
        balanced_weights(train.label, train.image_set),
        balanced_weights(val.label, val.image_set),
        balanced_weights(both, domains),
    )

    def groups(part: Rows) -> list[str]:  # equal names of two sources are two groups
        origin = (sources.get(name, name) for name in part.image_set.tolist())
        return [f"{s}/{name}" for s, name in zip(origin, part.group.tolist(), strict=True)]

    named = groups(train), groups(val)
    draws = range(min(len(feature_set.draws), args.draws))
    return [
        _pooled_draw(feature_set, draw, (train, val), weights, named, members, args)
        for draw in draws
    ]


def _pooled_draw(
    feature_set: FeatureSet,
    draw: int,
    rows: tuple[Rows, Rows],
    weights: Weights,
    groups: tuple[list[str], list[str]],
    members: list[str],
    args: argparse.Namespace,
) -> StoredProbe:
    from clipsieve.io.probes import StoredProbe
    from clipsieve.probes.pooled import fit_pooled_probe
    from clipsieve.selection.seen import seen_by, stored_coefficients

    train, val = rows
    probe = fit_pooled_probe(
        seen_by(feature_set, draw, train), train.label,
        seen_by(feature_set, draw, val), val.label,
        weights, fit_intercept=feature_set.fit_intercept, score=args.score, groups=groups,
    )  # fmt: skip
    return StoredProbe(
        feature_set=feature_set.feature_set,
        draw=draw,
        train=args.train_set,
        space=feature_set.space,
        columns=feature_set.draws[draw],
        coef=stored_coefficients(feature_set, draw, train, probe.coef),
        intercept=probe.intercept,
        threshold=probe.threshold,
        params=probe.params,
        facts={
            "n_train": len(train), "n_val": len(val), "n_tune": len(val),
            "tuned_on": args.train_set, "val_accuracy": probe.val_accuracy,
            "thresholds": probe.threshold_facts, "residual_kind": None,
        },
        operating_points=probe.operating_points,
        training=args.kind,
        members=members,
    )  # fmt: skip


@dataclass(frozen=True)
class Data:
    """Rows that the probes of one generator are fitted and tuned on; `tune` is None for its own val."""

    generator: str
    train: Rows
    val: Rows
    tuned_on: str | None = None
    tune: Rows | None = None

    def groups(self) -> tuple[Any, Any]:
        """Return the groups of train and val rows."""
        return self.train.group, self.val.group

    def tune_rows(self, X: Any) -> TuneRows | None:
        """Return the rows to tune on with their features; groups of another source get other names."""
        from clipsieve.probes import TuneRows

        if self.tune is None:
            return None
        group: Any = self.tune.group
        if not self.tune.shares_groups_with(self.train):
            group = [f"{self.tuned_on}/{name}" for name in group]
        return TuneRows(X, self.tune.label, group, self.tune.apart_from(self.train))


def fit_draws(feature_set: FeatureSet, data: Data, args: argparse.Namespace) -> list[StoredProbe]:
    """Fit the probes of every draw of a feature set on one generator, and its twin where asked for.

    The draws of a control have thresholds from the fit on train alone: they are there to be ranked
    among, and folds would take five fits of six. The twin of a set is its probe made as those of its
    control's draws are, on the grid `--twin`; ranks compare the draws with it.
    """
    drawn = families.get(feature_set.family).drawn
    draws = range(len(feature_set.draws))
    subsets = [columns for columns in feature_set.draws if columns is not None]
    together = (
        drawn
        and args.grid == "fast"
        and feature_set.space == "embedding"
        and not feature_set.shuffle
        and not feature_set.directions  # those change what is seen, column by column
        and len(subsets) == len(draws)
    )
    if together:
        from clipsieve.probes.batch import fit_probes

        train, val = data.train, data.val
        found: Iterator[Fitted] = (
            (probe, None)
            for probe in fit_probes(
                train.embedding, train.label, val.embedding, val.label, subsets,
                fit_intercept=feature_set.fit_intercept, score=args.score,
            )
        )  # fmt: skip
    else:
        found = (
            _fit(feature_set, draw, data, args, args.grid, cross_fit=not drawn) for draw in draws
        )
    probes = [
        _stored(feature_set, draw, data, args, fitted)
        for draw, fitted in zip(draws, found, strict=True)
    ]
    if args.twin is not None:
        fitted = _fit(feature_set, 0, data, args, args.twin, cross_fit=False)
        probes.insert(0, _stored(feature_set, TWIN, data, args, fitted))
    return probes


def _fit(
    feature_set: FeatureSet,
    draw: int,
    data: Data,
    args: argparse.Namespace,
    grid: str,
    *,
    cross_fit: bool,
) -> Fitted:
    """Fit one probe; returns the residual that its feature was made with, too."""
    from clipsieve.probes import fit_probe, fit_residual_probe, residual
    from clipsieve.selection.seen import seen_by

    train, val = data.train, data.val
    columns, direction = feature_set.draws[draw], None
    if feature_set.space == "residual":
        X = train.embedding if columns is None else train.embedding[:, columns]
        direction = residual(X, train.label)
    X_train, X_val = (
        seen_by(feature_set, draw, rows, residual=direction, residual_kind=args.residual_kind)
        for rows in (train, val)
    )
    y_train, y_val = _labels(feature_set, draw, data, args.seed)
    fitted = (X_train, y_train, X_val, y_val)
    options: dict[str, Any] = {"score": args.score, "groups": data.groups()}
    own = families.get(feature_set.family).classifier
    if own is not None:
        return families.load(own)(*fitted, **options), direction
    options |= {
        "grid": grid, "fit_intercept": feature_set.fit_intercept, "cross_fit": cross_fit
    }  # fmt: skip
    if feature_set.space == "residual":
        return fit_residual_probe(*fitted, **options), direction
    if data.tune is not None:
        options["tune"] = data.tune_rows(seen_by(feature_set, draw, data.tune))
    return fit_probe(*fitted, **options), direction


def _stored(
    feature_set: FeatureSet, draw: int, data: Data, args: argparse.Namespace, fitted: Fitted
) -> StoredProbe:
    from clipsieve.io.probes import StoredProbe
    from clipsieve.selection.seen import stored_coefficients

    probe, direction = fitted
    tuned = data.val if data.tune is None else data.tune.take(data.tune.apart_from(data.train))
    source = max(draw, 0)  # a twin is made of the set itself
    return StoredProbe(
        feature_set=feature_set.feature_set,
        draw=draw,
        train=data.generator,
        space=feature_set.space,
        columns=feature_set.draws[source],
        coef=stored_coefficients(feature_set, source, data.train, probe.coef),
        intercept=probe.intercept,
        threshold=probe.threshold,
        params=probe.params,
        facts={
            "n_train": len(data.train), "n_val": len(data.val), "n_tune": len(tuned),
            "tuned_on": data.tuned_on or data.generator,
            "val_accuracy": probe.val_accuracy, "thresholds": probe.threshold_facts,
            "residual_kind": args.residual_kind if feature_set.space == "residual" else None,
        },
        operating_points=probe.operating_points,
        residual=direction,
    )  # fmt: skip


def _labels(feature_set: FeatureSet, draw: int, data: Data, seed: int) -> tuple[Any, Any]:
    """Return the labels of train and val rows, permuted where the feature set asks for it."""
    from clipsieve.io.files import seed_of
    from clipsieve.selection.filters import shuffled_labels

    if not feature_set.shuffle:
        return data.train.label, data.val.label
    # by name, so that generators of equal size do not share their permutations
    own = seed_of(seed, draw, data.generator)
    parts = (
        shuffled_labels(rows.label, 1, seed=own, groups=rows.group)[0]
        for rows in (data.train, data.val)
    )
    return next(parts), next(parts)
