"""Towers of timm: embeddings as timm's own, parts that rebuild them, attention written out, refusals."""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
timm = pytest.importorskip("timm")
import open_clip  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

from clipsieve.encoders import hub, load_encoder  # noqa: E402
from clipsieve.encoders.encoder import Encoder  # noqa: E402
from clipsieve.encoders.frozen_pool import FrozenPool  # noqa: E402
from clipsieve.errors import UserError  # noqa: E402
from tests.helpers.small_encoders import IMAGES, SMALL, TOWERS, config, relative  # noqa: E402

POOLINGS = ("cls_projected", "cls_hidden", "cls_stream", "mean_hidden", "mean_stream")
POOLED = [
    (name, pooling)
    for name in TOWERS
    for pooling in POOLINGS
    if not (name == "pool attention" and pooling.startswith("cls_") and pooling != POOLINGS[0])
]


def stirred(model: torch.nn.Module) -> torch.nn.Module:
    """Give every parameter something to be wrong about; norms, biases and tokens start constant."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            plain = parameter.ndim >= 2 and "norm" not in name
            size = 0.8 / math.sqrt(parameter.shape[-1]) if plain else 0.2
            if any(word in name for word in ("gamma", "ls1", "ls2")):
                parameter.fill_(0.5)
            if any(word in name for word in ("token", "pos_embed", "latent")):
                size = 0.5
            parameter.add_(size * noise.to(parameter.dtype))
    return model


def loaded(name: str, pooling: str = "cls_projected") -> Encoder:
    return load_encoder({"model": TOWERS[name], "pooling": pooling, "seed": 1})


def pixels_of(encoder: Encoder, count: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, 3, *encoder.image_size, generator=generator)


@pytest.mark.parametrize(("name", "pooling"), POOLED)
def test_the_parts_rebuild_the_embedding(name: str, pooling: str) -> None:
    encoder = loaded(name, pooling)
    assert encoder.self_check_error < 1e-5
    assert ("pool_mlp_share" in encoder.attributes()) == encoder._hooked.pool.by_attention
    stirred(encoder.model)
    hooks = encoder._hooked
    found, heads = encoder.encode_images(IMAGES)
    assert heads.shape == (3, *encoder.heads_shape)
    terms = encoder.direct_terms(IMAGES)
    assert relative(terms.embedding(), found) < 1e-4
    np.testing.assert_allclose(terms.heads, Encoder.head_outputs(fresh(encoder), heads), atol=1e-4)
    joint = terms.joint()
    total = sum(
        part.reshape(3, -1, found.shape[1]).sum(1)
        for key, part in joint.items()
        if key != "constant"
    )
    assert relative(total + joint["constant"], found) < 1e-4
    assert ("pool_mlp" in joint) == hooks.pool.by_attention
    encoder.model.double()
    pixels = pixels_of(encoder).double()
    with torch.no_grad():
        expected = hooks.forward(encoder.model.encode_image, pixels)[0]
        rebuilt = hooks.direct_terms(encoder.model.encode_image, pixels).embedding()
    assert relative(rebuilt, expected.numpy()) < 1e-12


def fresh(encoder: Encoder) -> Encoder:
    """The same encoder without what it remembers of its parameters, which were stirred."""
    encoder.__dict__.pop("_weights", None)
    return encoder


@pytest.mark.parametrize("name", list(TOWERS))
def test_embeddings_equal_timms_own(name: str) -> None:
    encoder = loaded(name)
    stirred(encoder.model)
    options = {key: value for key, value in TOWERS[name].items() if key != "timm"}
    reference = timm.create_model(TOWERS[name]["timm"], num_classes=0, **options).eval()
    reference.load_state_dict(encoder.model.visual.state_dict())
    pixels = torch.stack([encoder.preprocess(image) for image in IMAGES])
    with torch.no_grad():
        expected = reference(pixels)
        tokens = reference.forward_features(pixels)
    assert relative(encoder.encode_images(IMAGES)[0], expected.numpy()) < 2e-6
    if reference.cls_token is not None:
        cls = load_encoder({"model": TOWERS[name], "pooling": "cls_hidden"})
        cls.model.visual.load_state_dict(encoder.model.visual.state_dict())
        with torch.no_grad():
            wanted = reference.fc_norm(tokens[:, 0]).numpy()
        assert relative(cls.encode_images(IMAGES)[0], wanted) < 2e-6
    mean = load_encoder({"model": TOWERS[name], "pooling": "mean_hidden"})
    mean.model.visual.load_state_dict(encoder.model.visual.state_dict())
    with torch.no_grad():
        wanted = reference.fc_norm(tokens[:, reference.num_prefix_tokens :].mean(1)).numpy()
    assert relative(mean.encode_images(IMAGES)[0], wanted) < 2e-6


def softmax(x: np.ndarray) -> np.ndarray:
    x = np.exp(x - x.max(axis=-1, keepdims=True))
    return x / x.sum(axis=-1, keepdims=True)


def norm_of(layer: torch.nn.Module, x: np.ndarray) -> np.ndarray:
    if isinstance(layer, torch.nn.Identity):
        return x
    weight, bias = (p.detach().numpy() for p in (layer.weight, layer.bias))
    mean, var = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) / np.sqrt(var + layer.eps) * weight + bias


def turned(x: np.ndarray, rope: torch.Tensor | None, prefix: int, half: bool) -> np.ndarray:
    """Rotate pairs of numbers by the angles of the position, [N, d]."""
    if rope is None:
        return x
    sin, cos = (part.numpy() for part in rope.chunk(2, dim=-1))
    y = x[prefix:]
    size = y.shape[-1]
    if half:
        other = np.concatenate([-y[:, size // 2 :], y[:, : size // 2]], axis=-1)
    else:
        other = np.stack([-y[:, 1::2], y[:, ::2]], axis=-1).reshape(y.shape)
    return np.concatenate([x[:prefix], y * cos + other * sin])


def written_out(trunk: torch.nn.Module, pixels: torch.Tensor) -> tuple[list, np.ndarray]:
    """One image, float64: what each head adds to every token [L][H, N, width]; the last tokens."""
    found = trunk._pos_embed(trunk.patch_embed(pixels[None]))
    x, rope = found if isinstance(found, tuple) else (found, None)
    x = trunk.norm_pre(x)[0].numpy()
    outputs = []
    for block in trunk.blocks:
        attention = block.attn
        y = norm_of(block.norm1, x)
        if attention.qkv is not None:
            parts = np.split(y @ attention.qkv.weight.numpy().T, 3, axis=1)
            shift = attention.qkv.bias
            if shift is None:
                names = ("q_bias", "k_bias", "v_bias")
                found = [getattr(attention, name, None) for name in names]
                biases = [0.0 if b is None else b.numpy() for b in found]
            else:
                biases = np.split(shift.numpy(), 3)
        else:
            layers = (attention.q_proj, attention.k_proj, attention.v_proj)
            parts = [y @ layer.weight.numpy().T for layer in layers]
            biases = [0.0 if layer.bias is None else layer.bias.numpy() for layer in layers]
        q, k, v = (part + bias for part, bias in zip(parts, biases, strict=True))
        size = attention.head_dim
        prefix, half = (
            getattr(trunk, "num_prefix_tokens", 1),
            getattr(attention, "rotate_half", False),
        )
        contexts = []
        for head in range(attention.num_heads):
            part = slice(head * size, (head + 1) * size)
            query, key = (turned(t[:, part], rope, prefix, half) for t in (q, k))
            contexts.append(softmax(query @ key.T / math.sqrt(size)) @ v[:, part])
        z = norm_of(attention.norm, np.concatenate(contexts, axis=1))
        gamma = block.gamma_1 if hasattr(block, "gamma_1") else getattr(block.ls1, "gamma", None)
        scale = 1.0 if gamma is None else gamma.numpy()
        weight = attention.proj.weight.numpy()
        heads = [
            z[:, h * size : (h + 1) * size] @ weight[:, h * size : (h + 1) * size].T * scale
            for h in range(attention.num_heads)
        ]
        outputs.append(np.stack(heads))
        x = x + sum(heads) + attention.proj.bias.numpy() * scale
        x = x + mlp_of(block, x)
    return outputs, x


def mlp_of(block: torch.nn.Module, x: np.ndarray) -> np.ndarray:
    added = block.mlp(torch.from_numpy(norm_of(block.norm2, x))[None])[0]
    gamma = block.gamma_2 if hasattr(block, "gamma_2") else getattr(block.ls2, "gamma", None)
    return (added if gamma is None else added * gamma).numpy()


@pytest.mark.parametrize("name", list(TOWERS))
@torch.no_grad()
def test_head_outputs_equal_attention_written_out(name: str) -> None:
    encoder = loaded(name)
    stirred(encoder.model).double()
    trunk, hooks = encoder.model.visual, encoder._hooked
    pixels = pixels_of(encoder, 1).double()
    terms = hooks.direct_terms(encoder.model.encode_image, pixels)
    outputs, last = written_out(trunk, pixels[0])
    if hooks.pool.by_cls:
        expected = [layer[:, 0] for layer in outputs]
    elif hooks.pool.by_attention:
        expected = [through_pool(trunk, layer, last) for layer in outputs]
    elif isinstance(trunk.norm, torch.nn.Identity):
        expected = [layer[:, trunk.num_prefix_tokens :].mean(1) for layer in outputs]
    else:
        expected = [
            through_norm(trunk.norm, layer, last)[:, trunk.num_prefix_tokens :].mean(1)
            for layer in outputs
        ]
    assert relative(terms.heads[0], np.stack(expected)) < 1e-12


def through_norm(norm: torch.nn.Module, parts: np.ndarray, x: np.ndarray) -> np.ndarray:
    if isinstance(norm, torch.nn.Identity):
        return parts
    scale = np.sqrt(x.var(-1, keepdims=True) + norm.eps)
    return (parts - parts.mean(-1, keepdims=True)) / scale * norm.weight.numpy()


def through_pool(trunk: torch.nn.Module, parts: np.ndarray, last: np.ndarray) -> np.ndarray:
    """What the frozen pool attention makes of each head's addition to the tokens, [H, width]."""
    pool = trunk.attn_pool
    first = 0 if getattr(trunk, "pool_include_prefix", True) else trunk.num_prefix_tokens
    x = norm_of(trunk.norm, last)[first:]
    parts = through_norm(trunk.norm, parts, last)[:, first:]
    width, size = x.shape[1], pool.head_dim
    weight, bias = pool.kv.weight.numpy(), pool.kv.bias.numpy()
    query = pool.q(pool.latent)[0, 0].numpy()
    result = np.zeros((len(parts), width))
    for k in range(pool.num_heads):
        part = slice(k * size, (k + 1) * size)
        key = x @ weight[:width][part].T + bias[:width][part]
        alpha = softmax(key @ query[part] / math.sqrt(size))
        value = np.einsum("n,hnc,dc->hd", alpha, parts, weight[width:][part])
        result += value @ pool.proj.weight.numpy()[:, part].T
    return result


