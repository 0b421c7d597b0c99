from __future__ import annotations

import numpy as np
import pytest

from clipsieve.errors import UserError
from clipsieve.io.dataset import read_rows
from clipsieve.io.feature_sets import FeatureSet, read_feature_sets, write_feature_sets
from clipsieve.probes.features import features_of
from tests.helpers.data_sets import write_image_set

SETS = [
    FeatureSet("all", "all"),
    FeatureSet("shuffled", "shuffled", shuffle=True, draws=(None, None)),
    FeatureSet("residual", "residual", space="residual", fit_intercept=True),
    FeatureSet(
        "components/a--b", "components", ("a", "b"), draws=([1, 4, 9],), excluded=("a", "b"),
        facts={"columns": 12, "kept": [2, 2], "union": 3},
    ),
    FeatureSet(
        "random_heads/a--b", "random_heads", ("a", "b"), space="heads",
        draws=([[1, 2], [0, 0]], [[0, 1], [1, 1]]), excluded=("b",),
    ),
]  # fmt: skip


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "f.json"
    write_feature_sets(path, SETS)
    assert read_feature_sets(path) == SETS


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
