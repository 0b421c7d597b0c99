"""What each token gives to a head's output for the CLS token: the head's term, divided exactly.

A head's cached numbers are z = sum_i alpha_i v_i over all tokens i. For any vector u of a head, u . z
is the sum of alpha_i (u . v_i): a map over patches whose sum, with the CLS token's own share, is the
head's term (Gandelsman, Efros and Steinhardt 2023, section 4).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from open_clip.transformer import VisionTransformer
from torch.nn import functional

from clipsieve.encoders import tower

if TYPE_CHECKING:
    from clipsieve.encoders.encoder import Encoder


def why_no_patches(encoder: Encoder) -> str | None:
    """Say in a few words why an encoder's heads can't be divided over patches, None where they can."""
    if encoder.heads_missing:
        return encoder.heads_missing
    visual = encoder.model.visual
    if not isinstance(visual, VisionTransformer) or encoder.spec.pooling.startswith("mean"):
        return "only the heads of open_clip's towers with a CLS token are divided over patches"
    return None


@torch.inference_mode()
def patch_terms(
    encoder: Encoder, pixels: torch.Tensor, directions: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Divide terms of heads over the tokens of one image.

    Parameters
    ----------
    encoder : Encoder
        One for which `why_no_patches` is None.
    pixels : float tensor [3, height, width]
        Preprocessed image.
    directions : float [L, H, d_head]
        u of each head; the head's term is u . z. Heads with zeros cost nothing.

    Returns
    -------
    cls : float64 [L, H]
        What the CLS token itself gives.
    patches : float64 [L, H, rows, columns]
        What each patch gives. `cls` plus the sum over patches is u . z of each head.
    """
    visual = encoder.model.visual
    U = np.asarray(directions, dtype=np.float64)
    rows, columns = (int(n) for n in visual.grid_size)
    found = np.zeros((*U.shape[:2], 1 + rows * columns))
    hooks = []

    def divide(layer: int) -> Callable[..., None]:
        block = visual.transformer.resblocks[layer]

        def hook(_: Any, __: Any, normed: torch.Tensor) -> None:
            found[layer] = _divided(block.attn, normed, U[layer])

        return hook

    for layer in range(len(U)):
        if np.any(U[layer]):
            norm = visual.transformer.resblocks[layer].ln_1
            hooks.append(norm.register_forward_hook(divide(layer)))
    try:
        tower.forward(visual, pixels[None].to(encoder.device), encoder.spec.pooling)
    finally:
        for handle in hooks:
            handle.remove()
    return found[:, :, 0], found[:, :, 1:].reshape(*U.shape[:2], rows, columns)


def _divided(attention: Any, normed: torch.Tensor, U: np.ndarray) -> np.ndarray:
    """Return alpha_i (u . v_i) of the CLS query, float64 [H, tokens]."""
    weight, bias = attention.in_proj_weight, attention.in_proj_bias
    y = normed.to(weight.dtype)
    query, key, value = functional.linear(y, weight, bias).float().chunk(3, dim=-1)
    shape = (attention.num_heads, -1)
    query = query[0, 0].unflatten(-1, shape)
    key, value = (part[0].unflatten(-1, shape).transpose(0, 1) for part in (key, value))
    scores = torch.einsum("hd,htd->ht", query, key) / key.shape[-1] ** 0.5
    alpha = scores.double().softmax(dim=-1).cpu().numpy()
    return np.asarray(alpha * np.einsum("htd,hd->ht", value.double().cpu().numpy(), U))
