"""A run in a notebook: the documented examples, what each call returns, and what it says is missing."""

from __future__ import annotations

import doctest
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import clipsieve
import clipsieve.run
from clipsieve.errors import UserError
from clipsieve.io.probes import read_probes
from clipsieve.io.store import read_embeddings
from clipsieve.run import RunResults
from tests.helpers.finished_run import make_finished_run
from tests.helpers.score_files import read_score_table

ROOT = Path(__file__).parents[2]
PAIR = "up_nearest--denoise_nlm_8"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    make_finished_run(folder)
    return folder


@pytest.fixture
def run(root: Path) -> RunResults:
    return clipsieve.open_run(root / "results/demo")


def test_the_examples_of_the_docstrings_run(root, monkeypatch) -> None:
    monkeypatch.chdir(root)
    failed, tried = doctest.testmod(clipsieve.run)
    assert tried > 25
    assert failed == 0


@pytest.mark.parametrize("page", ["docs/notebooks.md", "README.md"])
def test_the_examples_of_the_pages_run(root, monkeypatch, page) -> None:
    monkeypatch.chdir(root)
    failed, tried = doctest.testfile(str(ROOT / page), module_relative=False)
    assert tried > 3
    assert failed == 0


def test_every_file_is_read_as_it_is(run: RunResults) -> None:
    pd.testing.assert_frame_equal(run.images(), pd.read_parquet(run.path / "manifest.parquet"))
    stored = read_embeddings(run.path / "embeddings/tiny/up_nearest.h5")
    found = run.embeddings("tiny", "up_nearest")
    assert found.index.tolist() == stored.image_id.tolist()
    np.testing.assert_array_equal(found.to_numpy(), stored.embedding)
    assert set(found.dtypes) == {np.dtype("float32")}
    for name in ("cells", "means", "controls"):
        tables = [pd.read_parquet(run.path / f"seed0/{e}/{name}.parquet") for e in run.encoders]
        assert len(getattr(run, name)()) == sum(map(len, tables)) > 0
    steps = run.searches("tiny", *PAIR.split("--"))
    stop = steps.attrs["stops"][steps.attrs["alpha"]]
    left = set(range(steps.attrs["columns"])) - set(steps["removed"][: stop["step"]])
    assert steps.attrs["kept"] == sorted(left)
    there = pd.read_parquet(run.path / f"seed0/tiny/searches/{PAIR}.parquet")
    pd.testing.assert_frame_equal(steps, there)


@pytest.mark.parametrize(
    ("feature_set", "draw"), [("all", 0), (f"components/{PAIR}", 0), (f"random/{PAIR}", 2)]
)
def test_scores_and_probes_are_those_of_the_files(run: RunResults, feature_set, draw) -> None:
    family = feature_set.split("/")[0]
    scores = run.scores("tiny", feature_set, draw=draw)
    table = read_score_table(run.path / f"seed0/tiny/scores/{family}.h5")
    mine = table[(table["feature_set"] == feature_set) & (table["draw"] == draw)]
    assert scores.size == len(mine)
    for row in mine.itertuples():
        assert scores.loc[row.image_id, row.train] == row.logit
    excluded = run.feature_sets("tiny")[feature_set].excluded
    sets = run.images().set_index("image_id").loc[scores.index, "image_set"]
    assert not {*scores.columns, *sets} & set(excluded)
    probe = run.probe("tiny", feature_set, "style_mosaic", draw=draw)
    stored = [
        one
        for one in read_probes(run.path / f"seed0/tiny/probes/{family}/style_mosaic.npz")
        if (one.feature_set, one.draw) == (feature_set, draw)
    ]
    np.testing.assert_array_equal(probe.coef, stored[0].coef)
    # the logit by hand, of one test image
    image = scores.index[0]
    x = run.embeddings("tiny", sets[image]).loc[image].to_numpy(dtype=float)
    by_hand = sum(x[c] * w for c, w in zip(probe.columns, probe.coef, strict=True))
    assert scores.loc[image, "style_mosaic"] == pytest.approx(by_hand + probe.intercept)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda run: run.scores("clip", "all"), "encoder 'clip' .* there is: clip_b16, tiny"),
        (lambda run: run.scores("tiny", "all", seed=7), "seed 7 .* there is: 0"),
        (lambda run: run.scores("tiny", "al"), "feature set 'al' .* there is: all, "),
        (lambda run: run.scores("tiny", "all", draw=1), "draw of all 1 .* there is: 0"),
        (lambda run: run.scores("tiny", "residual"), "scores/residual.h5 is not there yet"),
        (lambda run: run.probe("tiny", "all", "nobody"), "generator 'nobody' .* style_mosaic"),
        (lambda run: run.probe("tiny", "residual", "style_mosaic"), "mosaic.npz is not there yet"),
        (lambda run: run.probe("tiny", f"components/{PAIR}", "up_nearest"), "gave up_nearest up"),
        (lambda run: run.embeddings("tiny", "dogs"), "set 'dogs' .* there is: cyclegan_vintage, "),
        (lambda run: run.searches("tiny", "a", "b"), f"search 'a--b' .*{PAIR}"),
        (lambda run: run.table("nothing"), "table 'nothing' .* there is: means"),
    ],
)
def test_what_is_not_there_is_named_with_what_is(run: RunResults, ask, message) -> None:
    with pytest.raises(UserError, match=message):
        ask(run)


