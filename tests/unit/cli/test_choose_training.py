"""The choice of training generators through the command."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from clipsieve.cli import main
from tests.helpers.planted_sources import SOURCE_OF, Planted


def choose(planted: Planted, *generators: str, most: str = "2"):
    output = planted.folder / "training_choice.parquet"
    command = ["choose-training", *planted.image_sets(*generators), "--most", most]
    command += ["--sources", json.dumps(SOURCE_OF), "--random-sets", "3"]
    command += ["--run", "r", "--encoder", "e", "--seed", "0", "--output", str(output)]
    return main(command), output


def test_no_test_image_and_no_image_of_the_held_out_generator_changes_a_choice(tmp_path):
    planted = Planted(tmp_path)
    status, path = choose(planted, *SOURCE_OF)
    assert status == 0
    before = pd.read_parquet(path)
    assert len(before) == 5 * 2
    assert set(before["random_sets"]) == {3}
    for name in (*SOURCE_OF, *set(SOURCE_OF.values())):
        planted.shift(name, "test")
    choose(planted, *SOURCE_OF)
    pd.testing.assert_frame_equal(pd.read_parquet(path), before)
    planted.shift("e", None)
    choose(planted, *SOURCE_OF)
    after = pd.read_parquet(path)
    mine, theirs = (t[t["held_out"] == "e"] for t in (before, after))
    columns = ["step", "generator", "transfer"]
    pd.testing.assert_frame_equal(mine[columns], theirs[columns])
    assert not mine["value"].equals(theirs["value"])


@pytest.mark.parametrize(("generators", "said"), [(("a", "b"), "at least 3 are needed")])
def test_too_few_generators_are_refused(tmp_path, capsys, generators, said):
    assert choose(Planted(tmp_path), *generators)[0] == 2
    assert said in capsys.readouterr().err
