"""Images in tars, zip archives and parquet files, read where they lie: a path is `archive!member`.

Nothing is unpacked. The list of a container is read once a process; a tar's members are then read by
their place in the file, a zip's by its directory, a parquet's by row groups.
"""

from __future__ import annotations

import json
import os
import posixpath
import re
import tarfile
import threading
import zipfile
import zlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

#: Endings of files that are read as containers.
CONTAINERS = (".zip", ".tar", ".parquet")
#: Stands between a container's path and that of a member.
MARK = "!"
#: Columns of images beside those of the type struct<bytes, path>, by the names that are usual.
_IMAGE_COLUMNS = ("image", "img", "jpg", "png", "bytes")
#: What is read from the companions of a tar's image, and from a parquet's columns.
FACTS = ("target", "label", "group")
#: A longer companion is no list of facts.
_LONGEST_FACTS = 1 << 20

_MEMBER = re.compile(rf"(.*?(?:{'|'.join(map(re.escape, CONTAINERS))}))!(.+)", re.I | re.S)


class ContainerError(OSError):
    """Why a container, or a member of it, can't be read; the text is one line."""


def is_container(path: str | os.PathLike[str]) -> bool:
    """Say whether a name is that of a container."""
    return os.fspath(path).lower().endswith(CONTAINERS)


def split_member(path: str | os.PathLike[str]) -> tuple[str, str] | None:
    """Return container and member of a path, None where it is a path of a file.

    Examples
    --------
    >>> split_member("a/x.zip!real/1.png"), split_member("a/hey!.png")
    (('a/x.zip', 'real/1.png'), None)
    """
    found = _MEMBER.fullmatch(os.fspath(path))
    return (found[1], found[2]) if found else None


def located(folder: str | os.PathLike[str], path: str) -> Path:
    """Return where a file of a set is: the set's folder may itself be a container.

    Examples
    --------
    >>> located("sets/gan", "a/1.png").as_posix()
    'sets/gan/a/1.png'
    """
    if is_container(folder) and os.path.isfile(folder):
        return Path(f"{os.fspath(folder)}{MARK}{path}")
    return Path(folder) / path


def as_folders(path: str) -> str:
    """Return a path in which a container is one more folder.

    Examples
    --------
    >>> as_folders("x.zip!real/1.png"), as_folders("hey!.png")
    ('x.zip/real/1.png', 'hey!.png')
    """
    parts = split_member(path)
    return f"{parts[0]}/{as_folders(parts[1])}" if parts else path


def leaves(member: str) -> bool:
    """Say whether a member's path would lead out of its container if it were unpacked."""
    return member.startswith("/") or ".." in member.split("/") or "\\" in member or "\0" in member


def read_member(container: str, member: str, *, max_bytes: int) -> bytes:
    """Return the bytes of one member.

    Raises
    ------
    FileNotFoundError
        There is no such container or member.
    ContainerError
        The container is damaged, compressed as a whole, encrypted, or the member too long.
    """
    opened = _opened(container)
    with _plain_errors(container):
        size = opened.size(member)
        if size is None:
            raise FileNotFoundError(member)
        if size > max_bytes:
            raise ContainerError(f"{size} bytes: more than {max_bytes}")
        data = opened.read(member)
        if len(data) > max_bytes:
            raise ContainerError(f"{len(data)} bytes: more than {max_bytes}")
        return data


def list_members(container: str | os.PathLike[str]) -> list[str]:
    """Return the files of a container, sorted; hidden ones (a leading dot) are passed over.

    Raises
    ------
    FileNotFoundError, ContainerError
        As `read_member`.
    """
    opened = _opened(os.fspath(container))
    with _plain_errors(os.fspath(container)):
        return sorted(name for name in opened.names() if not _hidden(name))


def member_facts(container: str | os.PathLike[str]) -> dict[str, dict[str, str]]:
    """Return what a container says of its images beside them: class and group, where it does.

    In a tar these are the companions of an image (``7.cls``, ``7.json`` beside ``7.jpg``), in a
    parquet file the columns; names of classes come in the place of their numbers where the file
    declares them. A zip archive says nothing.
    """
    opened = _opened(os.fspath(container))
    with _plain_errors(os.fspath(container)):
        return opened.facts()


