"""Edits by lossy files: JPEG, JPEG twice, WebP; what the file holds is read back and compared."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from clipsieve.images.decode import decode
from clipsieve.images.encode import jpeg_bytes, webp_bytes
from clipsieve.images.jpeg import standard_tables
from clipsieve.images.perturbations.base import Edit, expect, read_back

if TYPE_CHECKING:
    from PIL import Image


def _check_tables(name: str, data: bytes, quality: int) -> None:
    """Read a JPEG file's tables back and compare them with the standard's at this quality."""
    from PIL import Image

    with Image.open(io.BytesIO(data)) as written:
        expect(name, written.format == "JPEG", f"the file is {written.format}, no JPEG")
        tables = written.quantization  # type: ignore[attr-defined]
    for number, standard in enumerate(standard_tables()):
        found = np.array(tables.get(number, []))
        same = found.shape == (64,) and bool((found == standard[quality - 1]).all())
        expect(name, same, f"quantisation table {number} is not that of quality {quality}")


def jpeg(name: str, quality: int) -> Edit:
    """Return the edit that saves as JPEG of this quality, 1 to 100."""

    def check(before: Image.Image, data: bytes) -> None:
        _check_tables(name, data, quality)
        read_back(name, before, data)

    return Edit(
        name,
        "jpeg",
        100 - quality,
        f"JPEG, quality {quality}",
        ".jpg",
        lambda image, seed: jpeg_bytes(image, quality),
        check,
    )


def double_jpeg(name: str, first: int, second: int) -> Edit:
    """Return the edit that saves as JPEG twice, on block grids that do not coincide."""

    def make(image: Image.Image, seed: int) -> bytes:
        once = jpeg_bytes(image, first)
        _check_tables(name, once, first)
        # The 8 x 8 grids must not coincide, or the second file would repeat the first one's.
        shifted = decode(once).crop((4, 4, image.width, image.height))
        return jpeg_bytes(shifted, second)

    def check(before: Image.Image, data: bytes) -> None:
        _check_tables(name, data, second)
        read_back(name, before, data)

    title = f"JPEG, quality {first}, then {second} on a grid shifted by 4 pixels"
    return Edit(name, "double_jpeg", 100 - first, title, ".jpg", make, check)


def webp(name: str, quality: int) -> Edit:
    """Return the edit that saves as lossy WebP of this quality, 0 to 100."""

    def check(before: Image.Image, data: bytes) -> None:
        lossy = data[:4] == b"RIFF" and data[8:16] == b"WEBPVP8 "
        expect(name, lossy, "the file is not a lossy WebP file")
        read_back(name, before, data)

    title = f"WebP, quality {quality}"
    return Edit(
        name,
        "webp",
        100 - quality,
        title,
        ".webp",
        lambda image, seed: webp_bytes(image, quality),
        check,
    )
