"""Nearest texts and their nulls: uniform p without meaning, a planted meaning, plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kstest

from clipsieve.interpretation.explain import explain_with_edits, explain_with_texts, two_sided
from clipsieve.interpretation.nearest import (
    Direction,
    first_of_each,
    head_direction,
    nearest_texts,
    probe_direction,
)
from clipsieve.interpretation.null_directions import (
    LabelledRows,
    Meaningless,
    Refit,
    patterns_of,
)
from clipsieve.interpretation.nulls import (
    Comparison,
    above_null,
    compare,
    covariance,
    null_of,
    permuted_means,
    permuted_residuals,
    random_directions,
    share_at_least,
    unit_rows,
)
from clipsieve.probes import fit_path
from clipsieve.selection.filters import shuffled_labels


def cone(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    """Points of an anisotropic cloud off the origin, as embeddings are."""
    return rng.normal(size=(n, d)) * np.geomspace(3, 0.05, d) + np.linspace(-1, 2, d)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_nearest_and_farthest_equal_a_full_sort_of_cosines():
    rng = np.random.default_rng(1)
    texts, directions = rng.normal(size=(300, 16)) + 0.3, rng.normal(size=(4, 16))
    for direction, (near, far) in zip(
        directions, nearest_texts(directions, texts, top=7), strict=True
    ):
        all_cosines = np.array([cosine(direction, text) for text in texts])
        assert near.indices.tolist() == np.argsort(-all_cosines)[:7].tolist()
        assert far.indices.tolist() == np.argsort(all_cosines)[:7].tolist()
        np.testing.assert_allclose(near.cosines, np.sort(all_cosines)[::-1][:7], atol=1e-6)
        np.testing.assert_allclose(far.cosines, np.sort(all_cosines)[:7], atol=1e-6)


def test_ties_go_to_the_earlier_text_and_few_texts_are_all_given():
    texts = np.array([[1.0, 0], [2.0, 0], [0, 1.0], [3.0, 0]])
    ((near, far),) = nearest_texts([[1.0, 0.0]], texts, top=10)
    assert near.indices.tolist() == [0, 1, 3, 2]
    assert far.indices.tolist() == [2, 0, 1, 3]


def test_only_the_first_of_repeated_texts_is_kept():
    assert first_of_each([-1, 0, -1, 2, 0, -1]).tolist() == [0, 2, 5]


def test_probe_direction_raises_the_probability_of_generated():
    rng = np.random.default_rng(2)
    coef, columns = rng.normal(size=3), [4, 0, 2]
    vector = probe_direction(coef, columns, 6)
    image = rng.normal(size=6)
    logit_of_real = [float(coef @ (image + step * vector)[columns]) for step in (0.0, 1.0)]
    assert logit_of_real[1] < logit_of_real[0]
    assert vector[[1, 3, 5]].tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match="3 weights"):
        probe_direction(coef, None, 6)


def test_head_direction_is_the_projected_mean_or_difference():
    rng = np.random.default_rng(3)
    generated, real = rng.normal(size=(20, 4)), rng.normal(size=(5, 4))
    projection = rng.normal(size=(7, 4))
    projected = [projection @ row for row in generated], [projection @ row for row in real]
    means = [np.mean(side, axis=0) for side in projected]
    args = generated.mean(axis=0), real.mean(axis=0), projection
    np.testing.assert_allclose(head_direction(*args), (means[0] + means[1]) / 2)
    np.testing.assert_allclose(head_direction(*args, mode="difference"), means[0] - means[1])


def test_random_directions_have_the_covariance_asked_for():
    rng = np.random.default_rng(4)
    X = cone(rng, 400, 5)
    np.testing.assert_allclose(covariance(X), np.cov(X, rowvar=False), rtol=1e-12)
    # Lengths are scaled away, so compare with angles drawn by numpy's own sampler.
    ours = random_directions(covariance(X), 40_000, seed=0)
    theirs = unit_rows(rng.multivariate_normal(np.zeros(5), np.cov(X, rowvar=False), 40_000))
    np.testing.assert_allclose(ours.T @ ours / 40_000, theirs.T @ theirs / 40_000, atol=0.01)
    np.testing.assert_allclose(np.linalg.norm(ours, axis=1), 1.0)
    part = random_directions(covariance(X), 10, seed=0, columns=[1, 3])
    assert np.all(part[:, [0, 2, 4]] == 0)
    np.testing.assert_allclose(part, unit_rows(ours[:10] * [0, 1, 0, 1, 0]), atol=1e-12)


def test_a_singular_covariance_stays_in_its_span():
    rng = np.random.default_rng(5)
    X = rng.normal(size=(30, 2)) @ rng.normal(size=(2, 6))
    draws = random_directions(covariance(X), 50, seed=1)
    assert np.linalg.matrix_rank(draws, tol=1e-6) == 2


def test_null_equals_the_whole_table_of_cosines(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("clipsieve.interpretation.nulls.CHUNK", 17)
    rng = np.random.default_rng(6)
    draws, texts = rng.normal(size=(40, 9)), rng.normal(size=(100, 9)) + 0.5
    table = np.array([[cosine(text, draw) for draw in draws] for text in texts])
    null = null_of(draws, texts, top=4)
    np.testing.assert_allclose(null.highest, -np.sort(-table.T, axis=1)[:, :4], atol=1e-6)
    np.testing.assert_allclose(null.lowest, np.sort(table.T, axis=1)[:, :4], atol=1e-6)
    np.testing.assert_allclose(null.mean, table.mean(axis=1), atol=1e-6)
    np.testing.assert_allclose(null.sd, table.std(axis=1, ddof=1), atol=1e-6)
    far = np.sort(table[:, 3])[:4]
    order = np.argsort(table[:, 3])[:4]
    result = compare(far, order, null, side="farthest")
    for r in range(4):
        # The draw itself is among the draws, so equality must count.
        reached = sum(table[:, m].min() <= far[r] + 1e-7 for m in range(40))
        assert result.p[r] == pytest.approx((1 + reached) / 41)
        reached = sum(np.sort(table[:, m])[r] <= far[r] + 1e-7 for m in range(40))
        assert result.p_rank[r] == pytest.approx((1 + reached) / 41)
        z = (far[r] - table[order[r]].mean()) / table[order[r]].std(ddof=1)
        assert result.z[r] == pytest.approx(z, abs=1e-3)


def test_share_at_least_counts():
    assert share_at_least(np.array([3.0, 1.0, 2.0]), 2.0) == pytest.approx(3 / 4)
    assert share_at_least(np.array([3.0, 1.0, 2.0]), [0.0, 3.5]).tolist() == [1.0, 0.25]


@pytest.mark.parametrize("side", [0, 1])
def test_p_is_uniform_for_directions_without_meaning(side: int):
    rng = np.random.default_rng(7)
    cov = np.cov(cone(rng, 500, 24), rowvar=False)
    texts = cone(rng, 600, 24)
    null = null_of(random_directions(cov, 1999, seed=1), texts, top=3)
    ours = rng.multivariate_normal(np.zeros(24), cov, 400)
    first, third, marks = [], [], 0
    for pair in nearest_texts(ours, texts, top=3):
        ranked = pair[side]
        result = compare(ranked.cosines, ranked.indices, null, side=ranked.side)
        first.append(result.p[0])
        third.append(result.p_rank[2])
        marks += bool(above_null(result, None, 0).any())
    assert kstest(first, "uniform").pvalue > 0.01
    assert kstest(third, "uniform").pvalue > 0.01
    # Marked by chance: binomial with 400 x 0.05 = 20 expected, sd 4.4.
    assert marks <= 34


def test_per_text_p_without_correction_would_mark_nearly_every_direction():
    """The reason for the largest cosine's null: the best of 600 texts is always far out."""
    rng = np.random.default_rng(8)
    cov = np.eye(24)
    texts = rng.normal(size=(600, 24))
    null = null_of(random_directions(cov, 500, seed=1), texts)
    ours = rng.normal(size=(100, 24))
    z = [
        compare(near.cosines, near.indices, null, side="nearest").z[0]
        for near, _ in nearest_texts(ours, texts, top=1)
    ]
    assert np.mean(np.array(z) > 1.645) > 0.9


