"""Colour profiles: found, said, and converted to sRGB as the formulas have it."""

from __future__ import annotations

import io
import logging

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from clipsieve import cli
from clipsieve.images.colour import UNREADABLE
from clipsieve.images.decode import ImageProblem, decode
from clipsieve.images.facts import facts_of_bytes
from tests.helpers.icc import ADOBE, P3, SRGB, in_srgb, profile

GAMUTS = {"Display P3": (P3, 1.8), "Adobe RGB (1998)": (ADOBE, 2.19921875)}
PIXELS = np.random.default_rng(3).integers(0, 256, (24, 32, 3), dtype=np.uint8)


def saved(pixels: np.ndarray, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("name", GAMUTS)
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_colours_are_converted_as_the_formulas_have_it(name, kind):
    icc = profile(name, *GAMUTS[name])
    data = saved(PIXELS, kind, icc_profile=icc, **({"lossless": True} if kind == "WEBP" else {}))
    as_is = np.asarray(decode(data))
    assert (as_is == PIXELS).all()
    expected = in_srgb(PIXELS, *GAMUTS[name])
    assert np.abs(expected - PIXELS).max() > 20  # that it matters
    found = np.asarray(decode(data, profiles="srgb"))
    # dark samples of a pure power are steep: two levels there
    assert np.abs(found - expected).max() <= 2.5
    assert np.abs(found - expected).mean() < 0.6


def test_no_profile_or_one_of_srgb_changes_nothing():
    for options in ({}, {"icc_profile": profile("sRGB IEC61966-2.1", SRGB, 2.2)}):
        data = saved(PIXELS, **options)
        assert (np.asarray(decode(data, profiles="srgb")) == PIXELS).all()


def test_transparency_and_grey_keep_their_meaning():
    icc = profile("Display P3", *GAMUTS["Display P3"])
    alpha = np.full((*PIXELS.shape[:2], 1), 255, np.uint8)
    alpha[:, 16:] = 0
    data = saved(np.concatenate([PIXELS, alpha], axis=2), icc_profile=icc)
    found = np.asarray(decode(data, background=(1, 2, 3), profiles="srgb"))
    expected = in_srgb(PIXELS, *GAMUTS["Display P3"])
    assert np.abs(found[:, :16] - expected[:, :16]).max() <= 2.5
    assert (found[:, 16:] == (1, 2, 3)).all()
    grey = saved(PIXELS[..., 0], icc_profile=icc)
    found = np.asarray(decode(grey, profiles="srgb"))
    expected = in_srgb(np.repeat(PIXELS[..., :1], 3, axis=2), *GAMUTS["Display P3"])
    assert np.abs(found - expected).max() <= 2.5


def test_a_damaged_profile_or_one_of_other_colours_is_a_problem_only_where_it_is_used():
    damaged = saved(PIXELS, icc_profile=b"no profile at all")
    assert facts_of_bytes(damaged).colour_profile == UNREADABLE
    assert (np.asarray(decode(damaged)) == PIXELS).all()
    with pytest.raises(ImageProblem, match="colour profile cannot be read"):
        decode(damaged, profiles="srgb")
    buffer = io.BytesIO()
    icc = profile("Display P3", *GAMUTS["Display P3"])
    Image.fromarray(PIXELS).convert("CMYK").save(buffer, "JPEG", icc_profile=icc)
    with pytest.raises(ImageProblem, match=r"Display P3\) is for RGB, the picture has CMYK"):
        decode(buffer.getvalue(), profiles="srgb")


def test_the_scan_says_which_profiles_there_are(tmp_path, caplog):
    folder = tmp_path / "set"
    folder.mkdir()
    for k in range(4):
        options = {"icc_profile": profile("Display P3", P3, 1.8)} if k < 3 else {}
        (folder / f"{k}.png").write_bytes(saved(np.roll(PIXELS, 5 * k), **options))
    with caplog.at_level(logging.WARNING):
        assert cli.main(
            ["scan", "--image-set", "s", "--folder", str(folder), "--data-root", str(tmp_path),
             "--label", "1", "--source", "s", "--output", str(tmp_path / "s.parquet")]
        ) == 0  # fmt: skip
    assert "3 images have a colour profile other than sRGB: 3 Display P3" in caplog.text
    table = pd.read_parquet(tmp_path / "s.parquet")
    assert table["colour_profile"].fillna("").tolist() == ["Display P3"] * 3 + [""]


def test_a_copy_of_align_has_the_colours_of_srgb(tmp_path):
    icc = profile("Display P3", P3, 1.8)
    (tmp_path / "set").mkdir()
    (tmp_path / "set/a.png").write_bytes(saved(PIXELS[:, :24], icc_profile=icc))
    table = tmp_path / "s.parquet"
    scan = ["scan", "--image-set", "s", "--folder", str(tmp_path / "set"), "--label", "1"]
    scan += ["--data-root", str(tmp_path), "--source", "s", "--output", str(table)]
    assert cli.main(scan) == 0
    assert cli.main(
        ["align", "--images", str(table), "--data-root", str(tmp_path), "--size", "24",
         "--method", "crop", "--format", "png", "--colour-profiles", "srgb",
         "--output-dir", str(tmp_path / "out"), "--output", str(tmp_path / "a.parquet")]
    ) == 0  # fmt: skip
    found = np.asarray(Image.open(tmp_path / "out/set/a.png"))
    assert np.abs(found - in_srgb(PIXELS[:, :24], P3, 1.8)).max() <= 2.5
    assert pd.read_parquet(tmp_path / "a.parquet")["colour_profile"].isna().all()