def test_a_run_at_work_opens_and_says_what_is_missing(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "results/demo", tmp_path / "demo")
    run = clipsieve.open_run(tmp_path / "demo")
    (tmp_path / "demo/seed0/tiny/means.parquet").unlink()
    with pytest.warns(UserWarning, match=r"not there yet: .*seed0/tiny/means\.parquet"):
        assert set(run.means()["encoder"]) == {"clip_b16"}
    for name in ("seed0", "embeddings", "tables", "manifest.parquet"):
        path = tmp_path / "demo" / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert run.encoders == ["clip_b16", "tiny"]
    for ask, message in (
        (run.means, "seed0/clip_b16/means.parquet is not there yet"),
        (run.images, "manifest.parquet is not there yet"),
        (lambda: run.scores("tiny", "all"), "features is not there yet"),
        (lambda: run.embeddings("tiny", "up_nearest"), "there is: none yet"),
        (lambda: run.table("means"), "there is: none yet"),
    ):
        with pytest.raises(UserError, match=message):
            ask()


def test_seeds_are_joined_and_told_apart(tmp_path: Path) -> None:
    make_finished_run(tmp_path, seeds=(0, 3))
    run = clipsieve.open_run(tmp_path / "results/demo")
    assert run.seeds == [0, 3]
    assert set(run.cells()["seed"]) == {0, 3}
    assert not run.scores("tiny", "all").equals(run.scores("tiny", "all", seed=3))


def test_the_config_of_a_run_without_one_is_in_its_record(root: Path, tmp_path: Path) -> None:
    config = json.loads((root / "results/demo/config.json").read_text())
    (tmp_path / "provenance.json").write_text(json.dumps({"config": {**config, "run": "old"}}))
    assert clipsieve.open_run(tmp_path).config["run"] == "old"
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert clipsieve.open_run(tmp_path).config["run"] == "demo"


@pytest.mark.parametrize(
    ("text", "message"),
    [(None, "neither config.json"), ("{", "not readable JSON"), ("[1]", "no resolved config")],
)
def test_a_folder_that_is_no_run_is_refused(tmp_path: Path, text, message) -> None:
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    with pytest.raises(UserError, match=message):
        clipsieve.open_run(tmp_path)
    with pytest.raises(UserError, match="no such folder"):
        clipsieve.open_run(tmp_path / "gone")


def test_importing_the_package_is_light_and_a_run_imports_no_torch(root: Path) -> None:
    code = (
        "import sys, clipsieve; light = {'numpy', 'pandas', 'h5py', 'clipsieve.run'}"
        " & set(sys.modules); assert not light, light;"
        f"run = clipsieve.open_run({str(root / 'results/demo')!r}); run.scores('tiny', 'all');"
        " run.probe('tiny', 'all', 'up_nearest'); run.means();"
        " assert 'torch' not in sys.modules and 'sklearn' not in sys.modules;"
        " assert not hasattr(clipsieve, 'nothing')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