def test_permuted_means_and_residuals_equal_a_plain_loop():
    rng = np.random.default_rng(9)
    X = cone(rng, 60, 8)
    draws = np.array([rng.permutation(60) < 25 for _ in range(5)])
    for generated, ours, real, residual in zip(
        draws, *permuted_means(X, draws), permuted_residuals(X, draws), strict=True
    ):
        a, b = X[generated].mean(axis=0), X[~generated].mean(axis=0)
        np.testing.assert_allclose(ours, a)
        np.testing.assert_allclose(real, b)
        gap = a / np.linalg.norm(a) - b / np.linalg.norm(b)
        np.testing.assert_allclose(residual, gap / np.linalg.norm(gap), atol=1e-10)


@pytest.mark.parametrize("paired", [False, True])
def test_shuffled_residuals_of_meaningless_labels_have_uniform_p(paired):
    """Also where a photograph and its generated version have one group, and are much alike."""
    rng = np.random.default_rng(9)
    X, generated = cone(rng, 60, 8), np.arange(60) < 30
    group = np.arange(60)
    if paired:
        group = np.tile(np.arange(30), 2)
        X = X[group] + 0.3 * rng.normal(size=X.shape)
    texts = rng.normal(size=(80, 8))
    ps = []
    for trial in range(150):
        labels = rng.permutation(generated)
        if paired:
            first = rng.random(30) < 0.5
            labels = np.concatenate([first, ~first])
        rows = LabelledRows(X, labels, group)
        material = Meaningless(X, draws=199, seed=trial, by_generator={"g": rows})
        a, b = X[labels].mean(axis=0), X[~labels].mean(axis=0)
        vector = unit_rows([a])[0] - unit_rows([b])[0]
        draws = material.shuffled(Direction("residual", "g", "residual", vector))
        ((near, _),) = nearest_texts([vector], texts, top=1)
        null = null_of(draws, texts, top=1)
        ps.append(compare(near.cosines, near.indices, null, side="nearest").p[0])
    assert kstest(ps, "uniform").pvalue > 0.01


