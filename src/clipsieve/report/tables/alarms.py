"""The page of operating points: true and false alarms at thresholds that were fixed on val."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clipsieve import families
from clipsieve.evaluation.means import CLEAN
from clipsieve.evaluation.operating import ASKED
from clipsieve.evaluation.seeds import over_seeds as seeds_together
from clipsieve.report.facts import Facts, cells_title
from clipsieve.report.frames import leading, order_feature_sets, rows_of, with_kinds
from clipsieve.report.html.page import (
    Cell,
    Content,
    Section,
    Table,
    feature_set_cell,
    integer,
    interval,
    is_known,
    number,
)
from clipsieve.report.reading import Inputs

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = ("run", "encoder", "seed", "feature_set", "cells", "metric", "asked", "value")


def operating_page(inputs: Inputs, facts: Facts) -> tuple[Content, pd.DataFrame]:
    """Build the page of operating points; its table is every row of the files."""
    table = inputs["operating"]
    shown = seeds_together(table)
    keys = ["run", "encoder", "feature_set", "cells", "metric"]
    without = table.groupby(keys, sort=False)["probes_without"].max().reset_index()
    shown = shown.merge(without, on=keys, how="left")
    sections = []
    for encoder in facts.order_encoders(shown["encoder"]):
        mine = shown[shown["encoder"] == encoder]
        for cells in dict.fromkeys(mine["cells"]):
            part = mine[mine["cells"] == cells]
            title = f"{facts.section_title(encoder)}: {cells_title(str(cells))}"
            folded = cells not in ("all", CLEAN) or facts.is_random(encoder)
            sections.append(Section(title, tables=[_rows(part, facts)], folded=folded))
    asked = " and ".join(f"{rate:.0%}" for rate in ASKED.values())
    page = Content(
        [
            "What each probe does at a threshold that was fixed beforehand: the share of generated"
            " images that it finds (TPR), and the share of real images that it calls generated (FPR),"
            f" on generators that it was not trained on. Thresholds allow {asked} of false alarms on"
            " the real train and val images of the training generator. An answer that does not look"
            " at the image has a TPR equal to its FPR."
        ],
        sections,
        notes=[
            "Read TPR and FPR together. The false alarms are those on new photographs, and on"
            " photographs of other sources, so they differ from the rate that was asked for: a higher"
            " TPR that comes with a higher FPR is no better detector. TPR at 1 % and 5 % FPR on the"
            " other pages take their threshold from the real test images instead.",
            "Intervals are over generators, with those over photographs in the tip of the pointer."
            " Δ is the difference to the probe on all columns over the same cells.",
            "A threshold for 1 % needs 99 real train and val images, one for 5 % needs 19. Probes"
            " with fewer have none, and their cells are left out of both sides. Controls that are drawn"
            " many times are not shown: their thresholds are not cross-fitted.",
        ],
    )
    return page, leading(with_kinds(table, facts), _COLUMNS)


def _rows(part: pd.DataFrame, facts: Facts) -> Table:
    found = {(r["feature_set"], r["metric"]): r for r in rows_of(part)}
    rows = []
    for feature_set in order_feature_sets([name for name, _ in found]):
        control = families.of(feature_set).is_control
        row = [feature_set_cell(facts, feature_set, "quiet" if control else "")]
        for name in ASKED:
            for share in ("tpr", "fpr"):
                row += _share(found.get((feature_set, f"{share}_at_val_{name}"), {}))
        counts = [r["probes_without"] for (s, _), r in found.items() if s == feature_set]
        most = max(counts)
        row.append(Cell(integer(most) if most else "", css="num warn" if most else "num"))
        rows.append(row)
    columns = [("Feature set", "", "")]
    for rate in ASKED.values():
        for share, what in (("TPR", "generated images found"), ("FPR", "real images called so")):
            columns += [(f"{share} at {rate:.0%}", "num", what), ("Δ", "num", "to all columns")]
    columns.append(("probes without a threshold", "num", "for one rate or both"))
    return Table(columns, rows)


def _share(row: dict[str, Any]) -> list[Cell]:
    """Return the cells of one share and of its difference to the baseline."""
    if not is_known(row.get("value")):
        return [Cell("too few real images", css="quiet"), Cell(css="num")]
    photographs = interval(row["low"], row["high"])
    value = Cell(
        number(row["value"]),
        sub=interval(row["value_generators_low"], row["value_generators_high"]),
        tip=f"over photographs {photographs}" if photographs else "",
        css="num strong",
    )
    if not is_known(row.get("difference")):
        return [value, Cell(css="num")]
    photographs = interval(row["difference_low"], row["difference_high"], sign=True)
    difference = Cell(
        number(row["difference"], sign=True),
        sub=interval(row["generators_low"], row["generators_high"], sign=True),
        tip=f"over photographs {photographs}" if photographs else "",
        css="num",
    )
    return [value, difference]
