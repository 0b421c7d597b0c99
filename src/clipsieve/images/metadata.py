"""Tables beside images: which rows they have, what their columns are called, what a class value means."""

from __future__ import annotations

import csv
import difflib
import json
import math
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from clipsieve.errors import UserError

#: Column names that a metadata table may use, the first that is there counts.
PATH_COLUMNS = ("path", "image_path", "file_name", "filename", "file")
TARGET_COLUMNS = ("target", "label")
#: Names under which people keep groups and classes, which are not read: worth a warning.
LOOK_ALIKES = {
    "group": ("groups", "group_id", "prompt", "prompt_id", "scene", "scene_id"),
    "target": ("class", "classes", "class_id", "is_real", "is_fake", "real", "fake", "y"),
}


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


def columns_in_words(
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
            if close or other in LOOK_ALIKES[ours]:
                warnings.append(
                    f"metadata: the column {other!r} is not used; if it holds the"
                    f" {'groups' if ours == 'group' else 'classes'}, call it {ours!r}"
                )
    return notes, warnings


def by_files(
    table: dict[str, dict[str, str]], names: Iterable[str]
) -> tuple[dict[str, dict[str, str]], list[str]]:
    """Give rows whose file is not there the file that was meant, and say so.

    Names that came through other systems differ from those of the files in upper case, in their
    Unicode normal form (macOS takes accents apart) or in the direction of strokes.

    Parameters
    ----------
    table
        Path -> row.
    names
        The files, with forward slashes.

    Returns
    -------
    table : dict
        The rows by the names of files; a row stays as it is where no file or more than one is like it.
    notes : list of str
        A sentence, if any row was given another name.

    Examples
    --------
    >>> by_files({"A.JPG": {}}, ["a.jpg"])[0]
    {'a.jpg': {}}
    >>> by_files({"A.JPG": {}}, ["a.jpg", "a.JPG"])[0]
    {'A.JPG': {}}
    """
    files = list(names)
    there = set(files)
    lost = [name for name in table if name not in there]
    if not lost:
        return table, []
    rows_like = Counter(map(_alike, lost))
    files_like: dict[str, list[str]] = {}
    for name in files:
        if name not in table:
            files_like.setdefault(_alike(name), []).append(name)
    meant = {}
    for name in lost:
        like = files_like.get(_alike(name), [])
        if len(like) == 1 and rows_like[_alike(name)] == 1:
            meant[name] = like[0]
    if not meant:
        return table, []
    first, other = next(iter(meant.items()))
    note = (
        f"metadata: {len(meant)} paths are matched to files whose names differ in case, Unicode form or"
        f" strokes, as {first!a} to {other!a}"
    )
    return {meant.get(name, name): row for name, row in table.items()}, [note]


def _alike(name: str) -> str:
    """Return what is the same for a name on every system."""
    return unicodedata.normalize("NFC", name.replace("\\", "/").casefold())


def read_metadata(path: Path, *, root: Path | None = None) -> dict[str, dict[str, str]]:
    """Read a CSV table with one row a file: a path column and, if wanted, group and class columns.

    Commas, semicolons or tabs may stand between the cells. The names of columns are read without
    regard to case, and blanks around them are left out; blanks and hyphens within count as ``_``.
    A file whose name ends in ``.jsonl`` has one JSON object a line instead, as image folders of the
    Hugging Face libraries may have it.

    Parameters
    ----------
    path
        The table.
    root
        Where it is given, paths may be absolute, and must then lie below it.

    Raises
    ------
    UserError
        When the file is missing, has no path column or one name twice, names a file twice or leaves
        the folder.
    """
    if path.exists() and not path.is_file():  # to read a pipe is to wait for its writer
        raise UserError(f"metadata {path}: not an ordinary file")
    try:
        table_rows = list(_jsonl(path) if path.suffix.lower() == ".jsonl" else _csv(path))
    except (OSError, UnicodeDecodeError, csv.Error, ValueError) as error:
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
        name = _below(row[column], root, path)
        if name in table:
            raise UserError(f"metadata {path}: {name} occurs twice")
        table[name] = row
    return table


def _csv(path: Path) -> Iterator[list[str]]:
    with open(path, newline="", encoding="utf-8-sig") as handle:
        head = handle.readline()
        handle.seek(0)
        mark = max(",;\t", key=head.count)
        yield from (row for row in csv.reader(handle, delimiter=mark) if row)


def _jsonl(path: Path) -> Iterator[list[str]]:
    """Yield the columns of the first object, then the values of each."""
    columns: list[str] = []
    with open(path, encoding="utf-8-sig") as handle:
        for line in handle:
            if not line.strip():
                continue
            found = json.loads(line)
            if not isinstance(found, dict):
                raise ValueError("a line is no JSON object")
            if not columns:
                columns = list(found)
                yield columns
            values = (found.get(column) for column in columns)
            yield ["" if value is None else str(value) for value in values]


def _below(path: str, root: Path | None, table: Path) -> str:
    """Return a row's path relative to the folder of the set."""
    text = path.strip()
    if root is None or not os.path.isabs(text):
        return inside(path, where=f"metadata {table}")
    for base in (os.path.abspath(root), os.path.realpath(root)):
        relative = os.path.relpath(os.path.normpath(text), base)
        if not relative.startswith(os.pardir) and relative != os.curdir:
            return relative
    raise UserError(f"metadata {table}: path {path!r} is not below {root}")


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
