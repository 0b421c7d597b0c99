"""What one edit of a picture is, and the parts that its making and its check share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clipsieve.images.decode import decode
from clipsieve.images.encode import png_bytes

if TYPE_CHECKING:
    from PIL import Image


class EditError(Exception):
    """The written file is not what the edit's name says."""


class NoEffectError(EditError):
    """The file is right, but the edit does nothing, or not its own, to this very picture.

    A grey picture has no saturation to change, a flat one no detail to blur.
    """


@dataclass(frozen=True)
class Edit:
    """One edit: `make` gives the file's bytes, `check` raises EditError when it failed.

    `family` groups edits of one sort, `level` orders them within it (its unit is the family's).
    """

    name: str
    family: str
    level: float
    title: str
    suffix: str
    make: Callable[[Image.Image, int], bytes]
    check: Callable[[Image.Image, bytes], None]


def samples_of(image: Image.Image) -> NDArray[np.float64]:
    """Return the grey levels of a picture, 0 to 255, [height, width, 3]."""
    return np.asarray(image.convert("RGB"), dtype=np.float64)


def picture(samples: NDArray[np.float64]) -> Image.Image:
    """Return grey levels [height, width, 3] as a picture, rounded and cut off at 0 and 255."""
    from PIL import Image

    return Image.fromarray(np.round(np.clip(samples, 0, 255)).astype(np.uint8))


def detail(samples: NDArray[np.float64]) -> float:
    """Return the mean square of the discrete Laplacian: how much fine detail a picture has."""
    grey = samples.mean(axis=2)
    laplacian = (
        4 * grey[1:-1, 1:-1] - grey[:-2, 1:-1] - grey[2:, 1:-1] - grey[1:-1, :-2] - grey[1:-1, 2:]
    )
    return float(np.mean(laplacian**2)) if laplacian.size else 0.0


def is_softer(before: NDArray[np.float64], after: NDArray[np.float64]) -> bool:
    """Say whether detail became less; below a grey level rounding decides, and nothing is said."""
    return detail(before) < 1 or detail(after) < detail(before)


def read_back(name: str, before: Image.Image, data: bytes) -> NDArray[np.float64]:
    """Decode the written file; refuse one of the same samples as before."""
    after = samples_of(decode(data))
    if after.shape == samples_of(before).shape and np.array_equal(after, samples_of(before)):
        raise NoEffectError(f"{name} changed nothing")
    return after


def expect(name: str, is_so: bool, words: str) -> None:
    """Raise EditError with these words where something is not so."""
    if not is_so:
        raise EditError(f"{name}: {words}")


def lossless(
    name: str,
    family: str,
    level: float,
    title: str,
    change: Callable[[Image.Image, int], Image.Image],
    holds: Callable[[NDArray[np.float64], NDArray[np.float64]], bool],
    words: str,
) -> Edit:
    """Return an edit saved as PNG; `holds` is what samples before and after it must fulfil."""

    def check(before: Image.Image, data: bytes) -> None:
        after = read_back(name, before, data)
        if not holds(samples_of(before), after):
            raise NoEffectError(f"{name}: {words}")

    return Edit(
        name,
        family,
        level,
        title,
        ".png",
        lambda image, seed: png_bytes(change(image, seed)),
        check,
    )
