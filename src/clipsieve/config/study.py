"""What a resolved config asks for: image sets, encoders, pairs and feature sets of one run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clipsieve import families
from clipsieve.config.refusals import check, check_enough_left, chosen_pairs, has_own_text
from clipsieve.io.training import TrainingSet, training_sets

# endings by which weights are a local file rather than a tag of open_clip
WEIGHT_FILES = (".safetensors", ".pt", ".pth", ".bin")


@dataclass(frozen=True)
class Run:
    """What a resolved config asks for: image sets, encoders, pairs and feature sets of one run.

    Made by `Run.of`, which raises `UserError` on an id that no catalogue has, a repeated
    generator, an id that is both source and generator, or a pair that cannot be searched.
    """

    config: Mapping[str, Any]
    generators: tuple[str, ...]
    sources: tuple[str, ...]
    encoders: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...]
    training_sets: Mapping[str, TrainingSet]

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Run:
        """Check the selections against the catalogues and enumerate the run."""
        check(config)
        use = config["use"]
        generators = tuple(use["generators"])
        sources = tuple(dict.fromkeys(config["generators"][g]["source"] for g in generators))
        pairs = chosen_pairs(config["pairs"], generators)
        check_enough_left(use, pairs, generators)
        family_of = {g: config["generators"][g]["family"] for g in generators}
        sets = training_sets(config["training"], family_of, sources)
        return cls(config, generators, sources, tuple(use["encoders"]), pairs, sets)

    @property
    def image_sets(self) -> tuple[str, ...]:
        """Sources, then generators."""
        return self.sources + self.generators

    @property
    def directions(self) -> tuple[tuple[str, str], ...]:
        """Both directions of every pair: (train, val)."""
        return tuple(d for a, b in self.pairs for d in ((a, b), (b, a)))

    def entry(self, image_set: str) -> Mapping[str, Any]:
        """Return the catalogue entry of a source or generator."""
        return self.config["sources"].get(image_set) or self.config["generators"][image_set]

    def source_of(self, image_set: str) -> str:
        """Return the source that an image set is paired with (a source is its own)."""
        if image_set in self.config["sources"]:
            return image_set
        return str(self.config["generators"][image_set]["source"])

    def has_heads(self, encoder: str) -> bool:
        """Whether head stages run for an encoder."""
        return bool(self.config["encoders"][encoder]["has_heads"])

    def has_layers(self, encoder: str) -> bool:
        """Whether the token after each block is cached for an encoder."""
        return bool(self.config["encoders"][encoder]["has_layers"])

    def has_text(self, encoder: str) -> bool:
        """Whether an encoder has a text tower to encode texts with."""
        return has_own_text(self.config["encoders"][encoder])

    def is_imported(self, encoder: str) -> bool:
        """Whether an encoder is embeddings that the user brings, with no model to embed more with."""
        return self.config["encoders"][encoder]["embeddings"] is not None

    def texts_of(self, encoder: str) -> tuple[str, ...]:
        """Return the lists of texts that exist for an encoder, in the config's order."""
        texts = self.config["texts"]
        return tuple(
            name
            for name in self.config["use"]["texts"]
            if (
                texts[name]["encoder"] == encoder
                if texts[name]["kind"] == "embeddings"
                else self.has_text(encoder)
            )
        )

    def train_sets(self, family: str) -> tuple[str, ...]:
        """Return what the probes of a family are trained on: each generator, then training sets."""
        return self.generators + (tuple(self.training_sets) if families.get(family).pooled else ())

    def families(self, encoder: str, seed: int | None = None) -> tuple[str, ...]:
        """Return the feature-set families that exist for an encoder and seed, in the config's order.

        Controls drawn many times exist for the first seed only, unless `controls.seeds` is `all`.
        Without a seed: those of the first.
        """
        later = seed is not None and seed != self.config["seeds"][0]
        no_draws = later and self.config["controls"]["seeds"] == "first"
        chosen = [*self.config["use"]["feature_sets"], *self.config["use"]["controls"]]
        return tuple(
            record.name
            for record in map(families.get, dict.fromkeys(chosen))
            if (self.pairs or record.pairs == "none")
            and len(self.sources) >= record.sources
            and len(self.generators) >= record.generators
            and (self.has_heads(encoder) or not record.needs_heads)
            and (self.has_layers(encoder) or not record.needs_layers)
            and not (no_draws and record.drawn)
        )

    def twin_grid(self, family: str, encoder: str, seed: int) -> str | None:
        """Return the grid of a family's twins: that of its controls' draws; None without such."""
        exist = self.families(encoder, seed)
        drawn = (c for c in exist if families.get(c).drawn and family in families.get(c).control_of)
        grid = families.get(family).grid or self.drawn_grid
        return grid if any(drawn) else None

    @property
    def drawn_grid(self) -> str:
        """The hyperparameter grid of controls drawn many times."""
        return str(self.config["controls"]["grid"] or self.config["probe"]["grid"])

    def pairs_of(self, family: str) -> tuple[tuple[str, str], ...]:
        """Return the pairs that the feature sets of a family are selected on."""
        pairs = {"none": (), "unordered": self.pairs, "ordered": self.directions}
        return pairs[families.get(family).pairs]
