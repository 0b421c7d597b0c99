"""Image sets that are embedded in parts: ranges of the image table, and the file that joins them.

A part holds the rows of a range of fixed size, so images that are added at the end of a table touch
its last part alone. Joined by copying, the file has the bytes that one job over the whole table
would have written. Joined virtually it has ids and hashes of its own, and its arrays are views into
the parts (an HDF5 virtual dataset); whoever reads it sees no difference.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from clipsieve.errors import UserError
from clipsieve.io import hdf5, store
from clipsieve.io.files import replacing

#: Rows that are copied at a time: those that `clipsieve embed` writes at a time.
ROWS = 256
_ARRAYS = ("embedding", "heads", "layers")


def number_of_parts(images: int, size: int | None) -> int:
    """Return how many parts a set of so many images has; 1 where it is not divided.

    Examples
    --------
    >>> number_of_parts(1000, 300), number_of_parts(300, 300), number_of_parts(1000, None)
    (4, 1, 1)
    """
    return 1 if size is None else max(1, -(-images // size))


def join(paths: Sequence[str | Path], output: str | Path, *, virtual: bool = False) -> int:
    """Join the parts of an image set, in their order.

    Parameters
    ----------
    paths
        Files of `store.write_embeddings` by one encoder; parts without images are allowed.
    output
        The file to write; it appears whole, by rename.
    virtual
        Whether the arrays stay in the parts, which must then be kept, at the same place relative to
        the output.

    Returns
    -------
    int
        Number of images.

    Raises
    ------
    UserError
        A part is missing or damaged; the parts are of different encoders or image sets, or disagree
        on what is cached; no part has an image; an image is in two parts.
    """
    if not paths:
        raise UserError("--parts: no part is given")
    attributes = store.read_attributes(paths[0])
    for path in paths[1:]:
        _require_same(path, store.read_attributes(path), paths[0], attributes)
    filled = [(Path(path), ids) for path in paths if len(ids := _ids(path))]
    if not filled:
        raise UserError(f"{output}: no part has an image")
    ids = np.concatenate([part for _, part in filled])
    if len(set(ids)) < len(ids):
        raise UserError(f"{output}: an image is in two parts")
    whole = {
        "image_id": ids.tolist(),
        "image_sha256": np.concatenate([store.read_image_sha256(p) for p, _ in filled]).tolist(),
        "head_basis": store.read_head_basis(filled[0][0])
        if store.has_heads(filled[0][0])
        else None,
        "attributes": {k: v for k, v in attributes.items() if k not in ("kind", "format_version")},
    }
    if virtual:
        _write_virtual(output, filled, whole)
    else:
        _write_copy(output, filled, whole)
    return len(ids)


def _ids(path: str | Path) -> np.ndarray:
    with hdf5.opened(path, "embeddings") as file:
        return hdf5.read_strings(file, "image_id")


def _require_same(
    path: str | Path, mine: dict[str, Any], first: str | Path, wanted: dict[str, Any]
) -> None:
    different = sorted(k for k in mine.keys() | wanted.keys() if mine.get(k) != wanted.get(k))
    if different:
        raise UserError(f"{path}: {different[0]} is not that of {first}; parts are of one encoder")


def _write_copy(
    output: str | Path, filled: Sequence[tuple[Path, np.ndarray]], whole: dict[str, Any]
) -> None:
    with hdf5.opened(filled[0][0], "embeddings") as file:
        there = [name in file for name in _ARRAYS]
    copies = itertools.tee(_blocks(filled), len(_ARRAYS))
    arrays: dict[str, Any] = {
        name: _column(copy, name)
        for name, copy, kept in zip(_ARRAYS, copies, there, strict=True)
        if kept
    }
    store.write_embeddings(output, **whole, **arrays)


def _column(blocks: Iterator[dict[str, np.ndarray]], name: str) -> Iterator[np.ndarray]:
    return (block[name] for block in blocks)


def _blocks(filled: Sequence[tuple[Path, np.ndarray]]) -> Iterator[dict[str, np.ndarray]]:
    """Yield the arrays that there are, `ROWS` rows of the whole at a time across the parts."""
    places = [(k, row) for k, (_, ids) in enumerate(filled) for row in range(len(ids))]
    for start in range(0, len(places), ROWS):
        pieces: dict[str, list[np.ndarray]] = {}
        for k, group in itertools.groupby(places[start : start + ROWS], lambda place: place[0]):
            rows = np.array([row for _, row in group])
            found = store.read_rows(filled[k][0], rows)
            for name, array in zip(_ARRAYS, found, strict=True):
                if array is not None:
                    pieces.setdefault(name, []).append(array)
        yield {name: np.concatenate(arrays) for name, arrays in pieces.items()}


def _write_virtual(
    output: str | Path, filled: Sequence[tuple[Path, np.ndarray]], whole: dict[str, Any]
) -> None:
    import h5py

    folder = Path(output).parent
    names = [os.path.relpath(path, folder) for path, _ in filled]
    total = len(whole["image_id"])
    with replacing(output) as temporary, hdf5.create(temporary, virtual=True) as file:
        hdf5.strings(file, "image_id", whole["image_id"])
        hdf5.strings(file, "image_sha256", whole["image_sha256"])
        for array in _ARRAYS:
            layout = None
            row = 0
            for name, (path, ids) in zip(names, filled, strict=True):
                with hdf5.opened(path, "embeddings") as part:
                    if array not in part:
                        continue
                    shape, dtype = part[array].shape, part[array].dtype
                if layout is None:
                    layout = h5py.VirtualLayout((total, *shape[1:]), dtype)
                layout[row : row + len(ids)] = h5py.VirtualSource(name, array, shape, dtype)
                row += len(ids)
            if layout is not None and row != total:
                raise UserError(f"{output}: only some parts hold {array}")
            if layout is not None:
                # what a part that is gone would have held is refused, not read as zeros
                file.create_virtual_dataset(array, layout, fillvalue=np.nan)
        if whole["head_basis"] is not None:
            store.write_by_head(file, "head_basis", whole["head_basis"])
        hdf5.set_attributes(file, "embeddings", {**whole["attributes"], hdf5.PARTS: names})
