"""What can be read of a model besides its embedding, and the check that the parts add up to it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from open_clip.timm_model import TimmModel
from torch import nn

from clipsieve.encoders import tower, tower_rules
from clipsieve.encoders.hooked import HookedTower
from clipsieve.encoders.spec import EncoderSpec
from clipsieve.encoders.terms import DirectTerms
from clipsieve.encoders.timm_towers import TimmImages
from clipsieve.errors import UserError

log = logging.getLogger("clipsieve")

#: The rebuilt embedding may differ from the model's own by this much, relative to its length.
SELF_CHECK_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Check:
    """What the check at load found.

    `error` relative error of the rebuilt embedding; `misfit` why there are no head outputs, where
    the parts don't add up; `pool_mlp_share` length of what an attention pool's MLP adds over the
    embedding's, None without such a pool.
    """

    error: float
    misfit: str | None = None
    pool_mlp_share: float | None = None


def access(model: nn.Module, spec: EncoderSpec) -> tuple[HookedTower | None, str | None]:
    """Set up the reading of head outputs and layers.

    Returns
    -------
    hooks : HookedTower or None
        For a tower of timm with head outputs; open_clip's own ViTs need none (see `tower`).
    missing : str or None
        Why there are no head outputs, where there are none.

    Raises
    ------
    UserError
        The tower can't be pooled as the spec asks.
    """
    visual, pooling = model.visual, spec.pooling
    after = None
    trunk = None
    if isinstance(visual, TimmModel):
        trunk, after = visual.trunk, visual.head
    elif isinstance(model, TimmImages):
        trunk = visual
    if trunk is None:
        reason = tower.why_no_heads(visual)
        refused = reason if pooling != tower_rules.OWN else None
    else:
        reason = tower_rules.why_no_heads(trunk, after, pooling)
        refused = tower_rules.why_not_pooled(trunk, pooling)
        if pooling != tower_rules.OWN:
            refused = refused or reason
    if refused:
        raise UserError(f"encoder pooling {pooling!r}: not for {spec.model_name}, since {refused}")
    if trunk is None or reason is not None:
        return None, reason
    return HookedTower(trunk, after, pooling), None


@torch.inference_mode()
def check_parts(
    visual: nn.Module,
    spec: EncoderSpec,
    image_size: tuple[int, int],
    device: torch.device,
    embed: Callable[[torch.Tensor], torch.Tensor],
    take_apart: Callable[[torch.Tensor], DirectTerms],
    *,
    must_fit: bool,
) -> Check:
    """Rebuild the embedding of a noise image from its parts, in float32.

    In low precision the parameters are widened for the check and narrowed again, which changes no
    bit of them.

    Parameters
    ----------
    visual : the image tower
    image_size : height and width in pixels
    embed : the model's own way from pixels to the embedding
    take_apart : pixels to their `DirectTerms`
    must_fit : whether a misfit is an error (open_clip's ViTs, poolings that the user chose); else
        it leaves the encoder without head outputs, with one line in the log.

    Raises
    ------
    UserError
        The parts don't rebuild the embedding, and must.
    """
    kept = [*visual.parameters(), *visual.buffers()]
    kinds = [tensor.dtype for tensor in kept]
    visual.float()
    generator = torch.Generator().manual_seed(20240621)
    pixels = torch.randn(1, 3, *image_size, generator=generator).to(device)
    expected = embed(pixels)
    terms = take_apart(pixels)
    rebuilt = torch.from_numpy(terms.embedding())
    for tensor, kind in zip([*visual.parameters(), *visual.buffers()], kinds, strict=True):
        tensor.data = tensor.data.to(kind)
    expected = expected.double().cpu()
    error = float((rebuilt - expected).norm() / expected.norm().clamp_min(1e-30))
    if error < SELF_CHECK_TOLERANCE:
        if terms.pool_mlp is None:
            return Check(error)
        share = float(np.linalg.norm(terms.joint()["pool_mlp"]) / float(expected.norm()))
        log.info(
            "encoder %s: the pool's MLP, a term of its own, is %.2f of the embedding's length",
            spec.model_name,
            share,
        )
        return Check(error, pool_mlp_share=round(share, 3))
    misfit = (
        f"heads, MLPs and the rest rebuild the embedding with relative error {error:.1e};"
        f" allowed is {SELF_CHECK_TOLERANCE:.0e}"
    )
    if must_fit:
        raise UserError(f"encoder {spec.model_name}: {misfit}")
    log.warning("encoder %s: no head outputs: %s", spec.model_name, misfit)
    return Check(error, misfit)
