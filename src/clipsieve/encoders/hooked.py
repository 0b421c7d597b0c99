"""Head outputs of timm's towers, read by hooks: attention stays as it is, and as fused as it is.

A hook before `blocks[l].attn.proj` sees what each head hands to the output projection, after any
inner norm or gate, whatever positions (learned, rotary) and normalisation of queries and keys lie
before it. What a head adds to a token is `gamma_1 * W_proj[:, head] z`.

A tower is pooled in one of three ways, all of them linear once norms and pool attention are frozen:
the CLS token, the average of the patch tokens, or attention with a latent query. A part of the
stream at the tokens, p [n, N, width], goes to `sum_k M_k (sum_N u_kN p_N)`: for a CLS token u picks
it and M is the identity; for an average u is 1/N (divided by each token's own scale, where a norm
comes first); for pool attention k counts its heads, u_k is the attention of the latent query
(divided likewise), and M_k is the head's value and output projection.
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

from clipsieve.encoders.terms import DirectTerms

#: Poolings of a timm tower beside its own; what comes before the underscore is what is pooled.
OWN = "cls_projected"
POOLINGS = (OWN, "cls_hidden", "cls_stream", "mean_hidden", "mean_stream")


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


def why_no_heads(
    trunk: nn.Module, after: nn.Sequential | None = None, pooling: str = OWN
) -> str | None:
    """Say in a few words why a timm tower has no head outputs, or None where it has."""
    from timm.layers import Attention, AttentionRope
    from timm.models.eva import Eva, EvaAttention, EvaBlock
    from timm.models.vision_transformer import Block, VisionTransformer

    if type(trunk) not in (VisionTransformer, Eva):
        return f"its image tower is timm's {type(trunk).__name__}, for which there is no rule"
    for block in trunk.blocks:
        if type(block) not in (Block, EvaBlock):
            return f"its blocks are {type(block).__name__}, for which there is no rule"
        if type(block.attn) not in (Attention, AttentionRope, EvaAttention):
            return f"its attention is {type(block.attn).__name__}, for which there is no rule"
    if not all(_is_plain_norm(norm) for norm in (trunk.norm, trunk.fc_norm)):
        return f"its last norm is {type(trunk.norm).__name__}, not a LayerNorm"
    for layer in (trunk.head, *(after or ())):
        if not isinstance(layer, nn.Linear | nn.Identity | nn.Dropout):
            return f"a {type(layer).__name__} follows its pool, which is not linear"
    return _why_no_pooling(trunk, pooling)


def why_not_pooled(trunk: nn.Module, pooling: str) -> str | None:
    """Say why a timm tower can't be pooled in this way, or None where it can."""
    if pooling == OWN:
        return None
    if pooling not in POOLINGS:
        return f"a timm tower has the poolings {', '.join(POOLINGS)}"
    if not hasattr(trunk, "blocks") or not hasattr(trunk, "num_prefix_tokens"):
        return f"a {type(trunk).__name__} has no tokens of one width to pool"
    if pooling.startswith("cls") and getattr(trunk, "cls_token", None) is None:
        return "it has no CLS token"
    return None


def _why_no_pooling(trunk: nn.Module, pooling: str) -> str | None:
    if pooling != OWN:
        return None
    from timm.layers import AttentionPoolLatent

    pool = getattr(trunk, "attn_pool", None)
    if pool is not None:
        plain = type(pool) is AttentionPoolLatent and pool.latent_len == 1
        if not plain or pool.pos_embed is not None or not isinstance(pool.proj, nn.Linear):
            return f"it pools by {type(pool).__name__}, for which there is no rule"
        return None
    if trunk.global_pool not in ("token", "avg"):
        return f"it has no CLS token and no pool with a rule (its pool is {trunk.global_pool!r})"
    return None


def _is_plain_norm(norm: nn.Module) -> bool:
    return isinstance(norm, nn.Identity | nn.LayerNorm) and (
        not isinstance(norm, nn.LayerNorm) or norm.elementwise_affine
    )


