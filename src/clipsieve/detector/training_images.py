"""What the training images were like, and in what a new picture differs from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def likeness(embeddings: NDArray, mean: NDArray) -> NDArray[np.float64]:
    """Return the cosine of each row [n, D] with `mean` [D]; 0 for a row of zeros."""
    rows, centre = np.asarray(embeddings, np.float64), np.asarray(mean, np.float64)
    lengths = np.linalg.norm(rows, axis=1) * np.linalg.norm(centre)
    return np.divide(
        (rows * centre).sum(axis=1), lengths, out=np.zeros(len(rows)), where=lengths > 0
    )


def file_warnings(facts: Mapping[str, Any], training: Mapping[str, Any]) -> list[str]:
    """Say in what a file differs from those that the detector was trained on.

    Parameters
    ----------
    facts : mapping
        `format`, `mode`, `width`, `height`, `bytes`, `jpeg_quality`, `is_constant` of the file.
    training : mapping
        From `training_facts`.
    """
    found = []
    # an image that came as pixels has no format, and no mode or size of a file
    counts = training["formats"].get(facts["format"]) if facts.get("format") else {"pixels": 1}
    if counts is None:
        known = ", ".join(sorted(training["formats"]))
        found.append(f"format {facts['format']}: trained only on {known}")
    elif 0 in counts.values():
        label = "generated" if counts["real"] == 0 else "real"
        found.append(
            f"format {facts['format']}: every training image of this format was {label}, so the"
            " verdict may follow the format"
        )
    if facts.get("mode") is not None and facts["mode"] not in training["modes"]:
        known = ", ".join(training["modes"])
        found.append(f"colour mode {facts['mode']}: trained only on {known}")
    for name, unit in (("width", "px wide"), ("height", "px high")):
        low, high = training[name]
        if not low <= facts[name] <= high:
            found.append(f"{facts[name]} {unit}: trained on {_span(low, high)}")
    quality = training["jpeg_quality"]
    if facts.get("jpeg_quality") is not None and quality is not None:
        low, high = quality
        if not low <= facts["jpeg_quality"] <= high:
            found.append(f"JPEG quality {facts['jpeg_quality']}: trained on {_span(low, high)}")
    low, high = training["bytes_per_pixel"]
    rate = facts["bytes"] / (facts["width"] * facts["height"]) if facts.get("bytes") else low
    # File sizes vary with content, so only those far out are named.
    if not low / 2 <= rate <= high * 2:
        found.append(f"{rate:.3g} bytes a pixel: trained on {low:.3g} to {high:.3g}")
    if facts.get("is_constant"):
        found.append("the picture is of one colour")
    return found


def _span(low: float, high: float) -> str:
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def training_facts(table: Any) -> dict[str, Any]:
    """Sum up the files of the training images.

    Parameters
    ----------
    table : DataFrame
        `label` (0 = generated, 1 = real), `format`, `mode`, `width`, `height`, `bytes`,
        `jpeg_quality` of each.

    Returns
    -------
    dict
        `formats` (number of generated and real files of each), `modes`, ranges of `width`,
        `height`, `bytes_per_pixel` and `jpeg_quality` (None without JPEGs), `n_generated`,
        `n_real`.
    """
    real = table["label"] == 1
    rate = table["bytes"] / (table["width"] * table["height"])
    quality = table["jpeg_quality"].dropna()
    formats = {
        str(name): {
            "generated": int(((table["format"] == name) & ~real).sum()),
            "real": int(((table["format"] == name) & real).sum()),
        }
        for name in sorted(table["format"].unique())
    }
    return {
        "formats": formats,
        "modes": sorted(str(mode) for mode in table["mode"].unique()),
        "width": [int(table["width"].min()), int(table["width"].max())],
        "height": [int(table["height"].min()), int(table["height"].max())],
        "bytes_per_pixel": [float(rate.min()), float(rate.max())],
        "jpeg_quality": [int(quality.min()), int(quality.max())] if len(quality) else None,
        "n_generated": int((~real).sum()),
        "n_real": int(real.sum()),
    }
