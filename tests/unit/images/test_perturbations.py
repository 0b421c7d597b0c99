"""Perturbations and alignment: every file is read back and compared with independent measures."""

from __future__ import annotations

import io
import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageFilter

from clipsieve.cli import main
from clipsieve.errors import UserError
from clipsieve.images import align
from clipsieve.images.decode import decode
from clipsieve.images.encode import jpeg_bytes, png_bytes
from clipsieve.images.perturbations import catalogue as perturb
from clipsieve.images.perturbations import records
from clipsieve.images.perturbations.base import EditError, NoEffectError

NAMES = list(perturb.perturbations())


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    """A picture with smooth parts, edges and fine texture."""
    rng = np.random.default_rng(3)
    coarse = Image.fromarray(rng.integers(30, 226, (7, 9, 3), dtype=np.uint8))
    samples = np.asarray(coarse.resize((150, 112), Image.Resampling.BICUBIC), float)
    samples[30:60, 40:90] *= 0.5
    samples += rng.normal(0, 4, samples.shape)
    return Image.fromarray(np.clip(samples, 0, 255).astype(np.uint8))


def pixels(data: bytes | Image.Image) -> np.ndarray:
    image = data if isinstance(data, Image.Image) else Image.open(io.BytesIO(data)).convert("RGB")
    return np.asarray(image, dtype=float)


@pytest.mark.parametrize("name", NAMES)
def test_every_perturbation_changes_the_picture_and_is_deterministic(
    name: str, photo: Image.Image
) -> None:
    data, suffix = perturb.apply(name, photo, seed=5)
    again, _ = perturb.apply(name, photo, seed=5)
    assert data == again
    after = pixels(data)
    assert after.shape != pixels(photo).shape or not np.array_equal(after, pixels(photo))
    assert (
        Image.open(io.BytesIO(data)).format
        == {".jpg": "JPEG", ".webp": "WEBP", ".png": "PNG"}[suffix]
    )
    assert np.array_equal(pixels(perturb.edited(name, photo, seed=5)), after)


CANNOT_CHANGE_BLACK = (
    "blur",
    "resize",
    "sharpen",
    "contrast",
    "brightness",
    "saturation",
    "warmth",
)


@pytest.mark.parametrize(
    "name", [n for n in NAMES if perturb.perturbations()[n].family in CANNOT_CHANGE_BLACK]
)
def test_a_picture_on_which_nothing_can_change_is_an_error(name: str) -> None:
    black = Image.new("RGB", (64, 64))
    with pytest.raises(NoEffectError, match="changed nothing"):
        perturb.apply(name, black)
    assert not pixels(perturb.apply(name, black, verify=False)[0]).any()


@pytest.mark.parametrize("quality", [95, 90, 80, 70, 60, 50, 40, 30])
def test_jpeg_files_carry_the_tables_of_their_quality(quality: int, photo: Image.Image) -> None:
    data, _ = perturb.apply(f"jpeg_{quality}", photo)
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16), (9, 99, 200)).save(buffer, "JPEG", quality=quality)
    assert Image.open(io.BytesIO(data)).quantization == Image.open(buffer).quantization


def test_a_jpeg_of_another_quality_is_refused(photo: Image.Image) -> None:
    edit = perturb.perturbations()["jpeg_50"]
    edit.check(photo, jpeg_bytes(photo, 50))
    with pytest.raises(EditError, match="not that of quality 50"):
        edit.check(photo, jpeg_bytes(photo, 51))
    with pytest.raises(EditError, match="no JPEG"):
        edit.check(photo, png_bytes(photo))
    lossless = io.BytesIO()
    photo.save(lossless, "WEBP", lossless=True)
    with pytest.raises(EditError, match="not a lossy WebP"):
        perturb.perturbations()["webp_50"].check(photo, lossless.getvalue())


@pytest.mark.parametrize("name", [n for n in NAMES if perturb.perturbations()[n].suffix == ".png"])
def test_an_edit_that_did_nothing_is_refused(name: str, photo: Image.Image) -> None:
    with pytest.raises(EditError, match="changed nothing"):
        perturb.perturbations()[name].check(photo, png_bytes(photo))


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("blur_1", "sharpen_100"),
        ("sharpen_50", "blur_2"),
        ("resize_50", "sharpen_100"),
        ("noise_5", "noise_20"),
        ("contrast_130", "contrast_70"),
        ("brightness_120", "brightness_80"),
        ("saturation_150", "saturation_50"),
        ("warm_10", "cool_10"),
        ("crop_75", "crop_50"),
        ("grid_4", "blur_2"),
    ],
)
def test_the_check_tells_an_edit_from_its_opposite(
    right: str, wrong: str, photo: Image.Image
) -> None:
    data, _ = perturb.apply(wrong, photo)
    with pytest.raises(EditError):
        perturb.perturbations()[right].check(photo, data)


