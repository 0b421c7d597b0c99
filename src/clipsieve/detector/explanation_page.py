"""An explanation as one HTML page that needs nothing else: picture, heat map, parts, words."""

from __future__ import annotations

import base64
import io
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from clipsieve.detector.explanation import Explanation, largest
from clipsieve.detector.pictures import shown
from clipsieve.io.files import replacing

if TYPE_CHECKING:
    from clipsieve.detector.judging import Judge
    from clipsieve.detector.pictures import ImageLike

PAGES = Path(__file__).parent / "pages"


def encoder_view(judge: Judge, source: ImageLike) -> str:
    """Return what the encoder sees of an image, resized and cropped, as a `data:` address of a PNG."""
    from PIL import Image

    pixels = judge.encoder.preprocess(judge.open(source).image).numpy()
    settings = judge.encoder.identity["preprocessing"]
    mean, std = (np.array(settings[name])[:, None, None] for name in ("mean", "std"))
    values = np.clip((pixels * std + mean) * 255.0 + 0.5, 0, 255).astype(np.uint8)
    kept = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(values.transpose(1, 2, 0))).save(kept, "PNG")
    return "data:image/png;base64," + base64.b64encode(kept.getvalue()).decode()


def heat_cells(heat: Sequence[Sequence[float]]) -> list[dict[str, Any]]:
    """Return the patches of a heat map as rectangles in a unit square.

    The opacity grows with the share's size; `speaks_for` is the label that the share speaks for.
    """
    grid = np.asarray(heat, dtype=np.float64)
    most = float(np.abs(grid).max()) or 1.0
    rows, columns = grid.shape
    return [
        {
            "x": column / columns,
            "y": row / rows,
            "width": 1 / columns,
            "height": 1 / rows,
            "opacity": round(0.75 * abs(float(grid[row, column])) / most, 3),
            "speaks_for": "real" if grid[row, column] > 0 else "generated",
            "share": float(grid[row, column]),
        }
        for row in range(rows)
        for column in range(columns)
    ]


def write_page(
    path: str | os.PathLike[str],
    judge: Judge,
    source: str,
    found: Explanation,
    cautions: Sequence[str] = (),
) -> None:
    """Write the explanation of one file's verdict.

    Parameters
    ----------
    path
        The page; it appears whole.
    judge, source, found
        Detector, file and its explanation.
    cautions
        What a reader must know of the detector.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    pages = Environment(
        loader=FileSystemLoader(PAGES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    text = pages.get_template("explanation.html").render(
        path=shown(source),
        found=found,
        view=encoder_view(judge, source),
        cells=heat_cells(found.heat) if found.heat else [],
        divisions=[(division, largest(division)) for division in found.divisions],
        cautions=list(cautions),
        facts=judge.model.facts,
        as_json=json.dumps(found.as_dict(), indent=1),
    )
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
