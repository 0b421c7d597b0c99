"""Embeddings and head outputs against the same computation written out in numpy, float64."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")
import open_clip  # noqa: E402
from PIL import Image  # noqa: E402

from clipsieve.encoders import load_encoder, tower  # noqa: E402
from clipsieve.errors import UserError  # noqa: E402
from tests.helpers.small_encoders import IMAGES, RNG, config, relative  # noqa: E402


@pytest.fixture(scope="module")
def tiny():
    return load_encoder({"model": "tiny"})


def layer_norm(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    mean, var = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) / np.sqrt(var + 1e-5) * weight + bias


def gelu(x: np.ndarray, quick: bool) -> np.ndarray:
    if quick:
        return x / (1 + np.exp(-1.702 * x))
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def written_out(visual: torch.nn.Module, pixels: np.ndarray, quick: bool) -> tuple:
    """One image: embedding [D] and every head's addition to the CLS token [L, H, width]."""
    p = {k: v.double().numpy() for k, v in visual.state_dict().items()}
    patch = p["conv1.weight"].shape[-1]
    rows, columns = pixels.shape[1] // patch, pixels.shape[2] // patch
    patches = [
        np.tensordot(
            p["conv1.weight"],
            pixels[:, r * patch : (r + 1) * patch, c * patch : (c + 1) * patch],
            axes=3,
        )
        for r in range(rows)
        for c in range(columns)
    ]
    x = np.stack([p["class_embedding"], *patches]) + p["positional_embedding"]
    if "ln_pre.weight" in p:
        x = layer_norm(x, p["ln_pre.weight"], p["ln_pre.bias"])
    outputs = []
    for layer in range(visual.transformer.layers):
        b = f"transformer.resblocks.{layer}."
        count = visual.transformer.resblocks[layer].attn.num_heads
        y = layer_norm(x, p[b + "ln_1.weight"], p[b + "ln_1.bias"])
        width = y.shape[1]
        size = width // count
        scale = p.get(b + "ls_1.gamma", np.ones(width))
        added = np.zeros_like(x) + p[b + "attn.out_proj.bias"]
        of_cls = []
        for head in range(count):
            part = slice(head * size, (head + 1) * size)
            w, bias = p[b + "attn.in_proj_weight"], p[b + "attn.in_proj_bias"]
            q, k, v = (
                y @ w[i * width : (i + 1) * width][part].T + bias[i * width : (i + 1) * width][part]
                for i in range(3)
            )
            logits = q @ k.T / math.sqrt(size)
            alpha = np.exp(logits - logits.max(1, keepdims=True))
            alpha /= alpha.sum(1, keepdims=True)
            output = alpha @ v @ p[b + "attn.out_proj.weight"][:, part].T
            of_cls.append(output[0] * scale)
            added += output
        outputs.append(of_cls)
        x = x + added * scale
        y = layer_norm(x, p[b + "ln_2.weight"], p[b + "ln_2.bias"])
        hidden = gelu(y @ p[b + "mlp.c_fc.weight"].T + p[b + "mlp.c_fc.bias"], quick)
        mlp = hidden @ p[b + "mlp.c_proj.weight"].T + p[b + "mlp.c_proj.bias"]
        x = x + mlp * p.get(b + "ls_2.gamma", np.ones(width))
    return layer_norm(x[0], p["ln_post.weight"], p["ln_post.bias"]) @ p["proj"], np.array(outputs)


MODELS = {
    "tiny": ("tiny", True),
    "gelu": (config(), False),
    "layer scale": (config({"ls_init_value": 0.3}, quick_gelu=True), True),
    "no ln_pre": (config({"no_ln_pre": True}), False),
    "final norm after pooling": (config({"final_ln_after_pool": True}), False),
    "patch dropout is off": (config({"patch_dropout": 0.5}), False),
}


@pytest.mark.parametrize("name", list(MODELS))
def test_heads_and_embedding_equal_attention_written_out(name: str) -> None:
    model, quick = MODELS[name]
    encoder = load_encoder({"model": model, "seed": 5})
    with torch.no_grad():
        # Fresh LayerNorms, biases and LayerScales are constants: give them something to be wrong about.
        generator = torch.Generator().manual_seed(1)
        for parameter in encoder.model.visual.parameters():
            if parameter.ndim == 1:
                parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
    embeddings, heads = encoder.encode_images(IMAGES)
    outputs = encoder.head_outputs(heads)
    for i, image in enumerate(IMAGES):
        pixels = encoder.preprocess(image).double().numpy()
        embedding, expected = written_out(encoder.model.visual, pixels, quick)
        assert relative(embeddings[i], embedding) < 1e-5
        assert relative(outputs[i], expected) < 1e-5


