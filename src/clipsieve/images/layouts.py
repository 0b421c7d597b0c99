"""Which files of a folder make up an image set, and to which group each belongs.

Nothing is left out in silence: a file that is seen but doesn't belong comes back with a problem.
"""

from __future__ import annotations

import difflib
import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
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
#: Names under which people keep groups and classes, which are not read: worth a warning.
_LOOK_ALIKES = {
    "group": ("groups", "group_id", "prompt", "prompt_id", "scene", "scene_id"),
    "target": ("class", "classes", "class_id", "is_real", "is_fake", "real", "fake", "y"),
}
#: Endings of image files. What follows the last dot of another name belongs to the name.
_ENDINGS = """
    jpg jpeg jpe jfif png webp bmp dib tif tiff gif ppm pgm pbm pnm mpo avif heic heif jp2 j2k jxl
    nef cr2 cr3 arw dng orf rw2 raf pef
"""
IMAGE_ENDINGS = frozenset(f".{ending}" for ending in _ENDINGS.split())


@dataclass(frozen=True)
class Member:
    """One file of a set: its path in the folder, its group, and why it can't be used, if so."""

    path: str
    group: str | None
    problem: str | None = None


@dataclass(frozen=True)
class Listing:
    """The files of a set, and what a user should know of how they were chosen.

    Attributes
    ----------
    members
        The files of the set.
    notes
        Sentences: how many files each class has, which columns of a table are used.
    warnings
        Sentences: columns that look as if they were meant to be used.
    """

    members: list[Member]
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def without_ending(name: str) -> str:
    """Return a path or file name without the ending of an image format; other dots stay.

    Examples
    --------
    >>> without_ending("a/cat.JPEG"), without_ending("render.0001"), without_ending("cat_cfg7.5")
    ('a/cat', 'render.0001', 'cat_cfg7.5')
    """
    stem, ending = os.path.splitext(name)
    return stem if ending.lower() in IMAGE_ENDINGS else name


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
        Regular expression with a group named ``group``, searched in the file's name without the
        ending of an image format. Without one the group is the path without that and class folder.
    metadata
        Path -> its row of a metadata table (`read_metadata`); its column ``group`` gives the group,
        its column ``target`` or ``label`` the class.
    real_values
        Values of that column that mean *real*; needed for the class to be read. They are compared as
        a person would: ``0``, ``0.0`` and ``FALSE`` are one value, and so are ``Real`` and ``real``.

    Returns
    -------
    list of Member
        In the order of `paths`; files of the other class are left to the other set. A file in
        neither class folder, absent from the table or on disk, without a class or a group, or with
        a name that is not UTF-8 has a problem.

    Raises
    ------
    UserError
        For an unknown layout, a bad pattern, classes of a plain folder without `real_values`,
        `real_values` without classes, or one of them that occurs in no row.
    """
    if layout not in LAYOUTS:
        raise UserError(f"layout {layout!r} is unknown; allowed: {', '.join(LAYOUTS)}")
    pattern = _compile(group_pattern)
    real = _real_classes(real_values, metadata)
    names = list(paths)
    if metadata is not None:
        names = sorted(set(names) | set(metadata))
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
        target = _target(row)
        if target is not None and not real and layout == "plain":
            raise UserError(
                f"metadata: {name} has the class {target!r}; say which classes are real (real_values,"
                " --real-values), or leave out the column"
            )
        if real and target is not None:
            side = int(class_key(target) in real)
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
        CSV table, a path relative to the folder; it is not a member itself.

    Raises
    ------
    UserError
        As `list_files`, `read_metadata` and `members`.
    """
    return read_set(folder, metadata=metadata, **options).members


def read_set(folder: Path, *, metadata: str | None = None, **options: Any) -> Listing:
    """Choose the files of a folder as `read_members` does, and say how they were chosen."""
    paths = list_files(folder)
    notes: list[str] = []
    warnings: list[str] = []
    table = None
    if metadata:
        itself = os.path.normpath(metadata)
        paths = [path for path in paths if path != itself]
        table = read_metadata(folder / metadata)
        notes, warnings = _columns_in_words(table)
    chosen = members(paths, metadata=table, **options)
    if options.get("real_values") or options.get("layout", "plain") != "plain":
        other = members(paths, metadata=table, **{**options, "label": 1 - options["label"]})
        counts = [sum(m.problem is None for m in side) for side in (chosen, other)]
        real, generated = counts if options["label"] == 1 else counts[::-1]
        notes.insert(0, f"classes: {real} files are real, {generated} generated")
    return Listing(chosen, notes, warnings)


def class_key(value: str) -> str:
    """Return a class value in the form in which it is compared: numbers by value, words in lower case.

    Examples
    --------
    >>> [class_key(value) for value in ("0", "0.0", "FALSE", " Real ")]
    ['0', '0', '0', 'real']
    """
    text = value.strip().casefold()
    if text in ("false", "true"):
        return str(int(text == "true"))
    try:
        number = float(text)
    except ValueError:
        return text
    return f"{number:.17g}" if math.isfinite(number) else text


