"""What the last scan of a folder found, kept beside its table: unchanged files are not read again.

A file counts as unchanged while its size, its time of change and its inode are. One that was written
less than two seconds before it was read is not trusted: it may have been written again in the same
tick of the file system's clock.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipsieve.images.containers import is_container
from clipsieve.images.facts import FileFacts
from clipsieve.images.fingerprint import BESIDE, MEMBER, NOTE, OTHER, Stat, read_note, stat_of
from clipsieve.images.listing import IMAGE_ENDINGS, plain
from clipsieve.io.files import sha256_of

if TYPE_CHECKING:
    import pyarrow as pa

#: A file beside the images that is larger is not compared by content.
_LONGEST_BESIDE = 16 << 20
_TICK = 2_000_000_000
_NEVER = -1


class Known:
    """Facts that an earlier scan found, looked up in parts.

    Parameters
    ----------
    path
        The record; None, or one that is not there, damaged, or of another version, knows nothing.
    version
        What the facts depend on beside the files: the code and the libraries.
    """

    def __init__(self, path: Path | None, version: str) -> None:
        self.path = path
        note = read_note(path) if path is not None else {}
        self.starts: list[str] = note.get("starts", []) if note.get("version") == version else []

    def of(self, paths: Iterable[str]) -> dict[str, tuple[Stat, FileFacts]]:
        """Return what is known of these members."""
        import pyarrow.parquet as pq

        wanted = set(paths)
        if not wanted or not self.starts or self.path is None:
            return {}
        low, high = min(wanted), max(wanted)
        ends = [*self.starts[1:], None]
        parts = [
            k
            for k, (start, end) in enumerate(zip(self.starts, ends, strict=True))
            if start <= high and (end is None or end >= low)
        ]
        found = {}
        with pq.ParquetFile(self.path) as file:
            for k in parts:
                for row in file.read_row_group(k).to_pylist():
                    if row["path"] in wanted and row["kind"] == MEMBER:
                        stat = (row["size"], row["mtime_ns"], row["inode"])
                        found[row["path"]] = stat, FileFacts.of_row(row)
        return found


class Record:
    """Writes the record of a scan, part by part, in bounded memory."""

    def __init__(self, path: Path, version: str, fingerprint: str) -> None:
        import pyarrow.parquet as pq

        self.note: dict[str, Any] = {
            "version": version,
            "fingerprint": fingerprint,
            "starts": [],
        }
        self.writer = pq.ParquetWriter(path, _schema(), compression="zstd")

    def add_members(
        self, paths: Sequence[str], stats: Sequence[Stat | None], facts: Sequence[FileFacts]
    ) -> None:
        """Add images of the set, in the order of their paths."""
        now = time.time_ns()
        rows = []
        for path, stat, fact in zip(paths, stats, facts, strict=True):
            size, changed, inode = stat or (_NEVER, _NEVER, _NEVER)
            if now - changed < _TICK:
                changed = _NEVER
            seen = {"kind": MEMBER, "path": path, "size": size, "mtime_ns": changed, "inode": inode}
            rows.append({**fact.as_row(), **seen})
        self._write(rows)

    def add_others(self, folder: Path, names: Sequence[str]) -> None:
        """Add the rest of the folder: what is beside the images is kept with its hash."""
        rows = []
        for name in names:
            path = os.path.join(folder, name)
            size, changed, inode = stat_of(path) or (_NEVER, _NEVER, _NEVER)
            kind, digest = OTHER, None
            if os.path.splitext(name)[1].lower() not in IMAGE_ENDINGS:
                kind = BESIDE
                if not is_container(name) and 0 <= size <= _LONGEST_BESIDE and os.path.isfile(path):
                    digest = sha256_of(path)
            seen = {"size": size, "mtime_ns": changed, "inode": inode, "sha256": digest}
            rows.append({**seen, "kind": kind, "path": plain(name)})
        self._write(rows)

    def _write(self, rows: list[dict[str, Any]]) -> None:
        import pyarrow as pa

        if rows:
            self.note["starts"].append(
                rows[0]["path"] if rows[0]["kind"] == MEMBER else "\U0010ffff"
            )
            self.writer.write_table(pa.Table.from_pylist(rows, schema=_schema()), len(rows))

    def close(self) -> None:
        """Write the note; after this the file is whole."""
        self.writer.add_key_value_metadata({NOTE: json.dumps(self.note).encode()})
        self.writer.close()


def parts_of(items: Sequence[Any], size: int = 20_000) -> Iterator[Sequence[Any]]:
    """Yield the items in parts, so that what is made of them fits in memory."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _schema() -> pa.Schema:
    import pyarrow as pa

    kinds = {"str": pa.string(), "int": pa.int64(), "bool": pa.bool_(), "tuple": None}
    columns = [(name, pa.string()) for name in ("path", "kind")]
    columns += [(name, pa.int64()) for name in ("size", "mtime_ns", "inode")]
    for entry in fields(FileFacts):
        kind = kinds[str(entry.type).split("[")[0].split(" ")[0]]
        columns += [(entry.name, kind)] if kind is not None else []
    from clipsieve.images.spectrum import COLUMNS as SPECTRUM

    return pa.schema(columns + [(name, pa.float64()) for name in SPECTRUM])
