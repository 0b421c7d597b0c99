"""The four tables from score files, against plain loops over the same rows and SciPy's tests."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from clipsieve.cli import main
from clipsieve.evaluation.ranks import rank_among
from clipsieve.families import controls_of
from clipsieve.io.tables import read_table, write_table
from tests.helpers.score_files import write_score_table

FAMILIES = {"a": "gan", "b": "gan", "c": "diffusion", "d": "diffusion", "e": "gan"}
SOURCES = {"a": "s", "b": "s", "c": "s", "d": "t", "e": "t"}
PHOTOGRAPHS = {"s": 40, "t": 25}
RELEASED = {"a": "2019-12", "b": "2020-06-11", "c": "2020-06", "d": "2022"}
PAIR = ("a", "c")


def score_rows(
    feature_set: str, draws: int, shift: float, excluded: tuple[str, ...]
) -> pd.DataFrame:
    rng = np.random.default_rng([len(feature_set), draws])
    noise = {
        (name, g): np.random.default_rng([ord(name), g]).normal()
        for name in (*FAMILIES, *PHOTOGRAPHS)
        for g in range(40)
    }
    rows = []
    for draw in range(draws):
        for train in sorted(set(FAMILIES) - set(excluded)):
            for image_set in (*FAMILIES, *PHOTOGRAPHS):
                if image_set in excluded:
                    continue
                source = SOURCES.get(image_set, image_set)
                label = int(image_set == source)
                for g in range(PHOTOGRAPHS[source]):
                    logit = (2 * label - 1) * shift + noise[image_set, g] + 0.3 * rng.normal()
                    rows.append(
                        {
                            "encoder": "tiny",
                            "seed": 3,
                            "feature_set": feature_set,
                            "draw": draw,
                            "train": train,
                            "image_set": image_set,
                            "generator": None if label else image_set,
                            "image_id": f"{image_set}/{g}.png",
                            "group": f"{g}",
                            "label": label,
                            "split": "test",
                            "logit": logit,
                            "threshold": 0.1,
                        }
                    )
    return pd.DataFrame(rows)


EVERY_IMAGE = score_rows("all", 1, 0.6, ())


def write_scores(path: Path, rows: pd.DataFrame, grid: str = "") -> None:
    write_score_table(path, rows, images=EVERY_IMAGE, sources=SOURCES, families=FAMILIES, grid=grid)


SETS = {
    "all": ("all", 1, 0.6, ()),
    "all_intercept": ("all_intercept", 1, 0.65, ()),
    "components": ("components/a--c", 1, 0.9, PAIR),
    "components_intercept": ("components_intercept/a--c", 1, 0.7, PAIR),
    "random": ("random/a--c", 9, 0.62, PAIR),
    "fisher": ("fisher/a--c", 1, 0.7, PAIR),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, pd.DataFrame]]:
    folder = tmp_path_factory.mktemp("run")
    scores = {family: score_rows(*settings) for family, settings in SETS.items()}
    for family, rows in scores.items():
        write_scores(folder / f"scores/{family}.h5", rows)
        (folder / "features").mkdir(exist_ok=True)
        entry = {
            "feature_set": SETS[family][0],
            "fit_intercept": "intercept" in family,
            "excluded": list(SETS[family][3]),
        }
        if "components" in family:
            entry |= {"pair": PAIR, "facts": {"alpha": "log_loss"}}
        (folder / f"features/{family}.json").write_text(json.dumps([entry]))
    for name, (initial, best) in {"a--c": (0.7, 0.8), "c--a": (0.6, 0.9)}.items():
        # the maximum lies elsewhere: what was kept is what is left after the second step
        table = pd.DataFrame({"step": [1, 2, 3], "score": [best + 0.05, best, best - 0.1]})
        note = dict(zip(("train", "val"), name.split("--"), strict=True))
        note |= {"initial_score": initial, "score": "accuracy"}
        note["stops"] = {"first": {"step": 1}, "log_loss": {"step": 2}}
        write_table(table, folder / f"searches/{name}.parquet", note)
    assert evaluate(folder) == 0
    return folder, scores


def evaluate(folder: Path, *more: str) -> int:
    def files(pattern: str) -> list[str]:
        return [str(path) for path in sorted(folder.glob(pattern))]

    outputs = [
        part
        for name in ("cells", "means", "controls", "optimism", "pairs", "ranking", "operating")
        for part in (f"--{name}", str(folder / f"{name}.parquet"))
    ]
    return main(
        [
            *("evaluate", "--scores", *files("scores/*.h5")),
            *("--features", *files("features/*.json"), "--searches", *files("searches/*.parquet")),
            *("--released", json.dumps(RELEASED), "--test-share", "0.3"),
            *("--resamples", "1500", "--threads", "2", *outputs, *more),
        ]
    )


def cell_rows(scores: pd.DataFrame, draw: int, train: str, test: str) -> pd.DataFrame:
    part = scores[(scores["draw"] == draw) & (scores["train"] == train)]
    return part[part["image_set"].isin([test, SOURCES[test]])]


def test_every_cell_is_what_its_rows_give(run) -> None:
    folder, scores = run
    cells, note = read_table(folder / "cells.parquet")
    assert note["resamples"] == 1500
    ids = cells[["run", "encoder", "seed"]].drop_duplicates().to_numpy().tolist()
    assert ids == [["r", "tiny", 3]]
    key = ["feature_set", "draw", "train", "test"]
    wide = cells.pivot(index=key, columns="metric", values="value")
    assert len(wide) == 2 * 25 + 12 * 9
    for (feature_set, draw, train, test), row in wide.iterrows():
        rows = cell_rows(scores[feature_set.split("/")[0]], draw, train, test)
        right = (rows["logit"] >= 0) == (rows["label"] == 1)
        assert row["accuracy"] == pytest.approx(right.mean(), abs=1e-12)
        assert row["accuracy_real"] == pytest.approx(right[rows["label"] == 1].mean(), abs=1e-12)
        at_val = ((rows["logit"] >= 0.1) == (rows["label"] == 1)).mean()
        assert row["accuracy_at_val_threshold"] == pytest.approx(at_val, abs=1e-12)
        auc = roc_auc_score(1 - rows["label"], -rows["logit"])
        assert row["auc"] == pytest.approx(auc, abs=1e-12)
    one = cells[(cells["train"] == "b") & (cells["test"] == "d")].iloc[0]
    assert (one["train_family"], one["test_family"]) == ("gan", "diffusion")
    assert (one["n"], one["n_real"], one["n_generated"], one["groups"]) == (50, 25, 25, 25)


def test_intervals_hold_the_value_and_only_draws_lack_them(run) -> None:
    cells, _ = read_table(run[0] / "cells.parquet")
    drawn = cells["feature_set"] == "random/a--c"
    assert cells.loc[drawn, ["low", "high"]].isna().all(axis=None)
    # 40 and 25 real images allow no two false positives at 1 %, 25 not at 5 %
    few = (cells["metric"] == "tpr_at_fpr_1") | (
        (cells["metric"] == "tpr_at_fpr_5") & (cells["n_real"] == 25)
    )
    assert cells.loc[few & ~drawn, ["low", "high"]].isna().all(axis=None)
    rest = cells[~drawn & ~few]
    assert (rest["low"] <= rest["value"]).all()
    assert (rest["value"] <= rest["high"]).all()
    assert (rest["low"] < rest["high"]).all()


def test_means_are_over_the_cells_they_name(run) -> None:
    folder, _ = run
    cells, _ = read_table(folder / "cells.parquet")
    means, _ = read_table(folder / "means.parquet")
    assert set(means["cells"]) == {
        *("all", "within_gan", "within_diffusion", "gan_to_diffusion", "diffusion_to_gan"),
        *("same_source", "other_source", "past_to_future", "all_with_diagonal"),
    }
    off = cells[cells["train"] != cells["test"]]
    for row in means[means["metric"] == "auc"].itertuples():
        mine = off[(off["feature_set"] == row.feature_set) & (off["metric"] == "auc")]
        if row.cells.startswith("within_"):
            f = g = row.cells.removeprefix("within_")
        else:
            f, _, g = row.cells.partition("_to_")
        if row.cells == "all_with_diagonal":
            whole = cells[(cells["feature_set"] == row.feature_set) & (cells["metric"] == "auc")]
            assert row.value == pytest.approx(whole["value"].mean(), abs=1e-12)
            assert np.isnan(row.p)
            assert np.isnan(row.generators_p)
            continue
        if row.cells.endswith("_source"):
            same = mine["train"].map(SOURCES) == mine["test"].map(SOURCES)
            mine = mine[same == (row.cells == "same_source")]
        elif row.cells == "past_to_future":
            # c is of a month that holds the day of b: neither is before the other
            known = {("a", "b"), ("a", "c"), ("a", "d"), ("b", "d"), ("c", "d")}
            pairs = zip(mine["train"], mine["test"], strict=True)
            mine = mine[[pair in known for pair in pairs]]
        elif row.cells != "all":
            mine = mine[(mine["train_family"] == f) & (mine["test_family"] == g)]
        assert row.value == pytest.approx(mine["value"].mean(), abs=1e-12)
        assert row.n_cells == len(mine[["train", "test"]].drop_duplicates())
        by_test = mine.groupby("test")["value"].mean()
        assert row.worst == pytest.approx(by_test.min(), abs=1e-12)
        assert row.worst_test == by_test.idxmin()
        if row.feature_set == "all":
            assert np.isnan(row.p)
            continue
        if row.feature_set == "all_intercept":
            continue
        base = "all_intercept" if "intercept" in row.feature_set else "all"
        same = off[(off["feature_set"] == base) & (off["metric"] == "auc")].merge(
            mine[["train", "test"]].drop_duplicates(), on=["train", "test"]
        )
        assert row.baseline == pytest.approx(same["value"].mean(), abs=1e-12)
        assert row.difference == pytest.approx(row.value - row.baseline, abs=1e-12)


def group_differences(scores, feature_set: str) -> np.ndarray:
    """Share of every photograph in the difference of mean accuracy to the baseline."""
    cells = [(i, j) for i in "bde" for j in "bde" if i != j]
    shares: dict[tuple[str, str], float] = {}
    for family, sign in ((feature_set, 1), ("all", -1)):
        for train, test in cells:
            rows = cell_rows(scores[family], 0, train, test)
            right = ((rows["logit"] >= 0) == (rows["label"] == 1)).to_numpy()
            for group, value in zip(rows["group"], right, strict=True):
                key = (SOURCES[test], group)
                shares[key] = shares.get(key, 0) + sign * value / len(rows) / len(cells)
    return np.array(list(shares.values()))


def test_a_difference_has_the_p_of_scipys_sign_test_and_a_paired_interval(run) -> None:
    folder, scores = run
    means, _ = read_table(folder / "means.parquet")
    row = means[
        (means["feature_set"] == "fisher/a--c")
        & (means["cells"] == "all")
        & (means["metric"] == "accuracy")
    ].iloc[0]
    shares = group_differences(scores, "fisher")
    assert row["difference"] == pytest.approx(shares.sum(), abs=1e-12)
    theirs = stats.permutation_test(
        (shares,), np.sum, permutation_type="samples", n_resamples=20_000, rng=1
    )
    # scipy's is of one stratum; ours takes each source's mean out of its variance
    assert row["p"] == pytest.approx(theirs.pvalue, abs=0.03)
    # two sources of 40 and 25 photographs, resampled apart
    s, t = shares[:40], shares[40:]
    spread = np.sqrt(40 * s.var(ddof=1) + 25 * t.var(ddof=1))
    half = stats.t.ppf(0.975, 63) * spread
    assert row["difference_high"] - row["difference_low"] == pytest.approx(2 * half, rel=0.1)


def test_holm_is_over_the_rows_of_a_metric(run) -> None:
    means, _ = read_table(run[0] / "means.parquet")
    part = means[(means["metric"] == "accuracy") & means["p"].notna()]
    ordered = part.sort_values("p")
    expected = np.minimum(
        1, np.maximum.accumulate(ordered["p"].to_numpy() * np.arange(len(ordered), 0, -1))
    )
    np.testing.assert_allclose(ordered["p_holm"], expected)


def test_selected_sets_are_ranked_among_their_draws(run) -> None:
    folder, _ = run
    controls, _ = read_table(folder / "controls.parquet")
    means, _ = read_table(folder / "means.parquet")
    cells, _ = read_table(folder / "cells.parquet")
    row = controls[
        (controls["control"] == "random/a--c") & (controls["metric"] == "accuracy")
    ].iloc[0]
    off = cells[(cells["train"] != cells["test"]) & (cells["metric"] == "accuracy")]
    by_draw = off[off["feature_set"] == "random/a--c"].groupby("draw")["value"].mean()
    value = off[off["feature_set"] == "components/a--c"]["value"].mean()
    assert row["value"] == pytest.approx(value)
    assert row["control_mean"] == pytest.approx(by_draw.mean())
    assert row["control_sd"] == pytest.approx(by_draw.std())
    assert row["rank"] == 1 + (by_draw >= value).sum()
    assert row["p"] == pytest.approx(row["rank"] / 10)
    for metric, part in controls.groupby("metric"):
        ranked = part.dropna(subset="p").sort_values("p", kind="stable")
        expected = 0.0
        for k, one in enumerate(ranked.itertuples()):
            expected = max(expected, min(1.0, (len(ranked) - k) * one.p))
            assert one.p_holm == pytest.approx(expected), metric
    assert row["p_holm"] >= row["p"]
    # one draw: paired sign-flip test instead of a rank of two
    single = controls[(controls["control"] == "fisher/a--c") & (controls["metric"] == "accuracy")]
    assert single["p"].iloc[0] < 0.05
    assert single["difference_low"].iloc[0] > 0
    assert set(means["feature_set"]) >= {"random/a--c"}


def test_a_rank_among_controls_of_another_grid_has_no_p(run, tmp_path) -> None:
    folder, scores = run
    for name in ("features", "searches"):
        (tmp_path / name).symlink_to(folder / name)
    grids = {"components": "paper", "random": "fast", "fisher": "paper"}
    for family, rows in scores.items():
        write_scores(tmp_path / f"scores/{family}.h5", rows, grids.get(family, ""))
    assert evaluate(tmp_path) == 0
    before, after = (read_table(f / "controls.parquet")[0] for f in (folder, tmp_path))
    other = after["control"] == "random/a--c"
    assert after.loc[other, "p"].isna().all()
    assert (after.loc[other, "rank"] == before.loc[other, "rank"]).all()
    pd.testing.assert_series_equal(after.loc[~other, "p"], before.loc[~other, "p"])


def test_a_twin_made_as_the_draws_are_is_ranked_in_place_of_the_selected_set(run, tmp_path) -> None:
    """The twin is the first draw itself: its rank is that draw's, whatever the set's own value."""
    folder, scores = run
    for name in ("features", "searches"):
        (tmp_path / name).symlink_to(folder / name)
    draws = scores["random"]
    twin = draws[(draws["feature_set"] == "random/a--c") & (draws["draw"] == 0)].assign(
        feature_set="components/a--c", draw=-1
    )
    for family, rows in scores.items():
        path = tmp_path / f"scores/{family}.h5"
        if family == "components":
            write_score_table(
                path, pd.concat([rows, twin]), images=EVERY_IMAGE, sources=SOURCES,
                families=FAMILIES, grid="paper", twin_grid="fast",
            )  # fmt: skip
        else:
            write_scores(path, rows, "fast" if family == "random" else "paper")
    assert evaluate(tmp_path) == 0
    before, after = (read_table(f / "controls.parquet")[0] for f in (folder, tmp_path))
    means = read_table(tmp_path / "means.parquet")[0]
    values = draws_of(tmp_path, "random/a--c")
    row = after[(after["control"] == "random/a--c") & (after["metric"] == "accuracy")].iloc[0]
    old = before[(before["control"] == "random/a--c") & (before["metric"] == "accuracy")].iloc[0]
    assert row["value"] == old["value"]
    assert old["compared_value"] == old["value"]
    assert row["compared_value"] == pytest.approx(values[0])
    assert row["rank"] == 1 + (values >= values[0] - 1e-12).sum()
    assert row["p"] == pytest.approx(row["rank"] / (1 + len(values)))
    assert row["difference"] == pytest.approx(values[0] - values.mean())
    # the twin is in no other number
    same = ["feature_set", "cells", "metric", "value", "draws"]
    expected = read_table(folder / "means.parquet")[0]
    pd.testing.assert_frame_equal(means[same], expected[same])
    single = after["control"] == "fisher/a--c"
    pd.testing.assert_frame_equal(after[single], before[single])


def draws_of(folder: Path, control: str) -> np.ndarray:
    """Mean accuracy of each draw over its cells off the diagonal."""
    cells = read_table(folder / "cells.parquet")[0]
    mine = cells[
        (cells["feature_set"] == control)
        & (cells["metric"] == "accuracy")
        & (cells["train"] != cells["test"])
    ]
    return mine.groupby("draw")["value"].mean().to_numpy()


def write_some(path: Path, rows: pd.DataFrame) -> None:
    write_score_table(path, rows, sources=SOURCES, families=FAMILIES)


def test_clean_and_perturbed_scores_are_over_the_images_of_every_edit(run, tmp_path) -> None:
    folder, scores = run
    rows = scores["all"]
    gone = {"jpeg_50": "a/1.png", "blur_2": "s/2.png"}  # what an edit left as it was
    for edit, image in gone.items():
        write_some(tmp_path / f"{edit}/all.h5", rows[rows["image_id"] != image])
    left = rows[~rows["image_id"].isin(gone.values())]
    write_some(tmp_path / "left/all.h5", left)
    perturbed = [str(tmp_path / edit / "all.h5") for edit in gone]
    for name, clean in (
        ("whole", folder / "scores/all.h5"),
        ("cut", tmp_path / "left/all.h5"),
    ):
        status = main(
            ["robustness", "--clean", str(clean), "--perturbed", *perturbed,
             "--features", str(folder / "features/all.json"), "--resamples", "200",
             "--confidence", "0.9", "--output", str(tmp_path / f"{name}.parquet")]
        )  # fmt: skip
        assert status == 0
    (whole, note), (expected, _) = (read_table(tmp_path / f"{n}.parquet") for n in ("whole", "cut"))
    pd.testing.assert_frame_equal(whole, expected)
    assert note["confidence"] == 0.9
    # these edits changed no logit, so all three are the same over the same images
    values = whole.pivot(index="metric", columns="perturbation", values="value")
    np.testing.assert_array_equal(values["none"], values["jpeg_50"])
    np.testing.assert_array_equal(values["none"], values["blur_2"])


def test_rank_counts_equals_against_the_selected_set() -> None:
    draws = np.array([0.5, 0.6, 0.6, 0.7])
    assert rank_among(0.6, draws) == (4, 0.8)
    assert rank_among(0.6, draws, less=True) == (4, 0.8)
    assert rank_among(0.8, draws) == (1, 0.2)
    assert controls_of("heads/a--b") == ["random_heads/a--b", "all_tuned/a--b"]


def test_optimism_is_the_gain_that_stays_on_the_pair(run) -> None:
    folder, _ = run
    row = read_table(folder / "optimism.parquet")[0].iloc[0]
    means, _ = read_table(folder / "means.parquet")
    mine = means[
        (means["feature_set"] == "components/a--c")
        & (means["cells"] == "all")
        & (means["metric"] == "accuracy")
    ].iloc[0]
    assert row["score_on_search_pair"] == pytest.approx(0.85)
    assert row["baseline_on_search_pair"] == pytest.approx(0.65)
    assert row["score_on_the_rest"] == pytest.approx(mine["value"])
    assert row["baseline_on_the_rest"] == pytest.approx(mine["baseline"])
    assert row["optimism"] == pytest.approx(0.2 - mine["difference"])
    assert row["n_cells"] == 6
    assert np.isnan(row["winners_curse"])


def test_optimism_divides_into_winners_curse_and_shift(run, tmp_path) -> None:
    """Probes of the pair on the pair's own test images, which no other table may read."""
    folder, scores = run
    own = score_rows("components/a--c", 1, 0.75, ("b", "d", "e"))
    write_scores(tmp_path / "own.h5", own)
    for name in ("features", "searches", "scores"):
        (tmp_path / name).symlink_to(folder / name)
    assert evaluate(tmp_path, "--own-pair", str(tmp_path / "own.h5")) == 0

    def across(rows: pd.DataFrame) -> float:
        found = []
        for train, test in (PAIR, PAIR[::-1]):
            cell = cell_rows(rows, 0, train, test)
            found.append(((cell["logit"] >= 0) == (cell["label"] == 1)).mean())
        return float(np.mean(found))

    row = read_table(tmp_path / "optimism.parquet")[0].iloc[0]
    assert row["score_on_pair_test"] == pytest.approx(across(own))
    assert row["baseline_on_pair_test"] == pytest.approx(across(scores["all"]))
    gain = across(own) - across(scores["all"])
    assert row["winners_curse"] == pytest.approx(0.2 - gain)
    assert row["winners_curse"] + row["shift"] == pytest.approx(row["optimism"])
    for name in ("cells", "means", "controls", "pairs", "ranking", "operating"):
        before, after = (read_table(f / f"{name}.parquet")[0] for f in (folder, tmp_path))
        pd.testing.assert_frame_equal(before, after)


