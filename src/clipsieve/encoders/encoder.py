"""A loaded encoder: images and texts to embeddings, head outputs, and their algebra."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from clipsieve.encoders import heads as head_maths
from clipsieve.encoders import readable, tower
from clipsieve.encoders import texts as text_maths
from clipsieve.encoders.parallel import side_by_side
from clipsieve.encoders.spec import EncoderSpec
from clipsieve.encoders.terms import DirectTerms
from clipsieve.encoders.tower_rules import OWN
from clipsieve.errors import UserError

#: Images that go through the tower together on one thread of a CPU.
PART = 4
_INPUT = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Encoded:
    """What an encoder makes of n images, float32 arrays.

    `embedding` [n, D]; `heads` [n, L, H, d_head] or None where there are no head outputs; `layers`
    [n, L, width], the pooled token after each block, or None where they were not asked for.
    """

    embedding: np.ndarray
    heads: np.ndarray | None
    layers: np.ndarray | None


class Encoder:
    """A frozen open_clip model or timm tower with its preprocessing.

    Attributes
    ----------
    model : torch.nn.Module
        The open_clip module, in evaluation mode, without gradients, unchanged but for hooks. Of a
        timm tower, a module whose `visual` is the tower.
    preprocess : callable
        The library's own evaluation transform: a PIL image to a float32 tensor [3, height, width].
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
    pool_mlp_share : float or None
        Length of what the MLP of an attention pool adds, which is no head's, over the embedding's;
        for the noise image of the check. None without such a pool.
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
        self.pool_mlp_share: float | None = None
        self.channels_last = False
        self._hooked, self.heads_missing = readable.access(model, spec)
        self._width, self._size = self._sizes()
        self.self_check_error = None if self.heads_missing else self._check()

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
            **({} if self.pool_mlp_share is None else {"pool_mlp_share": self.pool_mlp_share}),
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
        """Embed preprocessed images [n, 3, height, width]; see `encode_images` and `encode`."""
        encoded = self.encode(pixels, pad=pad)
        return encoded.embedding, encoded.heads

    def encode(
        self, pixels: torch.Tensor, *, pad: bool = False, layers: bool = False, heads: bool = True
    ) -> Encoded:
        """Embed preprocessed images [n, 3, height, width], with the layers where wanted.

        Without `heads` what only head outputs need is left out, where the tower's own pass is to be
        had; the embedding has the same bits.

        On a CPU, parts of `PART` images go through the tower side by side, each on one thread: an
        image's numbers then depend neither on the number of threads nor, with `pad` (the last part
        filled up with blank images), on its place in the batch.

        Raises
        ------
        UserError
            If `layers` are wanted of an encoder without head outputs.
        """
        if layers:
            self._require_heads("layers")
        if self.device.type != "cpu":
            return self._forward(pixels, layers, heads)
        count = len(pixels)
        if pad and count % PART:
            blank = pixels.new_zeros(PART - count % PART, *pixels.shape[1:])
            pixels = torch.cat([pixels, blank])
        parts = side_by_side(lambda part: self._forward(part, layers, heads), pixels.split(PART))
        embedding = np.concatenate([part.embedding for part in parts])[:count]
        arrays = []
        for name in ("heads", "layers"):
            found = [getattr(part, name) for part in parts]
            arrays.append(None if found[0] is None else np.concatenate(found)[:count])
        return Encoded(embedding, *arrays)

    @torch.inference_mode()
    def _forward(
        self, pixels: torch.Tensor, layers: bool = False, want_heads: bool = True
    ) -> Encoded:
        """Embed preprocessed images in one pass."""
        pixels = pixels.to(self.device, non_blocking=True)
        if self.channels_last:
            pixels = pixels.contiguous(memory_format=torch.channels_last)
        plain = self._hooked is not None and self.spec.pooling == OWN and not layers
        if self.heads_missing or (plain and not want_heads):
            features = self.model.encode_image(pixels.to(_INPUT[self.spec.precision]))
            return Encoded(_array(features), None, None)
        if self._hooked is not None:
            narrow = pixels.to(_INPUT[self.spec.precision])
            found = self._hooked.forward(self.model.encode_image, narrow, layers)
            embedding, heads, stacked = (None if part is None else _array(part) for part in found)
            assert embedding is not None
            return Encoded(embedding, heads, stacked)
        kept: list[torch.Tensor] | None = [] if layers else None
        embedding, heads = tower.forward(self.model.visual, pixels, self.spec.pooling, layers=kept)
        stacked = None if kept is None else _array(torch.stack(kept, dim=1))
        return Encoded(_array(embedding), _array(heads), stacked)

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
        """(L, H, d_head), or None; where attention pools, width in place of d_head."""
        if self.heads_missing:
            return None
        if self._hooked is not None:
            return self._hooked.heads_shape
        layers, heads, _, width = self._require_weights().shape
        return int(layers), int(heads), int(width)

    @property
    def layers_shape(self) -> tuple[int, int] | None:
        """(L, width) of the layers, or None where they can't be read."""
        return None if self.heads_shape is None else (self.heads_shape[0], self.width)

    def head_basis(self) -> np.ndarray:
        """Return R of `W_O^h = Q R`, float32 [L, H, d_head, d_head] (UserError without heads).

        Where attention pools, the cached numbers are the head's output itself, and R the identity.
        """
        self._require_heads()
        if self._weights is None:
            layers, heads, width = self.heads_shape or (0, 0, 0)
            eye = np.eye(width, dtype=np.float32)
            return np.broadcast_to(eye, (layers, heads, width, width))
        return head_maths.head_basis(self._weights)

    def head_outputs(self, heads: np.ndarray) -> np.ndarray:
        """Return what each head adds to the residual stream, float32 [n, L, H, width].

        `heads` is [n, L, H, d_head] from `encode_images`.
        """
        self._require_heads()
        if self._weights is None:
            return np.asarray(heads, np.float32)
        return head_maths.head_outputs(heads, self._weights)

    def head_projection(self) -> np.ndarray:
        """Return `P W_O^h`, float32 [L, H, D, d_head]: from cached numbers to the joint space."""
        self._require_heads()
        if self._weights is None:
            layers, heads, width = self.heads_shape or (0, 0, 0)
            one = np.eye(width) if self._projection is None else self._projection.T
            one = np.asarray(one, np.float32)
            return np.broadcast_to(one, (layers, heads, *one.shape))
        return head_maths.head_projection(self._weights, self._projection)

    def project(self, vectors: np.ndarray) -> np.ndarray:
        """Bring residual-stream vectors [..., width] to the joint space: P E, as in the paper."""
        if self._projection is None:
            return np.asarray(vectors, np.float32)
        return np.asarray(vectors, np.float32) @ self._projection

    @torch.inference_mode()
    def direct_terms(self, images: Sequence[Image.Image]) -> DirectTerms:
        """Take the residual stream of each image apart (see `DirectTerms`)."""
        self._require_heads()
        pixels = torch.stack([self.preprocess(image) for image in images]).to(self.device)
        return self._direct_terms(pixels)

    def _direct_terms(self, pixels: torch.Tensor) -> DirectTerms:
        if self._hooked is not None:
            return self._hooked.direct_terms(self.model.encode_image, pixels)
        return tower.direct_terms(self.model.visual, pixels)

    @cached_property
    def _weights(self) -> np.ndarray | None:
        """`W_O^h` [L, H, width, d_head]; None where a head's output itself is cached."""
        if self._hooked is None:
            return tower.output_weights(self.model.visual)
        weights = self._hooked.output_weights()
        return None if weights is None else _array(weights)

    def _require_weights(self) -> np.ndarray:
        self._require_heads()
        assert self._weights is not None
        return self._weights

    @cached_property
    def _projection(self) -> np.ndarray | None:
        own = getattr(self.model.visual, "proj", None)
        projection = own if self._hooked is None else self._hooked.pool.linear()[0]
        return None if projection is None else _array(projection)

    def _require_heads(self, what: str = "head outputs") -> None:
        if self.heads_missing:
            raise UserError(f"encoder {self.spec.model_name}: no {what}: {self.heads_missing}")

    @torch.inference_mode()
    def _sizes(self) -> tuple[int, int]:
        """Return the width of the residual stream and the size of the embedding.

        A tower without head outputs is asked with a blank image, which also shows whether open_clip
        can run it in this precision.
        """
        if self.heads_missing is None and self._hooked is None:
            width = int(self.model.visual.transformer.width)
            projected = self.spec.pooling in ("cls_projected", "mean_tokens")
            return width, self.model.visual.output_dim if projected else width
        try:
            found = self.encode_pixels(torch.zeros(1, 3, *self.image_size))[0]
            if found.ndim != 2:
                raise UserError(
                    f"encoder model {self.spec.model_name}: it has neither a CLS token nor a pool"
                    f" (its output has {found.ndim} axes); choose a pooling"
                )
            size = found.shape[-1]
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise UserError(
                f"encoder precision {self.spec.precision!r}: {self.spec.model_name} can't run in it"
                f" ({reason}); float32 always works"
            ) from error
        return (size if self._hooked is None else self._hooked.width), size

    def _check(self) -> float:
        """Rebuild the embedding of a noise image; what does not add up has no head outputs."""
        found = readable.check_parts(
            self.model.visual,
            self.spec,
            self.image_size,
            self.device,
            self._own_embedding,
            self._direct_terms,
            must_fit=self._hooked is None or self.spec.pooling != OWN,
        )
        self.pool_mlp_share = found.pool_mlp_share
        if found.misfit:
            self.heads_missing, self._hooked = found.misfit, None
        return found.error

    def _own_embedding(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return the model's own embedding, or its own tokens pooled as the spec says."""
        if self._hooked is not None:
            return self._hooked.forward(self.model.encode_image, pixels)[0]
        expected = self.model.visual(pixels)
        return expected[0] if isinstance(expected, tuple) else expected


def _array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().float().cpu().numpy()
