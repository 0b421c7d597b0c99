"""A detector on labelled images of one's own, beside other detectors' scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score, brier_score_loss, roc_auc_score

from clipsieve.cli import main
from clipsieve.detector import Detector
from clipsieve.detector.benchmark import (
    Candidate,
    calibration_curve,
    candidate_of_scores,
    evaluate_candidates,
    match_scores,
    subsets,
)
from clipsieve.errors import UserError
from tests.helpers.detector_runs import Run


@pytest.fixture(scope="module")
def folder(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Test images in class folders, and one that is broken."""
    root = tmp_path_factory.mktemp("own")
    for image_set, name in (("real", "x/Real"), ("two", "x/fake"), ("three", "y/1_fake")):
        (root / name).mkdir(parents=True)
        for i in range(20, 40):
            data = (run.root / f"images/{image_set}/{i}.png").read_bytes()
            (root / name / f"{image_set}{i}.png").write_bytes(data)
    (root / "x/fake/broken.png").write_bytes(b"no")
    (root / "x/Real/notes.txt").write_text("not an image")
    return root


def test_it_measures_as_scikit_learn_does(
    folder: Path, exported: Path, detector: Detector, tmp_path: Path
):
    rng = np.random.default_rng(0)
    paths = sorted(folder.rglob("*/*.png"))
    other = {path: float(rng.uniform()) for path in paths if path.name != "real20.png"}
    table = pd.DataFrame({"path": [str(p) for p in other], "score": list(other.values())})
    table.to_csv(tmp_path / "other.csv", index=False)
    raw = table.assign(path=[p.name for p in other], score=table["score"] * 8 - 2)
    raw.to_csv(tmp_path / "raw.csv", index=False)
    output = tmp_path / "found"
    assert main(
        ["evaluate-detector", str(exported), str(folder), "--labels", "folders", "--resamples", "200",
         "--scores", f"other={tmp_path / 'other.csv'}", f"raw={tmp_path / 'raw.csv'}",
         "--output", str(output)]
    ) == 0  # fmt: skip
    images = pd.read_csv(output / "images.csv")
    assert len(images) == 60  # the broken one is left out
    assert images["label"].tolist() == [int("real" in p.split("/")[-1]) for p in images["path"]]
    assert images["logit"].to_numpy() == pytest.approx(
        detector.decision_function([folder / p for p in images["path"]]), abs=1e-9
    )
    common = images[~images["path"].str.endswith("real20.png")]
    p = detector.predict_proba([folder / path for path in common["path"]])[:, 0]
    y = common["label"].to_numpy() == 0
    metrics = pd.read_csv(output / "metrics.csv").set_index(["detector", "subset", "metric"])

    def value(name: str, metric: str) -> float:
        return metrics.loc[(name, "all", metric), "value"]

    assert value("clipsieve", "auc") == pytest.approx(roc_auc_score(y, p))
    assert value("clipsieve", "brier") == pytest.approx(brier_score_loss(y, p))
    called = detector.predict([folder / path for path in common["path"]]) == "generated"
    assert value("clipsieve", "accuracy_at_val_threshold") == pytest.approx((called == y).mean())
    theirs = np.array([other[folder / path] for path in common["path"]])
    assert value("other", "auc") == value("raw", "auc") == pytest.approx(roc_auc_score(y, theirs))
    assert value("other", "balanced_accuracy") == pytest.approx(
        balanced_accuracy_score(y, theirs > 0.5)
    )
    assert value("raw", "balanced_accuracy") == pytest.approx(
        balanced_accuracy_score(y, theirs * 8 - 2 > 0)
    )
    assert ("raw", "all", "brier") not in metrics.index  # not a probability
    verdicts = detector.decide([folder / path for path in common["path"]])
    assert value("clipsieve", "real_called_generated") == (verdicts[~y] == "generated").mean()
    assert value("clipsieve", "generated_unsure") == (verdicts[y] == "unsure").mean()
    inside = metrics[metrics["low"].notna()]
    assert (inside["low"] <= inside["value"] + 1e-9).all()
    assert (inside["high"] >= inside["value"] - 1e-9).all()
    assert set(metrics.index.get_level_values("subset")) == {"all", "format PNG", "size 0 to 255"}
    differences = pd.read_csv(output / "differences.csv").set_index(["detector", "metric"])
    row = differences.loc[("other", "auc")]
    assert row["difference"] == pytest.approx(value("other", "auc") - value("clipsieve", "auc"))
    assert row["low"] < row["difference"] < row["high"]
    assert (output / "calibration.svg").read_text().count("<svg") == 1
    bins = pd.read_csv(output / "calibration.csv")
    assert set(bins["detector"]) == {"clipsieve", "other"}


