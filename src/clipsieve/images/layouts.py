"""Which files of a folder make up an image set, and to which group each belongs.

Nothing is left out in silence: a file that is seen but doesn't belong comes back with a problem.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from clipsieve.errors import UserError
from clipsieve.images import containers
from clipsieve.images.metadata import (
    TARGET_COLUMNS,
    class_key,
    columns_in_words,
    read_metadata,
)

#: Names of class folders that layouts without names of their own know.
_REAL = ("0_real", "real", "reals", "nature")
_GENERATED = ("1_fake", "fake", "fakes", "ai", "generated")


@dataclass(frozen=True)
class Layout:
    """How a folder of images is laid out; `LAYOUTS` has one for each name that a config may use.

    Attributes
    ----------
    title
        In one phrase, for help and docs.
    real, generated
        Names of class folders, in lower case.
    classes_optional
        Whether all files are the set's own where no file stands in a class folder.
    parts
        Names of folders of which each file must stand in one.
    opens
        Endings of containers whose members are the images.
    tables
        Names of metadata tables that are read wherever they lie below the folder; the paths in them
        start from the table's own folder.
    table_needed
        Whether there must be a table.
    real_values
        Class values that mean real, where the config names none.
    companions
        Endings of files that stand beside images and are none.
    only_listed
        Whether files that the table does not name are passed over in silence.
    """

    title: str
    real: tuple[str, ...] = ()
    generated: tuple[str, ...] = ()
    classes_optional: bool = False
    parts: tuple[str, ...] = ()
    opens: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    table_needed: bool = False
    real_values: tuple[str, ...] = ()
    companions: tuple[str, ...] = ()
    only_listed: bool = False


_EITHER: dict[str, Any] = {"real": _REAL, "generated": _GENERATED, "classes_optional": True}

LAYOUTS: dict[str, Layout] = {
    "plain": Layout("every file below the folder"),
    "wang2020": Layout("[class/]0_real and [class/]1_fake", ("0_real",), ("1_fake",)),
    "real_fake": Layout("real and fake", ("real",), ("fake",)),
    "ai_nature": Layout("nature and ai (as GenImage has it)", ("nature",), ("ai",)),
    "ojha": Layout(
        "0_real or 1_fake, or neither where a folder holds one class (Ojha's shared real images)",
        ("0_real",),
        ("1_fake",),
        classes_optional=True,
    ),
    "artifact": Layout(
        "metadata.csv in each folder, target 0 is real (as ArtiFact has it)",
        tables=("metadata.csv",),
        table_needed=True,
        real_values=("0",),
    ),
    "train_val_test": Layout(
        "class folders below train, val and test",
        _REAL,
        _GENERATED,
        parts=("train", "val", "valid", "validation", "test"),
    ),
    "imagefolder": Layout(
        "image folder of the Hugging Face libraries: class folders, or metadata.csv or .jsonl",
        tables=("metadata.csv", "metadata.jsonl"),
        **_EITHER,
    ),
    "parquet": Layout(
        "parquet files of the Hugging Face libraries, read without unpacking",
        opens=(".parquet",),
        **_EITHER,
    ),
    "webdataset": Layout(
        "WebDataset tars, read without unpacking",
        opens=(".tar",),
        companions=(".cls", ".json", ".txt", ".npy", ".index"),
        **_EITHER,
    ),
    "img2dataset": Layout(
        "output of img2dataset, tars or folders",
        opens=(".tar",),
        companions=(".json", ".txt", ".parquet", ".csv", ".tfrecord"),
        **_EITHER,
    ),
    "zip": Layout("zip archives, read without unpacking", opens=(".zip",), **_EITHER),
    "path_table": Layout(
        "the files that the metadata table names, with absolute paths below the folder",
        table_needed=True,
        only_listed=True,
    ),
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
    folder that is not there has none. In the place of a folder there may be a container
    (`clipsieve.images.containers`) or a folder in one, as ``x.zip!progan``.

    Raises
    ------
    UserError
        A folder or a container cannot be listed.
    """

    def stop(error: OSError) -> None:
        raise UserError(f"{error.filename}: cannot be listed ({error.strerror})")

    if not folder.exists() or folder.is_file():
        return _list_in_container(folder)
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


def _list_in_container(folder: Path) -> list[str]:
    """List a container, or a folder in one; nothing of any other path."""
    if containers.is_container(folder) and folder.is_file():
        return _members_of(folder)
    if (parts := containers.split_member(folder)) is None or not os.path.isfile(parts[0]):
        return []
    start = parts[1].rstrip("/") + "/"
    return [name[len(start) :] for name in _members_of(Path(parts[0])) if name.startswith(start)]


