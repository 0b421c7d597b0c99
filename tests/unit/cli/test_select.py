"""The verb select on small files: which rows, searches and rankings each family is made from."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from clipsieve.cli import main
from clipsieve.io import store
from clipsieve.io.feature_sets import read_feature_sets
from clipsieve.io.tables import write_table
from clipsieve.selection import filters as controls
from tests.helpers.data_sets import write_image_set

PAIRS = [("a", "bb"), ("ccc", "dddd")]
SOURCES = {"a": "real_one", "bb": "real_one", "ccc": "real_three", "dddd": "real_three"}
KEPT = {"a--bb": [1, 4], "bb--a": [4, 9], "ccc--dddd": [0], "dddd--ccc": [0]}


@pytest.fixture
def files(tmp_path):
    found = {"embeddings": [], "splits": [], "searches": [], "rankings": []}
    for shift, name in enumerate([*SOURCES, "real_one", "real_three"]):
        h5, splits = write_image_set(
            tmp_path, name, label=int(name.startswith("real")), shift=3.0 * shift
        )
        found["embeddings"].append(str(h5))
        found["splits"].append(str(splits))
    for direction, kept in KEPT.items():
        path = tmp_path / "searches" / f"{direction}.parquet"
        train, val = direction.split("--")
        note = {"train": train, "val": val, "kept": kept, "columns": 12}
        write_table(pd.DataFrame({"step": [1]}), path, note)
        found["searches"].append(str(path))
    for train, val in [*PAIRS, ("bb", "a")]:
        rank = pd.DataFrame(
            {
                **{"train": train, "val": val},
                **{"layer": [0, 1, 1, 0], "head": [0, 2, 0, 1], "rank": [3, 1, 2, 4]},
            }
        )
        path = tmp_path / "rankings" / f"{train}.parquet"
        write_table(rank, path)
        found["rankings"].append(str(path))
    return found


def select(tmp_path, family, *options):
    path = tmp_path / f"{family}.json"
    status = main(["select", "--family", family, *options, "--output", str(path)])
    return read_feature_sets(path) if status == 0 else status


def pairs():
    return ["--pairs", *(f"{a}--{b}" for a, b in PAIRS)]


def rows_of_pair(files, pair):
    """Embeddings and labels of a pair and its source on train and val, read one by one."""
    X, y = [], []
    for name in dict.fromkeys([*pair, *(SOURCES[g] for g in pair)]):
        h5 = next(f for f in files["embeddings"] if f.endswith(f"/{name}.h5"))
        table = pd.read_parquet(next(f for f in files["splits"] if f.endswith(f"/{name}.parquet")))
        seen = (table["split"] != "test").to_numpy()
        X.append(store.read_embeddings(h5).embedding[seen])
        y.append(np.full(seen.sum(), int(name.startswith("real"))))
    return np.concatenate(X), np.concatenate(y)


@pytest.mark.parametrize("family", ["fisher", "variance", "l1"])
def test_filters_see_the_pairs_own_sources_alone(tmp_path, files, family):
    found = select(
        tmp_path, family, *pairs(), "--searches", *files["searches"], "--embeddings",
        *files["embeddings"], "--splits", *files["splits"], "--sources", json.dumps(SOURCES),
    )  # fmt: skip
    for item, pair in zip(found, PAIRS, strict=True):
        X, y = rows_of_pair(files, pair)
        size = len({*KEPT["--".join(pair)], *KEPT["--".join(pair[::-1])]})
        assert item.draws == (getattr(controls, family)(X, y, size).tolist(),)
        assert item.excluded == pair


def test_without_sources_all_real_images_count_and_it_is_said(tmp_path, files, caplog):
    with caplog.at_level("WARNING"):
        select(
            tmp_path, "variance", *pairs(), "--searches", *files["searches"],
            "--embeddings", *files["embeddings"], "--splits", *files["splits"],
        )  # fmt: skip
    assert "--sources does not name that of a" in caplog.text


def test_components_are_the_union_of_both_directions(tmp_path, files):
    found = select(tmp_path, "components", *pairs(), "--searches", *files["searches"])
    assert [item.draws for item in found] == [([1, 4, 9],), ([0],)]


def test_heads_are_the_best_of_the_ranking(tmp_path, files):
    found = select(
        tmp_path, "heads", "--pairs", "bb--a", "--rankings", *files["rankings"], "--best", "2"
    )
    assert [(item.feature_set, item.draws) for item in found] == [
        ("heads/bb--a", ([[1, 2], [1, 0]],))
    ]


@pytest.mark.parametrize(
    ("family", "options", "said"),
    [
        ("components", ["--pairs", "a-b"], "'a-b' is no pair A--B"),
        ("components", ["--pairs", "a--bb"], "no search a--bb"),
        ("heads", ["--pairs", "a--bb"], "no ranking of a on bb"),
    ],
)
def test_what_is_missing_is_named(tmp_path, capsys, family, options, said):
    assert select(tmp_path, family, *options) == 2
    assert said in capsys.readouterr().err
