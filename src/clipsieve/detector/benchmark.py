"""Detectors side by side on somebody's own labelled images: metrics, errors by kind of file, calibration.

All intervals of one call come of the same resamples of groups, so that the difference between two
detectors has one, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from clipsieve.errors import UserError
from clipsieve.evaluation.bootstrap import degrees_of_freedom, resample_weights, strata_of
from clipsieve.evaluation.intervals import metric_intervals
from clipsieve.evaluation.metrics import ECE_BINS, METRICS, cell_metrics
from clipsieve.probes.scores import sigmoid

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

#: Metrics of the tables; `accuracy_at_val_threshold` is that at the detector's own threshold.
SHOWN = (
    "auc", "accuracy_at_val_threshold", "balanced_accuracy", "average_precision", "tpr_at_fpr_1",
    "brier", "log_loss", "ece",
)  # fmt: skip
#: Images of the shorter side, in pixels, from which a class of sizes begins.
SIZES = (0, 256, 512, 1024, 2048)
#: Fewer images of a class than this say too little of a subset.
FEWEST = 5


@dataclass(frozen=True)
class Candidate:
    """What one detector says of the images.

    Attributes
    ----------
    name : str
    logits : float64 [n]
        Large says real; of a detector that gives probabilities their log-odds. NaN where it gave
        none.
    threshold : float
        A logit at or below it says generated.
    verdicts : str [n], optional
        Of a detector that may be unsure.
    is_probability : bool
        Whether sigmoid(-logit) is meant as P(generated); only then is it judged as one.
    """

    name: str
    logits: NDArray[np.float64]
    threshold: float
    verdicts: NDArray[np.str_] | None = None
    is_probability: bool = True


def candidate_of_scores(name: str, scores: NDArray[np.float64]) -> Candidate:
    """Make a candidate of another detector's scores, of which large ones say generated.

    Parameters
    ----------
    name
        Its name in the tables.
    scores : float64 [n]
        Probabilities where all lie from 0 to 1 (threshold 0.5), else logits (threshold 0); NaN where
        there is none.

    Examples
    --------
    >>> candidate_of_scores("other", np.array([0.9, 0.1])).logits.round(3).tolist()
    [-2.197, 2.197]
    """
    known = scores[np.isfinite(scores)]
    if len(known) and known.min() >= 0.0 and known.max() <= 1.0:
        p = np.clip(scores, 1e-9, 1.0 - 1e-9)
        return Candidate(name, np.log1p(-p) - np.log(p), 0.0)
    return Candidate(name, -scores, 0.0, is_probability=False)


def evaluate_candidates(
    images: pd.DataFrame,
    candidates: Sequence[Candidate],
    *,
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Judge detectors on the images that all of them have scored.

    Parameters
    ----------
    images
        `label` (0 = generated, 1 = real), `group`, `format`, `width`, `height`; `generator` where it
        is known.
    candidates
        The first is the one that others are compared with.
    resamples, confidence, seed
        Of the bootstrap over groups.

    Returns
    -------
    metrics : DataFrame
        `detector`, `subset`, `metric`, `value`, `low`, `high`, `n_real`, `n_generated`. Subsets are
        `all`, `format <F>`, `size <from> to <to>` (shorter side in pixels) and `generator <g>`
        (with all real images), as far as they have `FEWEST` images of either label.
    differences : DataFrame
        `detector`, `metric`, `difference` from the first, `low`, `high`: on all images.

    Raises
    ------
    UserError
        A label is missing among the images that all have scored.
    """
    import pandas as pd

    kept = np.logical_and.reduce([np.isfinite(one.logits) for one in candidates])
    table = images[kept].reset_index(drop=True)
    for label, word in ((1, "real"), (0, "generated")):
        if not (table["label"] == label).any():
            raise UserError(f"evaluate-detector: no {word} image has a score of every detector")
    rows: list[dict[str, Any]] = []
    differences: list[dict[str, Any]] = []
    for subset, mask in subsets(table).items():
        part = _Part(table[mask], resamples, confidence, seed)
        drawn: list[NDArray[np.float64]] = []
        values: list[NDArray[np.float64]] = []
        for one in candidates:
            found, replicates = part.metrics(one.logits[kept][mask], one.threshold)
            low, high = part.intervals(found, replicates)
            drawn.append(replicates)
            values.append(found)
            for metric in SHOWN:
                m = METRICS.index(metric)
                if metric in ("brier", "log_loss", "ece") and not one.is_probability:
                    continue
                rows.append(part.row(one.name, subset, metric, found[m], low[m], high[m]))
            if one.verdicts is not None:
                rows += part.verdict_rows(one.name, subset, one.verdicts[kept][mask])
        if subset == "all":
            for k, one in enumerate(candidates[1:], 1):
                for metric in SHOWN[:4]:
                    m = METRICS.index(metric)
                    ends = part.percentiles(drawn[k][m] - drawn[0][m])
                    differences.append(
                        {
                            "detector": one.name,
                            "metric": metric,
                            "difference": float(values[k][m] - values[0][m]),
                            "low": ends[0],
                            "high": ends[1],
                        }
                    )
    columns = ["detector", "metric", "difference", "low", "high"]
    return pd.DataFrame(rows), pd.DataFrame(differences, columns=columns)


