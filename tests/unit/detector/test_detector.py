"""From embedded images to a detector file to verdicts on single files, with a real encoder."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from clipsieve.cli import main
from clipsieve.detector.evidence import gather_evidence
from clipsieve.detector.folder import read_detector, write_detector
from clipsieve.detector.held_out import held_out_logits
from clipsieve.detector.training_images import file_warnings
from clipsieve.images.align import aligned
from clipsieve.io.feature_sets import FeatureSet, write_feature_sets
from clipsieve.io.probes import read_probes
from clipsieve.io.scores import read_scores
from clipsieve.io.tables import read_table
from tests.helpers.detector_runs import SETS, SPLITS, Run


def judged(run: Run, detector: Path, *images: Path, capsys: pytest.CaptureFixture[str]) -> list:
    capsys.readouterr()
    assert main(["detect", str(detector), "--json", *map(str, images)]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize(
    ("kind", "trains"), [("all", ("one",)), ("residual", ("one",)), ("heads", ("one", "two"))]
)
def test_verdicts_are_those_of_the_probes_on_the_embedded_files(
    run: Run, kind: str, trains: tuple[str, ...], capsys: pytest.CaptureFixture[str]
):
    detector = run.export(kind, *trains)
    paths = [run.root / f"images/{name}/{i:02}.png" for name in SETS for i in (31, 38)]
    found = judged(run, detector, *paths, capsys=capsys)
    for path, result in zip(paths, found, strict=True):
        expected = np.mean([run.logits[kind, t, path.parent.name][int(path.stem)] for t in trains])
        assert result["logit"] == pytest.approx(expected, abs=1e-6)
        assert result["path"] == str(path)
        at_threshold = "real" if expected > read_detector(detector).threshold else "generated"
        assert result["label_at_threshold"] == at_threshold
    probes = [read_probes(run.base / f"probes/{kind}/{t}.npz")[0] for t in trains]
    assert read_detector(detector).threshold == pytest.approx(
        np.mean([p.threshold for p in probes])
    )


def test_what_it_says_of_itself_is_counted_on_generators_that_are_new_to_it(run: Run):
    stored = read_detector(run.export("all", "one"))
    expected = stored.facts["expected"]
    assert sorted(expected["per_generator"]) == ["three", "two"]
    real = run.test_logits("all", ("one",), "real") > stored.threshold
    by_hand = {}
    for name in ("two", "three"):
        caught = run.test_logits("all", ("one",), name) <= stored.threshold
        by_hand[name] = (real.sum() + caught.sum()) / (len(real) + len(caught))
        entry = expected["per_generator"][name]["accuracy_at_val_threshold"]
        assert entry["value"] == pytest.approx(by_hand[name])
        assert entry["low"] <= entry["value"] <= entry["high"]
    mean = expected["accuracy_at_val_threshold"]
    assert mean["value"] == pytest.approx(np.mean(list(by_hand.values())))
    assert expected["worst_generator"] == min(by_hand, key=lambda name: by_hand[name])
    assert expected["n"] == 60
    left_out = stored.facts["band"]["per_generator"]["two"]
    shares = [left_out[k] for k in ("called_generated", "unsure", "called_real")]
    assert sum(shares) == pytest.approx(1.0)
    assert stored.facts["training"]["formats"] == {"PNG": {"generated": 20, "real": 20}}
    assert stored.facts["calibration"]["ece_after_cross_fitted"] is not None


def test_a_detector_of_one_generator_says_of_itself_what_the_cells_say(run: Run):
    features = run.root / "f/all.json"
    write_feature_sets(features, [FeatureSet("all", "all")])
    names = ("means", "controls", "optimism", "pairs", "ranking", "operating")
    tables = [f"--{name}={run.root / name}.parquet" for name in names]
    status = main(
        ["evaluate", "--scores", str(run.base / "scores/all.h5"), "--features", str(features),
         "--resamples", "200", "--cells", str(run.root / "cells.parquet"), *tables]
    )  # fmt: skip
    assert status == 0
    cells = read_table(run.root / "cells.parquet")[0].set_index(["train", "test", "metric"])
    expected = read_detector(run.export("all", "one")).facts["expected"]["per_generator"]
    for name in ("two", "three"):
        for metric, entry in expected[name].items():
            for column in ("value", "low", "high"):
                cell = cells.loc[("one", name, metric), column]
                assert entry[column] == pytest.approx(cell, abs=1e-6), (name, metric, column)


def test_trained_on_all_generators_each_is_judged_by_the_others(run: Run):
    """The held-out score of the whole is that of leaving each out, by a plain loop."""
    detector = read_detector(run.export("all"))
    expected = detector.facts["expected"]
    assert detector.facts["train"] == sorted(SETS[1:])
    assert expected["held_out"] is True
    accuracies = {}
    for name in SETS[1:]:
        others = tuple(other for other in SETS[1:] if other != name)
        threshold = np.mean(
            [read_probes(run.base / f"probes/all/{t}.npz")[0].threshold for t in others]
        )
        right = (run.test_logits("all", others, "real") > threshold).sum()
        right += (run.test_logits("all", others, name) <= threshold).sum()
        accuracies[name] = right / 40
        entry = expected["per_generator"][name]["accuracy_at_val_threshold"]
        assert entry["value"] == pytest.approx(accuracies[name])
    mean = expected["accuracy_at_val_threshold"]
    assert mean["value"] == pytest.approx(np.mean(list(accuracies.values())))
    assert mean["generators_low"] is None  # three generators say nothing of their spread
    whole = run.test_logits("all", tuple(SETS[1:]), "real")
    assert detector.points[0.1] == pytest.approx(np.sort(whole)[1])  # 2 of 20 + 1 at most
    assert detector.points[0.01] is None


def test_a_detector_of_what_it_saw_says_so(run: Run, capsys: pytest.CaptureFixture[str]):
    scores = read_scores([run.base / "scores/all.h5"])
    one = scores.take(np.isin(scores.images.image_set, ["one", "real"]))
    found = held_out_logits(one, "all", ["one"])
    assert not found.held_out
    assert found.tested == ["one"]
    assert gather_evidence(one, found, resamples=200).facts["expected"]["held_out"] is False


def test_it_tells_lattices_from_smooth_pictures(run: Run, capsys: pytest.CaptureFixture[str]):
    """The whole path works: the verdicts on new files are right far more often than not."""
    detector = run.export("all", "one", options=("--rate", "0.2"))
    folder = run.root / "new"
    for name in ("real", "two"):
        (folder / name).mkdir(parents=True)
        for i in np.flatnonzero(SPLITS == "test"):
            copy = (run.root / f"images/{name}/{i:02}.png").read_bytes()
            (folder / name / f"{i:02}.png").write_bytes(copy)
    found = judged(run, detector, folder, capsys=capsys)
    assert [result["path"] for result in found] == sorted(map(str, folder.rglob("*.png")))
    verdicts = np.array([result["verdict"] for result in found])
    truth = np.repeat(["real", "generated"], 20)
    decided = verdicts != "unsure"
    assert decided.mean() > 0.5
    assert (verdicts == truth)[decided].mean() > 0.85
    p = np.array([result["probability_generated"] for result in found])
    assert p[truth == "generated"].mean() > p[truth == "real"].mean() + 0.3


def test_files_unlike_the_training_images_are_warned_about(
    run: Run, capsys: pytest.CaptureFixture[str]
):
    detector = run.export("all", "one")
    folder = run.root / "odd"
    folder.mkdir(exist_ok=True)
    with Image.open(run.root / "images/real/30.png") as image:
        image.resize((200, 90)).save(folder / "wide.jpg", quality=30)
        image.convert("L").save(folder / "grey.png")
    Image.new("RGB", (64, 64), (0, 0, 0)).save(folder / "black.png")
    wide, grey, black, fine = judged(
        run, detector, folder / "wide.jpg", folder / "grey.png", folder / "black.png",
        run.root / "images/real/30.png", capsys=capsys,
    )  # fmt: skip
    text = " | ".join(wide["warnings"])
    assert "format JPEG: trained only on PNG" in text
    assert "200 px wide: trained on 64" in text
    assert "90 px high" in text
    assert any("colour mode L" in w for w in grey["warnings"])
    assert any("one colour" in w for w in black["warnings"])
    assert fine["warnings"] == []


def test_a_detector_of_aligned_images_aligns_what_it_judges(
    run: Run, capsys: pytest.CaptureFixture[str]
):
    options = {"size": 32, "format": "jpeg", "quality": 60}
    path = run.root / "images/one/30.png"
    made = run.root / "odd/aligned.jpg"
    made.parent.mkdir(exist_ok=True)
    with Image.open(path) as image:
        made.write_bytes(aligned(image, size=32, file_format="jpeg", quality=60))
    plain = judged(run, run.export("all", "one"), made, path, capsys=capsys)
    detector = run.export("all", "one", options=("--align", json.dumps(options)))
    (found,) = judged(run, detector, path, capsys=capsys)
    assert found["logit"] == pytest.approx(plain[0]["logit"], abs=1e-5)
    assert abs(found["logit"] - plain[1]["logit"]) > 1e-3  # the unaligned picture gives another
    assert plain[0]["warnings"]
    assert found["warnings"] == []


def test_a_name_that_is_not_utf8_is_judged_and_printed(
    run: Run, capsys: pytest.CaptureFixture[str]
):
    folder = run.root / "named"
    folder.mkdir(exist_ok=True)
    data = (run.root / "images/one/30.png").read_bytes()
    Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.png")).write_bytes(data)
    detector = run.export("all", "one")
    assert main(["detect", str(detector), str(folder)]) == 0
    assert capsys.readouterr().out.rstrip().endswith(r"/caf\xe9.png")


def test_a_detector_of_a_common_scale_applies_it_and_needs_one(
    run: Run, capsys: pytest.CaptureFixture[str]
):
    options = {"method": "common_scale", "size": 32, "format": "png", "quality": 95}
    with pytest.raises(AssertionError):
        run.export("all", "one", options=("--align", json.dumps(options)))
    assert "were aligned at none as common scales" in capsys.readouterr().err
    for path in (run.run / "images").glob("*.parquet"):
        pd.read_parquet(path).assign(align_scale=0.75).to_parquet(path)
    path = run.root / "images/one/30.png"
    made = run.root / "odd/scaled.png"
    made.parent.mkdir(exist_ok=True)
    with Image.open(path) as image:
        made.write_bytes(aligned(image, size=32, file_format="png", scale=0.75))
    (plain,) = judged(run, run.export("all", "one"), made, capsys=capsys)
    detector = run.export("all", "one", options=("--align", json.dumps(options)))
    assert read_detector(detector).facts["align"] == {**options, "scale": 0.75}
    (found,) = judged(run, detector, path, capsys=capsys)
    assert found["logit"] == pytest.approx(plain["logit"], abs=1e-5)


def test_its_intervals_have_the_coverage_that_is_asked_for(run: Run):
    wide, narrow = (
        read_detector(run.export("all", "one", options=("--confidence", c))).facts["expected"]
        for c in ("0.99", "0.8")
    )
    low, high = wide["accuracy"]["low"], wide["accuracy"]["high"]
    assert low < narrow["accuracy"]["low"] < narrow["accuracy"]["high"] < high


def test_transparent_pixels_get_the_background_of_the_training(
    run: Run, capsys: pytest.CaptureFixture[str]
):
    detector = run.export("all", "one")
    folder = run.root / "clear"
    folder.mkdir(exist_ok=True)
    Image.new("RGBA", (64, 64), (9, 9, 9, 0)).save(folder / "clear.png")
    Image.new("RGB", (64, 64), (0, 0, 255)).save(folder / "blue.png")
    clear, blue = judged(run, detector, folder / "clear.png", folder / "blue.png", capsys=capsys)
    assert clear["logit"] == pytest.approx(blue["logit"], abs=1e-6)


def test_a_format_of_one_label_alone_is_named():
    training = {
        "formats": {"PNG": {"generated": 9, "real": 0}, "JPEG": {"generated": 5, "real": 9}},
        "modes": ["RGB"], "width": [10, 20], "height": [10, 20], "bytes_per_pixel": [1.0, 2.0],
        "jpeg_quality": [80, 95],
    }  # fmt: skip
    file = {
        "format": "PNG", "mode": "RGB", "width": 15, "height": 15, "bytes": 300,
        "jpeg_quality": None,
    }  # fmt: skip
    assert "every training image of this format was generated" in file_warnings(file, training)[0]
    jpeg = {**file, "format": "JPEG", "jpeg_quality": 40, "bytes": 2000}
    found = file_warnings(jpeg, training)
    assert found == [
        "JPEG quality 40: trained on 80 to 95",
        "8.89 bytes a pixel: trained on 1 to 2",
    ]


def test_unreadable_files_are_named_and_the_others_judged(
    run: Run, capsys: pytest.CaptureFixture[str]
):
    detector = run.export("all", "one")
    broken = run.root / "broken.png"
    broken.write_bytes((run.root / "images/real/30.png").read_bytes()[:200])
    good = run.root / "images/one/31.png"
    capsys.readouterr()
    assert main(["detect", str(detector), str(broken), str(good), "missing.png"]) == 3
    captured = capsys.readouterr()
    assert captured.out.count("no image") == 2
    assert str(good) in captured.out
    assert "2 of 3 files are not usable images" in captured.err


def test_another_encoder_is_refused(run: Run, capsys: pytest.CaptureFixture[str]):
    stored = read_detector(run.export("all", "one"))
    facts = json.loads(json.dumps(stored.facts))
    facts["encoder"]["spec"]["seed"] = 1
    write_detector(run.root / "other", replace(stored, facts=facts), "# Another\n")
    capsys.readouterr()
    assert main(["detect", str(run.root / "other"), str(run.root / "images/one/30.png")]) == 2
    assert "weights_sha256" in capsys.readouterr().err
