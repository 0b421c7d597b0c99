"""Images from disk to batches of pixels, decoded ahead of the forward pass in bounded memory.

Threads are enough where Pillow does the work, since it releases Python's lock; processes where the
lock is the limit (many cores, small images). Both give the same pixels.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from clipsieve.errors import UserError
from clipsieve.images.decode import ImageProblem, UnreadableFile, decode, read_image_bytes

#: How images can be decoded in the background.
DECODERS = ("threads", "processes")


@dataclass(frozen=True)
class Job:
    """One image file to embed: its key (the sha256 of its bytes) and where it is."""

    key: str
    path: Path


@dataclass(frozen=True)
class Batch:
    """Pixels [n, 3, height, width] of the images that decode; the others with the reason."""

    jobs: list[Job]
    pixels: torch.Tensor | None
    problems: list[tuple[Job, str]]


def batches(
    jobs: Sequence[Job],
    preprocess: Callable[[Image.Image], torch.Tensor],
    *,
    batch_size: int,
    workers: int,
    background: tuple[int, int, int] = (255, 255, 255),
    ahead: int = 2,
    profiles: str = "ignore",
    decoder: str = DECODERS[0],
    pin: bool = False,
    pool: Executor | None = None,
) -> Iterator[Batch]:
    """Decode and preprocess in the background, in order, at most `ahead` batches before they are asked for.

    The pixels of at most `ahead + 1` batches and `workers` decoded pictures are in memory at once,
    however many jobs there are. The result does not depend on the number of workers.

    Parameters
    ----------
    jobs : sequence of Job
    preprocess : callable
        PIL image to float32 tensor [3, height, width].
    batch_size, workers : int
        Images a batch; threads or processes that decode.
    background : tuple of int
        Shows through transparent pixels.
    ahead : int, default 2
        Batches decoded in advance.
    profiles : str
        What is done with colour profiles (`clipsieve.images.decode.decode`).
    decoder : str, default threads
        One of `DECODERS`.
    pin : bool, default False
        Whether batches lie in memory from which a GPU can copy while it computes.
    pool : Executor, optional
        Workers of `workers_of` that outlive this call, which starting processes anew for every
        shard would not; by default workers of its own.

    Raises
    ------
    UserError
        A file cannot be read, or is another one than its key says.
    """
    load = partial(_load, preprocess=preprocess, background=background, profiles=profiles)
    waiting: deque[tuple[Job, Future[np.ndarray | str]]] = deque()
    upcoming = iter(jobs)
    with ExitStack() as stack:
        workers_here = pool or stack.enter_context(workers_of(decoder, workers))
        try:
            while True:
                while len(waiting) < batch_size * (ahead + 1):
                    job = next(upcoming, None)
                    if job is None:
                        break
                    waiting.append((job, workers_here.submit(load, job)))
                if not waiting:
                    return
                taken = [waiting.popleft() for _ in range(min(batch_size, len(waiting)))]
                yield _gather(taken, pin)
        finally:
            for _, future in waiting:
                future.cancel()


def workers_of(decoder: str, workers: int) -> Executor:
    """Return a pool of decoding workers, to be closed by the caller.

    Raises
    ------
    UserError
        There is no such kind of decoder.
    """
    if decoder not in DECODERS:
        raise UserError(f"--decoder {decoder!r}: one of {', '.join(DECODERS)}")
    if decoder == "threads":
        # One thread each: a team of threads below every decoder would only wait for cores.
        alone = partial(torch.set_num_threads, 1)
        return ThreadPoolExecutor(max(1, workers), "decode", initializer=alone)
    # Not forked: torch's threads and a GPU do not survive that.
    fresh = get_context("spawn")
    return ProcessPoolExecutor(max(1, workers), fresh, initializer=_alone)


def _alone() -> None:
    torch.set_num_threads(1)


def _load(
    job: Job,
    preprocess: Callable[[Image.Image], torch.Tensor],
    background: tuple[int, int, int],
    profiles: str,
) -> np.ndarray | str:
    """Return the pixels of an image, or why it can't be decoded."""
    try:
        pixels = preprocess(decode(_checked_bytes(job), background=background, profiles=profiles))
    except ImageProblem as problem:
        return problem.reason
    # an array, which passes between processes as plain bytes
    return pixels.numpy()


def _checked_bytes(job: Job) -> bytes:
    """Read a file once, and make sure that it is still the one the image table speaks of.

    What fails here may pass (a file system that is unavailable), so it is not a problem of the image that a
    shard would remember.
    """
    try:
        data = read_image_bytes(job.path)
    except UnreadableFile as problem:
        why = problem.reason.removeprefix("can't be read: ")
        raise UserError(
            f"{job.path}: can't be read ({why}), but was when the images were scanned"
        ) from problem
    if hashlib.sha256(data).hexdigest() != job.key:
        raise UserError(f"{job.path}: changed since the images were scanned (sha256 differs)")
    return data


def _gather(taken: list[tuple[Job, Future[np.ndarray | str]]], pin: bool) -> Batch:
    good: list[Job] = []
    tensors: list[torch.Tensor] = []
    problems: list[tuple[Job, str]] = []
    for job, future in taken:
        result = future.result()
        if isinstance(result, str):
            problems.append((job, result))
        else:
            good.append(job)
            tensors.append(torch.from_numpy(result))
    if not tensors:
        return Batch(good, None, problems)
    pixels = torch.stack(tensors)
    return Batch(good, pixels.pin_memory() if pin else pixels, problems)
