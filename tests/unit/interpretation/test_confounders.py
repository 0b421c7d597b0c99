"""Fits at one C for all generators, and halves, against plain fits of scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from clipsieve.interpretation.confounders import GeneratorRows, half_stability, sweep


def rows_of(seed: int, trace: np.ndarray, n: int = 60) -> GeneratorRows:
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    X, T = (rng.normal(size=(n, len(trace))) - (1 - y)[:, None] * trace for _ in range(2))
    group = np.array([f"g{i // 2}" for i in range(n)])
    return GeneratorRows(X, y, group, np.arange(n) < 40, T, y)


def test_the_sweep_equals_plain_fits():
    traces = {"a": np.eye(6)[0] * 2, "b": np.eye(6)[0] + np.eye(6)[1], "c": np.eye(6)[2]}
    rows = {name: rows_of(k, trace) for k, (name, trace) in enumerate(traces.items())}
    texts = {"words": np.random.default_rng(9).normal(size=(20, 6))}
    found = sweep(rows, texts, [0.01, 1.0]).set_index(["C", "generator"])
    for C in (0.01, 1.0):
        for name, mine in rows.items():
            probe = LogisticRegression(C=C, fit_intercept=False, tol=1e-10, max_iter=10_000)
            w = probe.fit(mine.X, mine.y).coef_[0]
            others = [
                np.mean((other.X_test @ w > 0) == (other.y_test == 1))
                for key, other in rows.items()
                if key != name
            ]
            row = found.loc[(C, name)]
            assert row["transfer"] == pytest.approx(np.mean(others))
            V = texts["words"]
            cosines = V @ -w / np.linalg.norm(V, axis=1) / np.linalg.norm(w)
            assert row["max_cosine"] == pytest.approx(cosines.max(), abs=1e-5)
            seen = mine.X[mine.train], mine.y[mine.train]
            means = [seen[0][seen[1] == label].mean(axis=0) for label in (0, 1)]
            towards = np.subtract(*[m / np.linalg.norm(m) for m in means])
            cosine = towards @ -w / np.linalg.norm(towards) / np.linalg.norm(w)
            assert row["cos_residual"] == pytest.approx(cosine, abs=1e-5)


def test_halves_agree_more_where_the_classes_are_far_apart():
    strong = half_stability(rows_of(0, 4 * np.eye(6)[0], 600), C=0.1)
    weak = half_stability(rows_of(0, 0.2 * np.eye(6)[0], 600), C=0.1)
    assert strong[0] > 0.8
    assert strong[0] > weak[0]
    one_class = rows_of(1, np.ones(6))
    empty = GeneratorRows(
        one_class.X, np.ones(60, int), one_class.group, one_class.train, one_class.X, one_class.y
    )
    assert np.isnan(half_stability(empty, C=1.0)).all()
