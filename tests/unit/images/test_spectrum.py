"""Slopes of the power spectrum: known spectra are read back, resampling is seen."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from clipsieve.images.encode import png_bytes
from clipsieve.images.facts import facts_of_bytes
from clipsieve.images.spectrum import COLUMNS, spectrum_slopes


def fractal(seed: int, side: tuple[int, int] = (256, 256), power: float = 2.0) -> Image.Image:
    """Noise whose power falls as 1 / f^power, as a photograph's does with about 2."""
    rng = np.random.default_rng(seed)
    width, height = side
    f = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None, :])
    f[0, 0] = 1
    field = np.fft.ifft2(np.fft.fft2(rng.normal(size=(height, width))) * f ** (-power / 2)).real
    grey = 128 + 40 * (field - field.mean()) / field.std()
    return Image.fromarray(np.clip(grey, 0, 255).round().astype(np.uint8)).convert("RGB")


@pytest.mark.parametrize("power", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("side", [(256, 256), (300, 200), (64, 512)])
def test_slopes_are_those_of_noise_with_a_known_spectrum(power, side):
    found = np.array([spectrum_slopes(fractal(seed, side, power)) for seed in range(40)])
    assert found.shape == (40, len(COLUMNS))
    # a band's mean over a power law lies a little off that at its middle: and 40 pictures by chance
    assert np.abs(found.mean(axis=0) + power).max() < 0.25


def test_enlarging_steepens_the_high_frequencies_and_leaves_the_low_ones():
    plain = np.mean([spectrum_slopes(fractal(seed)) for seed in range(6)], axis=0)
    enlarged = [
        spectrum_slopes(fractal(seed, (128, 128)).resize((256, 256), Image.Resampling.BICUBIC))
        for seed in range(6)
    ]
    change = np.mean(enlarged, axis=0) - plain
    assert abs(change[0]) < 1
    assert change[3:6].min() < -4


def test_the_size_of_a_picture_does_not_change_its_slopes():
    large = fractal(3, (256, 256))
    small = large.crop((0, 0, 128, 128))
    assert np.abs(np.subtract(spectrum_slopes(large), spectrum_slopes(small))).mean() < 0.5


def test_small_and_blank_pictures():
    assert spectrum_slopes(Image.new("RGB", (31, 400))) is None
    assert spectrum_slopes(Image.new("RGB", (32, 32), (9, 9, 9))) == (0.0,) * len(COLUMNS)


def test_facts_have_a_column_for_each_slope():
    picture = fractal(1)
    row = facts_of_bytes(png_bytes(picture)).as_row()
    assert tuple(row[name] for name in COLUMNS) == spectrum_slopes(picture)
    assert "spectrum" not in row
    small = facts_of_bytes(png_bytes(picture.crop((0, 0, 20, 20)))).as_row()
    assert [small[name] for name in COLUMNS] == [None] * len(COLUMNS)
    assert small["problem"] is None
