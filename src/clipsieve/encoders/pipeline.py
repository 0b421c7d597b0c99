"""Images from disk to batches of pixels, decoded ahead of the forward pass in bounded memory."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from PIL import Image

from clipsieve.errors import UserError
from clipsieve.images.decode import ImageProblem, UnreadableFile, decode, read_image_bytes


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
) -> Iterator[Batch]:
    """Decode and preprocess in threads, in order, at most `ahead` batches before they are asked for.

    The pixels of at most `ahead + 1` batches and `workers` decoded pictures are in memory at once,
    however many jobs there are. The result does not depend on the number of workers.

    Parameters
    ----------
    jobs : sequence of Job
    preprocess : callable
        PIL image to float32 tensor [3, height, width].
    batch_size, workers : int
        Images a batch; threads (Pillow releases Python's lock while it decodes and resizes).
    background : tuple of int
        Shows through transparent pixels.
    ahead : int, default 2
        Batches decoded in advance.
    profiles : str
        What is done with colour profiles (`clipsieve.images.decode.decode`).

    Raises
    ------
    UserError
        A file cannot be read, or is another one than its key says.
    """

    def load(job: Job) -> torch.Tensor | str:
        try:
            return preprocess(decode(_checked_bytes(job), background=background, profiles=profiles))
        except ImageProblem as problem:
            return problem.reason

    waiting: deque[tuple[Job, Future[torch.Tensor | str]]] = deque()
    upcoming = iter(jobs)
    # One thread each: a team of threads below every decoder would only wait for cores.
    alone = partial(torch.set_num_threads, 1)
    with ThreadPoolExecutor(max(1, workers), "decode", initializer=alone) as pool:
        try:
            while True:
                while len(waiting) < batch_size * (ahead + 1):
                    job = next(upcoming, None)
                    if job is None:
                        break
                    waiting.append((job, pool.submit(load, job)))
                if not waiting:
                    return
                taken = [waiting.popleft() for _ in range(min(batch_size, len(waiting)))]
                yield _gather(taken)
        finally:
            for _, future in waiting:
                future.cancel()


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


def _gather(taken: list[tuple[Job, Future[torch.Tensor | str]]]) -> Batch:
    good: list[Job] = []
    tensors: list[torch.Tensor] = []
    problems: list[tuple[Job, str]] = []
    for job, future in taken:
        result = future.result()
        if isinstance(result, str):
            problems.append((job, result))
        else:
            good.append(job)
            tensors.append(result)
    return Batch(good, torch.stack(tensors) if tensors else None, problems)
