"""The HDF5 contract: embeddings with head outputs, texts, and what an encoder's heads write.

Files are written once, under a temporary name, and renamed; readers check the format version, the
checksums (fletcher32) and that every number is finite, and name the file when something is wrong.
Nothing here needs torch. Two runs that write the same arrays and attributes write the same bytes:
no timestamps are kept. Locking is off, since a file is never written after it has its name.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from clipsieve.errors import UserError
from clipsieve.io import hdf5
from clipsieve.io.files import replacing
from clipsieve.io.hdf5 import CHUNK_ROWS, PathLike

if TYPE_CHECKING:
    import h5py

#: Rows in an HDF5 chunk of head outputs: one chunk holds the heads of one layer for these rows.
HEAD_CHUNK_ROWS = 64


@dataclass(frozen=True)
class Embeddings:
    """The embeddings of one image set: `image_id` [N] str, `embedding` float32 [N, D]."""

    image_id: np.ndarray
    embedding: np.ndarray
    attributes: dict[str, Any]


@dataclass(frozen=True)
class Texts:
    """The embeddings of a list of texts: `text` [T] str, `embedding` float32 [T, D].

    `duplicate_of` int64 [T] is the index of the text that this one repeats, -1 for a first one.
    """

    text: np.ndarray
    embedding: np.ndarray
    duplicate_of: np.ndarray
    attributes: dict[str, Any]


@dataclass(frozen=True)
class HeadMaps:
    """What turns cached head outputs into other spaces, one matrix a head.

    `head_basis` float32 [L, H, d_head, d_head] is R of `W_O^h = Q R`; `head_projection` float32
    [L, H, D, d_head] leads from the cached numbers to the joint image-text space.
    """

    head_basis: np.ndarray | None
    head_projection: np.ndarray | None
    attributes: dict[str, Any]


def write_embeddings(
    path: PathLike,
    *,
    image_id: Sequence[str],
    embedding: np.ndarray | Iterable[np.ndarray],
    heads: np.ndarray | Iterable[np.ndarray] | None = None,
    head_basis: np.ndarray | None = None,
    layers: np.ndarray | Iterable[np.ndarray] | None = None,
    image_sha256: Sequence[str] | None = None,
    attributes: Mapping[str, Any] | None = None,
) -> None:
    """Write the embeddings (and head outputs) of one image set.

    Parameters
    ----------
    path : path
        The file; it appears whole, by rename.
    image_id : sequence of str, length N
        Unique ids, one a row.
    embedding : float array [N, D], or an iterable of blocks [n_i, D]
        Blocks are written as they come, so the whole array need not be in memory. `embedding`,
        `heads` and `layers` as iterables are read in step, one block of each at a time.
    heads : float32 or float16 array [N, L, H, d_head], or an iterable of blocks, optional
        Stored in the type that is given.
    head_basis : float array [L, H, d_head, d_head], optional
        Required with `heads`.
    layers : float32 or float16 array [N, L, width], or an iterable of blocks, optional
        The token after each block, stored in the type that is given.
    image_sha256 : sequence of str, length N, optional
        The sha256 of each image file.
    attributes : mapping, optional
        Numbers, strings, or anything JSON can hold (kept as JSON text).

    Raises
    ------
    ValueError
        If shapes disagree, ids repeat, or a number is NaN or infinite.
    """
    ids = [str(i) for i in image_id]
    if len(set(ids)) != len(ids):
        raise ValueError("image_id: an id occurs twice")
    if (heads is None) != (head_basis is None):
        raise ValueError("heads and head_basis: pass both or neither")
    embeddings = [embedding] if isinstance(embedding, np.ndarray) else embedding
    head_blocks, layer_blocks = map(_blocks, (heads, layers))
    with replacing(path) as temporary, hdf5.create(temporary) as file:
        hdf5.strings(file, "image_id", ids)
        if image_sha256 is not None:
            hdf5.strings(file, "image_sha256", [str(s) for s in image_sha256])
        row = 0
        for block, *more in zip(embeddings, head_blocks, layer_blocks, strict=False):
            parts = dict(zip(("heads", "layers"), more, strict=True))
            row = _append(file, row, np.asarray(block, np.float32), parts, len(ids))
        if row != len(ids):
            raise ValueError(f"embedding: {row} rows for {len(ids)} ids")
        if head_basis is not None:
            write_by_head(file, "head_basis", head_basis)
        hdf5.set_attributes(file, "embeddings", attributes)


def read_embeddings(path: PathLike) -> Embeddings:
    """Read ids, embeddings and attributes; head outputs stay on disk (`read_heads`).

    Raises
    ------
    UserError
        If the file is missing, damaged, of another format version, or holds a NaN or infinity.
    """
    with hdf5.opened(path, "embeddings") as file:
        ids = hdf5.read_strings(file, "image_id")
        embedding = hdf5.read(file["embedding"], path, "embedding")
        attributes = hdf5.get_attributes(file)
    if embedding.ndim != 2 or len(ids) != len(embedding):
        raise UserError(f"{path}: embedding has shape {embedding.shape} for {len(ids)} image ids")
    return Embeddings(ids, embedding, attributes)


def has_heads(path: PathLike) -> bool:
    """Say whether the file holds head outputs."""
    with hdf5.opened(path, "embeddings") as file:
        return "heads" in file


def heads_shape(path: PathLike) -> tuple[int, int, int, int]:
    """Return (N, L, H, d_head) of the head outputs in a file."""
    with hdf5.opened(path, "embeddings") as file:
        n, layers, heads, width = _heads(file, path).shape
        return int(n), int(layers), int(heads), int(width)


def read_heads(
    path: PathLike,
    heads: Sequence[tuple[int, int]] | None = None,
    rows: np.ndarray | slice | None = None,
) -> np.ndarray:
    """Read head outputs as float32.

    Parameters
    ----------
    path : path
        A file of `write_embeddings`.
    heads : list of (layer, head), optional
        Which heads, from 0, in the order wanted; all of them by default.
    rows : int array, boolean mask or slice, optional
        Which images, in the order wanted; all of them by default.

    Returns
    -------
    float32 array
        [n, L, H, d_head] for all heads, [n, len(heads), d_head] for a list.

    Raises
    ------
    UserError
        As `read_embeddings`, and if the file has no head outputs or a head does not exist.
    """
    with hdf5.opened(path, "embeddings") as file:
        dataset = _heads(file, path)
        n, layers, count, width = dataset.shape
        if heads is None:
            return _rows(hdf5.read(dataset, path, "heads"), rows)
        wrong = [h for h in heads if not (0 <= h[0] < layers and 0 <= h[1] < count)]
        if wrong:
            raise UserError(
                f"{path}: no head {wrong[0]}; layers 0..{layers - 1}, heads 0..{count - 1}"
            )
        result = np.empty((len(_rows(np.empty(n, bool), rows)), len(heads), width), np.float32)
        for layer in sorted({h[0] for h in heads}):
            block = _rows(hdf5.read(dataset, path, "heads", (slice(None), layer)), rows)
            for position, (its_layer, head) in enumerate(heads):
                if its_layer == layer:
                    result[:, position] = block[:, head]
        return result


def read_rows(
    path: PathLike, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    """Read a few rows, in the order wanted, without the rest of the file in memory.

    Returns
    -------
    embedding : float32 array [n, D]
    heads : array [n, L, H, d_head] in the file's own type, or None
    layers : array [n, L, width] in the file's own type, or None
    """
    wanted, inverse = np.unique(np.asarray(rows, dtype=np.int64), return_inverse=True)
    # Runs of neighbouring rows are read as slices: HDF5 is slow at picking single rows.
    runs = np.split(wanted, np.flatnonzero(np.diff(wanted) != 1) + 1)
    with hdf5.opened(path, "embeddings") as file:
        parts: list[Any] = []
        for name in ("embedding", "heads", "layers"):
            if name not in file:
                parts.append(None)
                continue
            pieces = [file[name][run[0] : run[-1] + 1] for run in runs if len(run)]
            hdf5.check_read(pieces, path, name)
            parts.append(np.concatenate(pieces)[inverse] if pieces else file[name][:0])
    return parts[0], parts[1], parts[2]


def read_head_basis(path: PathLike) -> np.ndarray:
    """Read R of `W_O^h = Q R`, float32 [L, H, d_head, d_head]."""
    with hdf5.opened(path, None) as file:
        if "head_basis" not in file:
            raise UserError(f"{path}: no head_basis; this encoder gives no head outputs")
        basis = hdf5.read(file["head_basis"], path, "head_basis")
        if "heads" in file:
            basis = np.broadcast_to(basis, (*file["heads"].shape[1:3], *basis.shape[2:]))
        return basis


def read_attributes(path: PathLike) -> dict[str, Any]:
    """Read the attributes of any file of this module."""
    with hdf5.opened(path, None) as file:
        return hdf5.get_attributes(file)


def read_image_sha256(path: PathLike) -> np.ndarray:
    """Read the sha256 of the image files, in row order, [N] str."""
    with hdf5.opened(path, "embeddings") as file:
        if "image_sha256" not in file:
            raise UserError(f"{path}: no image_sha256 in it")
        return hdf5.read_strings(file, "image_sha256")


def write_texts(
    path: PathLike,
    *,
    text: Sequence[str],
    embedding: np.ndarray,
    duplicate_of: np.ndarray,
    attributes: Mapping[str, Any] | None = None,
) -> None:
    """Write the embeddings [T, D] of a list of texts; see `Texts` for the columns."""
    if not len(text) == len(embedding) == len(duplicate_of):
        raise ValueError(f"{len(text)} texts, {len(embedding)} rows, {len(duplicate_of)} marks")
    marks = np.asarray(duplicate_of, dtype=np.int64)
    if np.any(marks >= np.arange(len(marks))) or np.any(marks < -1):
        raise ValueError("duplicate_of: must name an earlier text, or -1")
    with replacing(path) as temporary, hdf5.create(temporary) as file:
        hdf5.strings(file, "text", [str(t) for t in text])
        hdf5.numbers(file, "embedding", np.asarray(embedding, dtype=np.float32))
        hdf5.numbers(file, "duplicate_of", marks)
        hdf5.set_attributes(file, "texts", attributes)


def read_texts(path: PathLike) -> Texts:
    """Read a file of `write_texts`; raises UserError as `read_embeddings` does."""
    with hdf5.opened(path, "texts") as file:
        texts = Texts(
            hdf5.read_strings(file, "text"),
            hdf5.read(file["embedding"], path, "embedding"),
            np.asarray(file["duplicate_of"][...]),
            hdf5.get_attributes(file),
        )
    if not len(texts.text) == len(texts.embedding) == len(texts.duplicate_of):
        raise UserError(f"{path}: text, embedding and duplicate_of differ in length")
    return texts


def write_head_maps(
    path: PathLike,
    *,
    head_basis: np.ndarray | None,
    head_projection: np.ndarray | None,
    attributes: Mapping[str, Any] | None = None,
) -> None:
    """Write an encoder's `HeadMaps`; both arrays are None where it gives no head outputs."""
    with replacing(path) as temporary, hdf5.create(temporary) as file:
        for name, array in (("head_basis", head_basis), ("head_projection", head_projection)):
            if array is not None:
                write_by_head(file, name, array)
        hdf5.set_attributes(file, "encoder", attributes)


