"""Directions of known edits of real images: what a blur, or a JPEG, does to the embedding."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from clipsieve.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray


def match_edited(
    source_ids: Sequence[str], edited_ids: Sequence[str]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Find which edited image comes from which source image.

    Parameters
    ----------
    source_ids, edited_ids : sequence of str
        Image ids ``<image_set>/<path in the folder>``. The image sets differ; the path is the same,
        but for the extension where the edit changed the file format.

    Returns
    -------
    (source, edited) : two int64 arrays of the same length
        Positions that belong together, in the order of the source.

    Raises
    ------
    UserError
        If two images of one side have the same path without extension, or none belong together.
    """
    source = _by_stem(source_ids)
    edited = _by_stem(edited_ids)
    common = [stem for stem in source if stem in edited]
    if not common:
        raise UserError(
            f"edited images: none of {len(edited)} has the path of one of the {len(source)} source"
            f" images (for example {edited_ids[0] if len(edited_ids) else 'nothing'!r} and"
            f" {source_ids[0] if len(source_ids) else 'nothing'!r})"
        )
    return (
        np.array([source[stem] for stem in common], dtype=np.int64),
        np.array([edited[stem] for stem in common], dtype=np.int64),
    )


def _by_stem(ids: Sequence[str]) -> dict[str, int]:
    """Map each image's path, without image set and extension, to its position."""
    found: dict[str, int] = {}
    for position, image_id in enumerate(ids):
        path = image_id.partition("/")[2] or image_id
        folder, slash, name = path.rpartition("/")
        stem = folder + slash + (name.rpartition(".")[0] or name)
        if stem in found:
            raise UserError(
                f"edited images: {image_id!r} and {ids[found[stem]]!r} have the same path but for"
                " the extension, so their edited versions can't be distinguished"
            )
        found[stem] = position
    return found


def edit_direction(source: ArrayLike, edited: ArrayLike) -> NDArray[np.float64]:
    """Return the mean change of the embedding under an edit, float64 [D].

    Parameters
    ----------
    source, edited : array_like, shape [n, D]
        Embeddings of the same n images before and after the edit, in the same order.

    Raises
    ------
    ValueError
        If the shapes differ or the edit changed no embedding.
    """
    before, after = np.asarray(source, np.float64), np.asarray(edited, np.float64)
    if before.shape != after.shape or before.ndim != 2 or not len(before):
        raise ValueError(f"shapes {before.shape} and {after.shape} are not the same images")
    change = (after - before).mean(axis=0)
    if not np.linalg.norm(change) > 1e-9 * np.linalg.norm(before.mean(axis=0)):
        raise ValueError("the edit changed no embedding")
    return change
