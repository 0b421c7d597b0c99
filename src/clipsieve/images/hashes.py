"""A 64-bit perceptual hash of a picture, and all pairs of hashes that lie close together."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image

#: Side of the small grey picture that is transformed.
_SIDE = 32
#: Number of ones in each byte.
_ONES = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(axis=1).astype(np.int64)


def perceptual_hash(image: Image.Image) -> int:
    """Return the 64-bit hash of a picture; similar pictures differ in few bits.

    The picture is made grey, resized to 32 x 32 and put through a two-dimensional cosine transform;
    the 8 x 8 lowest frequencies without the constant rows and columns give one bit each: whether
    they exceed their median. Re-encoding and mild resizing flip a few bits, other content about 32.

    Parameters
    ----------
    image
        A picture of any size and mode.

    Returns
    -------
    int
        In [0, 2**64); 0 for a picture of one colour.
    """
    from PIL import Image

    small = image.convert("L").resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    grey = np.asarray(small, dtype=np.float64)
    basis = _cosines()
    # Rounded, so that the arithmetic noise of a flat picture doesn't become bits.
    low = np.round(basis @ grey @ basis.T, 6)
    bits = (low > np.median(low)).ravel()
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def to_hex(value: int) -> str:
    """Write a 64-bit hash as 16 hex digits."""
    return f"{value:016x}"


def from_hex(values: list[str]) -> NDArray[np.uint64]:
    """Read hashes written as 16 hex digits."""
    return np.array([int(value, 16) for value in values], dtype=np.uint64)


def hamming(first: NDArray[np.uint64], second: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Count the bits in which hashes differ, entry by entry (the arguments broadcast)."""
    differing = np.ascontiguousarray(np.atleast_1d(first ^ second))
    return _ONES[differing.view(np.uint8)].reshape(*differing.shape, 8).sum(axis=-1)


def near_duplicates(
    hashes: NDArray[np.uint64], threshold: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Find every pair of hashes that differ in at most `threshold` bits.

    Parameters
    ----------
    hashes
        [n] 64-bit hashes.
    threshold
        Largest number of differing bits, 0 to 31.

    Returns
    -------
    first, second, distance
        One entry per pair, with first < second, in the order of (first, second).

    Raises
    ------
    ValueError
        When the threshold is out of range.

    Notes
    -----
    Exact, without all n^2 comparisons: two hashes that differ in at most t bits agree wholly on at
    least one of t + 1 bands of bits, so only hashes that share a band are compared.
    """
    if not 0 <= threshold <= 31:
        raise ValueError(f"threshold is {threshold}; it must lie between 0 and 31 bits")
    hashes = np.asarray(hashes, dtype=np.uint64)
    edges = np.linspace(0, 64, threshold + 2).round().astype(int)
    found: set[tuple[int, int]] = set()
    for low, high in pairwise(edges):
        mask = np.uint64((1 << int(high - low)) - 1)
        band = (hashes >> np.uint64(low)) & mask
        order = np.argsort(band, kind="stable")
        starts = np.flatnonzero(np.r_[True, np.diff(band[order]) != 0])
        for members in np.split(order, starts[1:]):
            _compare(hashes, np.sort(members), threshold, found)
    pairs = np.array(sorted(found), dtype=np.int64).reshape(-1, 2)
    distance = hamming(hashes[pairs[:, 0]], hashes[pairs[:, 1]])
    return pairs[:, 0], pairs[:, 1], distance


def clusters(hashes: NDArray[np.uint64], threshold: int) -> list[NDArray[np.int64]]:
    """Group hashes that are tied by steps of at most `threshold` bits.

    Parameters
    ----------
    hashes
        [n] 64-bit hashes.
    threshold
        As in `near_duplicates`.

    Returns
    -------
    list of int64 arrays
        The indices of each cluster of two hashes or more, in order; clusters by their first index.
        Equal hashes are compared once, so many copies of one picture cost nothing.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    unique, inverse = np.unique(np.asarray(hashes, dtype=np.uint64), return_inverse=True)
    first, second, _ = near_duplicates(unique, threshold)
    links = coo_array((np.ones(len(first)), (first, second)), shape=(len(unique), len(unique)))
    _, component = connected_components(links, directed=False)
    of_hash = component[inverse] if len(unique) else np.zeros(0, dtype=np.int64)
    order = np.argsort(of_hash, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(of_hash[order])) + 1)
    return sorted((part for part in parts if len(part) > 1), key=lambda part: int(part[0]))


def _compare(
    hashes: NDArray[np.uint64],
    members: NDArray[np.int64],
    threshold: int,
    found: set[tuple[int, int]],
) -> None:
    """Add the close pairs among `members`, a row at a time."""
    for k in range(len(members) - 1):
        others = members[k + 1 :]
        close = hamming(hashes[members[k]], hashes[others]) <= threshold
        found.update((int(members[k]), int(other)) for other in others[close])


def _cosines() -> NDArray[np.float64]:
    """Rows 1 to 8 of the 32-point cosine transform (DCT-II, without scale: only order matters)."""
    rows = np.arange(1, 9)[:, None]
    points = np.arange(_SIDE)[None, :]
    return np.cos(np.pi * rows * (2 * points + 1) / (2 * _SIDE))
