"""What an adapter is told and what it gives back; no adapter knows of shards or tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from clipsieve.errors import UserError
from clipsieve.generation import records
from clipsieve.io.files import hash_of, seed_of, sha256_of

if TYPE_CHECKING:
    from PIL import Image

#: Seeds lie in 1 .. this: every package takes such a seed, and 0 means "unseeded" to some.
LARGEST_SEED = 2**31 - 1


@dataclass(frozen=True)
class Settings:
    """How a generator makes its images.

    Parameters
    ----------
    generator : str
        The generator's id; it enters every seed.
    entry : mapping
        The generator's `generate` in the config, with every default.
    threads : int
        CPU threads of one image.
    """

    generator: str
    entry: Mapping[str, Any]
    threads: int = 1

    def __getitem__(self, key: str) -> Any:
        return self.entry[key]

    def key(self, name: str) -> str:
        """Return where a value stands in the config, for messages."""
        return f"generators.{self.generator}.generate.{name}"


@dataclass(frozen=True)
class Request:
    """One image to make: the prompt's id and words, the how-many-th image, its seed, a real image."""

    prompt_id: str
    text: str
    k: int
    seed: int
    image: Path | None = None


@dataclass(frozen=True)
class Made:
    """What came of one request.

    Parameters
    ----------
    picture : PIL.Image.Image or None
        None where there is nothing to show.
    problem : str or None
        ``filtered`` (the pipeline's own checker flagged it), ``not a number`` or another reason in
        words; black pictures are found afterwards, for all adapters alike.
    """

    picture: Image.Image | None
    problem: str | None = None


class Maker(Protocol):
    """A loaded generator."""

    #: What made the images: versions, device, hash of the weights (JSON-able).
    facts: dict[str, Any]

    def make(self, requests: Sequence[Request]) -> list[Made]:
        """Make the images of one batch, in order."""
        ...


def load(settings: Settings) -> Maker:
    """Load the adapter of some settings.

    Raises
    ------
    UserError
        A package or a model is missing; the line names the key and what to do.
    """
    module, _, name = records.find(settings["adapter"]).load.partition(":")
    maker: Maker = getattr(import_module(module), name)(settings)
    return maker


def seed_for(generator: str, seed: int, prompt_id: str, k: int, attempt: int = 0) -> int:
    """Return the seed of one image, from names alone: so any image can be made again alone.

    Examples
    --------
    >>> seed_for("sd14_50", 0, "cat", 0) == seed_for("sd14_50", 0, "cat", 0)
    True
    >>> seed_for("sd14_50", 0, "cat", 0) == seed_for("sd14_50", 0, "cat", 0, attempt=1)
    False
    """
    return 1 + seed_of("generate", generator, seed, prompt_id, k, attempt) % LARGEST_SEED


@dataclass
class Weights:
    """Where the weights of a model lie and the proof of which they are."""

    path: str
    facts: dict[str, Any] = field(default_factory=dict)


def hashes_below(folder: Path) -> dict[str, str]:
    """Return the sha256 of every file of a model's folder, by its path there."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): sha256_of(path) for path in files}


@cache
def local_weights(path: Path) -> Weights:
    """Describe the weights of a local file or folder."""
    if path.is_file():
        return Weights(str(path), {"file": path.name, "sha256": sha256_of(path)})
    files = hashes_below(path)
    return Weights(str(path), {"folder": path.name, "sha256": hash_of(files), "files": files})


def local_hashes(settings: Settings) -> dict[str, str]:
    """Return the hash of every model of the settings that lies on this machine as a file or folder."""
    named = {key: settings[key] for key in ("model", "prior", "decoder") if settings[key]}
    return {
        key: local_weights(Path(name)).facts["sha256"]
        for key, name in named.items()
        if Path(name).exists()
    }


def missing(settings: Settings, package: str, advice: str) -> UserError:
    """Return the error for a package that is not installed."""
    return UserError(
        f"{settings.key('adapter')}: {settings['adapter']} needs the package {package}, which is not"
        f" installed; {advice}"
    )
