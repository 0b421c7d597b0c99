"""Which inputs each table, figure and gallery takes: the workflow's rules are made from this.

Each name maps to the names of its inputs; the input `cells` is given to the verb as `--cells FILE
[FILE ..]`, one file for every seed and encoder of the run. Light on purpose: the Snakefile imports
this module, and every cluster job parses the Snakefile again.
"""

from __future__ import annotations

from clipsieve import families

# Where the files of each input stand under `results/<run>`; `{..}` takes every value of a run.
INPUTS: dict[str, str] = {
    "manifest": "manifest.parquet",
    "cells": "seed{seed}/{encoder}/cells.parquet",
    "means": "seed{seed}/{encoder}/means.parquet",
    "controls": "seed{seed}/{encoder}/controls.parquet",
    "optimism": "seed{seed}/{encoder}/optimism.parquet",
    "searches": "seed{seed}/{encoder}/searches/{train}--{val}.parquet",
    "head_rankings": "seed{seed}/{encoder}/head_rankings/{train}.parquet",
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
}

TABLES: dict[str, tuple[str, ...]] = {
    "overview": ("means", "manifest", "shortcuts", "leakage"),
    "table1": ("interpretation",),
    "table2": ("interpretation",),
    "table3": ("interpretation",),
    "table4": ("means",),
    "table6": ("interpretation",),
    "table7": ("interpretation",),
    "means": ("means",),
    "cells": ("cells",),
    "controls": ("controls", "optimism"),
    "selection": ("searches", "features", "head_rankings"),
    "shortcuts": ("shortcuts", "cells"),
    "leakage": ("leakage", "manifest"),
    "leaderboard": ("leaderboard",),
    "robustness": ("robustness",),
}

FIGURES: dict[str, tuple[str, ...]] = {
    "figure2": ("cells",),
    "figure3": ("cells",),
    "figure4": ("cells",),
    "figure5": ("searches",),
    "figure6": ("geometry",),
    "forest": ("means",),
    "concepts": ("concepts",),
    "robustness": ("robustness",),
    "interpretability": ("interpretability",),
}

# Inputs without which a table is still built, a part of it left out.
OPTIONAL: frozenset[tuple[str, str]] = frozenset(
    {
        ("overview", "shortcuts"),
        ("overview", "leakage"),
        ("shortcuts", "cells"),
        ("selection", "searches"),
        ("selection", "features"),
        ("selection", "head_rankings"),
    }
)

# Which kind of text list a table is about; the rules hand it the lists of that kind alone.
TEXT_KINDS: dict[str, str] = {
    "table1": "phrases",
    "table2": "phrases",
    "table3": "vocabulary",
    "table6": "phrases",
    "table7": "vocabulary",
}

# The feature families that an input of several files is needed for; the others may be left out.
FAMILIES: dict[str, tuple[str, ...]] = {
    **families.BEFORE_AND_AFTER,
    "selection": families.SELECTING,
    "gallery": (families.BASELINE,),
}

# Categories and labels under which `snakemake --report` files each result.
CATEGORIES: dict[str, str] = {
    "overview": "0 Overview",
    **dict.fromkeys(("table4", "means", "cells", "leaderboard", "forest"), "1 Transfer"),
    **dict.fromkeys(("figure2", "figure3", "figure4"), "1 Transfer"),
    **dict.fromkeys(("figure5", "selection", "controls", "figure6"), "2 Selection"),
    **dict.fromkeys(("table1", "table2", "table3", "table6", "table7"), "3 Interpretation"),
    **dict.fromkeys(("concepts", "interpretability"), "3 Interpretation"),
    **dict.fromkeys(("shortcuts", "leakage", "robustness"), "4 Audits"),
    "gallery": "5 Gallery",
}

TITLES: dict[str, str] = {
    "overview": "Overview: what was run, and how it came out",
    "table1": "Table 1: phrases nearest to each probe",
    "table2": "Table 2: phrases nearest to and farthest from the best heads",
    "table3": "Table 3: vocabulary words nearest to each probe",
    "table4": "Table 4: mean transfer of every selection, and between families",
    "table6": "Table 6: phrases nearest to probes and to residuals",
    "table7": "Table 7: vocabulary words nearest to probes and to residuals",
    "means": "Means of the transfer matrix with intervals, against the baseline on the same cells",
    "cells": "Every cell of every transfer matrix with its interval",
    "controls": "Rank of each selection among its controls, and the search's optimism",
    "selection": "What was selected: components, heads, and how stable the choice is",
    "shortcuts": "Shortcut audit: what file facts alone can tell",
    "leakage": "Leakage audit: images and groups that stand in two splits",
    "leaderboard": "Leaderboard of encoders and feature sets",
    "figure2": "Figure 2: transfer on embeddings with intercept, before and after selection",
    "figure3": "Figure 3: transfer on embeddings without intercept, before and after selection",
    "figure4": "Figure 4: transfer on residuals, before and after selection",
    "figure5": "Figure 5: score against components removed",
    "figure6": "Figure 6: IsoScore and mean cosine, before and after selection",
    "forest": "Means with intervals and differences to the baseline",
    "concepts": "Known edits that each probe reacts to",
    "robustness": "Every metric under perturbations of the test images",
    "interpretability": "Transfer against the largest cosine to a text",
    "gallery": "Table 5: most confident right and wrong images",
}
