"""Hostile archives, and honest ones."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from clipsieve.datasets.unpack import Limits, stem_of, unpack
from clipsieve.errors import UserError

FILES = {"a/0_real/1.png": b"one", "a/1_fake/ü.PNG": b"two", "b.txt": b""}


def zipped(path: Path, files=FILES, **kinds: int) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = kinds.get("mode", 0o100644) << 16
            archive.writestr(info, data, zipfile.ZIP_DEFLATED)
    return path


def tarred(path: Path, files=FILES, mode: str = "w", kind: bytes = tarfile.REGTYPE) -> Path:
    with tarfile.open(path, mode) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.type, member.size = kind, len(data) if kind == tarfile.REGTYPE else 0
            member.linkname = "/etc/passwd"
            archive.addfile(member, io.BytesIO(data))
    return path


def content(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }


@pytest.mark.parametrize("mode", ["zip", "w", "w:gz", "w:xz", "w:bz2"])
def test_files_come_out_as_they_went_in(tmp_path, mode):
    path = tmp_path / "x"
    made = zipped(path) if mode == "zip" else tarred(path, mode=mode)
    assert unpack(made, tmp_path / "out") == 3
    assert content(tmp_path / "out") == FILES
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "x"]
    with pytest.raises(UserError, match="is there already"):
        unpack(made, tmp_path / "out")


@pytest.mark.parametrize(
    "name", ["../x", "/x", "a/../../x", "..\\x", "C:/x", "a/../../../etc/x", "\\\\host\\x"]
)
@pytest.mark.parametrize("make", [zipped, tarred])
def test_a_path_outside_is_refused_and_nothing_is_left(tmp_path, name, make):
    made = make(tmp_path / "x", {"ok": b"1", name: b"2"})
    with pytest.raises(UserError, match="leads out"):
        unpack(made, tmp_path / "deep/out")
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["x"]


@pytest.mark.parametrize(
    "kind",
    [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.BLKTYPE],
)
def test_links_and_devices_are_refused(tmp_path, kind):
    with pytest.raises(UserError, match="link or a device"):
        unpack(tarred(tmp_path / "x", {"bad": b""}, kind=kind), tmp_path / "out")
    with pytest.raises(UserError, match="link or a device"):
        unpack(zipped(tmp_path / "z", {"bad": b"/etc/passwd"}, mode=0o120777), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("make", [zipped, lambda p, f: tarred(p, f, "w:gz")])
def test_a_bomb_is_refused(tmp_path, make):
    made = make(tmp_path / "x", {f"{i}": bytes(30 << 20) for i in range(4)})
    assert made.stat().st_size < 1 << 20
    with pytest.raises(UserError, match="unpacks to more than"):
        unpack(made, tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize("make", [zipped, tarred])
def test_limits(tmp_path, make):
    made = make(tmp_path / "x", {str(i): b"12345" for i in range(10)})
    with pytest.raises(UserError, match="more than 9 members"):
        unpack(made, tmp_path / "out", limits=Limits(members=9))
    with pytest.raises(UserError, match="more than 49 B"):
        unpack(made, tmp_path / "out", limits=Limits(bytes=49))
    assert unpack(made, tmp_path / "out", limits=Limits(members=10, bytes=50)) == 10


def test_one_name_twice_and_a_file_that_is_a_folder(tmp_path):
    made = tmp_path / "x"
    with tarfile.open(made, "w") as archive:
        for name in ("a", "./a"):
            archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    with pytest.raises(UserError, match="twice"):
        unpack(made, tmp_path / "out")
    with pytest.raises(UserError, match="both a file and a folder"):
        unpack(tarred(made, {"a": b"1", "a/b": b"2"}), tmp_path / "out")


def test_damaged_encrypted_and_foreign_archives_are_one_line(tmp_path):
    good = zipped(tmp_path / "x", {"a": b"hello" * 500}).read_bytes()
    for k in (40, 50):
        broken = bytearray(good)
        broken[k] ^= 0xFF
        (tmp_path / "x").write_bytes(broken)
        with pytest.raises(UserError) as error:
            unpack(tmp_path / "x", tmp_path / "out")
        assert "\n" not in str(error.value)
    cut = tarred(tmp_path / "t", {"a": bytes(50_000)}, "w:gz").read_bytes()
    for data in (cut[: len(cut) // 2], b"no archive", b""):
        (tmp_path / "t").write_bytes(data)
        with pytest.raises(UserError):
            unpack(tmp_path / "t", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    locked = bytearray(zipped(tmp_path / "x", {"a": b"hello"}).read_bytes())
    locked[6] |= 1
    locked[locked.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "x").write_bytes(locked)
    with pytest.raises(UserError, match="encrypted"):
        unpack(tmp_path / "x", tmp_path / "out")


def test_what_a_killed_call_left_is_removed(tmp_path):
    left = tmp_path / ".out.unpacking/half"
    left.parent.mkdir()
    left.write_text("x")
    unpack(zipped(tmp_path / "x"), tmp_path / "out")
    assert content(tmp_path / "out") == FILES


def test_stems():
    names = ["a.zip", "a.tar.gz", "A.b.TGZ", "a.bin"]
    assert [stem_of(name) for name in names] == ["a", "a", "A.b", "a.bin"]
