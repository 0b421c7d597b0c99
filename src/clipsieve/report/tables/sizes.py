"""The error by the size of the file, real and generated apart: what Table 5's pictures suggest, as numbers."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from clipsieve import families
from clipsieve.report.facts import Facts
from clipsieve.report.frames import leading, rows_of, with_kinds
from clipsieve.report.html.page import Cell, Content, Section, Table, integer, number
from clipsieve.report.reading import Inputs

if TYPE_CHECKING:
    import pandas as pd

#: Upper ends of the bins by the longer side, in pixels; the last bin is open.
BINS = (128, 256, 512, 1024)
_COLUMNS = ("run", "encoder", "seed", "feature_set", "real", "size", "error", "n", "groups")


def sizes_page(inputs: Inputs, facts: Facts) -> tuple[Content, pd.DataFrame]:
    """Build the errors by size: share of wrong answers of probes on images of others, by bin and class.

    A real image is judged by every probe, a generated one by the probes of all other generators.
    """
    import pandas as pd

    scores = inputs["scores"]
    sizes = inputs["manifest"].assign(side=lambda t: t[["width", "height"]].max(axis=1))
    scores = scores[scores["feature_set"].map(families.family_of) == families.BASELINE]
    scores = scores[scores["train"] != scores["generator"]]
    scores = scores.merge(sizes[["image_id", "side"]], on="image_id")
    wrong = (scores["logit"] > 0) != (scores["label"] == 1)
    edges = [0, *BINS, np.inf]
    names = [f"up to {BINS[0]}", *(f"{a + 1} to {b}" for a, b in pairwise(BINS))]
    names.append(f"over {BINS[-1]}")
    binned = pd.cut(scores["side"], edges, labels=names)
    keys = ["run", "encoder", "seed", "feature_set"]
    groups = scores.assign(error=wrong, real=scores["label"] == 1, size=binned).groupby(
        [*keys, "real", "size"], sort=False, observed=True
    )
    table = groups.agg(
        error=("error", "mean"), n=("image_id", "nunique"), groups=("group", "nunique")
    )
    table = table.reset_index().sort_values([*keys, "real", "size"], ignore_index=True)
    sections = [
        Section(
            f"{facts.section_title(encoder)}: share of wrong answers by the longer side",
            tables=[_rows(table[table["encoder"] == encoder])],
            folded=facts.is_random(encoder),
        )
        for encoder in facts.order_encoders(table["encoder"])
    ]
    page = Content(
        [
            "Whether large photographs are called generated, and small generated images real, as the"
            " paper's Table 5 suggests. An answer that does not depend on the image has an error of 0.5."
        ],
        sections,
        notes=[
            "Probes on all columns. A real image is judged by every probe, a generated one by the probes"
            " of all other generators. Sizes go along with sources and generators, so a difference"
            " between bins need not be due to the size; few groups in a bin say little.",
        ],
    )
    return page, leading(with_kinds(table, facts), _COLUMNS)


def _rows(part: pd.DataFrame) -> Table:
    rows = [
        [
            Cell("real" if row["real"] else "generated"),
            Cell(f"{row['size']} pixels"),
            Cell(str(row["seed"]), css="num quiet"),
            Cell(number(row["error"]), css="num strong"),
            Cell(integer(row["n"]), css="num"),
            Cell(integer(row["groups"]), css="num"),
        ]
        for row in rows_of(part)
    ]
    columns = [("Images", "", ""), ("longer side", "", ""), ("seed", "num", "")]
    columns += [("error", "num", "share of wrong answers"), ("images", "num", "")]
    return Table([*columns, ("groups", "num", "photographs or prompts")], rows)
