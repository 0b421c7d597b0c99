"""What a detector may say of itself, from its logits on test images of generators new to it.

A generator that was trained on is judged by the other members alone (`clipsieve.detector.held_out`):
leaving each out in turn says what the detector does on a generator that it has not seen.
"""

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
    lower_limit,
)
from clipsieve.detector.held_out import HeldOut, group_names, stacked

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from clipsieve.io.scores import AllScores

#: Metrics that a detector reports of itself.
REPORTED = ("accuracy_at_val_threshold", "accuracy", "balanced_accuracy", "auc")
#: Rates of false alarms of which a detector holds the operating point.
RATES = (0.001, 0.005, 0.01, 0.02, 0.05, 0.1)
#: Parts into which groups are divided where something is fitted on some and judged on the others.
FOLDS = 5


@dataclass(frozen=True)
class Evidence:
    """Calibration, band, operating points and expected performance, and what they rest on."""

    threshold: float
    calibration: Platt
    band: Band
    points: dict[float, float | None]
    facts: dict[str, Any]


def gather_evidence(
    scores: AllScores,
    found: HeldOut,
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
    found : HeldOut
        Of these scores.
    rate : float, default 0.05
        Largest share of real images called generated, and of generated called real.
    resamples, confidence, seed
        Of the bootstrap over groups; the defaults are those of the evaluation, so that a detector
        of one generator says of itself what the run's cells say.

    Returns
    -------
    Evidence
        Where no generator could be left out, `facts["held_out"]` of each part is false.

    Notes
    -----
    Limits for real images come from the whole detector's logits, which has seen none of the test
    images; those for generated images from the logits of the members without their generator.
    Rates that are reported are cross-fitted: limits are found without the groups that they judge.
    """
    images = scores.images
    z, real, sets, group = stacked(found, scores)
    weights = balanced_weights(sets, real)
    calibration = fit_platt(z, real, weights)
    sources = np.unique(images.source[np.isin(images.image_set, found.tested)])
    reals = (images.label == 1) & np.isin(images.image_set, sources)
    ours, our_groups = found.whole[reals], group_names(scores)[reals]
    band = abstain_band(
        ours, z[~real],
        rate=rate, threshold=found.threshold,
        real_groups=our_groups, generated_groups=group[~real],
    )  # fmt: skip
    points = {}
    for alarms in RATES:
        limit = lower_limit(ours, alarms, our_groups)
        points[alarms] = limit if np.isfinite(limit) else None
    fitted = {
        "held_out": found.held_out,
        "generators": found.tested,
        "n_real": int(reals.sum()),
        "n_generated": int((~real).sum()),
    }
    return Evidence(
        found.threshold,
        calibration,
        band,
        points,
        {
            "calibration": {
                "method": "Platt scaling; both labels, and the generators, weigh the same",
                **fitted,
                **_calibration_errors(z, real, sets, group),
            },
            "band": {
                "rate": rate,
                **fitted,
                "per_generator": _left_out_verdicts(
                    ours, our_groups, z, real, sets, group, rate, found.threshold
                ),
                "real": _cross_fitted_reals(
                    ours, our_groups, z[~real], group[~real], rate, found.threshold
                ),
            },
            "points": {
                "groups": len(np.unique(our_groups)),
                "rates": _point_facts(ours, our_groups, points, z[~real], sets[~real]),
            },
            "expected": _expected(scores, found, resamples, confidence, seed)
            | {"held_out": found.held_out},
        },
    )


def _parts(group: NDArray) -> NDArray[np.int64]:
    """Divide groups into `FOLDS` parts by a fixed shuffle; the part of each image."""
    _, code = np.unique(group, return_inverse=True)
    order = np.random.default_rng(0).permutation(int(code.max()) + 1)
    return np.asarray(order[code] % FOLDS, dtype=np.int64)


def _calibration_errors(
    z: NDArray, real: NDArray, sets: NDArray, group: NDArray
) -> dict[str, float | None]:
    """Mean calibration error over generators of the plain logistic, and cross-fitted after it."""
    before, after = [], []
    for name, probability in cross_fitted(z, real, sets, group, folds=FOLDS).items():
        mine = ~real & (sets == name) | real & np.char.endswith(sets, f" for {name}")
        rows = np.isfinite(probability) & mine
        weights = balanced_weights(sets[rows], real[rows])
        plain = Platt(1.0, 0.0).generated(z[rows])
        before.append(calibration_error(plain, ~real[rows], weights))
        after.append(calibration_error(probability[rows], ~real[rows], weights))
    return {
        "ece_before": float(np.mean(before)) if before else None,
        "ece_after_cross_fitted": float(np.mean(after)) if after else None,
    }


def _shares(verdicts: NDArray) -> dict[str, float]:
    names = {"called_generated": "generated", "unsure": "unsure", "called_real": "real"}
    found = {key: float((verdicts == word).mean()) for key, word in names.items()}
    return {**found, "n": len(verdicts)}


def _left_out_verdicts(
    ours: NDArray,
    our_groups: NDArray,
    z: NDArray,
    real: NDArray,
    sets: NDArray,
    group: NDArray,
    rate: float,
    threshold: float,
) -> dict[str, dict[str, float]]:
    """Shares of verdicts on each generator under a band that its images had no part in."""
    found = {}
    for name in np.unique(sets[~real]).tolist():
        own = ~real & (sets == name)
        others = ~real & (sets != name)
        if not others.any():
            continue
        band = abstain_band(
            ours, z[others],
            rate=rate, threshold=threshold, real_groups=our_groups, generated_groups=group[others],
        )  # fmt: skip
        found[name] = _shares(band.verdicts(z[own]))
    return found


def _cross_fitted_reals(
    ours: NDArray,
    our_groups: NDArray,
    generated: NDArray,
    groups: NDArray,
    rate: float,
    threshold: float,
) -> dict[str, float]:
    """Shares of verdicts on real images under bands that their groups had no part in."""
    part = _parts(our_groups)
    verdicts = np.full(len(ours), "unsure", dtype="<U9")
    for fold in np.unique(part):
        kept, shown = part != fold, part == fold
        apart = ~np.isin(groups, our_groups[shown])
        band = abstain_band(
            ours[kept], generated[apart],
            rate=rate, threshold=threshold,
            real_groups=our_groups[kept], generated_groups=groups[apart],
        )  # fmt: skip
        verdicts[shown] = band.verdicts(ours[shown])
    return _shares(verdicts)


def _point_facts(
    ours: NDArray,
    our_groups: NDArray,
    points: dict[float, float | None],
    generated: NDArray,
    sets: NDArray,
) -> dict[str, Any]:
    """For each rate: false alarms, cross-fitted by group, and the mean share caught of generators."""
    part = _parts(our_groups)
    found: dict[str, Any] = {}
    for rate, limit in points.items():
        if limit is None:
            found[f"{rate:g}"] = None
            continue
        called = np.zeros(len(ours), dtype=bool)
        for fold in np.unique(part):
            kept, shown = part != fold, part == fold
            called[shown] = ours[shown] < lower_limit(ours[kept], rate, our_groups[kept])
        caught = {
            name: float((generated[sets == name] < limit).mean())
            for name in np.unique(sets).tolist()
        }
        found[f"{rate:g}"] = {
            "logit": limit,
            "false_alarms_cross_fitted": float(called.mean()),
            "caught": float(np.mean(list(caught.values()))),
            "caught_per_generator": caught,
        }
    return found


def _expected(
    scores: AllScores, found: HeldOut, resamples: int, confidence: float, seed: int
) -> dict[str, Any]:
    """Mean over left-out generators, with intervals over photographs and over generators."""
    from clipsieve.evaluation.bootstrap import degrees_of_freedom
    from clipsieve.evaluation.cells import cell_intervals
    from clipsieve.evaluation.comparisons import over_new
    from clipsieve.evaluation.generators import deletions_of_tested, generator_spread
    from clipsieve.evaluation.intervals import metric_intervals
    from clipsieve.evaluation.matrix import layout_of
    from clipsieve.evaluation.means import mean_over_cells
    from clipsieve.evaluation.metrics import METRICS
    from clipsieve.evaluation.several import several_rows

    layout = layout_of(scores.images, resamples=resamples, seed=seed)
    several = several_rows(found.rows, layout)
    assert several is not None
    per_generator: dict[str, dict[str, Any]] = {}
    for row in several.rows:
        lows, highs = cell_intervals(row, layout, confidence=confidence, method="studentized")
        per_generator[row.test[0]] = {
            metric: _entry(row.values[m, 0, 0], lows[m, 0, 0], highs[m, 0, 0])
            for metric in REPORTED
            for m in (METRICS.index(metric),)
        }
    means = mean_over_cells(several.whole, {"all": several.there}, layout)
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
    cells, values, drawn = means.cell_values(0)
    maps = deletions_of_tested(cells)
    new = None
    if maps is not None:
        variance = means.replicates[:, 0].var(axis=-1, ddof=1, dtype=np.float64)
        spread = generator_spread(maps, values, drawn, variance)
        new = over_new(means.values[:, 0], spread, confidence)
    result: dict[str, Any] = {"per_generator": per_generator}
    for metric in REPORTED:
        m = METRICS.index(metric)
        entry = _entry(means.values[m, 0], low[m], high[m])
        for end in ("low", "high"):
            number = np.nan if new is None else float(np.clip(new[f"generators_{end}"][m], 0, 1))
            entry[f"generators_{end}"] = number if np.isfinite(number) else None
        result[metric] = entry
    accuracy = {
        name: entry["accuracy_at_val_threshold"]["value"] for name, entry in per_generator.items()
    }
    sources = {layout.source[name] for name in found.tested}
    used = np.concatenate([layout.columns[name] for name in (*found.tested, *sorted(sources))])
    return result | {
        "worst_generator": min(accuracy, key=lambda name: accuracy[name]),
        "n": len(used),
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
