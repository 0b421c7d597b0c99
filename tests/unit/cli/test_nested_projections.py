"""Projections that are chosen for each tested generator: the strict form, and the number of components."""

from __future__ import annotations

import json

import numpy as np
import pytest

from clipsieve.cli import main
from clipsieve.io import store
from clipsieve.io.feature_sets import read_feature_sets
from clipsieve.selection.choose import Everyone, Given
from clipsieve.selection.nuisance import nuisance_directions
from clipsieve.selection.projections import (
    COMPONENTS,
    less_chosen_components,
    less_other_sources,
    less_random_chosen,
)
from tests.helpers.planted_sources import SOURCE_OF, Planted

OWN = {"a": "s", "b": "s", "c": "t", "d": "u"}


def everyone(seed: int = 0, *, strength: float = 4.0, count: int = 60) -> Everyone:
    """Sources s, t, u lie apart along axes 0 and 1; real and generated images vary along axes 3 and 4.

    The trace that all generators share lies along axis 2. How far a generator is from its source along
    axes 3 and 4 is its own affair.
    """
    rng = np.random.default_rng(seed)
    place = {"s": (strength, 0.0), "t": (-strength, strength), "u": (0.0, -strength)}
    own = {"a": (6, 0), "b": (-6, 0), "c": (0, 6), "d": (0, -6)}
    parts, domain = [], []
    for name in (*place, *OWN):
        X = rng.normal(size=(count, 12))
        X[:, 3:5] *= 5
        if name in place:
            X[:, :2] += place[name]
        else:
            X[:, 2] += 2.0
            X[:, 3:5] += own[name]
        parts.append(X)
        domain += [name] * count
    names = np.array(domain)
    return Everyone(
        np.concatenate(parts), np.isin(names, list(place)).astype(int), names,
        np.tile(np.arange(count), 7), np.tile(np.arange(count) % 4 < 3, 7), OWN,
        lambda layer: np.empty((0, 0)),
    )  # fmt: skip


def test_the_strict_form_leaves_the_tested_generators_own_source_out():
    rows = everyone()
    found = less_other_sources(Given(everyone=rows))
    assert np.asarray(found.directions[0]).shape == (2, 12)
    for name, source in OWN.items():
        kept = rows.train & (rows.y == 1) & (rows.domain != source)
        np.testing.assert_allclose(
            found.nested[name].directions[0], nuisance_directions(rows.X[kept], rows.domain[kept])
        )
        assert len(found.nested[name].directions[0]) == 1


def test_real_images_of_the_tested_source_do_not_change_the_strict_form():
    rows = everyone()
    before = less_other_sources(Given(everyone=rows)).nested
    moved = rows.X.copy()
    moved[rows.domain == "u"] *= 3
    moved[rows.domain == "u"] += 7
    after = less_other_sources(
        Given(everyone=Everyone(moved, *(getattr(rows, n) for n in (
            "y", "domain", "group", "train", "source_of", "block"))))
    ).nested  # fmt: skip
    np.testing.assert_array_equal(before["d"].directions[0], after["d"].directions[0])
    assert not np.allclose(before["a"].directions[0], after["a"].directions[0])


def test_components_are_removed_where_that_helps_transfer_and_not_where_it_does_not():
    found = less_chosen_components(Given(everyone=everyone()))
    assert found.facts["number"] == 2
    assert np.abs(np.asarray(found.directions[0])[:, 3:5]).max() > 0.9
    assert set(found.facts["number_for"]) == set(OWN)
    calm = everyone()
    calm.X[:, 3:5] /= 25  # nothing varies there, and the trace is alone
    assert less_chosen_components(Given(everyone=calm)).facts["number"] <= 1
    scores = found.facts["tried"]
    assert list(scores) == [str(k) for k in COMPONENTS if k <= 6]
    assert max(scores, key=scores.get) == "2"


def test_no_image_of_a_tested_generator_decides_how_many_components_it_is_tested_without():
    rows = everyone(3)
    before = less_chosen_components(Given(everyone=rows)).nested["d"]
    rows.X[rows.domain == "d"] = 30 * np.random.default_rng(1).normal(size=(60, 12))
    after = less_chosen_components(Given(everyone=rows)).nested["d"]
    np.testing.assert_array_equal(before.directions[0], after.directions[0])


def test_the_control_removes_as_many_random_directions():
    rows = everyone()
    found = less_random_chosen(Given(everyone=rows, draws=4, seed=2))
    method = less_chosen_components(Given(everyone=rows))
    assert len(found.directions) == 4
    for one in found.directions:
        assert one.shape == np.asarray(method.directions[0]).shape
        np.testing.assert_allclose(one @ one.T, np.eye(len(one)), atol=1e-9)


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    return Planted(tmp_path_factory.mktemp("planted"))


def select(planted, family):
    output = planted.folder / f"{family}.json"
    command = ["select", "--family", family, "--output", str(output)]
    command += [*planted.image_sets(*SOURCE_OF), "--sources", json.dumps(SOURCE_OF)]
    return main(command), output


def test_a_chosen_number_goes_through_the_commands(planted):
    status, path = select(planted, "nuisance_chosen")
    assert status == 0
    found = read_feature_sets(path)[0]
    assert sorted(name for one in found.nested for name in one.tested) == sorted(SOURCE_OF)
    probes = planted.fit_everything(path)
    scores = planted.transfer(path, probes, "scores_chosen")
    assert scores.is_file()
    width = store.read_embeddings(planted.file("a")).embedding.shape[1]
    assert all(np.array(one.directions[0]).shape[1] == width for one in found.nested)


def test_the_strict_form_needs_three_sources(planted, capsys):
    assert select(planted, "nuisance_strict")[0] == 2
    assert "the differences between the others need two" in capsys.readouterr().err
