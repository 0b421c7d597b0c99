"""Image towers of timm: built by name, filled with weights, with timm's own preprocessing.

A tower is taken without its classifier or projection: its embedding is what timm calls the
features before the head.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import timm
import torch
from PIL import Image
from timm.data import create_transform, resolve_model_data_config
from torch import nn

from clipsieve.encoders.spec import HUB, WEIGHT_FILES, EncoderSpec
from clipsieve.errors import UserError
from clipsieve.io.files import sha256_of

_DTYPE = {"bfloat16": torch.bfloat16, "float16": torch.float16}
_PREPROCESS = ("mean", "std", "interpolation")


class TimmImages(nn.Module):
    """A timm tower in the place of an open_clip model: `visual` and `encode_image`, no texts."""

    def __init__(self, visual: nn.Module) -> None:
        super().__init__()
        self.visual = visual

    def encode_image(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return the features before the head, [n, D]."""
        features: torch.Tensor = self.visual(pixels)
        return features


def build(spec: EncoderSpec) -> tuple[TimmImages, str | None]:
    """Build and fill a tower; return it and the sha256 of its weights, where they are a file.

    Raises
    ------
    UserError
        timm has no such tower or tag, the options don't fit it, or the weights can't be had or
        belong to another tower.
    """
    assert spec.timm is not None
    name, options = spec.timm
    base, _, tag = name.partition(".")
    if base not in timm.list_models():
        close = difflib.get_close_matches(base, timm.list_models(), n=4, cutoff=0.0)
        raise UserError(f"encoder model {name!r}: not in timm; near it: {', '.join(close)}")
    if tag and name not in timm.list_pretrained():
        raise UserError(f"encoder model {name!r}: timm has no tag {tag!r} of it; {_tags(base)}")
    weights = spec.weights
    digest = None
    if weights is None:
        if tag:
            raise UserError(
                f"encoder model {name!r}: weights: null means random numbers; write weights: {tag},"
                " or leave the tag out of the name"
            )
        trunk = _create(name, options)
    elif weights.endswith(WEIGHT_FILES):
        path = Path(weights)
        if not path.is_file():
            raise UserError(f"encoder weights {weights!r}: no such file")
        trunk = _create(name, options)
        _fill(trunk, path)
        digest = sha256_of(path)
    else:
        trunk = _fetched(base, tag, weights, options)
    if spec.precision in _DTYPE:
        trunk.to(_DTYPE[spec.precision])
    return TimmImages(trunk), digest


def preprocessing(model: TimmImages, spec: EncoderSpec) -> dict[str, Any]:
    """Return the settings of timm's own evaluation transform, with the spec's overrides."""
    wrong = sorted(set(spec.preprocess) - set(_PREPROCESS))
    if wrong:
        raise UserError(
            f"encoder preprocess {wrong[0]!r}: of a timm tower, only {', '.join(_PREPROCESS)}"
        )
    assert spec.timm is not None
    side = spec.timm[1].get("img_size")
    asked = (
        {}
        if side is None
        else {"input_size": (3, *([side] * 2 if isinstance(side, int) else side))}
    )
    found = resolve_model_data_config(model.visual, args=asked)
    channels, height, width = found["input_size"]
    if channels != 3:
        raise UserError(f"encoder model {spec.model_name!r}: {channels} channels; images have 3")
    plain = {key: list(v) if isinstance(v, tuple) else v for key, v in found.items()}
    del plain["input_size"]
    size = height if height == width else [height, width]
    return {"of": "timm", "size": size, **plain, **spec.preprocess}


def transform(settings: dict[str, Any]) -> Callable[[Image.Image], torch.Tensor]:
    """Return timm's evaluation transform for the settings of `preprocessing`."""
    keys = ("interpolation", "mean", "std", "crop_pct", "crop_mode")
    size = settings["size"]
    made: Callable[[Image.Image], torch.Tensor] = create_transform(
        input_size=(3, size, size) if isinstance(size, int) else (3, *size),
        is_training=False,
        **{key: settings[key] for key in keys if key in settings},
    )
    return made


def _create(name: str, options: dict[str, Any], **more: Any) -> nn.Module:
    """Build a tower by name with random weights; nothing is downloaded."""
    try:
        model: nn.Module = timm.create_model(name, num_classes=0, **options, **more)
    except (AssertionError, AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(f"encoder model {name!r}: {_reason(error)}") from error
    return model


def _fetched(base: str, tag: str, weights: str, options: dict[str, Any]) -> nn.Module:
    """Load a tag of timm's, or a repository of the hub whose tower must be the one named."""
    if weights.startswith(HUB):
        source = weights
    elif tag and tag != weights:
        raise UserError(f"encoder weights {weights!r}: the model's name has the tag {tag!r}")
    else:
        source = f"{base}.{weights}"
        if source not in timm.list_pretrained():
            raise UserError(
                f"encoder weights {weights!r}: no tag of {base} and no file; {_tags(base)}"
            )
    try:
        model: nn.Module = timm.create_model(source, pretrained=True, num_classes=0, **options)
    except Exception as error:
        raise UserError(f"encoder weights {weights!r} of {base}: {_reason(error)}") from error
    found = str(getattr(model, "pretrained_cfg", {}).get("architecture", base))
    if found != base:
        raise UserError(f"encoder model {base!r}: {weights} is a {found}")
    return model


def _fill(trunk: nn.Module, path: Path) -> None:
    """Load a file, in timm's naming or one that timm converts, without its classifier; strictly."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
            for key in ("state_dict", "model"):
                state = state[key] if isinstance(state.get(key), dict) else state
        convert = getattr(sys.modules[type(trunk).__module__], "checkpoint_filter_fn", None)
        state = state if convert is None else convert(state, trunk)
        classifier = trunk.pretrained_cfg.get("classifier") or ()
        for head in (classifier,) if isinstance(classifier, str) else classifier:
            state.pop(f"{head}.weight", None)
            state.pop(f"{head}.bias", None)
        trunk.load_state_dict(state, strict=True)
    except (SafetensorError, AttributeError, KeyError, RuntimeError, OSError) as error:
        raise UserError(f"encoder weights {str(path)!r}: {_reason(error)}") from error
    except Exception as error:  # torch has an error of its own for what weights_only refuses
        raise UserError(f"encoder weights {str(path)!r}: {_reason(error)}") from error


def _tags(base: str) -> str:
    known = [name.partition(".")[2] for name in timm.list_pretrained(f"{base}.*")]
    return f"tags: {', '.join(known) or 'none'}"


def _reason(error: Exception) -> str:
    """One line of what another library said."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 240 else text[:237] + "..."
