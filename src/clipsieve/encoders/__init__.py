"""Frozen encoders of open_clip and timm: load, embeddings, head outputs, texts, and what head outputs mean.

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
        `model` : an open_clip name (`ViT-B-16-quickgelu`), `hf-hub:org/name`, `timm/<name>` (a
        tower of timm, without its classifier), `tiny` (the small model that ships with the
        package), or a mapping with an open_clip model configuration or with `timm: <name>` and
        options of that tower (`img_size: 224`).
        `weights` : a tag of open_clip or timm, a file (safetensors, or torch loaded with
        weights_only), `hf-hub:org/name`, or None (default) for random weights drawn with `seed`.
        `seed` : int, default 0. `device` : `auto` (default), `cpu` or `cuda`.
        `precision` : `float32` (default), `bfloat16` or `float16`; LayerNorm and the residual
        stream stay in float32.
        `pooling` : `cls_projected` (default; the model's own embedding), `cls_hidden` (the CLS token
        after the final LayerNorm), `cls_stream` (before it), `mean_hidden`, `mean_stream` (mean of
        the patch tokens likewise) or `mean_tokens` (mean of all projected tokens; open_clip's ViTs).
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
    from clipsieve.encoders import hub
    from clipsieve.encoders.spec import parse_spec

    checked = parse_spec(spec)
    # before the first import of what would ask the hub, so that nothing waits for it
    hub.allow(checked.needs_hub)

    from clipsieve.encoders.load import load

    return load(checked)
