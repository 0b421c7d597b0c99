"""Which files of a folder make up an image set, and to which group each belongs.

Nothing is left out in silence: a file that is seen but doesn't belong comes back with a problem.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from clipsieve.errors import UserError
from clipsieve.images import containers
from clipsieve.images.layouts import LAYOUTS, Layout
from clipsieve.images.listing import list_files, list_members, plain, without_ending
from clipsieve.images.metadata import (
    TARGET_COLUMNS,
    by_files,
    class_key,
    columns_in_words,
    read_metadata,
)


@dataclass(frozen=True, slots=True)
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
    others
        The other files of the folder: tables, containers, images of the other class.
    """

    members: list[Member]
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)


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
            chosen.append(Member(plain(name), None, "name is not UTF-8"))
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
            found = _grouped(member, row, pattern)
            # one name has several Unicode forms, and a group must have one
            group = found.group and unicodedata.normalize("NFC", found.group)
            chosen.append(replace(found, group=group))
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
    listed = paths = list_files(folder)
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
    if table is not None:
        table, matched = by_files(table, paths)
        notes += matched
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
    taken = {member.path for member in chosen}
    others = [name for name in listed if plain(name) not in taken]
    if metadata and (name := os.path.normpath(metadata)) not in set(listed):
        others.append(name)  # a hidden one
    return Listing(chosen, notes, warnings, others)


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
        container = containers.located(folder, path)
        if rules.opens and path.lower().endswith(rules.opens) and container.is_file():
            found += [f"{path}{containers.MARK}{name}" for name in list_members(container)]
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
