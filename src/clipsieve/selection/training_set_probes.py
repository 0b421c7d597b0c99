"""Probes of a training set of several generators on the draws of a feature set."""

from __future__ import annotations

from clipsieve.io.dataset import Rows
from clipsieve.io.feature_sets import FeatureSet
from clipsieve.io.probes import StoredProbe
from clipsieve.probes.pooled import Weights, fit_pooled_probe
from clipsieve.selection.seen import seen_by, stored_coefficients
from clipsieve.selection.training_sets import balanced_weights


def fit_training_set_draws(
    feature_set: FeatureSet,
    *,
    rows: Rows,
    members: list[str],
    sources: dict[str, str],
    draws: int,
    train_set: str,
    kind: str,
    score: str,
) -> list[StoredProbe]:
    """Fit the first `draws` draws of a feature set on the rows of several generators and of their sources."""
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

    def fitted(draw: int) -> StoredProbe:
        probe = fit_pooled_probe(
            seen_by(feature_set, draw, train), train.label,
            seen_by(feature_set, draw, val), val.label,
            weights, fit_intercept=feature_set.fit_intercept, score=score, groups=named,
        )  # fmt: skip
        return StoredProbe(
            feature_set=feature_set.feature_set,
            draw=draw,
            train=train_set,
            space=feature_set.space,
            columns=feature_set.draws[draw],
            coef=stored_coefficients(feature_set, draw, train, probe.coef),
            intercept=probe.intercept,
            threshold=probe.threshold,
            params=probe.params,
            facts={
                "n_train": len(train), "n_val": len(val), "n_tune": len(val),
                "tuned_on": train_set, "val_accuracy": probe.val_accuracy,
                "thresholds": probe.threshold_facts, "residual_kind": None,
            },
            operating_points=probe.operating_points,
            training=kind,
            members=members,
        )  # fmt: skip

    return [fitted(draw) for draw in range(min(len(feature_set.draws), draws))]
