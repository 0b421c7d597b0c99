"""The demo's photographs and generators: crops, recipes, simulated pipelines, resuming."""

from __future__ import annotations

import hashlib
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clipsieve.cli import main
from clipsieve.demo import photographs, recipes
from clipsieve.demo.simulated import denoise_in_steps, upsample
from clipsieve.errors import UserError
from clipsieve.io.files import seed_of

UPSAMPLE = '{"method": "upsample", "decoder": "nearest"}'


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    """A photograph that is there wherever matplotlib is, cut to 96 x 80 and cleaned of its noise."""
    path = photographs.installed_file("matplotlib", "mpl-data/sample_data/grace_hopper.jpg")
    image = Image.open(path).convert("RGB").resize((256, 300)).crop((80, 30, 176, 110))
    return np.asarray(image, dtype=np.float32) / np.float32(255)


# --- crops -----------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [224, 300, 400, 427, 512, 640, 1024])
def test_positions_fit_and_barely_overlap(length: int) -> None:
    found = photographs.positions(length)
    assert min(found) >= 0
    assert max(found) + 224 <= length
    assert all(b - a >= 224 * 0.9 - 1 for a, b in pairwise(found))
    # One more would not fit with the overlap allowed.
    assert len(found) * 224 * 0.9 + 224 > length
    assert photographs.positions(223) == []


def test_crops_are_parts_of_the_photograph() -> None:
    rng = np.random.default_rng(0)
    samples = rng.integers(0, 256, (460, 470, 3), dtype=np.uint8)
    cut = list(photographs.crops(Image.fromarray(samples)))
    assert len(cut) == 5
    assert all(crop.size == (224, 224) for crop in cut)
    assert np.array_equal(np.asarray(cut[0]), samples[:224, :224])
    assert np.array_equal(np.asarray(cut[3]), samples[-224:, -224:])
    half = samples.reshape(230, 2, 235, 2, 3).mean(axis=(1, 3))
    assert np.abs(np.asarray(cut[4], float) - half[3:227, 5:229]).max() <= 1.0


def test_crops_of_nothing_are_left_out() -> None:
    samples = np.full((460, 470, 3), 128, dtype=np.uint8)
    assert list(photographs.crops(Image.fromarray(samples))) == []
    samples[:224, :224:2] = 160
    cut = list(photographs.crops(Image.fromarray(samples)))
    assert len(cut) == 1
    assert np.array_equal(np.asarray(cut[0]), samples[:224, :224])


def test_spread_takes_evenly() -> None:
    assert photographs.spread([5, 1, 3], 0) == [5, 1, 3]
    assert photographs.spread([5, 1, 3], 99) == [5, 1, 3]
    assert photographs.spread([5, 1, 3], 6) == [3, 1, 2]


def test_photographs_verb(tmp_path: Path) -> None:
    output = tmp_path / "real"
    command = ["photographs", "--packages", "matplotlib", "--output-dir", str(output)]
    assert main(command) == 0
    names = sorted(path.name for path in output.iterdir())
    assert names == [f"hopper_{k:02d}.png" for k in range(5)]
    image = Image.open(output / "hopper_00.png")
    assert (image.size, image.mode, image.format) == ((224, 224), "RGB", "PNG")
    whole = Image.open(
        photographs.installed_file("matplotlib", "mpl-data/sample_data/grace_hopper.jpg")
    )
    assert np.array_equal(np.asarray(image), np.asarray(whole)[:224, :224])
    times = {path.name: path.stat().st_mtime_ns for path in output.iterdir()}
    (output / "mine_00.png").write_bytes(b"not ours")
    assert main([*command, "--limit", "3"]) == 0
    left = {path.name: path.stat().st_mtime_ns for path in output.iterdir()}
    assert left.pop("mine_00.png")
    assert left == {name: times[name] for name in names[:3]}


def test_a_photograph_with_other_bytes_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "x.jpg"
    Image.new("RGB", (300, 300)).save(other)
    monkeypatch.setattr(photographs, "installed_file", lambda package, file: other)
    with pytest.raises(UserError, match="is not the photograph hopper"):
        photographs.find_photographs("matplotlib", tmp_path)
    monkeypatch.undo()
    with pytest.raises(UserError, match="no file nothing"):
        photographs.installed_file("matplotlib", "nothing")


