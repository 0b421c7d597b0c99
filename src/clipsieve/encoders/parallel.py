"""Parts of a batch side by side on the threads of a CPU, each part on one thread.

A matrix product that is divided among threads rounds differently for different numbers of threads
and at different rows. Whole parts on one thread each give the same bits on any number of threads,
and they never wait for one another, which counts where decoding uses the same cores.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

from clipsieve.errors import UserError

Part = TypeVar("Part")
Result = TypeVar("Result")


def side_by_side(function: Callable[[Part], Result], parts: Sequence[Part]) -> list[Result]:
    """Apply a function to each part, on as many threads as torch was given; results in order."""
    threads = torch.get_num_threads()

    def alone(part: Part) -> Result:
        # This setting is the calling thread's own.
        torch.set_num_threads(1)
        return function(part)

    if threads == 1:
        return [function(part) for part in parts]
    try:
        with ThreadPoolExecutor(min(threads, max(1, len(parts))), "tower") as pool:
            return list(pool.map(alone, parts))
    finally:
        torch.set_num_threads(threads)


def set_threads(threads: int | None) -> int:
    """Give torch this many threads (default: the cores that this process may use)."""
    if threads is not None and threads < 1:
        raise UserError(f"--threads {threads}: must be 1 or more")
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    count = threads or int(os.environ.get("OMP_NUM_THREADS") or available or 1)
    torch.set_num_threads(count)
    return count
