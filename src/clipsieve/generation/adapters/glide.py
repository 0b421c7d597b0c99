"""GLIDE, with classifier-free or with CLIP guidance, by https://github.com/openai/glide-text2im (MIT, commit 69b5307).

`model` is a folder with the published files: base.pt and upsample.pt, and for CLIP guidance clip_image_enc.pt and
clip_text_enc.pt. Arguments, with the values of the repository's notebooks: `guidance` (free or clip),
`guidance_scale` 3.0, `steps` "100", `upsample_steps` "fast27", `upsample_temperature` 0.997; `base` and `upsampler`
change options of the two networks. The package named glide in the registry is another thing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from clipsieve.errors import UserError
from clipsieve.generation.adapters.pipelines import made
from clipsieve.generation.making import Made, Maker, Request, Settings, local_weights, missing
from clipsieve.generation.torch_setup import memory_errors, prepare, versions

DEFAULTS: dict[str, Any] = {
    "guidance": "free",
    "guidance_scale": 3.0,
    "steps": "100",
    "upsample_steps": "fast27",
    "upsample_temperature": 0.997,
    "base": {},
    "upsampler": {},
}


def glide(settings: Settings) -> Maker:
    """Load GLIDE's base network, its upsampler and, where CLIP guides, its noised CLIP."""
    return _Glide(settings)


class _Glide:
    def __init__(self, settings: Settings) -> None:
        self.torch, self.device, self.facts = prepare(settings)
        try:
            from glide_text2im.clip.model_creation import create_clip_model
            from glide_text2im.model_creation import (
                create_model_and_diffusion,
                model_and_diffusion_defaults,
                model_and_diffusion_defaults_upsampler,
            )
        except ImportError as error:
            name = (error.name or "glide_text2im").partition(".")[0]
            advice = "conda makes envs/glide.yaml with it: add --sdm conda, or see docs/data.md"
            raise missing(settings, name, advice) from None
        self.settings = settings
        self.options = {**DEFAULTS, **settings["arguments"]}
        unknown = sorted(set(self.options) - set(DEFAULTS))
        if unknown:
            raise UserError(
                f"{settings.key('arguments')}: {unknown[0]!r} is unknown; one of: {', '.join(DEFAULTS)}"
            )
        if self.options["guidance"] not in ("free", "clip"):
            raise UserError(
                f"{settings.key('arguments')}.guidance: {self.options['guidance']!r}; free or clip"
            )
        self.facts["versions"] |= versions("glide-text2im")
        half = settings["dtype"] == "float16" and self.device != "cpu"
        root = Path(settings["model"])
        with memory_errors(settings):
            self.base_options = {
                **model_and_diffusion_defaults(),
                **self.options["base"],
                "use_fp16": half,
                "timestep_respacing": str(self.options["steps"]),
            }
            self.up_options = {
                **model_and_diffusion_defaults_upsampler(),
                **self.options["upsampler"],
                "use_fp16": half,
                "timestep_respacing": str(self.options["upsample_steps"]),
            }
            self.base, self.diffusion = self._network(
                create_model_and_diffusion(**self.base_options), root / "base.pt", half
            )
            self.upsampler, self.up_diffusion = self._network(
                create_model_and_diffusion(**self.up_options), root / "upsample.pt", half
            )
            self.clip = None
            if self.options["guidance"] == "clip":
                self.clip = self._guide(create_clip_model, root)
        self.facts["model"] = {"class": "GLIDE", **local_weights(root).facts}

    def _state(self, path: Path) -> Any:
        """Read torch's file without running code."""
        if not path.is_file():
            raise UserError(
                f"{self.settings.key('model')}: no file {path}; docs/data.md says which files go there"
            )
        return self.torch.load(path, map_location="cpu", weights_only=True)

    def _network(self, pair: tuple[Any, Any], path: Path, half: bool) -> tuple[Any, Any]:
        model, diffusion = pair
        model.load_state_dict(self._state(path))
        model.eval()
        if half:
            model.convert_to_fp16()
        return model.to(self.device), diffusion

    def _guide(self, create: Callable[..., Any], root: Path) -> Any:
        own = root / "clip.yaml"
        options = {"config_path": str(own)} if own.is_file() else {}
        clip = create(device=self.torch.device(self.device), **options)
        clip.image_encoder.load_state_dict(self._state(root / "clip_image_enc.pt"))
        clip.text_encoder.load_state_dict(self._state(root / "clip_text_enc.pt"))
        return clip

    def make(self, requests: Sequence[Request]) -> list[Made]:
        """Make one image after the other: the package draws from torch's global random numbers."""
        return [self._one(request) for request in requests]

    def _one(self, request: Request) -> Made:
        torch = self.torch
        torch.manual_seed(request.seed)
        with memory_errors(self.settings):
            with torch.no_grad():
                small = self._sampled(request.text)
                large = self._upsampled(small, request.text)
            samples = ((large[0].float() + 1) / 2).permute(1, 2, 0).cpu().numpy()
        return made(samples)

    def _tokens(self, model: Any, options: dict[str, Any], texts: list[str | None]) -> Any:
        """Return padded tokens and their mask; None is the empty prompt."""
        rows = []
        for text in texts:
            tokens = [] if text is None else model.tokenizer.encode(text)
            rows.append(model.tokenizer.padded_tokens_and_mask(tokens, options["text_ctx"]))
        tensor, device = self.torch.tensor, self.device
        return {
            "tokens": tensor([row[0] for row in rows], device=device),
            "mask": tensor([row[1] for row in rows], dtype=self.torch.bool, device=device),
        }

    def _sampled(self, text: str) -> Any:
        """Return the base network's image, [1, 3, 64, 64] in [-1, 1]."""
        side = self.base_options["image_size"]
        scale = float(self.options["guidance_scale"])
        guided = self.clip is not None
        texts: list[str | None] = [text] if guided else [text, None]
        shape = (len(texts), 3, side, side)
        self.base.del_cache()

        def free(x: Any, steps: Any, **extra: Any) -> Any:
            """Both halves get the same noise estimate, led away from the empty prompt's."""
            half = x[: len(x) // 2]
            output = self.base(self.torch.cat([half, half]), steps, **extra)
            noise, rest = output[:, :3], output[:, 3:]
            with_text, without = noise.chunk(2)
            led = without + scale * (with_text - without)
            return self.torch.cat([self.torch.cat([led, led]), rest], dim=1)

        sample = self.diffusion.p_sample_loop(
            self.base if guided else free,
            shape,
            device=self.device,
            clip_denoised=True,
            progress=False,
            model_kwargs=self._tokens(self.base, self.base_options, texts),
            cond_fn=self.clip.cond_fn([text], scale) if self.clip is not None else None,
        )[:1]
        self.base.del_cache()
        return sample

    def _upsampled(self, small: Any, text: str) -> Any:
        """Return the upsampler's image, [1, 3, 256, 256] in [-1, 1]."""
        side = self.up_options["image_size"]
        self.upsampler.del_cache()
        extra = self._tokens(self.upsampler, self.up_options, [text])
        # as the base network's image would be read from a file of 8 bits
        extra["low_res"] = ((small + 1) * 127.5).round() / 127.5 - 1
        shape = (1, 3, side, side)
        noise = self.torch.randn(shape).to(self.device) * float(
            self.options["upsample_temperature"]
        )
        sample = self.up_diffusion.ddim_sample_loop(
            self.upsampler,
            shape,
            noise=noise,
            device=self.device,
            clip_denoised=True,
            progress=False,
            model_kwargs=extra,
            cond_fn=None,
        )
        self.upsampler.del_cache()
        return sample
