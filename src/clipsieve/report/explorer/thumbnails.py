"""The images behind the cells: what is told of them, and their thumbnails, as many as fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from clipsieve import families
from clipsieve.errors import UserError
from clipsieve.io.scores import AllScores, read_scores
from clipsieve.report.explorer.contents import PARTS, Axes
from clipsieve.report.explorer.details import BINS, SUREST, Details, details_of
from clipsieve.report.explorer.packing import Packing
from clipsieve.report.facts import Facts
from clipsieve.report.frames import rows_of
from clipsieve.report.html.gallery import Thumbnails
from clipsieve.report.reading import origin, read_tables


def add_details(
    packing: Packing,
    paths: Sequence[Path],
    manifest: Path,
    thumbnails: Thumbnails,
    axes: Axes,
    facts: Facts,
    *,
    room: Callable[[], int],
    most: int,
) -> dict[str, Any]:
    """Add distributions and surest images of the first seed, encoder by encoder.

    Parameters
    ----------
    paths
        Score files.
    manifest
        The run's manifest.
    thumbnails
        Makes them.
    room
        Tells how many bytes all thumbnails together may have, after everything else is added.
    most
        How many there may be. Images that most cells of the baseline name come first; the page
        names the others.
    """
    seed = axes.seeds[0]
    by_encoder: dict[str, list[Path]] = {}
    for path in paths:
        of = origin("scores", path)
        if of.get("seed", seed) == seed:
            by_encoder.setdefault(of.get("encoder", ""), []).append(path)
    pool: dict[str, int] = {}
    uses: dict[str, int] = {}
    told: list[dict[str, Any] | None] = []
    sources: dict[str, str] = {}
    for encoder in axes.encoders:
        if not by_encoder.get(encoder):
            told.append(None)
            continue
        scores = read_scores(by_encoder[encoder])
        images = scores.images
        sources |= dict(zip(images.image_set.tolist(), images.source.tolist(), strict=True))
        details = details_of(scores, axes.generators)
        _count_uses(details, scores, pool, uses)
        told.append(_add(packing, details, scores, pool, axes.encoders.index(encoder)))
    shown = _add_thumbnails(packing, pool, uses, manifest, thumbnails, room(), most)
    return {
        "details": {"seed": seed, "bins": BINS, "surest": SUREST, "encoders": told},
        "sources": [sources.get(g, "") for g in axes.generators],
        "images": shown,
    }


def _count_uses(
    details: Details, scores: AllScores, pool: dict[str, int], uses: dict[str, int]
) -> None:
    """Give each image that a cell names its place, and count how many places name it."""
    for s, name in enumerate(details.feature_sets):
        weight = 1000 if name == families.BASELINE else 1
        named = details.surest[s]
        for index, count in zip(*np.unique(named[named >= 0], return_counts=True), strict=True):
            image = str(scores.images.image_id[index])
            pool.setdefault(image, len(pool))
            uses[image] = uses.get(image, 0) + weight * int(count)


def _add(
    packing: Packing, details: Details, scores: AllScores, pool: dict[str, int], encoder: int
) -> dict[str, Any]:
    places = np.array([pool.get(str(image), -1) for image in scores.images.image_id])
    surest = np.where(details.surest >= 0, places[details.surest], -1)
    # logits have no bound: their parts of one depend on the largest of them
    largest = np.nanmax(np.abs(np.append(details.edges, details.threshold)), initial=1)
    packing.numbers(f"edges{encoder}", details.edges, 32000 / largest)
    packing.numbers(f"threshold{encoder}", details.threshold, 32000 / largest)
    # two bytes a bin: a taller one is drawn as tall as this
    packing.indices(f"bins{encoder}", np.minimum(details.counts, 65_534))
    packing.indices(f"surest{encoder}", surest)
    packing.numbers(f"sure{encoder}", details.probability, PARTS)
    return {"sets": details.feature_sets, "image_sets": details.image_sets}


def _add_thumbnails(
    packing: Packing,
    pool: dict[str, int],
    uses: dict[str, int],
    manifest: Path,
    thumbnails: Thumbnails,
    limit: int,
    most: int,
) -> list[dict[str, Any]]:
    """Add thumbnails of the images that are named most; return what is told of every image."""
    known = {row["image_id"]: row for row in rows_of(read_tables("manifest", [manifest]))}
    missing = [image for image in pool if image not in known]
    if missing:
        raise UserError(f"{manifest}: image {missing[0]!r} has scores but no row here")
    made: list[bytes] = []
    place: dict[str, int] = {}
    left = limit
    for image in sorted(pool, key=lambda image: (-uses[image], image))[:most]:
        data = thumbnails.jpeg(str(known[image]["path"]))
        if len(data) > left:
            break
        left -= len(data)
        place[image] = len(made)
        made.append(data)
    packing.raw("thumbnails", made)
    return [
        {
            "id": image,
            "set": str(known[image]["image_set"]),
            "about": f"{int(known[image]['width'])} × {int(known[image]['height'])}"
            f" {known[image]['format']}",
            "thumbnail": place.get(image, -1),
        }
        for image in pool
    ]
