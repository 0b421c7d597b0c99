"""Alignment: what each method does to both classes, and what the spectrum tells afterwards."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from clipsieve.cli import main
from clipsieve.errors import UserError
from clipsieve.images import align
from clipsieve.images.decode import ImageProblem
from clipsieve.images.spectrum import spectrum_slopes
from tests.unit.images.test_spectrum import fractal


def table(image_set: str, sides: list[int], **more: object) -> pd.DataFrame:
    """The columns of an image table that a plan reads."""
    return pd.DataFrame(
        {
            "image_id": [f"{image_set}/{k}" for k in range(len(sides))],
            "image_set": image_set,
            "group": [f"g{k}" for k in range(len(sides))],
            "width": [side + 40 for side in sides],
            "height": sides,
            "problem": None,
            **more,
        }
    )


def slopes_after(picture: Image.Image, scale: float | None) -> tuple[float, ...]:
    data = align.aligned(picture, size=112, file_format="png", scale=scale)
    found = spectrum_slopes(Image.open(io.BytesIO(data)))
    assert found is not None
    return found


def test_a_resize_of_one_class_alone_shows_in_the_spectrum_and_a_crop_does_not():
    """Equal photographs, real ones of 224 pixels, generated ones of 112."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import GroupKFold, cross_val_predict

    auc = {}
    for method, scale in (("resize", None), ("crop", 1.0)):
        X, y, group = [], [], []
        for k in range(60):
            photograph = fractal(k, (224, 224), power=2 + 0.3 * (k % 3))
            part = photograph.crop((0, 0, 112, 112))
            X += [slopes_after(photograph, scale), slopes_after(part, scale)]
            y, group = [*y, 1, 0], [*group, k, k]
        forest = RandomForestClassifier(100, min_samples_leaf=3, random_state=0)
        share = cross_val_predict(
            forest, np.array(X), y, groups=group, cv=GroupKFold(5), method="predict_proba"
        )
        auc[method] = roc_auc_score(y, share[:, 1])
    assert auc["resize"] > 0.65
    assert auc["crop"] < 0.6


def test_a_common_scale_is_the_smallest_image_s_and_treats_all_alike():
    real, generated = table("real", [180, 300, 1080]), table("gan", [256, 256, 256])
    plans = [align.plan("common_scale", 128, t, [real, generated]) for t in (real, generated)]
    assert plans == [align.Plan(scale=128 / 180)] * 2
    picture = fractal(0, (360, 180))
    made = Image.open(io.BytesIO(align.aligned(picture, size=128, scale=128 / 180)))
    assert made.size == (128, 128)


def test_scaling_the_kept_part_equals_scaling_the_whole():
    picture = fractal(5, (200, 200))
    whole = np.asarray(picture.resize((300, 300), Image.Resampling.BICUBIC), float)
    data = align.aligned(picture, size=150, file_format="png", scale=1.5)
    part = np.asarray(Image.open(io.BytesIO(data)), float)
    assert np.abs(part - whole[75:225, 75:225]).max() <= 1


def test_a_crop_takes_the_middle_untouched_and_refuses_what_is_smaller():
    picture = fractal(2, (200, 120))
    data = align.aligned(picture, size=100, file_format="png", scale=1.0)
    cut = np.asarray(picture)[10:110, 50:150]
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), cut)
    with pytest.raises(ImageProblem, match="shorter side of 120 pixels: less than align keeps"):
        align.aligned(picture, size=128, scale=1.0)


def test_size_matched_keeps_the_same_shares_of_each_size_and_the_same_groups():
    real = table("real", [256] * 10 + [512] * 30 + [900] * 20)
    gan = table("gan", [256] * 20 + [512] * 20)
    kept = {
        name: align.plan("size_matched", 224, t, [real, gan]).kept
        for name, t in (("real", real), ("gan", gan))
    }
    # shares of 256 and 512: real 1/6 and 1/2, gan 1/2 and 1/2; both keep 1 to 3
    counts = {
        name: t[t["image_id"].isin(kept[name])]["height"].value_counts().to_dict()
        for name, t in (("real", real), ("gan", gan))
    }
    assert counts == {"real": {256: 10, 512: 30}, "gan": {256: 7, 512: 20}}
    # which of a size stay follows from the names of groups alone
    shuffled = gan.sample(frac=1, random_state=1)
    assert align.plan("size_matched", 224, shuffled, [real, shuffled]).kept == kept["gan"]
    with pytest.raises(UserError, match="no shorter side that every set has"):
        align.plan("size_matched", 224, real, [real, table("other", [300] * 5)])


