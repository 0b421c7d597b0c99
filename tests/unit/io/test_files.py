"""Files that appear whole: what is left after errors, kills, and two writers at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from clipsieve.errors import UserError
from clipsieve.io.files import remove_leftovers, replacing


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "a.h5"
    target.write_text("old")

    def write_half() -> None:
        with replacing(target) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()
    assert names(tmp_path) == {"a.h5"}
    assert target.read_text() == "old"


def test_two_writers_in_one_process_do_not_meet(tmp_path: Path) -> None:
    target = tmp_path / "new" / "a.h5"
    with replacing(target) as first, replacing(target) as second:
        first.write_text("first")
        second.write_text("second")
        assert first.suffix == second.suffix == ".h5"
        assert not target.exists()
    assert target.read_text() == "first"
    assert names(target.parent) == {"a.h5"}


def test_a_name_may_be_as_long_as_the_file_system_allows(tmp_path: Path) -> None:
    target = tmp_path / ("漢" * 83 + ".png")  # 253 bytes
    with replacing(target) as temporary:
        temporary.write_text("x")
        left = temporary.name
    (tmp_path / left).write_text("x")
    remove_leftovers(target)
    assert names(tmp_path) == {target.name}


def test_leftovers_of_kills_go_and_nothing_else_does(tmp_path: Path) -> None:
    target = tmp_path / "a[1].h5"
    with replacing(target) as temporary:
        temporary.write_text("x")
        left = temporary.name
    stay = {"a[1].h5", ".a[1].h5", ".a[1].12.h5", ".a[1].checkpoint", ".a1.5-01234567.h5"}
    for name in {left, *stay}:
        (tmp_path / name).write_text("x")
    remove_leftovers(target)
    assert names(tmp_path) == stay


def test_a_folder_that_may_not_be_written_is_named_in_one_line(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(UserError, match=r"x\.parquet: its folder cannot be made"),
        replacing(tmp_path / "file/x.parquet"),
    ):
        pass
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with (
        pytest.raises(UserError, match=r"x\.parquet: its folder may not be written"),
        replacing(tmp_path / "x.parquet"),
    ):
        pass
