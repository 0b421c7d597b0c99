from __future__ import annotations

import io
import os
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from clipsieve.images.decode import ImageProblem, decode

RNG = np.random.default_rng(3)
SMOOTH = np.add.outer(np.arange(40), np.arange(56)).astype(np.uint8)
PIXELS = np.stack([SMOOTH, SMOOTH[::-1], 255 - SMOOTH], axis=-1)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def as_array(data: bytes, **options: object) -> np.ndarray:
    image = decode(data, **options)
    assert image.mode == "RGB"
    return np.asarray(image)


@pytest.mark.parametrize(
    ("kind", "options"),
    [("PNG", {}), ("BMP", {}), ("TIFF", {}), ("WEBP", {"lossless": True}), ("PPM", {})],
)
def test_lossless_rgb_comes_back_unchanged(kind: str, options: dict) -> None:
    data = encoded(Image.fromarray(PIXELS), kind, **options)
    np.testing.assert_array_equal(as_array(data), PIXELS)


def test_jpeg_is_what_pillow_decodes() -> None:
    data = encoded(Image.fromarray(PIXELS), "JPEG", quality=80)
    np.testing.assert_array_equal(as_array(data), np.asarray(Image.open(io.BytesIO(data))))


def test_grey_and_one_bit() -> None:
    grey = as_array(encoded(Image.fromarray(SMOOTH), "PNG"))
    np.testing.assert_array_equal(grey, np.repeat(SMOOTH[..., None], 3, axis=-1))
    bits = SMOOTH > 40
    black_and_white = as_array(encoded(Image.fromarray(bits), "PNG"))
    np.testing.assert_array_equal(black_and_white[..., 1], bits * 255)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_grey_is_scaled_not_clipped(kind: str) -> None:
    wide = RNG.integers(0, 65536, (30, 20)).astype(np.uint16)
    expected = np.round(wide / 65535 * 255)
    found = as_array(encoded(Image.fromarray(wide), kind))
    assert np.abs(found[..., 0] - expected).max() <= 1
    np.testing.assert_array_equal(found[..., 0], found[..., 2])
    assert found.max() == 255 or expected.max() < 255


def test_float_tiff_lies_between_zero_and_one() -> None:
    data = encoded(
        Image.fromarray(np.linspace(0, 1, 600, dtype=np.float32).reshape(20, 30)), "TIFF"
    )
    found = as_array(data)
    assert found.min() == 0
    assert found.max() == 255
    bad = np.full((4, 4), np.nan, np.float32)
    with pytest.raises(ImageProblem, match="NaN"):
        decode(encoded(Image.fromarray(bad), "TIFF"))


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
@pytest.mark.parametrize("background", [(255, 255, 255), (10, 200, 30)])
def test_alpha_is_composited_on_the_background(kind: str, background: tuple) -> None:
    alpha = RNG.integers(0, 256, SMOOTH.shape).astype(np.uint8)
    data = encoded(
        Image.fromarray(np.dstack([PIXELS, alpha])),
        kind,
        **({"lossless": True, "exact": True} if kind == "WEBP" else {}),
    )
    weight = alpha[..., None] / 255
    expected = PIXELS * weight + np.array(background) * (1 - weight)
    assert np.abs(as_array(data, background=background) - expected).max() <= 1.01


def test_grey_with_alpha() -> None:
    alpha = np.full_like(SMOOTH, 51)
    data = encoded(Image.fromarray(np.dstack([SMOOTH, alpha])), "PNG")
    expected = SMOOTH * 0.2 + 255 * 0.8
    assert np.abs(as_array(data)[..., 0] - expected).max() <= 1.01


def test_palette_with_a_transparent_colour() -> None:
    image = Image.new("P", (4, 2))
    image.putpalette([255, 0, 0, 0, 255, 0] + [0] * 762)
    image.putdata([0, 1, 0, 1, 1, 1, 0, 0])
    data = encoded(image, "PNG", transparency=1)
    found = as_array(data, background=(1, 2, 3))
    assert tuple(found[0, 0]) == (255, 0, 0)
    assert tuple(found[0, 1]) == (1, 2, 3)
    opaque = as_array(encoded(image, "PNG"))
    assert tuple(opaque[0, 1]) == (0, 255, 0)


def test_cmyk_jpeg() -> None:
    image = Image.fromarray(PIXELS).convert("CMYK")
    found = as_array(encoded(image, "JPEG", quality=95))
    assert np.abs(found.astype(int) - PIXELS).mean() < 6


def test_gif_gives_its_first_frame() -> None:
    first, second = Image.new("RGB", (6, 5), (255, 0, 0)), Image.new("RGB", (6, 5), (0, 0, 255))
    data = encoded(first, "GIF", save_all=True, append_images=[second])
    assert tuple(as_array(data)[2, 2]) == (255, 0, 0)


