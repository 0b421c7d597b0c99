"""The quality at which a JPEG file was written, read from its quantisation tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray

# The example tables of the JPEG standard (ITU-T T.81, Annex K.1 and K.2), row by row.
_LUMA = (
    "16 11 10 16 24 40 51 61 12 12 14 19 26 58 60 55 14 13 16 24 40 57 69 56"
    " 14 17 22 29 51 87 80 62 18 22 37 56 68 109 103 77"
    " 24 35 55 64 81 104 113 92 49 64 78 87 103 121 120 101"
    " 72 92 95 98 112 100 103 99"
)
_CHROMA = (
    "17 18 24 47 99 99 99 99 18 21 26 66 99 99 99 99 24 26 56 99 99 99 99 99"
    + " 47 66 99 99 99 99 99 99"
    + " 99" * 32
)


@cache
def standard_tables() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the luma and chroma tables that libjpeg makes for each quality, [100, 64] each.

    Row q - 1 is quality q; the scale is 5000 / q per cent below 50 and 200 - 2 q from there, and
    entries are clipped to [1, 255] (baseline JPEG).
    """
    quality = np.arange(1, 101)
    scale = np.where(quality < 50, 5000 // quality, 200 - 2 * quality)
    luma, chroma = (np.array(text.split(), dtype=np.int64) for text in (_LUMA, _CHROMA))
    tables = [np.clip((base * scale[:, None] + 50) // 100, 1, 255) for base in (luma, chroma)]
    return tables[0], tables[1]


def estimate_quality(tables: Mapping[int, Sequence[int]]) -> int | None:
    """Estimate the quality, 1 to 100, from a file's quantisation tables.

    Parameters
    ----------
    tables
        Table number -> 64 entries, row by row (as Pillow's ``image.quantization``): table 0 is
        luma, table 1, where there is one, chroma.

    Returns
    -------
    int or None
        The quality whose standard tables are nearest (sum of absolute differences, relative to the
        standard entry); exact for files written with libjpeg's scale. None without a table.
    """
    # a camera or a library has a few sets of tables, and a data set has many of its files
    return _nearest(tuple((k, tuple(tables[k])) for k in (0, 1) if k in tables))


@lru_cache(maxsize=1024)
def _nearest(known: tuple[tuple[int, tuple[int, ...]], ...]) -> int | None:
    tables = dict(known)
    if 0 not in tables:
        return None
    distance = np.zeros(100)
    for number, standard in zip((0, 1), standard_tables(), strict=True):
        if number in tables:
            entries = np.asarray(tables[number], dtype=np.float64)
            distance += (np.abs(standard - entries) / standard).sum(axis=1)
    # The highest of equals: the tables of quality 1 and 2 can coincide by clipping.
    return int(100 - np.argmin(distance[::-1]))
