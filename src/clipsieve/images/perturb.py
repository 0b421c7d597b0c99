"""Known edits of a picture: what robustness is measured against and concept directions come from.

Each edit is checked on the bytes that were written: a JPEG's quantisation tables are read back, a
blur must have lowered the fine detail, and so on. An edit that changed nothing is an error.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clipsieve.errors import UserError
from clipsieve.images.decode import decode
from clipsieve.images.encode import jpeg_bytes, png_bytes, webp_bytes
from clipsieve.images.jpeg import standard_tables

if TYPE_CHECKING:
    from PIL import Image

#: Raised when what an edit makes of a picture changes.
PERTURB_VERSION = 1


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


@cache
def perturbations() -> Mapping[str, Edit]:
    """Return the catalogue: name -> edit, families together, milder levels first."""
    edits = [
        *(_jpeg(quality) for quality in (95, 90, 80, 70, 60, 50, 40, 30)),
        *(_double_jpeg(first, 90) for first in (75, 50)),
        *(_webp(quality) for quality in (90, 75, 50, 30)),
        *(_blur(sigma) for sigma in (0.5, 1.0, 2.0, 3.0)),
        *(_resize(percent) for percent in (75, 50, 25)),
        *(_crop(percent) for percent in (90, 75, 50)),
        *(_noise(levels) for levels in (2, 5, 10, 20)),
        *(_sharpen(percent) for percent in (50, 100, 200)),
        *(_contrast(percent) for percent in (70, 85, 115, 130)),
        *(_brightness(percent) for percent in (80, 120)),
        *(_saturation(percent) for percent in (50, 150)),
        *(_warmth(percent) for percent in (-10, 10)),
        *(_grid(period) for period in (2, 4, 8)),
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


def _samples(image: Image.Image) -> NDArray[np.float64]:
    return np.asarray(image.convert("RGB"), dtype=np.float64)


def _picture(samples: NDArray[np.float64]) -> Image.Image:
    from PIL import Image

    return Image.fromarray(np.round(np.clip(samples, 0, 255)).astype(np.uint8))


def _detail(samples: NDArray[np.float64]) -> float:
    """Mean square of the discrete Laplacian: how much fine detail a picture has."""
    grey = samples.mean(axis=2)
    laplacian = (
        4 * grey[1:-1, 1:-1] - grey[:-2, 1:-1] - grey[2:, 1:-1] - grey[1:-1, :-2] - grey[1:-1, 2:]
    )
    return float(np.mean(laplacian**2)) if laplacian.size else 0.0


def _is_softer(before: NDArray[np.float64], after: NDArray[np.float64]) -> bool:
    """Say whether detail became less; below a grey level rounding decides, and nothing is said."""
    return _detail(before) < 1 or _detail(after) < _detail(before)


def _read_back(name: str, before: Image.Image, data: bytes) -> NDArray[np.float64]:
    """Decode the written file; refuse one of the same samples as before."""
    after = _samples(decode(data))
    if after.shape == _samples(before).shape and np.array_equal(after, _samples(before)):
        raise NoEffectError(f"{name} changed nothing")
    return after


def _expect(name: str, is_so: bool, words: str) -> None:
    if not is_so:
        raise EditError(f"{name}: {words}")


# --- compression -----------------------------------------------------------------------------


def _check_tables(name: str, data: bytes, quality: int) -> None:
    """Read a JPEG file's tables back and compare them with the standard's at this quality."""
    from PIL import Image

    with Image.open(io.BytesIO(data)) as written:
        _expect(name, written.format == "JPEG", f"the file is {written.format}, no JPEG")
        tables = written.quantization  # type: ignore[attr-defined]
    for number, standard in enumerate(standard_tables()):
        found = np.array(tables.get(number, []))
        same = found.shape == (64,) and bool((found == standard[quality - 1]).all())
        _expect(name, same, f"quantisation table {number} is not that of quality {quality}")


def _jpeg(quality: int) -> Edit:
    name = f"jpeg_{quality}"

    def check(before: Image.Image, data: bytes) -> None:
        _check_tables(name, data, quality)
        _read_back(name, before, data)

    return Edit(
        name,
        "jpeg",
        100 - quality,
        f"JPEG, quality {quality}",
        ".jpg",
        lambda image, seed: jpeg_bytes(image, quality),
        check,
    )


def _double_jpeg(first: int, second: int) -> Edit:
    name = f"double_jpeg_{first}_{second}"

    def make(image: Image.Image, seed: int) -> bytes:
        once = jpeg_bytes(image, first)
        _check_tables(name, once, first)
        # The 8 x 8 grids must not coincide, or the second file would repeat the first one's.
        shifted = decode(once).crop((4, 4, image.width, image.height))
        return jpeg_bytes(shifted, second)

    def check(before: Image.Image, data: bytes) -> None:
        _check_tables(name, data, second)
        _read_back(name, before, data)

    title = f"JPEG, quality {first}, then {second} on a grid shifted by 4 pixels"
    return Edit(name, "double_jpeg", 100 - first, title, ".jpg", make, check)


def _webp(quality: int) -> Edit:
    name = f"webp_{quality}"

    def check(before: Image.Image, data: bytes) -> None:
        lossy = data[:4] == b"RIFF" and data[8:16] == b"WEBPVP8 "
        _expect(name, lossy, "the file is no lossy WebP")
        _read_back(name, before, data)

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


# --- filters and geometry --------------------------------------------------------------------


def _lossless(
    name: str,
    family: str,
    level: float,
    title: str,
    change: Callable[[Image.Image, int], Image.Image],
    holds: Callable[[NDArray[np.float64], NDArray[np.float64]], bool],
    words: str,
) -> Edit:
    """An edit saved as PNG, with a property that the read-back picture must have."""

    def check(before: Image.Image, data: bytes) -> None:
        after = _read_back(name, before, data)
        if not holds(_samples(before), after):
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


def _blur(sigma: float) -> Edit:
    def change(image: Image.Image, seed: int) -> Image.Image:
        from scipy.ndimage import gaussian_filter

        return _picture(gaussian_filter(_samples(image), (sigma, sigma, 0), mode="reflect"))

    return _lossless(
        f"blur_{sigma:g}".replace(".", "_"),
        "blur",
        sigma,
        f"Gaussian blur, standard deviation {sigma:g} pixels",
        change,
        lambda before, after: _is_softer(before, after),
        "fine detail did not become less",
    )


def _resize(percent: int) -> Edit:
    def change(image: Image.Image, seed: int) -> Image.Image:
        from PIL import Image

        small = [max(1, round(side * percent / 100)) for side in image.size]
        down = image.resize((small[0], small[1]), Image.Resampling.BICUBIC)
        return down.resize(image.size, Image.Resampling.BICUBIC)

    return _lossless(
        f"resize_{percent}",
        "resize",
        100 - percent,
        f"down to {percent} % and up again, bicubic",
        change,
        lambda before, after: before.shape == after.shape and _is_softer(before, after),
        "fine detail did not become less",
    )


def _crop(percent: int) -> Edit:
    def kept(side: int) -> int:
        return max(1, round(side * percent / 100))

    def change(image: Image.Image, seed: int) -> Image.Image:
        width, height = kept(image.width), kept(image.height)
        left, top = (image.width - width) // 2, (image.height - height) // 2
        return image.crop((left, top, left + width, top + height))

    return _lossless(
        f"crop_{percent}",
        "crop",
        100 - percent,
        f"the middle {percent} % of each side",
        change,
        lambda before, after: after.shape[:2] == (kept(before.shape[0]), kept(before.shape[1])),
        "the size is not the crop's",
    )


def _noise(levels: int) -> Edit:
    def change(image: Image.Image, seed: int) -> Image.Image:
        samples = _samples(image)
        return _picture(samples + np.random.default_rng(seed).normal(0, levels, samples.shape))

    def holds(before: NDArray[np.float64], after: NDArray[np.float64]) -> bool:
        # Clipping at black and white can only lessen the noise: at worst half of it stays.
        return bool(0.3 * levels < np.std(after - before) < 1.2 * levels)

    return _lossless(
        f"noise_{levels}",
        "noise",
        levels,
        f"Gaussian noise, standard deviation {levels} of 255 grey levels",
        change,
        holds,
        "the difference is not noise of that strength",
    )


def _sharpen(percent: int) -> Edit:
    def change(image: Image.Image, seed: int) -> Image.Image:
        from scipy.ndimage import gaussian_filter

        samples = _samples(image)
        soft = gaussian_filter(samples, (1.0, 1.0, 0), mode="reflect")
        return _picture(samples + percent / 100 * (samples - soft))

    return _lossless(
        f"sharpen_{percent}",
        "sharpen",
        percent,
        f"unsharp mask, standard deviation 1 pixel, {percent} %",
        change,
        lambda before, after: _detail(after) > _detail(before),
        "fine detail did not become more",
    )


# --- colour ----------------------------------------------------------------------------------


def _contrast(percent: int) -> Edit:
    def change(image: Image.Image, seed: int) -> Image.Image:
        samples = _samples(image)
        middle = samples.mean()
        return _picture(middle + (samples - middle) * percent / 100)

    def holds(before: NDArray[np.float64], after: NDArray[np.float64]) -> bool:
        return bool((after.std() > before.std()) == (percent > 100))

    return _lossless(
        f"contrast_{percent}",
        "contrast",
        percent - 100,
        f"contrast {percent} %",
        change,
        holds,
        "the spread of the samples went the wrong way",
    )


def _brightness(percent: int) -> Edit:
    def holds(before: NDArray[np.float64], after: NDArray[np.float64]) -> bool:
        return bool((after.mean() > before.mean()) == (percent > 100))

    return _lossless(
        f"brightness_{percent}",
        "brightness",
        percent - 100,
        f"brightness {percent} %",
        lambda image, seed: _picture(_samples(image) * percent / 100),
        holds,
        "the mean of the samples went the wrong way",
    )


def _chroma(samples: NDArray[np.float64]) -> float:
    return float(np.mean(samples.max(axis=2) - samples.min(axis=2)))


def _saturation(percent: int) -> Edit:
    def change(image: Image.Image, seed: int) -> Image.Image:
        samples = _samples(image)
        grey = samples @ np.array([0.299, 0.587, 0.114])
        return _picture(grey[..., None] + (samples - grey[..., None]) * percent / 100)

    def holds(before: NDArray[np.float64], after: NDArray[np.float64]) -> bool:
        return (_chroma(after) > _chroma(before)) == (percent > 100)

    return _lossless(
        f"saturation_{percent}",
        "saturation",
        percent - 100,
        f"saturation {percent} %",
        change,
        holds,
        "the spread of the channels went the wrong way",
    )


def _warmth(percent: int) -> Edit:
    gains = np.array([1 + percent / 100, 1.0, 1 - percent / 100])

    def holds(before: NDArray[np.float64], after: NDArray[np.float64]) -> bool:
        tint = [float(s[..., 0].mean() - s[..., 2].mean()) for s in (before, after)]
        return (tint[1] > tint[0]) == (percent > 0)

    return _lossless(
        f"warm_{percent}" if percent > 0 else f"cool_{-percent}",
        "warmth",
        percent,
        f"red {percent:+d} %, blue {-percent:+d} %",
        lambda image, seed: _picture(_samples(image) * gains),
        holds,
        "the balance of red and blue went the wrong way",
    )


# --- marks of decoders -----------------------------------------------------------------------


def _grid(period: int) -> Edit:
    amplitude = 3.0

    def pattern(height: int, width: int) -> NDArray[np.float64]:
        wave = [np.cos(2 * np.pi * np.arange(side) / period) for side in (height, width)]
        return amplitude * (wave[0][:, None] + wave[1][None, :])

    def change(image: Image.Image, seed: int) -> Image.Image:
        return _picture(_samples(image) + pattern(image.height, image.width)[..., None])

    def holds(before: NDArray[np.float64], after: NDArray[np.float64]) -> bool:
        # The share of the grid that is in the difference: 1, or less where white or black clip it.
        grid = pattern(*before.shape[:2])
        grid = grid - grid.mean()
        added = (after - before).mean(axis=2)
        return bool((added * grid).sum() > 0.3 * (grid**2).sum())

    return _lossless(
        f"grid_{period}",
        "grid",
        period,
        f"periodic grid, period {period} pixels, amplitude {amplitude:g} grey levels",
        change,
        holds,
        "the grid is not in the difference",
    )


def edited(name: str, image: Image.Image, *, seed: int = 0, verify: bool = True) -> Image.Image:
    """Apply an edit and return the picture as it reads back from the written file (see `apply`)."""
    return decode(apply(name, image, seed=seed, verify=verify)[0])
