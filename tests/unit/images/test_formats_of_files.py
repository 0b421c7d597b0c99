"""Formats told by content, and what is said where the reader of one is not installed."""

from __future__ import annotations

import importlib.util
import io
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clipsieve.images import file_formats
from clipsieve.images.decode import ImageProblem, decode
from clipsieve.images.facts import file_facts
from clipsieve.images.file_formats import readable, told_by_content
from clipsieve.images.members import read_members
from tests.helpers.small_files import HEIC, JPEG_XL

RED, BLUE = (200, 40, 30), (20, 60, 210)
TWO = np.zeros((64, 64, 3), np.uint8)
TWO[:, :32], TWO[:, 32:] = RED, BLUE


def saved(kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(TWO).save(buffer, kind, **options)
    return buffer.getvalue()


def looks_right(data: bytes) -> bool:
    found = np.asarray(decode(data)).astype(int)
    ends = np.abs(found[32, 5] - RED).max(), np.abs(found[32, 60] - BLUE).max()
    return found.shape == (64, 64, 3) and max(ends) <= 4


def files() -> dict[str, bytes]:
    return {
        "AVIF": saved("AVIF", quality=95),
        "JPEG2000": saved("JPEG2000"),
        "HEIF": HEIC,
        "JXL": JPEG_XL,
    }


@pytest.fixture
def without(monkeypatch):
    """Make a machine on which no package of these names is installed."""

    def arranged(*names: str) -> None:
        find = importlib.util.find_spec
        monkeypatch.setattr(
            file_formats, "find_spec", lambda name: None if name in names else find(name)
        )
        readable.cache_clear()

    yield arranged
    monkeypatch.undo()
    readable.cache_clear()


@pytest.mark.parametrize("name", ["AVIF", "JPEG2000", "HEIF"])
def test_a_format_is_read_whatever_the_name_of_the_file(tmp_path, name):
    if name == "HEIF":
        pytest.importorskip("pi_heif")
    path = tmp_path / "x.jpg"
    path.write_bytes(files()[name])
    assert looks_right(path.read_bytes())
    facts = file_facts(path)
    assert (facts.format, facts.width, facts.height, facts.problem) == (name, 64, 64, None)


def test_a_raw_codestream_of_jpeg_2000_is_read():
    assert looks_right(saved("JPEG2000", no_jp2=True))
    assert told_by_content(saved("JPEG2000", no_jp2=True)) == "JPEG2000"


def test_every_format_is_told_by_its_bytes():
    assert {name: told_by_content(data) for name, data in files().items()} == {
        name: name for name in files()
    }
    for kind in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM"):
        assert told_by_content(saved(kind)) is None
    # a movie has the same kind of box, and another brand
    movie = struct.pack(">I4s4sI4s4s", 24, b"ftyp", b"isom", 512, b"isom", b"mp42")
    assert told_by_content(movie) is None
    for cut in range(0, 40):
        assert told_by_content(HEIC[:cut]) in (None, "HEIF")


def test_a_format_without_its_reader_is_a_problem_that_says_what_to_install(tmp_path, without):
    without("pi_heif", "pillow_jxl")
    for name, said in (
        ("HEIF", r"HEIF \(HEIC\): its reader is not installed \(pip install 'clipsieve\[heif\]'\)"),
        ("JXL", r"JPEG XL: .*pip install pillow-jxl-plugin, whose licence is the GPL"),
    ):
        path = tmp_path / f"{name}.jpg"
        path.write_bytes(files()[name])
        facts = file_facts(path)
        assert facts.sha256 is not None
        with pytest.raises(ImageProblem, match=said):
            decode(path)


def test_what_is_no_image_names_all_formats():
    with pytest.raises(ImageProblem, match=r"not an image in JPEG, PNG, .*, HEIF, JPEG XL"):
        decode(b"no picture, but text")


def test_pictures_of_phones_that_hold_several_count_as_jpeg():
    buffer = io.BytesIO()
    first, second = Image.fromarray(TWO), Image.fromarray(TWO[:, ::-1])
    first.save(buffer, "MPO", save_all=True, append_images=[second], quality=90)
    data = buffer.getvalue()
    assert Image.open(io.BytesIO(data)).format == "MPO"
    from clipsieve.images.facts import facts_of_bytes

    facts = facts_of_bytes(data)
    assert (facts.format, facts.jpeg_quality, facts.problem) == ("JPEG", 90, None)
    assert looks_right(data)


@pytest.mark.parametrize("ending", ["HEIC", "Avif", "JP2", "jXl", "JPEG", "TIF"])
def test_endings_in_upper_case_are_endings(tmp_path, ending):
    (tmp_path / f"cat.{ending}").touch()
    assert [m.group for m in read_members(tmp_path, label=0)] == ["cat"]


@pytest.mark.parametrize("kind", ["jpeg", "webp"])
def test_the_longest_names_are_scanned_and_copied(tmp_path, kind):
    from clipsieve import cli

    length = 255  # bytes: what Linux and other systems allow

    (tmp_path / "set").mkdir()
    for k in range(3):
        name = str(k) + "a" * (length - 5) + ".png"
        (tmp_path / "set" / name).write_bytes(saved("PNG"))
    scan = ["scan", "--image-set", "s", "--folder", str(tmp_path / "set"), "--label", "1"]
    scan += ["--data-root", str(tmp_path), "--source", "s", "--output", str(tmp_path / "s.parquet")]
    assert cli.main(scan) == 0
    assert cli.main(
        ["align", "--images", str(tmp_path / "s.parquet"), "--data-root", str(tmp_path),
         "--size", "32", "--method", "resize", "--format", kind,
         "--output-dir", str(tmp_path / "out"), "--output", str(tmp_path / "a.parquet")]
    ) == 0  # fmt: skip
    copies = list(Path(tmp_path / "out/set").iterdir())
    assert len(copies) == 3
    assert {len(os.fsencode(path.name)) for path in copies} == {length}
