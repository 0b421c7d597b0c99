"""Downloads against a server with faults, byte for byte."""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections import namedtuple
from pathlib import Path

import pytest

from clipsieve.datasets import download as module
from clipsieve.datasets.download import download, new_session
from clipsieve.errors import UserError
from tests.helpers.web_server import running

DATA = random.Random(0).randbytes(3_000_000)
SHA = hashlib.sha256(DATA).hexdigest()
FAULTS = ("plain", "cut", "busy", "norange", "nomark", "weak", "swaps", "dead")
FILES = {f"/{fault}/a.bin": DATA for fault in FAULTS}


@pytest.fixture
def site():
    with running(FILES) as found:
        yield found


def get(site, fault: str, path: Path, **options):
    with new_session(retries=3, backoff=0.01) as session:
        options = {"tries": 4, "pause": 0.01, "timeout": (5, 5), **options}
        return download(f"{site.url}/{fault}/a.bin", path, session=session, **options)


@pytest.mark.parametrize("fault", ["plain", "cut", "busy", "norange", "nomark", "weak"])
@pytest.mark.parametrize("sha256", [SHA, None])
def test_the_file_comes_whole_whatever_the_server_does(site, tmp_path, fault, sha256):
    done = get(site, fault, tmp_path / "new/a.bin", sha256=sha256, size=len(DATA))
    assert (tmp_path / "new/a.bin").read_bytes() == DATA
    assert (done.bytes, done.sha256, done.was_there) == (len(DATA), SHA, False)
    left = {p.name for p in (tmp_path / "new").iterdir()}
    assert left == {"a.bin", ".a.bin.lock"}


def test_a_cut_body_goes_on_where_it_stopped(site, tmp_path):
    get(site, "cut", tmp_path / "a.bin")
    ranges = [asked for _, asked, _ in site.asked]
    assert ranges[0] is None
    assert int(ranges[1].removeprefix("bytes=").removesuffix("-")) >= module.CHUNK
    assert site.asked[1][2].startswith('"')


def test_without_a_mark_and_a_hash_nothing_is_appended(site, tmp_path):
    get(site, "nomark", tmp_path / "a.bin")
    assert [asked for _, asked, _ in site.asked] == [None, None]


def test_a_file_that_changes_between_two_ranges_comes_from_its_beginning(site, tmp_path):
    done = get(site, "swaps", tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == DATA[::-1]
    assert done.sha256 == hashlib.sha256(DATA[::-1]).hexdigest()


def test_a_part_of_a_killed_run_is_used(site, tmp_path):
    part = tmp_path / "a.bin.part"
    part.write_bytes(DATA[:2_000_000])
    get(site, "plain", tmp_path / "a.bin", sha256=SHA)
    assert site.asked == [("/plain/a.bin", "bytes=2000000-", None)]
    assert (tmp_path / "a.bin").read_bytes() == DATA
    # of another address, nothing is taken over where no hash would tell
    part.write_bytes(b"x" * 1000)
    part.with_name("a.bin.part.json").write_text(json.dumps({"url": "other", "version": '"1"'}))
    (tmp_path / "a.bin").unlink()
    get(site, "plain", tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == DATA


def test_a_whole_part_is_finished_by_its_hash(site, tmp_path):
    (tmp_path / "a.bin.part").write_bytes(DATA)
    assert get(site, "plain", tmp_path / "a.bin", sha256=SHA).sha256 == SHA


def test_a_part_that_is_longer_than_the_file_is_thrown_away(site, tmp_path):
    (tmp_path / "a.bin.part").write_bytes(DATA + b"more")
    get(site, "plain", tmp_path / "a.bin", sha256=SHA)
    assert (tmp_path / "a.bin").read_bytes() == DATA


def test_a_finished_file_is_not_asked_for_again(site, tmp_path):
    (tmp_path / "a.bin").write_bytes(DATA)
    assert get(site, "plain", tmp_path / "a.bin", sha256=SHA).was_there
    assert get(site, "plain", tmp_path / "a.bin", size=len(DATA)).was_there
    assert site.asked == []
    (tmp_path / "a.bin").write_bytes(DATA[:-1])
    assert not get(site, "plain", tmp_path / "a.bin", sha256=SHA).was_there


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"sha256": "0" * 64}, "sha256 is .*, 0000.* is expected; nothing is kept"),
        ({"size": 5}, "has 3000000 bytes, 5 are expected; nothing is kept"),
    ],
)
def test_a_wrong_file_is_refused_and_removed(site, tmp_path, options, said):
    with pytest.raises(UserError, match=said):
        get(site, "plain", tmp_path / "a.bin", **options)
    assert {p.name for p in tmp_path.iterdir()} <= {".a.bin.lock", "a.bin.part.json"}


def test_a_dead_server_and_a_missing_file_are_one_line(site, tmp_path):
    with pytest.raises(UserError, match=r"can't be fetched .*0 bytes are kept"):
        get(site, "dead", tmp_path / "a.bin", sha256=SHA)
    with pytest.raises(UserError, match="404"):
        get(site, "none", tmp_path / "a.bin")
    with pytest.raises(UserError, match="can't be fetched") as error:
        download("http://127.0.0.1:9/a", tmp_path / "b", session=new_session(retries=0), tries=1)
    assert "\n" not in str(error.value)


def test_a_small_disk_is_said_before_the_first_byte(site, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(
        module.shutil, "disk_usage", lambda _: usage(1, 1, module.MARGIN + 2_999_999)
    )
    with pytest.raises(UserError, match=r"3\.0 MB are needed"):
        get(site, "plain", tmp_path / "a.bin")
    assert not (tmp_path / "a.bin.part").exists()


def test_progress_counts_what_was_there(site, tmp_path):
    told = []
    (tmp_path / "a.bin.part").write_bytes(DATA[:1_000_000])
    get(site, "plain", tmp_path / "a.bin", sha256=SHA, progress=lambda *at: told.append(at))
    assert told[0][0] > 1_000_000
    assert told[-1] == (len(DATA), len(DATA))


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="cannot be made"):
        download("http://127.0.0.1:9/a", tmp_path / "file/a")
    assert os.listdir(tmp_path) == ["file"]
