"""The image tower's forward pass, written out so that each head's CLS output can be read.

The modules and parameters are open_clip's own, untouched. Attention goes through PyTorch's fused
kernel, so no attention map is ever in memory; the context of the CLS query before the output
projection is the d_head numbers a head. The last block needs queries, projection and MLP for the
CLS token only (unless every token is pooled), which pays for the copies: the pass with head
outputs is not slower than `encode_image`.
"""

from __future__ import annotations

import numpy as np
import torch
from open_clip.transformer import (
    LayerScale,
    QuickGELU,
    ResidualAttentionBlock,
    VisionTransformer,
)
from torch import nn
from torch.nn import functional

from clipsieve.encoders.heads import head_outputs
from clipsieve.encoders.terms import DirectTerms


def why_no_heads(visual: nn.Module) -> str | None:
    """Say in a few words why a tower has no head outputs, or None where it has."""
    if not isinstance(visual, VisionTransformer):
        return f"its image tower is a {type(visual).__name__}, not an open_clip VisionTransformer"
    if visual.attn_pool is not None:
        return "it pools by attention instead of a CLS token"
    if visual.pool_type != "tok":
        return f"it pools by {visual.pool_type!r} instead of a CLS token"
    for block in visual.transformer.resblocks:
        if type(block) is not ResidualAttentionBlock:
            return f"its blocks are {type(block).__name__}, not ResidualAttentionBlock"
        attention = block.attn
        if not isinstance(attention, nn.MultiheadAttention):
            return f"its attention is {type(attention).__name__}, not nn.MultiheadAttention"
        if attention.in_proj_weight is None or attention.bias_k is not None:
            return "its attention keeps separate or extra key and value parameters"
        for scale in (block.ls_1, block.ls_2):
            if not isinstance(scale, nn.Identity | LayerScale):
                return f"it scales its layers by {type(scale).__name__}"
    return None


def output_weights(visual: VisionTransformer) -> np.ndarray:
    """Return `W_O^h` of every head with LayerScale folded in, float32 [L, H, width, d_head]."""
    layers = []
    for block in visual.transformer.resblocks:
        weight = block.attn.out_proj.weight.detach().float()
        if isinstance(block.ls_1, LayerScale):
            weight = weight * block.ls_1.gamma.detach().float()[:, None]
        count = block.attn.num_heads
        width = weight.shape[0]
        layers.append(weight.reshape(width, count, -1).permute(1, 0, 2))
    return torch.stack(layers).cpu().numpy()


