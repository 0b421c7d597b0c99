"""Real colour photographs that Python packages carry, and how crops are cut from them.

Packages are used as data: a photograph is read from a package's folder or from a hash-pinned wheel,
and its own sha256 is checked, so the demo has the same pixels everywhere.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from clipsieve.errors import UserError
from clipsieve.io.files import sha256_of

if TYPE_CHECKING:
    from PIL import Image

#: Side of a crop in pixels, what the CLIP encoders see.
CROP = 224
#: Neighbouring crops share at most this part of their width.
OVERLAP = 0.1
#: A crop whose grey levels (0 to 255) have a smaller standard deviation shows next to nothing.
LEAST_DEVIATION = 12.0


@dataclass(frozen=True)
class Photograph:
    """One photograph: `scene` is its group (two views of one scene share it)."""

    name: str
    scene: str
    package: str
    file: str
    sha256: str


@dataclass(frozen=True)
class Carrier:
    """Where photographs come from: an installed package's folder, or a wheel fetched as data."""

    requirement: str | None = None
    wheel_sha256: str | None = None


#: Package -> how its files are had; without a requirement it is a package that is installed.
CARRIERS = {
    "skimage": Carrier(),
    "sklearn": Carrier(),
    "matplotlib": Carrier(),
    "foolbox": Carrier(
        "foolbox==3.3.4", "11049d515d38e765e206a73ace9cc648b81a0d6d1da9ad9057e149ee117989cb"
    ),
    "imgaug": Carrier(
        "imgaug==0.4.0", "ce61e65b4eb7405fc62c1b0a79d2fa92fd47f763aaecb65152d29243592111f9"
    ),
}

# name, scene, package, file inside the package, sha256. Left out on purpose: grey pictures, plates
# of the sky or the eye, drawings, and one picture of the foolbox wheel that was painted over.
_TABLE = """
astronaut astronaut skimage data/astronaut.png 88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5
chelsea chelsea skimage data/chelsea.png 596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb
coffee coffee skimage data/coffee.png cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7
motorcycleleft motorcycle skimage data/motorcycle_left.png db18e9c4157617403c3537a6ba355dfeafe9a7eabb6b9b94cb33f6525dd49179
motorcycleright motorcycle skimage data/motorcycle_right.png 5fc913ae870e42a4b662314bc904d1786bcad8e2f0b9b67dba5a229406357797
rocket rocket skimage data/rocket.jpg c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c
china china sklearn datasets/images/china.jpg 8378025ad2519d649d02e32bd98990db4ab572357d9f09841c2fbfbb4fefad29
flower flower sklearn datasets/images/flower.jpg a77f6ec41e353afdf8bdff2ea981b2955535d8d83294f8cfa49cf4e423dd5638
hopper hopper matplotlib mpl-data/sample_data/grace_hopper.jpg a8ca6d734765703b09728ab47fe59f473d93ae3967fc24c7c0288c3c7adb7130
mastiff mastiff foolbox data/imagenet_00_243.jpg 28b7b933c8028c6e20bf74a86a709eda42ce99f14c8742cb657cb386f08a4c9d
deckchairs deckchairs foolbox data/imagenet_01_559.jpg 5f03b0c74dff01b5b4195d0beabcae2a625a406e6917957ab9c455b5b7dea6d6
beakers beakers foolbox data/imagenet_02_438.jpg ccef0734c1a65549c6cb5adb0f5d9b1c0b2e2104aba50a9e5f9202dc6d4532ed
chestnut chestnut foolbox data/imagenet_03_990.jpg c7f0b2f1e9ee39d8f900759e8983afa2e4a2d7de090060e8bb947f6e90cace5f
strawberries strawberries foolbox data/imagenet_04_949.jpg a7f62f3c1d214de4718c7253871ab38209283249e131faf65b8f2b7fdc970669
cottage cottage foolbox data/imagenet_05_853.jpg 8a449436c61da867528b1f4efaf8ae832ab9c9201705eae0d3af1353fbdac131
gravelroad gravelroad foolbox data/imagenet_06_609.jpg fb061102a4e58b3ed942bb2a4f9542e1e1acdc8f225ef95498e93889290e192f
hillclimb hillclimb foolbox data/imagenet_07_609.jpg 2c297ad1e5c4804a647e9b34bc02ee2fc348b05a4d49050d170fb61c948efa5c
yurts yurts foolbox data/imagenet_08_915.jpg c6a3411a3987799f0de45adc142f00ca412c3e14073c635e2adfae1f3913180c
bottlecap bottlecap foolbox data/imagenet_09_455.jpg ace3716b60ac5843269b270e17020e4f8138440cd30ef3487f7d6e54da9745a4
shoe shoe foolbox data/imagenet_11_630.jpg 892dff58fc528fe63d2df0c783aa3eca2342637798578ce01763fbc0553eda01
stainedglass stainedglass foolbox data/imagenet_12_741.jpg 6c256e17545b25bbf2e06cf6513ff48d049583569515ac4d4c3a52aea804a529
cannon cannon foolbox data/imagenet_13_471.jpg 52ed0e738b90d27afcabc3e92c81ae637f160c2d9f75b93a65211005ab5dcd81
wires wires foolbox data/imagenet_14_129.jpg ad9371d813bf24b0365ee2f78f28c08718ee7c5975f060caa16c3f264e828139
geese geese foolbox data/imagenet_15_99.jpg 4b588649cd835d4c65521727ebee03d9621baff1f54d3e8a53a26b53d983ec2e
dalmatian dalmatian foolbox data/imagenet_16_251.jpg ce3440a3b7beb6ca3009817504c44d39fa789e7c2f70a2eef7e2f9cc9a87b129
eagle eagle foolbox data/imagenet_17_22.jpg b432341845620e9cfd67d848c4783c32dd6eaddad45513866b17180d2b09fcf5
leafhopper leafhopper foolbox data/imagenet_18_317.jpg b9412f92f0b1c3faede45b55a44940977daa744f2040118d0538cf597fca785d
beetle beetle foolbox data/imagenet_19_305.jpg e1f58f00e2e47ce930d7ecab0e46a78316054f68c10d0742e87c1cc092324556
quokka quokka imgaug quokka.jpg bf1059d0f925e7d0c712cadf07a04ba4cfc98957d7be65d3a7d8ae0c464cd76e
"""  # noqa: E501