# --- simulated pipelines ---------------------------------------------------------------------


@pytest.mark.parametrize("decoder", ["transposed", "nearest", "bilinear"])
@pytest.mark.parametrize("factor", [2, 3, 4])
def test_decoders_keep_size_and_content(decoder: str, factor: int, picture: np.ndarray) -> None:
    odd = picture[:77, :91]
    made = upsample(odd, decoder=decoder, factor=factor, sharpen=0.5)
    assert made.shape == odd.shape
    assert made.dtype == np.float32
    assert 0 <= made.min() <= made.max() <= 1
    # The same picture, at the same place: a shift by one pixel would fit worse.
    errors = {
        (dy, dx): np.mean((np.roll(made, (dy, dx), (0, 1)) - odd)[8:-8, 8:-8] ** 2)
        for dy in (-1, 0, 1)
        for dx in (-1, 0, 1)
    }
    if factor != 4:
        assert min(errors, key=lambda shift: errors[shift]) == (0, 0)
    assert errors[0, 0] < 0.25 * odd.var()
    assert not np.array_equal(made, odd)


def test_a_transposed_convolution_leaves_a_checkerboard() -> None:
    def at_nyquist(samples: np.ndarray) -> float:
        grey = samples.mean(axis=2)
        signs = np.where(np.arange(grey.shape[1]) % 2, -1.0, 1.0)
        return float(abs((grey * signs).mean()))

    flat = np.full((20, 20, 3), 0.5, dtype=np.float32)
    even = upsample(flat, decoder="transposed", unevenness=0.0, sharpen=0.0)
    uneven = upsample(flat, decoder="transposed", unevenness=0.02, sharpen=0.0)
    assert at_nyquist(even) < 1e-6
    # On the grid the gain is 2 / (2 - u), off it 2 (1 - u) / (2 - u); the mean stays.
    assert abs(at_nyquist(uneven) - 0.5 * 0.02 / (2 - 0.02)) < 1e-5
    assert abs(uneven.mean() - 0.5) < 1e-5
    # With even overlaps it is linear interpolation: a ramp comes back as a ramp.
    ramp = np.broadcast_to(np.linspace(0.1, 0.9, 64, dtype=np.float32)[None, :, None], (16, 64, 3))
    back = upsample(ramp, decoder="transposed", unevenness=0.0, sharpen=0.0)
    assert np.abs(np.diff(back[8, 8:-8, 0], 2)).max() < 1e-6


def test_sharpening_adds_detail(picture: np.ndarray) -> None:
    soft = upsample(picture, decoder="bilinear", sharpen=0.0)
    sharp = upsample(picture, decoder="bilinear", sharpen=1.0)
    assert np.abs(np.diff(sharp, axis=0)).mean() > np.abs(np.diff(soft, axis=0)).mean()


@pytest.mark.parametrize("denoiser", ["tv", "nlm", "bilateral"])
@pytest.mark.parametrize("steps", [1, 5])
def test_denoising_removes_most_of_the_noise(
    denoiser: str, steps: int, picture: np.ndarray
) -> None:
    options = {"denoiser": denoiser, "noise": 0.15, "steps": steps}
    made = denoise_in_steps(picture, seed=1, **options)  # type: ignore[arg-type]
    assert made.shape == picture.shape
    assert np.array_equal(made, denoise_in_steps(picture, seed=1, **options))  # type: ignore[arg-type]
    assert not np.array_equal(made, denoise_in_steps(picture, seed=2, **options))  # type: ignore[arg-type]
    noise = np.random.default_rng(1).standard_normal(picture.shape, dtype=np.float32) * 0.15
    assert np.mean((made - picture) ** 2) < 0.5 * np.mean(noise**2)


def test_one_step_is_the_denoiser_itself(picture: np.ndarray) -> None:
    from skimage.restoration import denoise_tv_chambolle

    made = denoise_in_steps(picture, denoiser="tv", noise=0.1, steps=1, seed=4)
    noise = np.random.default_rng(4).standard_normal(picture.shape, dtype=np.float32)
    noisy = picture + noise * np.float32(0.1)
    plain = denoise_tv_chambolle(noisy, weight=0.1, eps=1e-3, max_num_iter=20, channel_axis=-1)
    assert np.abs(made - np.clip(plain, 0, 1)).max() < 1e-6


