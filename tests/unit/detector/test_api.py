"""The detector in Python: images of every kind, scikit-learn's shapes, and the examples of its docs."""

from __future__ import annotations

import doctest
import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import clipsieve
from clipsieve.detector import Detector, api
from clipsieve.errors import UserError
from tests.helpers.detector_runs import SETS, Run


def test_examples_run(
    run: Run, detector: Detector, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """In a folder with a detector, a photograph and a generated picture that are clear cases."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(exported, "detector")
    for name, image_set, best in (
        ("photo.png", "real", np.argmax),
        ("picture.png", "one", np.argmin),
    ):
        files = sorted((run.root / "images" / image_set).glob("*.png"))[20:]
        shutil.copy(files[best(detector.decision_function(files))], name)
    assert clipsieve.Detector is Detector
    result = doctest.testmod(api)
    assert result.attempted > 8
    assert not result.failed


def test_paths_bytes_pictures_and_arrays_of_one_image_get_one_score(run: Run, detector: Detector):
    path = run.root / "images/two/36.png"
    image = Image.open(path)
    array = np.asarray(image)
    kinds = [path, str(path), path.read_bytes(), bytearray(path.read_bytes()), image, array,
             array / 255.0, (array / 255.0).astype(np.float32)]  # fmt: skip
    logits = detector.decision_function(kinds)
    assert logits == pytest.approx(np.full(len(kinds), logits[0]), abs=1e-9)
    assert logits[0] == pytest.approx(
        np.mean([run.logits["all", t, "two"][36] for t in SETS[1:]]), abs=1e-6
    )
    p = detector.predict_proba(kinds[:3])
    assert p.shape == (3, 2)
    assert p.sum(axis=1) == pytest.approx(np.ones(3))
    assert detector.classes_[int(p[0].argmax())] in ("generated", "real")
    assert set(detector.predict(kinds[:2])) <= {"generated", "real"}
    assert set(detector.decide(kinds[:2])) <= {"generated", "real", "unsure"}


def test_pictures_of_every_mode_are_judged_as_their_files(run: Run, detector: Detector):
    with Image.open(run.root / "images/real/33.png") as plain:
        clear = plain.convert("RGBA")
        clear.putalpha(Image.linear_gradient("L").resize(plain.size))
        modes = [
            plain.convert("L"),
            clear,
            plain.convert("P"),
            plain.convert("1"),
            plain.convert("LA"),
        ]
    for image in modes:
        kept = io.BytesIO()
        image.save(kept, "PNG")
        a, b = detector.decision_function([image, kept.getvalue()])
        assert a == pytest.approx(b, abs=1e-9), image.mode
    assert len(detector.judge([image.convert("CMYK"), np.zeros((9, 9, 4), np.uint8)])) == 2


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (b"", "empty file"),
        (b"no image", "not an image in"),
        ("nowhere.png", "no such file"),
        ("https://example.org/a.png", "an address on the network; only files are read"),
        ("file:///etc/passwd", "an address on the network; only files are read"),
        (np.zeros((2, 2, 5), np.uint8), "an array of shape [2, 2, 5]"),
        (np.zeros((0, 2, 3), np.uint8), "an array of shape [0, 2, 3]"),
        (np.full((2, 2, 3), 2.0), "outside 0 to 1"),
        (np.full((2, 2, 3), np.nan), "outside 0 to 1"),
        (np.zeros((2, 2, 3), np.int64), "an array of int64"),
    ],
)  # fmt: skip
def test_what_is_no_image_is_a_problem_in_a_list_and_an_error_alone(
    detector: Detector, image, said: str
):
    (found,) = detector.judge([image])
    assert said in found["problem"]
    assert found["verdict"] is None
    with pytest.raises(UserError, match="image 0"):
        detector.predict_proba([image])


def test_a_single_path_and_another_kind_are_mistakes(detector: Detector):
    with pytest.raises(UserError, match="give a list of images"):
        detector.decide("photo.png")
    with pytest.raises(TypeError, match="not int"):
        detector.decide([3])


def test_operating_points_are_the_stored_ones(run: Run, detector: Detector):
    with pytest.raises(UserError, match=r"holds operating points for 0\.001, 0\.005, 0\.01"):
        detector.decide([], max_false_alarms=0.03)
    with pytest.raises(UserError, match="at least 99 are needed"):
        detector.decide([], max_false_alarms=0.01)
    limit = detector.model.points[0.1]
    images = [run.root / f"images/one/{i:02}.png" for i in range(20, 40)]
    called = detector.decide(images, max_false_alarms=0.1) == "generated"
    assert np.array_equal(called, detector.decision_function(images) < limit)
    assert called.any()