OPEN_CLIP = {
    "SigLIP": config(
        {"timm_model_name": "vit_tiny_patch16_224", "timm_pool": "map", "timm_proj": "none"}
    ),
    "EVA": config(
        {"timm_model_name": "eva02_tiny_patch14_224", "timm_pool": "token", "timm_proj": "linear"}
    ),
}


@pytest.mark.parametrize("name", list(OPEN_CLIP))
def test_open_clips_towers_of_timm_have_heads(name: str) -> None:
    model = OPEN_CLIP[name]
    if name == "SigLIP":
        model = model | {"embed_dim": 192}
    model = model | {"vision_cfg": model["vision_cfg"] | {"image_size": 224}}
    encoder = load_encoder({"model": model, "seed": 2})
    assert encoder.has_text
    stirred(encoder.model.visual)
    found, _ = encoder.encode_images(IMAGES[:2])
    with torch.no_grad():
        pixels = torch.stack([encoder.preprocess(image) for image in IMAGES[:2]])
        expected = encoder.model.encode_image(pixels).numpy()
    assert relative(found, expected) < 2e-6
    assert relative(encoder.direct_terms(IMAGES[:2]).embedding(), expected) < 1e-5
    assert encoder.identity["versions"]["timm"] == timm.__version__


@pytest.mark.parametrize(
    "name", ["CLS token, LayerScale", "rotary positions, average", "pool attention"]
)
def test_layers_are_the_tokens_after_every_block(name: str) -> None:
    encoder = loaded(name)
    stirred(encoder.model)
    pixels = torch.stack([encoder.preprocess(image) for image in IMAGES])
    found = encoder.encode(pixels, pad=True, layers=True)
    trunk = encoder.model.visual
    with torch.no_grad():
        kept = trunk.forward_intermediates(
            pixels, return_prefix_tokens=True, output_fmt="NLC", intermediates_only=True
        )
    for layer, item in enumerate(kept):
        patches, prefix = item if isinstance(item, tuple) else (item, None)
        expected = prefix[:, 0] if encoder._hooked.pool.by_cls else patches.mean(1)
        assert relative(found.layers[:, layer], expected.numpy()) < 1e-5
    np.testing.assert_array_equal(found.embedding, encoder.encode_pixels(pixels, pad=True)[0])


