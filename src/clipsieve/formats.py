"""The reference of file formats, made from the records of columns and of families."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clipsieve.families import FAMILIES
from clipsieve.io.columns import TABLES

SOURCE = Path(__file__).parent / "data" / "formats.yaml"


def page() -> str:
    """Return docs/formats.md.

    Raises
    ------
    ValueError
        A table is described whose record has other columns, or a record is not described.
    """
    import yaml

    source = yaml.safe_load(SOURCE.read_text(encoding="utf-8"))
    described = {
        entry["table"]: entry
        for s in source["sections"]
        for entry in s["files"]
        if "table" in entry
    }
    if described.keys() != TABLES.keys():
        odd = sorted(described.keys() ^ TABLES.keys())
        raise ValueError(f"{SOURCE.name}: {odd[0]} is only described or only a record")
    lines = ["# Files and their columns", ""]
    lines += ["Made by `clipsieve formats`.", "", source["intro"].strip()]
    for section in source["sections"]:
        lines += ["", f"## {section['title']}"]
        if about := section.get("about", "").strip():
            lines += ["", about.replace("{families}", "\n".join(_families()))]
        for entry in section["files"]:
            lines += _file(entry, source["common"])
    return "\n".join(lines) + "\n"


def _file(entry: Mapping[str, Any], common: Mapping[str, str]) -> list[str]:
    """Describe one kind of file."""
    lines = ["", f"### `{entry['path']}`"]
    if "row" in entry:
        lines += ["", f"One row per {entry['row']}."]
    if about := entry.get("about", "").strip():
        lines += ["", about]
    if "table" in entry and "same_as" not in entry:
        lines += ["", "| column | type | meaning |", "|---|---|---|"]
        lines += [f"| `{name}` | {kind} | {what} |" for name, kind, what in _columns(entry, common)]
    for part, items in entry.get("parts", {}).items():
        lines += ["", f"| {part} | type | meaning |", "|---|---|---|"]
        lines += [f"| {_names(name)} | {kind} | {what} |" for name, (kind, what) in items.items()]
    if note := entry.get("note"):
        lines += ["", "| key of the note | meaning |", "|---|---|"]
        lines += [f"| {_names(name)} | {what} |" for name, what in note.items()]
    return lines


def _columns(entry: Mapping[str, Any], common: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """Return name, type and meaning of each column of a table."""
    types, own = TABLES[entry["table"]].types, entry["columns"]
    meanings = {**common, **own}
    for name in (*types, *own):
        if name not in meanings or name not in types:
            raise ValueError(f"{SOURCE.name}: {entry['table']}: column {name!r} is not in both")
    return [(name, kind, meanings[name]) for name, kind in types.items()]


def _names(text: str) -> str:
    """Put each name of a list into code marks."""
    return ", ".join(f"`{name}`" for name in text.split(", "))


def _families() -> list[str]:
    """Return the table of the families of feature sets."""
    pairs = {"none": "", "unordered": "/<a>--<b>", "ordered": "/<train>--<val>"}
    lines = ["| id | title | kind |", "|---|---|---|"]
    for name, one in FAMILIES.items():
        methods = ", ".join(f"`{method}`" for method in one.control_of)
        kind = f"control of {methods}" if one.is_control else "method"
        lines.append(f"| `{name}{pairs[one.pairs]}` | {one.title} | {kind} |")
    return lines
