"""Pipelines of diffusers: text to image, image to image, and a prior with its decoder.

Any pipeline that diffusers knows, by hub id or folder, with any keyword arguments. Weights are read from
safetensors; `safetensors: false` allows torch's own files, which are then read without running code.
https://huggingface.co/docs/diffusers/api/pipelines/auto_pipeline
"""

from __future__ import annotations

import inspect
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from clipsieve.errors import UserError
from clipsieve.generation.making import (
    Made,
    Maker,
    Request,
    Settings,
    Weights,
    local_weights,
    missing,
)
from clipsieve.generation.torch_setup import memory_errors, prepare, versions

PACKAGES = ("diffusers", "transformers", "accelerate", "huggingface_hub", "safetensors")


def text_to_image(settings: Settings) -> Maker:
    """Load a text-to-image pipeline; with `prior`, the prior's embeddings go into the decoder `model`."""
    return _Pipelines(settings, "AutoPipelineForText2Image")


def image_to_image(settings: Settings) -> Maker:
    """Load an image-to-image pipeline."""
    return _Pipelines(settings, "AutoPipelineForImage2Image")


class _Pipelines:
    """One pipeline, or two: `arguments` go to the last, `prior_arguments` to the prior."""

    def __init__(self, settings: Settings, auto: str) -> None:
        self.torch, device, self.facts = prepare(settings)
        self.settings = settings
        library = diffusers(settings)
        self.facts["versions"] |= versions(*PACKAGES)
        self.prior = None
        if settings["prior"]:
            # two parts that belong together, so no pipeline is put together from them
            auto = "DiffusionPipeline"
            self.prior = self._loaded(library.DiffusionPipeline, "prior", device)
        self.pipeline = self._loaded(getattr(library, auto), "model", device)
        self.takes = inspect.signature(self.pipeline.__call__).parameters
        unknown = sorted(name for name in settings["arguments"] if not _accepts(self.takes, name))
        if unknown:
            raise UserError(
                f"{settings.key('arguments')}: {type(self.pipeline).__name__} takes no"
                f" {unknown[0]!r}; it takes {', '.join(n for n in self.takes if n != 'kwargs')}"
            )

    def _loaded(self, kind: Any, key: str, device: str) -> Any:
        """Load a pipeline onto its device, and put its class and weights into the facts."""
        settings = self.settings
        library = diffusers(settings)
        dtype = getattr(self.torch, settings["dtype"])
        options = {
            "torch_dtype": dtype,
            "use_safetensors": settings["safetensors"] or None,  # None: where there are any
            **settings["load"],
        }
        with loading(settings, key), memory_errors(settings):
            weights = weights_of(settings, key, settings[key], library)
            # a local folder from here on: nothing is asked of the network
            options["local_files_only"] = True
            options = {**absent(Path(weights.path)), **options}
            try:
                pipeline = kind.from_pretrained(weights.path, **options)
            except ValueError as error:
                if "AutoPipeline" not in str(error):
                    raise
                pipeline = library.DiffusionPipeline.from_pretrained(weights.path, **options)
            pipeline.set_progress_bar_config(disable=True)
            if settings["offload"] == "none":
                pipeline.to(device)
            elif settings["offload"] == "model":
                pipeline.enable_model_cpu_offload(device=device)
            else:
                pipeline.enable_sequential_cpu_offload(device=device)
        self.facts[key] = {"class": type(pipeline).__name__, **weights.facts}
        return pipeline

    def make(self, requests: Sequence[Request]) -> list[Made]:
        """Make a batch; each image has random numbers of its own, drawn on the CPU."""
        generators = [self.torch.Generator("cpu").manual_seed(r.seed) for r in requests]
        one = len(requests) == 1
        common = {"generator": generators[0] if one else generators}
        prompt = requests[0].text if one else [request.text for request in requests]
        arguments = _for_batch(self.settings["arguments"], len(requests))
        with memory_errors(self.settings):
            if self.prior is not None:
                prior = _for_batch(self.settings["prior_arguments"], len(requests))
                embeds = self.prior(prompt, **common, **prior)
                arguments |= {
                    "image_embeds": embeds.image_embeds,
                    "negative_image_embeds": embeds.negative_image_embeds,
                }
            if "prompt" in self.takes:
                arguments["prompt"] = prompt
            if requests[0].image is not None:
                pictures = [cropped(r.image, self._factor()) for r in requests]
                arguments["image"] = pictures[0] if one else pictures
            output = self.pipeline(**common, **{"output_type": "np", **arguments})
        flags = getattr(output, "nsfw_content_detected", None) or [False] * len(requests)
        return [made(samples, flag) for samples, flag in zip(output.images, flags, strict=True)]

    def _factor(self) -> int:
        processor = getattr(self.pipeline, "image_processor", None)
        return int(getattr(getattr(processor, "config", None), "vae_scale_factor", 8))


