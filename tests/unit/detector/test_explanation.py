"""Parts of an explanation add up to the logit, and patches to their heads' term."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from clipsieve.cli import main
from clipsieve.detector import Detector
from clipsieve.detector.explanation import effective_weights, nearest_images, nearest_words
from clipsieve.detector.file_rule import file_probability, fit_file_rule
from clipsieve.encoders.patch_terms import patch_terms
from tests.helpers.detector_runs import HEADS, Run


@pytest.mark.parametrize(("kind", "ways"), [
    ("all", ["components", "encoder"]), ("residual", ["components", "encoder"]), ("heads", ["heads"]),
])  # fmt: skip
def test_every_division_adds_up_to_the_logit(run: Run, kind: str, ways: list[str]):
    detector = Detector.load(run.export(kind, "one", "two"))
    path = run.root / "images/two/33.png"
    found = detector.explain(path)
    logit = detector.decision_function([path])[0]
    assert [division.by for division in found.divisions] == ways
    for division in found.divisions:
        total = division.base + sum(division.parts.values())
        assert total == pytest.approx(logit, abs=1e-5)
        assert division.total == pytest.approx(logit, abs=1e-5)
        assert abs(division.parts.get("rounding", 0.0)) < 1e-5
    assert found.heat is not None
    assert sum(map(sum, found.heat)) + found.heat_cls == pytest.approx(found.heat_term, abs=1e-5)
    of_heads = {
        name: share for name, share in found.divisions[-1].parts.items() if name.startswith("l")
    }
    assert sum(of_heads.values()) == pytest.approx(found.heat_term, abs=1e-5)
    if kind == "heads":
        assert sorted(of_heads) == sorted(f"l{layer}_h{head}" for layer, head in HEADS)


def test_a_share_over_components_is_weight_times_component(run: Run):
    detector = Detector.load(run.export("all", "one", "two"))
    path = run.root / "images/real/33.png"
    (division, _) = detector.explain(path).divisions
    embedding = run.embedding["real"][33].astype(np.float64)
    coef = np.mean([probe.coef for probe in detector.model.probes], axis=0)
    by_hand = {f"component {j}": coef[j] * embedding[j] for j in np.flatnonzero(coef)}
    assert division.parts.keys() == by_hand.keys()
    for name, share in by_hand.items():
        assert division.parts[name] == pytest.approx(share, abs=1e-6)


def test_weights_of_cosines_give_the_same_logit(run: Run):
    detector = Detector.load(run.export("residual", "one", "three"))
    for embedding in run.embedding["two"][:5].astype(np.float64):
        weights, intercept = effective_weights(detector.model, embedding)
        logit = detector.model.logits(embedding[None])[0]
        assert weights @ embedding + intercept == pytest.approx(logit, abs=1e-9)


def test_patches_of_one_head_are_attention_times_values(run: Run):
    """By a plain loop over tokens with the block's own module, for one head of the first layer."""
    encoder, visual = run.encoder, run.encoder.model.visual
    with Image.open(run.root / "images/one/31.png") as image:
        pixels = encoder.preprocess(image.convert("RGB"))
    layers, heads, size = encoder.heads_shape
    u = np.zeros((layers, heads, size))
    u[0, 1] = np.random.default_rng(3).normal(size=size)
    cls, patches = patch_terms(encoder, pixels, u)
    seen = {}
    block = visual.transformer.resblocks[0]
    handle = block.ln_1.register_forward_hook(lambda _, __, out: seen.update(x=out))
    try:
        with torch.inference_mode():
            visual(pixels[None])
    finally:
        handle.remove()
    x = seen["x"][0].double()
    attention = block.attn
    weight, bias = attention.in_proj_weight.double(), attention.in_proj_bias.double()
    width = attention.embed_dim
    rows = slice(size, 2 * size)  # head 1
    query, key, value = (
        x @ weight[k * width : (k + 1) * width][rows].T + bias[k * width : (k + 1) * width][rows]
        for k in range(3)
    )
    alpha = torch.softmax(key @ query[0] / size**0.5, dim=0)
    by_hand = [float(alpha[i] * (value[i] @ torch.tensor(u[0, 1]))) for i in range(len(x))]
    assert cls[0, 1] == pytest.approx(by_hand[0], abs=1e-6)
    assert patches[0, 1].ravel() == pytest.approx(by_hand[1:], abs=1e-6)
    assert not patches[1].any()
    _, cached = encoder.encode_pixels(pixels[None])
    assert sum(by_hand) == pytest.approx(float(cached[0, 0, 1] @ u[0, 1]), abs=1e-5)


