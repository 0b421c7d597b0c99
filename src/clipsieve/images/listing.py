"""Which files a folder or a container has: the one walker of the scan, the doctor and `detect`."""

from __future__ import annotations

import os
from pathlib import Path

from clipsieve.errors import UserError
from clipsieve.images import containers

#: Endings of image files. What follows the last dot of another name belongs to the name.
_ENDINGS = """
    jpg jpeg jpe jfif png webp bmp dib tif tiff gif ppm pgm pbm pnm mpo avif heic heif jp2 j2k jxl
    nef cr2 cr3 arw dng orf rw2 raf pef
"""
IMAGE_ENDINGS = frozenset(f".{ending}" for ending in _ENDINGS.split())


def without_ending(name: str) -> str:
    """Return a path or file name without the ending of an image format; other dots stay.

    Examples
    --------
    >>> without_ending("a/cat.JPEG"), without_ending("render.0001"), without_ending("cat_cfg7.5")
    ('a/cat', 'render.0001', 'cat_cfg7.5')
    """
    stem, ending = os.path.splitext(name)
    return stem if ending.lower() in IMAGE_ENDINGS else name


def plain(name: str) -> str:
    """Return a name as text, bytes that are not UTF-8 as escapes."""
    return name.encode(errors="backslashreplace").decode()


def list_files(folder: Path) -> list[str]:
    """Return every file below a folder, as sorted paths in it with forward slashes.

    Hidden files and folders (a leading dot) are passed over; links to folders are followed once. A
    folder that is not there has none. In the place of a folder there may be a container
    (`clipsieve.images.containers`) or a folder in one, as ``x.zip!progan``.

    Raises
    ------
    UserError
        A folder or a container cannot be listed.
    """

    def stop(error: OSError) -> None:
        raise UserError(f"{error.filename}: cannot be listed ({error.strerror})")

    if not folder.exists() or folder.is_file():
        return _list_in_container(folder)
    found: list[str] = []
    seen: set[str] = set()
    for root, folders, files in os.walk(folder, onerror=stop, followlinks=True):
        real = os.path.realpath(root)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        base = Path(root).relative_to(folder)
        found += [(base / name).as_posix() for name in files if not name.startswith(".")]
    return sorted(found)


def _list_in_container(folder: Path) -> list[str]:
    """List a container, or a folder in one; nothing of any other path."""
    if containers.is_container(folder) and folder.is_file():
        return list_members(folder)
    if (parts := containers.split_member(folder)) is None or not os.path.isfile(parts[0]):
        return []
    start = parts[1].rstrip("/") + "/"
    return [name[len(start) :] for name in list_members(Path(parts[0])) if name.startswith(start)]


def list_members(container: Path) -> list[str]:
    """Return the files of a container; one that cannot be read is a UserError."""
    try:
        return containers.list_members(container)
    except OSError as error:
        raise UserError(f"{container}: {error.strerror or error}") from None
