"""Do 95 % intervals cover in 95 % of cases, and are p values uniform where nothing is to be found?

Simulates transfer matrices whose true metrics are known in closed form, puts them through the same
functions as `clipsieve evaluate`, and counts. Run `python -m bench.coverage --help`; the results
stand in docs/method/statistics.md.

The model: the logit of probe i on an image of set j is N(+-mu_ij, 1), plus for real and minus for
generated images. Its noise has a part of the photograph (shared by the photograph, everything
generated from it, and all probes), a part of the image (shared by all probes and feature sets), and
a part of its own.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy import stats

from bench.selection_null import DRAWS, selection_p_values
from clipsieve.evaluation import means
from clipsieve.evaluation.bootstrap import INTERVALS, Interval, resample_weights
from clipsieve.evaluation.cells import cell_intervals
from clipsieve.evaluation.comparisons import Comparer
from clipsieve.evaluation.matrix import Layout, layout_of, transfer_matrix
from clipsieve.evaluation.metrics import ECE_BINS, METRICS
from clipsieve.evaluation.significance import SignFlips
from clipsieve.io.scores import Images, Scores

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
    lacking
        Chance that a generator has no image of a photograph, each by itself.
    """

    groups: int
    paired: bool
    mu: np.ndarray
    lacking: float = 0.0


def design(groups: int, paired: bool = True, mean: float = 1.0, *, lacking: float = 0.0) -> Design:
    """Cells of graded difficulty around `mean`; accuracy is the normal distribution function of mu."""
    steps = np.linspace(-0.4, 0.4, 3)
    mu = mean + steps[:, None, None] * 0.5 + steps[None, :, None] + np.array([0.15, -0.15])
    # a real image has one logit, whatever generator it is held against
    mu[:, :, 0] = mu[:, :1, 0]
    return Design(groups, paired, mu, lacking)


def images_of(chosen: Design) -> Images:
    """Test images: one source and three generators."""
    rows = []
    rng = np.random.default_rng(0)
    for name in ("s", *GENERATORS):
        for g in range(chosen.groups):
            if name != "s" and rng.random() < chosen.lacking:
                continue
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
                "brier": _mean_loss(real, generated, lambda p: (1 - p) ** 2),
                "log_loss": _mean_loss(real, generated, lambda p: -np.log(p)),
            }
            result[:, i, j] = [values[name] for name in METRICS]
    return result


def _average_precision(real: float, generated: float) -> float:
    s = np.linspace(generated - 8, generated + 8, 4001)
    caught, flagged = stats.norm.sf(s - generated), stats.norm.sf(s + real)
    return float(np.trapezoid(stats.norm.pdf(s - generated) * caught / (caught + flagged), s))


def _mean_loss(real: float, generated: float, loss: Callable[[np.ndarray], np.ndarray]) -> float:
    """Mean over both classes of a loss of the probability that is given to the right class."""
    total = 0.0
    for margin in (real, generated):
        grid = np.linspace(margin - 9, margin + 9, 4001)
        density = stats.norm.pdf(grid - margin)
        total += float(np.trapezoid(density * loss(1 / (1 + np.exp(-grid))), grid)) / 2
    return total


def _ece(real: float, generated: float) -> float:
    edges = np.arange(1, ECE_BINS) / ECE_BINS
    edges = np.r_[-40, np.log(edges / (1 - edges)), 40]
    total = 0.0
    for low, high in pairwise(edges):
        grid = np.linspace(max(low, -12), min(high, 12), 400)
        p = 1 / (1 + np.exp(-grid))
        of_real, of_generated = stats.norm.pdf(grid - real), stats.norm.pdf(grid + generated)
        gap = of_real * (p - 1) + of_generated * p
        total += abs(np.trapezoid(gap, grid)) / 2
    return total