def _members_of(container: Path) -> list[str]:
    try:
        return containers.list_members(container)
    except OSError as error:
        raise UserError(f"{container}: {error.strerror or error}") from None


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
        One of `LAYOUTS`.
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
    rules = LAYOUTS[layout]
    real = _real_classes(real_values, metadata)
    names = list(paths)
    if metadata is not None:
        names = sorted(metadata) if rules.only_listed else sorted(set(names) | set(metadata))
    class_folders = rules.real + rules.generated
    if rules.classes_optional and not any(_place(n, rules)[1] is not None for n in names):
        class_folders = ()
    chosen = []
    for name in names:
        row = metadata.get(name) if metadata is not None else {}
        if not _is_text(name):
            shown = name.encode(errors="backslashreplace").decode()
            chosen.append(Member(shown, None, "name is not UTF-8"))
            continue
        member, side = _place(name, rules)
        if containers.leaves((containers.split_member(name) or ("", ""))[1]):
            chosen.append(Member(name, None, "its name leads out of its archive"))
            continue
        if row is None:
            chosen.append(Member(name, None, "not in the metadata table"))
            continue
        target = _target(row)
        if target is not None and not real and not class_folders:
            raise UserError(
                f"metadata: {name} has the class {target!r}; say which classes are real (real_values,"
                " --real-values), or leave out the column"
            )
        if real and target is not None:
            side = int(class_key(target) in real)
        if side is None and real:
            chosen.append(Member(name, None, "no class in the metadata table"))
        elif side is None and class_folders:
            folders = " or ".join(class_folders)
            chosen.append(Member(name, None, f"in no folder named {folders}"))
        elif rules.parts and not _in_a_part(name, rules):
            folders = " or ".join(rules.parts)
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
    options.setdefault("layout", "plain")
    rules = LAYOUTS.get(options["layout"], LAYOUTS["plain"])
    paths = list_files(folder)
    notes: list[str] = []
    warnings: list[str] = []
    paths, table = _opened(folder, paths, rules)
    given = bool(options.get("real_values"))
    if table is not None and not given:
        table = {
            path: {k: v for k, v in row.items() if k == "group"} for path, row in table.items()
        }
        notes.append("classes beside the images are not used; real_values would say which are real")
    if metadata or rules.tables:
        paths, table = _with_tables(folder, paths, metadata, rules)
    if rules.table_needed and table is None:
        wanted = " or ".join(rules.tables) or "a table (metadata)"
        raise UserError(
            f"{folder}: the layout {options['layout']} needs {wanted}, and there is none"
        )
    if metadata or (rules.tables and table is not None):
        found, warnings = columns_in_words(table or {})
        notes += found
    if table is not None and rules.real_values and not given:
        options["real_values"] = rules.real_values
    chosen = members(paths, metadata=table, **options)
    if options.get("real_values") or rules.real:
        other = members(paths, metadata=table, **{**options, "label": 1 - options["label"]})
        if {m.path for m in chosen} != {m.path for m in other}:
            counts = [sum(m.problem is None for m in side) for side in (chosen, other)]
            real, generated = counts if options["label"] == 1 else counts[::-1]
            notes.insert(0, f"classes: {real} files are real, {generated} generated")
    return Listing(chosen, notes, warnings)


def _opened(
    folder: Path, paths: list[str], rules: Layout
) -> tuple[list[str], dict[str, dict[str, str]] | None]:
    """Put members in the place of containers, and leave out what stands beside images.

    The table has what the containers say of classes and groups; None where they say nothing.
    """
    found: list[str] = []
    facts: dict[str, dict[str, str]] = {}

    def inside(container: Path, prefix: str) -> None:
        try:
            said = containers.member_facts(container)
        except OSError as error:
            raise UserError(f"{container}: {error.strerror or error}") from None
        facts.update({prefix + name: row for name, row in said.items()})

    for path in paths:
        if path.lower().endswith(rules.opens) if rules.opens else False:
            container = containers.located(folder, path)
            found += [f"{path}{containers.MARK}{name}" for name in _members_of(container)]
            inside(container, f"{path}{containers.MARK}")
        else:
            found.append(path)
    if rules.opens and folder.is_file() and containers.is_container(folder):
        inside(folder, "")
    found = [path for path in found if not path.lower().endswith(rules.companions or ("\0",))]
    return found, {path: facts.get(path, {}) for path in found} if facts else None


def _with_tables(
    folder: Path, paths: list[str], metadata: str | None, rules: Layout
) -> tuple[list[str], dict[str, dict[str, str]] | None]:
    """Read the table of the config, or those of the layout wherever they lie."""
    root = folder if rules.only_listed else None
    if metadata:
        itself = os.path.normpath(metadata)
        table = read_metadata(folder / metadata, root=root)
        return [path for path in paths if path != itself], table
    places = [path for path in paths if PurePosixPath(path).name.lower() in rules.tables]
    if not places:
        return paths, None
    joined: dict[str, dict[str, str]] = {}
    for place in places:
        above = PurePosixPath(place).parent
        for name, row in read_metadata(folder / place).items():
            joined[(above / name).as_posix()] = row
    return [path for path in paths if path not in places], joined


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


def _place(name: str, rules: Layout) -> tuple[Member, int | None]:
    """Return the file with its default group, and its class by the layout's folders."""
    path = PurePosixPath(containers.as_folders(name))
    folders = [part.lower() for part in path.parts[:-1]]
    at = [i for i, part in enumerate(folders) if part in rules.real + rules.generated]
    kept = [part for i, part in enumerate(path.parts[:-1]) if not at or i != at[-1]]
    group = "/".join([*kept, without_ending(path.name)])
    side = None if not at else int(folders[at[-1]] in rules.real)
    return Member(name, group), side


def _in_a_part(name: str, rules: Layout) -> bool:
    folders = PurePosixPath(containers.as_folders(name)).parts[:-1]
    return any(part.lower() in rules.parts for part in folders)


def _grouped(member: Member, row: Mapping[str, str], pattern: re.Pattern[str] | None) -> Member:
    if row.get("group"):
        return replace(member, group=row["group"])
    if pattern is None:
        return member
    name = PurePosixPath(containers.as_folders(member.path)).name
    match = pattern.search(without_ending(name))
    if match is None or not match["group"]:
        return Member(member.path, None, "name gives no group by the group pattern")
    return replace(member, group=match["group"])