def test_a_mark_needs_both_nulls():
    def with_p(*p: float) -> Comparison:
        return Comparison(np.zeros(len(p)), np.array(p), np.array(p))

    random = with_p(0.01, 0.01, 0.2, 0.05)
    assert above_null(random, None, 0).tolist() == [True, True, False, True]
    many = with_p(0.01, 0.06, 0.01, 0.05)
    assert above_null(random, many, 99).tolist() == [True, False, False, True]
    # Of 4 draws the smallest p is 0.2: every draw must be beaten.
    few = with_p(0.2, 0.4, 0.2, 0.2)
    assert above_null(random, few, 4).tolist() == [True, False, False, True]


def test_equal_keys_mean_equal_draws():
    rng = np.random.default_rng(17)
    material = Meaningless(rng.normal(size=(60, 6)), draws=8, seed=0)
    columns = (1, 4)
    one = Direction("probe", "a", "components/x--y", np.ones(6), columns)
    two = Direction("residual", "b", "residual_components/x--y", np.ones(6), columns)
    whole = Direction("probe", "a", "all", np.ones(6))
    assert material.random_key(one) == material.random_key(two) != material.random_key(whole)
    np.testing.assert_array_equal(material.random(one), material.random(two))
    # Those on some columns are the same draws without the other columns.
    part = material.random(whole) * np.isin(np.arange(6), columns)
    np.testing.assert_allclose(material.random(one), unit_rows(part), atol=1e-12)


def planted(seed: int = 11) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    embeddings = cone(rng, 400, 32)
    texts = rng.normal(size=(500, 32))
    meaning = 0.9 * unit_rows(texts[[123]])[0] + 0.1 * unit_rows(rng.normal(size=(1, 32)))[0]
    return embeddings, texts, meaning


