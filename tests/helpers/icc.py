"""Colour profiles made by hand (ICC.1:2010, version 2.4): three primaries and one gamma."""

from __future__ import annotations

import struct

import numpy as np

#: Primaries in XYZ relative to D50, one a column: Display P3 and Adobe RGB (1998), from their
#: published chromaticities by Bradford adaptation; sRGB from the ICC's own profile.
P3 = np.array([[0.5151, 0.2920, 0.1571], [0.2412, 0.6922, 0.0666], [-0.0011, 0.0419, 0.7841]])
ADOBE = np.array([[0.6097, 0.2053, 0.1492], [0.3111, 0.6257, 0.0632], [0.0195, 0.0609, 0.7446]])
SRGB = np.array([[0.4361, 0.3851, 0.1431], [0.2225, 0.7169, 0.0606], [0.0139, 0.0971, 0.7141]])


def _xyz(values: np.ndarray) -> bytes:
    fixed = (round(float(v) * 65536) for v in values)
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *fixed)


def profile(name: str, primaries: np.ndarray, gamma: float) -> bytes:
    """An RGB display profile whose samples are powers of light."""
    text = name.encode() + b"\0"
    described = b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + b"\0" * 78
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))
    tags = {
        b"desc": described, b"cprt": b"text\0\0\0\0none\0",
        b"wtpt": _xyz(np.array([0.9642, 1.0, 0.8249])),
        b"rXYZ": _xyz(primaries[:, 0]), b"gXYZ": _xyz(primaries[:, 1]), b"bXYZ": _xyz(primaries[:, 2]),
        b"rTRC": curve, b"gTRC": curve, b"bTRC": curve,
    }  # fmt: skip
    table, body = b"", b""
    start = 128 + 4 + 12 * len(tags)
    for key, data in tags.items():
        data += b"\0" * (-len(data) % 4)
        table += key + struct.pack(">II", start + len(body), len(data))
        body += data
    size = start + len(body)
    head = struct.pack(">I4sI4s4s4s", size, b"none", 0x02400000, b"mntr", b"RGB ", b"XYZ ")
    head += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + b"\0" * 28
    head += struct.pack(">3i", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def in_srgb(pixels: np.ndarray, primaries: np.ndarray, gamma: float) -> np.ndarray:
    """What such samples are in sRGB, by the formulas: uint8 [..., 3] to float [..., 3] in 0 to 255."""
    light = (pixels / 255.0) ** gamma
    linear = np.clip(light @ (np.linalg.inv(SRGB) @ primaries).T, 0, 1)
    curved = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return 255 * curved