@pytest.mark.parametrize(
    ("orientation", "turn"),
    [
        (1, lambda a: a),
        (2, lambda a: a[:, ::-1]),
        (3, lambda a: a[::-1, ::-1]),
        (4, lambda a: a[::-1]),
        (5, lambda a: a.transpose(1, 0, 2)),
        (6, lambda a: np.rot90(a, -1)),
        (7, lambda a: a.transpose(1, 0, 2)[::-1, ::-1]),
        (8, lambda a: np.rot90(a, 1)),
    ],
)
def test_exif_orientation_is_applied(orientation: int, turn: object) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.fromarray(PIXELS), "PNG", exif=exif)
    np.testing.assert_array_equal(as_array(data), turn(PIXELS))  # type: ignore[operator]


def png_that_claims(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(b"\0" * 1000)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("size", [(10_000, 9_000), (60_000, 60_000)])
def test_a_decompression_bomb_is_refused_before_it_goes_off(size: tuple[int, int]) -> None:
    with pytest.raises(ImageProblem, match="more than"):
        decode(png_that_claims(*size))


def test_empty_missing_folder_and_not_an_image(tmp_path: Path) -> None:
    with pytest.raises(ImageProblem, match="empty"):
        decode(b"")
    with pytest.raises(ImageProblem, match="no such file"):
        decode(tmp_path / "none.png")
    with pytest.raises(ImageProblem, match="can't be read"):
        decode(tmp_path)
    for data in (b"<html>404</html>", b"%PDF-1.4", bytes(500), b"\x89PNG\r\n\x1a\n"):
        with pytest.raises(ImageProblem) as caught:
            decode(data)
        assert "\n" not in caught.value.reason


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(["PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP"]),
    share=st.floats(0.02, 0.9),
    flips=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=4),
)
def test_damage_is_a_problem_or_a_picture_but_never_another_error(
    kind: str, share: float, flips: list
) -> None:
    data = bytearray(encoded(Image.fromarray(PIXELS), kind))
    for place, value in flips:
        data[int(place * (len(data) - 1))] = value
    reason = ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            mode = decode(bytes(data[: int(len(data) * share)])).mode
        except ImageProblem as problem:
            mode, reason = None, problem.reason
    assert mode == "RGB" or reason
    assert "\n" not in reason


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_truncated_file_is_a_problem(kind: str) -> None:
    data = encoded(Image.fromarray(RNG.integers(0, 256, (64, 64, 3)).astype(np.uint8)), kind)
    with pytest.raises(ImageProblem):
        decode(data[: len(data) // 2])


def tiff(pages: list[tuple[int, int]], **tags: object) -> bytes:
    """A TIFF file with pictures of these sizes, the first with these tags."""
    from PIL import TiffImagePlugin

    directory = TiffImagePlugin.ImageFileDirectory_v2()
    for name, value in tags.items():
        directory[int(name.removeprefix("tag"))] = value
    pictures = [Image.new("RGB", size, (9, 90, 200)) for size in pages]
    buffer = io.BytesIO()
    pictures[0].save(buffer, "TIFF", tiffinfo=directory)
    if len(pages) > 1:
        buffer = io.BytesIO()
        pictures[0].save(buffer, "TIFF", save_all=True, append_images=pictures[1:])
    return buffer.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        tiff([(160, 120)], tag254=1),  # NEF, ARW: a reduced-resolution first picture
        tiff([(160, 120)], tag50706=b"\x01\x04\x00\x00"),  # DNG
        tiff([(160, 120), (640, 480)]),  # a preview that is not marked
    ],
)
def test_a_file_whose_first_picture_is_a_preview_is_refused(data: bytes) -> None:
    with pytest.raises(ImageProblem, match="its first picture is a preview, as in camera raw"):
        decode(data)


@pytest.mark.parametrize(
    "pages", [[(160, 120)], [(160, 120), (160, 120)], [(640, 480), (160, 120)]]
)
def test_other_tiff_files_are_read(pages: list[tuple[int, int]]) -> None:
    assert decode(tiff(pages)).size == pages[0]


@pytest.mark.parametrize(
    ("size", "fine"),
    [
        ((1, 1), True),
        ((500, 10), True),
        ((400_000, 1), False),
        ((65_000, 2), False),
        ((10, 501), False),
    ],
)
def test_thin_pictures_are_refused_before_they_are_resized(
    size: tuple[int, int], fine: bool
) -> None:
    buffer = io.BytesIO()
    Image.new("L", size).save(buffer, "PNG")
    if fine:
        assert decode(buffer.getvalue()).size == size
    else:
        with pytest.raises(ImageProblem, match="one side is more than 50 times the other"):
            decode(buffer.getvalue())


def test_a_pipe_is_a_problem_and_not_waited_for(tmp_path: Path) -> None:
    from clipsieve.images.facts import file_facts

    os.mkfifo(tmp_path / "pipe.png")
    assert file_facts(tmp_path / "pipe.png").problem == "can't be read: not an ordinary file"
    with pytest.raises(ImageProblem, match="not an ordinary file"):
        decode(tmp_path / "pipe.png")
