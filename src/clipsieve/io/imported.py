"""Arrays that others made: embeddings of images and of texts, read from npz, HDF5 or parquet, and checked."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from clipsieve.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

#: Endings of the files that are read; a folder is searched for them in this order.
ENDINGS = (".h5", ".hdf5", ".npz", ".parquet")


@dataclass(frozen=True)
class ImportedImages:
    """Embeddings of images as a file holds them, checked but not yet matched with an image table.

    `key` says what `names` [n] are, `image_id` or `path`; `embedding` float32 [n, D]; `heads`
    float32 or float16 [n, L, H, k] and `head_basis` float32 [L, H, d_out, k], or None; `layers`
    float32 or float16 [n, L, width], or None.
    """

    key: str
    names: np.ndarray
    embedding: np.ndarray
    heads: np.ndarray | None
    head_basis: np.ndarray | None
    layers: np.ndarray | None = None


def file_of(where: str | Mapping[str, str], image_set: str) -> Path:
    """Return the file that holds an image set.

    Parameters
    ----------
    where
        A folder with one file an image set, `<image_set>.h5`, `.npz` or `.parquet`; or the file of
        each image set.

    Raises
    ------
    UserError
        The folder has no such file or two, or no file is named for the image set.
    """
    if isinstance(where, Mapping):
        if image_set not in where:
            raise UserError(f"embeddings: no file is named for the image set {image_set!r}")
        return Path(where[image_set])
    found = [path for end in ENDINGS if (path := Path(where, image_set + end)).is_file()]
    if len(found) != 1:
        have = " and ".join(path.name for path in found) or "no file"
        raise UserError(
            f"embeddings: {where} has {have} of the image set {image_set!r}; one of "
            f"{', '.join(image_set + end for end in ENDINGS)} is wanted"
        )
    return found[0]


def read_images(path: str | Path) -> ImportedImages:
    """Read embeddings of images: `image_id` or `path`, `embedding`, and maybe `heads` and `layers`.

    Raises
    ------
    UserError
        An array is missing or has another shape, a name stands twice, or a number is not finite.
    """
    arrays = _arrays(path, ("image_id", "path", "embedding", "heads", "head_basis", "layers"))
    key = "image_id" if "image_id" in arrays else "path"
    if key not in arrays:
        raise UserError(f"{path}: neither image_id nor path in it, to tell the images apart")
    names = _names(arrays[key], key, path)
    embedding = _vectors(arrays, len(names), path)
    heads, basis = arrays.get("heads"), arrays.get("head_basis")
    layers = _layers(arrays.get("layers"), len(names), path)
    if heads is None:
        if basis is not None:
            raise UserError(f"{path}: head_basis without heads")
        return ImportedImages(key, names, embedding, None, None, layers)
    if heads.ndim != 4 or len(heads) != len(names) or heads.dtype.kind != "f":
        raise UserError(
            f"{path}: heads has shape {list(heads.shape)} and type {heads.dtype}; [{len(names)}, L, H,"
            " d_head] of floating point is wanted"
        )
    heads = heads if heads.dtype == np.float16 else heads.astype(np.float32)
    _finite(heads, "heads", path)
    depth, count, width = heads.shape[1:]
    if basis is None:
        basis = np.broadcast_to(np.eye(width, dtype=np.float32), (depth, count, width, width))
    elif basis.ndim != 4 or (*basis.shape[:2], basis.shape[3]) != (depth, count, width):
        raise UserError(
            f"{path}: head_basis has shape {list(basis.shape)}; [{depth}, {count}, d_out, {width}]"
            " is wanted"
        )
    _finite(basis, "head_basis", path)
    basis = basis.astype(np.float32, copy=False)
    return ImportedImages(key, names, embedding, heads, basis, layers)


def _layers(layers: np.ndarray | None, rows: int, path: str | Path) -> np.ndarray | None:
    """Return the token after each block, [rows, L, width], as float32 or float16."""
    if layers is None:
        return None
    if layers.ndim != 3 or len(layers) != rows or layers.dtype.kind != "f":
        raise UserError(
            f"{path}: layers has shape {list(layers.shape)} and type {layers.dtype}; [{rows}, L, width]"
            " of floating point is wanted"
        )
    layers = layers if layers.dtype == np.float16 else layers.astype(np.float32)
    _finite(layers, "layers", path)
    return layers


def match_rows(found: ImportedImages, table: pd.DataFrame, what: str) -> np.ndarray:
    """Return which row of the file each usable image of a table has, int64 [images].

    A `path` may be relative to the data root, as in the table, or to the image set's own folder (what
    follows the image set in `image_id`).

    Parameters
    ----------
    found
        What the file holds.
    table
        Image table with the columns `image_id`, `path` and `problem`. Images with a problem need no
        embedding.
    what
        Name of the file, for messages.

    Raises
    ------
    UserError
        The file has an image that the table lacks, or lacks one that the table has.
    """
    ids = table["image_id"].astype(str)
    rows = {name: row for row, name in enumerate(found.names.tolist())}
    wanted = ids
    if found.key == "path":
        in_folder = ids.str.partition("/")[2]
        from_root = table["path"].astype(str)
        wanted = max((from_root, in_folder), key=lambda column: int(column.isin(rows).sum()))
    unknown = sorted(set(rows) - set(wanted))
    if unknown:
        raise UserError(
            f"{what}: {len(unknown)} of {len(rows)} images are not in the image table, the first"
            f" {found.key} being {unknown[0]!r}"
        )
    needed = wanted[table["problem"].isna()]
    missing = needed[~needed.isin(rows)]
    if len(missing):
        raise UserError(
            f"{what}: {len(missing)} of {len(needed)} images have no embedding, the first"
            f" {found.key} being {missing.iloc[0]!r}"
        )
    return np.array([rows[name] for name in needed], dtype=np.int64)


def read_texts(path: str | Path) -> tuple[list[str], np.ndarray]:
    """Read embeddings of texts: arrays `text` and `embedding`.

    Returns
    -------
    texts : list of str
    embedding : float32 array [n, D]

    Raises
    ------
    UserError
        An array is missing or has another shape, a text is empty or stands twice, or a vector is not
        finite or is zero.
    """
    arrays = _arrays(path, ("text", "embedding"))
    if "text" not in arrays:
        raise UserError(f"{path}: no text in it, to name the vectors")
    names = _names(arrays["text"], "text", path)
    if not all(name.strip() for name in names.tolist()):
        raise UserError(f"{path}: a text is empty")
    return names.tolist(), _vectors(arrays, len(names), path)


def _arrays(path: str | Path, wanted: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Read those of the wanted arrays that a file has."""
    file = Path(path)
    if not file.is_file():
        raise UserError(f"{path}: no such file")
    if file.suffix not in ENDINGS:
        raise UserError(f"{path}: must end in {', '.join(ENDINGS)}")
    with _named(path):
        if file.suffix == ".npz":
            with np.load(file, allow_pickle=False) as arrays:
                return {name: arrays[name] for name in wanted if name in arrays.files}
        if file.suffix == ".parquet":
            return _columns(file, wanted)
        import h5py

        with h5py.File(file, "r", locking=False) as stored:
            return {name: stored[name][...] for name in wanted if name in stored}


