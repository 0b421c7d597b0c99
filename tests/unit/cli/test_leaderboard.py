"""The leaderboard's command is told which files it reads."""

from __future__ import annotations

import pandas as pd
import pytest

from clipsieve.cli.leaderboard import _selections
from clipsieve.errors import UserError
from clipsieve.io.feature_sets import FeatureSet, write_feature_sets
from clipsieve.io.tables import write_table


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "run/seed1/vit"
    for name in ("features", "head_rankings"):
        (folder / name).mkdir(parents=True)
    heads = FeatureSet("heads/a--b", "heads", ("a", "b"), "heads", draws=([[0, 1], [2, 3]],))
    write_feature_sets(folder / "features/heads.json", [heads])
    ranked = pd.DataFrame(
        {"val": ["b", "c"] * 6, "layer": [0, 0, 1, 1, 2, 2] * 2, "head": [0] * 12}
    )
    write_table(ranked, folder / "head_rankings/a.parquet", {})
    return folder


def test_heads_are_chosen_out_of_those_of_the_ranking_that_is_given(folder):
    found = _selections(
        [str(folder / "features/heads.json")], [str(folder / "head_rankings/a.parquet")]
    )
    assert found == {("run", "vit", "heads/a--b"): {1: ([(0, 1), (2, 3)], 3)}}


def test_a_ranking_that_is_not_given_is_asked_for(folder):
    """It lies beside the feature sets, but only what is declared is there on another machine."""
    with pytest.raises(UserError, match=r"--rankings: a file of .*/vit/head_rankings is needed"):
        _selections([str(folder / "features/heads.json")], [])
