"""The adapters that make images from prompts: one record each; and what an entry `generate` may say.

Imports nothing heavy: the config checks entries with it whenever the workflow is parsed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clipsieve.errors import UserError


@dataclass(frozen=True)
class Adapter:
    """One way to make images.

    Parameters
    ----------
    name : str
        What the config calls it.
    title : str
        One line on what it does.
    load : str
        ``module:function`` that takes a `Settings` and returns a `Maker`.
    needs : tuple of str
        Keys of the entry that must be given.
    takes : tuple of str
        Keys beyond the common ones that it understands; any other is refused.
    from_images : bool
        Whether it starts from an image: its prompts must come from a source.
    chance : bool
        Whether a seed changes the result; without it there is one image for each prompt.
    environment : str
        Conda environment in envs/.
    """

    name: str
    title: str
    load: str
    needs: tuple[str, ...] = ("model",)
    takes: tuple[str, ...] = ("model",)
    from_images: bool = False
    chance: bool = True
    environment: str = "diffusers"


ADAPTERS: dict[str, Adapter] = {
    record.name: record
    for record in (
        Adapter(
            "diffusers_text_to_image",
            "any text-to-image pipeline of diffusers, by hub id or folder",
            "clipsieve.generation.adapters.pipelines:text_to_image",
            takes=("model", "prior", "revision", "safetensors", "offload", "batch_size"),
        ),
        Adapter(
            "diffusers_image_to_image",
            "any image-to-image pipeline of diffusers",
            "clipsieve.generation.adapters.pipelines:image_to_image",
            takes=("model", "revision", "safetensors", "offload", "batch_size"),
            from_images=True,
        ),
        Adapter(
            "autoencoder",
            "an image through an autoencoder and back",
            "clipsieve.generation.adapters.autoencoder:autoencoder",
            takes=("model", "decoder", "revision", "safetensors"),
            from_images=True,
            chance=False,
        ),
        Adapter(
            "min_dalle",
            "DALL-E mini by the package min-dalle",
            "clipsieve.generation.adapters.min_dalle:min_dalle",
            environment="min_dalle",
        ),
        Adapter(
            "glide",
            "GLIDE by the package glide-text2im, with and without CLIP guidance",
            "clipsieve.generation.adapters.glide:glide",
            environment="glide",
        ),
        Adapter(
            "command",
            "any program that is given a prompt and writes an image",
            "clipsieve.generation.adapters.command:command",
            needs=("command",),
            takes=("command", "batch_size", "model"),
            environment="cpu",
        ),
    )
}

#: Keys that only some adapters take, with the value that means "not given".
PARTICULAR: dict[str, Any] = {
    "model": None,
    "prior": None,
    "decoder": None,
    "revision": None,
    "safetensors": True,
    "offload": "none",
    "batch_size": 1,
    "command": [],
}

#: Keys that do not change the pictures, and so are no part of what an image was made by.
MACHINE = ("device",)


def find(name: str) -> Adapter:
    """Return the record of an adapter.

    Raises
    ------
    UserError
        There is none of this name.
    """
    if name not in ADAPTERS:
        raise UserError(f"adapter {name!r} is unknown; one of: {', '.join(ADAPTERS)}")
    return ADAPTERS[name]


def check(entry: Mapping[str, Any], key: str) -> None:
    """Check what a schema cannot: that an entry gives what its adapter needs, and nothing it ignores.

    Parameters
    ----------
    entry : mapping
        A generator's `generate`, with every default filled in.
    key : str
        Where it stands in the config, for messages.

    Raises
    ------
    UserError
        One line that names the key and what is allowed.
    """
    adapter = find(entry["adapter"])
    for name in adapter.needs:
        if not entry[name]:
            raise UserError(f"{key}.{name}: the adapter {adapter.name} needs it")
    for name, absent in PARTICULAR.items():
        if name not in adapter.takes and entry[name] != absent:
            others = [a.name for a in ADAPTERS.values() if name in a.takes]
            raise UserError(
                f"{key}.{name}: the adapter {adapter.name} takes no such key; it is for"
                f" {', '.join(others)}"
            )
    if not adapter.chance and entry["images_per_prompt"] != 1:
        raise UserError(
            f"{key}.images_per_prompt: {entry['images_per_prompt']}; the adapter {adapter.name} makes the"
            " same image each time, so write 1"
        )
    if not adapter.chance and entry["on_filtered"] == "again":
        raise UserError(
            f"{key}.on_filtered: again; the adapter {adapter.name} makes the same image each time, so"
            " write keep or skip"
        )
    if adapter.name == "command":
        _check_command(entry, key)


def _check_command(entry: Mapping[str, Any], key: str) -> None:
    """A program is told the prompt and where to write, for one image or for a whole batch."""
    words = " ".join(entry["command"])
    one, many = "{output}" in words, "{requests}" in words
    if one == many:
        raise UserError(
            f"{key}.command: write either {{output}} (one image a call) or {{requests}} (a batch a call)"
            " into one of its words"
        )
    if one and entry["batch_size"] != 1:
        raise UserError(
            f"{key}.batch_size: a command with {{output}} makes one image a call; write 1"
        )
    if entry["arguments"]:
        raise UserError(f"{key}.arguments: write them as words of {key}.command")


def identity(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of an entry that says what an image was made by."""
    return {name: value for name, value in entry.items() if name not in MACHINE}
