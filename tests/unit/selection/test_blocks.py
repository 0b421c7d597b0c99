"""The choice of a block: by transfer between generators, for each tested generator without it."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from clipsieve.errors import UserError
from clipsieve.selection.blocks import MOST, Scored, choose_block, few_of_each
from clipsieve.selection.training_sets import balanced_weights

SOURCE_OF = {"a": "s", "b": "s", "c": "t", "d": "t"}
SIZES = {"a": 24, "b": 18, "c": 30, "d": 24, "s": 30, "t": 24}
DOMAIN = np.repeat(list(SIZES), list(SIZES.values()))
Y = np.isin(DOMAIN, ["s", "t"]).astype(int)
GROUP = np.concatenate([np.arange(n) for n in SIZES.values()])


def rows(**options) -> Scored:
    return Scored.of(Y, DOMAIN, source_of=SOURCE_OF, group=GROUP, **options)


def blocks(seed: int, traced: dict[str, int], layers: int = 4, size: int = 3) -> list[np.ndarray]:
    """Noise in every layer; the images of a generator have a trace in the layer `traced` names."""
    rng = np.random.default_rng(seed)
    found = [rng.normal(size=(len(Y), size)) for _ in range(layers)]
    for name, layer in traced.items():
        found[layer][name == DOMAIN, 0] += 2.5
    return found


def test_transfer_is_that_of_plain_fits_on_the_other_folds():
    X = blocks(0, dict.fromkeys(SOURCE_OF, 0))[0]
    scored = rows()
    found = scored.transfer(X, C=0.5)
    for i, train in enumerate(scored.generators):
        for j, test in enumerate(scored.generators):
            values = []
            for fold in range(3):
                seen = np.isin(DOMAIN, [train, SOURCE_OF[train]]) & (scored.fold != fold)
                at = np.isin(DOMAIN, [test, SOURCE_OF[test]]) & (scored.fold == fold)
                model = LogisticRegression(C=0.5, fit_intercept=False, tol=1e-10, max_iter=9999)
                weights = balanced_weights(Y[seen], DOMAIN[seen])
                model.fit(X[seen], Y[seen], sample_weight=weights)
                values.append(roc_auc_score(Y[at], X[at] @ model.coef_[0]))
            if i == j:
                assert np.isnan(found.matrix[i, j])
            else:
                assert found.matrix[i, j] == pytest.approx(np.mean(values), abs=1e-9)


def test_a_group_is_never_on_both_sides_and_equal_names_of_two_sources_are_two_groups():
    scored = rows()
    for source in ("s", "t"):
        mine = np.isin(DOMAIN, [source, *(g for g, s in SOURCE_OF.items() if s == source)])
        for group in np.unique(GROUP[mine]):
            assert len(set(scored.fold[mine & (group == GROUP)])) == 1
    both = [
        {scored.fold[(name == DOMAIN) & (g == GROUP)][0] for name in ("s", "t")} for g in range(24)
    ]
    assert any(len(folds) == 2 for folds in both)


def test_the_block_with_the_trace_is_chosen_for_every_tested_generator():
    layers = blocks(1, dict.fromkeys(SOURCE_OF, 2))
    choice, scales = choose_block(lambda k: layers[k], 4, rows())
    assert choice.chosen == 2
    assert choice.nested == dict.fromkeys(SOURCE_OF, 2)
    assert np.argmax(choice.scores[""]) == 2
    assert len(scales) == 4


def test_nothing_that_a_tested_generator_looks_like_changes_its_own_choice():
    before = blocks(2, {"a": 1, "b": 1, "c": 1, "d": 3})
    first, _ = choose_block(lambda k: before[k], 4, rows(), embedding=before[0])
    rng = np.random.default_rng(5)
    after = [layer.copy() for layer in before]
    for layer in after:
        layer[DOMAIN == "d"] = 9 * rng.normal(size=layer[DOMAIN == "d"].shape)
    second, _ = choose_block(lambda k: after[k], 4, rows(), embedding=before[0])
    np.testing.assert_array_equal(first.scores["d"], second.scores["d"])
    assert first.nested["d"] == second.nested["d"] == 1
    assert not np.array_equal(first.scores["a"], second.scores["a"])


def test_projection_takes_the_sources_difference_out_of_the_choice():
    # layer 0 tells sources apart, and so each generator from its own source but from no other one
    layers = blocks(3, dict.fromkeys(SOURCE_OF, 1), layers=2)
    layers[0][DOMAIN == "s", 1] += 6
    layers[0][DOMAIN == "t", 1] -= 6
    scored = rows()
    plain, _ = choose_block(lambda k: layers[k], 2, scored)
    projected, _ = choose_block(lambda k: layers[k], 2, scored, project=True)
    assert projected.scores[""][0] == pytest.approx(0.5, abs=0.12)
    assert abs(plain.scores[""][0] - projected.scores[""][0]) > 0.1
    assert projected.chosen == 1


def test_blocks_are_scaled_to_the_embedding():
    layers = blocks(4, {})
    X = 20 * layers[0]
    _, scales = choose_block(lambda k: layers[k], 4, rows(), embedding=X)
    real = Y == 1
    for layer, scale in zip(layers, scales, strict=True):
        lengths = [(part[real] ** 2).sum(axis=1).mean() for part in (scale * layer, X)]
        assert lengths[0] == pytest.approx(lengths[1])


def test_few_rows_of_a_large_set_decide():
    domain = np.array(["a"] * (3 * MOST) + ["b"] * 5)
    few = few_of_each(domain)
    assert (domain[few] == "a").sum() == MOST
    assert (domain[few] == "b").sum() == 5
    assert len(set(few.tolist())) == len(few)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"source_of": {**SOURCE_OF, "a": "u"}}, "source_of['a'] is 'u'"),
        ({"domain": DOMAIN[:-1]}, "domain has shape"),
        ({"group": GROUP[:-1]}, "group has shape"),
        ({"folds": 1}, "folds is 1"),
        ({"domain": np.where(np.isin(DOMAIN, ["c", "d"]), "a", DOMAIN)}, "at least 3 are needed"),
    ],
)
def test_what_cannot_be_compared_is_refused(change, said):
    with pytest.raises(UserError) as error:
        Scored.of(Y, **{"domain": DOMAIN, "source_of": SOURCE_OF, "group": GROUP, **change})
    assert said in str(error.value)
