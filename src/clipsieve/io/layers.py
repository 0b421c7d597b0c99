"""Layers in a file of embeddings: the CLS token, or the pooled tokens, after every block."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from clipsieve.errors import UserError
from clipsieve.io import hdf5
from clipsieve.io.hdf5 import PathLike


def layers_shape(path: PathLike) -> tuple[int, int, int] | None:
    """Return (N, L, width) of the layers in a file, None where it has none."""
    with hdf5.opened(path, "embeddings") as file:
        if "layers" not in file:
            return None
        n, layers, width = file["layers"].shape
        return int(n), int(layers), int(width)


def read_layers(
    path: PathLike, layers: Sequence[int] | None = None, rows: np.ndarray | slice | None = None
) -> np.ndarray:
    """Read layers as float32.

    Parameters
    ----------
    path : path
        A file of `store.write_embeddings`.
    layers : sequence of int, optional
        Which layers, from 0, in the order wanted; all of them by default.
    rows : int array, boolean mask or slice, optional
        Which images, in the order wanted; all of them by default.

    Returns
    -------
    float32 array [n, len(layers), width]

    Raises
    ------
    UserError
        As `store.read_embeddings`, and if the file has no layers or a layer does not exist.
    """
    with hdf5.opened(path, "embeddings") as file:
        if "layers" not in file:
            raise UserError(f"{path}: no layers (an encoder with has_layers: true caches them)")
        dataset = file["layers"]
        n, count, width = dataset.shape
        wanted = range(count) if layers is None else [int(layer) for layer in layers]
        wrong = [layer for layer in wanted if not 0 <= layer < count]
        if wrong:
            raise UserError(f"{path}: no layer {wrong[0]}; layers 0..{count - 1}")
        kept = slice(None) if rows is None else rows
        found = np.empty((len(np.empty(n, bool)[kept]), len(wanted), width), np.float32)
        for place, layer in enumerate(wanted):
            found[:, place] = hdf5.read(dataset, path, "layers", (slice(None), layer))[kept]
        return found