def test_labels_and_groups_of_a_table(run: Run, folder: Path, exported: Path, tmp_path: Path):
    rows = [
        {"path": f"x/{name}/{s}{i}.png", "label": label, "group": f"g{i}", "generator": g}
        for name, s, label, g in (("Real", "real", "real", ""), ("fake", "two", "0", "two"))
        for i in range(20, 40)
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "labels.csv", index=False)
    output = tmp_path / "found"
    command = ["evaluate-detector", str(exported), str(folder), "--resamples", "200",
               "--output", str(output), "--labels"]  # fmt: skip
    assert main([*command, str(tmp_path / "labels.csv")]) == 0
    metrics = pd.read_csv(output / "metrics.csv")
    assert "generator two" in set(metrics["subset"])
    for wrong, said in (
        ("path,label\nx,maybe\n", "line 2: label 'maybe'; allowed: real, generated, 1, 0"),
        ("path,class\nx,1\n", "no column label; there are: path, class"),
        ("path,label\nx,1\nx,0\n", "x twice"), ("path,label\n", "no row"),
    ):  # fmt: skip
        (tmp_path / "wrong.csv").write_text(wrong)
        with pytest.MonkeyPatch.context() as patch:
            errors: list[str] = []
            patch.setattr("sys.stderr.write", errors.append)
            assert main([*command, str(tmp_path / "wrong.csv")]) == 2
        assert said in "".join(errors)


def images_of(rng: np.random.Generator, n: int) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "label": np.repeat([0, 1], n), "group": [f"g{k // 2}" for k in range(2 * n)],
            "format": "PNG", "width": 300, "height": rng.integers(200, 300, 2 * n),
        }
    )  # fmt: skip


def test_intervals_of_groups_cover():
    """AUC of images that come in pairs: the interval holds the truth about as often as it says."""
    rng = np.random.default_rng(0)
    truth = 0.7602  # of normal scores, means one apart: Phi(1 / sqrt(2))
    inside = []
    for _ in range(40):
        images = images_of(rng, 40)
        shared = np.repeat(rng.normal(size=40), 2) * 0.8
        logits = images["label"] + shared + rng.normal(size=80) * 0.6
        metrics, _ = evaluate_candidates(
            images, [Candidate("one", logits.to_numpy(), 0.5)], resamples=200
        )
        row = metrics[(metrics["subset"] == "all") & (metrics["metric"] == "auc")].iloc[0]
        inside.append(row["low"] <= truth <= row["high"])
    assert 0.85 <= np.mean(inside) <= 1.0


def test_subsets_need_both_labels_and_scores_their_images():
    images = images_of(np.random.default_rng(0), 20)
    images.loc[:3, "format"] = "JPEG"
    found = subsets(images)
    assert "format JPEG" not in found
    assert found["format PNG"].sum() == 36
    with pytest.raises(UserError, match="has a score of none of the 1 images"):
        match_scores(["a/b.png"], {"c.png": 1.0}, "folder", "x.csv")
    with pytest.raises(UserError, match="is the name of 2 images"):
        match_scores(["a/b.png", "c/b.png"], {"b.png": 1.0}, "folder", "x.csv")
    by_path = match_scores(["a/b.png", "c/b.png"], {"./c/b.png": 1.0}, "folder", "x.csv")
    assert np.isnan(by_path[0])
    assert by_path[1] == 1.0
    one = Candidate("one", np.where(images["label"] == 1, np.nan, 0.0), 0.0)
    with pytest.raises(UserError, match="no real image has a score of every detector"):
        evaluate_candidates(images, [one])


def test_a_calibration_curve_equals_a_loop():
    rng = np.random.default_rng(1)
    p = rng.uniform(size=500)
    label = (rng.uniform(size=500) > p).astype(np.int64)
    for row in calibration_curve(candidate_of_scores("one", p), label):
        mine = (p >= row["low"]) & (p < row["high"])
        assert row["n"] == mine.sum()
        assert row["share"] == pytest.approx((label[mine] == 0).mean())
        assert row["probability"] == pytest.approx(p[mine].mean())
