"""Do 95 % intervals cover in 95 % of cases, and are p values uniform where nothing is to be found?

Simulates transfer matrices whose true metrics are known in closed form, puts them through the same
functions as `clipsieve evaluate`, and counts. Run `python bench/coverage.py --help`; the results
stand in docs/method/statistics.md.

The model: the logit of probe i on an image of set j is N(+-mu_ij, 1), plus for real and minus for
generated images. Its noise has a part of the photograph (shared by the photograph, everything
generated from it, and all probes), a part of the image (shared by all probes and feature sets), and
a part of its own.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass

import numpy as np
from scipy import integrate, stats

from clipsieve.evaluation import means
from clipsieve.evaluation.bootstrap import INTERVALS, resample_weights
from clipsieve.evaluation.cells import cell_intervals
from clipsieve.evaluation.comparisons import Comparer
from clipsieve.evaluation.matrix import Layout, layout_of, transfer_matrix
from clipsieve.evaluation.metrics import ECE_BINS, METRICS
from clipsieve.evaluation.scores import Images, Scores
from clipsieve.evaluation.significance import SignFlips

GENERATORS = ("a", "b", "c")
FAMILIES = dict.fromkeys(GENERATORS, "gan")
OF_PHOTOGRAPH, OF_IMAGE = 0.2, 0.5  # shares of the noise's variance


@dataclass(frozen=True)
class Design:
    """What is simulated.

    Attributes
    ----------
    groups
        Test photographs; each gives one image of every generator, or, unpaired, every image set has
        so many groups of its own.
    paired
        Whether generated images belong to photographs.
    mu
        Distance of the mean logits from 0, of real and generated images: [P, J, 2].
    """

    groups: int
    paired: bool
    mu: np.ndarray


def design(groups: int, paired: bool = True, mean: float = 1.0) -> Design:
    """Cells of graded difficulty around `mean`; accuracy is the normal distribution function of mu."""
    steps = np.linspace(-0.4, 0.4, 3)
    mu = mean + steps[:, None, None] * 0.5 + steps[None, :, None] + np.array([0.15, -0.15])
    # a real image has one logit, whatever generator it is held against
    mu[:, :, 0] = mu[:, :1, 0]
    return Design(groups, paired, mu)


def images_of(chosen: Design) -> Images:
    """Test images: one source and three generators."""
    rows = []
    for name in ("s", *GENERATORS):
        for g in range(chosen.groups):
            group = f"{g}" if chosen.paired else f"{name}{g}"
            rows.append((f"{name}/{g}", name, "s", group, int(name == "s")))
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    return Images(*columns[:4], label=columns[4].astype(np.int64))


def simulate(
    chosen: Design, layout: Layout, images: Images, rng: np.random.Generator, mus: list[np.ndarray]
) -> list[Scores]:
    """Scores of one feature set for each of `mus`, on the same images."""
    n = len(images.label)
    shared = np.sqrt(OF_PHOTOGRAPH) * rng.normal(size=layout.n_groups)[layout.group]
    shared = shared + np.sqrt(OF_IMAGE) * rng.normal(size=n)
    rest = np.sqrt(1 - OF_PHOTOGRAPH - OF_IMAGE)
    found = []
    for k, mu in enumerate(mus):
        centre = np.empty((len(GENERATORS), n))
        centre[:, layout.columns["s"]] = mu[:, :1, 0]
        for j, name in enumerate(GENERATORS):
            centre[:, layout.columns[name]] = -mu[:, j, 1][:, None]
        logits = centre + shared + rest * rng.normal(size=centre.shape)
        # thresholds fixed beforehand, a little off
        threshold = np.array([0.1, -0.1, 0.2])
        found.append(Scores(f"set{k}", 0, list(GENERATORS), logits, threshold))
    return found


def truth(mu: np.ndarray) -> np.ndarray:
    """True metrics [M, P, J] of images drawn one by one (closed forms; AP and ECE by integration)."""
    threshold = np.array([0.1, -0.1, 0.2])
    result = np.empty((len(METRICS), *mu.shape[:2]))
    for i in range(mu.shape[0]):
        for j in range(mu.shape[1]):
            real, generated = mu[i, j]
            right = stats.norm.cdf([real, generated])
            at = stats.norm.cdf([real - threshold[i], generated + threshold[i]])
            cut = -real + stats.norm.isf([0.01, 0.05])
            values = {
                "accuracy": right.mean(),
                "accuracy_at_val_threshold": at.mean(),
                "balanced_accuracy": right.mean(),
                "accuracy_real": right[0],
                "accuracy_generated": right[1],
                "auc": stats.norm.cdf((real + generated) / np.sqrt(2)),
                "average_precision": _average_precision(real, generated),
                "tpr_at_fpr_1": stats.norm.cdf(generated - cut[0]),
                "tpr_at_fpr_5": stats.norm.cdf(generated - cut[1]),
                "ece": _ece(real, generated),
            }
            result[:, i, j] = [values[name] for name in METRICS]
    return result


def _average_precision(real: float, generated: float) -> float:
    def integrand(s: float) -> float:
        caught, flagged = stats.norm.sf(s - generated), stats.norm.sf(s + real)
        return stats.norm.pdf(s - generated) * caught / (caught + flagged)

    return float(integrate.quad(integrand, generated - 8, generated + 8, limit=200)[0])


def _ece(real: float, generated: float) -> float:
    edges = np.arange(1, ECE_BINS) / ECE_BINS
    edges = np.r_[-40, np.log(edges / (1 - edges)), 40]
    total = 0.0
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        grid = np.linspace(max(low, -12), min(high, 12), 400)
        p = 1 / (1 + np.exp(-grid))
        of_real, of_generated = stats.norm.pdf(grid - real), stats.norm.pdf(grid + generated)
        gap = of_real * (p - 1) + of_generated * p
        total += abs(np.trapezoid(gap, grid)) / 2
    return total


def cover(chosen: Design, sets: int, resamples: int, seed: int, gain: float) -> dict[str, np.ndarray]:
    """Count how often intervals hold the truth.

    Returns
    -------
    dict
        ``<kind>/<method>`` -> share of data sets [M]: of a cell (mean over the nine), of the mean
        over the six off the diagonal, and of the difference of a set that is better by `gain`.
    """
    images = images_of(chosen)
    layout = layout_of(images, resamples=2, seed=0)
    better = chosen.mu + gain
    flips = SignFlips(layout.strata, 8, seed)
    masks = means.cell_groups(list(GENERATORS), list(GENERATORS), FAMILIES)
    off = masks["all"]
    true = truth(chosen.mu)
    true_mean = true[:, off].mean(axis=1)
    true_gain = truth(better)[:, off].mean(axis=1) - true_mean
    counts = {
        f"{kind}/{method}": np.zeros(len(METRICS))
        for kind in ("cell", "mean", "difference")
        for method in INTERVALS
    }
    for k in range(sets):
        rng = np.random.default_rng([seed, k])
        layout.weights = resample_weights(layout.strata, resamples, seed * 1_000_003 + k)
        base, other = simulate(chosen, layout, images, rng, [chosen.mu, better])
        matrices = [transfer_matrix(one, layout) for one in (base, other)]
        first, second = (means.mean_over_cells(m, masks, layout) for m in matrices)
        for method in INTERVALS:
            low, high = cell_intervals(matrices[0], layout, confidence=0.95, method=method)
            inside = (low <= true + 1e-12) & (true <= high + 1e-12)
            counts[f"cell/{method}"] += inside.mean(axis=(1, 2))
            comparer = Comparer(layout, flips, method, 0.95)
            rows = comparer.mean_rows("set1", [second], first)[: len(METRICS)]
            own = comparer.mean_rows("set0", [first], None)[: len(METRICS)]
            for m in range(len(METRICS)):
                at = own[m]
                counts[f"mean/{method}"][m] += at["low"] <= true_mean[m] <= at["high"]
                at = rows[m]
                counts[f"difference/{method}"][m] += (
                    at["difference_low"] <= true_gain[m] <= at["difference_high"]
                )
    return {name: value / sets for name, value in counts.items()}


def null_p_values(
    chosen: Design, sets: int, seed: int, trade: float = 0.0, resamples: int = 200
) -> np.ndarray:
    """P values [sets, M] of the baseline difference where neither set is better.

    With `trade`, the second set is better on real images by as much as it is worse on generated
    ones, so that only the mean is equal (then for the accuracies alone).
    """
    images = images_of(chosen)
    layout = layout_of(images, resamples=2, seed=0)
    masks = means.cell_groups(list(GENERATORS), list(GENERATORS), FAMILIES)
    other = chosen.mu
    if trade:
        share = stats.norm.cdf(chosen.mu)
        other = stats.norm.ppf(share + np.array([trade, -trade]))
    found = np.empty((sets, len(METRICS)))
    for k in range(sets):
        rng = np.random.default_rng([seed, 7, k])
        layout.weights = resample_weights(layout.strata, resamples, seed * 999_983 + k)
        pair = simulate(chosen, layout, images, rng, [chosen.mu, other])
        first, second = (
            means.mean_over_cells(transfer_matrix(one, layout), masks, layout) for one in pair
        )
        flips = SignFlips(layout.strata, 4000, seed * 7919 + k)
        comparer = Comparer(layout, flips, "percentile", 0.95)
        rows = comparer.mean_rows("set1", [second], first)[: len(METRICS)]
        found[k] = [row["p"] for row in rows]
    return found
