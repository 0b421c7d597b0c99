"""Images as people have them: files, folders, archives, PIL images, arrays and bytes, one at a time."""

from __future__ import annotations

import glob
import io
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from clipsieve.errors import UserError
from clipsieve.images import containers
from clipsieve.images.align import aligned
from clipsieve.images.decode import ImageProblem, decode, read_image_bytes
from clipsieve.images.facts import header_facts, is_constant
from clipsieve.images.listing import list_files

if TYPE_CHECKING:
    from PIL import Image

#: What an image may be given as.
ImageLike = Any
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


@dataclass(frozen=True)
class Picture:
    """A decoded image, and the facts of its file.

    Attributes
    ----------
    image : PIL.Image.Image
        Mode RGB, as the encoder's preprocessing takes it.
    facts : dict
        `format`, `mode`, `width`, `height`, `bytes`, `jpeg_quality`, `is_constant`; of an image that
        came as pixels only those that pixels have.
    """

    image: Image.Image
    facts: dict[str, Any]


def open_picture(
    source: ImageLike,
    *,
    background: tuple[int, int, int] = (255, 255, 255),
    profiles: str = "ignore",
    align: Mapping[str, Any] | None = None,
) -> Picture:
    """Decode an image of any kind, once.

    Parameters
    ----------
    source
        A path (also of a member of an archive, ``x.zip!a.png``), the bytes of a file, a PIL image,
        or an array: uint8, or floating point from 0 to 1; [height, width], or with 1, 3 or 4
        channels last.
    background
        Shows through transparent pixels.
    profiles
        What is done with colour profiles (`clipsieve.images.decode.decode`).
    align
        How the run aligned its images (`size`, `format`, `quality`, `scale`).

    Raises
    ------
    ImageProblem
        It is not a usable image.
    TypeError
        It is of another kind.

    Examples
    --------
    >>> picture = open_picture(np.zeros((4, 6, 3), np.uint8))
    >>> picture.image.size, picture.facts["is_constant"]
    ((6, 4), True)
    """
    from PIL import Image

    if isinstance(source, str | os.PathLike):
        if _ADDRESS.match(os.fspath(source)):
            raise ImageProblem("an address on the network; only files are read")
        data: bytes | None = read_image_bytes(source)
    elif isinstance(source, bytes | bytearray | memoryview):
        data = bytes(source)
    else:
        data = None
    if data is not None:
        facts: dict[str, Any] = {"bytes": len(data)}
        image = decode(
            data,
            background=background,
            profiles=profiles,
            look=lambda file: facts.update(header_facts(file)),
        )
    else:
        given = source if isinstance(source, Image.Image) else _from_array(source)
        image = _flattened(given, background, profiles)
        facts = {"width": given.width, "height": given.height, "mode": given.mode}
    facts["is_constant"] = is_constant(image)
    if align:
        image = decode(
            aligned(
                image, size=align["size"], file_format=align["format"],
                quality=align["quality"], scale=align.get("scale"),
            )
        )  # fmt: skip
    return Picture(image, facts)


def _flattened(image: Image.Image, background: tuple[int, int, int], profiles: str) -> Image.Image:
    """Bring a PIL image to RGB as the decoder would: through a lossless file."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    kept = io.BytesIO()
    try:
        wide = (
            image if image.mode in ("1", "L", "LA", "P", "RGBA", "I;16") else image.convert("RGB")
        )
        wide.save(kept, "PNG")
    except (OSError, ValueError) as error:
        raise ImageProblem(f"a PIL image of mode {image.mode} ({error})") from None
    return decode(kept.getvalue(), background=background, profiles=profiles)


def _from_array(source: Any) -> Image.Image:
    from PIL import Image

    if not hasattr(source, "__array__"):
        raise TypeError(
            f"an image is a path, bytes, a PIL image or an array, not {type(source).__name__}"
        )
    array = np.asarray(source)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    fits = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))
    if not fits or not array.size:
        raise ImageProblem(
            f"an array of shape {list(array.shape)}; an image is [height, width] or has 1, 3 or 4"
            " channels last"
        )
    if array.dtype == np.bool_ or np.issubdtype(array.dtype, np.floating):
        values = array.astype(np.float64)
        if not np.isfinite(values).all() or values.min() < 0 or values.max() > 1:
            raise ImageProblem("an array of floating point outside 0 to 1; or give it as uint8")
        array = np.floor(values * 255.0 + 0.5).astype(np.uint8)
    if array.dtype != np.uint8:
        raise ImageProblem(
            f"an array of {array.dtype}; it must be uint8, or floating point in 0..1"
        )
    return Image.fromarray(np.ascontiguousarray(array))


def find_images(given: Iterable[str]) -> Iterator[str]:
    """Yield the files that names stand for, in order, as the scan of a data set sees them.

    Parameters
    ----------
    given
        Files; folders and archives, for all files in them but hidden ones; and patterns such as
        ``photos/**/*.jpg`` where no file has that name. What does not exist comes back as it is.
    """
    for name in given:
        if not name:  # Path("") is the working directory
            raise UserError("an image argument is empty")
        if _ADDRESS.match(name):
            yield name
        elif os.path.isdir(name) or (containers.is_container(name) and os.path.isfile(name)):
            yield from _inside(name)
        elif glob.has_magic(name) and not os.path.lexists(name) and "!" not in name:
            found = False
            for path in sorted(glob.iglob(name, recursive=True)):
                if os.path.isfile(path):
                    found = True
                    yield from find_images([path]) if containers.is_container(path) else [path]
            if not found:
                yield name
        else:
            yield name


def _inside(name: str) -> Iterator[str]:
    for inside in list_files(Path(name)):
        yield os.fspath(containers.located(name, inside))


def shown(path: str) -> str:
    """Return a path as it can be printed: bytes that are not UTF-8 are escaped."""
    return os.fsencode(path).decode(errors="backslashreplace")
