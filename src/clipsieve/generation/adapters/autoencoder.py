"""An image through an autoencoder and back: a fake of the same content and size as its photograph.

`model` is a folder or hub id of any autoencoder of diffusers (AutoencoderKL, AutoencoderTiny, VQModel, ...), or the
encoder's file of a TAESD pair with `decoder` beside it (https://github.com/madebyollin/taesd).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from clipsieve.errors import UserError
from clipsieve.generation.adapters.pipelines import (
    PACKAGES,
    cropped,
    diffusers,
    loading,
    made,
    offline,
)
from clipsieve.generation.making import Made, Maker, Request, Settings, Weights, local_weights
from clipsieve.generation.torch_setup import memory_errors, prepare, versions


def autoencoder(settings: Settings) -> Maker:
    """Load an autoencoder."""
    return _Autoencoder(settings)


class _Autoencoder:
    def __init__(self, settings: Settings) -> None:
        self.torch, self.device, self.facts = prepare(settings)
        self.settings = settings
        library = diffusers(settings)
        self.facts["versions"] |= versions(*PACKAGES)
        self.dtype = getattr(self.torch, settings["dtype"])
        with loading(settings, "model"), memory_errors(settings):
            if settings["decoder"]:
                model, weights = _pair(settings, library)
                self.facts["decoder"] = local_weights(Path(settings["decoder"])).facts
            else:
                model, weights = _whole(settings, library)
            self.model = model.to(self.device, self.dtype).eval()
        self.facts["model"] = {"class": type(model).__name__, **weights.facts}
        self.factor = _factor(self.model)
        self.facts["crop_to_multiple_of"] = self.factor

    def make(self, requests: Sequence[Request]) -> list[Made]:
        """Encode and decode, one image at a time; the encoder's mode, so chance has no part."""
        return [self._one(request) for request in requests]

    def _one(self, request: Request) -> Made:
        import numpy as np

        torch = self.torch
        pixels = np.asarray(cropped(request.image, self.factor), dtype=np.float32)
        with torch.inference_mode(), memory_errors(self.settings):
            x = torch.from_numpy(pixels / np.float32(127.5) - 1).permute(2, 0, 1)[None]
            encoded = self.model.encode(x.to(self.device, self.dtype))
            if hasattr(encoded, "latent_dist"):
                z = encoded.latent_dist.mode()
            else:
                z = encoded.latents if hasattr(encoded, "latents") else encoded.latent
            y = self.model.decode(z).sample[0].permute(1, 2, 0)
        return made((y.float().cpu().numpy() + 1) / 2)


def _whole(settings: Settings, library: Any) -> tuple[Any, Weights]:
    """Load a folder or hub id; of a whole pipeline, its part `vae`."""
    name = settings["model"]
    options = {"use_safetensors": settings["safetensors"], **settings["load"]}
    if Path(name).is_dir():
        if (Path(name) / "model_index.json").exists():
            options.setdefault("subfolder", "vae")
        folder = Path(name) / options.get("subfolder", "")
        model = library.AutoModel.from_pretrained(name, local_files_only=True, **options)
        return model, local_weights(folder)
    if Path(name).suffix == ".safetensors":
        raise UserError(
            f"{settings.key('decoder')}: a file as the model is an encoder; name its decoder"
        )
    options |= {"revision": settings["revision"], "local_files_only": offline()}
    model = library.AutoModel.from_pretrained(name, **options)
    return model, Weights(name, {"hub": name, "commit": _commit(name, options)})


def _commit(name: str, options: dict[str, Any]) -> str | None:
    """Return the commit of a model that the hub's cache has just been asked for."""
    from huggingface_hub import try_to_load_from_cache

    file = "/".join(filter(None, [options.get("subfolder"), "config.json"]))
    found = try_to_load_from_cache(name, file, revision=options["revision"])
    if not isinstance(found, str):
        return None
    parts = Path(found).parts
    return parts[parts.index("snapshots") + 1]


def _pair(settings: Settings, library: Any) -> tuple[Any, Weights]:
    """Load an encoder and a decoder with the keys of TAESD's own layers."""
    from safetensors.torch import load_file

    for key in ("model", "decoder"):
        if not Path(settings[key]).is_file():
            raise UserError(f"{settings.key(key)}: no file {settings[key]}")
    encoder, decoder = load_file(settings["model"]), load_file(settings["decoder"])
    # TAESD's decoder begins with a clamp, which diffusers has outside its list of layers
    state = {f"encoder.layers.{key}": value for key, value in encoder.items()}
    for key, value in decoder.items():
        index, _, rest = key.partition(".")
        state[f"decoder.layers.{int(index) - 1}.{rest}"] = value
    channels = decoder["1.weight"].shape[1]
    model = library.AutoencoderTiny(latent_channels=channels)
    model.load_state_dict({key: value.float() for key, value in state.items()})
    return model, local_weights(Path(settings["model"]))


def _factor(model: Any) -> int:
    """Return the side in pixels of what one latent stands for."""
    config = model.config
    if getattr(config, "block_out_channels", None):
        return int(2 ** (len(config.block_out_channels) - 1))
    if getattr(config, "encoder_block_out_channels", None):
        return int(2 ** (len(config.encoder_block_out_channels) - 1))
    return int(getattr(model, "spatial_compression_ratio", 32))
