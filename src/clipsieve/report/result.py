"""What a record of a table or figure says, and the inputs that it can name."""

from __future__ import annotations

import string
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

#: Where the files of each input are under `results/<run>`; `{..}` takes every value of a run.
INPUTS: dict[str, str] = {
    "manifest": "manifest.parquet",
    "cells": "seed{seed}/{encoder}/cells.parquet",
    "means": "seed{seed}/{encoder}/means.parquet",
    "controls": "seed{seed}/{encoder}/controls.parquet",
    "optimism": "seed{seed}/{encoder}/optimism.parquet",
    "pairs": "seed{seed}/{encoder}/pairs.parquet",
    "ranking": "seed{seed}/{encoder}/ranking.parquet",
    "operating": "seed{seed}/{encoder}/operating.parquet",
    "training_choice": "seed{seed}/{encoder}/training_choice.parquet",
    "searches": "seed{seed}/{encoder}/searches/{train}--{val}.parquet",
    "head_rankings": "seed{seed}/{encoder}/head_rankings/{train}.parquet",
    "layer_rankings": "seed{seed}/{encoder}/layer_rankings/{generator}.parquet",
    "features": "seed{seed}/{encoder}/features/{family}.json",
    "interpretation": "seed{seed}/{encoder}/interpretation/{texts}.parquet",
    "interpretability": "seed{seed}/{encoder}/interpretability.parquet",
    "concepts": "seed{seed}/{encoder}/concepts.parquet",
    "geometry": "seed{seed}/{encoder}/geometry.parquet",
    "leakage": "seed{seed}/leakage.parquet",
    "shortcuts": "seed{seed}/shortcuts.parquet",
    "leaderboard": "leaderboard.csv",
    "scores": "seed{seed}/{encoder}/scores/{family}.h5",
    "robustness": "seed{seed}/{encoder}/robustness.parquet",
    "removal": "seed{seed}/{encoder}/removal.parquet",
}

#: Headings under which `snakemake --report` files the results, in the order of its menu.
CATEGORIES = (
    *("0 Overview", "1 Transfer", "2 Selection", "3 Interpretation", "4 Audits", "5 Gallery"),
)
OVERVIEW, TRANSFER, SELECTION, INTERPRETATION, AUDITS, GALLERIES = CATEGORIES


@dataclass(frozen=True)
class Result:
    """One table, figure or gallery.

    Attributes
    ----------
    name, title
        As in file names, and as on the page or above the drawing.
    category
        One of `CATEGORIES`.
    builder
        `module:function` below `clipsieve.report`, imported when the result is built. It takes the
        inputs that were read (`reading.Inputs`) and the run's facts (`facts.Facts`).
    inputs
        Keys of `INPUTS` without which there is no result.
    optional
        Keys of `INPUTS` without which a part of the result is left out. Where a result has none but
        optional inputs, one of them is needed.
    texts
        The kind of text list that the result is about; the rules pass only lists of that kind, or
        every list.
    families
        Families of feature sets whose files the rules pass, where an input has one file per family;
        a figure that names families is drawn only in runs that have all of them. Empty for all.
    takes_pair
        Whether the builder takes `pair`, the search pair to show.
    several_runs
        Whether it is made only where the config compares this run with others.
    """

    name: str
    title: str
    category: str
    builder: str
    inputs: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    texts: Literal["phrases", "vocabulary", "every"] | None = None
    families: tuple[str, ...] = ()
    takes_pair: bool = False
    several_runs: bool = False

    def __post_init__(self) -> None:
        for field in ("name", "title"):
            if not getattr(self, field):
                raise ValueError(f"result {self.name!r}: the {field} is empty")
        if self.category not in CATEGORIES:
            raise ValueError(f"result {self.name}: {self.category!r} is not a category")
        module, colon, function = self.builder.partition(":")
        if not (colon and function.isidentifier() and module.replace(".", "_").isidentifier()):
            raise ValueError(f"result {self.name}: {self.builder!r} is not module:function")
        if not self.all_inputs:
            raise ValueError(f"result {self.name}: no input is named")
        if len(set(self.all_inputs)) < len(self.all_inputs):
            raise ValueError(f"result {self.name}: an input is named twice")
        for name in self.all_inputs:
            if name not in INPUTS:
                raise ValueError(f"result {self.name}: unknown input {name!r}")
        if (self.texts is not None) != any("{texts}" in INPUTS[i] for i in self.all_inputs):
            raise ValueError(f"result {self.name}: `texts` goes with an input of text lists")

    @property
    def all_inputs(self) -> tuple[str, ...]:
        """Needed inputs, then optional ones."""
        return (*self.inputs, *self.optional)


def fields_of(name: str) -> set[str]:
    """Return what the files of an input differ in, such as `seed` and `encoder`."""
    return {field for _, field, _, _ in string.Formatter().parse(INPUTS[name]) if field}


def by_name(results: Iterable[Result]) -> dict[str, Result]:
    """Return records by name; a name that occurs twice is a ValueError."""
    found: dict[str, Result] = {}
    for result in results:
        if result.name in found:
            raise ValueError(f"result {result.name}: two records have this name")
        found[result.name] = result
    return found
