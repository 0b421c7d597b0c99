"""Whether a user's folder is as the last scan found it: by names and times, and by content where these differ.

Files that are other than they were by their times alone are compared with the record of the scan
(`clipsieve.images.known`), so that a `touch`, or a copy of the same images, reruns nothing.

Light on purpose: the Snakefile imports this module again in every cluster job.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from clipsieve.images.containers import split_member
from clipsieve.images.listing import list_files, plain
from clipsieve.io.files import sha256_of

#: Size, time of change in nanoseconds, inode.
Stat = tuple[int, int, int]

#: What a file is to the set: one of its images; beside them, and read for classes and groups; or none
#: of both (an image of the other class, or outside a sample), of which only the name counts.
MEMBER, BESIDE, OTHER = "member", "beside", "other"
#: While a run is planned, no more bytes of touched files are read than these.
MOST_COMPARED = 2 << 30
#: Where the note of a record stands in its schema.
NOTE = b"clipsieve_known"


def stat_of(path: str | os.PathLike[str]) -> Stat | None:
    """Return what tells whether a file was changed; of a member of a container, the container's."""
    try:
        known = os.stat(path)
    except (OSError, ValueError):
        parts = split_member(path)
        return stat_of(parts[0]) if parts and parts[0] != os.fspath(path) else None
    return known.st_size, known.st_mtime_ns, known.st_ino


def fingerprint(folder: Path, metadata: str | None, known: Path | None = None) -> str:
    """Return what changes when a file of a user's folder is added, removed, renamed or edited.

    It costs a listing. Where the names are those of the last scan and only times or inodes differ, the
    files concerned are compared by content (as long as they have no more than `MOST_COMPARED` bytes),
    and the fingerprint of that scan is returned if all are the same.

    Parameters
    ----------
    folder
        The folder of a set, or a container.
    metadata
        Table in the folder.
    known
        Record of the last scan.
    """
    # of a container the file itself is looked at, not its members
    archive = (split_member(folder) or [os.fspath(folder)])[0]
    if os.path.isfile(archive):
        return f"1 file, {_digest([('', stat_of(archive))])}"
    names = list_files(folder)
    table = [] if metadata is None else [os.path.normpath(metadata)]
    more = [name for name in table if name not in set(names) and (folder / name).exists()]
    start = os.path.join(folder, "")
    seen = {name: stat_of(start + name) for name in [*names, *more]}
    now = f"{len(names)} files, {_digest(seen.items())}"
    if known is None or not known.is_file():
        return now
    before = str(read_note(known).get("fingerprint", now))
    return before if now != before and _same_content(start, seen, known) else now


def _digest(seen: Iterable[tuple[str, Stat | None]]) -> str:
    digest = hashlib.sha256()
    for name, stat in seen:
        # the inode is none of its business: a copy with the same times has another
        digest.update(f"{plain(name)}\0{stat[:2] if stat else None}\n".encode())
    return digest.hexdigest()


def _same_content(start: str, seen: dict[str, Stat | None], known: Path) -> bool:
    """Say whether the files are those of the record, if need be by their content."""
    import pyarrow.parquet as pq

    columns = ["path", "size", "mtime_ns", "kind", "sha256"]
    left = {plain(name): name for name in seen}
    changed: list[tuple[str, str]] = []
    total = 0
    with pq.ParquetFile(known) as file:
        for batch in file.iter_batches(columns=columns):
            for row in batch.to_pylist():
                name = left.pop(row["path"], None)
                if name is None:
                    if split_member(row["path"]) is None:
                        return False  # a file is gone
                    continue
                stat = seen[name]
                if row["kind"] == OTHER or (stat and stat[:2] == (row["size"], row["mtime_ns"])):
                    continue
                if stat is None or row["sha256"] is None or stat[0] != row["size"]:
                    return False
                total += stat[0]
                changed.append((name, row["sha256"]))
                if total > MOST_COMPARED:
                    return False
    try:
        return not left and all(sha256_of(start + name) == digest for name, digest in changed)
    except OSError:
        return False


def read_note(path: Path) -> dict[str, Any]:
    """Return what a record says of itself, {} where there is none or it is damaged."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        note: dict[str, Any] = json.loads((pq.read_metadata(path).metadata or {})[NOTE])
        return note
    except (OSError, KeyError, ValueError, pa.ArrowException):
        return {}