def test_stronger_levels_change_more(photo: Image.Image) -> None:
    families: dict[str, list[tuple[float, float]]] = {}
    for edit in perturb.perturbations().values():
        if edit.family in ("jpeg", "webp", "blur", "resize", "noise", "sharpen"):
            after = pixels(perturb.apply(edit.name, photo, seed=1)[0])
            error = float(np.mean((after - pixels(photo)) ** 2))
            families.setdefault(edit.family, []).append((edit.level, error))
    for family, found in families.items():
        errors = [error for _, error in sorted(found)]
        assert errors == sorted(errors), family


def test_blur_against_pillow_s_own(photo: Image.Image) -> None:
    ours = pixels(perturb.apply("blur_2", photo)[0])[8:-8, 8:-8]
    theirs = pixels(photo.filter(ImageFilter.GaussianBlur(2)))[8:-8, 8:-8]
    # Pillow approximates the Gaussian by box filters.
    assert np.abs(ours - theirs).mean() < 1.0


def test_noise_has_its_strength_and_its_seed(photo: Image.Image) -> None:
    one = pixels(perturb.apply("noise_10", photo, seed=1)[0]) - pixels(photo)
    two = pixels(perturb.apply("noise_10", photo, seed=2)[0]) - pixels(photo)
    assert abs(one.std() - 10) < 0.5
    assert abs(np.corrcoef(one.ravel(), two.ravel())[0, 1]) < 0.05


def test_grid_stands_in_the_spectrum_at_its_period(photo: Image.Image) -> None:
    difference = (pixels(perturb.apply("grid_4", photo)[0]) - pixels(photo))[:112, :148].mean(
        axis=2
    )
    spectrum = np.abs(np.fft.fft2(difference - difference.mean()))
    peak = np.unravel_index(spectrum.argmax(), spectrum.shape)
    assert peak in {(28, 0), (84, 0), (0, 37), (0, 111)}


def test_a_grid_is_found_whatever_grid_was_there(photo: Image.Image) -> None:
    samples = pixels(photo)
    against = np.cos(np.pi * np.arange(samples.shape[1]))[None, :, None] * -6
    marked = Image.fromarray(np.clip(samples + against, 0, 255).astype(np.uint8))
    assert perturb.apply("grid_2", marked)[1] == ".png"
    white = Image.new("RGB", (64, 64), (255, 255, 255))
    assert perturb.apply("grid_2", white)[1] == ".png"


def test_a_grey_picture_has_no_saturation(photo: Image.Image) -> None:
    with pytest.raises(NoEffectError):
        perturb.apply("saturation_50", photo.convert("L"))


def test_unknown_name() -> None:
    with pytest.raises(UserError, match="perturbation 'jpeg_96' is unknown; allowed: jpeg_95"):
        perturb.apply("jpeg_96", Image.new("RGB", (8, 8)))


@pytest.mark.parametrize(
    ("file_format", "kind"), [("png", "PNG"), ("jpeg", "JPEG"), ("webp", "WEBP")]
)
@pytest.mark.parametrize("size", [(300, 200), (50, 90), (64, 64)])
def test_aligned_files_have_one_size_and_format(
    file_format: str, kind: str, size: tuple[int, int], photo: Image.Image
) -> None:
    data = align.aligned(photo.resize(size), size=64, file_format=file_format, quality=87)
    written = Image.open(io.BytesIO(data))
    assert written.size == (64, 64)
    assert written.format == kind
    assert written.info.get("exif") is None


def test_alignment_keeps_a_picture_that_fits(photo: Image.Image) -> None:
    square = photo.crop((0, 0, 96, 96))
    assert np.array_equal(pixels(align.aligned(square, size=96, file_format="png")), pixels(square))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"size": 4}, "size is 4"),
        ({"quality": 0}, "quality is 0"),
        ({"file_format": "bmp"}, "'bmp'"),
    ],
)
def test_alignment_refuses_bad_options(
    options: dict[str, object], said: str, photo: Image.Image
) -> None:
    with pytest.raises(UserError, match=said):
        align.aligned(photo, **{"size": 64, **options})  # type: ignore[arg-type]


