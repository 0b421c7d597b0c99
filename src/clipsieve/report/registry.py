"""One record for each table and figure: the workflow's rules and the two commands are made from it.

To add one, write its record here and the function that the record names. The input `cells` is given
to the command as `--cells FILE [FILE ..]`, one file for every seed and encoder of the run. Light on
purpose: the Snakefile imports this module, and every cluster job parses the Snakefile again.
"""

from __future__ import annotations

import string
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from clipsieve.families import BASELINE, BEFORE_AND_AFTER, SELECTING

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


TABLES = by_name(
    [
        Result(
            "overview",
            "Overview: what was run, and how it came out",
            OVERVIEW,
            "tables.overview:overview_page",
            inputs=("means", "manifest"),
            optional=("pairs", "features", "shortcuts", "leakage"),
            families=SELECTING,
        ),
        Result(
            "table1",
            "Table 1: phrases nearest to each probe",
            INTERPRETATION,
            "tables.words:nearest_to_probes",
            inputs=("interpretation",),
            texts="phrases",
        ),
        Result(
            "table2",
            "Table 2: phrases nearest to and farthest from the best heads",
            INTERPRETATION,
            "tables.words:nearest_to_heads",
            inputs=("interpretation",),
            texts="phrases",
        ),
        Result(
            "table3",
            "Table 3: vocabulary words nearest to each probe",
            INTERPRETATION,
            "tables.words:nearest_to_probes",
            inputs=("interpretation",),
            texts="vocabulary",
        ),
        Result(
            "table4",
            "Table 4: mean transfer of every selection, and between families",
            TRANSFER,
            "tables.table4:table4",
            inputs=("means",),
            optional=("features",),
            families=SELECTING,
        ),
        Result(
            "headline",
            "What survives: every method on generators not trained on, beside its controls",
            TRANSFER,
            "tables.headline:headline_page",
            inputs=("means",),
        ),
        Result(
            "losses",
            "Where transfer is lost: threshold, direction or source, and what to do",
            TRANSFER,
            "tables.losses:losses_page",
            inputs=("cells",),
            optional=("manifest",),
        ),
        Result(
            "training_choice",
            "Which generators to train on, and how many",
            TRANSFER,
            "tables.training_choice:training_choice_page",
            inputs=("training_choice",),
        ),
        Result(
            "errors_by_size",
            "Errors by the size of the image, real and generated apart",
            AUDITS,
            "tables.sizes:sizes_page",
            inputs=("scores", "manifest"),
            families=(BASELINE,),
        ),
        Result(
            "paper_vs_ours",
            "The paper's printed values beside ours, each with what it can be held against",
            TRANSFER,
            "tables.paper:paper_page",
            inputs=("means",),
        ),
        Result(
            "paper_cosines",
            "The paper's printed cosines of texts beside ours",
            INTERPRETATION,
            "tables.paper_cosines:cosines_page",
            inputs=("interpretation",),
            texts="every",
        ),
        Result(
            "table6",
            "Table 6: phrases nearest to probes and to residuals",
            INTERPRETATION,
            "tables.words:nearest_to_probes_and_residuals",
            inputs=("interpretation",),
            texts="phrases",
        ),
        Result(
            "table7",
            "Table 7: vocabulary words nearest to probes and to residuals",
            INTERPRETATION,
            "tables.words:nearest_to_probes_and_residuals",
            inputs=("interpretation",),
            texts="vocabulary",
        ),
        Result(
            "means",
            "Means of the transfer matrix with intervals, against the baseline on the same cells",
            TRANSFER,
            "tables.transfer:means_page",
            inputs=("means",),
            optional=("features",),
            families=SELECTING,
        ),
        Result(
            "cells",
            "Every cell of every transfer matrix with its interval",
            TRANSFER,
            "tables.transfer:cells_page",
            inputs=("cells",),
            optional=("features",),
            families=SELECTING,
        ),
        Result(
            "pairs",
            "All search pairs together: what each way to select gives, and against its controls",
            SELECTION,
            "tables.pairs:pairs_page",
            inputs=("pairs",),
            optional=("features",),
            families=SELECTING,
        ),
        Result(
            "ranking",
            "Average ranks of feature sets over test generators, and which are told apart",
            TRANSFER,
            "tables.ranking:ranking_page",
            inputs=("ranking",),
            optional=("features",),
            families=SELECTING,
        ),
        Result(
            "operating",
            "Operating points: true and false alarms at thresholds fixed on val",
            TRANSFER,
            "tables.alarms:operating_page",
            inputs=("operating",),
        ),
        Result(
            "controls",
            "Rank of each selection among its controls, and the search's optimism",
            SELECTION,
            "tables.controls:controls_page",
            inputs=("controls", "optimism"),
            optional=("features",),
            families=SELECTING,
        ),
        Result(
            "selection",
            "What was selected: components, heads, and how stable the choice is",
            SELECTION,
            "tables.selection:selection_page",
            optional=("searches", "features", "head_rankings"),
            families=SELECTING,
        ),
        Result(
            "shortcuts",
            "Shortcut audit: what file facts alone can tell",
            AUDITS,
            "tables.audits:shortcuts_page",
            inputs=("shortcuts",),
            optional=("cells",),
        ),
        Result(
            "leakage",
            "Leakage audit: images and groups that occur in two splits",
            AUDITS,
            "tables.audits:leakage_page",
            inputs=("leakage", "manifest"),
        ),
        Result(
            "image_sets",
            "Image sets: sizes, formats and problems of each",
            AUDITS,
            "tables.cards:cards_page",
            inputs=("manifest",),
        ),
        Result(
            "leaderboard",
            "Leaderboard of encoders and feature sets",
            TRANSFER,
            "tables.leaderboard:leaderboard_page",
            inputs=("leaderboard",),
            optional=("features",),
            families=SELECTING,
        ),
        Result(
            "what_if",
            "What other choices would have given: gains of the compared runs",
            TRANSFER,
            "tables.what_if:what_if_page",
            inputs=("leaderboard",),
            several_runs=True,
        ),
        Result(
            "robustness",
            "Every metric under perturbations of the test images",
            AUDITS,
            "tables.robustness:robustness_page",
            inputs=("robustness",),
        ),
    ]
)