def test_layers_of_an_open_clip_tower() -> None:
    for pooling in ("cls_projected", "mean_hidden"):
        encoder = load_encoder({"model": config(), "pooling": pooling})
        pixels = torch.stack([encoder.preprocess(image) for image in IMAGES])
        visual = encoder.model.visual
        with torch.no_grad():
            _, kept = visual.transformer.forward_intermediates(visual._embeds(pixels))
            embedded = visual.ln_post(kept[-1][:, 1:]).mean(1)
        layers = encoder.encode(pixels, layers=True).layers
        for layer, tokens in enumerate(kept):
            expected = tokens[:, 0] if pooling == "cls_projected" else tokens[:, 1:].mean(1)
            assert relative(layers[:, layer], expected.numpy()) < 1e-5
        if pooling == "mean_hidden":
            assert relative(encoder.encode_pixels(pixels)[0], embedded.numpy()) < 1e-5


@pytest.mark.parametrize("name", ["norm inside, CLS token", "pool attention with CLS"])
def test_threads_and_neighbours_change_no_bit(name: str) -> None:
    encoder = loaded(name)
    pixels = pixels_of(encoder, 11)
    order = torch.randperm(11, generator=torch.Generator().manual_seed(1))
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            found.append(encoder.encode_pixels(pixels, pad=True))
        turned = encoder.encode_pixels(pixels[order], pad=True)
    finally:
        torch.set_num_threads(before)
    for a, b in zip(found[0], found[1], strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(found[0], turned, strict=True):
        np.testing.assert_array_equal(a[order.numpy()], b)


def test_preprocessing_is_timms_own() -> None:
    encoder = load_encoder({"model": {"timm": "vit_base_patch16_siglip_224", **SMALL}})
    model = encoder.model.visual
    settings = timm.data.resolve_model_data_config(model)
    reference = timm.data.create_transform(**settings, is_training=False)
    for image in IMAGES:
        assert torch.equal(encoder.preprocess(image), reference(image))
    assert encoder.identity["preprocessing"]["mean"] == [0.5, 0.5, 0.5]
    other = load_encoder(
        {
            "model": {"timm": "vit_base_patch16_siglip_224", **SMALL},
            "preprocess": {"mean": [0, 0, 0]},
        }
    )
    assert other.identity["preprocessing"]["mean"] == [0, 0, 0]


def test_weights_from_a_file_drop_the_classifier_and_must_fit(tmp_path: Path) -> None:
    options = {"img_size": 64, **SMALL}
    whole = stirred(timm.create_model("vit_base_patch16_224", num_classes=7, **options)).eval()
    save_file(whole.state_dict(), tmp_path / "w.safetensors")
    torch.save(whole.state_dict(), tmp_path / "w.pth")
    model = {"timm": "vit_base_patch16_224", **options}
    found = []
    for file in ("w.safetensors", "w.pth"):
        encoder = load_encoder({"model": model, "weights": str(tmp_path / file)})
        found.append(encoder.encode_images(IMAGES)[0])
        assert encoder.identity["weights"] == file
    pixels = torch.stack([encoder.preprocess(image) for image in IMAGES])
    with torch.no_grad():
        expected = whole.forward_head(whole.forward_features(pixels), pre_logits=True).numpy()
    assert relative(found[0], expected) < 2e-6
    np.testing.assert_array_equal(*found)
    state = {k: v for k, v in whole.state_dict().items() if "blocks.1" not in k}
    save_file(state, tmp_path / "part.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"no such thing")
    for file, reason in (
        ("part", "Missing key"),
        ("bad", "bad.safetensors"),
        ("none", "no such file"),
    ):
        with pytest.raises(UserError, match=reason):
            load_encoder({"model": model, "weights": str(tmp_path / f"{file}.safetensors")})


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"model": "timm/vit_bas_patch16_224"}, r"not in timm; near it: .*vit_base_patch16_224"),
        ({"model": "timm/vit_base_patch14_dinov2.nope"}, r"no tag 'nope' of it; tags: lvd142m"),
        ({"model": "timm/vit_base_patch14_dinov2.lvd142m"}, r"write weights: lvd142m"),
        ({"model": "timm/vit_base_patch14_dinov2", "weights": "nope"}, r"no tag of .*lvd142m"),
        ({"model": {"timm": "vit_base_patch16_224", "nonsense": 3}}, "nonsense"),
        ({"model": {"timm": 3}}, "the name of a tower"),
        ({"model": {"timm": "vit_base_patch16_siglip_224", **SMALL}, "pooling": "cls_hidden"}, "no CLS token"),
        ({"model": "timm/convnext_atto", "pooling": "mean_hidden"}, "ConvNeXt has no tokens"),
        ({"model": {"timm": "vit_base_patch16_224", **SMALL}, "pooling": "mean_tokens"}, "a timm tower has the"),
        ({"model": {"timm": "vit_base_patch16_siglip_224", "global_pool": "", **SMALL}}, "neither a CLS token nor"),
        ({"model": {"timm": "vit_base_patch16_224", **SMALL}, "preprocess": {"resize_mode": "x"}}, "'resize_mode'"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_by_name(spec: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_encoder(spec)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ({"timm": "beit_base_patch16_224", "img_size": 64, **SMALL}, "timm's Beit, for which there is no rule"),
        ({"timm": "convnext_atto"}, "timm's ConvNeXt"),
        ({"timm": "fastvit_t8"}, "timm's FastVit"),
        ({"timm": "vit_base_patch16_224", "img_size": 64, "global_pool": "max", **SMALL}, "its pool is 'max'"),
        ({"timm": "vit_base_patch16_rpn_224", "img_size": 64, **SMALL}, "for which there is no rule"),
    ],
)  # fmt: skip
def test_towers_without_a_rule_give_embeddings_alone(model: dict, reason: str) -> None:
    encoder = load_encoder({"model": model})
    assert reason in encoder.heads_missing
    found, heads = encoder.encode_images(IMAGES)
    assert heads is None
    with torch.no_grad():
        pixels = torch.stack([encoder.preprocess(image) for image in IMAGES])
        assert relative(found, encoder.model.visual(pixels).numpy()) < 2e-6
    assert not encoder.has_text
    with pytest.raises(UserError, match="no layers"):
        encoder.encode(pixels, layers=True)


