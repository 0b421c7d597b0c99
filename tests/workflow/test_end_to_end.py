"""The tiny run from images to pages, and that what it finds does not hang on the machine's cores."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import clipsieve
from clipsieve.io.columns import TABLES
from clipsieve.io.feature_sets import read_feature_sets
from clipsieve.io.store import read_embeddings
from clipsieve.io.tables import read_table
from clipsieve.report import registry
from tests.helpers.score_files import read_score_table
from tests.workflow.conftest import TINY, Project

RUN = Path("results/tiny")
SEED = RUN / "seed0/tiny"
# enough of the run to select, fit, transfer and evaluate
PART = [
    "--config", "use={feature_sets: [all, residual, components, heads], controls: [random]}",
    "--", f"{SEED}/means.parquet",
]  # fmt: skip


def test_every_table_and_figure_of_the_registry_is_there(finished):
    # what others are compared with is another run
    for name in (name for name, table in registry.TABLES.items() if not table.several_runs):
        csv = pd.read_csv(finished.root / RUN / "tables" / f"{name}.csv")
        page = (finished.root / RUN / "tables" / f"{name}.html").read_text()
        # a clean run leaks nothing, and one search pair has no spread between pairs
        assert len(csv) > 0 or name in ("leakage", "pairs"), name
        assert "http://" not in page.replace("http://www.w3.org", ""), name
    for name in registry.FIGURES:
        assert (finished.root / RUN / "figures" / f"{name}.svg").stat().st_size > 5000, name


def test_every_table_has_the_columns_and_types_of_its_record(finished):
    places = {
        **registry.INPUTS,
        "images": "images/{set}.parquet",
        "splits": "seed{seed}/splits/{set}.parquet",
        "pairs": "seed{seed}/{encoder}/pairs.parquet",
        "ranking": "seed{seed}/{encoder}/ranking.parquet",
    }
    kinds = {"large_string": "text", "string": "text", "int32": "int64", "double": "float64"}
    for name, record in TABLES.items():
        paths = sorted((finished.root / RUN).glob(re.sub(r"\{\w+\}", "*", places[name])))
        assert paths or name == "pairs", name  # one search pair in this run
        for path in paths:
            if path.suffix == ".parquet":
                schema = pq.read_schema(path)
                found = {n: str(schema.field(n).type) for n in schema.names}
                for column, kind in record.types.items():
                    assert kinds.get(found[column], found[column]) in {kind, "null"}, (path, column)
            elif path.suffix == ".csv":
                found = dict.fromkeys(pd.read_csv(path, nrows=0).columns, "")
            else:
                continue
            others = found.keys() - record.types.keys()
            assert not {o for o in others if not o.startswith("split_seed")}, path


def test_no_photograph_stands_in_two_splits(finished):
    manifest, _ = read_table(finished.root / RUN / "manifest.parquet")
    assert (manifest.groupby("group")["split"].nunique() == 1).all()
    assert set(manifest["split"]) == {"train", "val", "test"}


def test_scores_are_of_test_images_and_leave_the_searched_pair_out(finished):
    for path in sorted((finished.root / SEED / "scores").glob("*.h5")):
        scores = read_score_table(path)
        assert set(scores["split"]) == {"test"}
        for item in read_feature_sets(finished.root / SEED / "features" / f"{path.stem}.json"):
            mine = scores[scores["feature_set"] == item.feature_set]
            assert len(mine), item.feature_set
            assert not set(item.excluded) & {*mine["train"], *mine["image_set"]}


def test_metrics_follow_from_the_scores(finished):
    """Accuracy of every cell of the baseline, counted anew from the logits."""
    scores = read_score_table(finished.root / SEED / "scores/all.h5")
    cells, _ = read_table(finished.root / SEED / "cells.parquet")
    cells = cells[(cells["feature_set"] == "all") & (cells["metric"] == "accuracy")]
    assert len(cells) == 25
    for cell in cells.itertuples():
        mine = scores[scores["train"] == cell.train]
        mine = mine[mine["image_set"].isin([cell.test, "photographs"])]
        right = (mine["logit"] > 0) == (mine["label"] == 1)
        assert cell.value == pytest.approx(right.mean(), abs=1e-12)


def test_the_run_is_recorded_and_verified(finished):
    record = json.loads((finished.root / RUN / "provenance.json").read_text())
    assert record["config"]["run"] == "tiny"
    assert json.loads((finished.root / RUN / "config.json").read_text()) == record["config"]
    from clipsieve.cli import main

    assert main(["verify", str(finished.root / RUN)]) == 0


def test_the_run_opens_in_a_notebook(finished):
    run = clipsieve.open_run(finished.root / RUN)
    assert run.encoders == ["tiny"]
    logits = run.scores("tiny", "all")
    assert sorted(logits.columns) == sorted(run.generators)
    images = run.images().set_index("image_id").loc[logits.index]
    assert set(images["split"]) == {"test"}
    X = run.embeddings("tiny", run.generators[0])
    for train in run.generators:
        probe = run.probe("tiny", "all", train)
        by_hand = X.to_numpy() @ probe.coef + probe.intercept
        mine = logits.index.intersection(X.index)
        np.testing.assert_allclose(
            logits.loc[mine, train], by_hand[X.index.get_indexer(mine)], rtol=1e-6, atol=1e-9
        )
    assert set(run.cells()["feature_set"]) == set(run.feature_sets("tiny"))
    assert len(run.table("table4")) > 0
    a, b = run.config["pairs"][0]
    assert len(run.searches("tiny", a, b)) == X.shape[1] - 1


def rerun(finished: Project, target: Path, cores: str) -> Path:
    """The selection and evaluation anew, from the same pictures, in a copy without results."""
    project = finished.copy(target)
    shutil.rmtree(project.root / RUN)
    project.snakemake("--cores", cores, "--configfile", TINY, *PART)
    return project.root


def test_one_core_finds_what_two_found(finished, tmp_path):
    one = rerun(finished, tmp_path / "one", "1")
    for path in sorted((one / RUN / "embeddings/tiny").glob("*.h5")):
        np.testing.assert_allclose(
            read_embeddings(path).embedding,
            read_embeddings(finished.root / path.relative_to(one)).embedding,
            rtol=1e-4, atol=1e-6,
        )  # fmt: skip
    for family in ("components", "heads", "random"):
        path = f"{SEED}/features/{family}.json"
        assert (one / path).read_text() == (finished.root / path).read_text()
    for name in ("means", "cells"):
        mine, _ = read_table(one / SEED / f"{name}.parquet")
        other, _ = read_table(finished.root / SEED / f"{name}.parquet")
        keys = [c for c in ("feature_set", "draw", "train", "test", "cells", "metric") if c in mine]
        both = mine.merge(other, on=keys, suffixes=("", "_two"))
        assert len(both) == len(mine)
        np.testing.assert_allclose(both["value"], both["value_two"], atol=1e-6)
