"""Which towers of timm have head outputs, and how each can be pooled: refusals by name."""

from __future__ import annotations

from torch import nn

#: Poolings of a timm tower beside its own; what comes before the underscore is what is pooled.
OWN = "cls_projected"
POOLINGS = (OWN, "cls_hidden", "cls_stream", "mean_hidden", "mean_stream")


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
