"""The catalogue, and fetching one of its entries."""

from __future__ import annotations

import hashlib
import io
import json
import sys
import types
import zipfile
from collections import namedtuple
from pathlib import Path

import pytest

from clipsieve.cli import main
from clipsieve.datasets import download as download_module
from clipsieve.datasets.catalogue import catalogue, check_consent, entry_of
from clipsieve.datasets.fetch import fetch
from clipsieve.errors import UserError
from clipsieve.images.layouts import LAYOUTS
from tests.helpers.web_server import running

BODY = b"weights" * 1000


def archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        for i in range(5):
            made.writestr(f"gan/0_real/{i}.png", bytes([i]) * 50)
    return buffer.getvalue()


@pytest.fixture
def site():
    with running({"/plain/w.bin": BODY, "/plain/s.zip": archive(), "/cut/s.zip": archive()}) as s:
        yield s


def described(site, **changes):
    raw = {
        "title": "A set",
        "licence": "MIT",
        "non_commercial": False,
        "files": [
            {"name": "w.bin", "url": f"{site.url}/plain/w.bin", "bytes": len(BODY)},
            {"name": "s.zip", "url": f"{site.url}/plain/s.zip", "unpack": True},
            {"name": "more.bin", "url": f"{site.url}/plain/none", "optional": True},
        ],
        "expected": {"s/gan": [5, 5]},
    }
    return entry_of("mine", {**raw, **changes})


def test_the_catalogue_is_whole():
    known = catalogue()
    assert {"cnndetection", "ojha2023", "genimage", "synthbuster", "artifact"} <= set(known)
    for entry in known.values():
        assert entry.sources, entry.name
        assert entry.layout is None or entry.layout in LAYOUTS
        assert all(low <= high for low, high in entry.expected.values())
        assert all(f.sha256 is None or len(f.sha256) == 64 for f in entry.files)
        assert all(f.url.startswith("https://") for f in entry.files)
    pinned = {f.name: f.sha256 for f in known["taesd"].files if f.sha256}
    assert pinned["taesd_encoder.safetensors"].startswith("a6b8c0fd")
    assert len(pinned) == 4


def test_a_set_is_fetched_once(site, tmp_path, caplog):
    caplog.set_level("INFO")
    record = fetch(described(site), tmp_path / "mine")
    assert (tmp_path / "mine/w.bin").read_bytes() == BODY
    assert not (tmp_path / "mine/s.zip").exists()
    assert record["counts"] == {"s/gan": 5}
    facts = {f["name"]: f for f in record["files"]}
    assert facts["w.bin"]["sha256"] == hashlib.sha256(BODY).hexdigest()
    assert (facts["s.zip"]["unpacked"], facts["s.zip"]["files"]) == (True, 5)
    assert not facts["w.bin"]["pinned"]
    assert "the sha256 of w.bin is not known" in caplog.text
    asked = len(site.asked)
    assert fetch(described(site), tmp_path / "mine") == record
    assert len(site.asked) == asked


def test_what_was_recorded_must_come_again(site, tmp_path):
    fetch(described(site), tmp_path)
    (tmp_path / "w.bin").unlink()
    site.files["/plain/w.bin"] = b"x" * len(BODY)
    with pytest.raises(UserError, match="sha256 is"):
        fetch(described(site), tmp_path)


def test_a_folder_in_the_way_is_moved_aside(site, tmp_path):
    (tmp_path / "s").mkdir()
    (tmp_path / "s/mine.txt").write_text("keep")
    fetch(described(site), tmp_path, keep_archives=True)
    assert (tmp_path / "s.old1/mine.txt").read_text() == "keep"
    assert (tmp_path / "s/gan/0_real/3.png").exists()
    assert (tmp_path / "s.zip").exists()


def test_consent_names_the_licence(site, tmp_path):
    entry = described(site, non_commercial=True, licence="CC BY-NC-SA 4.0")
    for consent in (None, "yes", "CC BY"):
        with pytest.raises(UserError, match=r"fetch\.mine\.consent .*CC BY-NC-SA 4\.0"):
            fetch(entry, tmp_path, consent=consent)
    assert site.asked == []
    check_consent(entry, "cc by-nc-sa  4.0")


