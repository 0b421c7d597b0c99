"""Head outputs of timm's towers, read by hooks: attention stays as it is, and as fused as it is.

A hook before `blocks[l].attn.proj` sees what each head hands to the output projection, after any
inner norm or gate, whatever positions (learned, rotary) and normalisation of queries and keys lie
before it. What a head adds to a token is `gamma_1 * W_proj[:, head] z`.
How parts at the tokens lead to the embedding is in `frozen_pool`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from clipsieve.encoders.frozen_pool import FrozenPool
from clipsieve.encoders.terms import DirectTerms
from clipsieve.encoders.tower_rules import OWN


@dataclass
class Captured:
    """What hooks saw in one forward pass.

    By block, z of the attention [n, N, H * d_head], what the MLP adds [n, N, width] and the pooled
    tokens after it [n, width]; the tokens after the last block and before the first.
    """

    contexts: dict[int, torch.Tensor] = field(default_factory=dict)
    mlps: dict[int, torch.Tensor] = field(default_factory=dict)
    layers: list[torch.Tensor] = field(default_factory=list)
    tokens: torch.Tensor = field(default_factory=lambda: torch.empty(0))
    initial: torch.Tensor | None = None
    pool_mlp: torch.Tensor | None = None


class HookedTower:
    """A timm trunk with hooks, and its frozen pool.

    The hooks write into a store of the calling thread's own, so that passes side by side on several
    threads don't mix; without a store they do nothing.

    Parameters
    ----------
    trunk, after, pooling : as of `FrozenPool`
    """

    def __init__(self, trunk: Any, after: nn.Sequential | None, pooling: str = OWN) -> None:
        self.trunk = trunk
        self.pool = FrozenPool(trunk, after, pooling)
        self.width = int(trunk.embed_dim)
        self._local = threading.local()
        first = trunk.blocks[0].attn
        self.heads = int(first.num_heads)
        self.head_width = int(first.proj.in_features) // self.heads
        self._hook()

    # ---- what there is ------------------------------------------------------------------------

    @property
    def heads_shape(self) -> tuple[int, int, int]:
        """(L, H, numbers cached a head): d_head, and the width where attention pools."""
        cached = self.width if self.pool.by_attention else self.head_width
        return len(self.trunk.blocks), self.heads, cached

    def output_weights(self) -> torch.Tensor | None:
        """Return what leads from cached numbers to the stream, [L, H, width, d_head].

        None where attention pools: the cached numbers are what a head adds to the stream.
        """
        if self.pool.by_attention:
            return None
        stacked = torch.stack([self._block_weights(block) for block in self.trunk.blocks])
        norm = self.pool.norm_before_pool()
        if norm is None:
            return stacked
        centred = stacked - stacked.mean(dim=2, keepdim=True)
        return centred * norm.weight[:, None]

    # ---- passes -------------------------------------------------------------------------------

    def forward(
        self,
        encode: Callable[[torch.Tensor], torch.Tensor],
        pixels: torch.Tensor,
        want_layers: bool = False,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """Embed a batch and read every head's output, and each block's where wanted.

        Parameters
        ----------
        encode : the model's own way from pixels to its embedding
        pixels : tensor [n, 3, height, width]
        want_layers : whether the pooled tokens after every block are wanted

        Returns
        -------
        embedding [n, D], heads [n, L, H, d_head or width], layers [n, L, width] or None
        """
        with self._capturing(layers=want_layers) as seen:
            own = encode(pixels)
        embedding = own if self.pool.pooling == OWN else self.pool.pooled(seen.tokens)
        u = self.pool.token_weights(seen.tokens)
        heads = [
            self._pooled_heads(block, seen.contexts[index], u)
            for index, block in enumerate(self.trunk.blocks)
        ]
        layers = torch.stack(seen.layers, dim=1) if want_layers else None
        return embedding, torch.stack(heads, dim=1), layers

    def direct_terms(
        self, encode: Callable[[torch.Tensor], torch.Tensor], pixels: torch.Tensor
    ) -> DirectTerms:
        """Take the pooled stream of each image apart into all that was added to it."""
        with self._capturing(parts=True) as seen:
            encode(pixels)
        u = self.pool.token_weights(seen.tokens)
        blocks = list(enumerate(self.trunk.blocks))
        assert seen.initial is not None
        added = []
        for index, block in blocks:
            heads = self._pooled_heads(block, seen.contexts[index], u)
            added.append(heads if self.pool.by_attention else self._outputs(index, heads))
        sums = u.sum(dim=-1)
        biases = [self.pool.mapped(sums[..., None] * _bias(block)) for _, block in blocks]
        mlps = [
            self.pool.mapped(u @ (seen.mlps[index] * _gamma(block, 2))) for index, block in blocks
        ]
        norm = self.pool.norm_after_pool()
        projection, projection_bias = self.pool.linear()
        return DirectTerms(
            initial=_array(self.pool.mapped(u @ seen.initial)),
            heads=_array(torch.stack(added, dim=1)),
            attention_bias=_array(torch.stack(biases, dim=1)),
            mlps=_array(torch.stack(mlps, dim=1)),
            layer_norm=None
            if norm is None
            else (_wide(norm.weight), _wide(norm.bias), float(norm.eps)),
            projection=None if projection is None else _wide(projection),
            constant=_wide(self.pool.constant()),
            pool_mlp=None if seen.pool_mlp is None else _array(seen.pool_mlp[:, 0]),
            projection_bias=None if projection_bias is None else _wide(projection_bias),
        )

    # ---- hooks --------------------------------------------------------------------------------

    def _hook(self) -> None:
        def store() -> Any:
            return getattr(self._local, "seen", None)

        def contexts(index: int) -> Any:
            def hook(_: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
                if (seen := store()) is not None:
                    seen.contexts[index] = (
                        inputs[0][:, :1].clone() if self.pool.by_cls else inputs[0]
                    )

            return hook

        def mlps(index: int) -> Any:
            def hook(_: nn.Module, __: Any, output: torch.Tensor) -> None:
                if (seen := store()) is not None and self._local.parts:
                    seen.mlps[index] = output.clone()

            return hook

        def layers(index: int) -> Any:
            def hook(_: nn.Module, __: Any, output: torch.Tensor) -> None:
                if (seen := store()) is None:
                    return
                if index == last:
                    seen.tokens = output
                if self._local.layers:
                    seen.layers.append(self.pool.plain_pool(output).clone())

            return hook

        def initial(_: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            if (seen := store()) is not None and self._local.parts:
                seen.initial = inputs[0].clone()

        def pool_mlp(_: nn.Module, __: Any, output: torch.Tensor) -> None:
            if (seen := store()) is not None:
                seen.pool_mlp = output.clone()

        last = len(self.trunk.blocks) - 1
        self.trunk.blocks[0].register_forward_pre_hook(initial)
        for index, block in enumerate(self.trunk.blocks):
            block.attn.proj.register_forward_pre_hook(contexts(index))
            block.mlp.register_forward_hook(mlps(index))
            block.register_forward_hook(layers(index))
        if self.pool.by_attention and self.trunk.attn_pool.mlp is not None:
            self.trunk.attn_pool.mlp.register_forward_hook(pool_mlp)

    @contextmanager
    def _capturing(self, parts: bool = False, layers: bool = False) -> Iterator[Captured]:
        self._local.seen, self._local.parts, self._local.layers = Captured(), parts, layers
        try:
            yield self._local.seen
        finally:
            self._local.seen = None

    def _pooled_heads(self, block: Any, contexts: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
        """Return what is cached of a block's heads, [n, H, d_head] or [n, H, width]."""
        z = contexts.unflatten(-1, (self.heads, self.head_width))
        if self.pool.by_cls:
            return z[:, 0]
        pooled = torch.einsum("nkt,nthd->nkhd", u, z.to(u.dtype))
        if not self.pool.by_attention:
            return pooled[:, 0]
        weights = self._block_weights(block)
        return self.pool.mapped(torch.einsum("nkhd,hwd->nkhw", pooled, weights))

    def _outputs(self, index: int, heads: torch.Tensor) -> torch.Tensor:
        weights = self._block_weights(self.trunk.blocks[index])
        return self.pool.mapped(torch.einsum("nhd,hwd->nhw", heads, weights)[:, None])

    def _block_weights(self, block: Any) -> torch.Tensor:
        """Return `gamma_1 W_proj` by head, [H, width, d_head]."""
        weight = block.attn.proj.weight
        gamma = _gamma(block, 1)
        weight = weight * (gamma[:, None] if isinstance(gamma, torch.Tensor) else gamma)
        return weight.unflatten(1, (self.heads, self.head_width)).permute(1, 0, 2)


def _gamma(block: Any, which: int) -> torch.Tensor | float:
    """LayerScale of attention (1) or MLP (2); 1 where there is none."""
    own = getattr(block, f"gamma_{which}", None)
    if own is not None:
        return own
    return getattr(getattr(block, f"ls{which}", None), "gamma", 1.0)


def _bias(block: Any) -> torch.Tensor:
    """Return the bias of the attention's output with LayerScale, [width]."""
    projection = block.attn.proj
    if projection.bias is None:
        return torch.zeros_like(projection.weight[:, 0])
    return projection.bias * _gamma(block, 1)


def _array(tensor: torch.Tensor) -> np.ndarray:
    wide = tensor if tensor.dtype == torch.float64 else tensor.float()
    return wide.detach().cpu().numpy()


def _wide(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().double().cpu().numpy()