def test_a_tower_that_does_not_add_up_is_left_without_heads(monkeypatch, caplog) -> None:
    honest = FrozenPool.linear
    monkeypatch.setattr(FrozenPool, "linear", lambda self: (2 * torch.eye(48), None))
    encoder = loaded("CLIP")
    assert "relative error" in encoder.heads_missing
    assert encoder.encode_images(IMAGES)[1] is None
    assert sum("no head outputs" in line for line in caplog.messages) == 1
    monkeypatch.setattr(FrozenPool, "linear", honest)
    assert loaded("CLIP").has_heads


def test_low_precision_runs_and_stays_near() -> None:
    for name in ("registers", "pool attention"):
        wide = loaded(name).encode_images(IMAGES)
        narrow = load_encoder({"model": TOWERS[name], "seed": 1, "precision": "bfloat16"})
        found = narrow.encode_images(IMAGES)
        assert 0 < relative(found[0], wide[0]) < 0.05
        assert 0 < relative(found[1], wide[1]) < 0.1


def test_nothing_asks_the_hub_for_random_weights(monkeypatch) -> None:
    import huggingface_hub.constants as constants

    monkeypatch.setattr(hub, "_ours", True)
    hub.allow(False)
    assert constants.HF_HUB_OFFLINE
    assert os.environ["HF_HUB_OFFLINE"] == "1"
    assert sys.modules["huggingface_hub.constants"] is constants
    hub.allow(True)
    assert not constants.HF_HUB_OFFLINE
    monkeypatch.setattr(hub, "_ours", False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub.allow(True)
    assert constants.HF_HUB_OFFLINE, "what the user says stays"
    with pytest.raises(UserError, match="weights 'lvd142m' of vit_base_patch14_dinov2"):
        load_encoder({"model": {"timm": "vit_base_patch14_dinov2", **SMALL}, "weights": "lvd142m"})


def test_a_tokenizer_of_the_hub_is_refused_in_one_line(monkeypatch) -> None:
    def away(name: str) -> None:
        raise OSError("offline\nmode")

    monkeypatch.setattr(open_clip, "get_tokenizer", away)
    encoder = load_encoder({"model": "ViT-B-32"})
    with pytest.raises(UserError, match=r"tokenizer can't be had here \(offline mode\)"):
        encoder.encode_texts(["a"])
