"""Edits of the pixels, saved as PNG: filters, geometry, colour, and a decoder's periodic grid."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clipsieve.images.perturbations.base import (
    Edit,
    detail,
    is_softer,
    lossless,
    picture,
    samples_of,
)

if TYPE_CHECKING:
    from PIL import Image


def blur(name: str, sigma: float) -> Edit:
    """Return the Gaussian blur of this standard deviation in pixels."""

    def change(image: Image.Image, seed: int) -> Image.Image:
        from scipy.ndimage import gaussian_filter

        return picture(gaussian_filter(samples_of(image), (sigma, sigma, 0), mode="reflect"))

    return lossless(
        name,
        "blur",
        sigma,
        f"Gaussian blur, standard deviation {sigma:g} pixels",
        change,
        is_softer,
        "fine detail did not become less",
    )


def resize(name: str, percent: int) -> Edit:
    """Return the edit that scales each side down to this share and up again."""

    def change(image: Image.Image, seed: int) -> Image.Image:
        from PIL import Image

        small = [max(1, round(side * percent / 100)) for side in image.size]
        down = image.resize((small[0], small[1]), Image.Resampling.BICUBIC)
        return down.resize(image.size, Image.Resampling.BICUBIC)

    return lossless(
        name,
        "resize",
        100 - percent,
        f"down to {percent} % and up again, bicubic",
        change,
        lambda before, after: before.shape == after.shape and is_softer(before, after),
        "fine detail did not become less",
    )


def crop(name: str, percent: int) -> Edit:
    """Return the edit that keeps the middle share of each side."""

    def kept(side: int) -> int:
        return max(1, round(side * percent / 100))

    def change(image: Image.Image, seed: int) -> Image.Image:
        width, height = kept(image.width), kept(image.height)
        left, top = (image.width - width) // 2, (image.height - height) // 2
        return image.crop((left, top, left + width, top + height))

    return lossless(
        name,
        "crop",
        100 - percent,
        f"the middle {percent} % of each side",
        change,
        lambda before, after: after.shape[:2] == (kept(before.shape[0]), kept(before.shape[1])),
        "the size is not the crop's",
    )


def noise(name: str, levels: int) -> Edit:
    """Return the edit that adds Gaussian noise of this standard deviation in grey levels."""

    def change(image: Image.Image, seed: int) -> Image.Image:
        samples = samples_of(image)
        return picture(samples + np.random.default_rng(seed).normal(0, levels, samples.shape))

    def holds(before: NDArray[np.float64], after: NDArray[np.float64]) -> bool:
        # Clipping at black and white can only lessen the noise: at worst half of it stays.
        return bool(0.3 * levels < np.std(after - before) < 1.2 * levels)

    return lossless(
        name,
        "noise",
        levels,
        f"Gaussian noise, standard deviation {levels} of 255 grey levels",
        change,
        holds,
        "the difference is not noise of that strength",
    )


def sharpen(name: str, percent: int) -> Edit:
    """Return the unsharp mask of this strength."""

    def change(image: Image.Image, seed: int) -> Image.Image:
        from scipy.ndimage import gaussian_filter

        samples = samples_of(image)
        soft = gaussian_filter(samples, (1.0, 1.0, 0), mode="reflect")
        return picture(samples + percent / 100 * (samples - soft))

    return lossless(
        name,
        "sharpen",
        percent,
        f"unsharp mask, standard deviation 1 pixel, {percent} %",
        change,
        lambda before, after: detail(after) > detail(before),
        "fine detail did not become more",
    )


def contrast(name: str, percent: int) -> Edit:
    """Return the edit that scales the distance of every sample from their mean."""

    def change(image: Image.Image, seed: int) -> Image.Image:
        samples = samples_of(image)
        middle = samples.mean()
        return picture(middle + (samples - middle) * percent / 100)

    def holds(before: NDArray[np.float64], after: NDArray[np.float64]) -> bool:
        return bool((after.std() > before.std()) == (percent > 100))

    return lossless(
        name,
        "contrast",
        percent - 100,
        f"contrast {percent} %",
        change,
        holds,
        "the spread of the samples went the wrong way",
    )


def brightness(name: str, percent: int) -> Edit:
    """Return the edit that scales every sample."""

    def holds(before: NDArray[np.float64], after: NDArray[np.float64]) -> bool:
        return bool((after.mean() > before.mean()) == (percent > 100))

    return lossless(
        name,
        "brightness",
        percent - 100,
        f"brightness {percent} %",
        lambda image, seed: picture(samples_of(image) * percent / 100),
        holds,
        "the mean of the samples went the wrong way",
    )


def _chroma(samples: NDArray[np.float64]) -> float:
    return float(np.mean(samples.max(axis=2) - samples.min(axis=2)))


def saturation(name: str, percent: int) -> Edit:
    """Return the edit that scales the distance of every pixel from its grey."""

    def change(image: Image.Image, seed: int) -> Image.Image:
        samples = samples_of(image)
        grey = samples @ np.array([0.299, 0.587, 0.114])
        return picture(grey[..., None] + (samples - grey[..., None]) * percent / 100)

    def holds(before: NDArray[np.float64], after: NDArray[np.float64]) -> bool:
        return (_chroma(after) > _chroma(before)) == (percent > 100)

    return lossless(
        name,
        "saturation",
        percent - 100,
        f"saturation {percent} %",
        change,
        holds,
        "the spread of the channels went the wrong way",
    )


def warmth(name: str, percent: int) -> Edit:
    """Return the edit that strengthens red and weakens blue, or the other way below 0."""
    gains = np.array([1 + percent / 100, 1.0, 1 - percent / 100])

    def holds(before: NDArray[np.float64], after: NDArray[np.float64]) -> bool:
        tint = [float(s[..., 0].mean() - s[..., 2].mean()) for s in (before, after)]
        return (tint[1] > tint[0]) == (percent > 0)

    return lossless(
        name,
        "warmth",
        percent,
        f"red {percent:+d} %, blue {-percent:+d} %",
        lambda image, seed: picture(samples_of(image) * gains),
        holds,
        "the balance of red and blue went the wrong way",
    )


def grid(name: str, period: int) -> Edit:
    """Return the edit that adds a periodic grid, the mark that some decoders leave."""
    amplitude = 3.0

    def pattern(height: int, width: int) -> NDArray[np.float64]:
        wave = [np.cos(2 * np.pi * np.arange(side) / period) for side in (height, width)]
        return amplitude * (wave[0][:, None] + wave[1][None, :])

    def change(image: Image.Image, seed: int) -> Image.Image:
        return picture(samples_of(image) + pattern(image.height, image.width)[..., None])

    def holds(before: NDArray[np.float64], after: NDArray[np.float64]) -> bool:
        # The share of the grid that is in the difference: 1, or less where white or black clip it.
        grid = pattern(*before.shape[:2])
        grid = grid - grid.mean()
        added = (after - before).mean(axis=2)
        return bool((added * grid).sum() > 0.3 * (grid**2).sum())

    return lossless(
        name,
        "grid",
        period,
        f"periodic grid, period {period} pixels, amplitude {amplitude:g} grey levels",
        change,
        holds,
        "the grid is not in the difference",
    )