def _real_classes(
    real_values: Iterable[str], metadata: Mapping[str, Mapping[str, str]] | None
) -> set[str]:
    """Keys of the classes that are real; refuse one that no row of the table has."""
    given = [str(value) for value in real_values]
    if not given:
        return set()
    rows = (metadata or {}).values()
    if not any(c in row for row in rows for c in TARGET_COLUMNS):
        raise UserError(
            "real_values: no metadata table with a column " + " or ".join(TARGET_COLUMNS)
        )
    found = Counter(value for row in rows if (value := _target(row)) is not None)
    keys = {class_key(value) for value in found}
    for value in given:
        if class_key(value) not in keys:
            seen = ", ".join(f"{name!r} ({n} rows)" for name, n in found.most_common(10))
            raise UserError(
                f"real_values: {value!r} is the class of no row; the metadata table has {seen or 'none'}"
                + (", .." if len(found) > 10 else "")
            )
    return {class_key(value) for value in given}


def _target(row: Mapping[str, str]) -> str | None:
    """Class of a row as it is written, None where it has none."""
    return next((row[c] for c in TARGET_COLUMNS if row.get(c)), None)


def _columns_in_words(
    table: Mapping[str, Mapping[str, str]],
) -> tuple[list[str], list[str]]:
    """Say which columns of a table are used, and warn of those that look as if they should be."""
    columns = list(next(iter(table.values()), {}))
    used = [
        next((c for c in wanted if c in columns), None)
        for wanted in (PATH_COLUMNS, ("group",), TARGET_COLUMNS)
    ]
    taken = [column for column in used if column]
    unused = [column for column in columns if column not in taken]
    if not unused:
        return [], []
    notes = [f"metadata: columns used: {', '.join(taken)}; not used: {', '.join(unused)}"]
    warnings = []
    for ours, column in zip(("group", "target"), used[1:], strict=True):
        known = ("group",) if ours == "group" else TARGET_COLUMNS
        for other in unused if column is None else []:
            close = any(difflib.SequenceMatcher(None, other, k).ratio() >= 0.75 for k in known)
            if close or other in _LOOK_ALIKES[ours]:
                warnings.append(
                    f"metadata: the column {other!r} is not used; if it holds the"
                    f" {'groups' if ours == 'group' else 'classes'}, call it {ours!r}"
                )
    return notes, warnings


def read_metadata(path: Path) -> dict[str, dict[str, str]]:
    """Read a CSV table with one row per file: a path column and, optionally, group and class columns.

    Commas, semicolons or tabs may separate the cells. The names of columns are read without
    regard to case, and blanks around them are left out; blanks and hyphens within count as ``_``.

    Raises
    ------
    UserError
        When the file is missing, has no path column or one name twice, names a file twice or leaves
        the folder.
    """
    import csv

    try:
        with open(path, newline="", encoding="utf-8-sig") as handle:
            head = handle.readline()
            handle.seek(0)
            mark = max(",;\t", key=head.count)
            table_rows = [row for row in csv.reader(handle, delimiter=mark) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"metadata {path}: can't be read ({error})") from error
    header = table_rows[0] if table_rows else []
    columns = [re.sub(r"[\s-]+", "_", name.strip().casefold()) for name in header]
    twice = [name for name, n in Counter(columns).items() if n > 1 and name]
    if twice:
        raise UserError(f"metadata {path}: the column {twice[0]!r} occurs twice")
    column = next((name for name in PATH_COLUMNS if name in columns), None)
    if column is None:
        raise UserError(
            f"metadata {path}: has columns {', '.join(columns) or 'none'}; one of"
            f" {', '.join(PATH_COLUMNS)} is needed"
        )
    table: dict[str, dict[str, str]] = {}
    for cells in table_rows[1:]:
        row = {name: "" for name in columns if name}
        row |= {name: cell.strip() for name, cell in zip(columns, cells, strict=False) if name}
        name = inside(row[column], where=f"metadata {path}")
        if name in table:
            raise UserError(f"metadata {path}: {name} occurs twice")
        table[name] = row
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
        raise UserError(
            f"group pattern {pattern!r} is not a regular expression: {error}"
        ) from error
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
    group = "/".join([*kept, without_ending(path.name)])
    side = None if not at else int(folders[at[-1]] in real)
    return Member(name, group), side


def _grouped(member: Member, row: Mapping[str, str], pattern: re.Pattern[str] | None) -> Member:
    if row.get("group"):
        return replace(member, group=row["group"])
    if pattern is None:
        return member
    match = pattern.search(without_ending(PurePosixPath(member.path).name))
    if match is None or not match["group"]:
        return Member(member.path, None, "name gives no group by the group pattern")
    return replace(member, group=match["group"])
