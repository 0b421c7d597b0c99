"""Alarms at fixed thresholds, against scikit-learn's confusion matrix and repeated images."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import ndtr
from sklearn.metrics import confusion_matrix

from clipsieve.evaluation.evaluate import evaluate
from clipsieve.evaluation.feature_set_tables import Options
from clipsieve.evaluation.operating import SHARES, operating_point
from clipsieve.io.feature_sets import FeatureSet
from clipsieve.io.scores import AllScores, Images, Scores, read_scores
from tests.helpers.score_files import write_score_table


def test_shares_are_those_of_the_confusion_matrix_also_at_the_threshold_itself() -> None:
    rng = np.random.default_rng(0)
    real, generated = rng.normal(1, 1, (3, 40)).round(1), rng.normal(-1, 1, (3, 25)).round(1)
    thresholds = np.array([0.0, -0.5, real[2, 0]])
    found = operating_point(real, generated, thresholds)
    for k, threshold in enumerate(thresholds):
        truth = np.r_[np.zeros(40), np.ones(25)]
        called = np.r_[real[k], generated[k]] <= threshold
        right, false, missed, caught = confusion_matrix(truth, called).ravel()
        assert found.tpr[k, 0] == pytest.approx(caught / (caught + missed))
        assert found.fpr[k, 0] == pytest.approx(false / (false + right))
    assert found.fpr[2, 0] > 0


def test_weights_are_repeated_images() -> None:
    rng = np.random.default_rng(1)
    real, generated = rng.normal(1, 1, (2, 12)), rng.normal(-1, 1, (2, 9))
    counts, others = rng.integers(0, 4, (12, 5)), rng.integers(1, 4, (9, 5))
    limits = np.array([0.2, 0.8])
    found = operating_point(
        real,
        generated,
        limits,
        real_weights=counts.astype(float),
        generated_weights=others.astype(float),
    )
    for b in range(5):
        plain = operating_point(
            np.repeat(real, counts[:, b], axis=1),
            np.repeat(generated, others[:, b], axis=1),
            limits,
        )
        np.testing.assert_allclose(found.tpr[:, b], plain.tpr[:, 0])
        np.testing.assert_allclose(found.fpr[:, b], plain.fpr[:, 0])


def test_a_threshold_from_val_keeps_its_rate_on_images_like_those_and_not_on_others() -> None:
    rng = np.random.default_rng(2)
    val = rng.normal(1, 1, 20_000)
    threshold = np.quantile(val, 0.05)
    test = rng.normal([[1.0], [0.0]], 1, (2, 20_000))
    found = operating_point(test, np.full((2, 1), -5.0), np.full(2, threshold))
    assert found.fpr[0, 0] == pytest.approx(0.05, abs=0.006)
    assert found.fpr[1, 0] > 0.2


FAMILIES = dict.fromkeys("abcde", "gan")
SOURCES = {name: "s" if name in "abc" else "t" for name in "abcde"}


def rows_of_scores(feature_set: str, shift: float, seed: int) -> pd.DataFrame:
    """Every probe on every image; the probe trained on `e` has no threshold for 1 %."""
    rng = np.random.default_rng(seed)
    rows = []
    for train in FAMILIES:
        for image_set in (*FAMILIES, "s", "t"):
            label = int(image_set in ("s", "t"))
            for g in range(60):
                rows.append(
                    {
                        **{"encoder": "tiny", "seed": 0, "feature_set": feature_set, "draw": 0},
                        **{"train": train, "image_set": image_set, "group": str(g)},
                        **{"image_id": f"{image_set}/{g}.png", "label": label, "split": "test"},
                        "logit": (2 * label - 1) * shift + rng.normal(),
                        **{"threshold": 0.0, "fpr_1": np.nan if train == "e" else -1.4},
                        "fpr_5": -0.7 - 0.02 * ord(train) + 2,
                    }
                )
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> tuple[pd.DataFrame, dict[str, pd.DataFrame]]:
    folder = tmp_path_factory.mktemp("operating")
    scores = {
        "all": rows_of_scores("all", 0.8, 0),
        "residual": rows_of_scores("residual", 1.2, 1),
    }
    for name, rows in scores.items():
        write_score_table(folder / f"{name}.h5", rows, sources=SOURCES, families=FAMILIES)
    features = {name: FeatureSet(name, name) for name in scores}
    found = evaluate(
        read_scores([folder / f"{name}.h5" for name in scores]),
        features,
        options=Options(resamples=400),
    ).operating
    return found, scores


def plain(rows: pd.DataFrame, limit: str, share: str) -> dict[tuple[str, str], float]:
    """Share called generated in every cell off the diagonal, by a plain loop; NaN without threshold."""
    found = {}
    for train in FAMILIES:
        mine = rows[rows["train"] == train]
        threshold = mine[limit].iloc[0]
        for test in FAMILIES:
            part = mine[mine["image_set"] == (test if share == "tpr" else SOURCES[test])]
            called = (part["logit"] <= threshold).mean()
            if test != train:
                found[train, test] = np.nan if np.isnan(threshold) else called
    return found


def test_means_and_differences_are_those_of_a_plain_loop_over_probes_that_have_a_threshold(
    table,
) -> None:
    found, scores = table
    assert set(found["metric"]) == set(SHARES)
    for row in found[found["cells"] == "all"].itertuples():
        share, limit = SHARES[row.metric]
        mine = plain(scores[row.feature_set], limit, share)
        known = [value for value in mine.values() if not np.isnan(value)]
        assert row.value == pytest.approx(np.mean(known), abs=1e-12)
        assert row.n_cells == len(known) == (16 if limit == "fpr_1" else 20)
        assert row.probes_without == (1 if limit == "fpr_1" else 0)
        assert row.asked == (0.01 if limit == "fpr_1" else 0.05)
        assert row.low <= row.value <= row.high
        assert row.value_generators_low <= row.value <= row.value_generators_high
        if row.feature_set == "residual":
            base = plain(scores["all"], limit, share)
            expected = np.mean([mine[c] - base[c] for c in mine if not np.isnan(mine[c])])
            assert row.difference == pytest.approx(expected, abs=1e-12)
            assert row.difference_low < row.difference < row.difference_high
            assert row.generators_low < row.difference < row.generators_high
        else:
            assert np.isnan(row.difference)


def test_a_set_without_any_threshold_has_no_share_and_says_how_many_probes_lack_it() -> None:
    rows = rows_of_scores("all", 0.8, 0)
    rows["fpr_1"] = np.nan
    logits = rows.pivot(index="train", columns="image_id", values="logit")
    every = rows.drop_duplicates("image_id").set_index("image_id").loc[logits.columns]
    images = Images(
        logits.columns.to_numpy(str), every["image_set"].to_numpy(str),
        np.array([SOURCES.get(s, s) for s in every["image_set"]]), every["group"].to_numpy(str),
        every["label"].to_numpy(), FAMILIES, every["split"].to_numpy(str),
    )  # fmt: skip
    one = Scores("all", 0, list(FAMILIES), logits.to_numpy(), np.zeros(5))
    features = {"all": FeatureSet("all", "all")}
    found = evaluate(AllScores("tiny", 0, images, [one]), features, options=Options(resamples=50))
    assert found.operating["value"].isna().all()
    assert (found.operating["n_cells"] == 0).all()
    assert (found.operating.loc[found.operating["cells"] == "all", "probes_without"] == 5).all()


def test_intervals_over_photographs_cover_the_rates_of_the_population() -> None:
    """Sixty photographs, one probe each of two generators; the true shares have a closed form."""
    limit, covered, n = -0.4, [], 150
    truth = {"tpr": ndtr(limit + 1.0), "fpr": ndtr(limit - 1.0)}
    for seed in range(n):
        rng = np.random.default_rng(seed)
        count = 60
        sets = np.repeat(["a", "b", "s"], count)
        label = (sets == "s").astype(int)
        logits = rng.normal(size=(2, 3 * count)) + (2 * label - 1)
        group = np.tile(np.arange(count).astype(str), 3)
        ids = np.array([f"{s}/{g}" for s, g in zip(sets, group, strict=True)])
        images = Images(
            ids, sets, np.full(len(ids), "s"), group, label, {"a": "gan", "b": "gan"},
            np.full(len(ids), "test"),
        )  # fmt: skip
        limits = {"fpr_1": np.full(2, limit), "fpr_5": np.full(2, limit)}
        one = Scores("all", 0, ["a", "b"], logits, np.zeros(2), operating=limits)
        found = evaluate(
            AllScores("tiny", 0, images, [one]),
            {"all": FeatureSet("all", "all")},
            options=Options(resamples=200),
        ).operating
        found = found[(found["cells"] == "all") & (found["asked"] == 0.05)]
        for row in found.itertuples():
            covered.append(row.low <= truth[row.metric[:3]] <= row.high)
    # 300 intervals of 95 %; three standard deviations
    assert np.mean(covered) == pytest.approx(0.95, abs=0.038)
