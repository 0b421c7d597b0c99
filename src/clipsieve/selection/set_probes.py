"""Probes of one generator on every draw of a feature set: hyperparameters, final fit, thresholds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from clipsieve import families
from clipsieve.families import TWIN
from clipsieve.io.dataset import Rows
from clipsieve.io.feature_sets import FeatureSet
from clipsieve.io.files import seed_of
from clipsieve.io.probes import StoredProbe
from clipsieve.probes import Probe, SharedFits, TuneRows, fit_probe, fit_residual_probe, residual
from clipsieve.probes.batch import fit_probes
from clipsieve.selection.filters import shuffled_labels
from clipsieve.selection.seen import seen_by, stored_coefficients

Fitted = tuple[Probe, Any]
#: Fits of all columns that feature sets of one job share, by grid and intercept.
Shared = dict[tuple[str, bool], SharedFits]


@dataclass(frozen=True)
class Fitting:
    """How probes are fitted.

    Attributes
    ----------
    grid : `paper` or `fast`.
    score : what hyperparameters are chosen by (`clipsieve.probes.scores.SCORES`).
    residual_kind : feature of residual probes, `cosine` or `dot`.
    twin : grid of a set's twin, for ranks among its control's draws; None for no twin.
    seed : of label permutations.
    """

    grid: str
    score: str
    residual_kind: str = "cosine"
    twin: str | None = None
    seed: int = 0


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
        if self.tune is None:
            return None
        group: Any = self.tune.group
        if not self.tune.shares_groups_with(self.train):
            group = [f"{self.tuned_on}/{name}" for name in group]
        return TuneRows(X, self.tune.label, group, self.tune.apart_from(self.train))


def fit_draws(
    feature_set: FeatureSet, data: Data, how: Fitting, shared: Shared | None = None
) -> list[StoredProbe]:
    """Fit the probes of every draw of a feature set on one generator, and its twin where asked for.

    The draws of a control have thresholds from the fit on train alone: they are there to be ranked
    among, and folds would take five fits of six. So has the baseline that is tuned on the validation
    generator of each pair. The twin of a set is its probe made as those of its control's draws are, on
    the grid `how.twin`; ranks compare the draws with it.

    Parameters
    ----------
    feature_set
        Its columns or heads, by draw.
    data
        Rows of the generator and of its source, and those to tune on.
    how
        Grid, score, and the like.
    shared
        Fits that other feature sets of the same generator made; new ones are added to it.

    Returns
    -------
    list of StoredProbe
        The twin first, where one is asked for, then a probe a draw.
    """
    record = families.get(feature_set.family)
    drawn = record.drawn
    draws = range(len(feature_set.draws))
    subsets = [columns for columns in feature_set.draws if columns is not None]
    together = (
        drawn
        and how.grid == "fast"
        and feature_set.space == "embedding"
        and not feature_set.shuffle
        and not feature_set.directions
        and len(subsets) == len(draws)
    )
    if together:
        train, val = data.train, data.val
        found: Iterator[Fitted] = (
            (probe, None)
            for probe in fit_probes(
                train.embedding, train.label, val.embedding, val.label, subsets,
                fit_intercept=feature_set.fit_intercept, score=how.score,
            )
        )  # fmt: skip
    else:
        folds = not (drawn or record.tuned_on_partner)
        found = (
            _fit(feature_set, draw, data, how, how.grid, cross_fit=folds, shared=shared)
            for draw in draws
        )
    probes = [
        _stored(feature_set, draw, data, how, fitted)
        for draw, fitted in zip(draws, found, strict=True)
    ]
    if how.twin is not None:
        fitted = _fit(feature_set, 0, data, how, how.twin, cross_fit=False)
        probes.insert(0, _stored(feature_set, TWIN, data, how, fitted))
    return probes


def _fit(
    feature_set: FeatureSet,
    draw: int,
    data: Data,
    how: Fitting,
    grid: str,
    *,
    cross_fit: bool,
    shared: Shared | None = None,
) -> Fitted:
    """Fit one probe; returns the residual that its feature was made with, too."""
    train, val = data.train, data.val
    columns, direction = feature_set.draws[draw], None
    if feature_set.space == "residual":
        X = train.embedding if columns is None else train.embedding[:, columns]
        direction = residual(X, train.label)
    X_train, X_val = (
        seen_by(feature_set, draw, rows, residual=direction, residual_kind=how.residual_kind)
        for rows in (train, val)
    )
    y_train, y_val = _labels(feature_set, draw, data, how.seed)
    fitted = (X_train, y_train, X_val, y_val)
    options: dict[str, Any] = {"score": how.score, "groups": data.groups()}
    own = families.get(feature_set.family).classifier
    if own is not None:
        return families.load(own)(*fitted, **options), direction
    options |= {
        "grid": grid, "fit_intercept": feature_set.fit_intercept, "cross_fit": cross_fit
    }  # fmt: skip
    if feature_set.space == "residual":
        return fit_residual_probe(*fitted, **options), direction
    whole = columns is None and feature_set.space == "embedding"
    if shared is not None and whole and not feature_set.shuffle and not feature_set.directions:
        options["shared"] = shared.setdefault((grid, feature_set.fit_intercept), SharedFits())
    if data.tune is not None:
        options["tune"] = data.tune_rows(seen_by(feature_set, draw, data.tune))
    return fit_probe(*fitted, **options), direction


def _stored(
    feature_set: FeatureSet, draw: int, data: Data, how: Fitting, fitted: Fitted
) -> StoredProbe:
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
            "residual_kind": how.residual_kind if feature_set.space == "residual" else None,
        },
        operating_points=probe.operating_points,
        residual=direction,
    )  # fmt: skip


def _labels(feature_set: FeatureSet, draw: int, data: Data, seed: int) -> tuple[Any, Any]:
    """Return the labels of train and val rows, permuted where the feature set asks for it."""
    if not feature_set.shuffle:
        return data.train.label, data.val.label
    # by name, so that generators of equal size do not share their permutations
    own = seed_of(seed, draw, data.generator)
    parts = (
        shuffled_labels(rows.label, 1, seed=own, groups=rows.group)[0]
        for rows in (data.train, data.val)
    )
    return next(parts), next(parts)
