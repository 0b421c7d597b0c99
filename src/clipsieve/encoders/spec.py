"""What an encoder's entry in the config may say, checked without torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from clipsieve.errors import UserError

DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = ("float32", "bfloat16", "float16")
#: The first is the model's own.
POOLINGS = (
    "cls_projected",
    "cls_hidden",
    "mean_tokens",
    "cls_stream",
    "mean_hidden",
    "mean_stream",
)
#: What begins the name of a tower of timm, and the key of one with options of its own.
TIMM = "timm"
HUB = "hf-hub:"
#: Endings of weights that are a file.
WEIGHT_FILES = (".safetensors", ".pt", ".pth", ".bin")
_PREPROCESS = ("mean", "std", "interpolation", "resize_mode")
_KEYS = ("model", "weights", "seed", "device", "precision", "pooling", "preprocess")


@dataclass(frozen=True)
class EncoderSpec:
    """A checked encoder entry; `clipsieve.encoders.load_encoder` says what each key means."""

    model: str | dict[str, Any]
    weights: str | None = None
    seed: int = 0
    device: str = "auto"
    precision: str = "float32"
    pooling: str = "cls_projected"
    preprocess: dict[str, Any] = field(default_factory=dict)

    def as_mapping(self) -> dict[str, Any]:
        """What `load_encoder` takes to load the same encoder, on any device."""
        keys = ("model", "weights", "seed", "precision", "pooling", "preprocess")
        return {key: getattr(self, key) for key in keys}

    @property
    def model_name(self) -> str:
        """The model's name, or `inline` for a configuration written out."""
        if isinstance(self.model, dict):
            return str(self.model.get(TIMM, "inline"))
        return self.model

    @property
    def timm(self) -> tuple[str, dict[str, Any]] | None:
        """Name in timm (with its tag, where it has one) and options of a timm tower, else None."""
        if isinstance(self.model, dict):
            options = {key: value for key, value in self.model.items() if key != TIMM}
            return (str(self.model[TIMM]), options) if TIMM in self.model else None
        prefix = f"{TIMM}/"
        return (self.model.removeprefix(prefix), {}) if self.model.startswith(prefix) else None

    @property
    def needs_hub(self) -> bool:
        """Whether the weights come from a model hub: neither random numbers nor a file."""
        if isinstance(self.model, str) and self.model.startswith(HUB):
            return True
        return self.weights is not None and not self.weights.endswith(WEIGHT_FILES)

    @property
    def config(self) -> dict[str, Any] | None:
        """The open_clip configuration where it is not open_clip's own: inline, or shipped here."""
        if self.timm is not None:
            return None
        if isinstance(self.model, dict):
            return json.loads(json.dumps(self.model))
        shipped = files("clipsieve") / "data" / "encoders" / f"{self.model}.json"
        if "/" not in self.model and shipped.is_file():
            return json.loads(shipped.read_text(encoding="utf-8"))
        return None


def parse_spec(spec: Mapping[str, Any]) -> EncoderSpec:
    """Check a mapping and fill in the defaults; raises UserError naming the key."""
    unknown = sorted(set(spec) - set(_KEYS))
    if unknown:
        raise UserError(f"encoder: unknown key {unknown[0]!r}; one of {', '.join(_KEYS)}")
    model = spec.get("model")
    if isinstance(model, Mapping) and TIMM in model:
        model = dict(model)
        if not isinstance(model[TIMM], str) or not model[TIMM]:
            raise UserError(f"encoder model: timm {model[TIMM]!r}: the name of a tower of timm")
    elif isinstance(model, Mapping):
        missing = {"embed_dim", "vision_cfg", "text_cfg"} - set(model)
        if missing:
            raise UserError(f"encoder model: the inline configuration lacks {min(missing)!r}")
        model = dict(model)
    elif not isinstance(model, str) or not model:
        raise UserError(f"encoder model {model!r}: an open_clip name, timm/<name>, or a mapping")
    weights = spec.get("weights")
    if weights is not None and (not isinstance(weights, str) or not weights):
        raise UserError(f"encoder weights {weights!r}: a tag, a file, hf-hub:org/name, or null")
    seed = spec.get("seed", 0)
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise UserError(f"encoder seed {seed!r}: a whole number from 0")
    preprocess = dict(spec.get("preprocess") or {})
    wrong = sorted(set(preprocess) - set(_PREPROCESS))
    if wrong:
        raise UserError(f"encoder preprocess: unknown key {wrong[0]!r}; one of {_PREPROCESS}")
    return EncoderSpec(
        model=model,
        weights=weights,
        seed=seed,
        device=_one_of(spec, "device", DEVICES),
        precision=_one_of(spec, "precision", PRECISIONS),
        pooling=_one_of(spec, "pooling", POOLINGS),
        preprocess=preprocess,
    )


def _one_of(spec: Mapping[str, Any], key: str, allowed: tuple[str, ...]) -> str:
    value = spec.get(key) or allowed[0]
    if value not in allowed:
        raise UserError(f"encoder {key} {value!r}: one of {', '.join(allowed)}")
    return str(value)
