"""The pages of what survives and of where transfer is lost, against plain arithmetic."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from clipsieve.report.facts import Facts, Generator
from clipsieve.report.tables.headline import by_family
from clipsieve.report.tables.losses import WORTH, advice, attainable, largest, losses


def test_the_attainable_accuracy_is_that_of_two_normal_distributions():
    for distance in (0.3, 1.0, 2.5):
        # AUC by integration, and the best of all thresholds by search
        auc = quad(lambda x, d=distance: norm.pdf(x, d) * norm.cdf(x), -12, 15)[0]
        cuts = np.linspace(-5, 8, 20001)
        best = ((norm.sf(cuts, distance) + norm.cdf(cuts)) / 2).max()
        assert attainable(auc) == pytest.approx(best, abs=1e-6)
    assert attainable([0.2, 0.5]).tolist() == [0.5, 0.5]


def cells(nuisance: bool = True) -> pd.DataFrame:
    """Cells of a -> b and b -> a, with the diagonal: a loses by threshold, b by its source."""
    auc = {("a", "a"): 0.99, ("b", "b"): 0.95, ("a", "b"): 0.7, ("b", "a"): 0.985}
    right = {("a", "a"): 0.95, ("b", "b"): 0.9, ("a", "b"): 0.62, ("b", "a"): 0.6}
    rows = []
    for feature_set in ("all", "nuisance") if nuisance else ("all",):
        for (train, test), value in auc.items():
            better = 0.93 if feature_set == "nuisance" and (train, test) == ("a", "b") else value
            for metric, number in (("auc", better), ("balanced_accuracy", right[train, test])):
                rows.append(
                    {
                        **{"run": "r", "encoder": "e", "seed": 0, "feature_set": feature_set},
                        **{"draw": 0, "train": train, "test": test, "training": "one"},
                        **{"metric": metric, "value": number},
                    }
                )
    several = {**rows[0], "train": "all_but_a", "training": "all_but_one", "value": 0.1}
    return pd.DataFrame([*rows, several])


def test_the_parts_of_a_loss_add_up_to_it():
    found = losses(cells()).set_index(["train", "test"])
    assert len(found) == 2
    row = found.loc[("a", "b")]
    assert row["loss"] == pytest.approx(attainable(0.95) - 0.62)
    assert row["threshold"] + row["direction"] == pytest.approx(row["loss"])
    assert row["source"] + row["rest"] == pytest.approx(row["direction"])
    assert row["source"] == pytest.approx(attainable(0.93) - attainable(0.7))
    assert (row["largest"], found.loc[("b", "a"), "largest"]) == ("source", "threshold")


def test_without_a_projection_the_direction_is_one_part():
    found = losses(cells(nuisance=False)).set_index(["train", "test"])
    assert found[["source", "rest"]].isna().all(axis=None)
    assert found.loc[("a", "b"), "largest"] == "direction"


def test_the_words_follow_the_largest_part():
    facts = Facts({"a": Generator("a", "Model A", "gan", "network")})
    row = {"threshold": 0.0, "direction": 0.2, "source": 0.15, "rest": 0.05}
    assert "Collect real images like those of coco" in advice(row, "a", facts, "coco")
    assert "Calibrate" in advice({**row, "threshold": 0.5}, "a", facts)
    words = advice({**row, "source": 0.05, "rest": 0.15}, "a", facts)
    assert "Train on Model A" in words
    assert "family gan" in words
    small = dict.fromkeys(row, WORTH / 2)
    assert largest(small) == ""
    assert advice(small, "a", facts) == "Little is lost."


def mean_row(feature_set: str, cells: str, value: float, difference: float, seed: int = 0):
    return {
        **{"run": "r", "encoder": "e", "seed": seed, "feature_set": feature_set, "cells": cells},
        **{"metric": "auc", "value": value, "baseline": value - difference},
        **{"difference": difference, "generators_low": difference - 0.1},
        **{"generators_high": difference + 0.1, "better": 2.0, "n_generators": 3, "n_cells": 6},
    }


def test_a_method_is_the_mean_over_its_pairs_and_a_control_stands_with_each_method(monkeypatch):
    import clipsieve.report.tables.headline as page

    monkeypatch.setattr(page, "over_seeds", lambda table: table)
    rows = [
        mean_row("components/a--b", "all", 0.8, 0.02),
        mean_row("components/c--d", "all", 0.7, -0.04),
        mean_row("random_block", "all_but_one", 0.75, 0.01),
        mean_row("components/a--b", "within_gan", 0.1, 0.0),
    ]
    found = by_family(pd.DataFrame(rows)).set_index(["family", "compared_with"])
    row = found.loc[("components", "")]
    assert (row["value"], row["difference"]) == pytest.approx((0.75, -0.01))
    assert (row["generators_low"], row["generators_high"]) == pytest.approx((-0.11, 0.09))
    assert row["pairs"] == 2
    assert [m for f, m in found.index if f == "random_block"] == ["block", "block_nuisance"]
    assert len(found) == 3
