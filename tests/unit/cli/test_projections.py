"""Nuisance projection through the commands, on image sets with planted truth."""

from __future__ import annotations

import json

import numpy as np
import pytest

from clipsieve.cli import main
from clipsieve.io import store
from clipsieve.io.feature_sets import FeatureSet, read_feature_sets
from clipsieve.io.probes import read_probes
from tests.helpers.planted_sources import SOURCE_OF, Planted

SOURCES = sorted(set(SOURCE_OF.values()))


def select(planted: Planted, family: str, *options: str, sources=SOURCES):
    output = planted.folder / f"{family}.json"
    command = ["select", "--family", family, "--output", str(output), *options]
    command += ["--embeddings", *(str(planted.file(s)) for s in sources)]
    command += ["--splits", *(str(planted.split(s)) for s in sources)]
    return main(command), output


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    planted = Planted(tmp_path_factory.mktemp("planted"))
    files = [planted.select(FeatureSet("all", "all")).rename(planted.folder / "all.json")]
    files.append(select(planted, "nuisance")[1])
    files.append(select(planted, "random_directions", "--draws", "4", "--seed", "1")[1])
    scores, probes = [], {}
    for path in files:
        probes[path.stem] = planted.fit_everything(path)
        scores.append(planted.transfer(path, probes[path.stem], f"scores_{path.stem}"))
        probes[path.stem] = {p.train: p for f in probes[path.stem] for p in read_probes(f)}
    return planted, probes, planted.evaluate(files, scores)


def mean(tables, feature_set: str, cells: str) -> float:
    means = tables["means"].set_index(["feature_set", "cells", "metric"])
    return float(means.loc[(feature_set, cells, "auc"), "value"])


def test_the_planted_direction_is_found_in_real_train_images(run):
    planted, _, _ = run
    found = read_feature_sets(planted.folder / "nuisance.json")[0]
    direction = np.array(found.directions[0])
    assert direction.shape == (1, 16)
    assert abs(direction[0, 0]) > 0.98
    X = {s: store.read_embeddings(planted.file(s)).embedding for s in SOURCES}
    train = [X[s][np.arange(len(X[s])) % 4 < 2].mean(axis=0) for s in SOURCES]
    difference = (train[0] - train[1]) / np.linalg.norm(train[0] - train[1])
    np.testing.assert_allclose(np.abs(direction[0] @ difference), 1, atol=1e-6)
    assert found.facts["images"] == sum(len(X[s]) // 2 for s in SOURCES)


def test_projection_helps_across_sources_and_random_directions_do_not(run):
    _, _, tables = run
    baseline = mean(tables, "all", "other_source")
    assert mean(tables, "nuisance", "other_source") > baseline + 0.3
    # half of the draws have the embeddings' covariance: among 16 columns these point partly along it
    gain = mean(tables, "nuisance", "other_source") - baseline
    assert mean(tables, "random_directions", "other_source") < baseline + gain / 4
    row = tables["controls"].set_index(["feature_set", "control", "metric"])
    assert row.loc[("nuisance", "random_directions", "auc"), "rank"] == 1


def test_projected_sets_are_judged_on_training_sets_too(run):
    _, _, tables = run
    means = tables["means"]
    rows = means[(means["cells"] == "all_but_one") & (means["metric"] == "auc")]
    assert set(rows["feature_set"]) == {"all", "nuisance", "random_directions"}
    assert set(rows["n_cells"]) == {len(SOURCE_OF)}
    row = rows.set_index("feature_set").loc["nuisance"]
    assert row["baseline"] == pytest.approx(mean(tables, "all", "all_but_one"))


def test_stored_coefficients_give_the_logits_of_projected_embeddings(run):
    planted, probes, _ = run
    N = np.array(read_feature_sets(planted.folder / "nuisance.json")[0].directions[0])
    X = store.read_embeddings(planted.file("c")).embedding.astype(float)
    for train in ("a", "all_but_a"):
        coef = probes["nuisance"][train].coef
        np.testing.assert_allclose(X @ coef, (X - X @ N.T @ N) @ coef, atol=1e-6)
        assert np.abs(N @ coef).max() < 1e-8


def test_draws_are_by_turns_uniform_and_of_the_embeddings_covariance(tmp_path):
    planted = Planted(tmp_path, bias=20.0)
    _, path = select(planted, "random_directions", "--draws", "40")
    first = np.array(read_feature_sets(path)[0].directions)[:, 0]
    np.testing.assert_allclose(np.linalg.norm(first, axis=1), 1, atol=1e-6)
    along = np.abs(first[:, 0])  # the axis of by far the largest variance
    assert np.median(along[1::2]) > 0.9
    assert np.median(along[0::2]) < 0.5


@pytest.mark.parametrize(
    ("family", "options"),
    [("nuisance", []), ("nuisance_components", ["--components", "3"]),
     ("random_components", ["--components", "3", "--draws", "4"])],
)  # fmt: skip
def test_only_real_train_images_change_a_projection(tmp_path, family, options):
    planted = Planted(tmp_path)
    before = select(planted, family, *options)[1].read_text()
    for name in SOURCE_OF:
        planted.shift(name, None)
    for source in SOURCES:
        planted.shift(source, "val")
        planted.shift(source, "test")
    assert select(planted, family, *options)[1].read_text() == before
    planted.shift(SOURCES[0], "train")
    assert select(planted, family, *options)[1].read_text() != before


def test_components_are_added_to_the_sources_differences(tmp_path):
    planted = Planted(tmp_path)
    between = read_feature_sets(select(planted, "nuisance")[1])[0].directions[0]
    both = select(planted, "nuisance_components", "--components", "3")[1]
    found = np.array(read_feature_sets(both)[0].directions[0])
    assert found.shape == (4, 16)
    np.testing.assert_allclose(found[0], between[0])
    np.testing.assert_allclose(found @ found.T, np.eye(4), atol=1e-7)
    alone = select(planted, "nuisance_components", "--components", "3", sources=["coco"])[1]
    assert np.array(read_feature_sets(alone)[0].directions[0]).shape == (3, 16)


def test_one_source_and_generated_images_are_refused(tmp_path, capsys):
    planted = Planted(tmp_path)
    assert select(planted, "nuisance", sources=["coco"])[0] == 2
    assert "the differences between sources need two" in capsys.readouterr().err
    assert select(planted, "nuisance", sources=["coco", "a"])[0] == 2
    assert "a is a generator" in capsys.readouterr().err
    assert select(planted, "nuisance", "--components", "2")[0] == 2
    assert json.loads((planted.select(FeatureSet("all", "all"))).read_text())[0]["directions"] == []
