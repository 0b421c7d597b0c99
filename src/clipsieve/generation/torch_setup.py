"""Device, type and random numbers of torch for the adapters that use it."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from clipsieve.errors import UserError
from clipsieve.generation.making import Settings, missing

DTYPES = ("float32", "bfloat16", "float16")


def prepare(settings: Settings) -> tuple[Any, str, dict[str, Any]]:
    """Set threads and repeatable kernels, and say what the images will be made on.

    Returns
    -------
    tuple
        The module torch, the device's name, and facts for the record.

    Raises
    ------
    UserError
        torch is not installed, or the device is not there.
    """
    # before CUDA starts: matrix products on a GPU repeat themselves only with a fixed workspace
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    try:
        import torch
    except ImportError:
        raise missing(settings, "torch", "pip install 'clipsieve[diffusers]'") from None
    torch.set_num_threads(settings.threads)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    device = settings["device"]
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise UserError(
            f"{settings.key('device')}: {device!r}, but torch finds no GPU; write auto or cpu"
        )
    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else platform.machine()
    facts = {
        "device": device,
        "device_name": name,
        "dtype": settings["dtype"],
        "threads": settings.threads,
        "python": platform.python_version(),
        "versions": versions("torch", "numpy", "pillow"),
    }
    return torch, device, facts


def versions(*packages: str) -> dict[str, str]:
    """Return the installed versions of packages, leaving out those that are not there."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


@contextmanager
def memory_errors(settings: Settings) -> Iterator[None]:
    """Turn a want of GPU memory into one line that says what to change."""
    import torch

    try:
        yield
    except torch.OutOfMemoryError as error:
        text = " ".join(str(error).split())[:120]
        raise UserError(
            f"{settings.key('model')}: not enough GPU memory ({text}); set offload to model or"
            " sequential, dtype to float16, or batch_size to 1"
        ) from None