def read_head_maps(path: PathLike, heads: Sequence[tuple[int, int]] | None = None) -> HeadMaps:
    """Read a file of `write_head_maps`.

    With `heads`, a list of (layer, head), only these are read and the leading [L, H] becomes
    [len(heads)]. What is the same for all heads has the leading axes [1, 1] without it.
    """
    with hdf5.opened(path, "encoder") as file:
        arrays: dict[str, np.ndarray | None] = {}
        for name in ("head_basis", "head_projection"):
            if name not in file:
                arrays[name] = None
            elif heads is None:
                arrays[name] = hdf5.read(file[name], path, name)
            else:
                same = file[name].shape[:2] == (1, 1)
                arrays[name] = np.stack(
                    [hdf5.read(file[name], path, name, (0, 0) if same else tuple(h)) for h in heads]
                )
        return HeadMaps(arrays["head_basis"], arrays["head_projection"], hdf5.get_attributes(file))


def write_by_head(file: h5py.File, name: str, array: np.ndarray) -> None:
    """Write an array [L, H, ..]; one that is broadcast over all heads takes its room once."""
    if array.strides[:2] == (0, 0):
        array = array[:1, :1]
    hdf5.numbers(file, name, np.asarray(array, dtype=np.float32))


def _blocks(
    array: np.ndarray | Iterable[np.ndarray] | None,
) -> Iterable[np.ndarray | None]:
    """Return an array as its blocks; None for each block of what is not there."""
    if array is None:
        return itertools.repeat(None)
    return [array] if isinstance(array, np.ndarray) else array