def subsets(table: pd.DataFrame) -> dict[str, NDArray[np.bool_]]:
    """Return which images each subset has; those with too few of a label are left out.

    Parameters
    ----------
    table
        As for `evaluate_candidates`.
    """
    real = (table["label"] == 1).to_numpy()
    found = {"all": np.ones(len(table), dtype=bool)}
    for name in sorted(set(table["format"].dropna())):
        found[f"format {name}"] = (table["format"] == name).to_numpy()
    side = table[["width", "height"]].min(axis=1).to_numpy()
    for low, high in zip(SIZES, (*SIZES[1:], np.inf), strict=True):
        title = f"size {low} to {high - 1:.0f}" if np.isfinite(high) else f"size {low} and more"
        found[title] = (side >= low) & (side < high)
    if "generator" in table:
        for name in sorted(set(table.loc[~real, "generator"].dropna())):
            found[f"generator {name}"] = real | (table["generator"] == name).to_numpy()
    return {
        name: mask
        for name, mask in found.items()
        if name == "all" or min((mask & real).sum(), (mask & ~real).sum()) >= FEWEST
    }


class _Part:
    """Some images, with the resamples of their groups."""

    def __init__(self, table: pd.DataFrame, resamples: int, confidence: float, seed: int) -> None:
        self.label = table["label"].to_numpy(dtype=np.int64)
        _, group = np.unique(table["group"].to_numpy(dtype=str), return_inverse=True)
        strata = strata_of(group, np.zeros(len(group), dtype=np.int64), self.label)
        self.weights = resample_weights(strata, resamples, seed)[group]
        self.freedom = degrees_of_freedom(strata, np.unique(group))
        self.confidence = confidence
        sides = {
            name: len(set(group[self.label == k])) for name, k in (("real", 1), ("generated", 0))
        }
        both = {"both": len(strata.of_group), "real_of_a_source": sides["real"]}
        self.groups = {**sides, **both}
        self.n = {
            "n_real": int((self.label == 1).sum()),
            "n_generated": int((self.label == 0).sum()),
        }

    def metrics(
        self, logits: NDArray[np.float64], threshold: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return all metrics [M] and their replicates [M, B]."""
        plain = cell_metrics(logits, self.label, threshold=threshold)
        drawn = cell_metrics(logits, self.label, threshold=threshold, weights=self.weights)
        return (
            np.array([plain[name][0] for name in METRICS]),
            np.stack([drawn[name] for name in METRICS]),
        )

    def intervals(
        self, values: NDArray[np.float64], replicates: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the ends of every metric's interval, [M] each."""
        low, high = metric_intervals(
            values, replicates, self.groups, confidence=self.confidence, freedom=self.freedom
        )
        return np.asarray(low, np.float64), np.asarray(high, np.float64)

    def percentiles(self, replicates: NDArray[np.float64]) -> tuple[float, float]:
        """Return the ends of a percentile interval."""
        tail = (1.0 - self.confidence) / 2.0
        low, high = np.nanquantile(replicates, [tail, 1.0 - tail])
        return float(low), float(high)

    def row(
        self, detector: str, subset: str, metric: str, value: float, low: float, high: float
    ) -> dict[str, Any]:
        """Return a row of the table."""
        return {
            "detector": detector,
            "subset": subset,
            "metric": metric,
            "value": float(value),
            "low": float(low),
            "high": float(high),
            **self.n,
        }

    def verdict_rows(
        self, detector: str, subset: str, verdicts: NDArray[np.str_]
    ) -> list[dict[str, Any]]:
        """Return shares of wrong verdicts, and of none, of either label."""
        rows = []
        for label, word, wrong in ((1, "real", "generated"), (0, "generated", "real")):
            own = self.label == label
            weights = self.weights[own]
            for verdict in (wrong, "unsure"):
                hit = (verdicts[own] == verdict).astype(np.float64)
                with np.errstate(invalid="ignore", divide="ignore"):
                    drawn = hit @ weights / weights.sum(axis=0)
                name = f"{word}_called_{verdict}" if verdict == wrong else f"{word}_unsure"
                ends = self.percentiles(drawn)
                rows.append(self.row(detector, subset, name, float(hit.mean()), *ends))
        return rows


def calibration_curve(candidate: Candidate, label: NDArray[np.int64]) -> list[dict[str, Any]]:
    """Return, in 15 equally wide bins of P(generated), its mean and the share of generated images.

    Parameters
    ----------
    candidate
        Its logits as log-odds.
    label : int64 [n]
        0 = generated.

    Returns
    -------
    list of dict
        `detector`, `low`, `high`, `probability`, `share`, `n`; empty bins are left out.
    """
    known = np.isfinite(candidate.logits)
    p = sigmoid(-candidate.logits[known])
    generated = label[known] == 0
    bins = np.minimum((p * ECE_BINS).astype(np.int64), ECE_BINS - 1)
    return [
        {
            "detector": candidate.name,
            "low": k / ECE_BINS,
            "high": (k + 1) / ECE_BINS,
            "probability": float(p[bins == k].mean()),
            "share": float(generated[bins == k].mean()),
            "n": int((bins == k).sum()),
        }
        for k in range(ECE_BINS)
        if (bins == k).any()
    ]


def match_scores(
    paths: Sequence[str], found: Mapping[str, float], folder: str, what: str
) -> NDArray[np.float64]:
    """Give each image its score by another detector, NaN where there is none.

    Parameters
    ----------
    paths
        The images' paths, relative to `folder`.
    found
        Path -> score; paths may be relative to the folder, absolute, or bare names where these occur
        once.
    folder, what
        The images' folder, and the name of the file for messages.

    Raises
    ------
    UserError
        No image has a score, or a bare name belongs to several images.
    """
    import os

    by_path = {os.path.normpath(path): score for path, score in found.items()}
    names: dict[str, int] = {}
    for path in paths:
        names[os.path.basename(path)] = names.get(os.path.basename(path), 0) + 1
    scores = np.full(len(paths), np.nan)
    for k, path in enumerate(paths):
        name = os.path.basename(path)
        for key in (path, os.path.join(folder, path), os.path.abspath(os.path.join(folder, path))):
            if os.path.normpath(key) in by_path:
                scores[k] = by_path[os.path.normpath(key)]
                break
        else:
            if name in by_path:
                if names[name] > 1:
                    raise UserError(
                        f"{what}: {name} is the name of {names[name]} images; give their paths"
                    )
                scores[k] = by_path[name]
    if not np.isfinite(scores).any():
        raise UserError(f"{what}: has a score of none of the {len(paths)} images in {folder}")
    return scores
