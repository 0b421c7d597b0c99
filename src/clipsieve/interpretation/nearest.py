"""Directions in the joint space, and the texts that lie nearest to and farthest from each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from clipsieve.interpretation.nulls import unit_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray

KINDS = ("probe", "pattern", "residual", "head")


@dataclass(frozen=True)
class Direction:
    """A direction in the joint space whose positive end is the generated images'.

    Attributes
    ----------
    kind : {"probe", "pattern", "residual", "head"}
    name : str
        The generator, or ``l<layer>_h<head>``.
    feature_set : str
        The feature set that it belongs to.
    vector : float64 [D]
        Any length but zero.
    columns : tuple of int, optional
        The columns that the probe sees; its vector is zero elsewhere. None: all.
    """

    kind: str
    name: str
    feature_set: str
    vector: NDArray[np.float64]
    columns: tuple[int, ...] | None = None


def probe_direction(coef: ArrayLike, columns: ArrayLike | None, dimensions: int) -> NDArray:
    """Return the direction [D] along which a probe's probability of *generated* rises.

    Parameters
    ----------
    coef : array_like, shape [len(columns)]
        Weights of a probe with the labels 0 = generated, 1 = real, so the direction is their
        negative.
    columns : array_like of int, or None for all
        Columns of the embedding that the weights belong to; the others get zero.
    dimensions : int
        D.
    """
    weights = np.asarray(coef, dtype=np.float64).ravel()
    vector = np.zeros(dimensions)
    if columns is None:
        if len(weights) != dimensions:
            raise ValueError(f"{len(weights)} weights for an embedding of {dimensions} columns")
        vector[:] = -weights
    else:
        vector[np.asarray(columns, dtype=np.int64)] = -weights
    return vector


def head_direction(
    generated: ArrayLike, real: ArrayLike, projection: ArrayLike, *, mode: str = "mean"
) -> NDArray[np.float64]:
    """Return a head's output in the joint space, averaged over images: P W_O z, shape [D].

    Parameters
    ----------
    generated, real : array_like, shape [d_head]
        The head's cached output averaged over generated images and over real ones.
    projection : array_like, shape [D, d_head]
        P W_O of this head.
    mode : {"mean", "difference"}, default "mean"
        ``mean``: the average output, both labels weighing the same (what the head writes on the
        images; the paper's Table 2 compares the mapped outputs themselves with texts).
        ``difference``: generated minus real (what of it tells them apart).
    """
    ours, theirs = np.asarray(generated, np.float64), np.asarray(real, np.float64)
    if mode == "mean":
        between = (ours + theirs) / 2
    elif mode == "difference":
        between = ours - theirs
    else:
        raise ValueError(f"mode is mean or difference, not {mode!r}")
    return np.asarray(projection, dtype=np.float64) @ between


@dataclass(frozen=True)
class Ranked:
    """One direction's texts at one side: indices [k] and cosines [k], the most extreme first."""

    side: str
    indices: NDArray[np.int64]
    cosines: NDArray[np.float64]


def nearest_texts(
    directions: ArrayLike, texts: ArrayLike, *, top: int = 10
) -> Iterator[tuple[Ranked, Ranked]]:
    """Rank texts by their cosine with each direction.

    Parameters
    ----------
    directions : array_like, shape [K, D]
        Any length; the cosine with a zero vector is 0.
    texts : array_like, shape [T, D]
        Text embeddings without repeats (see `first_of_each`).
    top : int, default 10
        Texts at either side (at most T).

    Yields
    ------
    (nearest, farthest)
        One pair a direction, in order. Ties go to the earlier text.
    """
    goals = unit_rows(texts, np.float32)
    keep = min(top, len(goals))
    for row in unit_rows(directions, np.float32):
        cosines = (goals @ row).astype(np.float64)
        high = _first_sorted(-cosines, keep)
        low = _first_sorted(cosines, keep)
        yield (
            Ranked("nearest", high, cosines[high]),
            Ranked("farthest", low, cosines[low]),
        )


def _first_sorted(values: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """Return where the `count` smallest values are, ascending, ties by position."""
    limit = np.partition(values, count - 1)[count - 1]
    candidates = np.flatnonzero(values <= limit)
    return candidates[np.argsort(values[candidates], kind="stable")][:count]


def first_of_each(duplicate_of: ArrayLike) -> NDArray[np.int64]:
    """Return the indices of the texts that repeat no other (`duplicate_of` is -1 there).

    A vocabulary holds the same word many times (with and without the end-of-word mark, in capitals,
    with punctuation); without merging, the five nearest texts can be one word five times.
    """
    return np.flatnonzero(np.asarray(duplicate_of) < 0)
