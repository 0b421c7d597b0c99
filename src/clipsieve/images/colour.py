"""Colour profiles (ICC): what a file's numbers mean, and the way to sRGB."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

#: What is done with a colour profile: it is passed over, as open_clip does, or the colours are
#: converted to sRGB.
TREATMENTS = ("ignore", "srgb")
#: Stands in the place of the name of a profile that cannot be read.
UNREADABLE = "not readable"
_SPACES = {"RGB": "RGB ", "L": "GRAY", "CMYK": "CMYK"}


class ProfileError(Exception):
    """Why colours can't be converted, in one line."""


def profile_name(image: Image.Image) -> str | None:
    """Return what the colour profile of an opened file calls itself, None where it has none.

    The name is one line of at most 80 characters; `UNREADABLE` where the profile is damaged.
    """
    data = image.info.get("icc_profile")
    if not data:
        return None
    from PIL import ImageCms

    try:
        text = ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(data)))
    except (ImageCms.PyCMSError, OSError, TypeError):
        return UNREADABLE
    return " ".join(text.replace("\0", " ").split())[:80] or "without a name"


def is_srgb(name: str | None) -> bool:
    """Say whether a profile of this name (`profile_name`) changes nothing: none, or sRGB.

    Examples
    --------
    >>> is_srgb(None), is_srgb("sRGB IEC61966-2.1"), is_srgb("Display P3")
    (True, True, False)
    """
    return name is None or "srgb" in name.casefold()


def in_words(names: Iterable[str | None]) -> str | None:
    """Say in one line how many images have a colour profile that matters; None where none has.

    Examples
    --------
    >>> in_words(["sRGB", None])
    >>> in_words(["Display P3", "Display P3", "Adobe RGB (1998)", "sRGB"]).split(";")[0]
    '3 images have a colour profile other than sRGB: 2 Display P3, 1 Adobe RGB (1998)'
    """
    counts = Counter(name for name in names if name is not None and not is_srgb(name))
    if not counts:
        return None
    listed = ", ".join(f"{n} {name}" for name, n in counts.most_common(3))
    return (
        f"{counts.total()} images have a colour profile other than sRGB: {listed}; their colours are taken"
        " as they are unless the config says embed.colour_profiles: srgb"
    )


def to_srgb(image: Image.Image) -> Image.Image:
    """Convert a picture with a colour profile to sRGB.

    Parameters
    ----------
    image
        A picture of 8 bits with its file's profile in ``info["icc_profile"]``.

    Returns
    -------
    PIL.Image.Image
        RGB or RGBA (where there was transparency), by relative colorimetric intent with black-point
        compensation (ICC.1:2010, 6.2). The picture itself where it has no profile, one of sRGB, or
        samples of more than 8 bits.

    Raises
    ------
    ProfileError
        The profile is damaged, or is for another kind of colours than the picture has.
    """
    name = profile_name(image)
    if is_srgb(name) or image.mode.startswith("I") or image.mode == "F":
        return image
    if name == UNREADABLE:
        raise ProfileError("its colour profile cannot be read")
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
    base, alpha = _apart(image)
    space = profile.profile.xcolor_space
    if base.mode == "L" and space == "RGB ":
        base = base.convert("RGB")
    if _SPACES.get(base.mode) != space:
        raise ProfileError(
            f"its colour profile ({name}) is for {space.strip()}, the picture has {image.mode}"
        )
    try:
        converted = ImageCms.profileToProfile(
            base,
            profile,
            ImageCms.createProfile("sRGB"),
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode="RGB",
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, ValueError) as error:
        raise ProfileError(f"its colour profile ({name}) cannot be used: {error}") from None
    assert converted is not None
    converted.info.pop("icc_profile", None)
    if alpha is not None:
        converted.putalpha(alpha)
    return converted


def _apart(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Divide a picture into RGB, L or CMYK, and its transparency."""
    if image.mode in ("CMYK", "L", "RGB") and "transparency" not in image.info:
        return image, None
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        layer = image.convert("RGBA")
        grey = image.mode in ("LA", "La", "L")
        return layer.convert("RGB").convert("L") if grey else layer.convert(
            "RGB"
        ), layer.getchannel("A")
    return image.convert("RGB"), None