def test_ranks_over_generators_are_of_the_cells_that_all_compared_sets_have(run) -> None:
    folder, _ = run
    ranking, _ = read_table(folder / "ranking.parquet")
    cells, _ = read_table(folder / "cells.parquet")
    mine = ranking[ranking["metric"] == "auc"].set_index("feature_set")["average_rank"]
    off = cells[(cells["metric"] == "auc") & (cells["train"] != cells["test"])]
    off = off[~off["train"].isin(PAIR) & ~off["test"].isin(PAIR)]
    by_test = off.groupby(["test", "feature_set"])["value"].mean().unstack()
    expected = by_test.rank(axis=1, ascending=False).mean()
    pd.testing.assert_series_equal(mine.sort_index(), expected.sort_index(), check_names=False)
    assert set(ranking["comparison"]) == {"a--c"}
    assert set(ranking["generators"]) == {3}
    pairs, _ = read_table(folder / "pairs.parquet")
    assert pairs.empty  # one pair


def test_optimism_of_a_search_for_the_least_log_loss_is_of_minus_the_log_loss(
    run, tmp_path: Path
) -> None:
    folder, _ = run
    for name in ("scores", "features"):
        (tmp_path / name).symlink_to(folder / name)
    for name in ("a--c", "c--a"):
        table = pd.DataFrame({"step": [1, 2], "score": [-0.5, -0.6]})
        note = dict(zip(("train", "val"), name.split("--"), strict=True))
        note |= {"initial_score": -0.7, "score": "log_loss"}  # a search maximises
        note["stops"] = {"log_loss": {"step": 1}}
        write_table(table, tmp_path / f"searches/{name}.parquet", note)
    assert evaluate(tmp_path, "--resamples", "200") == 0
    row = read_table(tmp_path / "optimism.parquet")[0].iloc[0]
    means, _ = read_table(tmp_path / "means.parquet")
    mine = means[
        (means["feature_set"] == "components/a--c")
        & (means["cells"] == "all")
        & (means["metric"] == "log_loss")
    ].iloc[0]
    assert mine["difference"] < 0  # this selection lowers the loss
    assert row["score_on_the_rest"] == pytest.approx(-mine["value"])
    assert row["optimism"] == pytest.approx(0.2 + mine["difference"])
    assert row["gain_on_the_rest_low"] == pytest.approx(-mine["difference_high"])
    assert row["gain_on_the_rest_high"] == pytest.approx(-mine["difference_low"])