class HookedTower:
    """A timm trunk with hooks, and the linear layer that follows it.

    The hooks write into a store of the calling thread's own, so that passes side by side on several
    threads don't mix; without a store they do nothing.

    Parameters
    ----------
    trunk : timm VisionTransformer or Eva, for which `why_no_heads` is None
    after : module that leads from the trunk's output to the embedding (open_clip's `head`); a
        linear layer, alone or beside dropout, or nothing.
    pooling : one of `POOLINGS`
    """

    def __init__(self, trunk: Any, after: nn.Sequential | None, pooling: str = OWN) -> None:
        self.trunk = trunk
        self.after = after
        self.pooling = pooling
        self.width = int(trunk.embed_dim)
        self._local = threading.local()
        first = trunk.blocks[0].attn
        self.heads = int(first.num_heads)
        self.head_width = int(first.proj.in_features) // self.heads
        self._hook()

    # ---- what there is ------------------------------------------------------------------------

    @property
    def by_attention(self) -> bool:
        """Whether the embedding is pooled by attention."""
        return self.pooling == OWN and getattr(self.trunk, "attn_pool", None) is not None

    @property
    def by_cls(self) -> bool:
        """Whether the embedding is the CLS token's."""
        if self.pooling == OWN:
            return not self.by_attention and self.trunk.global_pool == "token"
        return self.pooling.startswith("cls")

    @property
    def heads_shape(self) -> tuple[int, int, int]:
        """(L, H, numbers cached a head): d_head, and the width where attention pools."""
        cached = self.width if self.by_attention else self.head_width
        return len(self.trunk.blocks), self.heads, cached

    def linear(self) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """Return the projection [width, D] and its bias [D] that follow the pool, where there are."""
        if self.pooling != OWN:
            return None, None
        found = [m for m in (self.trunk.head, *(self.after or ())) if isinstance(m, nn.Linear)]
        weight = bias = None
        for layer in found:
            matrix = layer.weight.T
            shift = layer.bias
            bias = shift if bias is None else bias @ matrix + (0 if shift is None else shift)
            weight = matrix if weight is None else weight @ matrix
        return weight, bias

    def output_weights(self) -> torch.Tensor | None:
        """Return what leads from cached numbers to the stream, [L, H, width, d_head].

        None where attention pools: the cached numbers are what a head adds to the stream.
        """
        if self.by_attention:
            return None
        stacked = torch.stack([self._block_weights(block) for block in self.trunk.blocks])
        norm = self._norm_before_pool()
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
        embedding = own if self.pooling == OWN else self._pooled(seen)
        u = self._token_weights(seen)
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
        u = self._token_weights(seen)
        blocks = list(enumerate(self.trunk.blocks))
        assert seen.initial is not None
        added = []
        for index, block in blocks:
            heads = self._pooled_heads(block, seen.contexts[index], u)
            added.append(heads if self.by_attention else self._outputs(index, heads))
        sums = u.sum(dim=-1)
        biases = [self._mapped(sums[..., None] * _bias(block)) for _, block in blocks]
        mlps = [self._mapped(u @ (seen.mlps[index] * _gamma(block, 2))) for index, block in blocks]
        norm = self._norm_after_pool()
        projection, projection_bias = self.linear()
        return DirectTerms(
            initial=_array(self._mapped(u @ seen.initial)),
            heads=_array(torch.stack(added, dim=1)),
            attention_bias=_array(torch.stack(biases, dim=1)),
            mlps=_array(torch.stack(mlps, dim=1)),
            layer_norm=None
            if norm is None
            else (_wide(norm.weight), _wide(norm.bias), float(norm.eps)),
            projection=None if projection is None else _wide(projection),
            constant=_wide(self._constant()),
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
                    seen.contexts[index] = inputs[0][:, :1].clone() if self.by_cls else inputs[0]

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
                    seen.layers.append(self._plain_pool(output).clone())

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
        if self.by_attention and self.trunk.attn_pool.mlp is not None:
            self.trunk.attn_pool.mlp.register_forward_hook(pool_mlp)

    @contextmanager
    def _capturing(self, parts: bool = False, layers: bool = False) -> Iterator[Captured]:
        self._local.seen, self._local.parts, self._local.layers = Captured(), parts, layers
        try:
            yield self._local.seen
        finally:
            self._local.seen = None

    # ---- pooling ------------------------------------------------------------------------------

    def _norm_before_pool(self) -> nn.LayerNorm | None:
        """The norm of every token before the pool, where it is not folded into the one after it."""
        if self.pooling.endswith("stream") or self.by_cls:
            return None
        norm = self.trunk.norm
        return norm if isinstance(norm, nn.LayerNorm) else None

    def _norm_after_pool(self) -> nn.LayerNorm | None:
        """The norm of the pooled stream; of a CLS token it does not matter which comes first."""
        if self.pooling.endswith("stream"):
            return None
        candidates = [self.trunk.fc_norm, *([self.trunk.norm] if self.by_cls else [])]
        found = [norm for norm in candidates if isinstance(norm, nn.LayerNorm)]
        return found[0] if found else None

    def _token_weights(self, seen: Captured) -> torch.Tensor:
        """Return u [n, K, N], how much of each token goes into the pooled stream."""
        x = seen.tokens
        if self.by_cls:
            u = x.new_zeros(len(x), 1, x.shape[1])
            u[:, :, 0] = 1
            return u
        norm = self._norm_before_pool()
        if self.by_attention:
            u = self._pool_attention(x if norm is None else norm(x))
        else:
            first = self.trunk.num_prefix_tokens
            if self.pooling == OWN and getattr(self.trunk, "pool_include_prefix", False):
                first = 0
            u = x.new_zeros(len(x), 1, x.shape[1])
            u[:, :, first:] = 1.0 / (x.shape[1] - first)
        if norm is None:
            return u
        wide = x if x.dtype == torch.float64 else x.float()
        scale = (wide.var(dim=-1, unbiased=False) + norm.eps).rsqrt()
        return u * scale[:, None].to(u.dtype)

    def _pool_attention(self, x: torch.Tensor) -> torch.Tensor:
        """Return the weights of the latent query in each head of the pool, [n, K, N]."""
        pool = self.trunk.attn_pool
        first = 0 if self._pools_prefix() else self.trunk.num_prefix_tokens
        tokens = x[:, first:]
        if pool.pos_embed is not None:
            tokens = tokens + pool.pos_embed
        count, size = pool.num_heads, pool.head_dim
        query = pool.q(pool.latent).reshape(1, 1, count, size).transpose(1, 2)
        weight, bias = pool.kv.weight, pool.kv.bias
        width = count * size
        key = nn.functional.linear(tokens, weight[:width], None if bias is None else bias[:width])
        key = key.unflatten(-1, (count, size)).transpose(1, 2)
        query, key = pool.q_norm(query), pool.k_norm(key)
        alpha = (query * pool.scale @ key.transpose(-2, -1)).softmax(dim=-1)[:, :, 0]
        full = alpha.new_zeros(len(x), count, x.shape[1])
        full[:, :, first:] = alpha
        return full

    def _pools_prefix(self) -> bool:
        # Eva hands all its tokens to the pool and has no say in it
        return bool(getattr(self.trunk, "pool_include_prefix", True))

    def _pool_maps(self) -> torch.Tensor:
        """Return M [K, width, width] of pool attention without the norm's share."""
        pool = self.trunk.attn_pool
        count, size = pool.num_heads, pool.head_dim
        value = pool.kv.weight[count * size :].unflatten(0, (count, size))
        out = pool.proj.weight.unflatten(1, (count, size))
        return torch.einsum("ohd,hdc->hoc", out, value)

    def _mapped(self, pooled: torch.Tensor) -> torch.Tensor:
        """Bring parts pooled over tokens, [n, K, ..., width], into the stream: [n, ..., width]."""
        norm = self._norm_before_pool()
        if norm is not None:
            pooled = (pooled - pooled.mean(dim=-1, keepdim=True)) * norm.weight
        if not self.by_attention:
            return pooled[:, 0]
        return torch.einsum("nk...c,koc->n...o", pooled, self._pool_maps())

    def _constant(self) -> torch.Tensor:
        """Return what norm and pool add to the stream of every image alike, [width]."""
        norm = self._norm_before_pool()
        shift = torch.zeros_like(self.trunk.blocks[0].norm1.weight)
        if norm is not None:
            shift = norm.bias
        if not self.by_attention:
            return shift
        pool = self.trunk.attn_pool
        count, size = pool.num_heads, pool.head_dim
        total = torch.einsum("koc,c->o", self._pool_maps(), shift)
        if pool.kv.bias is not None:
            total = total + pool.proj.weight @ pool.kv.bias[count * size :]
        return total if pool.proj.bias is None else total + pool.proj.bias

    def _pooled_heads(self, block: Any, contexts: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
        """Return what is cached of a block's heads, [n, H, d_head] or [n, H, width]."""
        z = contexts.unflatten(-1, (self.heads, self.head_width))
        if self.by_cls:
            return z[:, 0]
        pooled = torch.einsum("nkt,nthd->nkhd", u, z.to(u.dtype))
        if not self.by_attention:
            return pooled[:, 0]
        weights = self._block_weights(block)
        return self._mapped(torch.einsum("nkhd,hwd->nkhw", pooled, weights))

    def _outputs(self, index: int, heads: torch.Tensor) -> torch.Tensor:
        weights = self._block_weights(self.trunk.blocks[index])
        return self._mapped(torch.einsum("nhd,hwd->nhw", heads, weights)[:, None])

    def _block_weights(self, block: Any) -> torch.Tensor:
        """Return `gamma_1 W_proj` by head, [H, width, d_head]."""
        weight = block.attn.proj.weight
        gamma = _gamma(block, 1)
        weight = weight * (gamma[:, None] if isinstance(gamma, torch.Tensor) else gamma)
        return weight.unflatten(1, (self.heads, self.head_width)).permute(1, 0, 2)

    def _pooled(self, seen: Captured) -> torch.Tensor:
        """Pool the last block's tokens in another way than the tower's own, [n, width]."""
        x = seen.tokens
        if self.pooling.endswith("stream"):
            return self._plain_pool(x)
        return self.trunk.fc_norm(self._plain_pool(self.trunk.norm(x)))

    def _plain_pool(self, x: torch.Tensor) -> torch.Tensor:
        """Return the CLS token, or the mean of the patch tokens where no CLS token is pooled."""
        return x[:, 0] if self.by_cls else x[:, self.trunk.num_prefix_tokens :].mean(dim=1)


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
