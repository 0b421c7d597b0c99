"""Table 4: mean transfer of every selection, and between families, beside the paper's values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from clipsieve import families
from clipsieve.evaluation.seeds import over_seeds as seeds_together
from clipsieve.evaluation.seeds import with_clean
from clipsieve.report.facts import PAPER_ENCODERS, Facts, family_title, metric_title
from clipsieve.report.frames import leading, over_seeds, rows_of, verdict, with_kinds
from clipsieve.report.html.page import (
    Cell,
    Content,
    Section,
    Table,
    feature_set_cell,
    interval,
    number,
)
from clipsieve.report.published import ROUNDING, published
from clipsieve.report.reading import Inputs
from clipsieve.report.tables.transfer import (
    HEADLINE,
    chance_sentence,
    headline_rows,
    mean_rows,
    same_cells_note,
)

if TYPE_CHECKING:
    import pandas as pd

# as in print: the methods whose pairs have an order come first
_METHODS = tuple(sorted(families.SELECTING, key=lambda f: families.get(f).pairs == "unordered"))
_COLUMNS = (
    *("run", "encoder", "seed", "part", "method", "pair", "feature_set", "cells", "metric"),
    *("value", "low", "high", "n_cells", "n", "baseline", "difference", "difference_low"),
    *("difference_high", "p", "p_holm", "generators_low", "generators_high", "generators_p_holm"),
    *("better", "n_generators", "pairs", "published", "published_reading"),
    *("difference_to_published", "tolerance", "within_tolerance"),
)


def table4(inputs: Inputs, facts: Facts) -> tuple[Content, pd.DataFrame]:
    """Build Table 4.

    Left: the mean over all cells of each selected set, with the difference to all columns over the
    same cells. Right: means within and between families, averaged over pairs. Accuracy as in the
    paper, with balanced accuracy and AUC beside it.

    Returns
    -------
    tuple
        The page, and the tidy table: `part` is `left` or `right`; `published` and what follows
        from it is filled only where the run is the paper's.
    """
    import pandas as pd

    table = inputs["means"]
    together = with_clean(seeds_together(table))
    table = table[table["metric"].isin(HEADLINE)]
    table = table.assign(method=table["feature_set"].map(families.family_of))
    seeds = sorted(set(table["seed"]))
    left = table[
        (table["cells"] == "all") & table["method"].isin([*families.EXPLAINED_WHOLE, *_METHODS])
    ]
    right = _right(table)
    tidy = pd.concat(
        [left.assign(part="left"), right.assign(part="right")],
        ignore_index=True,
    )
    tidy["pair"] = tidy["feature_set"].map(families.pair_of)
    tidy = _beside_published(tidy, facts)

    wide = together[
        together["metric"].isin(HEADLINE)
        & (together["cells"] == "all")
        & together["feature_set"].isin(left["feature_set"])
    ]
    shown_left = wide[wide["metric"] == "accuracy"]
    sections = [_as_in_the_paper(shown_left, facts)] if len(shown_left) else []
    for encoder in facts.order_encoders(table["encoder"]):
        title, folded = facts.section_title(encoder), facts.is_random(encoder)
        sections += [
            Section(
                f"{title}: accuracy, balanced accuracy and AUC of each selection",
                [chance_sentence(HEADLINE)],
                tables=[headline_rows(wide[wide["encoder"] == encoder], facts)],
                folded=folded,
            ),
            Section(
                f"{title}: accuracy of each selection, with all intervals",
                tables=[mean_rows(shown_left[shown_left["encoder"] == encoder], facts, len(seeds))],
                folded=folded,
            ),
        ]
    for encoder in facts.order_encoders(right["encoder"]):
        for metric in HEADLINE:
            part = right[(right["encoder"] == encoder) & (right["metric"] == metric)]
            if len(part):
                sections.append(_right_section(part, encoder, metric, facts))
    compared = tidy[tidy["published"].notna()]
    if len(compared):
        sections.append(_published_section(compared, facts))
    elif facts.generators:
        sections.append(
            Section(
                "The paper's values",
                [
                    "Not set beside these: they belong to the paper's fourteen generators and its"
                    " encoders, and this run has others."
                ],
            )
        )
    page = Content(
        [
            "Mean accuracy of probes on generators that they were not trained on. The pair that"
            " paid for a selection is left out of its evaluation, and of the baseline beside it. "
            + chance_sentence(HEADLINE)
        ],
        sections,
        notes=same_cells_note(len(seeds), wide),
    )
    return page, leading(with_kinds(tidy, facts), _COLUMNS)


def _right(table: pd.DataFrame) -> pd.DataFrame:
    """Average each method's means over its pairs; the baseline stands on all its own cells."""
    by_family = table["cells"].str.fullmatch(r"within_.+|(?!past_to_future).+_to_.+")
    chosen = table[by_family & table["method"].isin([families.BASELINE, *_METHODS])]
    keys = ["run", "encoder", "seed", "method", "cells", "metric"]
    groups = chosen.groupby(keys, sort=False)
    result = groups[["value", "baseline", "difference", "n_cells"]].mean()
    result["lowest"] = groups["value"].min()
    result["highest"] = groups["value"].max()
    result["pairs"] = groups["feature_set"].nunique()
    return result.reset_index().assign(feature_set=lambda t: t["method"])