def test_a_second_run_gives_the_same_bytes(run, tmp_path: Path) -> None:
    folder, _ = run
    before = {p.name: p.read_bytes() for p in folder.glob("*.parquet")}
    assert evaluate(folder, "--threads", "1") == 0
    assert before == {p.name: p.read_bytes() for p in folder.glob("*.parquet")}


@pytest.mark.parametrize(
    ("family", "change", "message"),
    [
        ("components", lambda t: score_rows("components/a--c", 1, 0.9, ("a",)), "c took part"),
        (
            "fisher",
            lambda t: t[(t["train"] != "b") | (t["image_set"] != "d")],
            "no score for 25 of",
        ),
        ("all", lambda t: t.assign(encoder="other"), "encoder 'tiny', but"),
        ("all", lambda t: t.assign(feature_set="whole"), "whole, which no feature file has"),
    ],
)
def test_wrong_rows_stop_the_evaluation(run, tmp_path, capsys, family, change, message) -> None:
    folder, scores = run
    for name, rows in scores.items():
        write_scores(tmp_path / f"scores/{name}.h5", change(rows) if name == family else rows)
    (tmp_path / "features").symlink_to(folder / "features")
    assert evaluate(tmp_path) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.glob("*.parquet"))


def test_clean_cells_are_not_trained_on_the_generator_that_heads_were_ranked_on(tmp_path) -> None:
    sets = {"all": ("all", 1, 0.6, ()), "heads": ("heads/a--c", 1, 0.8, ("c",))}
    (tmp_path / "features").mkdir()
    for family, settings in sets.items():
        write_scores(tmp_path / f"scores/{family}.h5", score_rows(*settings))
        entry = {"feature_set": settings[0], "excluded": list(settings[3])}
        (tmp_path / f"features/{family}.json").write_text(json.dumps([entry]))
    assert evaluate(tmp_path, "--resamples", "200") == 0
    means, _ = read_table(tmp_path / "means.parquet")
    cells, _ = read_table(tmp_path / "cells.parquet")
    auc = cells[(cells["metric"] == "auc") & (cells["train"] != cells["test"])]
    kept = auc[(auc["train"] != "a") & (auc["train"] != "c") & (auc["test"] != "c")]
    plain = kept.groupby("feature_set")["value"].mean()
    row = means[(means["cells"] == "clean") & (means["metric"] == "auc")]
    assert row["feature_set"].tolist() == ["heads/a--c"]
    assert row["value"].iloc[0] == pytest.approx(plain["heads/a--c"])
    assert row["baseline"].iloc[0] == pytest.approx(plain["all"])
    assert row["n_cells"].iloc[0] == 3 * 3  # b, d and e tested on one another and on a


