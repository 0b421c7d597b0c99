"""The card of one image set: what it consists of, how it was made, under which licence, and a few of its images."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipsieve.report.facts import Facts
from clipsieve.report.html.gallery import Thumbnails
from clipsieve.report.html.page import Cell, Page, Section, Shot, Table, integer
from clipsieve.report.tables.cards import card, card_lines

if TYPE_CHECKING:
    import pandas as pd
    from PIL import Image

#: Thumbnails in a row of the contact sheet, and the side of each in pixels.
SHEET_COLUMNS, SHEET_SIDE = 6, 160


@dataclass(frozen=True)
class SetCard:
    """One image set as a reader wants to know it before using it.

    Attributes
    ----------
    title
        Words for the heading.
    about
        (name, text) of its counts, sizes and formats.
    origin
        (name, text) of where it comes from: licence, address, recipe, prompts.
    shown
        Paths of the images that stand for it, as in its image table.
    """

    title: str
    about: Sequence[tuple[str, str]]
    origin: Sequence[tuple[str, str]]
    shown: Sequence[str]


def set_card(
    images: pd.DataFrame,
    *,
    title: str,
    licence: str | None = None,
    folder: str = "",
    recipe: Mapping[str, Any] | None = None,
    made: Mapping[str, Any] | None = None,
    fetched: Mapping[str, Any] | None = None,
    prompts: Sequence[str] = (),
    count: int = 12,
) -> SetCard:
    """Describe one image set.

    Parameters
    ----------
    images
        Its image table, one row per image.
    title
        Words for the heading.
    licence
        As the config states it; that of the fetched set where it states none.
    folder
        Where the images lie, for sets that the workflow did not make.
    recipe
        The demo's recipe, for sets that it makes.
    made
        Note of a generator's table, where its images were made from prompts.
    fetched
        Record of the fetched set that the images belong to.
    prompts
        The prompts that the images were made from.
    count
        How many images are shown. Hashes of their ids choose them.
    """
    usable = images[images["problem"].isna()]
    order = sorted(
        zip(usable["image_id"], usable["path"], strict=True),
        key=lambda item: hashlib.sha256(str(item[0]).encode()).digest(),
    )
    origin = [("Licence", licence or (fetched or {}).get("licence") or "not stated")]
    if fetched:
        origin.append(("Fetched set", f"{fetched['title']} ({fetched['dataset']})"))
        pinned = [file for file in fetched["files"] if file.get("pinned")]
        origin.append(("Files fetched", f"{len(fetched['files'])}, {len(pinned)} of them pinned"))
    if recipe:
        origin.append(("Made by the demo's recipe", json.dumps(recipe, sort_keys=True)))
    if made:
        origin += _making(made)
    if not (fetched or recipe or made):
        origin.append(("Folder", folder or "not stated"))
    if prompts:
        origin += prompt_lines(prompts)
    return SetCard(title, card_lines(card(images)), origin, [path for _, path in order[:count]])


def _making(note: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Lines on how a generator's images were made: recipe, machines, weights."""
    recipe = {k: v for k, v in note["recipe"].items() if v not in (None, {}, [], "")}
    lines = [("Adapter", str(recipe.pop("adapter"))), ("Model", str(recipe.pop("model", "none")))]
    lines.append(("Settings", json.dumps(recipe, sort_keys=True)))
    for machine in note["machines"].values():
        lines.append(("Made on", json.dumps(machine, sort_keys=True)))
    return lines


def prompt_lines(prompts: Sequence[str]) -> list[tuple[str, str]]:
    """Return the number of prompts, their lengths and their writing systems.

    Examples
    --------
    >>> prompt_lines(["a red cat", "a blue dog at night"])[1]
    ('Words per prompt', '3 to 5, median 4')
    """
    words = sorted(len(prompt.split()) for prompt in prompts)
    middle = len(words) // 2
    median = words[middle] if len(words) % 2 else (words[middle - 1] + words[middle]) / 2
    scripts = Counter(script for prompt in prompts for script in writing_systems(prompt))
    listed = ", ".join(
        f"{name} in {integer(n)}"
        for name, n in sorted(scripts.items(), key=lambda item: (-item[1], item[0]))
    )
    return [
        ("Prompts", integer(len(prompts))),
        ("Words per prompt", f"{words[0]} to {words[-1]}, median {median:g}"),
        ("Writing systems of the prompts", f"{listed} (the language is not detected)"),
    ]


def writing_systems(text: str) -> set[str]:
    """Return the writing systems of a text's letters, as Unicode's names of the letters begin.

    Examples
    --------
    >>> sorted(writing_systems("кот, cat"))
    ['Cyrillic', 'Latin']
    """
    letters = {letter for letter in text if letter.isalpha()}
    return {unicodedata.name(letter, "unknown").split(" ")[0].capitalize() for letter in letters}


def card_page(found: SetCard, thumbnails: Thumbnails, facts: Facts, run: str) -> Page:
    """Return the card as a page, with its thumbnails."""
    tables = [
        Table([("", "", ""), ("", "", "")], [[Cell(name), Cell(text)] for name, text in lines])
        for lines in (found.about, found.origin)
    ]
    shots = [Shot(thumbnails.uri(path), Path(path).name, ()) for path in found.shown]
    return Page(
        f"Image set: {found.title}",
        ["What the image set consists of, as its files were when they were scanned."],
        [
            Section("Files", tables=tables[:1]),
            Section("Origin", tables=tables[1:]),
            Section(f"{len(shots)} of its images", shots=shots),
        ],
        facts,
        notes=["Hashes of the image ids choose the images that are shown, so the choice is blind."],
        run=run,
    )


def card_markdown(found: SetCard, sheet: str) -> str:
    """Return the card as Markdown; `sheet` is the file name of its contact sheet beside it."""
    lines = [f"# Image set: {_plain(found.title)}", "", f"![{len(found.shown)} images]({sheet})"]
    for heading, facts in (("Files", found.about), ("Origin", found.origin)):
        lines += ["", f"## {heading}", "", "| | |", "|---|---|"]
        lines += [f"| {_plain(name)} | {_plain(text)} |" for name, text in facts]
    return "\n".join(lines) + "\n"


def _plain(text: str) -> str:
    """Text that Markdown shows as it is."""
    for mark in "\\`*_[]<>|#":
        text = text.replace(mark, f"\\{mark}")
    return " ".join(text.split())


def contact_sheet(found: SetCard, thumbnails: Thumbnails) -> Image.Image:
    """Return the shown images on one picture, in rows of `SHEET_COLUMNS`."""
    from PIL import Image

    rows = max(1, -(-len(found.shown) // SHEET_COLUMNS))
    sheet = Image.new("RGB", (SHEET_COLUMNS * SHEET_SIDE, rows * SHEET_SIDE), "white")
    for k, path in enumerate(found.shown):
        small = thumbnails.picture(path)
        small.thumbnail((SHEET_SIDE - 8, SHEET_SIDE - 8), Image.Resampling.LANCZOS)
        left, top = (k % SHEET_COLUMNS) * SHEET_SIDE, (k // SHEET_COLUMNS) * SHEET_SIDE
        sheet.paste(
            small, (left + (SHEET_SIDE - small.width) // 2, top + (SHEET_SIDE - small.height) // 2)
        )
    return sheet
