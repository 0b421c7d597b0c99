"""Bring pictures to one size and one file format, so that neither tells the classes apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clipsieve.errors import UserError
from clipsieve.images.encode import jpeg_bytes, png_bytes, webp_bytes

if TYPE_CHECKING:
    from PIL import Image

#: Format -> suffix of its files.
FORMATS = {"png": ".png", "jpeg": ".jpg", "webp": ".webp"}


def aligned(
    image: Image.Image, *, size: int, file_format: str = "jpeg", quality: int = 95
) -> bytes:
    """Return a picture as a file of one size and format.

    The shorter side is resized to `size` (bicubic, antialiased; not at all when it has that size)
    and the middle square is kept. With ``jpeg`` and ``webp`` every picture, real or generated, goes
    through the same encoder at the same quality.

    Parameters
    ----------
    image
        The picture.
    size
        Side of the square in pixels, at least 16.
    file_format
        ``png``, ``jpeg`` or ``webp``.
    quality
        1 to 100; not used for PNG.

    Raises
    ------
    UserError
        For a size, format or quality out of range.
    """
    from PIL import Image

    check_options(size, file_format, quality)
    rgb = image.convert("RGB")
    shorter = min(rgb.size)
    if shorter != size:
        scaled = [max(size, round(side * size / shorter)) for side in rgb.size]
        rgb = rgb.resize((scaled[0], scaled[1]), Image.Resampling.BICUBIC)
    left, top = (rgb.width - size) // 2, (rgb.height - size) // 2
    square = rgb.crop((left, top, left + size, top + size))
    if file_format == "png":
        return png_bytes(square)
    return jpeg_bytes(square, quality) if file_format == "jpeg" else webp_bytes(square, quality)


def check_options(size: int, file_format: str, quality: int) -> None:
    """Refuse options that `aligned` can't follow (UserError)."""
    if file_format not in FORMATS:
        raise UserError(f"align: format is {file_format!r}; allowed: {', '.join(FORMATS)}")
    if size < 16:
        raise UserError(f"align: size is {size}; it must be at least 16 pixels")
    if not 1 <= quality <= 100:
        raise UserError(f"align: quality is {quality}; it must lie between 1 and 100")
