"""A card for each image set: how many images, of what sizes and formats, and what is wrong with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clipsieve.report.facts import Facts
from clipsieve.report.frames import leading
from clipsieve.report.html.page import Cell, Content, Section, Table, integer
from clipsieve.report.reading import Inputs

if TYPE_CHECKING:
    import pandas as pd

_MOST = 5


def cards_page(inputs: Inputs, facts: Facts) -> tuple[Content, pd.DataFrame]:
    """Build the page of the image sets' cards, one section a set."""
    import pandas as pd

    manifest = inputs["manifest"]
    # one row an image: the manifest has one for each seed
    images = manifest.drop_duplicates("image_id")
    generators = set(images["generator"].dropna())
    sets = list(dict.fromkeys(images["image_set"]))
    order = [s for s in sets if s not in generators] + facts.order(
        s for s in sets if s in generators
    )
    sections, rows = [], []
    for image_set in order:
        found = card(images[images["image_set"] == image_set])
        title = facts.title(image_set) if image_set in generators else image_set
        kind = "generated" if image_set in generators else "real"
        body = [[Cell(name), Cell(text)] for name, text in card_lines(found)]
        heading = f"{title} ({kind})"
        sections.append(Section(heading, tables=[Table([("", "", ""), ("", "", "")], body)]))
        rows.append({"image_set": image_set, **{k: _flat(v) for k, v in found.items()}})
    page = Content(
        ["What each image set consists of, as its files were when they were scanned."], sections
    )
    return page, leading(pd.DataFrame(rows), ("image_set", "images", "usable"))


def card(images: pd.DataFrame) -> dict[str, Any]:
    """Return the facts of one image set.

    Parameters
    ----------
    images
        Its rows of an image table or manifest, one row an image.

    Returns
    -------
    dict
        Numbers of `images`, `usable` ones and `groups`; `sizes`, `formats` and `problems`, most
        frequent first; `bytes` and `quality` as least, median and most (None where no image has
        any); `identical` files beyond the first of their kind, and `blank` ones.
    """
    good = images[images["problem"].isna()]
    width, height = (good[side].astype("Int64").astype(str) for side in ("width", "height"))
    return {
        "images": len(images),
        "usable": len(good),
        "groups": int(good["group"].nunique()),
        "sizes": _most(width + " x " + height),
        "formats": _most(good["format"]),
        "bytes": _span(good["bytes"]),
        "quality": _span(good["jpeg_quality"]),
        "identical": int(good["sha256"].duplicated().sum()),
        "blank": int(good["is_constant"].astype("boolean").fillna(False).sum()),
        "problems": _most(images["problem"].dropna()),
    }


def card_lines(found: dict[str, Any]) -> list[tuple[str, str]]:
    """Return a card as names and texts."""

    def span(value: tuple[float, float, float] | None) -> str:
        return "none" if value is None else f"{value[0]:g} to {value[2]:g}, median {value[1]:g}"  # fmt: skip

    lines = [
        ("Images", f"{integer(found['usable'])} usable of {integer(found['images'])}"),
        ("Groups", integer(found["groups"])),
        ("Formats", _flat(found["formats"])),
        ("Width x height", _flat(found["sizes"])),
        ("Bytes", span(found["bytes"])),
        ("JPEG quality", span(found["quality"])),
        ("Repeated files", integer(found["identical"])),
        ("Images of a single colour", integer(found["blank"])),
    ]
    return [*lines, ("Problems", _flat(found["problems"]) or "none")]


def _most(values: pd.Series) -> dict[str, int]:
    """Most frequent values with their numbers; the others together as the last."""
    counts = values.astype(str).value_counts()
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    found = {str(name): int(n) for name, n in ordered[:_MOST]}
    if rest := sum(int(n) for _, n in ordered[_MOST:]):
        found[f"{len(ordered) - _MOST} others"] = rest
    return found


def _span(values: pd.Series) -> tuple[float, float, float] | None:
    known = values.dropna().astype(float)
    return (known.min(), known.median(), known.max()) if len(known) else None


def _flat(value: Any) -> Any:
    if isinstance(value, dict):
        return ", ".join(f"{name}: {n}" for name, n in value.items())
    if isinstance(value, tuple):
        return " ".join(f"{x:g}" for x in value)
    return value
