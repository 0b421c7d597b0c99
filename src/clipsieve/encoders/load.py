"""From an encoder's entry to a loaded open_clip model, with every mismatch refused by name."""

from __future__ import annotations

import difflib
import hashlib
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.factory import load_checkpoint
from open_clip.model import CLIP, CustomTextCLIP, convert_weights_to_lp
from open_clip.pretrained import download_pretrained, get_pretrained_cfg
from open_clip.timm_model import TimmModel
from open_clip.transform import PreprocessCfg, image_transform_v2
from torch import nn

from clipsieve.encoders import timm_towers
from clipsieve.encoders.devices import take_device
from clipsieve.encoders.encoder import Encoder
from clipsieve.encoders.spec import HUB, WEIGHT_FILES, EncoderSpec
from clipsieve.errors import UserError
from clipsieve.io.files import sha256_of

log = logging.getLogger("clipsieve")

#: Raised when the embeddings or head outputs that an unchanged encoder gives change.
ENCODER_VERSION = 1

_PRECISION = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}
_DTYPE = {"bfloat16": torch.bfloat16, "float16": torch.float16}
_LIBRARIES: tuple[str, ...] = ("open_clip_torch", "pillow", "torch", "torchvision")


def load(checked: EncoderSpec) -> Encoder:
    """Load an encoder; `clipsieve.encoders.load_encoder` describes what is checked, and the errors."""
    device = _device(checked.device)
    # Random initialisation draws from torch's global generator: leave it as it was.
    with torch.random.fork_rng(devices=[]), _quiet():
        torch.manual_seed(checked.seed)
        model, weights_sha256, has_text = _model(checked)
    of_timm = isinstance(model, timm_towers.TimmImages)
    model.eval().requires_grad_(False).to(device)
    weights_sha256 = weights_sha256 or _state_sha256(model)
    if isinstance(model, timm_towers.TimmImages):
        preprocessing = timm_towers.preprocessing(model, checked)
        transform = timm_towers.transform(preprocessing)
    else:
        preprocessing = _preprocessing(model, checked)
        transform = image_transform_v2(PreprocessCfg(**preprocessing), is_train=False)
    libraries = _LIBRARIES
    if of_timm or isinstance(model.visual, TimmModel):
        libraries = (*_LIBRARIES, "timm")
    identity = {
        "encoder_version": ENCODER_VERSION,
        "model": checked.model,
        "model_config": checked.config,
        "weights": checked.weights,
        "weights_sha256": weights_sha256,
        "seed": checked.seed if checked.weights is None else None,
        "precision": checked.precision,
        "pooling": checked.pooling,
        "preprocessing": preprocessing,
        "device": device.type,
        "versions": {name: version(name) for name in libraries},
    }
    if checked.weights is not None and Path(checked.weights).is_file():
        # Where a file lies does not change what is in it.
        identity["weights"] = Path(checked.weights).name
    return Encoder(
        model, transform, _tokenizer(checked) if has_text else None, checked, device, identity
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep open_clip's remarks on random weights to itself; what matters is refused by name here."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("encoder device 'cuda': no GPU is visible to torch; use auto or cpu")
    if name == "cuda":
        # cuDNN's default rounds the inputs of the patch convolution to 10 bits.
        torch.backends.cudnn.allow_tf32 = False
        return torch.device("cuda", take_device(torch.cuda.device_count()))
    return torch.device(name)


def _model(spec: EncoderSpec) -> tuple[nn.Module, str | None, bool]:
    """Build and fill the model; return it, the weight file's sha256, and if it has texts."""
    weights = spec.weights
    if spec.timm is not None:
        return *timm_towers.build(spec), False
    if spec.config is not None:
        model = _from_config(spec.config, spec.precision)
        if weights is None:
            return model, None, True
        path = _weights_file(weights)
        if _is_image_tower(path):
            _load_image_tower(model, path)
            return model, sha256_of(path), False
        _load_whole(model, path)
        return model, sha256_of(path), True
    name = str(spec.model)
    if name.startswith(HUB) or (weights or "").startswith(HUB):
        return _from_hub(spec), None, True
    if open_clip.get_model_config(name) is None:
        close = difflib.get_close_matches(name, open_clip.list_models(), n=4, cutoff=0.0)
        raise UserError(f"encoder model {name!r}: not in open_clip; near it: {', '.join(close)}")
    if weights is None:
        return _create(name, spec.precision), None, True
    if get_pretrained_cfg(name, weights) or not Path(weights).suffix:
        return _from_tag(name, weights, spec.precision)
    path = _weights_file(weights)
    _check_recorded_model(path, name)
    if _is_image_tower(path):
        # The text tower would be random numbers: build the smallest one there is.
        text = {"context_length": 1, "vocab_size": 1, "width": 8, "heads": 1, "layers": 1}
        model = _create(name, spec.precision, text_cfg=text)
        _load_image_tower(model, path)
        return model, sha256_of(path), False
    model = _create(name, spec.precision)
    _load_whole(model, path)
    return model, sha256_of(path), True


def _create(name: str, precision: str, **overrides: Any) -> nn.Module:
    """Build an open_clip model by name with random weights; nothing is downloaded."""
    try:
        return open_clip.create_model(
            name,
            precision=_PRECISION[precision],
            pretrained_text=False,
            force_patch_dropout=0.0,
            **overrides,
        )
    except (ImportError, RuntimeError, TypeError) as error:
        raise UserError(f"encoder model {name!r}: {_reason(error)}") from error


def _from_config(config: dict[str, Any], precision: str) -> nn.Module:
    """Build a model from a written-out open_clip configuration, with random weights."""
    cls = CustomTextCLIP if config.pop("custom_text", False) else CLIP
    dtype = _DTYPE.get(precision)
    try:
        config["vision_cfg"]["patch_dropout"] = 0.0
        model = cls(**config, cast_dtype=dtype)
    except (TypeError, KeyError, AssertionError) as error:
        raise UserError(f"encoder model: open_clip refuses the configuration: {error}") from error
    if dtype is not None:
        convert_weights_to_lp(model, dtype)
    return model


def known_tag(name: str, tag: str) -> dict[str, Any]:
    """Return what open_clip knows of a tag of a model, after checking that the activation is its.

    Raises
    ------
    UserError
        The model has no such tag, or another activation than its weights were trained with.
    """
    known = get_pretrained_cfg(name, tag)
    if not known:
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(name)) or "none"
        raise UserError(f"encoder weights {tag!r}: no tag of {name} and no file; tags: {tags}")
    wanted = bool(known.get("quick_gelu", False))
    config = open_clip.get_model_config(name) or {}
    if wanted != bool(config.get("quick_gelu", False)):
        base = name.removesuffix("-quickgelu")
        right = f"{base}-quickgelu" if wanted else base
        needs = "trained with QuickGELU" if wanted else "trained with GELU"
        if right not in open_clip.list_models():
            right = f"a configuration of {name} with quick_gelu: {str(wanted).lower()}"
        raise UserError(f"encoder model {name!r}: weights {tag!r} were {needs}; use {right}")
    return dict(known)


