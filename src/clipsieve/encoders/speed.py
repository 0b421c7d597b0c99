"""Faster ways through a tower, each checked against the plain way when it is chosen."""

from __future__ import annotations

import numpy as np
import torch

from clipsieve.encoders.encoder import PART, Encoder
from clipsieve.encoders.tower_rules import OWN
from clipsieve.errors import UserError

#: How far a faster way may move an embedding, relative to its length.
SPEED_TOLERANCE = {"float32": 1e-5, "bfloat16": 2e-2, "float16": 2e-3}


def speed_up(encoder: Encoder, *, channels_last: bool = False, compiled: bool = False) -> float:
    """Take a faster way that gives nearly the same numbers; what is chosen becomes part of `identity`.

    Parameters
    ----------
    channels_last : bool
        Lay convolutions out in the order that tensor cores read.
    compiled : bool
        Compile the image tower with `torch.compile`. Head outputs and layers are read between
        its modules, so only embeddings can then be had (`encode(heads=False)`).

    Returns
    -------
    float
        Relative difference of the embedding of a noise image before and after.

    Raises
    ------
    UserError
        The difference is above `SPEED_TOLERANCE` of the precision, or the tower can't be
        compiled: open_clip's own ViTs with head outputs, whose pass is written out here, and
        poolings other than the tower's own.
    """
    if (
        compiled
        and not encoder.heads_missing
        and (encoder._hooked is None or encoder.spec.pooling != OWN)
    ):
        raise UserError(
            f"--compile: not for {encoder.spec.model_name} with pooling {encoder.spec.pooling}, whose"
            " pass is written out"
        )
    generator = torch.Generator().manual_seed(20240622)
    pixels = torch.randn(PART, 3, *encoder.image_size, generator=generator)
    before = encoder.encode(pixels, heads=False).embedding
    if channels_last:
        encoder.model.visual.to(memory_format=torch.channels_last)
        encoder.channels_last = True
    if compiled:
        encoder.model.visual.compile()
    difference = float(
        np.linalg.norm(encoder.encode(pixels, heads=False).embedding - before)
        / np.linalg.norm(before)
    )
    tolerance = SPEED_TOLERANCE[encoder.spec.precision]
    if not difference <= tolerance:
        raise UserError(
            f"encoder {encoder.spec.model_name}: the faster way changes the embedding by"
            f" {difference:.1e} of its length; allowed is {tolerance:.0e}"
        )
    asked = {"channels_last": channels_last, "compiled": compiled}
    encoder.identity = {**encoder.identity, **{name: True for name, on in asked.items() if on}}
    return difference
