"""Pipelines that imitate, without a network, the marks that generators leave in a picture.

Two kinds. An *up-sampler* loses detail and decodes it again as convolutional decoders do: zero
insertion or repetition followed by a small filter, which leaves periodic marks in the spectrum
(Odena et al. 2016; Durall et al. 2020). A *denoising* pipeline adds noise and takes it away again
in steps, as samplers of diffusion models do, with a classical denoiser in the network's place.

Pictures are float32 arrays [height, width, 3] in [0, 1]; every function is deterministic.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.float32]

DECODERS = ("transposed", "nearest", "bilinear")
DENOISERS = ("tv", "nlm", "bilateral")


def upsample(
    picture: Picture,
    *,
    decoder: str,
    factor: int = 2,
    sharpen: float = 0.5,
    unevenness: float = 0.02,
) -> Picture:
    """Shrink a picture by area averages and decode it back to its size.

    Parameters
    ----------
    picture
        [height, width, 3] in [0, 1].
    decoder
        ``transposed``: zeros between samples, then a filter whose overlaps do not add up evenly, as
        in a transposed convolution; ``nearest``: repetition, then a narrow 3 x 3 smoothing convolution;
        ``bilinear``.
    factor
        How much smaller the encoded picture is on each side.
    sharpen
        Strength of the unsharp mask after decoding (standard deviation 1 pixel), 0 for none.
    unevenness
        Share by which samples between the grid fall short with ``transposed``.

    Returns
    -------
    Picture
        Of the same shape.
    """
    import cv2

    height, width = picture.shape[:2]
    padded = _pad_to(picture, factor)
    small = _area(padded, factor)
    if decoder == "transposed":
        large = _transposed(small, factor, unevenness)
    elif decoder == "nearest":
        large = small.repeat(factor, axis=0).repeat(factor, axis=1)
        # Narrow, so that the steps of the repetition show: (1, 2, 1) / 4 would be bilinear exactly.
        kernel = np.array([1 / 6, 2 / 3, 1 / 6], dtype=np.float32)
        large = cv2.sepFilter2D(large, -1, kernel, kernel, borderType=cv2.BORDER_REFLECT_101)
    elif decoder == "bilinear":
        size = (padded.shape[1], padded.shape[0])
        large = cv2.resize(small, size, interpolation=cv2.INTER_LINEAR)
    else:
        raise ValueError(f"decoder is {decoder!r}; allowed: {', '.join(DECODERS)}")
    if sharpen:
        soft = cv2.GaussianBlur(large, (0, 0), 1.0, borderType=cv2.BORDER_REFLECT_101)
        large = large + np.float32(sharpen) * (large - soft)
    return np.clip(large[:height, :width], 0, 1).astype(np.float32)


def denoise_in_steps(
    picture: Picture, *, denoiser: str, noise: float, steps: int, seed: int
) -> Picture:
    """Add Gaussian noise to a picture and remove it in steps (the deterministic DDIM update).

    At noise level s the denoiser gives an estimate e of the clean picture x; the next picture is
    ``e + (s'/s) (x - e)`` with the next lower level s' (Song et al. 2021, eq. 12 with no new noise,
    in the variance-exploding form). Levels fall evenly from `noise` to 0.

    Parameters
    ----------
    picture
        [height, width, 3] in [0, 1].
    denoiser
        ``tv`` (total variation, Chambolle 2004, scikit-image), ``nlm`` (non-local means, Buades et
        al. 2005, OpenCV), ``bilateral`` (Tomasi and Manduchi 1998, OpenCV).
    noise
        Standard deviation of the noise added, in units of the full range.
    steps
        Number of denoising steps, at least 1.
    seed
        Seed of the noise.

    Returns
    -------
    Picture
        Of the same shape.
    """
    clean = _denoiser(denoiser)
    rng = np.random.default_rng(seed)
    levels = np.linspace(noise, 0.0, steps + 1)
    current = picture + rng.standard_normal(picture.shape, dtype=np.float32) * np.float32(noise)
    for level, lower in pairwise(levels):
        estimate = clean(current, float(level))
        current = estimate + np.float32(lower / level) * (current - estimate)
    return np.clip(current, 0, 1).astype(np.float32)


def _denoiser(name: str) -> Callable[[Picture, float], Picture]:
    denoisers = {"tv": _total_variation, "nlm": _non_local_means, "bilateral": _bilateral}
    if name not in denoisers:
        raise ValueError(f"denoiser is {name!r}; allowed: {', '.join(DENOISERS)}")
    return denoisers[name]


def _total_variation(picture: Picture, level: float) -> Picture:
    from skimage.restoration import denoise_tv_chambolle

    result = denoise_tv_chambolle(picture, weight=level, eps=1e-3, max_num_iter=20, channel_axis=-1)
    return np.asarray(result, dtype=np.float32)


def _non_local_means(picture: Picture, level: float) -> Picture:
    import cv2

    # OpenCV's form wants bytes. Noise reaches beyond black and white, so [-1/4, 5/4] is mapped to
    # them: clipping would leave specks. The filter strength is in grey levels.
    grey_levels = np.round(np.clip((picture + 0.25) / 1.5, 0, 1) * 255).astype(np.uint8)
    strength = 255 * level / 1.5
    result = cv2.fastNlMeansDenoising(grey_levels, None, strength, 5, 11)
    return result.astype(np.float32) / np.float32(255) * np.float32(1.5) - np.float32(0.25)


def _bilateral(picture: Picture, level: float) -> Picture:
    import cv2

    result: Picture = cv2.bilateralFilter(
        np.ascontiguousarray(picture, dtype=np.float32), 7, 6.0 * level, 2.0
    )
    return result


def _pad_to(picture: Picture, factor: int) -> Picture:
    """Reflect at the lower and right border until both sides are multiples of `factor`."""
    down, right = (-picture.shape[0]) % factor, (-picture.shape[1]) % factor
    return np.pad(picture, ((0, down), (0, right), (0, 0)), mode="symmetric")


def _area(picture: Picture, factor: int) -> Picture:
    """Average over blocks of factor x factor."""
    height, width = picture.shape[0] // factor, picture.shape[1] // factor
    blocks = picture.reshape(height, factor, width, factor, 3)
    return blocks.mean(axis=(1, 3), dtype=np.float32)


def _transposed(small: Picture, factor: int, unevenness: float) -> Picture:
    """Insert zeros and filter with a triangle whose samples off the grid are weakened."""
    import cv2

    # Mirrored by one sample, so that the filter finds neighbours at the border.
    framed = np.pad(small, ((1, 1), (1, 1), (0, 0)), mode="edge")
    spread = np.zeros((framed.shape[0] * factor, framed.shape[1] * factor, 3), dtype=np.float32)
    spread[::factor, ::factor] = framed
    offsets = np.arange(1 - factor, factor)
    kernel = (1 - np.abs(offsets) / factor).astype(np.float32)
    kernel[offsets != 0] *= np.float32(1 - unevenness)
    # Uneven, but of the right brightness on average.
    kernel *= np.float32(factor / kernel.sum())
    full = cv2.sepFilter2D(spread, -1, kernel, kernel, borderType=cv2.BORDER_CONSTANT)
    height, width = small.shape[0] * factor, small.shape[1] * factor
    # The grid's samples sit in the middle of their blocks.
    start = factor - (factor - 1) // 2
    return full[start : start + height, start : start + width]
