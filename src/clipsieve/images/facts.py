"""What can be said of an image file without looking at what it shows."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipsieve.images.colour import profile_name
from clipsieve.images.decode import (
    MAX_BYTES,
    ImageProblem,
    UnreadableFile,
    decode,
    read_image_bytes,
)
from clipsieve.images.hashes import perceptual_hash, to_hex
from clipsieve.images.jpeg import estimate_quality
from clipsieve.images.spectrum import COLUMNS as SPECTRUM
from clipsieve.images.spectrum import spectrum_slopes

if TYPE_CHECKING:
    from PIL import Image

#: A picture whose samples span no more than this in every channel shows nothing.
CONSTANT_SPAN = 2


@dataclass(frozen=True)
class FileFacts:
    """Facts of one file; what could not be found is None.

    `width`, `height` and `mode` are the file's own, before any turning or conversion.
    `jpeg_quality` is None for other formats, `colour_profile` (what an ICC profile calls itself)
    where there is none. `problem` is None exactly when the file decodes, and
    then `perceptual_hash` and `is_constant` are known. `spectrum` holds the slopes of the power
    spectrum (`clipsieve.images.spectrum`), None for a picture too small for them.
    """

    sha256: str | None = None
    bytes: int | None = None
    format: str | None = None
    width: int | None = None
    height: int | None = None
    mode: str | None = None
    jpeg_quality: int | None = None
    colour_profile: str | None = None
    perceptual_hash: str | None = None
    is_constant: bool | None = None
    spectrum: tuple[float, ...] | None = None
    problem: str | None = None

    def as_row(self) -> dict[str, Any]:
        """Return the facts by column of the image table, each slope of the spectrum in its own."""
        row = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "spectrum"}
        return {**row, **dict(zip(SPECTRUM, self.spectrum or (None,) * len(SPECTRUM), strict=True))}

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> FileFacts:
        """Undo `as_row`; other columns are passed over, and what is missing is None in the row."""
        slopes = tuple(row[name] for name in SPECTRUM)
        known = {f.name: row[f.name] for f in fields(cls) if f.name != "spectrum"}
        return cls(**known, spectrum=None if slopes[0] is None else slopes)


def file_facts(path: Path, *, max_bytes: int = MAX_BYTES) -> FileFacts:
    """Read a file once and return its facts; a file that is not a usable image is a problem, not an error.

    Parameters
    ----------
    path
        The file (`clipsieve.images.decode.read_image_bytes`).
    max_bytes
        Larger files are not read.
    """
    try:
        data = read_image_bytes(path, max_bytes=max_bytes)
    except UnreadableFile as problem:
        return FileFacts(bytes=problem.size, problem=problem.reason)
    return facts_of_bytes(data)


def facts_of_bytes(data: bytes) -> FileFacts:
    """Return the facts of a file's bytes (see `file_facts`)."""
    known: dict[str, object] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    try:
        picture = decode(data, look=lambda image: known.update(header_facts(image)))
    except ImageProblem as problem:
        return FileFacts(**known, problem=problem.reason)  # type: ignore[arg-type]
    return FileFacts(
        **known,  # type: ignore[arg-type]
        perceptual_hash=to_hex(perceptual_hash(picture)),
        is_constant=is_constant(picture),
        spectrum=spectrum_slopes(picture),
    )


def is_constant(image: Image.Image) -> bool:
    """Say whether a picture is of one colour (black pages of a safety filter, failed downloads)."""
    extrema = image.convert("RGB").getextrema()
    return all(high - low <= CONSTANT_SPAN for low, high in extrema)  # type: ignore[misc]


def header_facts(image: Image.Image) -> dict[str, object]:
    """Return what the head of a file says: format, size, mode, JPEG tables, profile."""
    return {
        # cameras and phones put several JPEG pictures into one file (MPO)
        "format": "JPEG" if image.format == "MPO" else image.format,
        "width": image.width,
        "height": image.height,
        "mode": image.mode,
        "jpeg_quality": estimate_quality(getattr(image, "quantization", None) or {}),
        "colour_profile": profile_name(image),
    }
