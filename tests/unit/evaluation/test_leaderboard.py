"""Means and spread over seeds, and the likeness of selections against chance."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from clipsieve.cli import main
from clipsieve.evaluation.leaderboard import leaderboard
from clipsieve.evaluation.stability import expected_jaccard, jaccard, stability
from clipsieve.io.tables import write_table


@settings(max_examples=20, deadline=None)
@given(a=st.integers(0, 4), b=st.integers(0, 4))
def test_expected_jaccard_is_the_mean_over_all_pairs_of_subsets(a: int, b: int) -> None:
    firsts, seconds = combinations(range(6), a), list(combinations(range(6), b))
    every = [jaccard(first, second) for first in firsts for second in seconds]
    assert expected_jaccard(a, b, 6) == pytest.approx(np.mean(every))


def test_p_of_two_selections_is_the_hypergeometric_tail() -> None:
    first, second = range(10), range(7, 17)  # 3 in common, of 60
    found = stability([first, second], 60, repeats=20_000)
    assert found.jaccard == pytest.approx(3 / 17)
    assert found.shared == 3
    assert found.p == pytest.approx(stats.hypergeom.sf(2, 60, 10, 10), abs=0.01)


def test_equal_selections_are_not_chance_and_disjoint_ones_may_be() -> None:
    assert stability([range(9)] * 3, 100).p == pytest.approx(1 / 2001)
    assert stability([range(5), range(5, 10)], 100).p == 1


def means(seed: int, encoder: str, values: dict[str, float]) -> pd.DataFrame:
    rows = [
        {
            "run": "r",
            "encoder": encoder,
            "seed": seed,
            "feature_set": name,
            "cells": cells,
            "metric": metric,
            "value": value,
            "low": value - 0.02,
            "high": value + 0.02,
            "n_cells": 12,
            "n": 500,
            "worst": value - 0.1,
            "worst_test": "sd" if seed == 0 else "progan",
            "baseline": 0.7,
            "difference": value - 0.7,
            "difference_low": value - 0.71,
            "difference_high": value - 0.69,
            "p": 0.01,
            "p_holm": 0.02,
            "confidence": 0.95,
            "test_share": 0.3,
        }
        for name, value in values.items()
        for cells in ("all", "within_gan")
        for metric in ("auc", "accuracy")
    ]
    return pd.DataFrame(rows)


def test_the_verb_gathers_encoders_and_seeds(tmp_path: Path) -> None:
    for seed, shift in ((0, 0.0), (1, 0.02)):
        for encoder, base in (("b16", 0.7), ("l14", 0.8)):
            folder = tmp_path / f"r/seed{seed}/{encoder}"
            table = means(seed, encoder, {"all": base, "components/a--b": base + 0.05 + shift})
            write_table(table, folder / "means.parquet", {"confidence": 0.95})
            (folder / "features").mkdir()
            entry = {
                "feature_set": "components/a--b",
                "space": "embedding",
                "draws": [[1, 2, 3 + seed]],
                "facts": {"columns": 512},
            }
            (folder / "features/components.json").write_text(json.dumps([entry]))
            heads = {"feature_set": "heads/a--b", "space": "heads", "draws": [[[0, 1], [1, seed]]]}
            (folder / "features/heads.json").write_text(json.dumps([heads]))
            ranked = pd.DataFrame({"layer": [0, 0, 1, 1], "head": [0, 1, 0, 1]})
            write_table(ranked, folder / "head_rankings/a.parquet")
    other = means(0, "l14", {"components/a--b": 0.6}).assign(run="aligned")
    write_table(other, tmp_path / "aligned/seed0/l14/means.parquet", {"confidence": 0.95})
    call = ["leaderboard", "--means", *map(str, sorted(tmp_path.glob("*/*/*/means.parquet")))]
    call += ["--features", *map(str, sorted(tmp_path.glob("r/*/*/features/*.json")))]
    call += ["--rankings", *map(str, sorted(tmp_path.glob("r/*/*/head_rankings/*.parquet")))]
    assert main([*call, "--output", str(tmp_path / "leaderboard.csv")]) == 0
    table = pd.read_csv(tmp_path / "leaderboard.csv")
    assert len(table) == 8 + 2
    assert (
        table[table["run"] == "aligned"][["seeds", "value"]].to_numpy().tolist() == [[1, 0.6]] * 2
    )
    assert table[table["run"] == "aligned"]["jaccard"].isna().all()
    assert (table["confidence"] == 0.95).all()
    best = table.iloc[0]
    assert (best["metric"], best["encoder"], best["feature_set"]) == (
        *("auc", "l14", "components/a--b"),
    )
    assert list(dict.fromkeys(table["metric"])) == ["auc", "accuracy"]
    assert best["rank"] == 1
    assert best["value"] == pytest.approx(0.86)
    assert best["seeds"] == 2
    assert best["sd_over_seeds"] == pytest.approx(np.std([0.85, 0.87], ddof=1))
    assert best["worst_test"] == "sd"
    assert best["jaccard"] == pytest.approx(2 / 4)
    assert best["jaccard_by_chance"] == pytest.approx(expected_jaccard(3, 3, 512))
    assert best["jaccard_p"] < 0.01
    assert table[table["feature_set"] == "all"]["jaccard"].isna().all()


def test_features_out_of_their_place_are_refused(tmp_path: Path, capsys) -> None:
    write_table(means(0, "b16", {"all": 0.7}), tmp_path / "means.parquet")
    (tmp_path / "components.json").write_text("[]")
    call = ["leaderboard", "--means", str(tmp_path / "means.parquet")]
    call += ["--features", str(tmp_path / "components.json"), "--output", str(tmp_path / "l.csv")]
    assert main(call) == 2
    assert "not in a folder seed<seed>" in capsys.readouterr().err


def board(*rows: tuple[str, str, float, float]) -> pd.DataFrame:
    """Leaderboard of rows of feature set, metric, value and baseline over the set's own cells."""
    parts = []
    for name, metric, value, baseline in rows:
        part = means(0, "b16", {name: value}).query("cells == 'all' and metric == 'auc'")
        difference = np.nan if name == "all" else value - baseline
        parts.append(part.assign(metric=metric, baseline=baseline, difference=difference))
    return leaderboard(pd.concat(parts, ignore_index=True), {})


