"""How the power of a picture falls with frequency: the trace that resampling leaves in the pixels.

Enlarging leaves the high frequencies nearly empty, reducing leaves them fuller than they were. Where
the two classes reached their size in different ways, a few slopes of the spectrum tell them apart.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image

#: Edges of the frequency bands in cycles per pixel; 0.5 is the highest frequency that pixels can hold.
EDGES = np.arange(1, 11) / 20
#: Columns of the image table: the slope between two neighbouring bands, named by the frequency
#: (in hundredths of a cycle per pixel) that lies between them.
COLUMNS = tuple(f"spectrum_{round(100 * edge):02d}" for edge in EDGES[1:-1])
#: Side, in pixels, of the part of a picture that is looked at, and the least side that is enough.
_SIDE, _LEAST = 256, 32
#: Added to each power (in grey levels squared), so that an empty band has a logarithm.
_FLOOR = 1e-4


def spectrum_slopes(image: Image.Image) -> tuple[float, ...] | None:
    """Return the slopes of a picture's power spectrum, one for each of `COLUMNS`.

    Parameters
    ----------
    image
        A picture of any mode. Its middle, at most 256 x 256 pixels, is looked at, without resizing.

    Returns
    -------
    tuple of 8 float, or None
        Differences of log power over differences of log frequency between neighbouring bands, the
        power being averaged over all directions (about -2 for a photograph; 0 for a picture of one
        colour), rounded to four digits. None for a picture with a side below 32 pixels.

    Notes
    -----
    A photograph's power falls as about 1 / f^2 (Field, JOSA A 4, 2379, 1987), so a slope hardly
    depends on the content; it does depend on the kernel and factor of a resize.
    """
    width, height = (min(_SIDE, side) for side in image.size)
    if min(width, height) < _LEAST:
        return None
    left, top = (image.width - width) // 2, (image.height - height) // 2
    middle = image.crop((left, top, left + width, top + height)).convert("L")
    grey = np.asarray(middle, dtype=np.float32)
    window, band, count = _bands(height, width)
    spectrum = np.fft.rfft2((grey - grey.mean()) * window)
    power = (spectrum.real**2 + spectrum.imag**2).ravel()
    level = np.bincount(band, weights=power, minlength=len(EDGES) + 1)[1 : len(EDGES)]
    log_power = np.log(level / count + _FLOOR)
    middle_of = np.log((EDGES[:-1] + EDGES[1:]) / 2)
    slopes = np.diff(log_power) / np.diff(middle_of)
    return tuple(round(float(slope), 4) + 0.0 for slope in slopes)


@lru_cache(maxsize=16)
def _bands(
    height: int, width: int
) -> tuple[NDArray[np.float32], NDArray[np.intp], NDArray[np.float64]]:
    """Window of unit energy, the band of each frequency (0 and 10 are outside), and bands' sizes."""
    window = np.outer(np.hanning(height), np.hanning(width))
    window /= np.sqrt((window**2).sum())
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :])
    band = np.digitize(frequency, EDGES).ravel()
    count = np.bincount(band, minlength=len(EDGES) + 1)[1 : len(EDGES)].astype(np.float64)
    return window.astype(np.float32), band, count
