"""Known edits of a picture: what robustness is measured against and concept directions come from.

Each edit is checked on the bytes that were written: a JPEG's quantisation tables are read back, a
blur must have lowered the fine detail, and so on. An edit that changed nothing is an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING

from clipsieve.errors import UserError
from clipsieve.images.decode import decode
from clipsieve.images.perturbations import files, pixels
from clipsieve.images.perturbations.base import Edit

if TYPE_CHECKING:
    from PIL import Image


@cache
def perturbations() -> Mapping[str, Edit]:
    """Return the catalogue: name -> edit, families together, milder levels first."""
    edits = [
        *(files.jpeg(quality) for quality in (95, 90, 80, 70, 60, 50, 40, 30)),
        *(files.double_jpeg(first, 90) for first in (75, 50)),
        *(files.webp(quality) for quality in (90, 75, 50, 30)),
        *(pixels.blur(sigma) for sigma in (0.5, 1.0, 2.0, 3.0)),
        *(pixels.resize(percent) for percent in (75, 50, 25)),
        *(pixels.crop(percent) for percent in (90, 75, 50)),
        *(pixels.noise(levels) for levels in (2, 5, 10, 20)),
        *(pixels.sharpen(percent) for percent in (50, 100, 200)),
        *(pixels.contrast(percent) for percent in (70, 85, 115, 130)),
        *(pixels.brightness(percent) for percent in (80, 120)),
        *(pixels.saturation(percent) for percent in (50, 150)),
        *(pixels.warmth(percent) for percent in (-10, 10)),
        *(pixels.grid(period) for period in (2, 4, 8)),
    ]
    return MappingProxyType({edit.name: edit for edit in edits})


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
