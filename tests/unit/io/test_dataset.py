from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from clipsieve.errors import UserError
from clipsieve.io import store
from clipsieve.io.dataset import read_rows, require_both_classes
from clipsieve.io.tables import read_table, write_table
from tests.helpers.data_sets import write_image_set


@pytest.fixture
def data_set(tmp_path):
    generated = write_image_set(tmp_path, "gen", label=0, shift=3.0)
    real = write_image_set(tmp_path, "real", label=1)
    return [generated[0], real[0]], [generated[1], real[1]]


def test_only_the_allowed_splits_come(data_set):
    rows = read_rows(*data_set, ("train", "val"), "test")
    assert set(rows.split) == {"train", "val"}
    assert len(rows) == 60
    assert not set(rows.group[rows.split == "train"]) & set(rows.group[rows.split == "val"])


def test_rows_match_the_files_one_by_one(data_set):
    rows = read_rows(*data_set, ("test",), "test")
    for path in data_set[0]:
        stored = store.read_embeddings(path)
        heads = store.read_heads(path)
        where = {image: i for i, image in enumerate(stored.image_id)}
        for i in np.flatnonzero(rows.image_set == path.stem):
            row = where[rows.image_id[i]]
            np.testing.assert_array_equal(rows.embedding[i], stored.embedding[row])
            np.testing.assert_array_equal(rows.heads()[i], heads[row])
            np.testing.assert_array_equal(rows.heads([(1, 2), (0, 1)])[i, 0], heads[row, 1, 2])


def test_taking_rows_takes_their_heads(data_set):
    rows = read_rows(*data_set, ("train", "val", "test"), "test")
    keep = np.random.default_rng(0).random(len(rows)) < 0.4
    np.testing.assert_array_equal(rows.take(keep).heads(), rows.heads()[keep])
    np.testing.assert_array_equal(rows.take(keep).embedding, rows.embedding[keep])


def test_the_order_of_the_split_table_does_not_matter(data_set, tmp_path):
    before = read_rows(*data_set, ("train",), "test")
    table, _ = read_table(data_set[1][0])
    write_table(table.sample(frac=1, random_state=3), data_set[1][0])
    after = read_rows(*data_set, ("train",), "test")
    np.testing.assert_array_equal(before.image_id, after.image_id)
    np.testing.assert_array_equal(before.embedding, after.embedding)


def test_groups_trained_on_are_left_out(data_set):
    rows = read_rows(*data_set, ("train", "val"), "test")
    assert set(rows.without_groups_of(rows.of("train")).split) == {"val"}


def test_a_group_of_another_source_is_another_group(data_set, tmp_path):
    here = read_rows(*data_set, ("train",), "test")
    (tmp_path / "there").mkdir()
    generated = write_image_set(tmp_path / "there", "gen", label=0)
    real = write_image_set(tmp_path / "there", "other_real", label=1)
    there = read_rows([generated[0], real[0]], [generated[1], real[1]], ("train", "val"), "test")
    assert set(here.group) & set(there.group)
    assert len(there.without_groups_of(here)) == len(there)


def test_an_image_without_an_embedding_is_named(data_set):
    table, _ = read_table(data_set[1][0])
    extra = pd.DataFrame(
        [
            {
                "image_id": "gen/new.png",
                "group": "n",
                "label": 0,
                "generator": "gen",
                "split": "train",
            }
        ]
    )
    write_table(pd.concat([table, extra]), data_set[1][0])
    with pytest.raises(UserError, match=r"gen\.h5: no embedding of image gen/new\.png"):
        read_rows(*data_set, ("train",), "test")


def test_files_of_different_image_sets_are_refused(data_set):
    with pytest.raises(UserError, match="different image sets"):
        read_rows(data_set[0], data_set[1][::-1], ("train",), "test")


def test_a_single_class_is_refused(data_set):
    rows = read_rows(data_set[0][:1], data_set[1][:1], ("train",), "fit gen")
    with pytest.raises(UserError, match="no real image"):
        require_both_classes(rows, "fit gen")


def test_an_empty_split_is_named(data_set):
    table, _ = read_table(data_set[1][0])
    write_table(table[table["split"] != "val"], data_set[1][0])
    with pytest.raises(UserError, match=r"gen\.parquet: no image in val"):
        read_rows(*data_set, ("val",), "test")