def cover(
    chosen: Design,
    sets: int,
    resamples: int,
    seed: int,
    gain: float,
    methods: tuple[Interval, ...] = INTERVALS,
) -> dict[str, np.ndarray]:
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
    off = means.cell_groups(list(GENERATORS), list(GENERATORS), FAMILIES)["all"]
    masks = {"all": off}
    true = truth(chosen.mu)
    true_mean = true[:, off].mean(axis=1)
    true_gain = truth(better)[:, off].mean(axis=1) - true_mean
    counts = {
        f"{kind}/{method}": np.zeros(len(METRICS))
        for kind in ("cell", "mean", "difference")
        for method in methods
    }
    for k in range(sets):
        rng = np.random.default_rng([seed, k])
        layout.weights = resample_weights(layout.strata, resamples, seed * 1_000_003 + k)
        base, other = simulate(chosen, layout, images, rng, [chosen.mu, better])
        matrices = [transfer_matrix(one, layout) for one in (base, other)]
        first, second = (means.mean_over_cells(m, masks, layout) for m in matrices)
        for method in methods:
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
    """P values of the baseline difference where neither set is better.

    Returns [2, sets, M]: the p values, and their share without sign vectors that only equal the
    difference (counts of images tie often). With `trade`, the second set is better on real images
    by as much as it is worse on generated ones, so that only the mean is equal (then for the
    accuracies alone).
    """
    images = images_of(chosen)
    layout = layout_of(images, resamples=2, seed=0)
    masks = {"all": means.cell_groups(list(GENERATORS), list(GENERATORS), FAMILIES)["all"]}
    other = chosen.mu
    if trade:
        share = stats.norm.cdf(chosen.mu)
        other = stats.norm.ppf(share + np.array([trade, -trade]))
    found = np.empty((2, sets, len(METRICS)))
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
        found[:, k] = [row["p"] for row in rows]
        if first.influence is not None and second.influence is not None:
            above = flips.p_values(
                # more than equal, by less than one image can change
                np.abs(second.values - first.values)[:, 0] + 2e-5,
                (second.influence - first.influence)[:, 0],
                first.groups[0],
            )
            found[1, k] = np.where(np.isnan(above), found[1, k], above - 1 / 4001)
    return found


def uniformity(p: np.ndarray, above: np.ndarray | float, seed: int = 0) -> float:
    """Kolmogorov-Smirnov p of permutation p values against uniform ones.

    A permutation p counts what is equal to the observed as if it were larger. Each is spread evenly
    from `above`, its share without them, up to p, which makes a correct one exactly uniform.
    """
    spread = p - np.random.default_rng(seed).random(len(p)) * (p - above)
    return float(stats.kstest(spread, "uniform").pvalue)


def _row(*cells: object) -> None:
    print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)


def _print_coverage(sets: int, resamples: int, seed: int) -> None:
    cases = {
        "300 photographs": design(300),
        "100 a set, unpaired": design(100, paired=False),
        "30 photographs": design(30),
        "30 photographs, a fifth lacking": design(30, lacking=0.2),
        "300 photographs, easy": design(300, mean=1.8),
    }
    _row("case", "of", "interval", *(name.replace("_", " ") for name in METRICS))
    _row(*["---"] * (3 + len(METRICS)))
    for name, chosen in cases.items():
        for key, share in cover(chosen, sets, resamples, seed, gain=0.1).items():
            kind, method = key.split("/")
            _row(name, kind, method, *(f"{100 * value:.1f}" for value in share))


def _print_nulls(sets: int, seed: int) -> None:
    _row("null", "metric", "data sets", "p < 0.05", "KS p")
    _row(*["---"] * 5)
    cases = {
        "equal, 300 photographs": (design(300), 0.0),
        "equal, 100 a set, unpaired": (design(100, paired=False), 0.0),
        "equal, 30 photographs": (design(30), 0.0),
        "equal, 18 photographs, 3 of 10 lacking": (design(18, lacking=0.3), 0.0),
        "real for generated, 100 a set, unpaired": (design(100, paired=False), 0.02),
    }
    for name, (chosen, trade) in cases.items():
        p = null_p_values(chosen, sets, seed, trade)
        shown = ("balanced_accuracy",) if trade else METRICS
        for metric in shown:
            one, above = p[:, :, METRICS.index(metric)]
            ks = uniformity(one, above)
            _row(name, metric, len(one), f"{(one < 0.05).mean():.3f}", f"{ks:.3f}")


def _print_selection(sets: int, seed: int) -> None:
    _row("columns", "metric", "data sets", "p <= 0.05", "KS p")
    _row(*["---"] * 5)
    for name, planted in (("all worth the same", False), ("half harmful", True)):
        some = sets // 5 if planted else sets
        for metric, p in selection_p_values(some, seed, planted).items():
            ks = "" if planted else f"{uniformity(p, p - 1 / (DRAWS + 1)):.3f}"
            _row(name, metric, len(p), f"{(p <= 0.05 + 1e-9).mean():.3f}", ks)


def main() -> None:
    """Run the parts that were asked for and print their tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", choices=("coverage", "nulls", "selection"), action="append")
    parser.add_argument("--sets", type=int, default=1000, help="data sets a case (default 1000)")
    parser.add_argument("--resamples", type=int, default=500, help="bootstrap resamples")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    for part in args.part or ("coverage", "nulls", "selection"):
        started = time.process_time()
        if part == "coverage":
            _print_coverage(args.sets, args.resamples, args.seed)
        elif part == "nulls":
            _print_nulls(args.sets, args.seed)
        else:
            _print_selection(args.sets, args.seed)
        print(f"\n{part}: {time.process_time() - started:.0f} s of one core\n", flush=True)


if __name__ == "__main__":
    main()