def test_a_plan_that_cannot_be_is_refused():
    with pytest.raises(UserError, match="method is 'stretch'; allowed: common_scale, crop"):
        align.plan("stretch", 64, table("real", [64]), [])
    with pytest.raises(UserError, match="needs the image tables of all sets"):
        align.plan("common_scale", 64, table("real", [64]), [table("gan", [64])])


@pytest.mark.parametrize(
    ("real", "generated", "said"),
    [
        ([0.5] * 10, [1.0] * 10, "real images: 100 % reduced; generated images: 100 % untouched"),
        ([1.4] * 10, [1.4] * 10, None),
        ([0.9] * 10, [0.5] * 10, "resized by 0.90"),
        ([np.nan] * 10, [np.nan] * 10, None),
    ],
)
def test_unlike_treatment_is_said(real, generated, said):
    found = align.unlike_treatment(pd.Series(real), pd.Series(generated))
    assert (found is None) if said is None else said in str(found)


def run_align(root: Path, image_set: str, *options: str) -> tuple[int, pd.DataFrame | None]:
    output = root / f"out_{image_set}.parquet"
    peers = [str(root / f"{name}.parquet") for name in ("real", "gan")]
    code = main(
        [
            *("align", "--images", str(root / f"{image_set}.parquet"), "--size", "64"),
            *("--data-root", str(root / "data"), "--output-dir", str(root / "aligned")),
            *("--format", "png", "--output", str(output), "--peers", *peers, *options),
        ]
    )
    return code, pd.read_parquet(output) if output.exists() else None


@pytest.fixture
def sets(tmp_path: Path) -> Path:
    """Photographs of 60 to 128 pixels and generated images of 64, scanned."""
    for name, sides in (("real", [60, 96, 128]), ("gan", [64, 64, 64])):
        folder = tmp_path / "data" / name
        folder.mkdir(parents=True)
        for k, side in enumerate(sides):
            fractal(k, (side + 16, side)).save(folder / f"{k}.png")
        kind = ["--label", "1"] if name == "real" else ["--label", "0", "--generator", "gan"]
        family = [] if name == "real" else ["--family", "gan"]
        args = ["scan", "--image-set", name, "--folder", str(folder), "--source", "real"]
        args += ["--data-root", str(tmp_path / "data"), *kind, *family]
        assert main([*args, "--output", str(tmp_path / f"{name}.parquet")]) == 0
    return tmp_path


@pytest.mark.parametrize(
    ("method", "real", "gan"),
    [
        ("common_scale", [64 / 60] * 3, [64 / 60] * 3),
        ("crop", [None, 1.0, 1.0], [1.0] * 3),
        ("resize", [64 / 60, 64 / 96, 0.5], [1.0] * 3),
    ],
)
def test_the_verb_writes_each_image_s_scale(sets: Path, method: str, real: list, gan: list):
    for name, scales in (("real", real), ("gan", gan)):
        code, found = run_align(sets, name, "--method", method)
        assert code == 0
        assert found is not None
        for row, scale in zip(found.itertuples(), scales, strict=True):
            if scale is None:
                assert "shorter side of 60 pixels" in row.problem
                assert np.isnan(row.align_scale)
            else:
                assert row.align_scale == pytest.approx(scale)
                assert (row.width, row.height) == (64, 64)
                assert pd.isna(row.problem)


def test_a_method_that_leaves_no_image_is_an_error(sets: Path, capsys):
    code, _ = run_align(sets, "gan", "--method", "crop", "--size", "100")
    assert code == 2
    assert "align crop leaves no image (shorter side of 64 pixels" in capsys.readouterr().err


def test_names_that_differ_in_their_ending_alone_keep_it_and_others_keep_their_dots(tmp_path):
    folder = tmp_path / "data/real"
    folder.mkdir(parents=True)
    for k, name in enumerate(("7.png", "7.jpg", "render.0001", "render.0002", "8.png")):
        fractal(k, (64, 64)).save(folder / name, "JPEG" if name == "7.jpg" else "PNG")
    args = ["scan", "--image-set", "real", "--folder", str(folder), "--source", "real"]
    args += ["--data-root", str(tmp_path / "data"), "--label", "1"]
    assert main([*args, "--output", str(tmp_path / "real.parquet")]) == 0
    pd.read_parquet(tmp_path / "real.parquet").to_parquet(tmp_path / "gan.parquet")
    code, found = run_align(tmp_path, "real", "--method", "crop")
    assert code == 0
    assert found is not None
    assert set(found["path"]) == {
        *("real/7.png.png", "real/7.jpg.png", "real/8.png"),
        *("real/render.0001.png", "real/render.0002.png"),
    }