def _from_tag(name: str, tag: str, precision: str) -> tuple[nn.Module, str, bool]:
    """Load the weights of an open_clip tag."""
    known = known_tag(name, tag)
    try:
        path = download_pretrained(known)
        model = open_clip.create_model(
            name, pretrained=tag, precision=_PRECISION[precision], force_patch_dropout=0.0
        )
    except Exception as error:
        raise UserError(f"encoder weights {tag!r} of {name}: {_reason(error)}") from error
    return model, sha256_of(path), True


def _from_hub(spec: EncoderSpec) -> nn.Module:
    """Load configuration and weights from the Hugging Face hub; a named model must agree."""
    name = str(spec.model)
    source = spec.weights if (spec.weights or "").startswith(HUB) else name
    if spec.weights not in (None, source):
        raise UserError(f"encoder weights {spec.weights!r}: {name} brings its own; leave it out")
    try:
        model = open_clip.create_model(
            source,
            precision=_PRECISION[spec.precision],
            require_pretrained=True,
            force_patch_dropout=0.0,
        )
    except Exception as error:
        raise UserError(f"encoder weights {source!r}: {_reason(error)}") from error
    if not name.startswith(HUB):
        with torch.device("meta"):
            named = _create(name, "float32").visual.state_dict()
        found = model.visual.state_dict()
        if {k: v.shape for k, v in named.items()} != {k: v.shape for k, v in found.items()}:
            raise UserError(f"encoder model {name!r}: not the architecture of {source}")
    return model