FIGURES = by_name(
    [
        Result(
            "figure2",
            "Figure 2: transfer on embeddings with intercept, before and after selection",
            TRANSFER,
            "figures.heatmaps:before_and_after",
            inputs=("cells",),
            families=BEFORE_AND_AFTER["figure2"],
            takes_pair=True,
        ),
        Result(
            "figure3",
            "Figure 3: transfer on embeddings without intercept, before and after selection",
            TRANSFER,
            "figures.heatmaps:before_and_after",
            inputs=("cells",),
            families=BEFORE_AND_AFTER["figure3"],
            takes_pair=True,
        ),
        Result(
            "figure4",
            "Figure 4: transfer on residuals, before and after selection",
            TRANSFER,
            "figures.heatmaps:before_and_after",
            inputs=("cells",),
            families=BEFORE_AND_AFTER["figure4"],
            takes_pair=True,
        ),
        Result(
            "figure5",
            "Figure 5: score against components removed",
            SELECTION,
            "figures.curves:search_curves",
            inputs=("searches",),
        ),
        Result(
            "figure6",
            "Figure 6: IsoScore and mean cosine, before and after selection",
            SELECTION,
            "figures.points:geometry",
            inputs=("geometry",),
        ),
        Result(
            "layers",
            "Transfer by layer",
            TRANSFER,
            "figures.depth:transfer_by_layer",
            inputs=("layer_rankings",),
        ),
        Result(
            "forest",
            "Means with intervals and differences to the baseline",
            TRANSFER,
            "figures.points:forest",
            inputs=("means",),
        ),
        Result(
            "ranks",
            "Average ranks of feature sets over test generators",
            TRANSFER,
            "figures.ranks:critical_difference",
            inputs=("ranking",),
        ),
        Result(
            "concepts",
            "Known edits that each probe reacts to",
            INTERPRETATION,
            "figures.heatmaps:concepts",
            inputs=("concepts",),
        ),
        Result(
            "robustness",
            "Every metric under perturbations of the test images",
            AUDITS,
            "figures.curves:robustness_curves",
            inputs=("robustness",),
        ),
        Result(
            "interpretability",
            "Transfer against the largest cosine to a text",
            INTERPRETATION,
            "figures.scatter:interpretability",
            inputs=("interpretability",),
        ),
    ]
)

GALLERY = Result(
    "gallery",
    "Table 5: most confident right and wrong images",
    GALLERIES,
    "html.gallery:gallery_page",
    inputs=("scores", "manifest"),
    families=(BASELINE,),
)

#: Inputs of the explorer, where a run has them; of the scores, those of methods alone.
EXPLORED = (
    *("cells", "means", "controls", "searches", "head_rankings", "interpretation", "concepts"),
    *("removal", "scores", "manifest"),
)
