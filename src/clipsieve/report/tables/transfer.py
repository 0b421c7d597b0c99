"""Pages of the transfer matrices: means with intervals, and every cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from clipsieve import families
from clipsieve.evaluation.metric_records import RECORDS
from clipsieve.evaluation.metrics import METRICS
from clipsieve.evaluation.seeds import over_seeds as seeds_together
from clipsieve.evaluation.seeds import with_clean
from clipsieve.report.facts import Facts, cells_title, metric_title
from clipsieve.report.frames import (
    leading,
    order_feature_sets,
    over_seeds,
    rows_of,
    with_kinds,
)
from clipsieve.report.html.page import (
    Cell,
    Content,
    Section,
    Table,
    better_on,
    difference_cell,
    feature_set_cell,
    generator_cell,
    integer,
    interval,
    is_known,
    number,
    p_value,
    worst_cell,
)
from clipsieve.report.reading import Inputs

if TYPE_CHECKING:
    import pandas as pd

ARROW = " \N{RIGHTWARDS ARROW} "
_MEAN_COLUMNS = (
    *("run", "encoder", "seed", "feature_set", "cells", "metric", "value", "low", "high"),
    *("n_cells", "n", "worst", "worst_test", "baseline", "difference", "difference_low"),
    *("difference_high", "p", "p_holm", "generators_low", "generators_high", "generators_p"),
    *("generators_p_holm", "better", "n_generators"),
)
#: The metrics that lead a page of transfer. Accuracy alone rewards answers that never change where
#: the classes are of unequal size.
HEADLINE = ("accuracy", "balanced_accuracy", "auc")


def same_cells_note(seeds: int, means: pd.DataFrame | None = None) -> list[str]:
    """Say what the means, differences and p values of a page are; `means` are the rows it shows."""
    notes = [
        "A mean is over the cells off the diagonal: probes trained on one generator, tested on"
        " another.",
        "“Over generators” comes first, since the claim is of generators not trained on: it says what"
        " other generators (and other photographs) could have given, both as training and as test"
        " generator. “Over photographs” says what other photographs or prompts could have given for"
        " these same generators (a bootstrap by group). Of one seed it is the narrower of the two.",
        "Δ: the difference to the probe on all columns (with an intercept where the set has one)"
        " over the same cells. Generators used for a selection are in neither, so the baseline"
        " differs from row to row. p (Holm): corrected over all rows of the metric. In colour:"
        " significantly different from 0 over generators, by both the interval and p of at most 0.05."
        " “Better on k of n” counts test generators.",
        "Heads were ranked on one generator's rows, and that generator is still in the evaluation, as in"
        " the paper. Cells trained on it flatter the selection: the cells without it decide the colour"
        " of a row of heads, and stand apart on the page of means and in the tip of the pointer.",
    ]
    if means is not None and lacks_generators(means):
        notes.append(
            "Rows without an interval over generators are of fewer than four generators, or of a control"
            " drawn many times. So few generators allow no statement about others: nothing of such a"
            " row is in colour, whatever its interval over photographs."
        )
    if seeds > 1:
        notes.append(
            f"Averages over {seeds} seeds; sd is the spread over seeds. Intervals and p over"
            " photographs are the corrected resampled t of all seeds together (their test images"
            " overlap), those over generators have the seeds' mean error; worst is that of the least"
            " favourable seed. The CSV file holds each seed."
        )
    return notes


def lacks_generators(means: pd.DataFrame) -> bool:
    """Return True where a difference has no interval over generators."""
    return bool((means["difference"].notna() & means["generators_low"].isna()).any())


def chance_sentence(metrics: Sequence[str] = ("accuracy",)) -> str:
    """Say what an answer that does not depend on the image scores.

    Examples
    --------
    >>> chance_sentence(("accuracy", "auc"))
    'Chance, the score of an answer that does not depend on the image, is 0.5 for accuracy and AUC.'
    """
    levels: dict[str, list[str]] = {}
    for name in metrics:
        record = RECORDS[name]
        level = "a share" if callable(record.chance) else f"{record.chance:g}"
        levels.setdefault(level, []).append(record.title)
    said = [
        f"{level} for {listed(titles)}" for level, titles in levels.items() if level != "a share"
    ]
    if "a share" in levels:
        said.append(f"what the shares of the classes give for {listed(levels['a share'])}")
    return f"Chance, the score of an answer that does not depend on the image, is {listed(said)}."


def listed(parts: Sequence[str]) -> str:
    """Return words as a list in a sentence: `a, b and c`."""
    return " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))


def means_page(inputs: Inputs, facts: Facts) -> tuple[Content, pd.DataFrame]:
    """Build the page of means: every feature set, cell group and metric, with intervals."""
    table = inputs["means"]
    seeds = sorted(set(table["seed"]))
    shown = with_clean(seeds_together(table))
    sections = []
    for encoder in facts.order_encoders(table["encoder"]):
        mine = shown[shown["encoder"] == encoder]
        accuracy = mine[mine["metric"] == "accuracy"]
        for cells in dict.fromkeys(accuracy["cells"]):
            part = accuracy[accuracy["cells"] == cells]
            sections.append(
                Section(
                    f"{facts.section_title(encoder)}: {cells_title(str(cells))}, accuracy",
                    [chance_sentence()],
                    tables=[mean_rows(part, facts, len(seeds))],
                )
            )
        rest = mine[(mine["cells"] == "all") & (mine["metric"] != "accuracy")]
        if len(rest):
            sections.append(
                Section(
                    f"{facts.section_title(encoder)}: the other metrics, all pairs",
                    [chance_sentence([m for m in METRICS if m in set(rest["metric"])])],
                    tables=[_metric_matrix(rest, facts)],
                    folded=True,
                )
            )
    page = Content(
        ["How well a probe trained on one generator tells another's images from real ones."],
        sections,
        notes=same_cells_note(len(seeds), shown),
    )
    tidy = with_kinds(table, facts)
    return page, leading(tidy, _MEAN_COLUMNS)


def mean_rows(part: pd.DataFrame, facts: Facts, seeds: int) -> Table:
    """Return one table of means of one metric, a row a feature set; controls stand last, in grey."""
    records = {r["feature_set"]: r for r in rows_of(part)}
    shown = {name: _bounds(row) for name, row in records.items()}
    bounds = [float(x) for pair in shown.values() for x in pair if x == x]
    left, right = (min(bounds), max(bounds)) if bounds else (0.0, 1.0)
    rows = []
    for feature_set in order_feature_sets(list(records)):
        rows.append(_mean_row(records[feature_set], facts, seeds, left, right))
    columns = [
        ("Feature set", "", ""),
        ("mean", "num", "mean over cells; below, its interval over generators"),
        (f"{number(left, 2)} to {number(right, 2)}", "", "the interval over generators, drawn"),
        ("baseline", "num", "all columns, same cells"),
        ("Δ over generators", "num", "difference to the baseline over the same cells"),
        (
            "p\N{NO-BREAK SPACE}(Holm) over generators",
            "num",
            "and on how many of them it is better",
        ),
        ("over photographs", "num", "intervals of the mean and of Δ, with its p (Holm)"),
        ("worst generator", "", "the test generator with the lowest mean"),
        ("cells", "num", "cells in the mean, test images below"),
    ]
    return Table(columns, rows)


def _bounds(row: Mapping[str, Any]) -> tuple[float, float]:
    """Interval of a mean over generators; over photographs where there is none."""
    names = ("value_generators_low", "value_generators_high")
    if not all(is_known(row.get(name)) for name in names):
        names = ("low", "high")
    low, high = (float("nan") if row[name] is None else float(row[name]) for name in names)
    return low, high


def _mean_row(
    row: Mapping[str, Any], facts: Facts, seeds: int, left: float, right: float
) -> list[Cell]:
    control = families.of(row["feature_set"]).is_control
    own = not is_known(row["difference"])
    over = interval(row.get("value_generators_low"), row.get("value_generators_high"))
    spread = f"sd {number(row['value_sd'])}" if seeds > 1 else ""
    low, high = _bounds(row)
    better = better_on(row)
    of_difference = interval(row["difference_low"], row["difference_high"], sign=True)
    tested = f"Δ {of_difference}, p {p_value(row['p_holm'])}" if of_difference else ""
    return [
        feature_set_cell(facts, row["feature_set"], "quiet" if control else ""),
        Cell(number(row["value"]), sub=", ".join(filter(None, (over, spread))), css="num strong"),
        Cell(bar=(low, row["value"], high, left, right)),
        Cell("" if own else number(row["baseline"]), css="num"),
        difference_cell(row),
        Cell(
            "" if own else p_value(row.get("generators_p_holm")),
            sub=f"better on {better}" if better and not own else "",
            tip=f"p {p_value(row.get('generators_p'))} before correction",
            css="num",
        ),
        Cell(interval(row["low"], row["high"]), sub=tested, css="num quiet"),
        worst_cell(facts, row),
        Cell(integer(row["n_cells"]), sub=f"{integer(row['n'])} images", css="num"),
    ]


def headline_rows(part: pd.DataFrame, facts: Facts) -> Table:
    """Return accuracy, balanced accuracy and AUC beside each other, a row a feature set.

    Below each mean its interval over generators, then its difference to all columns over the same
    cells, in colour where it differs significantly from 0 over generators.
    """
    records = {(r["feature_set"], r["metric"]): r for r in rows_of(part)}
    metrics = [m for m in HEADLINE if any(metric == m for _, metric in records)]
    rows = []
    for feature_set in order_feature_sets(list(part["feature_set"])):
        control = families.of(feature_set).is_control
        row = [feature_set_cell(facts, feature_set, "quiet" if control else "")]
        counted = ""
        for metric in metrics:
            found = records.get((feature_set, metric))
            if found is None:
                row += [Cell(css="num"), Cell(css="num")]
                continue
            over = interval(found.get("value_generators_low"), found.get("value_generators_high"))
            row.append(
                Cell(
                    number(found["value"]),
                    sub=over,
                    tip=f"over photographs {interval(found['low'], found['high'])}",
                    css="num strong",
                )
            )
            row.append(difference_cell(found))
            counted = better_on(found) if is_known(found["difference"]) else ""
        rows.append([*row, Cell(counted, css="num")])
    columns = [("Feature set", "", "")]
    for metric in metrics:
        chance = f"chance {RECORDS[metric].chance_level():g}"
        columns.append((metric_title(metric), "num", f"{chance}; interval over generators below"))
        columns.append(("Δ", "num", "to all columns over the same cells; interval over generators"))
    last = f"test generators on which {metric_title(metrics[-1])} is better" if metrics else ""
    return Table([*columns, ("better on", "num", last)], rows)


def _metric_matrix(part: pd.DataFrame, facts: Facts) -> Table:
    metrics = [m for m in METRICS if m in set(part["metric"])]
    metrics += [m for m in dict.fromkeys(part["metric"]) if m not in metrics]
    records = {(r["feature_set"], r["metric"]): r for r in rows_of(part)}
    rows = []
    for feature_set in order_feature_sets(list(part["feature_set"])):
        row = [feature_set_cell(facts, feature_set)]
        for metric in metrics:
            found = records.get((feature_set, metric))
            if found is None:
                row.append(Cell(css="num"))
                continue
            tip = f"Δ {number(found['difference'], sign=True)}; over photographs"
            tip += f" {interval(found['low'], found['high'])}"
            row.append(
                Cell(
                    number(found["value"]),
                    sub=interval(
                        found.get("value_generators_low"), found.get("value_generators_high")
                    ),
                    tip=tip,
                    css="num",
                )
            )
        rows.append(row)
    columns = [("Feature set", "", ""), *((metric_title(m), "num", m) for m in metrics)]
    return Table(columns, rows, compact=True)


def cells_page(inputs: Inputs, facts: Facts) -> tuple[Content, pd.DataFrame]:
    """Build the page of every cell: train down, test across, accuracy with its interval."""
    import pandas as pd

    table = inputs["cells"]
    many = set(table.loc[table["draw"] > 0, "feature_set"])
    table = table[~table["feature_set"].isin(many)]
    seeds = sorted(set(table["seed"]))
    accuracy = table[table["metric"] == "accuracy"]
    shown = over_seeds(
        accuracy, ["encoder", "feature_set", "train", "test"], ["value", "low", "high", "n"]
    )
    sections = []
    for encoder in facts.order_encoders(table["encoder"]):
        mine = shown[shown["encoder"] == encoder]
        everyone = facts.order(pd.concat([mine["train"], mine["test"]]))
        for i, feature_set in enumerate(order_feature_sets(list(mine["feature_set"]))):
            part = mine[mine["feature_set"] == feature_set]
            sections.append(
                Section(
                    f"{facts.section_title(encoder)}: {facts.feature_set_title(feature_set)}",
                    tables=[_matrix(part, everyone, feature_set, facts, len(seeds))],
                    folded=i > 0,
                )
            )
    notes = [
        "Rows: the generator that a probe was trained on. Columns: the generator tested. Below each"
        " accuracy its interval"
        + (" (spread over seeds)" if len(seeds) > 1 else "")
        + "; n is in the tip of the pointer. Dashed: tested on the generator trained on, not"
        " counted in any mean. Hatched: used for the selection.",
        "The CSV file beside this page holds every metric"
        + (
            f"; controls drawn many times ({', '.join(sorted({families.family_of(f) for f in many}))}) are"
            " left out of both."
            if many
            else "."
        ),
    ]
    page = Content(
        [
            "One row of a matrix is one probe; a cell is its accuracy on one generator's test"
            f" images. {chance_sentence()} Intervals are over photographs: a cell is of one generator."
        ],
        sections,
        notes=notes,
    )
    tidy = with_kinds(table, facts)
    return page, leading(tidy, ("run", "encoder", "seed", "feature_set", "train", "test", "metric"))


def _matrix(
    part: pd.DataFrame, everyone: Sequence[str], feature_set: str, facts: Facts, seeds: int
) -> Table:
    records = {(r["train"], r["test"]): r for r in rows_of(part)}
    pair = families.pair_of(feature_set)
    given = families.unordered(pair) if pair else frozenset()
    rows = []
    for train in everyone:
        row = [generator_cell(facts, train, css="head")]
        for test in everyone:
            found = records.get((train, test))
            if found is None:
                reason = "used for the selection" if given & {train, test} else "not run"
                row.append(Cell(css="given" if given & {train, test} else "quiet", tip=reason))
                continue
            sub = (
                f"sd {number(found['value_sd'])}"
                if seeds > 1
                else interval(found["low"], found["high"], 2).replace(" to ", "\N{EN DASH}")
            )
            row.append(
                Cell(
                    number(found["value"]),
                    sub=sub,
                    tip=f"{facts.pair_title(families.pair_id(train, test), ARROW)}, n {integer(found['n'])}",
                    css="center own" if train == test else "center",
                    shade=2 * (found["value"] - 0.5),
                )
            )
        rows.append(row)
    columns = [("train \\ test", "", ""), *((facts.title(g), "center", g) for g in everyone)]
    return Table(columns, rows, compact=True)
