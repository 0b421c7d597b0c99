"""A loaded encoder: images and texts to embeddings, head outputs, and their algebra."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from clipsieve.encoders import heads as head_maths
from clipsieve.encoders import texts as text_maths
from clipsieve.encoders import tower
from clipsieve.encoders.parallel import side_by_side
from clipsieve.encoders.spec import EncoderSpec
from clipsieve.errors import UserError

log = logging.getLogger("clipsieve")

#: The rebuilt embedding may differ from the model's own by this much, relative to its length.
SELF_CHECK_TOLERANCE = 1e-4
#: Images that go through the tower together on one thread of a CPU.
PART = 4
_INPUT = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class Encoder:
    """A frozen open_clip model with its preprocessing.

    Attributes
    ----------
    model : torch.nn.Module
        The open_clip module, in evaluation mode, without gradients, unchanged.
    preprocess : callable
        open_clip's own evaluation transform: a PIL image to a float32 tensor [3, height, width].
    tokenizer : callable or None
        Texts to token ids [n, context length]; None without a text tower.
    device : torch.device
    identity : dict
        What decides the numbers: model, weights and their sha256, precision, pooling,
        preprocessing, library versions. Goes into every file made with this encoder.
    heads_missing : str or None
        Why there are no head outputs, where there are none.
    self_check_error : float or None
        Relative error of the embedding rebuilt from its parts at load.
    """

    def __init__(
        self,
        model: nn.Module,
        preprocess: Callable[[Image.Image], torch.Tensor],
        make_tokenizer: Callable[[], Any] | None,
        spec: EncoderSpec,
        device: torch.device,
        identity: dict[str, Any],
    ) -> None:
        self.model = model
        self.preprocess = preprocess
        self.spec = spec
        self.device = device
        self.identity = identity
        self._make_tokenizer = make_tokenizer
        self.heads_missing = tower.why_no_heads(model.visual)
        self._width, self._size = self._sizes()
        if self.heads_missing and spec.pooling != "cls_projected":
            raise UserError(
                f"encoder pooling {spec.pooling!r}: only cls_projected for {spec.model_name},"
                f" since {self.heads_missing}"
            )
        self.self_check_error = None if self.heads_missing else self._self_check()

    @property
    def has_heads(self) -> bool:
        """Whether head outputs can be read."""
        return self.heads_missing is None

    @property
    def has_text(self) -> bool:
        """Whether there is a text tower with weights."""
        return self._make_tokenizer is not None

    @property
    def width(self) -> int:
        """Width of the image tower's residual stream (of its output where it has none)."""
        return self._width

    @property
    def embedding_size(self) -> int:
        """Numbers in an image embedding."""
        return self._size

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width in pixels of what the tower sees."""
        size = self.identity["preprocessing"]["size"]
        return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))

    def attributes(self) -> dict[str, Any]:
        """Return what a file made with this encoder says about it."""
        return {
            **self.identity,
            "spec": self.spec.as_mapping(),
            "embedding_size": self.embedding_size,
            "heads_missing": self.heads_missing or "",
        }

    @cached_property
    def tokenizer(self) -> Any:
        """The model's tokenizer, loaded at first use; None without a text tower."""
        return None if self._make_tokenizer is None else self._make_tokenizer()

    def encode_images(
        self, images: Sequence[Image.Image], batch_size: int = 32
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Embed PIL images.

        Parameters
        ----------
        images : sequence of PIL.Image.Image
        batch_size : int, default 32
            Images a forward pass.

        Returns
        -------
        embeddings : float32 array [n, D], not normalised
        heads : float32 array [n, L, H, d_head], or None where the encoder gives none
        """
        results = [
            self.encode_pixels(
                torch.stack([self.preprocess(i) for i in images[k : k + batch_size]])
            )
            for k in range(0, len(images), batch_size)
        ]
        if not results:
            empty = np.empty((0, *self.heads_shape), np.float32) if self.heads_shape else None
            return np.empty((0, self.embedding_size), np.float32), empty
        embeddings = np.concatenate([r[0] for r in results])
        parts = [r[1] for r in results if r[1] is not None]
        return embeddings, np.concatenate(parts) if parts else None

    def encode_pixels(
        self, pixels: torch.Tensor, pad: bool = False
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Embed preprocessed images [n, 3, height, width]; see `encode_images`.

        On a CPU, parts of `PART` images go through the tower side by side, each on one thread: an
        image's numbers then depend neither on the number of threads nor, with `pad` (the last part
        filled up with blank images), on its place in the batch.
        """
        if self.device.type != "cpu":
            return self._forward(pixels)
        count = len(pixels)
        if pad and count % PART:
            blank = pixels.new_zeros(PART - count % PART, *pixels.shape[1:])
            pixels = torch.cat([pixels, blank])
        parts = side_by_side(self._forward, pixels.split(PART))
        embedding = np.concatenate([part[0] for part in parts])[:count]
        heads = [part[1] for part in parts if part[1] is not None]
        return embedding, np.concatenate(heads)[:count] if heads else None

    @torch.inference_mode()
    def _forward(self, pixels: torch.Tensor) -> tuple[np.ndarray, np.ndarray | None]:
        """Embed preprocessed images in one pass."""
        pixels = pixels.to(self.device, non_blocking=True)
        if self.heads_missing:
            features = self.model.encode_image(pixels.to(_INPUT[self.spec.precision]))
            return features.float().cpu().numpy(), None
        embedding, heads = tower.forward(self.model.visual, pixels, self.spec.pooling)
        return embedding.cpu().numpy(), heads.cpu().numpy()

    def encode_texts(self, texts: Sequence[str], batch_size: int = 256) -> np.ndarray:
        """Embed texts, each batch cut to its longest prompt where the tower is causal.

        Returns
        -------
        float32 array [n, D], not normalised; equal texts get equal rows.

        Raises
        ------
        UserError
            If the encoder has no text tower.
        """
        if self._make_tokenizer is None:
            raise UserError(
                f"encoder {self.spec.model_name}: its weights hold no text tower, so it can't"
                " encode texts; leave out its text stages or choose weights with both towers"
            )
        if not len(texts):
            return np.empty((0, self.embedding_size), np.float32)
        return text_maths.encode_texts(self.model, self.tokenizer, texts, self.device, batch_size)

    @property
    def heads_shape(self) -> tuple[int, int, int] | None:
        """(L, H, d_head), or None."""
        if self.heads_missing:
            return None
        layers, heads, _, width = self._weights.shape
        return int(layers), int(heads), int(width)

    def head_basis(self) -> np.ndarray:
        """Return R of `W_O^h = Q R`, float32 [L, H, d_head, d_head] (UserError without heads)."""
        return head_maths.head_basis(self._weights)

    def head_outputs(self, heads: np.ndarray) -> np.ndarray:
        """Return what each head adds to the residual stream, float32 [n, L, H, width].

        `heads` is [n, L, H, d_head] from `encode_images`.
        """
        return head_maths.head_outputs(heads, self._weights)

    def head_projection(self) -> np.ndarray:
        """Return `P W_O^h`, float32 [L, H, D, d_head]: from cached numbers to the joint space."""
        return head_maths.head_projection(self._weights, self._projection)

    def project(self, vectors: np.ndarray) -> np.ndarray:
        """Bring residual-stream vectors [..., width] to the joint space: P E, as in the paper."""
        if self._projection is None:
            return np.asarray(vectors, np.float32)
        return np.asarray(vectors, np.float32) @ self._projection

    @torch.inference_mode()
    def direct_terms(self, images: Sequence[Image.Image]) -> tower.DirectTerms:
        """Take the CLS token's residual stream of each image apart (see `DirectTerms`)."""
        self._require_heads()
        pixels = torch.stack([self.preprocess(image) for image in images]).to(self.device)
        return tower.direct_terms(self.model.visual, pixels)

    @cached_property
    def _weights(self) -> np.ndarray:
        self._require_heads()
        return tower.output_weights(self.model.visual)

    @cached_property
    def _projection(self) -> np.ndarray | None:
        projection = getattr(self.model.visual, "proj", None)
        return None if projection is None else projection.detach().float().cpu().numpy()

    def _require_heads(self) -> None:
        if self.heads_missing:
            raise UserError(
                f"encoder {self.spec.model_name}: no head outputs: {self.heads_missing}"
            )

    @torch.inference_mode()
    def _sizes(self) -> tuple[int, int]:
        """Return the width of the residual stream and the size of the embedding.

        A tower without head outputs is asked with a blank image, which also shows whether open_clip
        can run it in this precision.
        """
        if self.heads_missing is None:
            width = int(self.model.visual.transformer.width)
            return (
                width,
                width if self.spec.pooling == "cls_hidden" else self.model.visual.output_dim,
            )
        try:
            size = self.encode_pixels(torch.zeros(1, 3, *self.image_size))[0].shape[-1]
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise UserError(
                f"encoder precision {self.spec.precision!r}: {self.spec.model_name} can't run in it"
                f" ({reason}); float32 always works"
            ) from error
        return size, size

    @torch.inference_mode()
    def _self_check(self) -> float:
        """Rebuild the embedding of a noise image from its parts, in float32; refuse a misfit.

        In low precision the parameters are widened for the check and narrowed again, which
        changes no bit of them.
        """
        visual = self.model.visual
        kinds = {name: p.dtype for name, p in visual.named_parameters()}
        visual.float()
        height, width = self.image_size
        generator = torch.Generator().manual_seed(20240621)
        pixels = torch.randn(1, 3, height, width, generator=generator).to(self.device)
        expected = visual(pixels)
        if isinstance(expected, tuple):
            expected = expected[0]
        rebuilt = torch.from_numpy(tower.direct_terms(visual, pixels).embedding())
        for name, parameter in visual.named_parameters():
            parameter.data = parameter.data.to(kinds[name])
        expected = expected.double().cpu()
        error = float((rebuilt - expected).norm() / expected.norm().clamp_min(1e-30))
        if not error < SELF_CHECK_TOLERANCE:
            raise UserError(
                f"encoder {self.spec.model_name}: heads, MLPs and the rest rebuild the embedding"
                f" with relative error {error:.1e}; allowed is {SELF_CHECK_TOLERANCE:.0e}"
            )
        return error
