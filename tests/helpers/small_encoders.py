"""Small open_clip towers, three odd images, and how far two arrays are apart."""

from __future__ import annotations

import numpy as np
from PIL import Image

RNG = np.random.default_rng(11)
IMAGES = [
    Image.fromarray(RNG.integers(0, 256, shape, dtype=np.uint8)).resize((310, 250), Image.BICUBIC)
    for shape in ((20, 30, 3), (5, 7, 3), (60, 50, 3))
]
TEXT = {"context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
VISION = {"image_size": 64, "layers": 3, "width": 48, "head_width": 12, "patch_size": 16}


def config(vision: dict | None = None, text: dict | None = None, **more: object) -> dict:
    return {
        "embed_dim": 20,
        "vision_cfg": VISION | (vision or {}),
        "text_cfg": TEXT | (text or {}),
        **more,
    }


def relative(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


SMALL = {"depth": 3, "embed_dim": 48, "num_heads": 4}
#: Small towers of timm's own classes, one of each kind, by what is particular about them.
TOWERS = {
    "CLS token, LayerScale": {"timm": "vit_base_patch14_dinov2", "img_size": 56, **SMALL},
    "registers": {"timm": "vit_base_patch14_reg4_dinov2", "img_size": 56, **SMALL},
    "rotary positions, average": {"timm": "vit_base_patch16_dinov3", "img_size": 64, **SMALL},
    "norm inside, average": {"timm": "eva02_base_patch14_224", "img_size": 56, **SMALL},
    "norm inside, CLS token": {"timm": "eva02_base_patch16_clip_224", "img_size": 64, **SMALL},
    "CLIP": {"timm": "vit_base_patch16_clip_224", "img_size": 64, **SMALL},
    "pool attention": {"timm": "vit_base_patch16_siglip_224", "img_size": 64, **SMALL},
    "pool attention with CLS": {"timm": "vit_pe_core_base_patch16_224", "img_size": 64, **SMALL},
}
