"""Which files of a folder make up an image set, and to which group each belongs.

Nothing is left out in silence: a file that is seen but doesn't belong comes back with a problem.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from clipsieve.errors import UserError

#: Layout -> (folder names of real images, folder names of generated images), in lower case.
LAYOUTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "plain": ((), ()),
    "wang2020": (("0_real",), ("1_fake",)),
    "real_fake": (("real",), ("fake",)),
    "ai_nature": (("nature",), ("ai",)),
}

#: Column names that a metadata table may use, the first that is there counts.
PATH_COLUMNS = ("path", "image_path", "file_name", "filename", "file")
TARGET_COLUMNS = ("target", "label")


@dataclass(frozen=True)
class Member:
    """One file of a set: its path in the folder, its group, and why it can't be used, if so."""

    path: str
    group: str | None
    problem: str | None = None


def list_files(folder: Path) -> list[str]:
    """Return every file below a folder, as sorted paths in it with forward slashes.

    Hidden files and folders (a leading dot) are passed over; links to folders are followed once. A
    folder that is not there has none.

    Raises
    ------
    UserError
        A folder cannot be listed.
    """

    def stop(error: OSError) -> None:
        raise UserError(f"{error.filename}: cannot be listed ({error.strerror})")

    if not folder.exists():
        return []
    found: list[str] = []
    seen: set[str] = set()
    for root, folders, files in os.walk(folder, onerror=stop, followlinks=True):
        real = os.path.realpath(root)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        base = Path(root).relative_to(folder)
        found += [(base / name).as_posix() for name in files if not name.startswith(".")]
    return sorted(found)


def members(
    paths: Iterable[str],
    *,
    label: int,
    layout: str = "plain",
    group_pattern: str | None = None,
    metadata: Mapping[str, Mapping[str, str]] | None = None,
    real_values: Iterable[str] = (),
) -> list[Member]:
    """Choose the files of an image set and give each its group.

    Parameters
    ----------
    paths
        Paths in the folder, with forward slashes.
    label
        0 for a set of generated images, 1 for real ones: which side of the layout to take.
    layout
        ``plain`` (every file), ``wang2020`` (``0_real`` and ``1_fake``, with or without class
        folders), ``real_fake``, ``ai_nature``.
    group_pattern
        Regular expression with a group named ``group``, searched in the file's name without its
        suffix. Without one the group is the path without suffix and class folder.
    metadata
        Path -> its row of a metadata table (`read_metadata`); its column ``group`` gives the group,
        its column ``target`` or ``label`` the class.
    real_values
        Values of that column that mean *real*; needed for the class to be read.

    Returns
    -------
    list of Member
        In the order of `paths`; files of the other class are left to the other set. A file in
        neither class folder, absent from the table or on disk, without a class or a group, or with
        a name that is not UTF-8 has a problem.

    Raises
    ------
    UserError
        For an unknown layout, a bad pattern, classes of a plain folder without `real_values`, or
        `real_values` without classes.
    """
    if layout not in LAYOUTS:
        raise UserError(f"layout {layout!r} is unknown; allowed: {', '.join(LAYOUTS)}")
    pattern = _compile(group_pattern)
    real = {str(value) for value in real_values}
    names = list(paths)
    if metadata is not None:
        names = sorted(set(names) | set(metadata))
    if real and not any(c in row for row in (metadata or {}).values() for c in TARGET_COLUMNS):
        raise UserError(
            "real_values: no metadata table with a column " + " or ".join(TARGET_COLUMNS)
        )
    chosen = []
    for name in names:
        row = metadata.get(name) if metadata is not None else {}
        if not _is_text(name):
            shown = name.encode(errors="backslashreplace").decode()
            chosen.append(Member(shown, None, "name is not UTF-8"))
            continue
        member, side = _place(name, layout)
        if row is None:
            chosen.append(Member(name, None, "not in the metadata table"))
            continue
        target = next((row[c] for c in TARGET_COLUMNS if row.get(c)), None)
        if target is not None and not real and layout == "plain":
            raise UserError(
                f"metadata: {name} has the class {target!r}; say which classes are real (real_values,"
                " --real-values), or leave out the column"
            )
        if real and target is not None:
            side = int(target in real)
        if side is None and real:
            chosen.append(Member(name, None, "no class in the metadata table"))
        elif side is None and layout != "plain":
            folders = " or ".join(LAYOUTS[layout][0] + LAYOUTS[layout][1])
            chosen.append(Member(name, None, f"in no folder named {folders}"))
        elif side is None or side == label:
            chosen.append(_grouped(member, row, pattern))
    return chosen