def test_embedding_equals_open_clips_own(tiny) -> None:
    pixels = torch.stack([tiny.preprocess(image) for image in IMAGES])
    with torch.no_grad():
        expected = tiny.model.encode_image(pixels).numpy()
    found, _ = tiny.encode_images(IMAGES, batch_size=2)
    assert relative(found, expected) < 2e-6


def test_threads_and_neighbours_change_no_bit() -> None:
    """Wide enough that matrix products are divided among threads where they may be."""
    wide = config({"width": 256, "head_width": 64, "image_size": 112, "layers": 2}, {"width": 256})
    encoder = load_encoder({"model": wide})
    pixels = torch.randn(11, 3, 112, 112, generator=torch.Generator().manual_seed(0))
    order = torch.randperm(11, generator=torch.Generator().manual_seed(1))
    texts = [f"{i} {'word ' * (i % 7)}" for i in range(60)]
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(
                (*encoder.encode_pixels(pixels, pad=True), encoder.encode_texts(texts, 16))
            )
            assert torch.get_num_threads() == threads
        turned = encoder.encode_pixels(pixels[order], pad=True)
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(turned[0], found[0][0][order.numpy()])
    np.testing.assert_array_equal(turned[1], found[0][1][order.numpy()])


@pytest.mark.parametrize("name", ["tiny", "layer scale", "no ln_pre"])
def test_direct_terms_sum_to_the_embedding(name: str) -> None:
    encoder = load_encoder({"model": MODELS[name][0]})
    found, heads = encoder.encode_images(IMAGES)
    terms = encoder.direct_terms(IMAGES)
    joint = terms.joint()
    total = sum(
        part.reshape(len(IMAGES), -1, found.shape[1]).sum(1)
        for key, part in joint.items()
        if key != "constant"
    )
    assert relative(total + joint["constant"], found) < 1e-5
    assert relative(terms.embedding(), found) < 1e-5
    np.testing.assert_allclose(terms.heads, encoder.head_outputs(heads), atol=1e-5)


def test_the_self_check_refuses_a_tower_that_it_does_not_understand(monkeypatch) -> None:
    honest = tower._mlp
    monkeypatch.setattr(tower, "_mlp", lambda block, x: honest(block, x) * 1.01)
    with pytest.raises(UserError, match="rebuild the embedding with relative error"):
        load_encoder({"model": "tiny"})


