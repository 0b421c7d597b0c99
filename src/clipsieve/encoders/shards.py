"""Which images of a set are embedded already: shards beside the output, found by image sha256.

One folder holds what one encoder and one way of decoding gave; it is named by the hash of both.
An image set is planned as shards of a fixed number of images, in the order of the set and leaving
out what an earlier finished file has, so a run that was killed and started again cuts the same
batches as one that was not: the results are the same bits. A finished output is kept as a hard
link (no second copy on disk) in place of its shards.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from clipsieve.errors import UserError
from clipsieve.io import store
from clipsieve.io.files import hash_of
from clipsieve.io.locks import Lock, locked

log = logging.getLogger("clipsieve")

_ROWS = 256


@dataclass
class ShardCache:
    """The shards of one folder: which file and row holds each image.

    Attributes
    ----------
    folder : Path
    lock : Lock
        Held while the folder is open.
    finished : dict of str to (Path, int)
        Rows of finished outputs, by image sha256.
    fresh : dict of str to (Path, int)
        Rows of shards that no finished output holds yet.
    problems : dict of str to dict of str to str
        Per shard name, the images that could not be decoded, and why.
    """

    folder: Path
    lock: Lock
    finished: dict[str, tuple[Path, int]] = field(default_factory=dict)
    fresh: dict[str, tuple[Path, int]] = field(default_factory=dict)
    problems: dict[str, dict[str, str]] = field(default_factory=dict)

    def plan(self, keys: Sequence[str], size: int) -> list[tuple[str, list[str]]]:
        """Cut what no finished output holds into shards of `size` images: (name, all its keys)."""
        left = [key for key in dict.fromkeys(keys) if key not in self.finished]
        parts = [left[start : start + size] for start in range(0, len(left), size)]
        return [(f"shard-{hash_of(part)[:24]}", part) for part in parts]

    def missing(self, name: str, keys: Sequence[str]) -> list[str]:
        """Return the images of a planned shard that are neither embedded nor known to be bad."""
        if name in self.problems:
            return []
        return [key for key in keys if key not in self.fresh]

    def add(
        self,
        name: str,
        keys: Sequence[str],
        embedding: np.ndarray,
        heads: np.ndarray | None,
        head_basis: np.ndarray | None,
        layers: np.ndarray | None,
        problems: dict[str, str],
    ) -> None:
        """Write one shard; it appears whole, by rename."""
        self.lock.check()
        path = self.folder / f"{name}.h5"
        store.write_embeddings(
            path,
            image_id=keys,
            image_sha256=keys,
            embedding=embedding,
            heads=heads,
            head_basis=head_basis,
            layers=layers,
            attributes={"problems": problems},
        )
        self.fresh.update({key: (path, row) for row, key in enumerate(keys)})
        self.problems[name] = problems

    def rows(self, keys: Sequence[str]) -> Iterator[tuple[np.ndarray | None, ...]]:
        """Yield (embedding, heads, layers) for the keys in order, a few hundred rows at a time."""
        for start in range(0, len(keys), _ROWS):
            part = keys[start : start + _ROWS]
            places = [self.finished.get(key) or self.fresh[key] for key in part]
            arrays: list[np.ndarray | None] = [None, None, None]
            for path in dict.fromkeys(place[0] for place in places):
                here = [i for i, place in enumerate(places) if place[0] == path]
                found = store.read_rows(path, np.array([places[i][1] for i in here]))
                for k, rows in enumerate(found):
                    if rows is None:
                        continue
                    if arrays[k] is None:
                        arrays[k] = np.empty((len(part), *rows.shape[1:]), rows.dtype)
                    arrays[k][here] = rows  # type: ignore[index]
            yield tuple(arrays)

    def keep_finished(self, output: Path) -> None:
        """Link a finished output into the folder and drop the files whose every image it holds."""
        self.lock.check()
        keys = store.read_image_sha256(output)
        link = self.folder / f"finished-{hash_of(list(keys))[:24]}.h5"
        temporary = link.with_suffix(f".{os.getpid()}.tmp")
        try:
            temporary.unlink(missing_ok=True)
            os.link(output, temporary)
            os.replace(temporary, link)
            # Renaming a link onto the same file does nothing and leaves the first name behind.
            temporary.unlink(missing_ok=True)
        except OSError as error:
            log.info("shards stay beside the output: no hard links here (%s)", error.strerror)
            return
        held = set(keys)
        for path in sorted(self.folder.glob("*.h5")):
            if path != link and held.issuperset(store.read_image_sha256(path)):
                path.unlink()


@contextmanager
def opened(root: Path, parameters: dict[str, Any], wait: bool = True) -> Iterator[ShardCache]:
    """Open the folder for these parameters, alone: a second process waits for the first.

    With `wait` false a second process is refused with a UserError. Damaged shards (a full disk, a
    copy that broke off) are removed and made again.
    """
    folder = root / hash_of(parameters)[:24]
    folder.mkdir(parents=True, exist_ok=True)
    busy = f"{folder}: another process is writing these shards"
    with locked(folder / "lock", busy, wait=wait) as lock:
        yield _scan(folder, lock)


def _scan(folder: Path, lock: Lock) -> ShardCache:
    cache = ShardCache(folder, lock)
    for leftover in [*folder.glob(".*.h5"), *folder.glob("*.tmp")]:
        leftover.unlink()
    for path in sorted(folder.glob("*.h5")):
        try:
            keys = store.read_image_sha256(path)
            problems = store.read_attributes(path).get("problems", {})
            # all of it, or a damaged block would come to light when the output is written
            for start in range(0, len(keys), _ROWS):
                store.read_rows(path, np.arange(start, min(start + _ROWS, len(keys))))
        except UserError as error:
            log.warning("%s; it is made again", error)
            path.unlink()
            continue
        rows = {str(key): (path, row) for row, key in enumerate(keys)}
        if path.name.startswith("finished-"):
            cache.finished.update(rows)
        else:
            cache.fresh.update(rows)
            cache.problems[path.stem] = problems
    return cache
