"""Known edits of a picture: what robustness is measured against and concept directions come from.

Each edit is checked on the bytes that were written: a JPEG's quantisation tables are read back, a
blur must have lowered the fine detail, and so on. An edit that changed nothing is an error.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING

from clipsieve.errors import UserError
from clipsieve.images.decode import decode
from clipsieve.images.perturbations.base import Edit
from clipsieve.images.perturbations.records import RECORDS

if TYPE_CHECKING:
    from PIL import Image


@cache
def perturbations() -> Mapping[str, Edit]:
    """Return the catalogue: name -> edit, families together, milder levels first."""
    found = {}
    for record in RECORDS.values():
        module, _, maker = record.maker.partition(":")
        make = getattr(importlib.import_module(f"{__package__}.{module}"), maker)
        found[record.name] = make(record.name, *record.arguments)
    return MappingProxyType(found)


def find(name: str) -> Edit:
    """Return an edit of the catalogue; an unknown name is a UserError."""
    known = perturbations()
    if name not in known:
        raise UserError(f"perturbation {name!r} is unknown; allowed: {', '.join(known)}")
    return known[name]


def apply(
    name: str, image: Image.Image, *, seed: int = 0, verify: bool = True
) -> tuple[bytes, str]:
    """Apply an edit to a picture and return the written file and its suffix.

    Parameters
    ----------
    name
        A name of the catalogue.
    image
        The picture; RGB or converted to it.
    seed
        Seed of the noise; other edits don't use it.
    verify
        Read the bytes back and check that the edit took place.

    Returns
    -------
    bytes, str
        The file and its suffix (``.jpg``, ``.webp`` or ``.png``).

    Raises
    ------
    UserError
        For an unknown name.
    EditError
        When the written file is not what the edit says.
    NoEffectError
        When nothing changed, or not in the edit's way (a kind of EditError).
    """
    edit = find(name)
    rgb = image.convert("RGB")
    data = edit.make(rgb, seed)
    if verify:
        edit.check(rgb, data)
    return data, edit.suffix


def edited(name: str, image: Image.Image, *, seed: int = 0, verify: bool = True) -> Image.Image:
    """Apply an edit and return the picture as it reads back from the written file (see `apply`)."""
    return decode(apply(name, image, seed=seed, verify=verify)[0])