def _as_in_the_paper(shown: pd.DataFrame, facts: Facts) -> Section:
    """Return the left half in the paper's layout: validation, training; heads and components."""
    encoders = facts.order_encoders(shown["encoder"])
    records = {(r["encoder"], r["feature_set"]): r for r in rows_of(shown)}
    pairs = list(
        dict.fromkeys(
            families.pair_of(f) for f in shown["feature_set"] if families.family_of(f) in _METHODS
        )
    )
    # Both orders of a pair stand together, as in print.
    first_seen = [families.unordered(p) for p in pairs]
    pairs = sorted(pairs, key=lambda p: first_seen.index(families.unordered(p)))
    rows = [[Cell("all columns, all cells", css="head"), Cell()]]
    for encoder in encoders:
        base = _value(records.get((encoder, families.BASELINE)), difference=False)
        rows[0] += [base] * len(_METHODS)
    for pair in pairs:
        train, val = families.generators_of(pair)
        sets = [families.feature_set_id(m, pair) for m in _METHODS if _is_ordered(m)]
        if not any((e, s) in records for e in encoders for s in sets) and any(
            families.unordered(pair) == families.unordered(q) and q != pair for q in pairs
        ):
            continue  # its component search stands in the row of the other order
        row = [_name(facts, val), _name(facts, train)]
        for encoder in encoders:
            for method in _METHODS:
                found = records.get((encoder, families.feature_set_id(method, pair)))
                if found is None and not _is_ordered(method):
                    back = families.feature_set_id(method, families.reverse(pair))
                    found = records.get((encoder, back))
                row.append(_value(found))
        rows.append(row)
    columns = [("Validation", "", ""), ("Training", "", "")]
    titles = [families.get(method).title.capitalize() for method in _METHODS]
    columns += [(title, "num", "") for title in titles] * len(encoders)
    spans = [("Feature selection", 2)]
    spans += [(facts.encoder_title(e), len(_METHODS)) for e in encoders]
    return Section(
        "As in the paper, left",
        [
            "Accuracy; chance is 0.5. Below each mean: its difference to all columns over the same"
            " cells, in colour where it differs significantly from 0 over generators. A component search has no"
            " order, so its value stands in both rows of a pair."
        ],
        tables=[Table(columns, rows, spans=spans)],
    )


def _is_ordered(method: str) -> bool:
    return families.get(method).pairs == "ordered"


def _printed_pair(method: str, pair: str) -> str:
    """Return the pair as the published values are filed: sorted where it has no order."""
    first, second = families.generators_of(pair)
    return pair if _is_ordered(method) else families.pair_id(*sorted((first, second)))


def _name(facts: Facts, generator: str) -> Cell:
    known = facts.generators.get(generator)
    simulated = known is not None and known.kind == "simulated"
    return Cell(facts.title(generator), badge="simulated" if simulated else "", tip=generator)


def _value(row: Mapping[str, Any] | None, *, difference: bool = True) -> Cell:
    if row is None:
        return Cell("\N{EN DASH}", css="num quiet")
    css = ("num", "num good", "num warn")[verdict(row) if difference else 0]
    return Cell(
        number(row["value"]),
        sub=number(row["difference"], sign=True) if difference else "",
        tip=f"Δ over generators {interval(row['generators_low'], row['generators_high'], sign=True)};"
        f" mean over photographs {interval(row['low'], row['high'])}; {int(row['n_cells'])} cells",
        css=css,
    )


def _right_section(right: pd.DataFrame, encoder: str, metric: str, facts: Facts) -> Section:
    shown = over_seeds(
        right,
        ["method", "cells"],
        ["value", "baseline", "difference", "n_cells", "pairs", "lowest", "highest"],
    )
    kinds = list(dict.fromkeys(g.family for g in facts.generators.values()))
    if not kinds:
        kinds = [
            c.removeprefix("within_") for c in dict.fromkeys(shown["cells"]) if "_to_" not in c
        ]
    records = {(r["method"], r["cells"]): r for r in rows_of(shown)}
    tables = []
    for method in (families.BASELINE, *_METHODS):
        if not any(m == method for m, _ in records):
            continue
        rows = []
        for train in kinds:
            row = [Cell(family_title(train), css="head")]
            for test in kinds:
                cells = f"within_{train}" if train == test else f"{train}_to_{test}"
                found = records.get((method, cells))
                if found is None:
                    row.append(Cell("\N{EN DASH}", css="num quiet"))
                    continue
                own = method == families.BASELINE
                row.append(
                    Cell(
                        number(found["value"]),
                        sub="" if own else number(found["difference"], sign=True),
                        tip=""
                        if own
                        else f"pairs range from {number(found['lowest'])} to"
                        f" {number(found['highest'])}; baseline on the same cells"
                        f" {number(found['baseline'])}",
                        css="center",
                        shade=2 * (found["value"] - 0.5),
                    )
                )
            rows.append(row)
        pairs = max(int(r["pairs"]) for (m, _), r in records.items() if m == method)
        title = families.get(method).title
        own = method == families.BASELINE
        name = title if own else f"{title}, average over {pairs} selections"
        columns = [("trained on \\ tested on", "", "")]
        columns += [(family_title(f), "center", "") for f in kinds]
        tables.append(Table(columns, rows, caption=name))
    return Section(
        f"Between kinds, {metric_title(metric)}: {facts.section_title(encoder)}",
        [
            f"{chance_sentence((metric,))} Below each mean: its difference to all columns over the same"
            " cells. Averages over pairs; their intervals stand on the page of pairs."
        ],
        cards=tables,
        folded=metric != "accuracy" or facts.is_random(encoder),
    )


