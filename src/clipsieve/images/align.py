"""Bring pictures to one size and one file format, so that neither tells the classes apart.

How a picture reaches the size matters too: enlarging, reducing and leaving as it is each have their
own trace in the spectrum. The methods differ in what is the same for real and generated images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from clipsieve.errors import UserError
from clipsieve.images.decode import ImageProblem
from clipsieve.images.encode import jpeg_bytes, png_bytes, webp_bytes
from clipsieve.images.scan import usable
from clipsieve.images.splits import group_position

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from PIL import Image

#: Format -> suffix of its files.
FORMATS = {"png": ".png", "jpeg": ".jpg", "webp": ".webp"}
#: How a picture reaches the size.
METHODS = ("common_scale", "crop", "size_matched", "resize")
#: Shares of enlarged, reduced and untouched pictures that differ by this much between the classes
#: are worth a warning.
UNLIKE = 0.1


@dataclass(frozen=True)
class Plan:
    """What is done to the pictures of one image set.

    Attributes
    ----------
    scale
        The one factor of all pictures, or None where each has its own: that which brings its shorter
        side to the size.
    kept
        Ids of the images that are used, or None for all.
    """

    scale: float | None = None
    kept: frozenset[str] | None = None


def plan(method: str, size: int, images: pd.DataFrame, peers: Sequence[pd.DataFrame]) -> Plan:
    """Decide what the method does to an image set.

    Parameters
    ----------
    method
        ``resize``: each picture's shorter side is brought to `size`. ``crop``: no resizing at all.
        ``common_scale``: one factor for the set, its source and all generators of the source: the
        one that brings the smallest picture to `size`. ``size_matched``: a subset in which each of
        these sets has the same sizes in the same shares, then as ``resize``.
    size
        Side of the square in pixels.
    images
        Image table of the set, of the files as they were.
    peers
        Image tables of all sets with this source, the set itself among them; for ``common_scale``
        and ``size_matched``.

    Raises
    ------
    UserError
        For an unknown method, absent peers, or sets that have no size in common.
    """
    if method not in METHODS:
        raise UserError(f"align: method is {method!r}; allowed: {', '.join(METHODS)}")
    if method == "resize":
        return Plan()
    if method == "crop":
        return Plan(scale=1.0)
    sets = [usable(table) for table in peers]
    names = {str(name) for table in sets for name in table["image_set"].unique()}
    own = str(images["image_set"].iloc[0])
    if own not in names:
        raise UserError(
            f"align: {method} needs the image tables of all sets with the source of {own}, its own"
            " among them (--peers)"
        )
    if method == "common_scale":
        return Plan(scale=size / min(int(shorter_side(table).min()) for table in sets))
    return Plan(kept=_matched([table for table in sets if len(table)], own))


def shorter_side(images: pd.DataFrame) -> pd.Series:
    """Shorter side of each image in pixels, int64."""
    return images[["width", "height"]].astype("int64").min(axis=1)


def _matched(sets: Sequence[pd.DataFrame], own: str) -> frozenset[str]:
    """Ids of the images of set `own` in the largest subset with the same shares of each size.

    Which images of a size stay follows from their groups' names, so that sets that are paired by
    group stay paired.
    """
    counts = [shorter_side(table).value_counts() for table in sets]
    common = set.intersection(*(set(count.index) for count in counts))
    if not common:
        seen = "; ".join(
            f"{table['image_set'].iloc[0]} {count.index.min()} to {count.index.max()}"
            for table, count in zip(sets, counts, strict=True)
        )
        raise UserError(
            f"align: size_matched finds no shorter side that every set has ({seen} pixels); use"
            " common_scale or crop"
        )
    share = {side: min(count[side] / count.sum() for count in counts) for side in sorted(common)}
    position = next(k for k, table in enumerate(sets) if table["image_set"].iloc[0] == own)
    table, count = sets[position], counts[position]
    total = min(count[side] / share[side] for side in share)
    order = table.assign(
        side=shorter_side(table),
        place=[group_position(0, str(group)) for group in table["group"]],
    ).sort_values(["place", "image_id"])
    kept: list[str] = []
    for side, part in share.items():
        # half an image up, as a size with few images would otherwise vanish from a small set
        n = min(int(total * part + 0.5), int(count[side]))
        kept += order.loc[order["side"] == side, "image_id"].head(n).tolist()
    return frozenset(map(str, kept))


def aligned(
    image: Image.Image,
    *,
    size: int,
    file_format: str = "jpeg",
    quality: int = 95,
    scale: float | None = None,
) -> bytes:
    """Return a picture as a file of one size and format.

    The picture is resized by the factor `scale` (bicubic, antialiased; not at all for 1) and the
    middle square is kept. With ``jpeg`` and ``webp`` every picture, real or generated, goes through
    the same encoder at the same quality.

    Parameters
    ----------
    image
        The picture.
    size
        Side of the square in pixels, at least 16.
    file_format
        ``png``, ``jpeg`` or ``webp``.
    quality
        1 to 100; not used for PNG.
    scale
        None: the factor that brings the shorter side to `size`.

    Raises
    ------
    UserError
        For a size, format or quality out of range.
    ImageProblem
        The picture is smaller than the square after scaling.
    """
    check_options(size, file_format, quality)
    rgb = image.convert("RGB")
    square = _resized(rgb, size) if scale is None else _scaled(rgb, size, scale)
    if file_format == "png":
        return png_bytes(square)
    return jpeg_bytes(square, quality) if file_format == "jpeg" else webp_bytes(square, quality)


def _resized(rgb: Image.Image, size: int) -> Image.Image:
    """Bring the shorter side to `size` and keep the middle square."""
    from PIL import Image

    shorter = min(rgb.size)
    if shorter != size:
        scaled = [max(size, round(side * size / shorter)) for side in rgb.size]
        rgb = rgb.resize((scaled[0], scaled[1]), Image.Resampling.BICUBIC)
    return _middle(rgb, size)


def _scaled(rgb: Image.Image, size: int, scale: float) -> Image.Image:
    """Keep the middle square of the picture scaled by a factor."""
    from PIL import Image

    shorter = min(rgb.size)
    if round(shorter * scale) < size:
        at = "" if scale == 1 else f" at the scale {scale:.3g}"
        raise ImageProblem(f"shorter side of {shorter} pixels: less than align keeps ({size}{at})")
    if scale == 1:
        return _middle(rgb, size)
    # the part that is kept, in pixels of the original: the whole need not fit in memory enlarged
    side = min(size / scale, shorter)
    left, top = (rgb.width - side) / 2, (rgb.height - side) / 2
    box = (left, top, left + side, top + side)
    return rgb.resize((size, size), Image.Resampling.BICUBIC, box=box)


def _middle(rgb: Image.Image, size: int) -> Image.Image:
    left, top = (rgb.width - size) // 2, (rgb.height - size) // 2
    return rgb.crop((left, top, left + size, top + size))


def check_options(size: int, file_format: str, quality: int) -> None:
    """Refuse options that `aligned` can't follow (UserError)."""
    if file_format not in FORMATS:
        raise UserError(f"align: format is {file_format!r}; allowed: {', '.join(FORMATS)}")
    if size < 16:
        raise UserError(f"align: size is {size}; it must be at least 16 pixels")
    if not 1 <= quality <= 100:
        raise UserError(f"align: quality is {quality}; it must lie between 1 and 100")


