"""Images from pipelines that the tests build out of the libraries' own classes, by the real command."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from clipsieve import cli
from clipsieve.generation.making import seed_for
from tests.helpers import tiny_pipelines as tiny
from tests.helpers.generating import SD, generate, options, pictures, write_prompts


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def sd(models) -> Path:
    return tiny.stable_diffusion(models / "sd")


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    write_prompts(tmp_path / "prompts.parquet")
    return tmp_path


def sd_recipe(path: Path, **more):
    return {"adapter": "diffusers_text_to_image", "model": str(path), "arguments": SD, **more}


def test_stable_diffusion_gives_the_picture_of_the_library_itself(folder, sd):
    from diffusers import StableDiffusionPipeline

    table, note = generate(folder, sd_recipe(sd))
    assert list(table["file"]) == [f"p{i}_{k}.png" for i in range(4) for k in range(2)]
    assert len(set(table["sha256"])) == 8
    torch.set_num_threads(1)
    pipeline = StableDiffusionPipeline.from_pretrained(str(sd), safety_checker=None)
    pipeline.set_progress_bar_config(disable=True)
    seed = seed_for("tiny", 0, "p1", 1)
    expected = pipeline(
        "a blue bird on a tree 1", generator=torch.Generator().manual_seed(seed), **SD
    ).images[0]
    assert np.array_equal(np.asarray(Image.open(folder / "0/p1_1.png")), np.asarray(expected))
    (facts,) = note["machines"].values()
    assert facts["model"]["class"] == "StableDiffusionPipeline"
    assert "unet/diffusion_pytorch_model.safetensors" in facts["model"]["files"]
    assert {"torch", "diffusers", "transformers"} <= facts["versions"].keys()
    assert facts["threads"] == 1
    assert note["recipe"]["arguments"] == SD
    assert set(table["made_by"]) == set(note["machines"])


def test_a_shard_is_the_same_alone_and_in_another_order(folder, sd):
    generate(folder, sd_recipe(sd), "whole")
    # the last prompt first, in shards of one
    for n in reversed(range(4)):
        generate(folder, sd_recipe(sd), f"part{n}", shard=n, size=1)
    parts = {}
    for n in range(4):
        parts |= pictures(folder / f"part{n}")
    assert parts == pictures(folder / "whole")
    assert len(parts) == 8


def test_other_settings_make_other_pictures_and_the_same_ones_are_kept(folder, sd):
    generate(folder, sd_recipe(sd))
    before = pictures(folder / "0")
    times = {p.name: p.stat().st_mtime_ns for p in (folder / "0").glob("*.png")}
    (folder / "0/p2_0.png").unlink()
    generate(folder, sd_recipe(sd))
    assert pictures(folder / "0") == before
    again = {p.name: p.stat().st_mtime_ns for p in (folder / "0").glob("*.png")}
    assert {name for name in again if again[name] != times[name]} == {"p2_0.png"}
    generate(folder, sd_recipe(sd, seed=1))
    assert not set(before.values()) & set(pictures(folder / "0").values())


def test_a_batch_has_the_same_pictures_up_to_rounding(folder, sd):
    generate(folder, sd_recipe(sd), "one")
    table, _ = generate(folder, sd_recipe(sd, batch_size=4), "four")
    assert set(table["batch"]) == {4}
    for path in (folder / "one").glob("*.png"):
        one, four = (np.asarray(Image.open(folder / n / path.name), int) for n in ("one", "four"))
        assert np.abs(one - four).max() <= 2


def test_kandinsky_by_prior_and_decoder(folder, models):
    prior, decoder = tiny.kandinsky(models)
    recipe = {
        "adapter": "diffusers_text_to_image", "model": str(decoder), "prior": str(prior),
        "prior_arguments": {"num_inference_steps": 2, "guidance_scale": 4.0},
        "arguments": {"num_inference_steps": 2, "guidance_scale": 4.0, "height": 64, "width": 64},
    }  # fmt: skip
    table, note = generate(folder, recipe, size=2)
    assert len(set(table["sha256"])) == 4
    (facts,) = note["machines"].values()
    assert facts["model"]["class"] == "KandinskyPipeline"
    assert facts["prior"]["class"] == "KandinskyPriorPipeline"
    generate(folder, recipe, "alone", shard=1, size=1)
    assert pictures(folder / "alone").items() <= pictures(folder / "0").items()
    changed = {**recipe, "prior_arguments": {"num_inference_steps": 3, "guidance_scale": 4.0}}
    other, _ = generate(folder, changed, "other", size=1)
    assert not set(other["sha256"]) & set(table["sha256"])


def test_a_transformer_with_rectified_flow_without_its_third_text_encoder(folder, models):
    """SD 3 and its like are saved without parts that are optional, and load so."""
    from diffusers import StableDiffusion3Pipeline

    path = tiny.stable_diffusion_3(models / "sd3")
    arguments = {"num_inference_steps": 2, "guidance_scale": 4.0, "height": 32, "width": 32}
    recipe = {"adapter": "diffusers_text_to_image", "model": str(path), "arguments": arguments}
    table, note = generate(folder, recipe, size=2)
    assert len(set(table["sha256"])) == 4
    assert table["problem"].isna().all()
    (facts,) = note["machines"].values()
    assert facts["model"]["class"] == "StableDiffusion3Pipeline"
    torch.set_num_threads(1)
    pipeline = StableDiffusion3Pipeline.from_pretrained(
        str(path), text_encoder_3=None, tokenizer_3=None
    )
    pipeline.set_progress_bar_config(disable=True)
    seed = seed_for("tiny", 0, "p1", 1)
    expected = pipeline(
        "a blue bird on a tree 1", generator=torch.Generator().manual_seed(seed), **arguments
    ).images[0]
    found = np.asarray(Image.open(folder / "0/p1_1.png"))
    assert np.array_equal(found, np.asarray(expected))
    generate(folder, recipe, "alone", shard=1, size=1)
    assert pictures(folder / "alone").items() <= pictures(folder / "0").items()


@pytest.fixture
def photographs(folder) -> Path:
    root, random = folder / "photos", np.random.default_rng(0)
    root.mkdir()
    for i in range(3):
        pixels = random.integers(0, 256, (37, 42, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / f"{i}.png")
    write_prompts(folder / "prompts.parquet", 3, [f"{i}.png" for i in range(3)])
    return root


@pytest.mark.parametrize("kind", ["kl", "tiny"])
def test_autoencoders_give_the_library_s_reconstruction(folder, models, photographs, kind):
    from diffusers import AutoModel

    path = getattr(tiny, f"autoencoder_{kind}")(models / kind)
    recipe = {"adapter": "autoencoder", "model": str(path), "images_per_prompt": 1}
    table, note = generate(folder, recipe, images=photographs)
    (facts,) = note["machines"].values()
    assert facts["crop_to_multiple_of"] == 2
    assert list(table["source_image"]) == ["0.png", "1.png", "2.png"]
    model = AutoModel.from_pretrained(str(path)).eval()
    real = np.asarray(Image.open(photographs / "1.png"))[:36, :42]
    x = torch.tensor(real / 127.5 - 1, dtype=torch.float32).permute(2, 0, 1)[None]
    with torch.no_grad():
        encoded = model.encode(x)
        z = encoded.latent_dist.mean if kind == "kl" else encoded.latents
        y = model.decode(z).sample[0].permute(1, 2, 0).numpy()
    expected = np.clip(np.round((y + 1) * 127.5), 0, 255)
    found = np.asarray(Image.open(folder / "0/p1_0.png"), dtype=float)
    assert found.shape == (36, 42, 3)
    assert np.abs(found - expected).max() <= 1


def test_a_pair_of_taesd_files_is_the_library_s_model(folder, models, photographs):
    from diffusers import AutoencoderTiny

    encoder, decoder = tiny.taesd_files(models / "taesd")
    recipe = {
        "adapter": "autoencoder", "model": str(encoder), "decoder": str(decoder),
        "images_per_prompt": 1,
    }  # fmt: skip
    generate(folder, recipe, images=photographs)
    torch.manual_seed(0)
    model = AutoencoderTiny(latent_channels=4).eval()
    real = np.asarray(Image.open(photographs / "2.png"))[:32, :40]
    x = torch.tensor(real / 127.5 - 1, dtype=torch.float32).permute(2, 0, 1)[None]
    with torch.no_grad():
        y = model.decode(model.encode(x).latents).sample[0].permute(1, 2, 0).numpy()
    expected = np.clip(np.round((y + 1) * 127.5), 0, 255)
    found = np.asarray(Image.open(folder / "0/p2_0.png"), dtype=float)
    assert np.abs(found - expected).max() <= 1


def test_image_to_image_starts_from_the_photograph(folder, sd, photographs):
    recipe = {
        "adapter": "diffusers_image_to_image", "model": str(sd),
        "arguments": {"strength": 0.5, "num_inference_steps": 4},
    }  # fmt: skip
    table, note = generate(folder, recipe, images=photographs)
    assert set(zip(table["width"], table["height"], strict=True)) == {(42, 36)}
    assert len(set(table["sha256"])) == 6
    (facts,) = note["machines"].values()
    assert facts["model"]["class"] == "StableDiffusionImg2ImgPipeline"


SCRIPT = """
import json, sys
from PIL import Image
for line in open(sys.argv[1]):
    ask = json.loads(line)
    shade = ask["seed"] % 200 + 20
    image = Image.new("RGB", (16, 16), (shade, len(ask["prompt"]), 0))
    image.putpixel((0, 0), (255, 255, 255))
    image.save(ask["output"])
