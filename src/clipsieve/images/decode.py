"""Decode an image file of any usual kind to RGB, or say in one line why it can't be."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from clipsieve.images.colour import ProfileError, to_srgb
from clipsieve.images.file_formats import readable, why_not_read

if TYPE_CHECKING:
    from PIL import Image

#: More pixels than this is taken for a decompression bomb (the limit at which Pillow warns).
MAX_PIXELS = 89_478_485
#: A larger file is not read: no picture within the limit of pixels needs as much.
MAX_BYTES = 1 << 30
#: A picture longer than this many times its shorter side is not a photograph, and resizing its shorter
#: side to what an encoder sees would take gigabytes.
MAX_ASPECT = 50
#: A first picture with fewer pixels than a later one by this factor is a preview of it.
_PREVIEW = 4
#: Raised when the pixels that `decode` returns for some file change.
DECODE_VERSION = 1


class ImageProblem(Exception):  # noqa: N818
    """Why a file is not a usable image; `reason` is one line without the file's name."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class UnreadableFile(ImageProblem):
    """Why a file's bytes can't be had; `size` where the file is there and too large."""

    def __init__(self, reason: str, size: int | None = None) -> None:
        super().__init__(reason)
        self.size = size


def decode(
    source: bytes | str | os.PathLike[str],
    *,
    background: tuple[int, int, int] = (255, 255, 255),
    max_pixels: int = MAX_PIXELS,
    profiles: str = "ignore",
    look: Callable[[Image.Image], None] | None = None,
) -> Image.Image:
    """Return the (first) picture of a file as an 8-bit RGB image, turned as its EXIF tag says.

    Parameters
    ----------
    source : bytes or path
        The file's bytes, or where it is (`read_image_bytes`).
    background : tuple of three int, default white
        The colour that shows through where the picture is transparent.
    max_pixels : int, default 89,478,485
        Larger pictures are refused before they are decompressed.
    profiles : str, default "ignore"
        What is done with a colour profile (`clipsieve.images.colour.TREATMENTS`).
    look : callable, optional
        Is given the opened file before its pixels are read, whether they can be or not.

    Returns
    -------
    PIL.Image.Image
        Mode RGB. Grey samples of 16 bits are scaled to 8 and rounded; 16-bit colour keeps its upper
        8 bits; CMYK is converted by Pillow's formula where its profile is not used; floating-point
        pictures are taken to lie in [0, 1].

    Raises
    ------
    ImageProblem
        For an empty, truncated, damaged, oversized, very thin, missing or non-image file, and for one
        whose first picture is a preview (camera raw), whose format needs a reader that is not
        installed, or whose colour profile can't be used.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    data = source if isinstance(source, bytes) else read_image_bytes(source)
    if not data:
        raise ImageProblem("empty file")
    try:
        with Image.open(io.BytesIO(data), formats=readable()) as image:
            if look is not None:
                look(image)
            width, height = image.size
            if width * height > max_pixels:
                raise ImageProblem(f"{width} x {height} pixels: more than {max_pixels}")
            if max(width, height) > MAX_ASPECT * min(width, height):
                raise ImageProblem(
                    f"{width} x {height} pixels: one side is more than {MAX_ASPECT} times the other"
                )
            if image.format == "TIFF":
                _refuse_preview(image, data)
            image.load()
            turned = ImageOps.exif_transpose(image)
            if profiles == "srgb":
                turned = to_srgb(turned)
            return _to_rgb(turned, background)
    except ImageProblem:
        raise
    except ProfileError as error:
        raise ImageProblem(str(error)) from None
    except UnidentifiedImageError:
        raise ImageProblem(why_not_read(data)) from None
    except Image.DecompressionBombError:
        raise ImageProblem(f"decompression bomb: more than {max_pixels} pixels") from None
    except MemoryError:
        raise ImageProblem("not enough memory to decode") from None
    # Pillow's plugins raise many kinds on damaged files (OSError, SyntaxError, struct.error, ...).
    except Exception as error:
        text = " ".join(str(error).split()) or type(error).__name__
        raise ImageProblem(f"damaged: {text}") from error


def _refuse_preview(image: Image.Image, data: bytes) -> None:
    """Refuse a TIFF file whose first picture is a small version of what it holds.

    Camera raw files (NEF, CR2, ARW, DNG, ..) are TIFF files: their first picture is a preview, marked
    by bit 0 of the tag NewSubfileType (TIFF 6.0, section 8) or known by the maker's own mark.
    """
    tags = getattr(image, "tag_v2", {})
    marked = bool(int(tags.get(254, 0)) & 1)
    raw = 50706 in tags or data[8:10] == b"CR"  # DNGVersion; Canon's mark in the header
    larger = False
    first = image.width * image.height
    for k in range(1, min(getattr(image, "n_frames", 1), 8)):
        image.seek(k)
        larger = larger or image.width * image.height >= _PREVIEW * first
    image.seek(0)
    if marked or raw or larger:
        raise ImageProblem(
            "its first picture is a preview, as in camera raw files; convert it to PNG or JPEG"
        )


def read_image_bytes(path: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES) -> bytes:
    """Return the bytes of an image file, or of a member of a container (`archive!member`).

    The one place where image bytes are read.

    Parameters
    ----------
    path
        A file that is there counts as such, whatever its name; else a path with ``!`` behind the
        name of a tar, zip or parquet file is that of a member.
    max_bytes
        A larger file is not read.

    Raises
    ------
    UnreadableFile
        There is no such file, it is no ordinary one, too large, or cannot be read.
    """
    from clipsieve.images import containers

    try:
        try:
            known = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            parts = containers.split_member(path)
            if parts is None:
                raise
            return containers.read_member(*parts, max_bytes=max_bytes)
        if not stat.S_ISREG(known.st_mode):  # to read a pipe is to wait for its writer
            raise UnreadableFile("can't be read: not an ordinary file")
        if known.st_size > max_bytes:
            raise UnreadableFile(f"{known.st_size} bytes: more than {max_bytes}", known.st_size)
        return Path(path).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise UnreadableFile("no such file") from None
    except OSError as error:
        raise UnreadableFile(f"can't be read: {error.strerror or error}") from error


def _to_rgb(image: Image.Image, background: tuple[int, int, int]) -> Image.Image:
    """Bring any mode to RGB; RGB itself passes unchanged, as open_clip's transform has it."""
    from PIL import Image

    if image.mode == "RGB" and "transparency" not in image.info:
        return image if type(image) is Image.Image else image.copy()
    if image.mode.startswith("I") or image.mode == "F":
        return _grey_from_wide(image)
    has_alpha = image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info
    if has_alpha:
        layer = image.convert("RGBA")
        paper = Image.new("RGBA", layer.size, (*background, 255))
        return Image.alpha_composite(paper, layer).convert("RGB")
    return image.convert("RGB")


def _grey_from_wide(image: Image.Image) -> Image.Image:
    """Grey samples of 16 or 32 bits, or floating point, to 8 bits by scale (Pillow would clip)."""
    from PIL import Image

    values = np.asarray(image)
    if image.mode == "F":
        if not np.isfinite(values).all():
            raise ImageProblem("floating-point image with NaN or infinite samples")
        scaled = np.clip(values, 0.0, 1.0) * 255.0
    else:
        # Mode I holds 16-bit samples for PNG and TIFF; larger ones are true 32-bit data.
        top = 65535.0 if values.max(initial=0) <= 65535 else 2147483647.0
        scaled = np.clip(values / top, 0.0, 1.0) * 255.0
    grey = np.floor(scaled + 0.5).astype(np.uint8)
    return Image.fromarray(grey).convert("RGB")