PHOTOGRAPHS = tuple(Photograph(*line.split()) for line in _TABLE.strip().splitlines())


def installed_file(package: str, file: str) -> Path:
    """Return the path of a file in an installed package's folder, without importing the package.

    Raises
    ------
    UserError
        When the package isn't installed or has no such file.
    """
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / file
        if path.is_file():
            return path
    raise UserError(f"photographs: the installed package {package} has no file {file}")


def find_photographs(package: str, cache: Path) -> list[tuple[Photograph, Path]]:
    """Return a package's photographs with their files, fetching its wheel if it is one.

    Parameters
    ----------
    package
        One of `CARRIERS`.
    cache
        Folder for what is read out of wheels.

    Raises
    ------
    UserError
        When the package or wheel can't be fetched, or a file isn't the photograph that is pinned.
    """
    from clipsieve.demo.wheels import wheel_members

    wanted = [photo for photo in PHOTOGRAPHS if photo.package == package]
    carrier = CARRIERS[package]
    if carrier.requirement is None or carrier.wheel_sha256 is None:
        files = [installed_file(package, photo.file) for photo in wanted]
    else:
        inner = [f"{package}/{photo.file}" for photo in wanted]
        files = wheel_members(carrier.requirement, carrier.wheel_sha256, inner, cache)
    for photo, file in zip(wanted, files, strict=True):
        if sha256_of(file) != photo.sha256:
            raise UserError(
                f"photographs: {file} is not the photograph {photo.name} that is pinned"
            )
    return list(zip(wanted, files, strict=True))


def positions(length: int, *, crop: int = CROP, overlap: float = OVERLAP) -> list[int]:
    """Return where crops begin along a side: as many as fit, evenly spread, ends included.

    Parameters
    ----------
    length
        The side in pixels; shorter than `crop` gives none.
    crop
        Side of a crop in pixels.
    overlap
        Largest part of a crop that its neighbour may share.
    """
    if length < crop:
        return []
    room = length - crop
    count = 1 + int(room // (crop * (1 - overlap)))
    if count == 1:
        return [room // 2]
    return [round(i * room / (count - 1)) for i in range(count)]


def crops(image: Image.Image, *, crop: int = CROP) -> Iterator[Image.Image]:
    """Cut a photograph: a grid of crops at its own scale, then one at half of it.

    Crops of plain sky or wall are left out: networks that normalise each picture blow up the
    nothing in them. The second scale shows whole things rather than parts, and is nearly free of
    the traces that a photograph's own JPEG file left; a small photograph has none.
    """
    from PIL import Image, ImageStat

    for scaled in (
        image,
        image.resize((image.width // 2, image.height // 2), Image.Resampling.BOX),
    ):
        for top in positions(scaled.height, crop=crop):
            for left in positions(scaled.width, crop=crop):
                part = scaled.crop((left, top, left + crop, top + crop))
                if ImageStat.Stat(part.convert("L")).stddev[0] >= LEAST_DEVIATION:
                    yield part


def spread(counts: list[int], limit: int) -> list[int]:
    """Return how many crops to take of each photograph so that `limit` in all are spread evenly.

    Parameters
    ----------
    counts
        Crops that each photograph has.
    limit
        Total number of crops; 0 or more than there are takes all.
    """
    if limit <= 0 or limit >= sum(counts):
        return list(counts)
    taken = [0] * len(counts)
    while sum(taken) < limit:
        for i, count in enumerate(counts):
            if taken[i] < count and sum(taken) < limit:
                taken[i] += 1
    return taken
