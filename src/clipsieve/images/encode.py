"""Write pictures as files, with the same PNG settings everywhere, so that a file does not reveal its maker."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image


def png_bytes(image: Image.Image) -> bytes:
    """Return a picture as a PNG file: RGB, 8 bits, no other chunk, stored without compression.

    So all files of one size in pixels have one size in bytes: how well a picture compresses (a
    smooth one does better) stays out of the file facts.
    """
    return _saved(image, "PNG", compress_level=0)


def jpeg_bytes(image: Image.Image, quality: int, *, subsampling: str = "4:2:0") -> bytes:
    """Return a picture as a baseline JPEG file with libjpeg's standard tables.

    Parameters
    ----------
    image
        Any mode; written as RGB.
    quality
        1 to 100.
    subsampling
        ``4:4:4`` or ``4:2:0``.
    """
    return _saved(image, "JPEG", quality=quality, subsampling=subsampling)


def webp_bytes(image: Image.Image, quality: int) -> bytes:
    """Return a picture as a lossy WebP file of the given quality, 1 to 100."""
    return _saved(image, "WEBP", quality=quality, method=4)


def _saved(image: Image.Image, kind: str, **options: object) -> bytes:
    # A fresh copy of the samples only: no EXIF, profile or text comes along.
    from PIL import Image

    rgb = image.convert("RGB")
    bare = Image.frombytes("RGB", rgb.size, rgb.tobytes())
    buffer = io.BytesIO()
    bare.save(buffer, kind, **options)
    return buffer.getvalue()
