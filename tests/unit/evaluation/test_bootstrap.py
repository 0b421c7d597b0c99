"""Resamples of groups, influences and intervals against closed forms, plain loops and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from clipsieve.evaluation.bootstrap import (
    Strata,
    centred,
    degrees_of_freedom,
    exact_bound,
    interval,
    resample_weights,
    strata_of,
)
from clipsieve.evaluation.cells import cell_intervals
from clipsieve.evaluation.influence import cell_influence
from clipsieve.evaluation.matrix import layout_of, transfer_matrix
from clipsieve.evaluation.metrics import METRICS, cell_metrics
from clipsieve.io.scores import Images, Scores


@pytest.mark.parametrize("ties", [False, True])
def test_influence_is_the_derivative_by_the_weight(ties: bool) -> None:
    rng = np.random.default_rng(0)
    real, generated = rng.normal(0.7, 1, 30), rng.normal(-0.5, 1, 24)
    if ties:
        real, generated = real.round(1), generated.round(1)
    logits = np.r_[real, generated]
    labels = np.r_[np.ones(30, int), np.zeros(24, int)]
    of_real, of_generated = cell_influence(real, generated, 0.2)
    ours = np.c_[of_real, of_generated]
    h = 1e-6
    bumps = [np.ones((54, 54)) + sign * h * np.eye(54) for sign in (1, -1)]
    up, down = (cell_metrics(logits, labels, threshold=0.2, weights=w) for w in bumps)
    for k, name in enumerate(METRICS):
        if name.startswith("tpr"):
            assert np.isnan(ours[k]).all()
            continue
        np.testing.assert_allclose(ours[k], (up[name] - down[name]) / (2 * h), atol=2e-8)


def strata_of_sets(members: list[tuple[int, ...]]) -> Strata:
    """Strata of groups that have an image in each of these sets, all of one source."""
    groups = np.repeat(np.arange(len(members)), [len(sets) for sets in members])
    return strata_of(groups, np.zeros(len(groups), int), np.concatenate(members))


def test_groups_with_the_same_image_sets_are_one_stratum() -> None:
    # 15 photographs with both classes, 11 real only, 11 generated only
    strata = strata_of_sets([(0, 1)] * 15 + [(0,)] * 11 + [(1,)] * 11)
    assert sorted(strata.sizes) == [11, 11, 15]
    assert len(set(strata.of_group[:15])) == 1


def test_a_few_odd_groups_go_to_the_largest_stratum() -> None:
    # three prompts that generator 2 refused
    strata = strata_of_sets([(0, 1, 2)] * 30 + [(0, 1)] * 3 + [(0,)] * 12)
    assert set(strata.of_group[30:33]) == {strata.of_group[0]}
    assert sorted(strata.sizes) == [12, 33]


def test_no_resample_is_without_a_small_generator() -> None:
    members = [(0, 1)] * 60 + [(0, 1, 2)] * 3
    strata = strata_of_sets(members)
    weights = resample_weights(strata, 2000, 0)
    small = np.array([2 in sets for sets in members])
    assert (weights[small].sum(axis=0) > 0).all()


def test_groups_that_cover_the_sets_at_random_are_one_stratum() -> None:
    """Of few photographs each generator has most: no draw is without one, and all of them vary."""
    rng = np.random.default_rng(0)
    covers = rng.random((16, 5)) < 0.8
    strata = strata_of_sets([(0, *(np.flatnonzero(row) + 1)) for row in covers])
    assert strata.sizes.tolist() == [16]
    # one set of 15 among 80 is not scarce either, one of 4 is, and keeps its groups together
    for number, apart in ((15, False), (4, True)):
        few = np.isin(np.arange(80), rng.choice(80, number, False))
        covers = rng.random((80, 5)) < 0.85
        members = [
            (0, *(np.flatnonzero(row) + 1), *([9] if has else []))
            for row, has in zip(covers, few, strict=True)
        ]
        strata = strata_of_sets(members)
        assert (strata.sizes == 1).sum() == 0
        own = set(strata.of_group[few]) - set(strata.of_group[~few])
        assert (len(own) == 1) is apart
        if apart:
            assert strata.sizes[own.pop()] == number
        assert (resample_weights(strata, 2000, 0)[few].sum(axis=0) > 0).all()


def test_sources_are_resampled_apart() -> None:
    groups = np.arange(40)
    strata = strata_of(groups, groups // 20, groups // 20)
    weights = resample_weights(strata, 50, 0)
    np.testing.assert_allclose(weights[:20].sum(axis=0), 20, rtol=1e-5)
    np.testing.assert_allclose(weights[20:].sum(axis=0), 20, rtol=1e-5)


def test_replicate_means_have_the_unbiased_variance() -> None:
    x = np.random.default_rng(1).normal(size=12)
    strata = strata_of(np.arange(12), np.zeros(12, int), np.zeros(12, int))
    weights = resample_weights(strata, 200_000, 3).astype(np.float64)
    replicates = x @ weights / weights.sum(axis=0)
    assert replicates.var() == pytest.approx(x.var(ddof=1) / 12, rel=0.01)


def test_resamples_are_seeded() -> None:
    strata = strata_of(np.arange(30), np.zeros(30, int), np.zeros(30, int))
    first = resample_weights(strata, 20, 7)
    np.testing.assert_array_equal(first, resample_weights(strata, 20, 7))
    assert (first != resample_weights(strata, 20, 8)).any()


@pytest.mark.parametrize("method", ["percentile", "bca"])
def test_intervals_of_a_mean_are_scipys(method: str) -> None:
    x = np.random.default_rng(2).exponential(size=80)
    strata = strata_of(np.arange(80), np.zeros(80, int), np.zeros(80, int))
    weights = resample_weights(strata, 40_000, 1).astype(np.float64)
    influence = centred((x - x.mean())[None] / 80, strata)
    low, high = interval(
        np.array([x.mean()]),
        (x @ weights / weights.sum(axis=0))[None],
        method=method,  # type: ignore[arg-type]
        influence=influence,
    )
    kind = "BCa" if method == "bca" else method
    theirs = stats.bootstrap(
        (x,), np.mean, n_resamples=40_000, method=kind, rng=np.random.default_rng(0)
    ).confidence_interval
    assert low[0] == pytest.approx(theirs.low, abs=0.01)
    assert high[0] == pytest.approx(theirs.high, abs=0.01)


def test_studentized_interval_of_a_mean_is_the_t_interval() -> None:
    x = np.random.default_rng(4).normal(size=9)
    strata = strata_of(np.arange(9), np.zeros(9, int), np.zeros(9, int))
    weights = resample_weights(strata, 100_000, 1).astype(np.float64)
    freedom = degrees_of_freedom(strata, np.arange(9))
    low, high = interval(
        np.array([x.mean()]), (x @ weights / 9)[None], method="studentized", freedom=freedom
    )
    exact = stats.ttest_1samp(x, 0).confidence_interval(0.95)
    assert (low[0], high[0]) == pytest.approx((exact.low, exact.high), abs=0.02)


def test_all_right_leaves_room_for_error() -> None:
    low, high = exact_bound(np.array([1.0, 0.0]), 30, 0.95)
    for k, successes in enumerate((30, 0)):
        exact = stats.binomtest(successes, 30).proportion_ci(0.95, method="exact")
        assert (low[k], high[k]) == pytest.approx((exact.low, exact.high), abs=1e-12)


def small_run() -> tuple[Images, Scores]:
    """Three generators of two sources, 2 probes; photographs with up to two images a set."""
    rng = np.random.default_rng(5)
    rows = []
    for source, sets in (("s", ("s", "a", "b")), ("t", ("t", "c"))):
        for g in range(14):
            for name in sets:
                for copy in range(1 + (g % 3 == 0 and name == "a")):
                    rows.append((f"{name}/{g}.{copy}", name, source, f"g{g}", int(name == source)))
    columns = [np.array(c) for c in zip(*rows, strict=True)]
    images = Images(*columns[:4], label=columns[4].astype(np.int64))
    logits = rng.normal(size=(2, len(rows))) + images.label
    return images, Scores("all", 0, ["a", "c"], logits, np.array([0.1, -0.3]))


def test_replicates_are_what_a_loop_over_resamples_gives() -> None:
    images, scores = small_run()
    layout = layout_of(images, resamples=40, seed=1)
    matrix = transfer_matrix(scores, layout)
    assert matrix.test == ["a", "b", "c"]
    assert matrix.replicates is not None
    for j, (test, source) in enumerate((("a", "s"), ("b", "s"), ("c", "t"))):
        cell = (images.image_set == test) | (images.image_set == source)
        for i in range(2):
            logits, label = scores.logits[i, cell], images.label[cell]
            whole = cell_metrics(logits, label, threshold=scores.threshold[i])
            for m, name in enumerate(METRICS):
                assert matrix.values[m, i, j] == pytest.approx(whole[name][0], abs=1e-12)
            for b in range(40):
                w = layout.weights[layout.group[cell], b : b + 1].astype(float)
                one = cell_metrics(logits, label, threshold=scores.threshold[i], weights=w)
                for m, name in enumerate(METRICS):
                    assert matrix.replicates[m, i, j, b] == pytest.approx(one[name][0], abs=2e-5)


def test_influence_gives_the_variance_of_the_replicates() -> None:
    images, scores = small_run()
    layout = layout_of(images, resamples=20_000, seed=1)
    matrix = transfer_matrix(scores, layout)
    assert matrix.replicates is not None
    accuracy = METRICS.index("accuracy")
    for groups, own, influence in matrix.influence:
        full = np.zeros((2, len(own), layout.n_groups))
        full[:, :, groups] = influence[accuracy]
        squares = (centred(full, layout.strata)[:, :, groups] ** 2).sum(-1)
        n = len(groups)
        spread = matrix.replicates[accuracy][:, own].var(axis=-1)
        np.testing.assert_allclose(squares * n / (n - 1), spread, rtol=0.05)


def test_studentized_interval_of_a_share_is_wilsons_nearly() -> None:
    n, right = 200, 188
    x = np.r_[np.ones(right), np.zeros(n - right)]
    strata = strata_of(np.arange(n), np.zeros(n, int), np.zeros(n, int))
    weights = resample_weights(strata, 20_000, 1).astype(np.float64)
    replicates = (x @ weights / weights.sum(axis=0))[None]
    low, high = interval(np.array([x.mean()]), replicates, method="studentized", logit=True)
    wilson = stats.binomtest(right, n).proportion_ci(0.95, method="wilson")
    assert (low[0], high[0]) == pytest.approx((wilson.low, wilson.high), abs=0.005)


@pytest.mark.parametrize("method", ["percentile", "bca", "studentized"])
def test_every_metric_of_every_kind_of_interval_holds_its_value(method: str) -> None:
    images, scores = small_run()
    scores.logits[0] += np.where(images.label == 1, 9, -9)  # one perfect probe
    layout = layout_of(images, resamples=300, seed=1)
    matrix = transfer_matrix(scores, layout)
    low, high = cell_intervals(matrix, layout, confidence=0.95, method=method)  # type: ignore[arg-type]
    smooth = [k for k, name in enumerate(METRICS) if not name.startswith("tpr")]
    assert (low[smooth] <= matrix.values[smooth] + 1e-9).all()
    assert (matrix.values[smooth] <= high[smooth] + 1e-9).all()
    assert np.isnan(low[METRICS.index("tpr_at_fpr_1")]).all()
    perfect = matrix.values[: METRICS.index("ece"), 0]
    np.testing.assert_array_equal(perfect, 1)
    # 14 photographs of each source are right: that says no more than a tail of 0.025 ^ (1 / 14)
    assert low[METRICS.index("accuracy"), 0] == pytest.approx(np.full(3, 0.025 ** (1 / 14)))