def read_members(folder: Path, *, metadata: str | None = None, **options: Any) -> list[Member]:
    """Choose the files of a folder as `members` does, which says what `options` are.

    Parameters
    ----------
    folder
    metadata
        CSV table, a path relative to the folder; it is no member itself.

    Raises
    ------
    UserError
        As `list_files`, `read_metadata` and `members`.
    """
    paths = list_files(folder)
    if not metadata:
        return members(paths, **options)
    itself = os.path.normpath(metadata)
    table = read_metadata(folder / metadata)
    return members([path for path in paths if path != itself], metadata=table, **options)


def read_metadata(path: Path) -> dict[str, dict[str, str]]:
    """Read a CSV table with one row a file: a path column and, if wanted, group and class columns.

    Raises
    ------
    UserError
        When the file is missing, has no path column, names a file twice or leaves the folder.
    """
    import csv

    try:
        with open(path, newline="", encoding="utf-8-sig") as handle:
            reader = csv.DictReader(handle)
            columns = list(reader.fieldnames or [])
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"metadata {path}: can't be read ({error})") from error
    column = next((name for name in PATH_COLUMNS if name in columns), None)
    if column is None:
        raise UserError(
            f"metadata {path}: has columns {', '.join(columns) or 'none'}; one of"
            f" {', '.join(PATH_COLUMNS)} is needed"
        )
    table: dict[str, dict[str, str]] = {}
    for row in rows:
        name = inside(row[column] or "", where=f"metadata {path}")
        if name in table:
            raise UserError(f"metadata {path}: {name} stands in it twice")
        table[name] = {key: (value or "").strip() for key, value in row.items() if key}
    return table


def inside(path: str, *, where: str) -> str:
    """Return a relative path in its plain form; refuse one that is absolute or climbs out.

    Raises
    ------
    UserError
        Naming `where` and the path.
    """
    plain = os.path.normpath(path.strip().replace("\\", "/"))
    if (
        not path.strip()
        or plain.startswith(("/", "../"))
        or plain in (".", "..")
        or ":" in plain[:2]
    ):
        raise UserError(f"{where}: path {path!r} must be relative and stay inside its folder")
    return plain


def _is_text(name: str) -> bool:
    """Whether a file name is UTF-8: the operating system allows any bytes."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _compile(pattern: str | None) -> re.Pattern[str] | None:
    if pattern is None:
        return None
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UserError(f"group pattern {pattern!r} is no regular expression: {error}") from error
    if "group" not in compiled.groupindex:
        raise UserError(f"group pattern {pattern!r} must have a part named (?P<group>...)")
    return compiled


def _place(name: str, layout: str) -> tuple[Member, int | None]:
    """Return the file with its default group, and its class by the layout's folders."""
    real, generated = LAYOUTS[layout]
    path = PurePosixPath(name)
    folders = [part.lower() for part in path.parts[:-1]]
    at = [i for i, part in enumerate(folders) if part in real + generated]
    kept = [part for i, part in enumerate(path.parts[:-1]) if not at or i != at[-1]]
    group = "/".join([*kept, path.stem])
    side = None if not at else int(folders[at[-1]] in real)
    return Member(name, group), side


def _grouped(member: Member, row: Mapping[str, str], pattern: re.Pattern[str] | None) -> Member:
    if row.get("group"):
        return replace(member, group=row["group"])
    if pattern is None:
        return member
    match = pattern.search(PurePosixPath(member.path).stem)
    if match is None or not match["group"]:
        return Member(member.path, None, "name gives no group by the group pattern")
    return replace(member, group=match["group"])