def _weights_file(weights: str) -> Path:
    path = Path(weights)
    if not path.is_file():
        raise UserError(f"encoder weights {weights!r}: no such file")
    if path.suffix not in WEIGHT_FILES:
        raise UserError(f"encoder weights {weights!r}: must end in {', '.join(WEIGHT_FILES)}")
    return path


def _is_image_tower(path: Path) -> bool:
    """Say whether a safetensors file holds only an image tower."""
    if path.suffix != ".safetensors":
        return False
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as tensors:
            return all(key.startswith("visual.") for key in tensors.keys())  # noqa: SIM118
    except SafetensorError as error:
        raise UserError(f"encoder weights {str(path)!r}: damaged ({error})") from error


def _check_recorded_model(path: Path, name: str) -> None:
    """Refuse a file that says it belongs to another model."""
    if path.suffix != ".safetensors":
        return
    from safetensors import safe_open

    with safe_open(path, framework="pt") as tensors:
        note = (tensors.metadata() or {}).get("clipsieve", "{}")
    recorded = json.loads(note).get("model")
    if recorded is not None and recorded != name:
        raise UserError(f"encoder model {name!r}: the weights {path.name} are for {recorded}")


def _load_image_tower(model: nn.Module, path: Path) -> None:
    from safetensors.torch import load_file

    state = {key.removeprefix("visual."): value for key, value in load_file(path).items()}
    try:
        model.visual.load_state_dict(state, strict=True)
    except RuntimeError as error:
        raise UserError(f"encoder weights {str(path)!r}: {_reason(error)}") from error


def _load_whole(model: nn.Module, path: Path) -> None:
    try:
        load_checkpoint(model, str(path), strict=True, weights_only=True)
    except Exception as error:
        raise UserError(f"encoder weights {str(path)!r}: {_reason(error)}") from error


def _preprocessing(model: nn.Module, spec: EncoderSpec) -> dict[str, Any]:
    """Return open_clip's preprocessing settings for this model, with the spec's overrides."""
    settings = dict(getattr(model.visual, "preprocess_cfg", None) or vars(PreprocessCfg()))
    size = getattr(model.visual, "image_size", None)
    if size is not None:
        settings["size"] = size
    settings.update(spec.preprocess)
    plain = {key: list(v) if isinstance(v, tuple) else v for key, v in settings.items()}
    if isinstance(plain["size"], list) and plain["size"][0] == plain["size"][1]:
        plain["size"] = plain["size"][0]
    return plain


def _tokenizer(spec: EncoderSpec) -> Any:
    """Return a function that makes the tokenizer (some are fetched, so only when it is needed)."""
    if spec.config is not None:
        length = spec.config["text_cfg"].get("context_length", 77)
        return lambda: open_clip.SimpleTokenizer(context_length=length)
    hub = (spec.weights or "").startswith(HUB)
    name = spec.weights if hub else str(spec.model)

    def make() -> Any:
        try:
            return open_clip.get_tokenizer(name)
        except Exception as error:
            raise UserError(
                f"encoder model {name!r}: its tokenizer can't be had here ({_reason(error)}); some are"
                " fetched from the model hub: let them be, once, with HF_HUB_OFFLINE=0"
            ) from error

    return make


def _state_sha256(model: nn.Module) -> str:
    """Return a sha256 over names, types and bytes of all parameters, in the order of the names."""
    digest = hashlib.sha256()
    for key, value in sorted(model.state_dict().items()):
        tensor = value.detach().cpu().contiguous()
        digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _reason(error: Exception) -> str:
    """One line of what another library said."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 240 else text[:237] + "..."