def test_no_attention_map_is_ever_in_memory(tiny) -> None:
    """The fused kernel alone is allowed here; the plain one, which holds the maps, would raise."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    expected = tiny.encode_images(IMAGES)[0]
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        np.testing.assert_array_equal(tiny.encode_images(IMAGES)[0], expected)


def test_preprocessing_is_open_clips_own_bit_for_bit(tiny) -> None:
    from clipsieve.images.decode import decode

    reference = open_clip.image_transform(224, is_train=False)
    for image, kind in zip(IMAGES, ("PNG", "JPEG", "WEBP"), strict=True):
        buffer = io.BytesIO()
        image.save(buffer, kind)
        ours = tiny.preprocess(decode(buffer.getvalue()))
        theirs = reference(Image.open(io.BytesIO(buffer.getvalue())))
        assert ours.dtype == torch.float32
        assert torch.equal(ours, theirs)


def test_pooling(tiny) -> None:
    with torch.no_grad():
        visual = tiny.model.visual
        pixels = torch.stack([tiny.preprocess(image) for image in IMAGES])
        _, intermediates = visual.transformer.forward_intermediates(
            visual._embeds(pixels), indices=1
        )
        tokens = visual.ln_post(intermediates[-1]).double()
        projected = (tokens @ visual.proj.double()).numpy()
    hidden = load_encoder({"model": "tiny", "pooling": "cls_hidden"})
    mean = load_encoder({"model": "tiny", "pooling": "mean_tokens"})
    assert relative(tiny.encode_images(IMAGES)[0], projected[:, 0]) < 1e-5
    found, heads = hidden.encode_images(IMAGES)
    assert hidden.embedding_size == tiny.width
    assert relative(found, tokens[:, 0].numpy()) < 1e-5
    assert (
        relative(hidden.head_outputs(heads), tiny.head_outputs(tiny.encode_images(IMAGES)[1]))
        < 1e-6
    )
    found, heads = mean.encode_images(IMAGES)
    assert relative(found, projected.mean(1)) < 1e-5
    assert heads.shape == (len(IMAGES), 4, 4, 16)


def test_head_basis_keeps_every_inner_product(tiny) -> None:
    _, heads = tiny.encode_images(IMAGES)
    full = tiny.head_outputs(heads)
    short = np.einsum("lhij,nlhj->nlhi", tiny.head_basis(), heads)
    np.testing.assert_allclose(
        np.einsum("alhi,blhi->ablh", short, short),
        np.einsum("alhw,blhw->ablh", full, full),
        rtol=1e-4,
        atol=1e-7,
    )
    basis = tiny.head_basis()
    assert np.abs(np.tril(basis, -1)).max() == 0
    assert np.diagonal(basis, axis1=2, axis2=3).min() >= 0


def test_a_probe_on_head_outputs_is_a_probe_on_the_basis(tiny) -> None:
    from sklearn.linear_model import LogisticRegression

    # The argument needs no images: any numbers will do for z.
    z = RNG.normal(size=(60, 16))
    y = (z[:, 0] + 0.5 * RNG.normal(size=60) > 0).astype(int)
    weights = tower.output_weights(tiny.model.visual)[1, 2].astype(np.float64) * 20
    full, short = z @ weights.T, z @ (tiny.head_basis()[1, 2].astype(np.float64) * 20).T
    fits = [
        LogisticRegression(fit_intercept=False, tol=1e-10, max_iter=5000)
        .fit(x, y)
        .decision_function(x)
        for x in (full, short)
    ]
    np.testing.assert_allclose(fits[0], fits[1], rtol=1e-5, atol=1e-4)


def test_projection_of_head_outputs(tiny) -> None:
    _, heads = tiny.encode_images(IMAGES)
    projected = np.einsum("lhdk,nlhk->nlhd", tiny.head_projection(), heads)
    np.testing.assert_allclose(projected, tiny.project(tiny.head_outputs(heads)), atol=1e-6)


@pytest.mark.parametrize(("precision", "tolerance"), [("bfloat16", 0.02), ("float16", 0.003)])
def test_low_precision_stays_near_and_normalises_in_float32(
    precision: str, tolerance: float
) -> None:
    wide = load_encoder({"model": config(), "seed": 2})
    narrow = load_encoder({"model": config(), "seed": 2, "precision": precision})
    assert narrow.model.visual.transformer.resblocks[0].ln_1.weight.dtype == torch.float32
    assert narrow.model.visual.transformer.resblocks[0].mlp.c_fc.weight.itemsize == 2
    for a, b in zip(wide.encode_images(IMAGES), narrow.encode_images(IMAGES), strict=True):
        assert b.dtype == np.float32
        assert 0 < relative(b, a) < tolerance


def test_layer_norm_does_not_overflow_in_float16() -> None:
    """A residual stream of thousands: its square sum overflows float16, not float32."""
    encoders = []
    for precision in ("float32", "float16"):
        encoder = load_encoder({"model": config({"no_ln_pre": True}), "precision": precision})
        with torch.no_grad():
            encoder.model.visual.positional_embedding.mul_(4e4)
        encoders.append(encoder)
    wide, narrow = (encoder.encode_images(IMAGES)[0] for encoder in encoders)
    assert relative(narrow, wide) < 0.01


WITHOUT_HEADS = {
    "ModifiedResNet": config({"layers": [1, 1, 1, 1], "width": 16, "head_width": 64}),
    "attention instead": config({"attentional_pool": True, "attn_pooler_heads": 2}),
    "'avg'": config({"pool_type": "avg"}),
    "CustomResidualAttentionBlock": config({"qk_norm": True}),
    "timm's ConvNeXt": config(
        {"timm_model_name": "convnext_atto", "timm_pool": "", "timm_proj": "linear"}
    ),
}


@pytest.mark.parametrize("reason", list(WITHOUT_HEADS))
def test_other_towers_give_embeddings_and_say_why_no_heads(reason: str) -> None:
    encoder = load_encoder({"model": WITHOUT_HEADS[reason]})
    assert not encoder.has_heads
    assert reason in encoder.heads_missing
    found, heads = encoder.encode_images(IMAGES)
    assert heads is None
    assert found.shape == (len(IMAGES), encoder.embedding_size) == (3, 20)
    with torch.no_grad():
        pixels = torch.stack([encoder.preprocess(image) for image in IMAGES])
        expected = encoder.model.encode_image(pixels).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-6)
    with pytest.raises(UserError, match="no head outputs"):
        encoder.head_basis()
    with pytest.raises(UserError, match="pooling 'cls_hidden'"):
        load_encoder({"model": WITHOUT_HEADS[reason], "pooling": "cls_hidden"})


def test_other_towers_in_low_precision_run_or_are_refused() -> None:
    spec = {"model": WITHOUT_HEADS["'avg'"]}
    wide = load_encoder(spec).encode_images(IMAGES)[0]
    narrow = load_encoder(spec | {"precision": "bfloat16"}).encode_images(IMAGES)[0]
    assert 0 < relative(narrow, wide) < 0.02
    with pytest.raises(UserError, match=r"precision 'bfloat16'.*float32 always works"):
        load_encoder({"model": WITHOUT_HEADS["attention instead"], "precision": "bfloat16"})
