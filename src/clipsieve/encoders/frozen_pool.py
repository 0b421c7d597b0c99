"""What leads from the tokens of a timm tower to its embedding, as a linear map with norms frozen.

A tower is pooled in one of three ways, all of them linear once norms and pool attention are frozen:
the CLS token, the average of the patch tokens, or attention with a latent query. A part of the
stream at the tokens, p [n, N, width], goes to `sum_k M_k (sum_N u_kN p_N)`: for a CLS token u picks
it and M is the identity; for an average u is 1/N (divided by each token's own scale, where a norm
comes first); for pool attention k counts its heads, u_k is the attention of the latent query
(divided likewise), and M_k is the head's value and output projection.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from clipsieve.encoders.tower_rules import OWN


class FrozenPool:
    """The pool of a timm trunk, and the linear layer that follows it.

    Parameters
    ----------
    trunk : timm VisionTransformer or Eva, for which `tower_rules.why_no_heads` is None
    after : module that leads from the trunk's output to the embedding (open_clip's `head`); a
        linear layer, alone or beside dropout, or nothing.
    pooling : one of `tower_rules.POOLINGS`
    """

    def __init__(self, trunk: Any, after: nn.Sequential | None, pooling: str = OWN) -> None:
        self.trunk = trunk
        self.after = after
        self.pooling = pooling

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

    def norm_before_pool(self) -> nn.LayerNorm | None:
        """The norm of every token before the pool, where it is not folded into the one after it."""
        if self.pooling.endswith("stream") or self.by_cls:
            return None
        norm = self.trunk.norm
        return norm if isinstance(norm, nn.LayerNorm) else None

    def norm_after_pool(self) -> nn.LayerNorm | None:
        """The norm of the pooled stream; of a CLS token it does not matter which comes first."""
        if self.pooling.endswith("stream"):
            return None
        candidates = [self.trunk.fc_norm, *([self.trunk.norm] if self.by_cls else [])]
        found = [norm for norm in candidates if isinstance(norm, nn.LayerNorm)]
        return found[0] if found else None

    def token_weights(self, x: torch.Tensor) -> torch.Tensor:
        """Return u [n, K, N], how much of each of the last tokens [n, N, width] goes into the pool."""
        if self.by_cls:
            u = x.new_zeros(len(x), 1, x.shape[1])
            u[:, :, 0] = 1
            return u
        norm = self.norm_before_pool()
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

    def mapped(self, pooled: torch.Tensor) -> torch.Tensor:
        """Bring parts pooled over tokens, [n, K, ..., width], into the stream: [n, ..., width]."""
        norm = self.norm_before_pool()
        if norm is not None:
            pooled = (pooled - pooled.mean(dim=-1, keepdim=True)) * norm.weight
        if not self.by_attention:
            return pooled[:, 0]
        return torch.einsum("nk...c,koc->n...o", pooled, self._pool_maps())

    def constant(self) -> torch.Tensor:
        """Return what norm and pool add to the stream of every image alike, [width]."""
        norm = self.norm_before_pool()
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

    def pooled(self, x: torch.Tensor) -> torch.Tensor:
        """Pool the last block's tokens [n, N, width] in another way than the tower's own, [n, width]."""
        if self.pooling.endswith("stream"):
            return self.plain_pool(x)
        return self.trunk.fc_norm(self.plain_pool(self.trunk.norm(x)))

    def plain_pool(self, x: torch.Tensor) -> torch.Tensor:
        """Return the CLS token, or the mean of the patch tokens where no CLS token is pooled."""
        return x[:, 0] if self.by_cls else x[:, self.trunk.num_prefix_tokens :].mean(dim=1)
