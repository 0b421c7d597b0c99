"""Arrays of a page as one compressed block of text, and how the page finds them again.

The block is base64 of a zlib stream, which browsers inflate by themselves (`DecompressionStream`). It
holds the length of a JSON text (4 bytes, little-endian), that text, then the arrays. Numbers of two
bytes are divided into a plane of low bytes and a plane of high bytes, which compress better apart.
"""

from __future__ import annotations

import base64
import json
import zlib
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

#: Stands for "no value" among integers of two bytes, signed and unsigned.
NO_VALUE, NO_INDEX = -32768, 65535


class Packing:
    """Arrays by name, in the order in which they were added.

    Examples
    --------
    >>> packing = Packing()
    >>> packing.numbers("cells", [0.5, float("nan")], 10_000)
    >>> header, arrays = unpack(packing.text({"run": "demo"}))
    >>> header["run"], arrays["cells"].tolist()
    ('demo', [0.5, nan])
    """

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._places: dict[str, dict[str, Any]] = {}
        self._length = 0

    def numbers(self, name: str, values: ArrayLike, scale: float) -> None:
        """Add numbers as signed integers of 1/`scale`; NaN is kept, larger ones are a ValueError."""
        wide = np.asarray(values, dtype=np.float64).ravel()
        whole = np.rint(wide * scale)
        known = np.isfinite(wide)
        if (np.abs(whole[known]) > 32767).any():
            raise ValueError(f"{name}: a number is larger than {32767 / scale:g}")
        found = np.full(len(wide), NO_VALUE, dtype=np.int16)
        found[known] = whole[known].astype(np.int16)
        self._add(name, _planes(found), {"type": "int16", "length": len(found), "scale": scale})

    def indices(self, name: str, values: ArrayLike) -> None:
        """Add integers from 0 to 65534; -1 is kept as "none"."""
        wide = np.asarray(values, dtype=np.int64).ravel()
        if len(wide) and (wide.max() >= NO_INDEX or wide.min() < -1):
            raise ValueError(f"{name}: an index is not in 0 .. {NO_INDEX - 1}")
        found = np.where(wide < 0, NO_INDEX, wide).astype(np.uint16)
        self._add(name, _planes(found), {"type": "uint16", "length": len(found)})

    def raw(self, name: str, parts: list[bytes]) -> None:
        """Add strings of bytes; the header has where each begins and ends."""
        ends = np.cumsum([0, *map(len, parts)]).tolist()
        self._add(name, b"".join(parts), {"type": "bytes", "ends": ends})

    def _add(self, name: str, data: bytes, place: dict[str, Any]) -> None:
        if name in self._places:
            raise ValueError(f"{name} is there already")
        self._places[name] = {"at": self._length, **place}
        self._parts.append(data)
        self._length += len(data)

    def text(self, header: dict[str, Any]) -> str:
        """Return the block; `header` is what the page is told beside the arrays."""
        told = json.dumps({**header, "arrays": self._places}, ensure_ascii=False, allow_nan=False)
        start = told.encode()
        whole = b"".join([len(start).to_bytes(4, "little"), start, *self._parts])
        return base64.b64encode(zlib.compress(whole, 9)).decode()


def _planes(values: NDArray[Any]) -> bytes:
    """Return little-endian numbers of two bytes: all low bytes, then all high bytes."""
    pairs = values.astype(values.dtype.newbyteorder("<")).view(np.uint8).reshape(-1, 2)
    return pairs.T.tobytes()


def unpack(text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read a block back: its header and its arrays (bytes as lists), as the page does."""
    whole = zlib.decompress(base64.b64decode(text))
    length = int.from_bytes(whole[:4], "little")
    header = json.loads(whole[4 : 4 + length])
    arrays: dict[str, Any] = {}
    for name, place in header["arrays"].items():
        start = 4 + length + place["at"]
        if place["type"] == "bytes":
            ends = place["ends"]
            arrays[name] = [whole[start + a : start + b] for a, b in pairwise(ends)]
            continue
        planes = np.frombuffer(whole, np.uint8, 2 * place["length"], start).reshape(2, -1)
        kind = "<i2" if place["type"] == "int16" else "<u2"
        found = np.ascontiguousarray(planes.T).view(kind).ravel().astype(np.float64)
        missing = NO_VALUE if place["type"] == "int16" else NO_INDEX
        found[found == missing] = np.nan
        arrays[name] = found / place.get("scale", 1)
    return header, arrays
