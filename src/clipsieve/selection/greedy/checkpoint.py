"""A search's side file: what it found so far, line by line.

The first line says what was searched (data and parameters, by hash); each later line is one step
with the winner's coefficients. A line ends with its own checksum, so a line that a kill cut short
is recognised and dropped. A lock file beside it keeps a second process out.
"""

from __future__ import annotations

import base64
import json
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from clipsieve.errors import UserError
from clipsieve.io.locks import Lock, locked
from clipsieve.selection.greedy.problem import Floats

FORMAT = "clipsieve-search-2"


def pack(values: Floats) -> str:
    """Return float64 values as text, bit by bit."""
    return base64.b64encode(np.ascontiguousarray(values, dtype="<f8").tobytes()).decode()


def unpack(text: str) -> Floats:
    """Undo `pack`."""
    return np.frombuffer(base64.b64decode(text), dtype="<f8").astype(np.float64)


def encode(record: dict[str, Any]) -> bytes:
    """Return one line: JSON, a tab, its CRC-32."""
    body = json.dumps(record, sort_keys=True, separators=(",", ":")).encode()
    return body + b"\t%08x\n" % zlib.crc32(body)


def decode(line: bytes) -> dict[str, Any] | None:
    """Return a line's record, or None where the line is not whole."""
    body, tab, check = line.rstrip(b"\n").rpartition(b"\t")
    if not tab or not line.endswith(b"\n") or check != b"%08x" % zlib.crc32(body):
        return None
    record: dict[str, Any] = json.loads(body)
    return record


class Checkpoint:
    """An open side file: `steps` holds what was there, `add` appends one step."""

    def __init__(self, handle: BinaryIO, steps: list[dict[str, Any]], lock: Lock) -> None:
        self.handle = handle
        self.lock = lock
        self.steps = steps

    def add(self, record: dict[str, Any]) -> None:
        """Append one step; once this returns, killing the process does not lose it."""
        self.lock.check()
        self.handle.write(encode(record))
        self.handle.flush()


@contextmanager
def opened(path: str | os.PathLike[str], key: str) -> Iterator[Checkpoint]:
    """Open (or start) the side file of the search named by `key`, a hash.

    Raises
    ------
    UserError
        The file belongs to other data or parameters, is not a side file, or another process holds it.
    """
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    busy = f"checkpoint {file}: another process is running this search; wait for it or name another file"
    with locked(f"{file}.lock", busy) as lock:
        steps, whole = read(file, key)
        with open(file, "r+b" if file.exists() else "w+b") as handle:
            handle.truncate(whole)
            handle.seek(whole)
            if whole == 0:
                handle.write(encode({"format": FORMAT, "key": key}))
                handle.flush()
            yield Checkpoint(handle, steps, lock)
            os.fsync(handle.fileno())


def read(file: Path, key: str) -> tuple[list[dict[str, Any]], int]:
    """Return the whole steps of a side file and how many bytes they and the first line take."""
    if not file.exists():
        return [], 0
    lines = file.read_bytes().splitlines(keepends=True)
    head = decode(lines[0]) if lines else None
    if head is None:
        # only a first line cut short (or nothing) may be started over
        if len(lines) <= 1 and not (lines and lines[0].endswith(b"\n")):
            start = encode({"format": FORMAT, "key": key})
            if not lines or start.startswith(lines[0]):
                return [], 0
        raise UserError(f"checkpoint {file}: not a side file of a search; name another file")
    if head.get("format") != FORMAT or head.get("key") != key:
        raise UserError(
            f"checkpoint {file}: belongs to a search of other data or parameters "
            f"({str(head.get('key'))[:12]}, not {key[:12]}); remove it or name another file"
        )
    steps: list[dict[str, Any]] = []
    whole = len(lines[0])
    for line in lines[1:]:
        record = decode(line)
        if record is None or record.get("step") != len(steps):
            break
        steps.append(record)
        whole += len(line)
    return steps, whole
