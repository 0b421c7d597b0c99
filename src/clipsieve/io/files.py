"""Files that appear whole or not at all."""

from __future__ import annotations

import glob
import hashlib
import json
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from clipsieve.errors import UserError


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it to `path` when the block ends without an error.

    The temporary name keeps the suffix (writers look at it) and carries the process id and a random
    part (nodes of a cluster share ids), so two processes never write the same file. On an error the
    temporary file is removed; a kill leaves it behind, see `remove_leftovers`.

    Raises
    ------
    UserError
        The folder cannot be made, or may not be written.
    """
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{path}: its folder cannot be made ({error.strerror})") from None
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise UserError(f"{path}: its folder may not be written")
    unique = f"{os.getpid()}-{secrets.token_hex(4)}"
    temporary = target.with_name(f"{_hidden(target)}{unique}{target.suffix}")
    try:
        yield temporary
        with open(temporary, "rb") as handle:
            os.fsync(handle.fileno())
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(path: str | os.PathLike[str]) -> None:
    """Remove temporary files that killed writers of `path` left behind.

    Only for a caller that no other writer of `path` can run beside, since it holds a lock.
    """
    target = Path(path)
    start = _hidden(target)
    for found in target.parent.glob(f"{glob.escape(start)}*"):
        middle = found.name[len(start) : -len(target.suffix) or None]
        if found.suffix == target.suffix and re.fullmatch(r"\d+-[0-9a-f]{8}", middle):
            found.unlink(missing_ok=True)


def _hidden(target: Path) -> str:
    """Return how the names of temporary files of `target` begin; a name may have 255 bytes."""
    return f".{target.stem.encode(errors='ignore')[:200].decode(errors='ignore')}."


def sha256_of(path: str | os.PathLike[str]) -> str:
    """Return the sha256 of a file's bytes, as lower-case hex."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def seed_of(*parts: Any) -> int:
    """Return a seed below 2^64 that depends on the words of `parts` and on nothing else.

    >>> seed_of(0, "stylegan", "a.png") == seed_of("0:stylegan", "a.png")
    True
    """
    digest = hashlib.sha256(":".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big")


def hash_of(value: Any) -> str:
    """Return the sha256 of a JSON-able value, the same for equal values in any key order."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def default_cache() -> Path:
    """Return the folder for fetched files: $CLIPSIEVE_CACHE, or clipsieve in the user's cache."""
    base = os.environ.get("CLIPSIEVE_CACHE")
    if base:
        return Path(base)
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "clipsieve"