def test_a_planted_text_is_found_above_both_nulls_and_the_others_are_not():
    embeddings, texts, meaning = planted()
    names = [f"text {i}" for i in range(len(texts))]
    rng = np.random.default_rng(12)
    nothing = rng.multivariate_normal(np.zeros(32), np.cov(embeddings, rowvar=False))
    shuffled = rng.multivariate_normal(np.zeros(32), np.cov(embeddings, rowvar=False), 9)
    material = Meaningless(embeddings, draws=400, seed=0, shuffled_probes=shuffled)
    table = explain_with_texts(
        [Direction("probe", "one", "all", meaning), Direction("probe", "two", "all", nothing)],
        names, texts, material, top=5,
    )  # fmt: skip
    best = table[(table["direction"] == "one") & (table["side"] == "nearest")].iloc[0]
    assert best["text"] == "text 123"
    assert best["above_null"]
    assert best["p"] == pytest.approx(1 / 401)
    assert best["z_random"] > 4
    # Nine draws can't give a p value of 0.05: then beating all of them is asked for.
    assert best["p_shuffled"] == pytest.approx(1 / 10)
    assert np.isfinite(best["z_shuffled"])
    assert table["above_null"].sum() == 1
    assert len(table) == 2 * 2 * 5


def test_the_answer_for_a_direction_does_not_depend_on_the_others():
    embeddings, texts, meaning = planted()
    names = [str(i) for i in range(len(texts))]
    columns = tuple(range(0, 32, 3))
    part = np.zeros(32)
    part[list(columns)] = meaning[list(columns)]
    a, b = (
        Direction("probe", "a", "components/x--y", part, columns),
        Direction("residual", "b", "residual", -meaning),
    )
    rows = LabelledRows(embeddings, np.arange(400) < 200, np.arange(400))
    material = Meaningless(embeddings, draws=50, seed=3, by_generator={"b": rows})
    both = explain_with_texts([a, b], names, texts, material)
    other = explain_with_texts([b, a], names, texts, material)
    for name in ("a", "b"):
        first, second = (t[t["direction"] == name].reset_index(drop=True) for t in (both, other))
        assert first.equals(second)
    # No probe on shuffled labels is known for the columns, but residuals can be shuffled.
    assert both.loc[both["direction"] == "a", "z_shuffled"].isna().all()
    assert both.loc[both["direction"] == "b", "z_shuffled"].notna().all()


def test_head_nulls_live_in_what_the_head_writes():
    rng = np.random.default_rng(13)
    outputs, projection = rng.normal(size=(200, 4)), rng.normal(size=(12, 4))
    generated = np.arange(200) < 100
    material = Meaningless(
        rng.normal(size=(50, 12)), draws=30, seed=0,
        heads={"l0_h1": LabelledRows(outputs, generated, np.arange(len(outputs)))}, projections={"l0_h1": projection},
        head_mode="difference",
    )  # fmt: skip
    head = Direction("head", "l0_h1", "heads/a--b", projection @ outputs.mean(axis=0))
    for draws in (material.random(head), material.shuffled(head)):
        assert np.linalg.matrix_rank(np.vstack([projection.T, draws]), tol=1e-8) == 4
    material.head_mode = "mean"
    assert material.shuffled_key(head) is None


def test_edits_are_marked_in_both_signs_and_corrected_for_their_number():
    rng = np.random.default_rng(14)
    embeddings = rng.normal(size=(300, 20))
    changes = rng.normal(size=(4, 20))
    towards, away = changes[2], -changes[0]
    directions = [
        Direction("probe", "towards", "all", towards),
        Direction("probe", "away", "all", away),
        Direction("probe", "nothing", "all", rng.normal(size=20)),
    ]
    material = Meaningless(embeddings, draws=300, seed=1)
    table = explain_with_edits(directions, list("abcd"), changes, [5, 6, 7, 8], material)
    marked = table[table["above_null"]]
    assert set(zip(marked["direction"], marked["edit"], strict=True)) == {
        ("towards", "c"),
        ("away", "a"),
    }
    assert marked.set_index("direction").loc["away", "cosine"] == pytest.approx(-1)
    assert (table["p"] >= table["p_single"]).all()
    assert table["above_null"].equals(table["p"] <= 0.05)
    # Many edits: by chance some lie near for one edit alone, which doesn't mark them.
    crowd = rng.normal(size=(60, 20))
    many = explain_with_edits(
        directions[2:], [str(e) for e in range(60)], crowd, [9] * 60, material
    )
    assert (many["p_single"] <= 0.05).any()
    assert not many["above_null"].any()
    assert table["n"].tolist() == [5, 6, 7, 8] * 3


