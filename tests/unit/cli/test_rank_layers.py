"""Layers from ranking to scores: which rows are seen, what is chosen, and what probes make of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score

from clipsieve.cli import main
from clipsieve.errors import UserError
from clipsieve.io.dataset import read_rows
from clipsieve.io.feature_sets import read_feature_sets
from clipsieve.io.layers import read_layers
from clipsieve.io.probes import read_probes
from clipsieve.io.scores import read_scores
from clipsieve.io.tables import read_table, write_table
from tests.helpers.data_sets import LAYERS, WIDTH, write_image_set

SOURCES = {"first": "real", "second_one": "real", "third_one": "other_real", "fourth": "other_real"}
PAIR = "first--third_one"


@pytest.fixture
def files(tmp_path: Path) -> dict[str, tuple[Path, Path]]:
    shifts = {"first": 0.9, "second_one": 1.1, "third_one": 1.0, "fourth": 1.2}
    return {
        name: write_image_set(
            tmp_path, name, label=int("real" in name), shift=shifts.get(name, 0.0), groups=80
        )
        for name in (*SOURCES, "real", "other_real")
    }


def normalised(layers: np.ndarray) -> np.ndarray:
    """Each token with mean 0 and variance 1, in a plain loop."""
    found = np.empty(layers.shape)
    for place in np.ndindex(layers.shape[:2]):
        token = layers[place].astype(np.float64)
        found[place] = (token - token.mean()) / np.sqrt(((token - token.mean()) ** 2).mean())
    return found


def rows(files, generator: str, splits: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    X, y = [], []
    for name in (generator, SOURCES[generator]):
        seen = read_table(files[name][1])[0]["split"].isin(splits).to_numpy()
        X.append(normalised(read_layers(files[name][0])[seen]))
        y.append(np.full(seen.sum(), int("real" in name)))
    return np.concatenate(X), np.concatenate(y)


def files_of(files, side: str, *generators: str) -> list[str]:
    options = []
    for generator in generators:
        for kind, place in (("embeddings", 0), ("splits", 1)):
            names = (generator, SOURCES[generator])
            options += [f"--{side}{kind}", *(str(files[name][place]) for name in names)]
    return options


@pytest.fixture
def ranking(tmp_path, files) -> Path:
    options = [
        *files_of(files, "train-", "first"),
        *files_of(files, "val-", "second_one", "third_one", "fourth"),
    ]
    output = tmp_path / "layer_rankings" / "first.parquet"
    assert main(["rank-layers", *options, "--C", "0.3", "--output", str(output)]) == 0
    return output


def test_scores_are_those_of_scikit_learn_on_rows_that_may_be_seen(files, ranking):
    table, note = read_table(ranking)
    X, y = rows(files, "first", ("train",))
    assert note["n_train"] == len(y) == 80
    # through the shared source every train group was trained on; the third has its own source
    for val, splits in (("second_one", ("val",)), ("third_one", ("train", "val"))):
        Z, v = rows(files, val, splits)
        mine = table[table["val"] == val].set_index("layer")
        assert set(mine["n"]) == {len(v)}
        for layer in range(LAYERS):
            plain = LogisticRegression(C=0.3, fit_intercept=False, tol=1e-10, max_iter=10000)
            logit = plain.fit(X[:, layer], y).decision_function(Z[:, layer])
            assert mine["auc"][layer] == pytest.approx(roc_auc_score(v, logit), abs=1e-12)
            assert mine["accuracy"][layer] == np.mean((logit > 0) == v)
            probability = 1 / (1 + np.exp(-logit))
            assert mine["log_loss"][layer] == pytest.approx(log_loss(v, probability), rel=1e-6)
        # the class is planted in the second layer; the final embedding has no rank
        assert mine["rank"].to_dict() == {1: 1, 0: 2, -1: 0}


def select(tmp_path: Path, ranking: Path, family: str, *options: str) -> Path:
    output = tmp_path / f"{family}.json"
    main(
        ["select", "--family", family, "--pairs", PAIR, "--layer-rankings", str(ranking), "--best",
         "1", "--exclude", "validation", *options, "--output", str(output)]
    )  # fmt: skip
    return output


def test_the_best_layer_and_random_ones_are_feature_sets(tmp_path, ranking):
    chosen = read_feature_sets(select(tmp_path, ranking, "layers"))[0]
    assert (chosen.feature_set, chosen.space, chosen.draws) == (f"layers/{PAIR}", "layers", ([1],))
    assert chosen.excluded == ("third_one",)
    assert chosen.facts == {"columns": LAYERS}
    drawn = read_feature_sets(select(tmp_path, ranking, "random_layers", "--draws", "12"))[0]
    assert drawn.excluded == ("third_one",)
    assert {tuple(layers) for layers in drawn.draws} == {(0,), (1,)}


def test_more_layers_than_there_are_and_a_pair_without_ranking_are_refused(
    tmp_path, ranking, capsys
):
    select(tmp_path, ranking, "layers", "--best", str(LAYERS + 1))
    assert f"--best {LAYERS + 1}: the encoder has {LAYERS} layers" in capsys.readouterr().err
    select(tmp_path, ranking, "layers", "--pairs", "second_one--first")
    assert "--layer-rankings: no ranking of second_one on first" in capsys.readouterr().err


def test_probes_of_a_layer_are_fitted_and_applied(tmp_path, files, ranking):
    features, probes = select(tmp_path, ranking, "layers"), tmp_path / "p.npz"
    fit = ["fit", "--features", str(features), *files_of(files, "", "first"), "--grid", "fast"]
    assert main([*fit, "--output", str(probes)]) == 0
    probe = read_probes(probes)[0]
    assert (probe.space, probe.columns, probe.coef.shape) == ("layers", [1], (WIDTH,))
    X, y = rows(files, "first", ("train", "val"))
    plain = LogisticRegression(C=probe.params["C"], fit_intercept=False, tol=1e-10, max_iter=10000)
    np.testing.assert_allclose(probe.coef, plain.fit(X[:, 1], y).coef_[0], rtol=1e-3, atol=1e-5)
    output = tmp_path / "scores.h5"
    tested = [str(files[name][0]) for name in ("fourth", "other_real")]
    splits = [str(files[name][1]) for name in ("fourth", "other_real")]
    assert (
        main(
            ["transfer", "--features", str(features), "--probes", str(probes), "--embeddings", *tested,
             "--splits", *splits, "--run", "r", "--encoder", "e", "--seed", "0", "--families",
             json.dumps(dict.fromkeys(SOURCES, "gan")), "--sources", json.dumps(SOURCES),
             "--output", str(output)]
        )
        == 0
    )  # fmt: skip
    Z, _ = rows(files, "fourth", ("test",))
    found = read_scores([output]).scores[0].logits[0]
    found = found[: len(Z)]
    np.testing.assert_allclose(found, Z[:, 1] @ probe.coef, rtol=1e-4, atol=1e-5)


def test_a_detector_of_layers_is_refused_by_name(tmp_path, files, ranking):
    from clipsieve.detector.model import check_members

    features, probes = select(tmp_path, ranking, "layers"), tmp_path / "p.npz"
    fit = ["fit", "--features", str(features), *files_of(files, "", "first"), "--grid", "fast"]
    assert main([*fit, "--output", str(probes)]) == 0
    with pytest.raises(UserError, match=f"detector: layers/{PAIR} sees layers"):
        check_members(read_probes(probes))


def test_files_without_layers_are_refused_by_name(tmp_path, files):
    from clipsieve.io import store

    whole = store.read_embeddings(files["first"][0])
    bare = tmp_path / "bare" / "first.h5"
    store.write_embeddings(bare, image_id=whole.image_id, embedding=whole.embedding)
    found = read_rows([bare], [files["first"][1]], ("train",), "x")
    with pytest.raises(UserError, match=r"first\.h5: no layers .*has_layers"):
        found.layers()
    with pytest.raises(UserError, match=r"no layer 2; layers 0\.\.1"):
        read_layers(files["first"][0], [2])


def test_the_figure_shows_the_mean_of_every_layer(tmp_path, ranking):
    from clipsieve.report.figures.depth import by_layer

    table, note = read_table(ranking)
    found = by_layer(table).set_index("layer")
    for layer in (-1, *range(LAYERS)):
        wanted = [r["auc"] for r in table.to_dict("records") if r["layer"] == layer]
        assert found["mean"][layer] == pytest.approx(sum(wanted) / len(wanted))
        assert (found["lowest"][layer], found["highest"][layer]) == (min(wanted), max(wanted))
    # the same numbers stand in the drawing
    place = tmp_path / "r" / "seed0" / "e" / "layer_rankings" / "first.parquet"
    write_table(table, place, note)
    svg = tmp_path / "layers.svg"
    assert main(["figure", "layers", "--layer-rankings", str(place), "--svg", str(svg)]) == 0
    assert "mean AUC on other generators" in svg.read_text()
