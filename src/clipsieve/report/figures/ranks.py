"""The figure of average ranks: feature sets on a line, bars over those that do not differ significantly."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clipsieve import families
from clipsieve.errors import UserError
from clipsieve.report.facts import Facts, metric_title
from clipsieve.report.figures.plot import COLOURS, GREY, INK, kind_note, new_figure, set_title
from clipsieve.report.html.page import number
from clipsieve.report.reading import Inputs
from clipsieve.report.tables.ranking import first_comparison

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def critical_difference(inputs: Inputs, facts: Facts) -> tuple[Figure, str]:
    """Draw the average ranks of feature sets by AUC, with the critical difference from the best."""
    table = inputs["ranking"]
    table = table[table["metric"] == "auc"]
    encoders = facts.order_encoders(table["encoder"])
    if not encoders:
        raise UserError("ranks: no ranks by AUC in --ranking")
    chosen = {}
    for encoder in encoders:
        mine = table[table["encoder"] == encoder]
        chosen[encoder] = mine[mine["comparison"] == first_comparison(mine)]
    lines = sum(part["feature_set"].nunique() for part in chosen.values())
    figure = new_figure(8.2, 0.3 * lines + 0.9 * len(encoders) + 1.4)
    sizes = [part["feature_set"].nunique() + 1 for part in chosen.values()]
    axes = figure.subplots(len(encoders), 1, squeeze=False, height_ratios=sizes)[:, 0]
    for ax, (encoder, part) in zip(axes, chosen.items(), strict=True):
        _panel(ax, part, facts)
        n = int(part["generators"].iloc[0])
        ax.set_title(f"{facts.encoder_title(encoder)}: {n} test generators")
    axes[-1].set_xlabel(f"average rank by {metric_title('auc')}, 1 is best")
    seeds = table["seed"].nunique()
    return figure, (
        "Shaded: within the critical difference (Nemenyi, 5 %) of the best; sets outside it are"
        " significantly worse.\nGrey: controls. Dotted: the rank of chance."
        + (f" Means over {seeds} seeds." if seeds > 1 else "")
        + f"\n{kind_note(facts, encoders)}"
    )


def _panel(ax: Axes, part: pd.DataFrame, facts: Facts) -> None:
    average = part.groupby("feature_set", sort=False)["average_rank"].mean()
    average = average.sort_values(kind="stable")
    best, distance = float(average.iloc[0]), float(part["critical_difference"].iloc[0])
    ax.axvspan(best, best + distance, color=COLOURS[0], alpha=0.10, lw=0)
    ax.axvline((int(part["sets"].iloc[0]) + 1) / 2, color=GREY, lw=0.9, ls=":")
    for place, (feature_set, rank) in enumerate(average.items()):
        control = families.of(str(feature_set)).is_control
        colour = GREY if control else COLOURS[0]
        ax.plot(rank, place, "o", color=colour, ms=5)
        ax.annotate(
            number(rank, 1), (rank, place), xytext=(7, 0), textcoords="offset points",
            va="center", fontsize=7.5, color=colour,
        )  # fmt: skip
    labels = [set_title(facts, str(name), 60) for name in average.index]
    ax.set_yticks(range(len(average)), labels, fontsize=8)
    for text, name in zip(ax.get_yticklabels(), average.index, strict=True):
        text.set_color(GREY if families.of(str(name)).is_control else INK)
    ax.set_ylim(len(average) - 0.4, -0.6)
    ax.set_xlim(0.6, float(part["sets"].iloc[0]) + 0.6)
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="x", color=GREY, alpha=0.25, lw=0.5)