def test_two_sided_p_is_uniform_without_meaning():
    rng = np.random.default_rng(15)
    edits = unit_rows(rng.normal(size=(6, 10)))
    draws = unit_rows(rng.normal(size=(999, 10))) @ edits.T
    ours = unit_rows(rng.normal(size=(300, 10))) @ edits.T
    single, together = zip(*(two_sided(row, draws)[1:] for row in ours), strict=True)
    assert kstest(np.array(single)[:, 0], "uniform").pvalue > 0.01
    assert kstest(np.array(together).min(axis=1), "uniform").pvalue > 0.01


def test_probes_on_columns_with_shuffled_labels_reach_small_p_as_often_as_they_should():
    """Against random directions such probes do so in up to 11 % of cases; refits are their null."""
    rng = np.random.default_rng(5)
    n, d = 60, 12
    columns = (0, 2, 3, 7, 8, 11)
    texts = rng.normal(size=(40, d)) + 0.4
    ps = []
    for trial in range(60):
        X = cone(rng, n, d)
        generated, group = np.arange(n) % 2 == 0, np.array([f"g{i}" for i in range(n)])
        rows = LabelledRows(X, generated, group)
        (y,) = shuffled_labels(~generated, 1, seed=10_000 + trial)
        (fit,) = fit_path(X[:, list(columns)], y, [10.0])
        vector = probe_direction(fit.coef, columns, d)
        direction = Direction("probe", "g", "components/a--b", vector, columns)
        refits = {"components/a--b": [Refit(rows, columns, 10.0, False)]}
        material = Meaningless(X, draws=20, seed=trial, refits=refits)
        drawn = material.shuffled(direction)
        assert drawn.shape == (59, d)
        assert not np.delete(drawn, columns, axis=1).any()
        table = explain_with_texts([direction], [str(i) for i in range(40)], texts, material, top=1)
        ps += table["p_shuffled"].tolist()
    assert kstest(ps, "uniform").pvalue > 0.01
    assert np.mean(np.array(ps) <= 0.05) <= 0.12


def test_a_pattern_is_the_covariance_times_the_weights():
    rng = np.random.default_rng(6)
    X = cone(rng, 80, 9)
    probe = Direction("probe", "g", "all", rng.normal(size=9))
    part = Direction("probe", "g", "components/a--b", rng.normal(size=9), (1, 2))
    (found,) = patterns_of([probe, part], covariance(X))
    expected = np.mean(
        [(x - X.mean(axis=0)) * ((x - X.mean(axis=0)) @ probe.vector) for x in X], axis=0
    )
    assert (found.kind, found.name) == ("pattern", "g")
    assert cosine(found.vector, expected) == pytest.approx(1.0)
    # its null is made the same way from meaningless probes
    material = Meaningless(X, draws=30, seed=1, shuffled_probes=rng.normal(size=(20, 9)))
    of_probe, of_pattern = material.random(probe), material.random(found)
    np.testing.assert_allclose(unit_rows(of_probe @ covariance(X)), of_pattern, atol=1e-12)
    np.testing.assert_allclose(
        unit_rows(material.shuffled(probe) @ covariance(X)), material.shuffled(found), atol=1e-12
    )


def test_marks_of_a_list_of_meaningless_directions_are_corrected():
    """With 60 meaningless directions some p are small; after the correction hardly any list is marked."""
    rng = np.random.default_rng(7)
    uncorrected, corrected = 0, 0
    for trial in range(20):
        X, texts = cone(rng, 100, 10), rng.normal(size=(30, 10)) + 0.4
        drawn = random_directions(covariance(X), 60, 900 + trial)
        directions = [Direction("probe", f"g{i}", "all", v) for i, v in enumerate(drawn)]
        material = Meaningless(X, draws=999, seed=trial)
        table = explain_with_texts(directions, [str(i) for i in range(30)], texts, material, top=1)
        uncorrected += bool((table["p"] <= 0.05).any())
        corrected += bool(table["above_null"].any())
    assert uncorrected >= 15
    assert corrected <= 4
