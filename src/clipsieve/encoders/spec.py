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
POOLINGS = ("cls_projected", "cls_hidden", "mean_tokens")
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
        return self.model if isinstance(self.model, str) else "inline"

    @property
    def config(self) -> dict[str, Any] | None:
        """The open_clip configuration where it is not open_clip's own: inline, or shipped here."""
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
    if isinstance(model, Mapping):
        missing = {"embed_dim", "vision_cfg", "text_cfg"} - set(model)
        if missing:
            raise UserError(f"encoder model: the inline configuration lacks {min(missing)!r}")
        model = dict(model)
    elif not isinstance(model, str) or not model:
        raise UserError(f"encoder model {model!r}: an open_clip name, or a configuration mapping")
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