def _beside_published(tidy: pd.DataFrame, facts: Facts) -> pd.DataFrame:
    """Add the paper's value, our difference to it, and whether our interval holds it."""
    import numpy as np

    known = _published_values() if facts.is_paper_run() else {}
    found = []
    for row in rows_of(tidy):
        key: tuple[str, ...] = ("right", row["encoder"], row["method"], row["cells"])
        if row["part"] == "left":
            name = _printed_pair(row["method"], row["pair"]) if row["pair"] else ""
            key = ("left", row["encoder"], row["method"], name)
        usable = row["encoder"] in PAPER_ENCODERS and row["metric"] == "accuracy"
        found.append(known.get(key, (np.nan, "")) if usable else (np.nan, ""))
    tidy = tidy.assign(published=[f[0] for f in found], published_reading=[f[1] for f in found])
    tidy["difference_to_published"] = tidy["value"] - tidy["published"]
    # Our interval's own reach to the side of the paper's value, and half its last printed digit.
    reach = np.where(
        tidy["difference_to_published"] > 0,
        tidy["value"] - tidy["low"],
        tidy["high"] - tidy["value"],
    )
    tidy["tolerance"] = np.where(tidy["published"].notna(), reach + ROUNDING, np.nan)
    inside = tidy["difference_to_published"].abs() <= tidy["tolerance"]
    tidy["within_tolerance"] = [
        None if np.isnan(t) else bool(i) for t, i in zip(tidy["tolerance"], inside, strict=True)
    ]
    return tidy


def _published_values() -> dict[tuple[str, ...], tuple[float, str]]:
    values: dict[tuple[str, ...], tuple[float, str]] = {}
    for row in rows_of(published("table4_left")):
        if row["train"] != row["train"]:
            # The printed baselines differ by method; ours takes that of the component search.
            if not _is_ordered(row["method"]):
                values["left", row["encoder"], families.BASELINE, ""] = (row["value"], "")
            continue
        name = _printed_pair(row["method"], families.pair_id(row["train"], row["val"]))
        values["left", row["encoder"], row["method"], name] = (row["value"], "")
    for row in rows_of(published("figure_means")):
        known = row["family"] in families.EXPLAINED_WHOLE and row["family"] != families.BASELINE
        if known and row["cells"] == "all":
            note = f"figure {row['figure']}"
            values["left", row["encoder"], row["family"], ""] = (row["value"], note)
    for row in rows_of(published("table4_right")):
        method = families.BASELINE if row["method"] == "baseline" else row["method"]
        values["right", row["encoder"], method, row["cells"]] = (row["value"], row["reading"])
    return values


def _published_section(compared: pd.DataFrame, facts: Facts) -> Section:
    rows = []
    for row in rows_of(compared):
        inside = row["within_tolerance"]
        rows.append(
            [
                Cell(facts.encoder_title(row["encoder"])),
                Cell(str(row["seed"]), css="num"),
                Cell(row["part"]),
                feature_set_cell(facts, row["feature_set"]),
                Cell(row["cells"].replace("_", " ")),
                Cell(number(row["value"]), sub=interval(row["low"], row["high"]), css="num"),
                Cell(
                    number(row["published"])
                    + ("\N{DAGGER}" if row["published_reading"] == "uncertain" else ""),
                    css="num",
                ),
                Cell(number(row["difference_to_published"], sign=True), css="num strong"),
                Cell(number(row["tolerance"]), css="num"),
                Cell(
                    "" if inside is None else "within" if inside else "outside",
                    css="good" if inside else "warn",
                ),
            ]
        )
    columns = [
        *(("Encoder", "", ""), ("seed", "num", ""), ("part", "", ""), ("Feature set", "", "")),
        *(("cells", "", ""), ("ours", "num", "interval below"), ("paper", "num", "")),
        *(("ours \N{MINUS SIGN} paper", "num", ""), ("tolerance", "num", ""), ("", "", "")),
    ]
    return Section(
        "Beside the paper's values",
        [
            "Tolerance: how far our interval reaches towards the paper's value, and half of"
            " its last printed digit. It covers our test images alone: the paper's splits are not"
            " known, so a value outside is no proof of an error.",
            "\N{DAGGER} The print leaves open which of the two off-diagonal values goes from GAN to"
            " diffusion; this is our reading.",
        ],
        tables=[Table(columns, rows, compact=True)],
    )