# --- recipes ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ({}, "method is None; allowed: cyclegan, style"),
        ({"method": "gan"}, "method is 'gan'"),
        ({"method": "cyclegan", "x": 1}, "unknown key 'x'; allowed: none"),
        ({"method": "style", "style": 26}, "style is 26"),
        ({"method": "style"}, "style is None"),
        ({"method": "style", "style": 1, "strength": True}, "strength is True"),
        ({"method": "upsample", "decoder": "cubic"}, "one of transposed, nearest"),
        ({"method": "denoise", "denoiser": "tv", "steps": 0}, "steps is 0"),
        ({"method": "denoise", "denoiser": "tv", "noise": 2}, "noise is 2"),
    ],
)
def test_wrong_recipes(recipe: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        recipes.checked(recipe)


def test_recipes_are_filled_in_and_say_what_they_are() -> None:
    full = recipes.checked({"method": "denoise", "denoiser": "tv"})
    assert full == {"method": "denoise", "denoiser": "tv", "noise": 0.08, "steps": 10}
    assert recipes.kind_of({"method": "denoise", "denoiser": "tv"}) == "simulated"
    assert recipes.kind_of({"method": "cyclegan"}) == "network"


def test_seeds_differ_by_generator_and_name() -> None:
    seeds = {seed_of(s, g, n) for s in (0, 1) for g in ("a", "b") for n in ("x", "y")}
    assert len(seeds) == 8


# --- the verb --------------------------------------------------------------------------------


def generate(folder: Path, recipe: str, *more: str, generator: str = "demo") -> int:
    command = ["demo-images", "--generator", generator, "--recipe", recipe]
    command += ["--source-dir", str(folder / "real"), "--output-dir", str(folder / generator)]
    return main([*command, "--record", str(folder / f"{generator}.json"), *more])


@pytest.fixture
def real(tmp_path: Path, picture: np.ndarray) -> Path:
    image = Image.fromarray((picture * 255).astype(np.uint8))
    (tmp_path / "real/sub").mkdir(parents=True)
    for i in range(4):
        image.rotate(90 * i).save(tmp_path / f"real/p_{i}.png")
    image.save(tmp_path / "real/sub/q.JPG")
    return tmp_path


def state(folder: Path) -> dict[str, tuple[int, str]]:
    return {
        path.relative_to(folder).as_posix(): (
            path.stat().st_mtime_ns,
            hashlib.sha256(path.read_bytes()).hexdigest(),
        )
        for path in folder.rglob("*.png")
    }


def test_generate_keeps_what_is_finished_and_makes_what_is_not(real: Path) -> None:
    assert generate(real, UPSAMPLE, "--threads", "2") == 0
    first = state(real / "demo")
    assert set(first) == {"p_0.png", "p_1.png", "p_2.png", "p_3.png", "sub/q.png"}
    record = json.loads((real / "demo.json").read_text())
    assert record["kind"] == "simulated"
    assert record["images"] == {name: sha for name, (_, sha) in first.items()}
    made = Image.open(real / "demo/p_0.png")
    assert (made.size, made.mode, made.info) == ((96, 80), "RGB", {})

    assert generate(real, UPSAMPLE) == 0
    assert state(real / "demo") == first

    # Lost, damaged, changed at the source, or stopped in the middle of a line: made anew, alone.
    (real / "demo/p_0.png").unlink()
    (real / "demo/p_1.png").write_bytes(b"damaged")
    Image.open(real / "real/p_0.png").save(real / "real/p_2.png")
    ledger = real / "demo/.generation.jsonl"
    ledger.write_text(ledger.read_text() + '{"name": "p_3.p')
    (real / "real/sub/q.JPG").unlink()
    assert generate(real, UPSAMPLE) == 0
    second = state(real / "demo")
    assert set(second) == {"p_0.png", "p_1.png", "p_2.png", "p_3.png"}
    assert second["p_3.png"] == first["p_3.png"]
    assert [second[f"p_{i}.png"][1] == first[f"p_{i}.png"][1] for i in range(4)] == [
        True,
        True,
        False,
        True,
    ]
    assert second["p_2.png"][1] == second["p_0.png"][1]

    # Another recipe: all of them.
    assert generate(real, '{"method": "upsample", "decoder": "bilinear"}') == 0
    third = state(real / "demo")
    assert all(third[name][1] != second[name][1] for name in third)


def test_pictures_do_not_depend_on_threads(real: Path) -> None:
    recipe = '{"method": "denoise", "denoiser": "tv", "noise": 0.1, "steps": 3}'
    shas = []
    for threads in ("1", "3"):
        assert generate(real, recipe, "--threads", threads) == 0
        shas.append({name: sha for name, (_, sha) in state(real / "demo").items()})
        (real / "demo/.generation.jsonl").unlink()
    assert shas[0] == shas[1]
    assert generate(real, recipe, "--seed", "1") == 0
    other = {name: sha for name, (_, sha) in state(real / "demo").items()}
    assert all(other[name] != shas[0][name] for name in other)


@pytest.mark.parametrize(
    ("recipe", "spoil", "said"),
    [
        ("{", None, "--recipe: not JSON"),
        ("[1]", None, "--recipe: must be a JSON object"),
        ('{"method": "x"}', None, "method is 'x'"),
        (UPSAMPLE, "broken", "real/bad.png: not an image"),
        (UPSAMPLE, "twice", "two images of one name"),
        (UPSAMPLE, "gone", "does not exist"),
    ],
)
def test_generate_says_what_is_wrong(
    recipe: str, spoil: str | None, said: str, real: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if spoil == "broken":
        (real / "real/bad.png").write_text("no picture at all")
    elif spoil == "twice":
        (real / "real/p_0.jpg").write_bytes((real / "real/p_0.png").read_bytes())
    elif spoil == "gone":
        (real / "real").rename(real / "elsewhere")
    assert generate(real, recipe) == 2
    assert said in capsys.readouterr().err.strip().splitlines()[-1]
    assert not (real / "demo.json").exists()


def test_resnet_against_plain_convolutions() -> None:
    torch = pytest.importorskip("torch")
    from clipsieve.demo.resnet import ResnetGenerator, WinogradConv

    torch.manual_seed(0)
    plain = torch.nn.Conv2d(6, 5, 3)
    for height, width in ((10, 10), (13, 22), (5, 7)):
        x = torch.randn(1, 6, height, width)
        with torch.inference_mode():
            expected = plain.double()(x.double()).float()
            found = WinogradConv(plain.float())(x)
        assert found.shape == expected.shape
        assert (found - expected).abs().max() < 1e-4
    network = ResnetGenerator(width=4, blocks=2).eval()
    x = torch.rand(1, 3, 32, 48) * 2 - 1
    with torch.inference_mode():
        before = network(x)
        after = network.prepare()(x)
    assert before.shape == x.shape
    assert (before - after).abs().max() < 1e-4


# --- what needs a wheel ----------------------------------------------------------------------


@pytest.mark.wheels
def test_real_networks(picture: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> None:
    cache = Path("data/wheels")
    small = picture[:64, :60]
    for recipe in ({"method": "cyclegan"}, {"method": "style", "style": 14, "strength": 0.35}):
        made = recipes.maker(recipe, cache)(small, 0)
        assert made.shape == small.shape
        # Something of the network's own, and still the same picture.
        assert 0.01 < np.abs(made - small).mean() < 0.25
        correlation = np.corrcoef(made.mean(axis=2).ravel(), small.mean(axis=2).ravel())[0, 1]
        assert correlation > 0.7


@pytest.mark.wheels
def test_photographs_of_wheels() -> None:
    for package, count in (("foolbox", 19), ("imgaug", 1)):
        found = photographs.find_photographs(package, Path("data/wheels"))
        assert len(found) == count
        for _, file in found:
            assert min(Image.open(file).size) >= 448


def test_png_files_of_one_size_have_one_number_of_bytes(picture: np.ndarray) -> None:
    from clipsieve.images.encode import png_bytes

    image = Image.fromarray((picture * 255).astype(np.uint8))
    assert len(png_bytes(image)) == len(png_bytes(Image.new("RGB", image.size)))