def _hidden(name: str) -> bool:
    parts = name.split("/")
    return parts[0] == "__MACOSX" or any(p.startswith(".") and p not in (".", "..") for p in parts)


class _plain_errors:  # noqa: N801 - a context manager
    """What libraries raise on a damaged container, as a ContainerError."""

    def __init__(self, container: str) -> None:
        self.container = container

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if error is None or (isinstance(error, OSError) and not _foreign(error)):
            return
        if isinstance(error, Exception):
            said = " ".join(str(error).split())[:150] or type(error).__name__
            raise ContainerError(f"its archive can't be read ({said})") from None


def _foreign(error: OSError) -> bool:
    """Whether an OSError is pyarrow's or tarfile's, with a text that is not the system's."""
    return error.errno is None and not isinstance(error, ContainerError | FileNotFoundError)


class _Tar:
    """Places of the members of an uncompressed tar."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.places: dict[str, tuple[int, int]] = {}
        try:
            with tarfile.open(path, "r:") as opened:
                for member in opened:
                    if member.isreg() and not member.issparse():
                        self.places[_plain(member.name)] = (member.offset_data, member.size)
        except tarfile.ReadError:
            raise ContainerError(
                "its tar is compressed or damaged; only plain tars are read without unpacking"
            ) from None

    def names(self) -> list[str]:
        return list(self.places)

    def size(self, member: str) -> int | None:
        place = self.places.get(member)
        return None if place is None else place[1]

    def read(self, member: str) -> bytes:
        start, size = self.places[member]
        with open(self.path, "rb") as handle:
            handle.seek(start)
            data = handle.read(size)
        if len(data) < size:
            raise ContainerError("its archive ends too early")
        return data

    def facts(self) -> dict[str, dict[str, str]]:
        beside: dict[str, dict[str, str]] = {}
        for name, (_, size) in self.places.items():
            key, dot, ending = _key(name)
            if not dot or size > _LONGEST_FACTS:
                continue
            if ending in ("cls", "cls.txt"):
                beside.setdefault(key, {})["target"] = self.read(name).decode(errors="replace")
            elif ending == "json":
                beside.setdefault(key, {}).update(_json_facts(self.read(name)))
        return {name: beside[key] for name in self.places if (key := _key(name)[0]) in beside}


def _key(name: str) -> tuple[str, str, str]:
    """What the members of one sample share, and the rest: up to the first dot of the file's name."""
    folder, slash, last = name.rpartition("/")
    stem, dot, ending = last.partition(".")
    return f"{folder}{slash}{stem}", dot, ending.lower()


def _json_facts(data: bytes) -> dict[str, str]:
    try:
        found = json.loads(data)
    except ValueError:
        return {}
    if not isinstance(found, Mapping):
        return {}
    return {k: str(found[k]) for k in FACTS if isinstance(found.get(k), str | int | float)}


class _Zip:
    """An opened zip archive; zipfile takes care of threads."""

    def __init__(self, path: str) -> None:
        self.opened = zipfile.ZipFile(path)
        self.infos = {_plain(i.filename): i for i in self.opened.infolist() if not i.is_dir()}

    def names(self) -> list[str]:
        return list(self.infos)

    def size(self, member: str) -> int | None:
        info = self.infos.get(member)
        return None if info is None else info.file_size

    def read(self, member: str) -> bytes:
        info = self.infos[member]
        try:
            with self.opened.open(info) as stream:
                data = stream.read(info.file_size)
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise ContainerError(f"damaged in its archive ({error})") from None
        if len(data) < info.file_size:
            raise ContainerError("damaged in its archive (too short)")
        return data

    def facts(self) -> dict[str, dict[str, str]]:
        return {}


