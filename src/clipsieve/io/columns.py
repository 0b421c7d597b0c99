"""The columns of every table that a run writes; readers check tables against these records.

What each column means is in `data/formats.yaml`, so that a change of wording reruns nothing.
`clipsieve formats` prints both as docs/formats.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

TEXT, INT, FLOAT, BOOL = "text", "int64", "float64", "bool"


@dataclass(frozen=True)
class Table:
    """The columns of one kind of file.

    Attributes
    ----------
    types
        Column name -> `text`, `int64`, `float64` or `bool` (in JSON also `list` and `object`), in the
        order of the file.
    needed
        Columns that the pages of the report cannot do without; a file that lacks one is refused.

    Examples
    --------
    >>> OPTIMISM.types["shift"]
    'float64'
    >>> "feature_set" in CELLS.needed
    True
    """

    types: dict[str, str]
    needed: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        unknown = [name for name in self.needed if name not in self.types]
        if unknown:
            raise ValueError(f"needed column {unknown[0]!r} is not a column of the table")


def table(*columns: tuple[str, str], needed: str = "") -> Table:
    """Make a table from pairs of a type and the names that have it, both names and `needed` as words."""
    types: dict[str, str] = {}
    for kind, names in columns:
        for name in names.split():
            if name in types:
                raise ValueError(f"column {name!r} is listed twice")
            types[name] = kind
    return Table(types, tuple(needed.split()))


_WHOSE = ((TEXT, "run encoder"), (INT, "seed"))
_OVER_GENERATORS = "generators_low generators_high generators_p"

IMAGES = table(
    (TEXT, "image_id image_set generator family source"),
    (INT, "label"),
    (TEXT, "group path sha256"),
    (INT, "bytes"),
    (TEXT, "format"),
    (INT, "width height"),
    (TEXT, "mode"),
    (INT, "jpeg_quality"),
    (TEXT, "colour_profile perceptual_hash"),
    (BOOL, "is_constant"),
    (FLOAT, "spectrum_10 spectrum_15 spectrum_20 spectrum_25"),
    (FLOAT, "spectrum_30 spectrum_35 spectrum_40 spectrum_45 align_scale"),
    (TEXT, "problem"),
)
SPLITS = table((TEXT, "image_id group"), (INT, "label"), (TEXT, "generator split"))
MANIFEST = Table(  # and `split_seed<seed>` for every seed of the run
    IMAGES.types | {"split": TEXT},
    ("image_id", "image_set", "generator", "label", "path", "split"),
)
SEARCH = table(
    (INT, "step removed"),
    (FLOAT, "score error log_loss"),
    (INT, "ties"),
    (TEXT, "certified"),
    (INT, "left"),
    needed="step removed score ties left",
)
HEAD_RANKING = table(
    (TEXT, "train val"),
    (INT, "layer head"),
    (FLOAT, "accuracy log_loss auc"),
    (INT, "rank n"),
    needed="train val layer head accuracy rank n",
)
LAYER_RANKING = table(
    (TEXT, "train val"),
    (INT, "layer"),
    (FLOAT, "accuracy log_loss auc"),
    (INT, "rank n"),
    needed="train val layer auc rank n",
)
CELLS = table(
    *_WHOSE,
    (TEXT, "feature_set"),
    (INT, "draw"),
    (TEXT, "train test train_family test_family metric"),
    (FLOAT, "value low high"),
    (INT, "n n_real n_generated groups"),
    (TEXT, "training"),
    needed="feature_set draw train test metric value low high n",
)
MEANS = table(
    *_WHOSE,
    (TEXT, "feature_set cells metric"),
    (FLOAT, "value low high"),
    (INT, "n_cells n groups draws"),
    (FLOAT, "worst"),
    (TEXT, "worst_test"),
    (FLOAT, "baseline difference difference_low difference_high p p_holm"),
    (FLOAT, f"{_OVER_GENERATORS} generators_p_holm generators_se generators_freedom"),
    (FLOAT, "value_generators_low value_generators_high better"),
    (INT, "n_generators"),
    (TEXT, "training"),
    (FLOAT, "confidence test_share"),
    needed="feature_set cells metric value low high n_cells n worst worst_test baseline difference"
    " difference_low difference_high p p_holm",
)
CONTROLS = table(
    *_WHOSE,
    (TEXT, "feature_set control metric"),
    (FLOAT, "value compared_value control_mean control_sd"),
    (INT, "draws rank"),
    (FLOAT, "p p_holm difference difference_low difference_high"),
    (INT, "n_cells n"),
    needed="feature_set control metric value compared_value control_mean control_sd draws rank"
    " p p_holm",
)
OPTIMISM = table(
    *_WHOSE,
    (TEXT, "feature_set"),
    (FLOAT, "score_on_search_pair score_on_the_rest baseline_on_search_pair baseline_on_the_rest"),
    (FLOAT, "score_on_pair_test baseline_on_pair_test optimism winners_curse shift"),
    (FLOAT, "gain_on_the_rest_low gain_on_the_rest_high"),
    (INT, "n_cells"),
    (TEXT, "metric"),
    needed="feature_set score_on_search_pair score_on_the_rest baseline_on_search_pair"
    " baseline_on_the_rest n_cells",
)
PAIRS = table(
    *_WHOSE,
    (TEXT, "family against cells metric"),
    (INT, "pairs"),
    (FLOAT, "value against_value difference difference_low difference_high p p_holm"),
    (FLOAT, f"sd_between_pairs better {_OVER_GENERATORS} generators_p_holm"),
    (FLOAT, "generators_se generators_freedom rank draws confidence test_share"),
    needed="family against cells metric pairs value against_value difference difference_low"
    " difference_high p p_holm sd_between_pairs better generators_low generators_high"
    " generators_p generators_p_holm rank draws",
)
RANKING = table(
    *_WHOSE,
    (TEXT, "comparison feature_set metric"),
    (FLOAT, "average_rank"),
    (INT, "sets generators n_cells"),
    (FLOAT, "friedman friedman_p critical_difference"),
    (BOOL, "best_told_apart"),
    needed="comparison feature_set metric average_rank sets generators n_cells friedman_p"
    " critical_difference best_told_apart",
)
OPERATING = table(
    *_WHOSE,
    (TEXT, "feature_set cells metric"),
    (FLOAT, "asked value low high value_generators_low value_generators_high"),
    (FLOAT, f"baseline difference difference_low difference_high {_OVER_GENERATORS}"),
    (FLOAT, "generators_se generators_freedom"),
    (INT, "n_cells n groups probes_without"),
    (TEXT, "training"),
    (FLOAT, "confidence test_share"),
    needed="feature_set cells metric asked value low high difference n_cells probes_without",
)
REMOVAL = table(
    *_WHOSE,
    (TEXT, "search"),
    (INT, "step left"),
    (TEXT, "metric train test"),
    (FLOAT, "value"),
    needed="search step metric train test value",
)
TRAINING_CHOICE = table(
    *_WHOSE,
    (TEXT, "held_out"),
    (INT, "step"),
    (TEXT, "generator"),
    (FLOAT, "transfer value random_mean random_best"),
    (INT, "random_sets"),
    (FLOAT, "all_others"),
    needed="held_out step generator transfer value random_mean random_best all_others",
)
ROBUSTNESS = table(
    *_WHOSE,
    (TEXT, "feature_set perturbation family"),
    (FLOAT, "level"),
    (TEXT, "metric"),
    (FLOAT, "value low high"),
    (INT, "n_cells n"),
    needed="feature_set perturbation level metric value low high n",
)
LEAKAGE = table(
    (TEXT, "kind first second first_split second_split"),
    (FLOAT, "distance"),
    needed="kind first second first_split second_split distance",
)
SHORTCUTS = table(
    (TEXT, "files generator facts train test reals"),
    (FLOAT, "accuracy auc low high auc_low auc_high"),
    (FLOAT, "balanced_accuracy balanced_low balanced_high"),
    (INT, "n"),
    (TEXT, "strongest_fact"),
    (FLOAT, "strongest_auc"),
    (BOOL, "separates"),
    (TEXT, "unlike_treatment"),
    needed="files facts train test reals generator auc auc_low auc_high balanced_accuracy"
    " balanced_low balanced_high n strongest_fact separates unlike_treatment",
)
LEADERBOARD = table(
    (TEXT, "run encoder feature_set metric"),
    (INT, "rank"),
    (FLOAT, "value_on_all_cells value low high value_generators_low value_generators_high"),
    (INT, "seeds"),
    (FLOAT, "sd_over_seeds worst"),
    (TEXT, "worst_test"),
    (FLOAT, "baseline difference difference_low difference_high p p_holm"),
    (FLOAT, f"{_OVER_GENERATORS} generators_p_holm better"),
    (INT, "n_generators"),
    (FLOAT, "clean_difference clean_generators_low clean_generators_high clean_generators_p_holm"),
    (INT, "n_cells n"),
    (INT, "selected selected_from"),
    (FLOAT, "jaccard jaccard_by_chance jaccard_p"),
    (INT, "selected_by_all_seeds"),
    (FLOAT, "confidence"),
    needed="encoder feature_set metric value low high",
)
INTERPRETATION = table(
    *_WHOSE,
    (TEXT, "kind direction feature_set side"),
    (INT, "rank"),
    (TEXT, "text"),
    (FLOAT, "cosine z_random z_shuffled p p_rank p_shuffled q"),
    (BOOL, "above_null centred"),
    needed="kind direction feature_set side rank text cosine z_random p above_null",
)
CONCEPTS = table(
    *_WHOSE,
    (TEXT, "kind direction feature_set edit"),
    (FLOAT, "cosine z_random z_shuffled p p_single p_shuffled"),
    (BOOL, "above_null"),
    (INT, "n"),
    needed="kind direction feature_set edit cosine z_random above_null",
)
INTERPRETABILITY = table(
    *_WHOSE,
    (TEXT, "texts family generator"),
    (BOOL, "tuned"),
    (FLOAT, "transfer max_cosine C cos_residual"),
    (TEXT, "text"),
    (BOOL, "above_null"),
    (FLOAT, "n_cells"),
    (FLOAT, "half_cosine half_cosine_pattern"),
    needed="generator transfer max_cosine",
)
GEOMETRY = table(
    *_WHOSE,
    (TEXT, "image_set feature_set"),
    (INT, "dimensions"),
    (FLOAT, "iso_score mean_cosine"),
    (INT, "n"),
    (BOOL, "selected_on"),
    (FLOAT, "iso_random_mean iso_random_low iso_random_high iso_rank iso_p"),
    (FLOAT, "cosine_random_mean cosine_random_low cosine_random_high cosine_rank cosine_p"),
    needed="image_set feature_set dimensions iso_score mean_cosine n",
)
FEATURES = table(  # JSON: one object per feature set
    (TEXT, "feature_set family"),
    ("list", "pair"),
    (TEXT, "space"),
    (BOOL, "fit_intercept shuffle"),
    ("list", "draws excluded"),
    ("object", "facts"),
    ("list", "directions scales nested"),
    needed="feature_set family draws",
)

#: Every table by its name in `data/formats.yaml`, which is also that of the report's input.
TABLES: dict[str, Table] = {
    "images": IMAGES,
    "splits": SPLITS,
    "manifest": MANIFEST,
    "searches": SEARCH,
    "head_rankings": HEAD_RANKING,
    "layer_rankings": LAYER_RANKING,
    "features": FEATURES,
    "cells": CELLS,
    "means": MEANS,
    "controls": CONTROLS,
    "optimism": OPTIMISM,
    "pairs": PAIRS,
    "ranking": RANKING,
    "operating": OPERATING,
    "removal": REMOVAL,
    "training_choice": TRAINING_CHOICE,
    "robustness": ROBUSTNESS,
    "leakage": LEAKAGE,
    "shortcuts": SHORTCUTS,
    "leaderboard": LEADERBOARD,
    "interpretation": INTERPRETATION,
    "concepts": CONCEPTS,
    "interpretability": INTERPRETABILITY,
    "geometry": GEOMETRY,
}


def missing(name: str, columns: Iterable[str]) -> str | None:
    """Return the first needed column of a table that is not among `columns`, else None."""
    there = set(columns)
    needed = TABLES[name].needed if name in TABLES else ()
    return next((column for column in needed if column not in there), None)
