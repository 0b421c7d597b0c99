"""What a detector may say of itself, from its logits on test images of generators new to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from clipsieve.detector.calibration import (
    Band,
    Platt,
    abstain_band,
    balanced_weights,
    calibration_error,
    cross_fitted,
    fit_platt,
)
from clipsieve.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from clipsieve.io.scores import AllScores

#: Metrics that a detector reports of itself.
REPORTED = ("accuracy_at_val_threshold", "accuracy", "auc")


@dataclass(frozen=True)
class Evidence:
    """Calibration, band and expected performance of a detector, and what they rest on."""

    threshold: float
    calibration: Platt
    band: Band
    facts: dict[str, Any]


def gather_evidence(
    scores: AllScores,
    feature_set: str,
    train: Sequence[str],
    *,
    rate: float = 0.05,
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Evidence:
    """Calibrate a detector and measure it on test images.

    Parameters
    ----------
    scores : AllScores
        Score files of one encoder and seed.
    feature_set : str
        Which; its draw 0.
    train : sequence of str
        Generators whose probes make the detector; the mean of their logits is judged.
    rate : float, default 0.05
        Largest share of real images called generated, and of generated called real.
    resamples, confidence, seed
        Of the bootstrap over groups; the defaults are those of the evaluation, so that a detector
        of one generator says of itself what the run's cells say.

    Returns
    -------
    Evidence
        Only generators that were not trained on are used; where there is none, those trained on,
        and `facts["held_out"]` is false.

    Raises
    ------
    UserError
        If the scores lack a probe or have no generated or real images.
    """
    mine = [s for s in scores.scores if s.feature_set == feature_set and s.draw == 0]
    if not mine:
        known = ", ".join(sorted({s.feature_set for s in scores.scores}))
        raise UserError(f"detector: no scores of the feature set {feature_set}; there are {known}")
    missing = sorted(set(train) - set(mine[0].train))
    if missing:
        raise UserError(
            f"detector: no scores of {feature_set} trained on {missing[0]}; there are"
            f" {', '.join(mine[0].train)}"
        )
    rows = [mine[0].train.index(name) for name in train]
    logits = mine[0].logits[rows].mean(axis=0)
    threshold = float(np.mean(mine[0].threshold[rows]))
    images = scores.images
    scored = np.isfinite(logits)
    real = images.label == 1
    new = scored & ~real & ~np.isin(images.image_set, list(train))
    held_out = bool(new.any())
    generated = new if held_out else scored & ~real
    sources = np.unique(images.source[generated])
    used = generated | (scored & real & np.isin(images.image_set, sources))
    if not (used & real).any() or not (used & ~real).any():
        raise UserError("detector: the scores need both real and generated test images")
    z, y, sets = logits[used], real[used], images.image_set[used]
    weights = balanced_weights(sets, y)
    calibration = fit_platt(z, y, weights)
    band = abstain_band(z[y], z[~y], rate=rate, threshold=threshold)
    fitted = {
        "held_out": held_out,
        "generators": np.unique(sets[~y]).tolist(),
        "n_real": int(y.sum()),
        "n_generated": int((~y).sum()),
    }
    return Evidence(
        threshold,
        calibration,
        band,
        {
            "calibration": {
                "method": "Platt scaling; both labels, and the generators, weigh the same",
                **fitted,
                **_calibration_errors(z, y, sets, images.group[used]),
            },
            "band": {
                "rate": rate,
                **fitted,
                "per_generator": _left_out_verdicts(z, y, sets, rate, threshold),
                "real_unsure": float((band.verdicts(z[y]) == "unsure").mean()),
            },
            "expected": _expected(scores, logits, used, threshold, resamples, confidence, seed)
            | {"held_out": held_out},
        },
    )


def _calibration_errors(
    z: NDArray, real: NDArray, sets: NDArray, group: NDArray
) -> dict[str, float | None]:
    """Mean calibration error over generators of the plain logistic, and cross-fitted after it."""
    before, after = [], []
    for probability in cross_fitted(z, real, sets, group).values():
        rows = np.isfinite(probability)
        weights = balanced_weights(sets[rows], real[rows])
        plain = Platt(1.0, 0.0).generated(z[rows])
        before.append(calibration_error(plain, ~real[rows], weights))
        after.append(calibration_error(probability[rows], ~real[rows], weights))
    return {
        "ece_before": float(np.mean(before)) if before else None,
        "ece_after_cross_fitted": float(np.mean(after)) if after else None,
    }


def _left_out_verdicts(
    z: NDArray, real: NDArray, sets: NDArray, rate: float, threshold: float
) -> dict[str, dict[str, float]]:
    """Shares of verdicts on each generator under a band that its images had no part in."""
    generators = np.unique(sets[~real]).tolist()
    found = {}
    for name in generators:
        own = ~real & (sets == name)
        others = ~real & (sets != name)
        if not others.any():
            continue
        band = abstain_band(z[real], z[others], rate=rate, threshold=threshold)
        verdicts = band.verdicts(z[own])
        found[name] = {
            "called_generated": float((verdicts == "generated").mean()),
            "unsure": float((verdicts == "unsure").mean()),
            "called_real": float((verdicts == "real").mean()),
            "n": int(own.sum()),
        }
    return found


def _expected(
    scores: AllScores,
    logits: NDArray,
    used: NDArray,
    threshold: float,
    resamples: int,
    confidence: float,
    seed: int,
) -> dict[str, Any]:
    """Mean over generators of the cells of the detector's row, with group-bootstrap intervals."""
    from clipsieve.evaluation.bootstrap import degrees_of_freedom
    from clipsieve.evaluation.cells import cell_intervals
    from clipsieve.evaluation.intervals import metric_intervals
    from clipsieve.evaluation.matrix import layout_of, transfer_matrix
    from clipsieve.evaluation.means import mean_over_cells
    from clipsieve.evaluation.metrics import METRICS
    from clipsieve.io.scores import Scores

    layout = layout_of(scores.images, resamples=resamples, seed=seed)
    row = Scores(
        "detector", 0, ["detector"], np.where(used, logits, np.nan)[None], np.array([threshold])
    )
    matrix = transfer_matrix(row, layout)
    lows, highs = cell_intervals(matrix, layout, confidence=confidence, method="studentized")
    means = mean_over_cells(matrix, {"all": np.ones((1, len(matrix.test)), bool)}, layout)
    assert means.replicates is not None
    assert means.influence is not None
    low, high = metric_intervals(
        means.values[:, 0],
        means.replicates[:, 0],
        means.class_groups[0],
        confidence=confidence,
        influence=means.influence[:, 0],
        freedom=degrees_of_freedom(layout.strata, means.groups[0]),
    )
    found: dict[str, Any] = {"per_generator": {name: {} for name in matrix.test}}
    for metric in REPORTED:
        m = METRICS.index(metric)
        found[metric] = _entry(means.values[m, 0], low[m], high[m])
        for j, name in enumerate(matrix.test):
            entry = _entry(matrix.values[m, 0, j], lows[m, 0, j], highs[m, 0, j])
            found["per_generator"][name][metric] = entry
    at = METRICS.index("accuracy_at_val_threshold")
    worst = int(np.argmin(matrix.values[at, 0]))
    return found | {
        "worst_generator": matrix.test[worst],
        "n": int(used.sum()),
        "groups": len(np.unique(layout.group[used])),
        "confidence": confidence,
        "resamples": resamples,
    }


def _entry(value: float, low: float, high: float) -> dict[str, float | None]:
    """Return a metric with its interval, JSON-able: None where there is no interval."""
    ends = {"low": low, "high": high}
    return {
        "value": float(value),
        **{name: float(end) if np.isfinite(end) else None for name, end in ends.items()},
    }
