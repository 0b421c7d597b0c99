"""DALL-E mini by min-dalle 0.4.11 (https://github.com/kuprel/min-dalle), from files that lie in a folder.

`model` is the folder that the package calls its models_root: dalle_bart_mini/ (encoder.pt, decoder.pt, vocab.json,
merges.txt) and vqgan/detoker.pt, or dalle_bart_mega/ with `arguments: {is_mega: true}`. Importing the package
switches gradients off and sets threads: the command `generate` is a process that does nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from clipsieve.errors import UserError
from clipsieve.generation.making import Made, Maker, Request, Settings, local_weights, missing
from clipsieve.generation.torch_setup import memory_errors, prepare, versions

#: Arguments of the model itself; the others go to each image.
_OF_MODEL = ("is_mega", "layer_count", "attention_head_count", "embed_count", "glu_embed_count",
             "text_vocab_count", "image_vocab_count")  # fmt: skip
_OF_IMAGE = ("temperature", "top_k", "supercondition_factor")


def min_dalle(settings: Settings) -> Maker:
    """Load DALL-E mini."""
    return _MinDalle(settings)


class _MinDalle:
    def __init__(self, settings: Settings) -> None:
        self.torch, device, self.facts = prepare(settings)
        try:
            import min_dalle.min_dalle as package
        except ImportError as error:
            name = (error.name or "min-dalle").partition(".")[0]
            raise missing(settings, name, "pip install min-dalle==0.4.11 emoji") from None
        self.torch.set_num_threads(settings.threads)
        self.settings = settings
        self.facts["versions"] |= versions("min-dalle")
        root = Path(settings["model"])
        unknown = sorted(set(settings["arguments"]) - {*_OF_MODEL, *_OF_IMAGE})
        if unknown:
            raise UserError(
                f"{settings.key('arguments')}: {unknown[0]!r} is unknown; one of:"
                f" {', '.join((*_OF_MODEL, *_OF_IMAGE))}"
            )
        sizes = {k: v for k, v in settings["arguments"].items() if k in _OF_MODEL}
        is_mega = bool(sizes.pop("is_mega", False))
        part = "dalle_bart_mega" if is_mega else "dalle_bart_mini"
        for file in (f"{part}/encoder.pt", f"{part}/decoder.pt", f"{part}/vocab.json",
                     f"{part}/merges.txt", "vqgan/detoker.pt"):  # fmt: skip
            if not (root / file).is_file():
                raise UserError(
                    f"{settings.key('model')}: no file {root / file}; fetch the files of kuprel/min-dalle"
                    " into this folder (docs/data.md)"
                )
        with memory_errors(settings):
            self.model = _offline(package, sizes)(
                models_root=str(root),
                dtype=getattr(self.torch, settings["dtype"]),
                device=device,
                is_mega=is_mega,
                is_reusable=True,
                is_verbose=False,
            )
        self.facts["model"] = {"class": "MinDalle", **local_weights(root).facts}

    def make(self, requests: Sequence[Request]) -> list[Made]:
        """Make one image after the other; the package seeds torch's global random numbers."""
        options = {k: v for k, v in self.settings["arguments"].items() if k in _OF_IMAGE}
        with memory_errors(self.settings):
            return [
                Made(self.model.generate_image(r.text, seed=r.seed, grid_size=1, **options))
                for r in requests
            ]


def _offline(package: Any, sizes: dict[str, int]) -> type[Any]:
    """Return the model's class without the request that its tokenizer always makes."""

    class Offline(package.MinDalle):
        def init_tokenizer(self) -> None:
            for name, value in sizes.items():
                setattr(self, name, value)
            vocab = json.loads(Path(self.vocab_path).read_text(encoding="utf-8"))
            merges = Path(self.merges_path).read_text(encoding="utf-8").split("\n")[1:-1]
            self.tokenizer = package.TextTokenizer(vocab, merges)

    return Offline
