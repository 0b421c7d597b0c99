"""How the pages name things: generators (real network or simulated), encoders, cells, metrics."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from clipsieve import families
from clipsieve.evaluation.metric_records import RECORDS

KINDS = {"network": "real network", "simulated": "simulated"}

# The generators and encoders of the paper's own evaluation (section 3, Table 4).
PAPER_GENERATORS = (
    *("progan", "stylegan", "stylegan2", "biggan", "cyclegan", "stargan", "gaugan"),
    *("dalle_mini", "glide_base", "glide_clip", "sd14_50", "sd14_200"),
    *("kandinsky_20", "kandinsky_100"),
)
PAPER_ENCODERS = ("clip_b16", "clip_l14")

_FAMILY_TITLES = {"gan": "GAN", "diffusion": "diffusion"}


@dataclass(frozen=True)
class Generator:
    """One generator as the pages name it."""

    id: str
    title: str
    family: str
    kind: str  # a key of KINDS

    @property
    def kind_title(self) -> str:
        """`real network` or `simulated`, the words every page uses."""
        return KINDS[self.kind]


@dataclass(frozen=True)
class Encoder:
    """One encoder as the pages name it; without weights its words and directions mean nothing."""

    id: str
    title: str
    weights: str | None

    @property
    def random(self) -> bool:
        """True for random weights."""
        return self.weights is None


@dataclass(frozen=True)
class Facts:
    """The generators and encoders of a run, in the order of its config."""

    generators: Mapping[str, Generator] = field(default_factory=dict)
    encoders: Mapping[str, Encoder] = field(default_factory=dict)

    def title(self, generator: str) -> str:
        """Title of a generator; its id where the run's facts do not name it."""
        known = self.generators.get(generator)
        return known.title if known else generator

    def encoder_title(self, encoder: str) -> str:
        """Title of an encoder, marked where its weights are random."""
        known = self.encoders.get(encoder)
        if known is None:
            return encoder
        if known.random and "random" not in known.title.lower():
            return f"{known.title} (random weights)"
        return known.title

    def pair_title(self, pair: str, arrow: str = " / ") -> str:
        """Title of a pair `a--b`; `arrow` stands between the two titles."""
        return arrow.join(self.title(part) for part in families.generators_of(pair))

    def feature_set_title(self, feature_set: str) -> str:
        """Title of a feature set: its family in words, and the pair it was selected on."""
        title, pair = families.of(feature_set).title, families.pair_of(feature_set)
        return f"{title}: {self.selected_on(feature_set)}" if pair else title

    def selected_on(self, feature_set: str) -> str:
        """Title of the pair that a feature set was selected on; an arrow says that it is ordered."""
        ordered = families.of(feature_set).pairs == "ordered"
        arrow = " \N{RIGHTWARDS ARROW} " if ordered else " / "
        pair = families.pair_of(feature_set)
        return self.pair_title(pair, arrow) if pair else ""

    def order(self, generators: Iterable[str]) -> list[str]:
        """Return `generators` by family, then in the order of the config; unknown ones last."""
        present = set(generators)
        families = list(dict.fromkeys(g.family for g in self.generators.values()))
        rank = {g.id: (families.index(g.family), i) for i, g in enumerate(self.generators.values())}
        return sorted(present, key=lambda g: (*rank.get(g, (len(families), 0)), g))

    def order_encoders(self, encoders: Iterable[str]) -> list[str]:
        """Return `encoders` in the order of the config, then unknown ones, those of random weights last."""
        rank = {e: i for i, e in enumerate(self.encoders)}
        return sorted(set(encoders), key=lambda e: (self.is_random(e), rank.get(e, len(rank)), e))

    def is_random(self, encoder: str) -> bool:
        """Return True for an encoder of random weights: its pages only show that the stages run."""
        known = self.encoders.get(encoder)
        return known is not None and known.random

    def section_title(self, encoder: str) -> str:
        """Title of an encoder as the head of a section; one of random weights is set apart by it."""
        title = self.encoder_title(encoder)
        return f"Stages run, {title}" if self.is_random(encoder) else title

    def is_paper_run(self) -> bool:
        """True where the run has the paper's fourteen generators, none simulated, and no other."""
        return set(self.generators) == set(PAPER_GENERATORS) and all(
            g.kind == "network" for g in self.generators.values()
        )


def family_title(family: str) -> str:
    """Title of a generator family: `GAN`, `diffusion`, or the name as it is."""
    return _FAMILY_TITLES.get(family, family.replace("_", " "))


def cells_title(cells: str) -> str:
    """Title of a group of cells: `within_gan` gives `within GAN`, `gan_to_diffusion` an arrow."""
    if cells == "all":
        return "all pairs"
    if cells == "clean":
        return "all pairs but those trained on the generator that heads were ranked on"
    if match := re.fullmatch(r"(all_but_one|all_but_family|set_.+?)(?:_on_(.+))?", cells):
        trained = {
            "all_but_one": "all but the tested generator",
            "all_but_family": "all but the tested family",
        }.get(match[1], f"the set {match[1].removeprefix('set_')}")
        tested = f", tested on {family_title(match[2])}" if match[2] else ""
        return f"trained on {trained}{tested}"
    if match := re.fullmatch(r"within_(.+)", cells):
        return f"within {family_title(match[1])}"
    if match := re.fullmatch(r"(.+?)_to_(.+)", cells):
        return f"{family_title(match[1])} \N{RIGHTWARDS ARROW} {family_title(match[2])}"
    return cells.replace("_", " ")


def metric_title(metric: str) -> str:
    """Title of a metric."""
    return RECORDS[metric].title