def forward(
    visual: VisionTransformer,
    pixels: torch.Tensor,
    pooling: str = "cls_projected",
    keep: list[tuple[torch.Tensor, ...]] | None = None,
    layers: list[torch.Tensor] | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Embed a batch and read every head's output for the CLS token.

    Parameters
    ----------
    visual : VisionTransformer
        A tower for which `why_no_heads` is None, in evaluation mode.
    pixels : float tensor [n, 3, height, width]
        Preprocessed images, on the tower's device.
    pooling : str, default cls_projected
        `cls_projected`; `cls_hidden` (after the final LayerNorm, before the projection) or
        `cls_stream` (before both); `mean_tokens` (mean over all tokens of the projected tokens);
        `mean_hidden` and `mean_stream` (mean over the patch tokens, as for the CLS token).
    keep : list, optional
        Gets the CLS token before the first block, then (attention, MLP) added by each block.
    layers : list, optional
        Gets the pooled token [n, width] after each block: the CLS token, or the mean of the
        patches where `pooling` is a mean.

    Returns
    -------
    embedding : float32 tensor [n, D]
    heads : float32 tensor [n, L, H, d_head]
    """
    x = _tokens(visual, pixels)
    if keep is not None:
        keep.append((x[:, 0].clone(),))
    blocks = visual.transformer.resblocks
    every_token = pooling.startswith("mean")
    heads = []
    for index, block in enumerate(blocks):
        cls_only = index == len(blocks) - 1 and not every_token
        attended, context = _attention(block, x, cls_only)
        x = x[:, :1] + attended if cls_only else x.add_(attended)
        added = _mlp(block, x)
        if keep is not None:
            keep.append((attended[:, 0].clone(), added[:, 0].clone()))
        x = x.add_(added)
        heads.append(context)
        if layers is not None:
            layers.append(x[:, 1:].mean(dim=1) if every_token else x[:, 0].clone())
    return _pool(visual, x, pooling), torch.stack(heads, dim=1)


def direct_terms(visual: VisionTransformer, pixels: torch.Tensor) -> DirectTerms:
    """Take the CLS token's residual stream apart into all that was added to it."""
    kept: list[tuple[torch.Tensor, ...]] = []
    _, heads = forward(visual, pixels, "cls_projected", kept)
    biases = []
    for block in visual.transformer.resblocks:
        bias = block.attn.out_proj.bias
        bias = (
            torch.zeros(visual.transformer.width) if bias is None else bias.detach().float().cpu()
        )
        if isinstance(block.ls_1, LayerScale):
            bias = bias * block.ls_1.gamma.detach().float().cpu()
        biases.append(bias)
    projection = visual.proj
    return DirectTerms(
        initial=_array(kept[0][0]),
        heads=head_outputs(_array(heads), output_weights(visual)),
        attention_bias=torch.stack(biases).numpy(),
        mlps=np.stack([_array(added) for _, added in kept[1:]], axis=1),
        layer_norm=(
            _array(visual.ln_post.weight).astype(np.float64),
            _array(visual.ln_post.bias).astype(np.float64),
            float(visual.ln_post.eps),
        ),
        projection=None if projection is None else _array(projection).astype(np.float64),
    )


def _tokens(visual: VisionTransformer, pixels: torch.Tensor) -> torch.Tensor:
    """Cut into patches, add the CLS token and the positions; float32 [n, tokens, width]."""
    weight = visual.conv1.weight
    patches = visual.conv1(pixels.to(weight.dtype)).flatten(2).transpose(1, 2).float()
    cls = visual.class_embedding.float().expand(len(patches), 1, -1)
    x = torch.cat([cls, patches], dim=1).add_(visual.positional_embedding.float())
    # The blocks add in place, so the result must not be a view of anything else.
    normed = visual.ln_pre(x)
    return normed.float()


def _attention(
    block: ResidualAttentionBlock, x: torch.Tensor, cls_only: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what attention adds [n, tokens or 1, width] and the CLS contexts [n, H, d_head]."""
    attention = block.attn
    weight, bias = attention.in_proj_weight, attention.in_proj_bias
    width = attention.embed_dim
    y = block.ln_1(x).to(weight.dtype)
    if cls_only:
        query = functional.linear(y[:, :1], weight[:width], bias[:width])
        key, value = functional.linear(y, weight[width:], bias[width:]).chunk(2, dim=-1)
    else:
        query, key, value = functional.linear(y, weight, bias).chunk(3, dim=-1)
    query, key, value = (
        part.unflatten(-1, (attention.num_heads, -1)).transpose(1, 2)
        for part in (query, key, value)
    )
    context = functional.scaled_dot_product_attention(query, key, value)
    cls_context = context[:, :, 0].float()
    merged = context.transpose(1, 2).flatten(2)
    added = block.ls_1(attention.out_proj(merged).float())
    return added, cls_context.clone()


def _mlp(block: ResidualAttentionBlock, x: torch.Tensor) -> torch.Tensor:
    """Return what the MLP adds, float32; QuickGELU in place (the same numbers, less memory)."""
    mlp = block.mlp
    hidden = mlp.c_fc(block.ln_2(x).to(mlp.c_fc.weight.dtype))
    if isinstance(mlp.gelu, QuickGELU):
        hidden.mul_(torch.mul(hidden, 1.702).sigmoid_())
    else:
        hidden = mlp.gelu(hidden)
    return block.ls_2(mlp.c_proj(hidden).float())


def _pool(visual: VisionTransformer, x: torch.Tensor, pooling: str) -> torch.Tensor:
    """Final LayerNorm, pooling and projection in float32."""
    tokens = x[:, 0]
    if pooling == "mean_tokens":
        tokens = x
    elif pooling.startswith("mean"):
        tokens = x[:, 1:]
    if pooling.endswith("stream"):
        return tokens.mean(dim=1) if tokens.ndim == 3 else tokens
    tokens = visual.ln_post(tokens).float()
    if pooling.endswith("hidden"):
        return tokens.mean(dim=1) if tokens.ndim == 3 else tokens
    if visual.proj is not None:
        tokens = tokens @ visual.proj.float()
    return tokens.mean(dim=1) if pooling == "mean_tokens" else tokens


def _array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().float().cpu().numpy()