def treatment(scale: pd.Series) -> dict[str, float]:
    """Return the shares of images that were ``enlarged``, ``reduced`` and left ``untouched``."""
    known = scale.dropna().astype(float)
    parts = {
        "enlarged": (known > 1).mean(),
        "reduced": (known < 1).mean(),
        "untouched": (known == 1).mean(),
    }
    return {name: float(share) for name, share in parts.items()}


def unlike_treatment(real: pd.Series, generated: pd.Series) -> str | None:
    """Say in words how the classes were resampled differently; None where they were not.

    Parameters
    ----------
    real, generated
        ``align_scale`` of the images of both classes (all null where nothing was aligned).
    """
    if real.notna().sum() == 0 or generated.notna().sum() == 0:
        return None
    shares = {"real": treatment(real), "generated": treatment(generated)}
    apart = {k: abs(shares["real"][k] - shares["generated"][k]) for k in shares["real"]}
    if max(apart.values()) < UNLIKE:
        low, high = sorted((float(real.median()), float(generated.median())))
        if high / low < 1 + UNLIKE:
            return None
        return (
            f"real images were resized by {real.median():.2f} (median), generated ones by"
            f" {generated.median():.2f}"
        )
    said = [
        f"{name} images: " + ", ".join(f"{100 * v:.0f} % {k}" for k, v in share.items() if v > 0)
        for name, share in shares.items()
    ]
    return "; ".join(said)