def diffusers(settings: Settings) -> Any:
    """Return the module diffusers, or say how to install it."""
    try:
        import diffusers
        import transformers  # noqa: F401  pipelines without it fail late and in many words
    except ImportError as error:
        package = (error.name or "diffusers").partition(".")[0]
        raise missing(settings, package, "pip install 'clipsieve[diffusers]'") from None
    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
    return diffusers


def weights_of(settings: Settings, key: str, name: str, library: Any) -> Weights:
    """Return where a pipeline lies on this machine, fetched from the hub where it is an id."""
    if Path(name).is_dir():
        return local_weights(Path(name))
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        raise UserError(
            f"{settings.key(key)}: {name!r} is no folder here and no hub id of the form owner/name"
        )
    options = {k: v for k, v in settings["load"].items() if k == "variant"}
    folder = library.DiffusionPipeline.download(
        name,
        revision=settings["revision"],
        use_safetensors=settings["safetensors"] or None,
        local_files_only=offline(),
        **options,
    )
    return Weights(str(folder), {"hub": name, "commit": Path(folder).name})


def absent(folder: Path) -> dict[str, None]:
    """Return the parts that a saved pipeline was made without, as arguments of its loader.

    A pipeline without its third text encoder (SD 3) says so in its index, and diffusers loads it only
    if it is told again.
    """
    index = folder / "model_index.json"
    if not index.is_file():
        return {}
    parts = json.loads(index.read_text(encoding="utf-8"))
    return {name: None for name, value in parts.items() if value == [None, None]}


def offline() -> bool:
    """Whether the hub's own switch forbids requests."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}


class loading:  # noqa: N801  reads as a statement
    """Turn what a loader raises into one line that names the key and what to do."""

    def __init__(self, settings: Settings, key: str) -> None:
        self.settings, self.key = settings, key

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if error is None or isinstance(error, UserError) or not isinstance(error, Exception):
            return
        name = self.settings[self.key]
        said = " ".join(str(error).split())[:160]
        names = {base.__name__ for base in type(error).__mro__}
        if "GatedRepoError" in names:
            advice = (
                f"accept its licence at its page on the hub, then log in: hf auth login ({name})"
            )
        elif names & {"LocalEntryNotFoundError", "OfflineModeIsEnabled"} or (
            offline() and not Path(name).exists()
        ):
            advice = (
                f"it is not on this machine: where the network can be reached, hf download {name}"
            )
        elif "RepositoryNotFoundError" in names:
            advice = "there is no such model on the hub, or it is private: check the id, or log in"
        elif "safetensors" in said and self.settings["safetensors"]:
            advice = f"it has no safetensors; {self.settings.key('safetensors')}: false reads torch's files"
        elif isinstance(error, ImportError):
            advice = "pip install what it names"
        else:
            advice = "check the folder or the id"
        raise UserError(
            f"{self.settings.key(self.key)}: {name} cannot be loaded: {advice}"
            f" ({type(error).__name__}: {said})"
        ) from error


def cropped(path: Path | None, factor: int) -> Any:
    """Return a real image cut at its right and lower edge to multiples of a factor."""
    from clipsieve.images.decode import ImageProblem, decode

    assert path is not None
    try:
        picture = decode(path)
    except ImageProblem as problem:
        raise UserError(f"{path}: {problem.reason}") from None
    width, height = picture.size
    size = width - width % factor, height - height % factor
    if min(size) == 0:
        raise UserError(f"{path}: {width} x {height} pixels are fewer than {factor} x {factor}")
    return picture if size == picture.size else picture.crop((0, 0, *size))


def made(samples: Any, flagged: bool = False) -> Made:
    """Return one image from its samples in [0, 1], shape [height, width, 3]."""
    from PIL import Image

    if isinstance(samples, Image.Image):
        return Made(samples, "filtered" if flagged else None)
    values = np.asarray(samples, dtype=np.float32)
    if not np.isfinite(values).all():
        return Made(None, "not a number")
    pixels = np.round(np.clip(values, 0, 1) * 255).astype(np.uint8)
    return Made(Image.fromarray(pixels), "filtered" if flagged else None)


def _accepts(takes: Any, name: str) -> bool:
    # by name: what only **kwargs would take is ignored by pipelines in silence
    return name in takes and takes[name].kind is not inspect.Parameter.VAR_KEYWORD


def _for_batch(arguments: Any, size: int) -> dict[str, Any]:
    """Return arguments of a call; in a batch a text for all stands once for each image."""
    if size == 1:
        return dict(arguments)
    return {
        name: [value] * size if "prompt" in name and isinstance(value, str) else value
        for name, value in arguments.items()
    }
