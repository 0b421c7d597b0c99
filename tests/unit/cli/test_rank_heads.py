"""The command rank-heads on small files: which rows it trains on, and which it scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from clipsieve.cli import main
from clipsieve.io import store
from clipsieve.io.tables import read_table
from clipsieve.selection.heads import rank_heads
from tests.helpers.data_sets import write_image_set

SOURCES = {"first": "real", "second_one": "real", "third_one": "other_real"}


@pytest.fixture
def files(tmp_path: Path) -> dict[str, tuple[Path, Path]]:
    """Three generators, two of one source; groups have the same names in every set."""
    shifts = {"first": 0.6, "second_one": 0.8, "third_one": 0.7, "real": 0.0, "other_real": 0.0}
    return {
        name: write_image_set(tmp_path, name, label=int("real" in name), shift=shift)
        for name, shift in shifts.items()
    }


def rows(files, generator: str, splits: tuple[str, ...]):
    """Head outputs and labels of a generator and its source in some splits, read one by one."""
    Z, y = [], []
    for name in (generator, SOURCES[generator]):
        table = read_table(files[name][1])[0]
        seen = table["split"].isin(splits).to_numpy()
        Z.append(store.read_heads(files[name][0])[seen])
        y.append(np.full(seen.sum(), int("real" in name)))
    return np.concatenate(Z), np.concatenate(y)


def test_it_trains_on_train_and_scores_groups_that_it_did_not_train_on(tmp_path, files):
    output = tmp_path / "first.parquet"
    options = []
    for side, generator in (("train", "first"), ("val", "second_one"), ("val", "third_one")):
        for kind, place in (("embeddings", 0), ("splits", 1)):
            names = (generator, SOURCES[generator])
            options += [f"--{side}-{kind}", *(str(files[name][place]) for name in names)]
    assert main(["rank-heads", *options, "--output", str(output)]) == 0
    table, note = read_table(output)
    basis = store.read_head_basis(files["first"][0])
    trained = rows(files, "first", ("train",))
    assert note["n_train"] == len(trained[1]) == 40
    # through the shared source every train group was trained on; the third has its own source
    for val, splits in (("second_one", ("val",)), ("third_one", ("train", "val"))):
        scored = rows(files, val, splits)
        expected = rank_heads(*trained, *scored, basis, C=note["C"])
        mine = table[table["val"] == val].sort_values("rank")
        assert set(mine["n"]) == {len(scored[1])}
        assert mine[["layer", "head"]].to_numpy().tolist() == expected.order.tolist()
        for metric in ("accuracy", "log_loss", "auc"):
            wanted = [getattr(expected, metric)[tuple(place)] for place in expected.order]
            np.testing.assert_allclose(mine[metric], wanted, rtol=1e-9)
