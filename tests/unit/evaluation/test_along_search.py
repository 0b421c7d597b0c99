"""Transfer along a search: against scikit-learn's probes on the same columns."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from clipsieve.cli import main
from clipsieve.evaluation.along_search import Sides, sizes_of, transfer_along
from clipsieve.io.tables import read_table, write_table


def sides_of(rng, columns=6):
    found = {}
    for k, name in enumerate("abc"):
        shift = np.zeros(columns)
        shift[k : k + 3] = 1.0
        X = [rng.normal(size=(n, columns)) for n in (80, 50)]
        y = [rng.integers(0, 2, len(x)) for x in X]
        X = [
            (x + np.where(v[:, None] == 1, shift, -shift)).astype(np.float32)
            for x, v in zip(X, y, strict=True)
        ]
        found[name] = Sides(X[0], y[0], X[1], y[1])
    return found


def test_cells_are_those_of_scikit_learns_probes():
    sides = sides_of(np.random.default_rng(3))
    removed, steps = [4, 0, 2, 5, 1], [0, 2, 5]
    found = transfer_along(sides, removed, steps, C=0.5)
    assert found.shape == (3, 2, 3, 3)
    for k, step in enumerate(steps):
        left = [c for c in range(6) if c not in removed[:step]]
        for i, one in enumerate(sides.values()):
            probe = LogisticRegression(C=0.5, fit_intercept=False, tol=1e-10, max_iter=5000)
            probe.fit(one.train[:, left].astype(float), one.train_label)
            for t, other in enumerate(sides.values()):
                X = other.test[:, left].astype(float)
                right = probe.score(X, other.test_label)
                area = roc_auc_score(other.test_label, probe.decision_function(X))
                assert found[k, :, i, t] == pytest.approx([right, area], abs=1e-9)


def test_sizes_begin_with_all_columns_and_end_with_one():
    assert sizes_of(768, 8)[0] == 0
    assert sizes_of(768, 8)[-1] == 767
    assert len(sizes_of(768, 8)) == 8
    assert sizes_of(5, 30) == [0, 1, 2, 3, 4]
    assert sizes_of(10, 2, stops=[3, 12]) == [0, 3, 9]


def test_the_command_leaves_the_generators_of_a_search_out(tmp_path, monkeypatch):
    from clipsieve.io import dataset

    rng = np.random.default_rng(5)
    sides = sides_of(rng) | {"d": sides_of(rng)["a"]}

    def read_rows(embeddings, splits, allowed, what):
        # the rows of the files, as the reader of data sets gives them
        parts = []
        for name, one in sides.items():
            for split in set(allowed):
                X, y = (
                    (one.test, one.test_label) if split == "test" else (one.train, one.train_label)
                )
                if split == "val":
                    continue
                sets = np.where(y == 0, name, f"source_{name}")
                parts.append((X, y, sets))
        X, y, sets = (np.concatenate([p[k] for p in parts]) for k in range(3))
        text = np.full(len(y), "x")
        return dataset.Rows(text, text, text, sets, y, X, ())

    monkeypatch.setattr(dataset, "read_rows", read_rows)
    steps = pd.DataFrame({"step": range(1, 6), "removed": [4, 0, 2, 5, 1]})
    note = {"train": "a", "val": "b", "columns": 6, "C": 1.0, "stops": {"first": {"step": 2}}}
    write_table(steps, tmp_path / "a--b.parquet", note)
    out = tmp_path / "removal.parquet"
    sources = json.dumps({name: f"source_{name}" for name in sides})
    arguments = ["--searches", str(tmp_path / "a--b.parquet"), "--embeddings", "x", "--splits", "x"]
    arguments += ["--sources", sources, "--sizes", "2", "--output", str(out)]
    arguments += ["--run", "r", "--encoder", "e", "--seed", "3"]
    assert main(["removal", *arguments]) == 0
    table, note = read_table(out)
    assert set(table["train"]) == set(table["test"]) == {"c", "d"}
    assert sorted(set(zip(table["step"], table["left"], strict=True))) == [(0, 6), (2, 4), (5, 1)]
    expected = transfer_along({k: sides[k] for k in "cd"}, [4, 0, 2, 5, 1], [0, 2, 5])
    np.testing.assert_allclose(table["value"].to_numpy(), expected.ravel(), atol=1e-9)
    assert set(table["seed"]) == {3}
