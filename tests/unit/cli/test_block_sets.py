"""Blocks of heads through the commands, on image sets with planted truth."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from clipsieve.cli import main
from clipsieve.io import store
from clipsieve.io.feature_sets import FeatureSet, read_feature_sets
from clipsieve.io.probes import read_probes
from clipsieve.io.scores import read_scores
from tests.helpers.planted_blocks import HEADS, SIZE, TRACED, PlantedBlocks
from tests.helpers.planted_sources import SOURCE_OF, D

ALL_HEADS = [[TRACED, head] for head in range(HEADS)]


def select(planted: PlantedBlocks, family: str, *options: str):
    output = planted.folder / f"{family}.json"
    command = ["select", "--family", family, "--output", str(output), *options]
    command += [*planted.image_sets(*SOURCE_OF), "--sources", json.dumps(SOURCE_OF)]
    assert main(command) == 0
    return output


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    planted = PlantedBlocks(tmp_path_factory.mktemp("planted"))
    files = [planted.select(FeatureSet("all", "all")).rename(planted.folder / "all.json")]
    files.append(select(planted, "block_beside_nuisance"))
    files.append(select(planted, "columns_beside_less", "--draws", "3", "--seed", "1"))
    scores, probes = [], {}
    for path in files:
        probes[path.stem] = planted.fit_everything(path)
        scores.append(planted.transfer(path, probes[path.stem], f"scores_{path.stem}"))
        probes[path.stem] = {
            (p.train, p.draw, p.choice): p
            for f in probes[path.stem]
            for p in read_probes(f, nested=True)
        }
    return planted, files, probes, scores, planted.evaluate(files, scores)


def mean(tables, feature_set: str, cells: str) -> float:
    means = tables["means"].set_index(["feature_set", "cells", "metric"])
    return float(means.loc[(feature_set, cells, "auc"), "value"])


def test_the_planted_block_is_chosen_for_each_tested_generator(run):
    _, files, _, _, _ = run
    found = read_feature_sets(files[1])[0]
    assert found.draws == (ALL_HEADS,)
    assert sorted(name for one in found.nested for name in one.tested) == sorted(SOURCE_OF)
    assert {json.dumps(one.draws) for one in found.nested} == {json.dumps([ALL_HEADS])}
    assert np.array(found.directions[0]).shape == (1, D + HEADS * SIZE)


def test_the_block_transfers_and_as_many_columns_do_not(run):
    *_, tables = run
    for cells in ("all", "all_but_one"):
        baseline = mean(tables, "all", cells)
        assert mean(tables, "block_beside_nuisance", cells) > baseline + 0.2
        assert mean(tables, "columns_beside_less", cells) < baseline + 0.07
    row = tables["controls"].set_index(["feature_set", "control", "metric"])
    assert row.loc[("block_beside_nuisance", "columns_beside_less", "auc"), "rank"] == 1


def test_stored_coefficients_are_of_what_is_stored(run):
    planted, files, probes, _, _ = run
    found = read_feature_sets(files[1])[0]
    rows = store.read_embeddings(planted.file("c"))
    basis = store.read_head_basis(planted.file("c"))
    z = store.read_heads(planted.file("c"), [tuple(head) for head in ALL_HEADS])
    outputs = np.concatenate(
        [z[:, k].astype(float) @ basis[tuple(head)].T for k, head in enumerate(ALL_HEADS)], axis=1
    )
    E, N, s = rows.embedding.astype(float), np.array(found.directions[0]), found.scales[0]
    scaled = np.concatenate([E, s * outputs], axis=1)
    projected = scaled - scaled @ N.T @ N
    for train in ("a", "all_but_a"):
        coef = probes["block_beside_nuisance"][train, 0, 0].coef
        across = coef.copy()
        across[D:] /= s  # on the scaled features
        np.testing.assert_allclose(
            np.concatenate([E, outputs], axis=1) @ coef, projected @ across, atol=1e-6
        )
        assert np.abs(N @ across).max() < 1e-7


def test_each_cell_is_of_the_choice_of_its_tested_generator(run):
    planted, files, _, scores, _ = run
    # choices by hand, so that they differ: another block is chosen where a or b is tested
    first = read_feature_sets(files[1])[0]
    other = [[0, head] for head in range(HEADS)]
    sets = json.loads(files[1].read_text())
    nested = sets[0]["nested"][0]
    sets[0]["nested"] = [
        {**nested, "tested": ["c", "d", "e"]},
        {**nested, "tested": ["a", "b"], "draws": [other]},
    ]
    path = planted.folder / "by_hand.json"
    path.write_text(json.dumps(sets))
    files_of = planted.fit_everything(path)
    found = {(p.train, p.choice): p for f in files_of for p in read_probes(f, nested=True)}
    assert {choice for _, choice in found} == {0, 1, 2}
    assert {choice for train, choice in found if train == "all_but_a"} == {0, 2}
    written = planted.transfer(path, files_of, "scores_by_hand")
    whole = planted.evaluate([files[0], path], [scores[0], written])["cells"]
    mine = whole[(whole["feature_set"] == first.feature_set) & (whole["metric"] == "auc")]
    assert len(mine) == 5 * 5 + 5
    basis = store.read_head_basis(planted.file("a"))
    for row in mine.itertuples():
        choice, block = (2, other) if row.test in ("a", "b") else (1, ALL_HEADS)
        probe = found[row.train, choice]
        logits = []
        for name in (row.test, SOURCE_OF[row.test]):
            z = store.read_heads(planted.file(name), [tuple(head) for head in block])
            E = store.read_embeddings(planted.file(name)).embedding.astype(float)
            parts = [z[:, k].astype(float) @ basis[tuple(h)].T for k, h in enumerate(block)]
            logits.append((np.concatenate([E, *parts], axis=1) @ probe.coef)[3::4])
        y = np.repeat([0, 1], [len(part) for part in logits])
        assert row.value == pytest.approx(roc_auc_score(y, np.concatenate(logits)), abs=1e-9)
    # what is read again is what was written
    again = read_scores([written])
    assert [one.choice for one in again.scores[0].nested] == [1, 2]
    assert again.scores[0].nested[1].tested == ("a", "b")


def test_a_detector_gets_the_one_probe_that_was_chosen_with_all_generators(run):
    planted, *_ = run
    found = read_probes(planted.folder / "probes" / "all_but_a.npz")
    assert [(p.choice, list(p.tested)) for p in found if p.draw == 0] == [(0, [])]


@pytest.mark.parametrize(
    "family", ["block", "block_nuisance", "block_beside", "block_beside_nuisance"]
)
def test_no_image_of_a_tested_generator_and_no_test_image_changes_its_probes(tmp_path, family):
    planted = PlantedBlocks(tmp_path)
    before = read_feature_sets(select(planted, family))[0]
    for source in set(SOURCE_OF.values()):
        planted.shift(source, "test")
    for name in SOURCE_OF:
        planted.shift(name, "test")
    assert read_feature_sets(select(planted, family))[0] == before
    planted.shift("e", None)
    after = read_feature_sets(select(planted, family))[0]

    def for_e(found):
        return next(one for one in found.nested if "e" in one.tested)

    mine, theirs = for_e(before), for_e(after)
    assert (mine.draws, mine.directions, mine.scales) == (
        theirs.draws, theirs.directions, theirs.scales,
    )  # fmt: skip
    assert before.facts != after.facts  # the choice with all generators did see it


@pytest.mark.parametrize(
    ("family", "width"),
    [("random_block", 0), ("scattered_heads", 0), ("random_block_beside", D),
     ("columns_beside", D), ("columns_middle", D), ("columns_middle_less", D)],
)  # fmt: skip
def test_controls_have_as_many_columns(tmp_path, family, width):
    planted = PlantedBlocks(tmp_path)
    found = read_feature_sets(select(planted, family, "--draws", "4"))[0]
    assert len(found.draws) == 4
    size = 1 if found.space == "embedding" else SIZE
    for draw in found.draws:
        beside = width if found.space == "beside" else 0
        assert beside + size * len(draw) == width + HEADS * SIZE
        if family == "columns_beside":
            assert draw[:D] == list(range(D))
    if family.endswith("less"):
        assert np.array(found.directions).shape == (4, 1, width + HEADS * SIZE)


def test_a_generator_without_a_source_is_refused(tmp_path, capsys):
    planted = PlantedBlocks(tmp_path)
    command = ["select", "--family", "block", "--output", str(tmp_path / "x.json")]
    command += [*planted.image_sets(*SOURCE_OF), "--sources", '{"a": "coco"}']
    assert main(command) == 2
    assert "--sources: does not name the generator b" in capsys.readouterr().err


def test_twins_are_of_the_same_choices(tmp_path):
    planted = PlantedBlocks(tmp_path)
    features = select(planted, "block_beside")
    probes = []
    for name in SOURCE_OF:
        probes.append(tmp_path / f"{name}.npz")
        command = ["fit", "--features", str(features), *planted.image_sets(name)]
        command += ["--grid", "fast", "--twin", "fast", "--output", str(probes[-1])]
        assert main(command) == 0
    scores = read_scores([planted.transfer(features, probes)])
    (one,), twin = scores.scores, scores.twins["block_beside"].scores
    assert [part.tested for part in twin.nested] == [part.tested for part in one.nested]
    np.testing.assert_allclose(twin.logits, one.logits)  # the same grid, and so the same probes
    few = scores.take(scores.images.image_set != "e")
    assert few.scores[0].nested[0].logits.shape[1] == few.scores[0].logits.shape[1]
    assert few.twins["block_beside"].scores.nested[0].logits.shape == few.scores[0].logits.shape
