"""An int8 ONNX export of a CLIP image tower to float32 weights under open_clip's names.

The export names its parameters as Hugging Face's CLIPVisionModelWithProjection does, and keeps the
weight of each matrix product as int8 with one scale per output channel and zero points of 0, so
`weight = scale * int8`. Its graph also rounds the activations to 8 bits, which ruins the embedding:
the graph is never run, only the weights are read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from clipsieve.errors import UserError

if TYPE_CHECKING:
    from onnx import ModelProto

_LAYER = re.compile(r"vision_model\.encoder\.layers\.(\d+)\.(.+)")
_OUTSIDE = {
    "vision_model.embeddings.class_embedding": "class_embedding",
    "vision_model.embeddings.patch_embedding.weight": "conv1.weight",
    "vision_model.embeddings.position_embedding.weight": "positional_embedding",
    # Hugging Face's own spelling.
    "vision_model.pre_layrnorm.weight": "ln_pre.weight",
    "vision_model.pre_layrnorm.bias": "ln_pre.bias",
    "vision_model.post_layernorm.weight": "ln_post.weight",
    "vision_model.post_layernorm.bias": "ln_post.bias",
}
_INSIDE = {
    "layer_norm1.weight": "ln_1.weight",
    "layer_norm1.bias": "ln_1.bias",
    "layer_norm2.weight": "ln_2.weight",
    "layer_norm2.bias": "ln_2.bias",
    "self_attn.out_proj.weight": "attn.out_proj.weight",
    "self_attn.out_proj.bias": "attn.out_proj.bias",
    "mlp.fc1.weight": "mlp.c_fc.weight",
    "mlp.fc1.bias": "mlp.c_fc.bias",
    "mlp.fc2.weight": "mlp.c_proj.weight",
    "mlp.fc2.bias": "mlp.c_proj.bias",
}
_QKV = ("q_proj", "k_proj", "v_proj")


def read_onnx(path: str | Path) -> ModelProto:
    """Read an ONNX file, without what it may keep in other files.

    Raises
    ------
    UserError
        If `onnx` is missing, or the file is not a readable ONNX model.
    """
    try:
        import onnx
    except ImportError:
        raise UserError("the demo's encoder needs onnx: pip install 'clipsieve[demo]'") from None
    from google.protobuf.message import DecodeError
    from onnx.external_data_helper import uses_external_data

    try:
        model = onnx.load(path, load_external_data=False)
    except (OSError, DecodeError) as error:
        raise UserError(f"{path}: not a readable ONNX file ({error})") from error
    if not model.graph.initializer or any(map(uses_external_data, model.graph.initializer)):
        raise UserError(f"{path}: not a readable ONNX file (no weights in it, or in other files)")
    return model


def weights_of(model: ModelProto) -> dict[str, np.ndarray]:
    """Return the initialisers of a model by name, in the file's types."""
    from onnx import numpy_helper

    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def dequantised_parameters(model: ModelProto) -> dict[str, np.ndarray]:
    """Return all parameters of an export as float32, under the names of the exported modules.

    Matrix products are named after their node (`/vision_model/.../q_proj/MatMul_quant` reads
    `vision_model....q_proj.weight`) and kept as [inputs, outputs], as the graph has them.

    Raises
    ------
    UserError
        If a zero point is not 0, or a scale does not fit its weight.
    """
    tensors = weights_of(model)
    result: dict[str, np.ndarray] = {}
    for node in model.graph.node:
        if node.op_type != "MatMulInteger":
            continue
        name = node.name.strip("/").rsplit("/", 1)[0].replace("/", ".") + ".weight"
        quantised = tensors.get(node.input[1])
        base = node.input[1].removesuffix("_quantized")
        scale = tensors.get(base + "_scale")
        zero = tensors.get(node.input[3]) if len(node.input) > 3 else None
        if quantised is None:
            continue  # a product of two activations has no weight
        if scale is None or scale.shape not in ((quantised.shape[1],), (1,), ()):
            raise UserError(f"ONNX weight {name}: no scale per output channel")
        if zero is not None and np.any(zero):
            raise UserError(f"ONNX weight {name}: zero points other than 0 are not handled")
        result[name] = quantised.astype(np.float32) * scale.astype(np.float32)
    for name, tensor in tensors.items():
        if name.startswith("vision_model.") and tensor.dtype == np.float32:
            result[name] = tensor
    return result


def open_clip_image_tower(parameters: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Rename the parameters of a Hugging Face CLIP image tower to open_clip's `visual.*`.

    Parameters
    ----------
    parameters : mapping of name to float32 array
        From `dequantised_parameters`: matrix weights as [inputs, outputs].

    Returns
    -------
    dict of name to float32 array
        Complete for a strict load of the tower.

    Raises
    ------
    UserError
        If a parameter is missing or left over.
    """
    left = dict(parameters)
    result: dict[str, np.ndarray] = {}

    def take(name: str, transpose: bool = False) -> np.ndarray:
        if name not in left:
            raise UserError(f"ONNX image tower: parameter {name} is missing")
        array = left.pop(name)
        return np.ascontiguousarray(array.T if transpose else array, dtype=np.float32)

    layers = sorted({int(m[1]) for name in parameters if (m := _LAYER.fullmatch(name))})
    for old, new in _OUTSIDE.items():
        result[new] = take(old)
    for layer in layers:
        old_prefix = f"vision_model.encoder.layers.{layer}."
        new_prefix = f"transformer.resblocks.{layer}."
        for old, new in _INSIDE.items():
            is_matrix = old.endswith("weight") and not old.startswith("layer_norm")
            result[new_prefix + new] = take(old_prefix + old, transpose=is_matrix)
        attention = old_prefix + "self_attn."
        result[new_prefix + "attn.in_proj_weight"] = np.concatenate(
            [take(f"{attention}{part}.weight", transpose=True) for part in _QKV]
        )
        result[new_prefix + "attn.in_proj_bias"] = np.concatenate(
            [take(f"{attention}{part}.bias") for part in _QKV]
        )
    result["proj"] = take("visual_projection.weight")
    if left:
        raise UserError(f"ONNX image tower: parameter {min(left)} has no place in open_clip's")
    return {f"visual.{name}": array for name, array in result.items()}