class _Parquet:
    """Images of a parquet file as the Hugging Face libraries write them.

    A member is ``<column>/<row, eight digits>/<name>``; the name is that of the file where the row
    has one, else ``image``.
    """

    def __init__(self, path: str) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self.file = pq.ParquetFile(path)
        self.lock = threading.Lock()
        self.columns = _image_columns(self.file.schema_arrow, pa)
        if not self.columns:
            raise ContainerError("its parquet file has no column of images (struct<bytes, path>)")
        groups = range(self.file.num_row_groups)
        counts = [self.file.metadata.row_group(i).num_rows for i in groups]
        self.starts = [sum(counts[:i]) for i in range(len(counts) + 1)]
        self.places: dict[str, tuple[str, int]] = {}
        for column, with_path in self.columns.items():
            paths = self._paths(column) if with_path else [None] * self.starts[-1]
            for row, name in enumerate(paths):
                last = posixpath.basename((name or "").replace("\\", "/")) or "image"
                self.places[f"{column}/{row:08d}/{last}"] = (column, row)
        self.kept: tuple[str, int, Any] | None = None

    def _paths(self, column: str) -> list[str | None]:
        table = self.file.read(columns=[f"{column}.path"])
        return [None if x is None else x.get("path") for x in table.column(column).to_pylist()]

    def names(self) -> list[str]:
        return list(self.places)

    def _value(self, member: str) -> bytes | None:
        column, row = self.places[member]
        group = next(i for i in range(len(self.starts) - 1) if row < self.starts[i + 1])
        with self.lock:
            if self.kept is None or self.kept[:2] != (column, group):
                values = self.file.read_row_group(group, columns=[column]).column(column)
                self.kept = (column, group, values)
            value = self.kept[2][row - self.starts[group]].as_py()
        data = value.get("bytes") if isinstance(value, Mapping) else value
        return None if data is None else bytes(data)

    def size(self, member: str) -> int | None:
        # rows have no sizes; the file bounds them
        return 0 if member in self.places else None

    def read(self, member: str) -> bytes:
        data = self._value(member)
        if data is None:
            raise ContainerError("its row holds no bytes (a path alone)")
        return data

    def facts(self) -> dict[str, dict[str, str]]:
        names = [c for c in FACTS if c in self.file.schema_arrow.names]
        if not names:
            return {}
        table = self.file.read(columns=names)
        classes = _class_names(self.file.schema_arrow.metadata or {})
        values = {c: table.column(c).to_pylist() for c in names}

        def word(column: str, value: Any) -> str:
            known = classes.get(column, [])
            if isinstance(value, int) and 0 <= value < len(known):
                return str(known[value])
            return "" if value is None else str(value)

        return {
            member: {c: word(c, values[c][row]) for c in names}
            for member, (_, row) in self.places.items()
        }


def _image_columns(schema: Any, pa: Any) -> dict[str, bool]:
    """Columns of images -> whether they have a path beside the bytes."""
    found = {}
    for field in schema:
        if pa.types.is_struct(field.type) and field.type.get_field_index("bytes") >= 0:
            found[field.name] = field.type.get_field_index("path") >= 0
        elif field.name in _IMAGE_COLUMNS and (
            pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type)
        ):
            found[field.name] = False
    return found


def _class_names(metadata: Mapping[bytes, bytes]) -> dict[str, list[str]]:
    """Names of the classes of each column that the Hugging Face libraries declare in a schema."""
    try:
        features = json.loads(metadata[b"huggingface"])["info"]["features"]
        return {
            name: list(feature["names"])
            for name, feature in features.items()
            if isinstance(feature, Mapping) and isinstance(feature.get("names"), list)
        }
    except (KeyError, ValueError, TypeError, AttributeError):
        return {}


def _plain(name: str) -> str:
    """A member's name without needless dots and slashes, which a path would lose."""
    plain = posixpath.normpath(name)
    return name if plain.startswith("..") else plain


_LOCK = threading.Lock()


def _opened(container: str) -> _Tar | _Zip | _Parquet:
    known = os.stat(container)
    with _LOCK, _plain_errors(container):
        return _open(container, known.st_size, known.st_mtime_ns)


@lru_cache(maxsize=64)
def _open(container: str, size: int, changed: int) -> _Tar | _Zip | _Parquet:
    """Open a container; size and time are there so that a changed one is opened again."""
    kinds: dict[str, type[_Tar] | type[_Zip] | type[_Parquet]] = {
        ".zip": _Zip,
        ".tar": _Tar,
        ".parquet": _Parquet,
    }
    return kinds[os.path.splitext(container)[1].lower()](container)