def test_rows_are_ranked_by_what_they_gain_over_their_own_cells() -> None:
    """A set that was left with the easy generators has the larger mean and no gain."""
    table = board(
        ("all", "auc", 0.80, np.nan),
        ("components/easy", "auc", 0.92, 0.93),
        ("components/hard", "auc", 0.78, 0.70),
    )
    assert table["feature_set"].tolist() == ["components/hard", "all", "components/easy"]
    np.testing.assert_allclose(table["value_on_all_cells"], [0.88, 0.80, 0.79])
    assert table["rank"].tolist() == [1, 2, 3]


def test_a_constant_answer_leads_nothing() -> None:
    """With three generated images a photograph it is right on 0.75 and perfectly calibrated."""
    rows = []
    for name, values in {
        "all": {"accuracy": 0.72, "balanced_accuracy": 0.7, "auc": 0.8, "ece": 0.1},
        "residual": {"accuracy": 0.75, "balanced_accuracy": 0.5, "auc": 0.5, "ece": 0.0},
    }.items():
        base = {"accuracy": 0.72, "balanced_accuracy": 0.7, "auc": 0.8, "ece": 0.1}
        rows += [(name, metric, value, base[metric]) for metric, value in values.items()]
    table = board(*rows)
    assert list(dict.fromkeys(table["metric"]))[:2] == ["auc", "balanced_accuracy"]
    first = table.groupby("metric", sort=False)["feature_set"].first()
    assert first[["auc", "balanced_accuracy", "ece"]].tolist() == ["all"] * 3
