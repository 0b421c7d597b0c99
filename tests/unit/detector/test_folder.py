"""The files of a detector: equal ones are equal bytes, and any other byte is refused."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clipsieve.cli import main
from clipsieve.detector.folder import (
    ARRAYS,
    CARD,
    DESCRIPTION,
    FILES,
    identity_of,
    read_detector,
    write_detector,
)
from clipsieve.detector.model_card import card_of
from clipsieve.errors import UserError
from clipsieve.io.probes import read_probes
from tests.helpers.detector_runs import HEADS, Run


def test_a_detector_comes_back_as_it_was_and_equal_ones_are_equal_bytes(
    run: Run, capsys: pytest.CaptureFixture[str]
):
    path = run.export("heads", "one", "two")
    assert sorted(file.name for file in path.iterdir()) == sorted(FILES)
    first = {file.name: file.read_bytes() for file in path.iterdir()}
    run.export("heads", "one", "two")
    assert {file.name: file.read_bytes() for file in path.iterdir()} == first
    stored = read_detector(path)
    assert [probe.train for probe in stored.probes] == ["one", "two"]
    for probe in stored.probes:
        own = read_probes(run.base / f"probes/heads/{probe.train}.npz")[0]
        assert probe.columns == own.columns == HEADS
        assert np.array_equal(probe.coef, own.coef)
        assert (probe.intercept, probe.threshold) == (own.intercept, own.threshold)
    write_detector(run.root / "again", stored, card_of(stored))
    assert {f.name: f.read_bytes() for f in (run.root / "again").iterdir()} == first
    capsys.readouterr()
    assert main(["detect", str(path), "--describe"]) == 0
    described = json.loads(capsys.readouterr().out)
    assert described["labels"] == {"0": "generated", "1": "real"}
    assert described["facts"]["train"] == ["one", "two"]
    assert described["sha256"] == identity_of(path)


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_changed_cut_or_added_byte_is_refused(exported: Path, tmp_path: Path, data):
    copy = tmp_path / "copy"
    shutil.copytree(exported, copy, dirs_exist_ok=True)
    name = data.draw(st.sampled_from(FILES))
    whole = (exported / name).read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    kind = data.draw(st.sampled_from(["change", "cut", "add"]))
    changed = {
        "change": whole[:at]
        + bytes([whole[at] ^ data.draw(st.integers(1, 255))])
        + whole[at + 1 :],
        "cut": whole[:at],
        "add": whole[:at] + b" " + whole[at:],
    }[kind]
    (copy / name).write_bytes(changed)
    with pytest.raises(UserError, match=r"changed|not a detector|detector format"):
        read_detector(copy)


def test_white_space_or_another_order_in_the_description_is_refused(exported: Path, tmp_path: Path):
    copy = tmp_path / "copy"
    shutil.copytree(exported, copy)
    found = json.loads((copy / DESCRIPTION).read_text())
    (copy / DESCRIPTION).write_text(json.dumps(found, indent=2))
    with pytest.raises(UserError, match="changed since it was exported"):
        read_detector(copy)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(exported: Path, tmp_path: Path, name: str):
    copy = tmp_path / "copy"
    shutil.copytree(exported, copy)
    (copy / name).unlink()
    with pytest.raises(UserError, match=f"{name}: no such file"):
        read_detector(copy)


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[1]", b"null", b"\xff\xfe", pickle.dumps({}), b"[" * 100_000]
)
def test_what_is_no_detector_is_refused(
    tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / DESCRIPTION).write_bytes(content)
    assert main(["detect", str(tmp_path), "x.png"]) == 2
    assert "not a detector (clipsieve export writes one)" in capsys.readouterr().err
    (tmp_path / DESCRIPTION).unlink()
    (tmp_path / DESCRIPTION).mkdir()
    assert main(["detect", str(tmp_path), "x.png"]) == 2
    assert "can't be read" in capsys.readouterr().err


def test_another_format_version_says_so(exported: Path, tmp_path: Path):
    shutil.copytree(exported, tmp_path, dirs_exist_ok=True)
    found = json.loads((tmp_path / DESCRIPTION).read_text())
    (tmp_path / DESCRIPTION).write_text(json.dumps(found | {"format_version": 1}))
    with pytest.raises(UserError, match="detector format 1, this version reads 2; export it again"):
        read_detector(tmp_path)


def test_the_card_says_what_the_facts_say(exported: Path):
    card = (exported / CARD).read_text()
    facts = read_detector(exported).facts
    expected = facts["expected"]
    assert "Trained on the generators: one, three, two." in card
    assert "The encoder has random weights: the verdicts mean nothing." in card
    for name, entry in expected["per_generator"].items():
        value = entry["accuracy_at_val_threshold"]["value"]
        assert f"| {name} | {100 * value:.1f} % |" in card
    assert f"The worst generator is {expected['worst_generator']}." in card
    assert facts["encoder"]["weights_sha256"] in card
    for heading in ("Intended use", "Training", "Performance", "Verdicts", "Shortcuts", "Limits"):
        assert f"\n## {heading}\n" in card
    assert facts["words"]
    assert facts["words"][0]["text"] in card


def test_best_chooses_by_left_out_generators_and_tells_what_that_flatters(run: Run):
    output = run.root / "best"
    arguments = ["export", str(run.run), "--best", "--resamples", "200", "--output", str(output)]
    assert main(arguments) == 0
    facts = read_detector(output).facts
    choice = facts["choice"]
    assert choice["best"] == facts["feature_set"]
    assert set(choice["candidates"]) == {"all", "residual", "heads/one--two"}
    assert choice["candidates"][choice["best"]] == max(choice["candidates"].values())
    assert choice["candidates"][choice["best"]] == pytest.approx(facts["expected"]["auc"]["value"])
    assert "was chosen among these" in (output / CARD).read_text()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--feature-set", "nothing"], "no scores of the family nothing; of: all, heads, residual"),
        (["--feature-set", "heads/a--b"], "heads/a--b: not in this run; there are: heads/one--two"),
        (
            ["--feature-set", "all", "--train", "four"],
            "--train four: no such probe; there are: one,",
        ),
        (["--feature-set", "all", "--train", "one", "one"], "two probes trained on one"),
        (["--feature-set", "all", "--encoder", "big"], "--encoder big: "),
        (["--feature-set", "all", "--seed", "7"], "no run with the seed 7"),
        (["--feature-set", "all", "--rate", "0.5"], "--rate 0.5: above 0 and below 0.5"),
    ],
)
def test_mistakes_of_an_export_are_named(
    run: Run, options: list[str], said: str, capsys: pytest.CaptureFixture[str]
):
    never = run.root / "never"
    assert main(["export", str(run.run), *options, "--output", str(never)]) == 2
    assert said in capsys.readouterr().err
    assert not never.exists()


def test_arrays_are_readable_without_this_package(exported: Path):
    """The safetensors layout by hand: a length, a JSON header, the numbers."""
    data = (exported / ARRAYS).read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    entry = header["coef_0"]
    start, end = entry["data_offsets"]
    coef = np.frombuffer(data[8 + length :][start:end], "<f8")
    assert np.array_equal(coef, read_detector(exported).probes[0].coef)
