"""The command search on small files: which rows it trains on, and which it scores."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from clipsieve.cli import main
from clipsieve.io import store
from clipsieve.io.tables import read_table
from clipsieve.selection import greedy_elimination
from tests.helpers.data_sets import write_image_set


@pytest.fixture
def files(tmp_path):
    """Two generators of one source; a group has the same name and split in all three sets."""
    return {
        name: write_image_set(tmp_path, name, label=int(name == "real"), shift=shift)
        for name, shift in (("first", 0.6), ("second_one", 0.8), ("real", 0.0))
    }


def search(tmp_path, files, train="first", val="second_one"):
    path = tmp_path / f"{train}--{val}.parquet"
    options = []
    for side, generator in (("train", train), ("val", val)):
        for kind, place in (("embeddings", 0), ("splits", 1)):
            options += [f"--{side}-{kind}", *(str(files[s][place]) for s in (generator, "real"))]
    assert main(["search", *options, "--output", str(path)]) == 0
    return read_table(path)


def rows(files, generator, splits):
    """Embeddings and labels of a generator and the source in some splits, read one by one."""
    X, y = [], []
    for name in (generator, "real"):
        table = pd.read_parquet(files[name][1])
        seen = table["split"].isin(splits).to_numpy()
        X.append(store.read_embeddings(files[name][0]).embedding[seen])
        y.append(np.full(seen.sum(), int(name == "real")))
    return np.concatenate(X), np.concatenate(y)


def test_no_group_that_was_trained_on_is_scored(tmp_path, files):
    table, note = search(tmp_path, files)
    # every train group is trained on through the shared source, so only val groups are scored
    X_train, y_train = rows(files, "first", ["train"])
    X_val, y_val = rows(files, "second_one", ["val"])
    assert (note["n_train"], note["n_val"]) == (len(y_train), len(y_val)) == (40, 20)
    expected = greedy_elimination(X_train, y_train, X_val, y_val)
    assert table["removed"].tolist() == expected.removed.tolist()
    assert table["score"].tolist() == expected.scores.tolist()
    assert note["initial_score"] == expected.initial_score


def test_groups_of_the_validation_generator_alone_are_scored_in_train_and_val(tmp_path, files):
    """With a source of its own nothing of the validation generator was trained on."""
    files["other_real"] = write_image_set(tmp_path, "other_real", label=1, shift=0.0)
    path = tmp_path / "out.parquet"
    sides = (("train", ("first", "real")), ("val", ("second_one", "other_real")))
    options = []
    for side, names in sides:
        options += [f"--{side}-embeddings", *(str(files[n][0]) for n in names)]
        options += [f"--{side}-splits", *(str(files[n][1]) for n in names)]
    assert main(["search", *options, "--output", str(path)]) == 0
    assert read_table(path)[1]["n_val"] == 60