def _chunk_rows(total: int, most: int) -> int:
    """Rows a chunk, evenly divided: HDF5 keeps the last chunk at full size however few rows it has."""
    return -(-total // max(1, -(-total // most))) if total else 1


def _append(
    file: h5py.File,
    row: int,
    block: np.ndarray,
    beside: Mapping[str, np.ndarray | None],
    total: int,
) -> int:
    """Write one block of rows, making the datasets at the first; return the next row."""
    stop = row + len(block)
    if block.ndim != 2 or stop > total:
        raise ValueError(f"embedding: block of shape {block.shape} at row {row} of {total}")
    for name, part in {"embedding": block, **beside}.items():
        if part is None:
            continue
        if len(part) != len(block):
            raise ValueError(f"{name}: {len(part)} rows beside {len(block)} of embedding")
        hdf5.check_finite(part, name)
        if name not in file:
            # one chunk holds a few hundred rows of one layer
            rows, *shape = (HEAD_CHUNK_ROWS, 1, *part.shape[2:])
            if part.ndim == 2:
                rows, *shape = (CHUNK_ROWS, max(1, part.shape[1]))
            kind = np.float16 if part.dtype == np.float16 else np.float32
            chunks = (_chunk_rows(total, rows), *shape)
            hdf5.dataset(file, name, (total, *part.shape[1:]), kind, chunks)
        file[name][row:stop] = part
    return stop


def _rows(array: np.ndarray, rows: np.ndarray | slice | None) -> np.ndarray:
    return array if rows is None else array[rows]


def _heads(file: h5py.File, path: PathLike) -> h5py.Dataset:
    if "heads" not in file:
        raise UserError(f"{path}: no head outputs (an encoder without them has has_heads: false)")
    return file["heads"]