def test_nearest_images_and_words_are_those_of_a_plain_loop(run: Run, detector: Detector):
    reference, mean = detector.model.reference, detector.model.image_mean
    kept = reference.image_id.index("one/05.png")
    embedding = run.embedding["one"][5].astype(np.float64)
    near = nearest_images(reference, embedding)
    assert near[0]["image_id"] == reference.image_id[kept]
    assert near[0]["cosine"] == pytest.approx(1.0, abs=1e-4)
    assert near[0]["label"] == "generated"
    found = nearest_words(reference, embedding, mean)
    texts = reference.text_embedding.astype(np.float64)
    texts = texts - texts.mean(axis=0)

    def cosine(x, y):
        return float(x @ y / np.linalg.norm(x) / np.linalg.norm(y))

    usual = [
        [cosine(image - mean, text) for text in texts]
        for image in reference.embedding.astype(np.float64)
    ]
    centre, spread = np.mean(usual, axis=0), np.std(usual, axis=0, ddof=1)
    z = (np.array([cosine(embedding - mean, text) for text in texts]) - centre) / spread
    best = int(np.argmax(z))
    assert found[0]["text"] == reference.texts[best]
    assert found[0]["z"] == pytest.approx(z[best])
    highest = ((np.array(usual) - centre) / spread).max(axis=1)
    assert found[0]["p"] == pytest.approx((1 + (highest >= z[best]).sum()) / (1 + len(usual)))


def test_the_rule_on_files_sees_what_separates_them():
    import pandas as pd

    rng = np.random.default_rng(0)
    n = 200
    label = np.repeat([0, 1], n // 2)
    table = pd.DataFrame(
        {
            "label": label, "format": np.where(label == 1, "JPEG", "PNG"), "mode": "RGB",
            "width": rng.integers(200, 400, n), "height": rng.integers(200, 400, n),
            "bytes": rng.integers(10_000, 90_000, n),
            "jpeg_quality": np.where(label == 1, 90.0, np.nan),
        }
    )  # fmt: skip
    rule = fit_file_rule(table, np.ones(n), table)
    assert rule["auc"] == 1.0
    json.dumps(rule)
    file = {"format": "PNG", "mode": "RGB", "width": 300, "height": 300, "bytes": 40_000}
    assert file_probability(rule, {**file, "jpeg_quality": None}) > 0.9
    assert file_probability(rule, {**file, "format": "JPEG", "jpeg_quality": 90}) < 0.1
    mixed = table.assign(format="PNG", jpeg_quality=np.nan)
    assert abs(fit_file_rule(mixed, np.ones(n), mixed)["auc"] - 0.5) < 0.15


def test_an_explanation_is_text_json_and_one_page(
    run: Run, exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    image = run.root / "images/two/35.png"
    page = tmp_path / "why.html"
    common = ["detect", str(exported), "--explain"]
    assert main([*common, "--html", str(page), str(image)]) == 0
    text = capsys.readouterr().out
    for words in ("by components", "by encoder", "nearest words", "the file alone"):
        assert words in text
    html = page.read_text()
    assert html.count("<rect ") == 49  # seven by seven patches
    assert "data:image/png;base64," in html
    assert "http" not in html.replace("http-equiv", "")
    assert main([*common, "--json", str(image), str(run.root / "none.png")]) == 3
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[0]["result"]["path"] == str(image)
    assert lines[1]["problem"] == "no such file"
    assert main([*common, "--html", str(page), str(image), str(image)]) == 2
    assert "one image makes one page; 2 are given" in capsys.readouterr().err