def _columns(file: Path, wanted: tuple[str, ...]) -> dict[str, np.ndarray]:
    import pyarrow.parquet as pq

    if {"heads", "layers"} & {*pq.read_schema(file).names}:
        raise UserError(
            f"{file}: a parquet table has no head outputs or layers; use npz or HDF5 for them"
        )
    names = [name for name in wanted if name in pq.read_schema(file).names]
    table = pq.read_table(file, columns=names).to_pandas()
    found: dict[str, np.ndarray] = {
        name: table[name].to_numpy() for name in names if name != "embedding"
    }
    if "embedding" in names:
        lengths = {len(vector) for vector in table["embedding"]}
        if len(lengths) > 1:
            raise UserError(f"{file}: embedding has vectors of different widths {sorted(lengths)}")
        found["embedding"] = np.array(list(table["embedding"]))
    return found


@contextmanager
def _named(path: str | Path) -> Iterator[None]:
    """Name the file where a library can't read it."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # each of the three formats has errors of its own
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{path}: can't be read ({reason[:200]})") from error


def _names(values: np.ndarray, key: str, path: str | Path) -> np.ndarray:
    if values.ndim != 1 or not len(values):
        raise UserError(f"{path}: {key} has shape {list(values.shape)}; one name a row is wanted")
    texts = [v.decode("utf-8") if isinstance(v, bytes) else str(v) for v in values.tolist()]
    names = np.array(texts, dtype=object)
    if len(set(texts)) < len(texts):
        seen: set[str] = set()
        twice = next(text for text in texts if text in seen or seen.add(text))  # type: ignore[func-returns-value]
        raise UserError(f"{path}: {key} {twice!r} stands twice")
    return names


def _vectors(arrays: Mapping[str, Any], rows: int, path: str | Path) -> np.ndarray:
    """Return the embedding as float32 [rows, D]: finite, and no vector zero."""
    embedding = arrays.get("embedding")
    if embedding is None:
        raise UserError(f"{path}: no embedding in it")
    if embedding.ndim != 2 or len(embedding) != rows or embedding.shape[1] < 2:
        raise UserError(
            f"{path}: embedding has shape {list(embedding.shape)} for {rows} names; [{rows}, D] is"
            " wanted, D at least 2"
        )
    if embedding.dtype.kind not in "fiu":
        raise UserError(f"{path}: embedding is of type {embedding.dtype}; numbers are wanted")
    narrow: np.ndarray = embedding.astype(np.float32)
    _finite(narrow, "embedding", path)
    zero = np.flatnonzero(~narrow.any(axis=1))
    if len(zero):
        raise UserError(f"{path}: embedding: the vector of row {zero[0]} is zero")
    return narrow


def _finite(array: np.ndarray, name: str, path: str | Path) -> None:
    if not np.isfinite(array).all():
        raise UserError(f"{path}: {name}: NaN or infinite number")
