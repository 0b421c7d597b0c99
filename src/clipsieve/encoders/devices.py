"""Which of several GPUs of one machine a process takes: each job its own, by a lock on a file."""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path

from filelock import FileLock, Timeout

log = logging.getLogger("clipsieve")

#: Locks of the devices that this process has taken; the system frees them when it ends, however it ends.
_HELD: dict[int, FileLock] = {}


def take_device(count: int, folder: Path | None = None) -> int:
    """Return the number of a GPU that no other process of this user has taken.

    A process that asks again gets the same one. Where all are taken, the one with the fewest users
    cannot be known: it is chosen by the number of the process, and shared.

    Parameters
    ----------
    count
        How many GPUs this process sees. With one there is nothing to choose: a batch system that
        hands out GPUs shows each job its own.
    folder
        Where the locks are (default: below the folder for temporary files, one for each user).
    """
    if count <= 1:
        return 0
    if _HELD:
        return next(iter(_HELD))
    folder = folder or Path(tempfile.gettempdir()) / f"clipsieve-gpus-{os.getuid()}"
    folder.mkdir(parents=True, exist_ok=True)
    # two jobs that see different lists may call one device by two numbers
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").replace(" ", "").split(",")
    names = visible if len(visible) == count else [str(number) for number in range(count)]
    for number, name in enumerate(names):
        lock = FileLock(folder / f"{name}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue
        _HELD[number] = lock
        log.info("GPU %s of %d", name, count)
        return number
    shared = os.getpid() % count
    log.warning("all %d GPUs are taken; GPU %s is shared with another job", count, names[shared])
    return shared
