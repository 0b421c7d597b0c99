"""One interval over seeds: the published formula, and its size where splits overlap."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from clipsieve.errors import UserError
from clipsieve.evaluation.seeds import over_seeds


def rows(
    differences: list[float], half: float = 0.01, feature_set: str = "residual"
) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                **{"run": "r", "encoder": "b16", "seed": seed, "feature_set": feature_set},
                **{"cells": "all", "metric": "auc", "value": 0.7 + d, "baseline": 0.7},
                **{"low": 0.7 + d - half, "high": 0.7 + d + half, "difference": d},
                **{"difference_low": d - half, "difference_high": d + half},
                **{"p": 0.03, "p_holm": 0.06, "worst": 0.6 - seed / 100, "worst_test": f"g{seed}"},
                **{"generators_se": 0.02, "generators_freedom": 7.0, "generators_low": d - 0.05},
                **{"generators_high": d + 0.05, "generators_p": 0.2, "generators_p_holm": 0.3},
                **{"confidence": 0.95, "test_share": 0.3},
            }
            for seed, d in enumerate(differences)
        ]
    )


def test_the_interval_is_the_corrected_resampled_t() -> None:
    d = [0.02, 0.05, 0.03, 0.06, 0.04]
    row = over_seeds(rows(d)).iloc[0]
    error = np.sqrt((1 / 5 + 0.3 / 0.7) * np.var(d, ddof=1))
    reach = stats.t.ppf(0.975, 4) * error
    assert row["difference"] == pytest.approx(0.04)
    assert row["difference_low"] == pytest.approx(0.04 - reach)
    assert row["difference_high"] == pytest.approx(0.04 + reach)
    assert row["p"] == pytest.approx(2 * stats.t.sf(0.04 / error, 4))
    assert row["high"] - row["value"] == pytest.approx(reach)
    # of other generators, more seeds say no more
    assert row["generators_high"] == pytest.approx(0.04 + stats.t.ppf(0.975, 7) * 0.02)
    assert row["generators_p"] == pytest.approx(2 * stats.t.sf(2, 7))
    assert (row["worst"], row["worst_test"], row["seeds"]) == (pytest.approx(0.56), "g4", 5)


def test_seeds_that_agree_by_chance_keep_what_photographs_leave_open() -> None:
    row = over_seeds(rows([0.02, 0.02])).iloc[0]
    assert row["difference_high"] - 0.02 == pytest.approx(0.01 * np.sqrt(0.7 / 2 + 0.3))
    assert 0 < row["p"] < 0.05


def test_one_seed_is_left_as_it_is_and_holm_runs_over_the_rows_of_several() -> None:
    row = over_seeds(rows([0.02])).iloc[0]
    assert row[["difference_low", "p", "p_holm", "generators_p_holm"]].tolist() == [
        *(0.01, 0.03, 0.06, 0.3),
    ]
    assert np.isnan(row["value_sd"])
    both = over_seeds(
        pd.concat([rows([0.02, 0.03]), rows([0.2, 0.201], feature_set="components/a--b")])
    ).set_index("feature_set")
    least = both["p"].min()
    assert both["p_holm"].min() == pytest.approx(2 * least)
    with pytest.raises(UserError, match="test_share"):
        over_seeds(rows([0.1, 0.2]).drop(columns="test_share"))
    with pytest.raises(UserError, match=r"more than one test_share: 0\.2, 0\.3"):
        over_seeds(rows([0.1, 0.2]).assign(test_share=[0.2, 0.3]))
    # two runs may differ
    runs = pd.concat([rows([0.1, 0.2]), rows([0.1, 0.2]).assign(run="q", test_share=0.2)])
    first, second = over_seeds(runs)["difference_high"]
    assert first > second


@pytest.mark.parametrize("seeds", [2, 5])
def test_size_is_about_nominal_where_splits_of_one_pool_overlap(seeds: int) -> None:
    """Equal sets: the mean over seeds of test means of one pool of 200 photographs, no training."""
    rng = np.random.default_rng(seeds)
    n, taken, repeats = 200, 60, 600
    found = []
    for k in range(repeats):
        pool = rng.normal(size=n)
        noise = 0.5 / np.sqrt(taken) * rng.normal(size=seeds)  # of training
        values = [pool[rng.permutation(n)[:taken]].mean() + noise[s] for s in range(seeds)]
        half = 1.96 / np.sqrt(taken)
        found.append(rows(values, half, f"s{k}"))
    together = over_seeds(pd.concat(found, ignore_index=True))
    out = (together["difference_low"] > 0) | (together["difference_high"] < 0)
    assert (out == (together["p"] <= 0.05)).mean() > 0.99
    assert 0.01 < out.mean() < 0.07
    # the naive t over seeds as if they were independent
    naive = stats.ttest_1samp(np.array([f["difference"] for f in found]), 0, axis=1).pvalue
    if seeds == 5:
        assert (naive <= 0.05).mean() > 0.12
