"""Names and folders from other systems, and what lies in folders beside files."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from clipsieve import cli
from clipsieve.detector.pictures import find_images
from clipsieve.errors import UserError
from clipsieve.images.facts import file_facts
from clipsieve.images.listing import list_files
from clipsieve.images.members import read_set
from clipsieve.images.metadata import by_files

COMPOSED, APART = (unicodedata.normalize(form, "café_ü") for form in ("NFC", "NFD"))


def picture(path: Path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, "PNG")


def test_a_table_in_one_unicode_form_finds_files_in_another(tmp_path):
    picture(tmp_path / f"{APART}.png")
    (tmp_path / "m.csv").write_text(f"path,group\n{COMPOSED}.png,g\n")
    found = read_set(tmp_path, label=0, metadata="m.csv")
    assert [(m.path, m.group, m.problem) for m in found.members] == [(f"{APART}.png", "g", None)]
    assert any("1 paths are matched to files whose names differ" in note for note in found.notes)


def test_groups_are_the_same_in_every_unicode_form(tmp_path):
    picture(tmp_path / f"real/{COMPOSED}.png")
    picture(tmp_path / f"fake/{APART}_1.png")
    (real,) = read_set(tmp_path / "real", label=1).members
    options = {"group_pattern": r"^(?P<group>.+)_\d$"}
    (fake,) = read_set(tmp_path / "fake", label=0, **options).members
    assert real.group == fake.group
    # files keep their names
    assert fake.path == f"{APART}_1.png"


def test_a_table_from_windows_finds_its_files(tmp_path):
    for name in ("a/one.JPG", "a/b/Two.png", "three.png"):
        picture(tmp_path / name)
    rows = ["a\\one.jpg,g1", ".\\A\\b\\TWO.PNG,g2", "three.png,g3"]
    (tmp_path / "m.csv").write_text("path,group\r\n" + "\r\n".join(rows) + "\r\n")
    found = read_set(tmp_path, label=0, metadata="m.csv")
    assert {m.path: (m.group, m.problem) for m in found.members} == {
        "a/one.JPG": ("g1", None), "a/b/Two.png": ("g2", None), "three.png": ("g3", None),
    }  # fmt: skip


def test_two_files_or_two_rows_that_are_alike_are_not_guessed():
    assert by_files({"A.png": {}}, ["a.png", "a.PNG"])[1] == []
    assert by_files({"A.png": {}, "a.PNG": {}}, ["a.png"])[1] == []
    # an exact name is never given to another row
    table, notes = by_files({"a.png": {"group": "1"}, "A.png": {"group": "2"}}, ["a.png"])
    assert table["a.png"] == {"group": "1"}
    assert notes == []


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text("aAéÉßẞİ\u0301./\\-", min_size=1, max_size=4), unique=True, max_size=6))
def test_matching_never_loses_or_doubles_a_row(names):
    table = {name: {"group": str(k)} for k, name in enumerate(names)}
    found, _ = by_files(table, [name.upper() for name in names])
    assert len(found) == len(table)
    assert sorted(row["group"] for row in found.values()) == sorted(
        row["group"] for row in table.values()
    )


@pytest.mark.parametrize(
    ("layout", "name"),
    [("plain", "a.png"), ("zip", "x.zip"), ("webdataset", "x.tar"), ("parquet", "x.parquet")],
)
def test_pipes_and_devices_are_rows_and_nobody_waits_for_them(tmp_path, layout, name):
    folder = tmp_path / "set"
    folder.mkdir()
    picture(folder / "good.png")
    os.mkfifo(folder / name)
    (folder / "zero.png").symlink_to("/dev/zero")
    table = tmp_path / "s.parquet"
    assert cli.main(
        ["scan", "--image-set", "s", "--folder", str(folder), "--data-root", str(tmp_path),
         "--label", "1", "--source", "s", "--layout", layout, "--output", str(table),
         "--known", str(tmp_path / "known.parquet")]
    ) == 0  # fmt: skip
    problems = pd.read_parquet(table).set_index("path")["problem"]
    assert (
        problems[f"set/{name}"] == problems["set/zero.png"] == "can't be read: not an ordinary file"
    )
    assert problems.isna().sum() == 1
    judged = {path.name: file_facts(path).problem for path in map(Path, find_images([str(folder)]))}
    assert judged == {Path(path).name: None if pd.isna(p) else p for path, p in problems.items()}


def test_a_table_that_is_a_pipe_is_refused(tmp_path):
    picture(tmp_path / "a.png")
    os.mkfifo(tmp_path / "m.csv")
    with pytest.raises(UserError, match=r"m\.csv: not an ordinary file"):
        read_set(tmp_path, label=0, metadata="m.csv")
    os.mkfifo(tmp_path / "metadata.csv")
    with pytest.raises(UserError, match=r"metadata\.csv: not an ordinary file"):
        read_set(tmp_path, label=0, layout="artifact")


def test_empty_arguments_do_not_mean_the_working_directory(tmp_path, monkeypatch, capsys):
    picture(tmp_path / "set/a.png")
    monkeypatch.chdir(tmp_path / "set")
    with pytest.raises(UserError, match="an image argument is empty"):
        list(map(Path, find_images([""])))
    options = ["scan", "--image-set", "s", "--data-root", ".", "--label", "1", "--source", "s"]
    with pytest.raises(SystemExit) as left:
        cli.main([*options, "--folder", "", "--output", "x.parquet"])
    assert left.value.code == 2
    assert "argument --folder: the path is empty" in capsys.readouterr().err
    assert list_files(tmp_path) == ["set/a.png"]