def test_a_twin_of_heads_is_ranked_over_the_cells_of_its_set(tmp_path) -> None:
    sets = {"all": ("all", 1, 0.6, ()), "random_heads": ("random_heads/a--c", 5, 0.6, ("c",))}
    sets["heads"] = ("heads/a--c", 1, 0.8, ("c",))
    (tmp_path / "features").mkdir()
    rows = {family: score_rows(*settings) for family, settings in sets.items()}
    drawn = rows["random_heads"]
    twin = drawn[drawn["draw"] == 2].assign(feature_set="heads/a--c", draw=-1)
    for family, part in rows.items():
        write_score_table(
            tmp_path / f"scores/{family}.h5",
            pd.concat([part, twin]) if family == "heads" else part,
            images=EVERY_IMAGE, sources=SOURCES, families=FAMILIES,
            grid="fast" if family == "random_heads" else "paper", twin_grid="fast",
        )  # fmt: skip
        entry = {"feature_set": sets[family][0], "excluded": list(sets[family][3])}
        (tmp_path / f"features/{family}.json").write_text(json.dumps([entry]))
    assert evaluate(tmp_path, "--resamples", "200") == 0
    controls = read_table(tmp_path / "controls.parquet")[0].set_index("metric")
    values = draws_of(tmp_path, "random_heads/a--c")
    row = controls.loc["accuracy"]
    assert row["compared_value"] == pytest.approx(values[2])
    assert row["rank"] == 1 + (values >= values[2] - 1e-12).sum()
    assert row["p"] == pytest.approx(row["rank"] / (1 + len(values)))
