"""Scanning again: unchanged files are not read, and touched ones change nothing."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from clipsieve import cli
from clipsieve.images import fingerprint as fingerprints
from clipsieve.images import known as records
from clipsieve.images import scan as scanning
from clipsieve.images.fingerprint import fingerprint


def picture(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def age(folder: Path, seconds: float = 100.0) -> None:
    """Let all files be as old as they are in practice, each with a time of its own."""
    for k, path in enumerate(sorted(folder.rglob("*"))):
        if path.is_file():
            moment = time.time() - seconds - k
            os.utime(path, (moment, moment))


@pytest.fixture
def folder(tmp_path):
    for k in range(6):
        picture(tmp_path / f"set/0_real/{k}.png", k)
        picture(tmp_path / f"set/1_fake/{k}.png", 10 + k)
    (tmp_path / "set/0_real/broken.png").write_bytes(b"no picture")
    (tmp_path / "set/notes.txt").write_text("hello")
    age(tmp_path / "set")
    return tmp_path / "set"


@pytest.fixture
def read(monkeypatch):
    """The files whose bytes a scan reads."""
    found: list[str] = []
    honest = scanning.file_facts

    def noting(path: Path, **options: object):
        found.append(path.name)
        return honest(path, **options)

    monkeypatch.setattr(scanning, "file_facts", noting)
    return found


def scan(folder: Path, *more: str) -> pd.DataFrame:
    root = folder.parent
    mark = fingerprint(folder, None, root / "known.parquet")
    options = ["--image-set", "s", "--folder", str(folder), "--data-root", str(root)]
    options += ["--label", "1", "--source", "s", "--layout", "wang2020", "--fingerprint", mark]
    options += ["--known", str(root / "known.parquet"), "--output", str(root / "s.parquet"), *more]
    assert cli.main(["scan", *options]) == 0
    return pd.read_parquet(root / "s.parquet")


def mark_of(folder: Path) -> str:
    return fingerprint(folder, None, folder.parent / "known.parquet")


def test_unchanged_files_are_not_read_again(folder, read):
    first = scan(folder)
    assert len(read) == 8  # six pictures, a broken one and the note beside the classes
    read.clear()
    pd.testing.assert_frame_equal(scan(folder), first)
    assert read == []
    picture(folder / "0_real/3.png", 99)
    picture(folder / "0_real/new.png", 100)
    (folder / "0_real/1.png").unlink()
    again = scan(folder)
    assert sorted(read) == ["3.png", "new.png"]
    (folder.parent / "known.parquet").unlink()
    pd.testing.assert_frame_equal(scan(folder), again)


def test_a_file_that_is_replaced_with_its_size_and_time_is_read(folder, read):
    scan(folder)
    path = folder / "0_real/2.png"
    before = path.stat()
    other = bytearray(path.read_bytes())
    other[-20] ^= 1
    (folder / "x").write_bytes(other)
    os.utime(folder / "x", ns=(before.st_atime_ns, before.st_mtime_ns))
    os.replace(folder / "x", path)
    read.clear()
    scan(folder)
    assert read == ["2.png"]


def test_a_file_that_was_just_written_is_not_trusted(folder, read):
    picture(folder / "0_real/2.png", 50)
    scan(folder)
    read.clear()
    scan(folder)
    assert read == ["2.png"]


def test_other_code_or_libraries_read_everything(folder, read, monkeypatch):
    from clipsieve.cli import scan as command

    scan(folder)
    read.clear()
    monkeypatch.setattr(command, "_version", lambda: "another")
    scan(folder)
    assert len(read) == 8


def test_a_damaged_record_is_no_record(folder, read):
    first = scan(folder)
    (folder.parent / "known.parquet").write_bytes(b"PAR1 and nothing else")
    read.clear()
    pd.testing.assert_frame_equal(scan(folder), first)
    assert len(read) == 8


def test_parts_are_looked_up_one_by_one(folder, read, monkeypatch):
    whole = scan(folder)
    (folder.parent / "known.parquet").unlink()
    honest = records.parts_of
    monkeypatch.setattr(records, "parts_of", lambda items: honest(items, 3))
    pd.testing.assert_frame_equal(scan(folder), whole)
    read.clear()
    pd.testing.assert_frame_equal(scan(folder), whole)
    assert read == []


def test_a_sample_uses_the_record_too(folder, read):
    first = scan(folder, "--sample", "4")
    read.clear()
    pd.testing.assert_frame_equal(scan(folder, "--sample", "4"), first)
    assert read == []


@pytest.mark.parametrize("how", ["touched", "copied over", "copied elsewhere"])
def test_the_same_bytes_have_the_same_fingerprint(folder, how):
    mark = mark_of(folder)
    scan(folder)
    if how == "touched":
        for path in folder.rglob("*"):
            os.utime(path)
    elif how == "copied over":
        path = folder / "0_real/2.png"
        path.write_bytes(path.read_bytes())
    else:
        shutil.copytree(folder, folder.parent / "copy", copy_function=shutil.copyfile)
        shutil.rmtree(folder)
        (folder.parent / "copy").rename(folder)
    assert fingerprint(folder, None) != mark
    assert mark_of(folder) == mark


@pytest.mark.parametrize(
    "how", ["edited", "edited and as long", "added", "removed", "renamed", "a note edited"]
)
def test_another_content_has_another_fingerprint(folder, how):
    mark = mark_of(folder)
    scan(folder)
    path = folder / "0_real/2.png"
    if how == "edited":
        path.write_bytes(path.read_bytes() + b"\0")
    elif how == "edited and as long":
        data = bytearray(path.read_bytes())
        data[-20] ^= 1
        path.write_bytes(data)
    elif how == "added":
        picture(folder / "0_real/new.png", 70)
    elif how == "removed":
        path.unlink()
    elif how == "renamed":
        path.rename(folder / "0_real/x.png")
    else:
        (folder / "notes.txt").write_text("hallo")
    assert mark_of(folder) != mark


def test_an_image_of_the_other_class_counts_by_name_only(folder):
    mark = mark_of(folder)
    scan(folder)
    picture(folder / "1_fake/2.png", 71)
    assert mark_of(folder) == mark
    (folder / "1_fake/2.png").unlink()
    assert mark_of(folder) != mark


def test_too_many_touched_bytes_are_not_compared_while_a_run_is_planned(folder, monkeypatch):
    mark = mark_of(folder)
    scan(folder)
    for path in folder.rglob("*"):
        os.utime(path)
    hashed: list[str] = []
    monkeypatch.setattr(fingerprints, "sha256_of", lambda path: hashed.append(path) or "")
    monkeypatch.setattr(fingerprints, "MOST_COMPARED", 1000)
    assert mark_of(folder) != mark
    assert not hashed


def test_a_touched_table_is_compared_by_content(tmp_path):
    for k in range(3):
        picture(tmp_path / f"set/{k}.png", k)
    table = tmp_path / "set/.m.csv"
    table.write_text("path,group\n0.png,a\n1.png,b\n2.png,c\n")
    age(tmp_path / "set")
    known = tmp_path / "known.parquet"

    def mark() -> str:
        return fingerprint(tmp_path / "set", ".m.csv", known)

    first = mark()
    options = ["--image-set", "s", "--folder", str(tmp_path / "set"), "--data-root", str(tmp_path)]
    options += ["--label", "1", "--source", "s", "--metadata", ".m.csv", "--fingerprint", first]
    options += ["--known", str(known), "--output", str(tmp_path / "s.parquet")]
    assert cli.main(["scan", *options]) == 0
    os.utime(table)
    assert mark() == first
    table.write_text("path,group\n0.png,a\n1.png,b\n2.png,d\n")
    assert mark() != first