@pytest.fixture
def scanned(tmp_path: Path, photo: Image.Image) -> Path:
    """A scanned set of nine good images, one of one colour and one broken, with splits."""
    folder = tmp_path / "root/set"
    folder.mkdir(parents=True)
    for i in range(9):
        photo.rotate(i).crop((8, 8, 104, 104)).save(folder / f"p{i}.png")
    Image.new("RGB", (96, 96)).save(folder / "black.png")
    (folder / "broken.png").write_text("x")
    args = ["scan", "--image-set", "real", "--folder", str(folder), "--label", "1"]
    args += ["--data-root", str(tmp_path / "root"), "--source", "real"]
    assert main([*args, "--output", str(tmp_path / "real.parquet")]) == 0
    args = ["split", "--images", str(tmp_path / "real.parquet"), "--seed", "0"]
    args += ["--source-images", str(tmp_path / "real.parquet")]
    assert main([*args, "--output", str(tmp_path / "splits.parquet")]) == 0
    return tmp_path


def test_perturb_verb(scanned: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = ["--images", str(scanned / "real.parquet"), "--data-root", str(scanned / "root")]
    output = ["--output-dir", str(scanned / "out"), "--output", str(scanned / "out.parquet")]
    split = ["--split-file", str(scanned / "splits.parquet"), "--only", "test"]
    assert (
        main(["perturb", *common, *output, *split, "--perturbation", "jpeg_50", "--threads", "2"])
        == 0
    )
    table = pd.read_parquet(scanned / "out.parquet")
    splits = pd.read_parquet(scanned / "splits.parquet")
    assert set(table["image_id"]) == set(splits.loc[splits["split"] == "test", "image_id"])
    assert (table["jpeg_quality"] == 50).all()
    for row in table.itertuples():
        assert (scanned / "out" / row.path).stat().st_size == row.bytes
        assert row.path.endswith(".jpg")
    # All images: the black one can't be blurred and says so, the broken one keeps its row.
    assert main(["perturb", *common, *output, "--perturbation", "blur_1"]) == 0
    blurred = pd.read_parquet(scanned / "out.parquet").set_index("image_id")
    assert len(blurred) == 11
    assert blurred.loc["real/black.png", "problem"] == "blur_1 changed nothing"
    assert blurred.loc["real/broken.png", "problem"].startswith("not an image")
    assert blurred["problem"].isna().sum() == 9
    # A second one that can't be blurred is more than one in ten.
    Image.new("RGB", (96, 96)).save(scanned / "root/set/p0.png")
    capsys.readouterr()
    assert main(["perturb", *common, *output, "--perturbation", "blur_1"]) == 2
    assert "blur_1 did nothing to 2 of 10 images" in capsys.readouterr().err
    assert main(["perturb", *common, *output, "--perturbation", "nope"]) == 2
    assert main(["perturb", *common, *output, "--perturbation", "blur_1", "--only", "val"]) == 2
    capsys.readouterr()
    assert main(["perturb", "--perturbation", "list"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(NAMES)


def test_align_verb(scanned: Path) -> None:
    command = [
        "align",
        "--images",
        str(scanned / "real.parquet"),
        "--size",
        "64",
        "--quality",
        "90",
        "--format",
        "jpeg",
    ]
    command += ["--data-root", str(scanned / "root"), "--output", str(scanned / "a.parquet")]
    command += ["--peers", str(scanned / "real.parquet")]
    assert main([*command, "--output-dir", str(scanned / "aligned")]) == 0
    before = pd.read_parquet(scanned / "real.parquet")
    after = pd.read_parquet(scanned / "a.parquet")
    assert set(after["image_id"]) == set(before["image_id"])
    good = after[after["problem"].isna()]
    assert set(good["format"]) == {"JPEG"}
    assert set(good["width"]) == set(good["height"]) == {64}
    assert (good["jpeg_quality"] == 90).all()
    assert decode(scanned / "aligned" / good["path"].iloc[0]).size == (64, 64)
    assert main([*command, "--output-dir", str(scanned / "root")]) == 2


def test_a_new_perturbation_is_a_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """What docs/extending-results.md says: a level more is a record and nothing else."""
    added = records.Record("jpeg_12", "files:jpeg", (12,))
    monkeypatch.setitem(records.RECORDS, "jpeg_12", added)
    perturb.perturbations.cache_clear()
    try:
        photo = Image.fromarray(np.random.default_rng(0).integers(0, 255, (32, 40, 3), np.uint8))
        data, suffix = perturb.apply("jpeg_12", photo)
        expected = io.BytesIO()
        photo.save(expected, "JPEG", quality=12)
        assert suffix == ".jpg"
        assert Image.open(io.BytesIO(data)).quantization == Image.open(expected).quantization
    finally:
        perturb.perturbations.cache_clear()


def test_every_record_names_its_own_edit() -> None:
    assert [edit.name for edit in perturb.perturbations().values()] == list(records.RECORDS)
    families = [edit.family for edit in perturb.perturbations().values()]
    assert [name for name, _ in itertools.groupby(families)] == list(dict.fromkeys(families))
