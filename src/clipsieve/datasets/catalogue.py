"""The catalogue of known public sets: where they are, what they weigh, what their licence says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from clipsieve.errors import UserError


@dataclass(frozen=True)
class RemoteFile:
    """One file of a set.

    Attributes
    ----------
    name
        Its name in the set's folder.
    url
        http or https address.
    bytes, sha256
        Of the file; None where they are not known. Then what the first download brings is recorded
        and later ones must have the same.
    about_bytes
        Size to the three digits that a page shows, where the exact one is not known.
    unpack
        Whether the archive is unpacked to a folder of its name without ending.
    optional
        Whether it is fetched only when it is asked for by name.
    """

    name: str
    url: str
    bytes: int | None = None
    sha256: str | None = None
    about_bytes: int | None = None
    unpack: bool = False
    optional: bool = False


@dataclass(frozen=True)
class Hub:
    """A repository of the Hugging Face hub at a fixed revision; `allow` are patterns of its files."""

    repo: str
    revision: str
    type: str = "dataset"
    allow: tuple[str, ...] = ()


@dataclass(frozen=True)
class Entry:
    """One set of the catalogue.

    Attributes
    ----------
    name, title
        Id and words.
    licence
        As its owners state it.
    non_commercial
        Whether the licence forbids commercial use; then consent must name it.
    layout
        The layout (`clipsieve.images.layouts`) of its folders; None for files that are no images.
    files, hub
        What is fetched.
    by_hand
        What to do where no program may fetch it; then there are neither files nor a hub id.
    expected
        Folder below the set's own -> (least, most) files that are expected in it.
    sources
        Fact -> where it was read; a fact from memory is called so.
    """

    name: str
    title: str
    licence: str
    non_commercial: bool
    layout: str | None = None
    files: tuple[RemoteFile, ...] = ()
    hub: Hub | None = None
    by_hand: str | None = None
    expected: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)


def catalogue() -> dict[str, Entry]:
    """Return every known set by id."""
    return dict(_catalogue())


@cache
def _catalogue() -> Mapping[str, Entry]:
    found: dict[str, Entry] = {}
    folder = files("clipsieve") / "data" / "datasets"
    for path in sorted(folder.iterdir(), key=lambda p: p.name):
        if path.name.endswith(".yaml"):
            name = path.name.removesuffix(".yaml")
            found[name] = entry_of(name, yaml.safe_load(path.read_text(encoding="utf-8")))
    return found


def entry_of(name: str, raw: Any) -> Entry:
    """Return the entry that a mapping describes.

    Raises
    ------
    UserError
        It lacks a key, has an unknown one, or a value of the wrong kind.
    """
    where = f"data set {name}"
    try:
        values = dict(raw)
        values["files"] = tuple(_file(where, item) for item in values.get("files") or ())
        if (hub := values.get("hub")) is not None:
            values["hub"] = Hub(**{**hub, "allow": tuple(hub.get("allow") or ())})
        values["expected"] = {
            str(folder): (int(low), int(high))
            for folder, (low, high) in (values.get("expected") or {}).items()
        }
        entry = Entry(name=name, **values)
    except (TypeError, ValueError) as error:
        raise UserError(f"{where}: {' '.join(str(error).split())}") from None
    if not (entry.files or entry.hub or entry.by_hand):
        raise UserError(f"{where}: one of files, hub and by_hand is needed")
    if len({item.name for item in entry.files}) < len(entry.files):
        raise UserError(f"{where}: two files have one name")
    return entry


def _file(where: str, raw: Mapping[str, Any]) -> RemoteFile:
    item = RemoteFile(**raw)
    if "/" in item.name or "\\" in item.name or item.name.startswith(".") or not item.name:
        raise UserError(f"{where}: {item.name!r} is no plain file name")
    if not item.url.startswith(("https://", "http://")):
        raise UserError(f"{where}: {item.url!r} must begin with https:// or http://")
    return item


def check_consent(entry: Entry, consent: str | None) -> None:
    """Refuse a non-commercial set unless the consent names its licence.

    Raises
    ------
    UserError
        Naming the licence and the key that is missing.
    """
    if not entry.non_commercial:
        return
    if consent is None or " ".join(consent.split()).casefold() != entry.licence.casefold():
        given = f"; {consent!r} is not its name" if consent else ""
        raise UserError(
            f"data set {entry.name}: its licence is {entry.licence} (no commercial use){given}; read it,"
            f' then set fetch.{entry.name}.consent (--consent) to "{entry.licence}"'
        )
