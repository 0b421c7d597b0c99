from __future__ import annotations

import numpy as np
import pytest

from clipsieve.errors import UserError
from clipsieve.io.dataset import read_rows
from clipsieve.io.feature_sets import FeatureSet, read_feature_sets, write_feature_sets
from clipsieve.probes.features import features_of
from clipsieve.selection import choose
from tests.helpers.data_sets import write_image_set

SEARCHED = {("a", "b"): choose.Searched(([1, 4], [4, 9]), 12)}
ORDER = [(1, 2), (0, 0), (1, 1), (0, 1), (0, 2), (1, 0)]
RANKED = {("a", "b"): ORDER, ("b", "a"): ORDER[::-1]}


def every_family():
    rng = np.random.default_rng(1)
    rows = {("a", "b"): (rng.normal(size=(40, 12)), np.arange(40) % 2)}
    yield from choose.PLAIN.values()
    yield from choose.shuffled(3)
    for family in ("components", "components_intercept", "residual_components"):
        yield from choose.components(family, SEARCHED)
    yield from choose.random_components(SEARCHED, 4, 0)
    for family in ("fisher", "variance", "l1"):
        yield from choose.filtered(family, SEARCHED, rows)
    yield from choose.heads(RANKED, 2, "validation")
    yield from choose.random_heads(RANKED, 2, "both", 4, 0)


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "f.json"
    sets = list(every_family())
    write_feature_sets(path, sets)
    assert read_feature_sets(path) == sets


def test_selected_sets_are_the_union_of_both_directions_and_leave_the_pair_out():
    (found,) = choose.components("components", SEARCHED)
    assert found.draws == ([1, 4, 9],)
    assert found.excluded == ("a", "b")


def test_controls_are_as_large_as_what_was_selected():
    for item in every_family():
        if item.family in {"random", "fisher", "variance", "l1"}:
            assert {len(set(draw)) for draw in item.draws} == {3}, item.feature_set
        if item.family == "random_heads":
            assert {len({tuple(h) for h in draw}) for draw in item.draws} == {2}


def test_random_draws_do_not_follow_the_order_of_pairs():
    two = {("c", "d"): choose.Searched(([0], [1]), 12), **SEARCHED}
    alone = {s.feature_set: s for s in choose.random_components(SEARCHED, 4, 0)}
    both = {s.feature_set: s for s in choose.random_components(two, 4, 0)}
    assert alone["random/a--b"] == both["random/a--b"]
    assert both["random/a--b"].draws != both["random/c--d"].draws


def test_heads_exclude_the_validation_generator_or_both():
    first, second = choose.heads(RANKED, 2, "validation")
    assert (first.draws, first.excluded) == (([[1, 2], [0, 0]],), ("b",))
    assert second.excluded == ("a",)
    assert choose.heads(RANKED, 2, "both")[0].excluded == ("a", "b")


@pytest.mark.parametrize(
    "text",
    ["{", '{"feature_set": "all"}', "[3]", "3", '[{"family": "all"}]', '[{"feature_set": 3}]',
     '[{"feature_set": "all", "pair": ["a"]}]', '[{"feature_set": "all", "colour": "red"}]'],
)  # fmt: skip
def test_a_damaged_file_is_named(tmp_path, text):
    path = tmp_path / "components.json"
    path.write_text(text)
    with pytest.raises(UserError, match=r"components\.json: not a feature-set file"):
        read_feature_sets(path)


def test_keys_that_are_missing_have_their_defaults(tmp_path):
    path = tmp_path / "components.json"
    path.write_text('[{"feature_set": "components/a--b", "excluded": ["a", "b"]}]')
    (found,) = read_feature_sets(path)
    assert found == FeatureSet("components/a--b", "components", excluded=("a", "b"))


def test_features_of_each_space(tmp_path):
    parts = [write_image_set(tmp_path, n, label=y) for n, y in (("gen", 0), ("real", 1))]
    rows = read_rows([p[0] for p in parts], [p[1] for p in parts], ("train",), "test")
    np.testing.assert_array_equal(features_of(rows, "embedding", None), rows.embedding)
    np.testing.assert_array_equal(features_of(rows, "embedding", [3, 1]), rows.embedding[:, [3, 1]])
    direction = np.arange(12.0)
    cosine = features_of(rows, "residual", None, residual=direction)[:, 0]
    e = rows.embedding.astype(float)
    plain = [v @ direction / (np.linalg.norm(v) * np.linalg.norm(direction)) for v in e]
    np.testing.assert_allclose(cosine, plain, rtol=1e-12)
    stacked = features_of(rows, "heads", [[1, 2], [0, 0]])
    basis, heads = rows.head_basis(), rows.heads()
    for i in range(len(rows)):
        expected = [*(basis[1, 2] @ heads[i, 1, 2]), *(basis[0, 0] @ heads[i, 0, 0])]
        np.testing.assert_allclose(stacked[i], expected, rtol=1e-5)


def test_a_feature_set_without_a_pair_keeps_none(tmp_path):
    write_feature_sets(tmp_path / "all.json", [FeatureSet("all", "all")])
    (found,) = read_feature_sets(tmp_path / "all.json")
    assert found.pair is None
    assert found.draws == (None,)
