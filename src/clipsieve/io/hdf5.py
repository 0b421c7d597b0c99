"""How clipsieve reads and writes HDF5: checksums, versions, strings, attributes; see `store`."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from clipsieve.errors import UserError

if TYPE_CHECKING:
    import h5py

#: Raised when the layout of these files changes; files of another version are refused.
FORMAT_VERSION = 1
#: Attribute of a file whose arrays lie in other files: their paths, relative to its folder.
PARTS = "parts"
#: Rows in an HDF5 chunk of a table with one row per image or text.
CHUNK_ROWS = 256

PathLike = str | os.PathLike[str]


@contextmanager
def create(path: Path, virtual: bool = False) -> Iterator[h5py.File]:
    """Open a new HDF5 file that carries no times, so equal contents give equal bytes.

    With `virtual` its datasets may point to other files, which needs the format of HDF5 1.10.
    """
    import h5py

    version = "v110" if virtual else "v108"
    with h5py.File(path, "w", libver=(version, version), locking=False) as file:
        yield file


@contextmanager
def opened(path: PathLike, kind: str | None) -> Iterator[h5py.File]:
    """Open for reading, check kind and version, and turn what HDF5 raises into a UserError."""
    import h5py

    try:
        with h5py.File(path, "r", locking=False) as file:
            found, version = file.attrs.get("kind"), file.attrs.get("format_version")
            if kind is not None and found != kind:
                raise UserError(f"{path}: holds {found!r}, not {kind!r}")
            if version is None or int(version) != FORMAT_VERSION:
                raise UserError(
                    f"{path}: format version {version}, this version reads {FORMAT_VERSION}"
                )
            for part in get_attributes(file).get(PARTS, ()):
                if not Path(path).parent.joinpath(part).is_file():
                    raise UserError(f"{path}: its part {part} is gone; embed the image set again")
            yield file
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, KeyError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path}: damaged or not an HDF5 file of clipsieve ({reason})") from error


def dataset(
    file: h5py.File, name: str, shape: tuple[int, ...], dtype: Any, chunks: tuple[int, ...] | None
) -> None:
    """Make a dataset with fletcher32 checksums and without times."""
    # A dataset without elements can't be chunked.
    filters: dict[str, Any] = {"chunks": chunks, "fletcher32": True} if 0 not in shape else {}
    file.create_dataset(name, shape=shape, dtype=dtype, track_times=False, **filters)


def numbers(file: h5py.File, name: str, array: np.ndarray) -> None:
    """Write a numeric array with checksums: one leading index a chunk where it has many axes."""
    if array.dtype.kind == "f":
        check_finite(array, name)
    if array.ndim > 2:
        chunks = (*(1,) * (array.ndim - 2), *array.shape[-2:])
    else:
        chunks = (max(1, min(CHUNK_ROWS, array.shape[0])), *array.shape[1:])
    dataset(file, name, array.shape, array.dtype, chunks)
    file[name][...] = array


def strings(file: h5py.File, name: str, values: list[str]) -> None:
    """Write UTF-8 strings, each zero-padded to the longest: fletcher32 can check those."""
    encoded = [value.encode("utf-8") for value in values]
    if any(b"\0" in value for value in encoded):
        raise ValueError(f"{name}: a string with a zero byte in it")
    import h5py

    width = max([len(value) for value in encoded], default=1) or 1
    dtype = h5py.string_dtype("utf-8", width)
    array = np.array(encoded, dtype=dtype)
    chunks = (max(1, min(4096, len(values))),)
    dataset(file, name, (len(values),), dtype, chunks)
    if values:
        file[name][...] = array


def read_strings(file: h5py.File, name: str) -> np.ndarray:
    """Read a dataset of `strings` as an object array of str."""
    return np.array([value.decode("utf-8") for value in file[name][...]], dtype=object)


def read(dataset: h5py.Dataset, path: PathLike, name: str, index: Any = ...) -> np.ndarray:
    """Read part of a dataset as float32 and refuse NaN and infinity."""
    array = np.asarray(dataset[index], dtype=np.float32)
    check_read([array], path, name)
    return array


def check_read(arrays: Sequence[np.ndarray], path: PathLike, name: str) -> None:
    """Refuse arrays read from a file that hold NaN or infinity."""
    if not all(np.isfinite(array).all() for array in arrays):
        raise UserError(f"{path}: NaN or infinite number in {name}")


def check_finite(array: np.ndarray, name: str) -> None:
    """Raise ValueError where an array holds NaN or infinity."""
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: NaN or infinite number")


def set_attributes(file: h5py.File, kind: str, attributes: Mapping[str, Any] | None) -> None:
    """Write kind, format version and the attributes: plain values as they are, others as JSON."""
    file.attrs["kind"] = kind
    file.attrs["format_version"] = FORMAT_VERSION
    for key, value in sorted((attributes or {}).items()):
        plain = isinstance(value, str | bool | int | float)
        file.attrs[key] = value if plain else "json:" + json.dumps(value, sort_keys=True)


def get_attributes(file: h5py.File) -> dict[str, Any]:
    """Read what `set_attributes` wrote, as plain Python values."""
    result: dict[str, Any] = {}
    for key, value in file.attrs.items():
        if isinstance(value, str) and value.startswith("json:"):
            result[key] = json.loads(value[5:])
        else:
            result[key] = value.item() if isinstance(value, np.generic) else value
    return result
