"""All that is added up to an image's embedding, as arrays: the parts of a residual stream."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class DirectTerms:
    """All that is added to the pooled residual stream, and how the sum becomes the embedding.

    Of a tower with a CLS token the stream is the CLS token's. Of a tower that averages its patch
    tokens it is their average. Of a tower that pools by attention it is what the pool attention,
    with its weights frozen, makes of each part; the pool's own MLP is then one part more.

    `initial` [n, width] the stream before the first block; `heads` [n, L, H, width] what each head
    adds; `attention_bias` [L, width] or [n, L, width] the bias of each attention's output; `mlps`
    [n, L, width] what each MLP adds; `constant` [width] what the pool adds to every image alike;
    `pool_mlp` [n, width] what the pool's MLP adds. Their sum is the residual stream that the final
    LayerNorm (weight, bias, eps; None where there is none) sees, and `projection` [width, D] with
    `projection_bias` [D] leads from there to the embedding.
    `joint()` gives the same parts in the embedding's space, where they sum to the embedding.
    """

    initial: np.ndarray
    heads: np.ndarray
    attention_bias: np.ndarray
    mlps: np.ndarray
    layer_norm: tuple[np.ndarray, np.ndarray, float] | None
    projection: np.ndarray | None
    constant: np.ndarray | None = None
    pool_mlp: np.ndarray | None = None
    projection_bias: np.ndarray | None = None

    def residual(self) -> np.ndarray:
        """Return the sum of all parts, float64 [n, width]."""
        wide = np.float64
        total = self.initial.astype(wide) + self.heads.sum(axis=(1, 2), dtype=wide)
        total = total + self.mlps.sum(axis=1, dtype=wide) + self.attention_bias.sum(-2, dtype=wide)
        for part in (self.constant, self.pool_mlp):
            total = total if part is None else total + part
        return total

    def joint(self) -> dict[str, np.ndarray]:
        """Return the parts in the embedding's space.

        The final LayerNorm is linear once its scale is known: each part is centred, multiplied by
        the LayerNorm's weight, divided by the scale of the whole sum, and projected. The
        LayerNorm's bias, projected, is in the part `constant`.

        Returns
        -------
        dict of float64 arrays
            `initial` [n, D], `heads` [n, L, H, D], `attention_bias` [n, L, D], `mlps` [n, L, D],
            `constant` [D] ([n, D] where the pool has a constant before the final LayerNorm), and
            `pool_mlp` [n, D] where the pool has an MLP.
        """
        scale = np.ones(len(self.initial))
        if self.layer_norm is not None:
            scale = 1.0 / np.sqrt(self.residual().var(axis=-1) + self.layer_norm[2])

        def into(part: np.ndarray) -> np.ndarray:
            if self.layer_norm is not None:
                centred = part - part.mean(axis=-1, keepdims=True, dtype=np.float64)
                factor = scale.reshape(-1, *(1,) * (part.ndim - 1))
                part = centred * self.layer_norm[0] * factor
            return part if self.projection is None else part @ self.projection

        bias = self.attention_bias
        parts = {
            "initial": into(self.initial),
            "heads": into(self.heads),
            "attention_bias": into(bias if bias.ndim == 3 else bias[None]),
            "mlps": into(self.mlps),
        }
        if self.pool_mlp is not None:
            parts["pool_mlp"] = into(self.pool_mlp)
        parts["constant"] = self._constant(into)
        if parts["attention_bias"].shape[0] != len(self.initial):
            shape = (len(self.initial), *parts["attention_bias"].shape[1:])
            parts["attention_bias"] = np.broadcast_to(parts["attention_bias"], shape)
        return parts

    def embedding(self) -> np.ndarray:
        """Return the embedding rebuilt from the parts, float64 [n, D]."""
        parts = self.joint()
        total = parts["initial"] + parts["heads"].sum(axis=(1, 2)) + parts["mlps"].sum(axis=1)
        total = total + parts["attention_bias"].sum(axis=1) + parts["constant"]
        return total + parts["pool_mlp"] if "pool_mlp" in parts else total

    def _constant(self, into: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        width = self.initial.shape[-1]
        total = np.zeros(width)
        if self.layer_norm is not None:
            total = self.layer_norm[1]
        total = total if self.projection is None else total @ self.projection
        if self.projection_bias is not None:
            total = total + self.projection_bias
        if self.constant is not None:
            moved = into(np.broadcast_to(self.constant, self.initial.shape))
            total = total + (moved if self.layer_norm is not None else moved[0])
        return np.asarray(total)
