"""The file formats that are read, told by content, and what some of them need."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec

#: Formats that Pillow itself reads, by its names. (It opens MPO as JPEG: the name MPO in this list
#: would make its opener fail on every file that is not an image.)
_OWN = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM", "AVIF", "JPEG2000")
#: How these are called in messages.
NAMES = "JPEG, PNG, WebP, BMP, TIFF, GIF, PPM, AVIF, JPEG 2000, HEIF, JPEG XL"
#: What is missing where a file of a format is there and its reader is not.
_NEEDED = {
    "HEIF": "HEIF (HEIC): its reader is not installed (pip install 'clipsieve[heif]')",
    "JXL": "JPEG XL: its reader is not installed (pip install pillow-jxl-plugin, whose licence is the"
    " GPL)",
    "AVIF": "AVIF: this Pillow was built without it",
    "JPEG2000": "JPEG 2000: this Pillow was built without it",
}
_HEIF_BRANDS = {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs"}
_AVIF_BRANDS = {b"avif", b"avis"}
_JXL = (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")
_JPEG2000 = (b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  \r\n\x87\n")


@cache
def readable() -> tuple[str, ...]:
    """Return the formats that can be read on this machine, by Pillow's names."""
    from PIL import Image, features

    absent = {"AVIF": "avif", "JPEG2000": "jpg_2000"}
    found = [name for name in _OWN if name not in absent or features.check(absent[name])]
    Image.init()
    if find_spec("pi_heif") is not None:
        import pi_heif

        pi_heif.register_heif_opener(thumbnails=False)
        found.append("HEIF")
    if find_spec("pillow_jxl") is not None:  # the user's own choice: no extra brings it
        __import__("pillow_jxl")
        found.append("JXL")
    return tuple(name for name in found if name in Image.OPEN)


def told_by_content(data: bytes) -> str | None:
    r"""Return the format of a file's bytes where it may need a reader of its own, by Pillow's name.

    Examples
    --------
    >>> told_by_content(b"\xff\x0a.."), told_by_content(b"GIF89a")
    ('JXL', None)
    """
    if data.startswith(_JXL):
        return "JXL"
    if data.startswith(_JPEG2000):
        return "JPEG2000"
    if data[4:8] != b"ftyp":
        return None
    # the box names the main brand, a version, and the brands that the file is compatible with
    size = min(int.from_bytes(data[:4], "big"), 256)
    brands = {data[8:12], *(data[k : k + 4] for k in range(16, size - 3, 4))}
    if brands & _AVIF_BRANDS:
        return "AVIF"
    return "HEIF" if brands & (_HEIF_BRANDS | {b"mif1", b"msf1"}) else None


def why_not_read(data: bytes) -> str:
    """Say in one line why bytes that no reader takes are no usable image."""
    found = told_by_content(data)
    if found is not None and found not in readable():
        return _NEEDED[found]
    return f"not an image in {NAMES}"
