"""Small versions of bench/coverage.py: intervals cover, p values are uniform under the null."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from bench import coverage as study
from clipsieve.evaluation.metrics import METRICS, cell_metrics

SMOOTH = [k for k, name in enumerate(METRICS) if not name.startswith("tpr") and name != "ece"]


def test_the_truth_is_what_very_many_images_give() -> None:
    chosen = study.design(10)
    rng = np.random.default_rng(0)
    n = 400_000
    real, generated = chosen.mu[0, 1]
    logits = np.r_[rng.normal(real, 1, n), rng.normal(-generated, 1, n)]
    labels = np.r_[np.ones(n, int), np.zeros(n, int)]
    found = cell_metrics(logits, labels, threshold=0.1)
    true = study.truth(chosen.mu)[:, 0, 1]
    for k, name in enumerate(METRICS):
        assert found[name][0] == pytest.approx(true[k], abs=0.005), name


def test_intervals_cover_and_are_not_wider_than_they_need_to_be() -> None:
    share = study.cover(study.design(50), 60, 200, 5, 0.1, ("studentized",))
    # 60 data sets of nine cells that depend on each other: within 3 % of 95 %
    cells = share["cell/studentized"]
    assert (np.abs(cells[SMOOTH] - 0.95) < 0.03).all(), cells
    assert (share["mean/studentized"][SMOOTH] > 0.86).all()
    assert (share["difference/studentized"][SMOOTH] > 0.86).all()
    # the sample's calibration error errs upwards; its interval must reach the truth all the same
    assert cells[METRICS.index("ece")] > 0.9


def test_p_values_are_uniform_where_neither_set_is_better() -> None:
    p, above = study.null_p_values(study.design(80), 100, 2)
    for name in ("accuracy", "accuracy_real", "auc", "average_precision"):
        at = METRICS.index(name)
        assert study.uniformity(p[:, at], above[:, at]) > 0.01, name
    p, above = study.null_p_values(study.design(18, lacking=0.3), 200, 2)
    for name in ("accuracy", "auc"):
        at = METRICS.index(name)
        assert study.uniformity(p[:, at], above[:, at]) > 0.01, name
        assert np.mean(p[:, at] <= 0.05) < 0.09, name
    better = study.design(80)
    images = study.images_of(better)
    layout = study.layout_of(images, resamples=200, seed=0)
    masks = study.means.cell_groups(list(study.GENERATORS), list(study.GENERATORS), study.FAMILIES)
    pair = study.simulate(
        better, layout, images, np.random.default_rng(1), [better.mu, better.mu + 0.5]
    )
    first, second = (
        study.means.mean_over_cells(study.transfer_matrix(one, layout), masks, layout)
        for one in pair
    )
    comparer = study.Comparer(layout, study.SignFlips(layout.strata, 999, 0), "studentized", 0.95)
    row = comparer.mean_rows("b", [second], first)[METRICS.index("accuracy")]
    assert row["p"] < 1 / 1000
    assert row["difference_low"] > 0


def test_ranks_of_searched_columns_are_uniform_where_all_are_worth_the_same() -> None:
    p = study.selection_p_values(30, 3)
    assert len(p["auc"]) > 20
    assert study.uniformity(p["auc"], p["auc"] - 1 / (study.DRAWS + 1)) > 0.01
    planted = study.selection_p_values(15, 3, planted=True)
    assert stats.mannwhitneyu(planted["auc"], p["auc"], alternative="less").pvalue < 0.01
