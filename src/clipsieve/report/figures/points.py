"""Figures of points: geometry before and after (figure 6), and the forest of means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from clipsieve import families
from clipsieve.errors import UserError
from clipsieve.evaluation.metric_records import RECORDS
from clipsieve.evaluation.seeds import over_seeds as seeds_together
from clipsieve.evaluation.seeds import with_clean
from clipsieve.report.facts import Facts
from clipsieve.report.figures.plot import (
    COLOURS,
    GREY,
    INK,
    kind_note,
    new_figure,
    set_title,
    short_title,
)
from clipsieve.report.frames import order_feature_sets, over_seeds, rows_of, verdict
from clipsieve.report.html.page import number
from clipsieve.report.reading import Inputs

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


# the 95 % band of random subsets of equal size, for each measure
_BANDS = {
    "iso_score": ("iso_random_low", "iso_random_high"),
    "mean_cosine": ("cosine_random_low", "cosine_random_high"),
}


def geometry(inputs: Inputs, facts: Facts) -> tuple[Figure, str]:
    """Draw IsoScore and mean cosine of every image set before and after each selection."""
    table = inputs["geometry"]
    # a run that selects no columns has no random subsets of their number
    bands = [name for pair in _BANDS.values() for name in pair]
    table = table.reindex(columns=list(dict.fromkeys([*table.columns, *bands])))
    shown = over_seeds(
        table,
        ["encoder", "image_set", "feature_set"],
        ["iso_score", "mean_cosine", "dimensions", *_BANDS["iso_score"], *_BANDS["mean_cosine"]],
    )
    encoders = facts.order_encoders(shown["encoder"])
    generated = [s for s in dict.fromkeys(shown["image_set"]) if s in facts.generators]
    real = [s for s in dict.fromkeys(shown["image_set"]) if s not in facts.generators]
    sets = [*real, *facts.order(generated)]
    labels = [
        f"{s} (real)" if facts.generators and s in real else short_title(facts, s, 40) for s in sets
    ]
    figure = new_figure(11.2, len(encoders) * (0.27 * len(sets) + 1.1) + 1.9)
    axes = figure.subplots(len(encoders), 2, squeeze=False, sharey=True)
    for row, encoder in zip(axes, encoders, strict=True):
        mine = shown[shown["encoder"] == encoder]
        for ax, column in zip(row, ("iso_score", "mean_cosine"), strict=True):
            _dumbbells(ax, mine, sets, column)
            ax.set_yticks(range(len(sets)), labels)
            ax.set_ylim(len(sets) - 0.4, -0.6)
        row[0].set_title(f"{facts.encoder_title(encoder)}\nIsoScore (1: isotropic)")
        row[1].set_title("mean cosine of two images (0: isotropic)")
    pairs = shown.loc[shown["feature_set"] != families.BASELINE, "feature_set"].nunique()
    figure.legend(handles=_geometry_handles(), loc="outside upper right", ncols=2)
    return figure, (
        f"Small dots: one for each of {pairs} search pairs. Grey bands: 95 % of random subsets of"
        " equal size, mean over pairs.\nInside them, the selection is no more isotropic than chance."
        + (" Averages over seeds." if table["seed"].nunique() > 1 else "")
        + f"\n{kind_note(facts, encoders)}"
    )


def _dumbbells(ax: Axes, table: pd.DataFrame, sets: Sequence[str], column: str) -> None:
    for place, image_set in enumerate(sets):
        part = table[table["image_set"] == image_set]
        before = part.loc[part["feature_set"] == families.BASELINE, column].to_numpy(dtype=float)
        after = part.loc[part["feature_set"] != families.BASELINE, column].to_numpy(dtype=float)
        band = part.loc[part["feature_set"] != families.BASELINE, list(_BANDS[column])].mean()
        if np.isfinite(band.to_numpy(dtype=float)).all():
            ax.plot(
                band, [place] * 2, color=GREY, lw=7, alpha=0.35, solid_capstyle="butt", zorder=0
            )
        if before.size and after.size:
            ax.plot([before[0], after.mean()], [place, place], color=GREY, lw=1.2, zorder=1)
        ax.plot(after, [place] * after.size, "o", color=COLOURS[1], ms=2.6, alpha=0.55, zorder=2)
        if after.size:
            ax.plot(after.mean(), place, "D", color=COLOURS[1], ms=5, zorder=3)
        if before.size:
            ax.plot(before[0], place, "o", color=COLOURS[0], ms=5.5, zorder=3)
    ax.grid(axis="x", color=GREY, alpha=0.25, lw=0.5)
    ax.tick_params(axis="y", length=0)


def _geometry_handles() -> list[Any]:
    from matplotlib.lines import Line2D

    blank: dict[str, Any] = {"ls": "", "xdata": [], "ydata": []}
    return [
        Line2D(marker="o", color=COLOURS[0], ms=5.5, label="all components", **blank),
        Line2D(marker="D", color=COLOURS[1], ms=5, label="after selection, mean of pairs", **blank),
        Line2D(marker="o", color=COLOURS[1], ms=2.6, alpha=0.55, label="one pair", **blank),
        Line2D([], [], color=GREY, lw=7, alpha=0.35, label="random subsets"),
    ]


def forest(inputs: Inputs, facts: Facts) -> tuple[Figure, str]:
    """Draw mean accuracy and difference to the baseline of each feature set, with intervals.

    Thin lines are the intervals over generators, thick ones those over photographs.
    """
    table = inputs["means"]
    shown = with_clean(seeds_together(table))
    shown = shown[(shown["cells"] == "all") & (shown["metric"] == "accuracy")]
    encoders = facts.order_encoders(shown["encoder"])
    if not encoders:
        raise UserError("forest: no mean accuracy over all cells in --means")
    sets = order_feature_sets(list(shown["feature_set"]))
    labels = [set_title(facts, s, 52) for s in sets]
    lines = sum(1 + label.count("\n") for label in labels)
    figure = new_figure(10.4, len(encoders) * (0.165 * lines + 0.9) + 1.6)
    axes = figure.subplots(len(encoders), 2, squeeze=False, sharey=True)
    for row, encoder in zip(axes, encoders, strict=True):
        found = {r["feature_set"]: r for r in rows_of(shown[shown["encoder"] == encoder])}
        for place, feature_set in enumerate(sets):
            if feature_set in found:
                _forest_row(row, found[feature_set], place)
        _limit(row, [r for s, r in found.items() if not families.of(s).shuffle])
        if families.BASELINE in found:
            row[0].axvline(found[families.BASELINE]["value"], color=GREY, lw=0.8, ls="--", zorder=0)
        row[0].axvline(RECORDS["accuracy"].chance_level(), color=GREY, lw=0.8, ls=":", zorder=0)
        row[1].axvline(0, color=GREY, lw=0.8, ls="--", zorder=0)
        row[0].set_yticks(range(len(sets)), labels)
        for text, feature_set in zip(row[0].get_yticklabels(), sets, strict=True):
            text.set_color(GREY if families.of(feature_set).is_control else INK)
        row[0].set_ylim(len(sets) - 0.4, -0.6)
        for ax in row:
            ax.grid(axis="x", color=GREY, alpha=0.25, lw=0.5)
            ax.tick_params(axis="y", length=0)
        row[0].set_title(f"{facts.encoder_title(encoder)}: mean accuracy")
        row[1].set_title("difference to all columns, same cells")
    seeds = table["seed"].nunique()
    level = f"{100 * inputs.confidence:g} %"
    bars = (
        f"Averages over {seeds} seeds, {level} intervals of all seeds."
        if seeds > 1
        else f"Bars: {level} intervals."
    )
    return figure, (
        f"{bars} Thin: over generators (what others could have given). Thick: over photographs of"
        " these generators.\nFull marks on the right: significant over generators (interval, and p (Holm)"
        " of at most 0.05). Dotted: chance.\nMeans of different"
        " feature sets are over different cells: compare the right side."
        " Grey names are controls."
        f"\n{kind_note(facts, encoders)}"
    )


def _limit(axes: Sequence[Axes], rows: Sequence[Mapping[str, Any]]) -> None:
    """Fit the axes to all but the shuffled labels, whose chance level would flatten the rest."""
    for ax, columns in zip(
        axes,
        (
            ("low", "value", "high", "value_generators_low", "value_generators_high"),
            ("difference_low", "difference_high", "generators_low", "generators_high"),
        ),
        strict=True,
    ):
        values = np.array([[r[c] for c in columns] for r in rows], dtype=float)
        values = values[np.isfinite(values)]
        if not values.size:
            continue
        low, high = float(values.min()), float(values.max())
        pad = 0.08 * (high - low) or 0.01
        ax.set_xlim(low - pad, high + pad)
        for line in list(ax.lines):
            x = np.asarray(line.get_xdata(), dtype=float)
            if line.get_marker() == "o" and x.size and x[0] < low - pad:
                ax.annotate(
                    f"\N{LEFTWARDS ARROW} {number(x[0])}",
                    (0.0, float(np.asarray(line.get_ydata())[0])),
                    xycoords=("axes fraction", "data"),
                    xytext=(4, 0),
                    textcoords="offset points",
                    va="center",
                    fontsize=8,
                    color=GREY,
                )


def _forest_row(axes: Sequence[Axes], row: Mapping[str, Any], place: int) -> None:
    control = families.of(row["feature_set"]).is_control
    colour = GREY if control else COLOURS[0]
    clear = verdict(row) != 0
    over = [row["value_generators_low"], row["value_generators_high"]]
    axes[0].plot(over, [place, place], color=colour, lw=0.9)
    axes[0].plot([row["low"], row["high"]], [place, place], color=colour, lw=2.6)
    axes[0].plot(row["value"], place, "o", color=colour, ms=4.5)
    if np.isfinite(row["difference"]):
        over = [row["generators_low"], row["generators_high"]]
        axes[1].plot(over, [place, place], color=colour, lw=0.9)
        axes[1].plot(
            [row["difference_low"], row["difference_high"]], [place, place], color=colour, lw=2.6
        )
        axes[1].plot(
            *(row["difference"], place, "o"),
            color=colour,
            ms=4.5,
            mfc=colour if clear else "white",
        )
