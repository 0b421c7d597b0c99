"""Frozen open_clip encoders: load, embeddings, head outputs, texts, and what head outputs mean.

Importing this package does not import torch; `load_encoder` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clipsieve.encoders.encoder import Encoder

__all__ = ["load_encoder"]


def load_encoder(spec: Mapping[str, Any]) -> Encoder:
    """Load a frozen encoder and check that its parts rebuild its embedding.

    Parameters
    ----------
    spec : mapping
        `model` : an open_clip name (`ViT-B-16-quickgelu`), `hf-hub:org/name`, `tiny` (the small
        model that ships with the package), or a mapping with an open_clip model configuration.
        `weights` : an open_clip tag, a file (safetensors, or torch loaded with weights_only),
        `hf-hub:org/name`, or None (default) for random weights drawn with `seed`.
        `seed` : int, default 0. `device` : `auto` (default), `cpu` or `cuda`.
        `precision` : `float32` (default), `bfloat16` or `float16`; LayerNorm and the residual
        stream stay in float32.
        `pooling` : `cls_projected` (default), `cls_hidden` or `mean_tokens`.
        `preprocess` : mapping that overrides `mean`, `std`, `interpolation` or `resize_mode`.

    Returns
    -------
    Encoder

    Raises
    ------
    UserError
        For an unknown key or value, weights that can't be loaded or don't belong to the model
        (`openai` weights on a model without QuickGELU among them), or a failed self-check.
    """
    from clipsieve.encoders.load import load

    return load(spec)