def test_one_file_a_wrong_name_and_a_range_of_counts(site, tmp_path):
    record = fetch(described(site), tmp_path, only=["w.bin"])
    assert [f["name"] for f in record["files"]] == ["w.bin"]
    assert record["counts"] == {}
    with pytest.raises(UserError, match=r"no file 'x'; there is: w\.bin, s\.zip, more\.bin"):
        fetch(described(site), tmp_path, only=["x"])
    record = fetch(described(site, expected={"s/gan": [6, 9]}), tmp_path)
    assert record["warnings"] == ["s/gan has 5 files; 6 to 9 are expected"]


def test_a_small_disk_is_said_before_any_request(site, tmp_path, monkeypatch):
    entry = described(
        site,
        files=[{"name": "s.zip", "url": f"{site.url}/plain/s.zip", "about_bytes": 10**12}],
    )
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(download_module.shutil, "disk_usage", lambda _: usage(1, 1, 10**11))
    with pytest.raises(UserError, match=r"data set mine: 1000\.0 GB are needed and 100\.0 GB"):
        fetch(entry, tmp_path / "not/yet")
    assert site.asked == []


def test_sets_by_hand_and_from_the_hub(tmp_path, monkeypatch):
    raw = {"title": "t", "licence": "none stated", "non_commercial": False}
    hand = entry_of("hand", {**raw, "by_hand": "Ask the authors."})
    with pytest.raises(UserError, match=r"no program can fetch it\. Ask the authors"):
        fetch(hand, tmp_path / "hand")
    (tmp_path / "hand").mkdir()
    (tmp_path / "hand/a.png").write_text("x")
    assert fetch(hand, tmp_path / "hand")["files"] == []

    hub = entry_of("hub", {**raw, "hub": {"repo": "a/b", "revision": "c" * 40, "allow": ["*.p"]}})
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match="pip install huggingface_hub"):
        fetch(hub, tmp_path / "hub")
    calls = []
    fake = types.ModuleType("huggingface_hub")
    fake.snapshot_download = lambda *a, **k: calls.append((a, k))
    monkeypatch.setitem(sys.modules, "huggingface_hub", fake)
    assert fetch(hub, tmp_path / "hub")["hub"]["revision"] == "c" * 40
    (args, options), *_ = calls
    assert args == ("a/b",)
    assert options["revision"] == "c" * 40
    assert options["allow_patterns"] == ["*.p"]

    def gated(*args, **options):
        raise RuntimeError("gated\nrepository")

    fake.snapshot_download = gated
    with pytest.raises(UserError, match="RuntimeError: gated repository"):
        fetch(hub, tmp_path / "hub")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"nonsense": 1}, "nonsense"),
        ({"files": []}, "one of files, hub and by_hand"),
        ({"files": [{"name": "../x", "url": "https://a/b"}]}, "no plain file name"),
        ({"files": [{"name": "x", "url": "file:///etc/passwd"}]}, "must begin with https"),
        ({"files": [{"name": "x", "url": "https://a/b"}] * 2}, "one name"),
        ({"expected": {"a": [1]}}, "data set mine"),
    ],
)
def test_a_wrong_description_is_one_line(site, changes, said):
    with pytest.raises(UserError, match=said):
        described(site, **changes)


def test_the_command(site, tmp_path: Path, capsys):
    entry = {
        "title": "A set",
        "licence": "MIT",
        "non_commercial": False,
        "files": [{"name": "w.bin", "url": f"{site.url}/plain/w.bin"}],
    }
    command = ["fetch", "--dataset", "mine", "--output-dir", str(tmp_path / "mine")]
    command += ["--output", str(tmp_path / "mine.json")]
    assert main([*command, "--entry", json.dumps(entry)]) == 0
    assert json.loads((tmp_path / "mine.json").read_text())["licence"] == "MIT"
    assert main(command) == 2
    assert "not known; one of: artifact, " in capsys.readouterr().err
    assert main(["fetch", "--dataset", "list"]) == 0
    assert "cnndetection: " in capsys.readouterr().out