"""


def test_a_command_is_given_a_batch_of_requests(folder):
    script = folder / "mine.py"
    script.write_text(SCRIPT)
    recipe = {
        "adapter": "command", "command": [sys.executable, str(script), "{requests}"],
        "batch_size": 3,
    }  # fmt: skip
    table, note = generate(folder, recipe)
    assert len(table) == 8
    for row in table.itertuples():
        pixel = Image.open(folder / "0" / row.file).getpixel((5, 5))
        assert pixel == (row.seed % 200 + 20, len(row.text), 0)
    (facts,) = note["machines"].values()
    assert "mine.py" in facts["program"]


def test_words_of_a_prompt_reach_a_command_without_a_shell(folder):
    from clipsieve.io.tables import read_table, write_table

    hostile = 'a "b" $(touch owned) {seed}; rm -rf *'
    table, _ = read_table(folder / "prompts.parquet")
    write_table(table.head(1).assign(text=hostile), folder / "prompts.parquet")
    script = folder / "one.py"
    script.write_text(
        "import sys, pathlib; from PIL import Image\n"
        "pathlib.Path(sys.argv[2]).write_text(sys.argv[1])\n"
        "Image.linear_gradient('L').convert('RGB').save(sys.argv[3])\n"
    )
    words = [sys.executable, str(script), "{prompt}", str(folder / "said.txt"), "{output}"]
    generate(folder, {"adapter": "command", "command": words, "images_per_prompt": 1})
    assert (folder / "said.txt").read_text() == hostile
    assert not (folder / "owned").exists()


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("import sys; sys.exit('no credit left')", "ended with status 1: no credit left"),
        ("import sys; open(sys.argv[1], 'w').write('x')", "no usable image (not an image"),
    ],
)
def test_a_command_that_fails_stops_the_shard(folder, capsys, script, said):
    words = [sys.executable, "-c", script, "{output}"]
    assert cli.main(options(folder, {"adapter": "command", "command": words})) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "generators.tiny.generate.command" in error
    assert said in error
    assert not (folder / "0.parquet").exists()


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ({"model": "nobody/nothing"}, ["generate.model", "hf download nobody/nothing"]),
        ({"model": "no such folder"}, ["generate.model", "no folder here and no hub id"]),
        ({"arguments": {"steps": 3}}, ["generate.arguments", "takes no 'steps'"]),
        ({"device": "cuda"}, ["generate.device", "finds no GPU"]),
        ({"adapter": "difusers"}, ["adapter", "'difusers' is not allowed; one of"]),
        ({"decoder": "x"}, ["generate.decoder", "takes no such key; it is for autoencoder"]),
        ({"adapter": "min_dalle"}, ["generate.adapter", "min_dalle", "not installed"]),
        ({"adapter": "glide"}, ["generate.adapter", "glide_text2im", "envs/glide.yaml"]),
        ({"adapter": "command", "model": None, "arguments": {}, "command": ["x"]}, ["{output}"]),
        ({"modle": "x"}, ["unknown key 'modle'", "did you mean 'model'"]),
    ],
)
def test_mistakes_are_one_line_that_names_the_key(folder, sd, capsys, recipe, said):
    if torch.cuda.is_available() and recipe.get("device") == "cuda":
        recipe = {"device": "cuda:99"}
        said = ["cuda:99"]
    assert cli.main(options(folder, {**sd_recipe(sd), **recipe})) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    for word in said:
        assert word in lines[-1]


def test_a_missing_package_is_named_with_what_to_install(folder, sd, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    assert cli.main(options(folder, sd_recipe(sd))) == 2
    assert "pip install 'clipsieve[diffusers]'" in capsys.readouterr().err


def test_weights_that_are_not_safetensors_are_refused_unless_allowed(folder, models, capsys):
    from safetensors.torch import load_file

    path = tiny.stable_diffusion(models / "torch_files")
    for part, name in (("unet", "diffusion_pytorch_model"), ("vae", "diffusion_pytorch_model")):
        file = path / part / f"{name}.safetensors"
        torch.save(load_file(file), file.with_suffix(".bin"))
        file.unlink()
    assert cli.main(options(folder, sd_recipe(path))) == 2
    assert "generate.safetensors: false" in capsys.readouterr().err.splitlines()[-1]
    table, _ = generate(folder, sd_recipe(path, safetensors=False), size=1)
    assert len(table) == 2
