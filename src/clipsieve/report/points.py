"""Figures of points: geometry before and after (figure 6), the forest of means, interpretability."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from clipsieve.errors import UserError
from clipsieve.report import registry
from clipsieve.report.facts import Facts, family_title
from clipsieve.report.frames import CONTROLS, family_of, order_feature_sets, over_seeds, rows_of
from clipsieve.report.page import MINUS, p_value
from clipsieve.report.plot import (
    COLOURS,
    GREY,
    INK,
    finish,
    kind_note,
    new_figure,
    set_title,
    short_title,
)
from clipsieve.report.reading import parquet_metadata, read_tables
from clipsieve.report.transfer import envelope

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def geometry(inputs: Mapping[str, Sequence[Path]], facts: Facts) -> Figure:
    """Draw IsoScore and mean cosine of every image set before and after each selection."""
    table = read_tables("geometry", inputs["geometry"])
    shown = over_seeds(
        table, ["encoder", "image_set", "feature_set"], ["iso_score", "mean_cosine", "dimensions"]
    )
    encoders = facts.order_encoders(shown["encoder"])
    generated = [s for s in dict.fromkeys(shown["image_set"]) if s in facts.generators]
    real = [s for s in dict.fromkeys(shown["image_set"]) if s not in facts.generators]
    sets = [*real, *facts.order(generated)]
    labels = [
        f"{s} (real)" if facts.generators and s in real else short_title(facts, s, 40) for s in sets
    ]
    figure = new_figure(9.6, len(encoders) * (0.27 * len(sets) + 0.9) + 1.6)
    axes = figure.subplots(len(encoders), 2, squeeze=False, sharey=True)
    for row, encoder in zip(axes, encoders, strict=True):
        mine = shown[shown["encoder"] == encoder]
        for ax, column in zip(row, ("iso_score", "mean_cosine"), strict=True):
            _dumbbells(ax, mine, sets, column)
            ax.set_yticks(range(len(sets)), labels)
            ax.set_ylim(len(sets) - 0.4, -0.6)
        row[0].set_title(f"{facts.encoder_title(encoder)}: IsoScore (1: isotropic)")
        row[1].set_title("mean cosine of two images (0: isotropic)")
    pairs = shown.loc[shown["feature_set"] != "all", "feature_set"].nunique()
    handles = _geometry_handles()
    figure.legend(handles=handles, loc="outside upper right", ncols=3)
    finish(
        figure,
        registry.TITLES["figure6"],
        f"Small dots: one for each of {pairs} search pairs."
        + (" Averages over seeds." if table["seed"].nunique() > 1 else "")
        + f"\n{kind_note(facts, encoders)}",
    )
    return figure


def _dumbbells(ax: Axes, table: pd.DataFrame, sets: Sequence[str], column: str) -> None:
    for place, image_set in enumerate(sets):
        part = table[table["image_set"] == image_set]
        before = part.loc[part["feature_set"] == "all", column].to_numpy(dtype=float)
        after = part.loc[part["feature_set"] != "all", column].to_numpy(dtype=float)
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
    ]


def forest(inputs: Mapping[str, Sequence[Path]], facts: Facts) -> Figure:
    """Draw the mean accuracy of each feature set, and its difference to the baseline, with intervals."""
    table = read_tables("means", inputs["means"])
    table = table[(table["cells"] == "all") & (table["metric"] == "accuracy")]
    shown = envelope(table, ["encoder", "feature_set"])
    encoders = facts.order_encoders(shown["encoder"])
    if not encoders:
        raise UserError("forest: no mean accuracy over all cells in --means")
    sets = order_feature_sets(list(shown["feature_set"]))
    labels = [set_title(facts, s, 52) for s in sets]
    lines = sum(1 + label.count("\n") for label in labels)
    figure = new_figure(10.4, len(encoders) * (0.2 * lines + 0.9) + 1.6)
    axes = figure.subplots(len(encoders), 2, squeeze=False, sharey=True)
    for row, encoder in zip(axes, encoders, strict=True):
        found = {r["feature_set"]: r for r in rows_of(shown[shown["encoder"] == encoder])}
        for place, feature_set in enumerate(sets):
            if feature_set in found:
                _forest_row(row, found[feature_set], place)
        if "all" in found:
            row[0].axvline(found["all"]["value"], color=GREY, lw=0.8, ls="--", zorder=0)
        row[1].axvline(0, color=GREY, lw=0.8, ls="--", zorder=0)
        row[0].set_yticks(range(len(sets)), labels)
        for text, feature_set in zip(row[0].get_yticklabels(), sets, strict=True):
            text.set_color(GREY if family_of(feature_set) in CONTROLS else INK)
        row[0].set_ylim(len(sets) - 0.4, -0.6)
        for ax in row:
            ax.grid(axis="x", color=GREY, alpha=0.25, lw=0.5)
            ax.tick_params(axis="y", length=0)
        row[0].set_title(f"{facts.encoder_title(encoder)}: mean accuracy")
        row[1].set_title("difference to all columns, same cells")
    seeds = table["seed"].nunique()
    bars = (
        f"Averages over {seeds} seeds; bars reach over the 95 % intervals of all seeds."
        if seeds > 1
        else "Bars: 95 % intervals."
    )
    finish(
        figure,
        registry.TITLES["forest"],
        f"{bars} Full marks: the interval of the difference leaves out 0. Means of different"
        " feature sets are over\ndifferent cells: compare the right side. Grey names are controls."
        f"\n{kind_note(facts, encoders)}",
    )
    return figure


def _forest_row(axes: Sequence[Axes], row: Mapping[str, Any], place: int) -> None:
    control = family_of(row["feature_set"]) in CONTROLS
    colour = GREY if control else COLOURS[0]
    clear = bool(row["difference_low"] > 0 or row["difference_high"] < 0)
    axes[0].plot([row["low"], row["high"]], [place, place], color=colour, lw=1.4)
    axes[0].plot(row["value"], place, "o", color=colour, ms=4.5)
    if np.isfinite(row["difference"]):
        axes[1].plot(
            [row["difference_low"], row["difference_high"]], [place, place], color=colour, lw=1.4
        )
        axes[1].plot(
            *(row["difference"], place, "o"),
            color=colour,
            ms=4.5,
            mfc=colour if clear else "white",
        )


def interpretability(inputs: Mapping[str, Sequence[Path]], facts: Facts) -> Figure:
    """Draw each generator's transfer against its largest cosine to a text, with Spearman's rho."""
    table = read_tables("interpretability", inputs["interpretability"])
    if "texts" not in table.columns:
        table["texts"] = "texts"
    panels: list[tuple[str, str, int, Mapping[str, Any]]] = []
    for path in inputs["interpretability"]:
        note = parquet_metadata(path).get("spearman", {})
        part = read_tables("interpretability", [path])
        names = map(str, part["texts"]) if "texts" in part.columns else ("texts",)
        if len(part):
            first = part.iloc[0]
            panels += [
                (str(first["encoder"]), name, int(first["seed"]), note.get(name, {}))
                for name in dict.fromkeys(names)
            ]
    if not panels:
        raise UserError("interpretability: no generator in --interpretability")
    order = facts.order_encoders([p[0] for p in panels])
    panels.sort(key=lambda p: (order.index(p[0]), p[1], p[2]))
    columns = min(2, len(panels))
    lines = -(-len(panels) // columns)
    figure = new_figure(5.0 * columns + 0.6, 3.9 * lines + 1.2)
    axes = figure.subplots(lines, columns, squeeze=False).ravel()
    several = len({p[2] for p in panels}) > 1
    for ax, (encoder, texts, seed, note) in zip(axes, panels, strict=False):
        part = table[
            (table["encoder"] == encoder) & (table["texts"] == texts) & (table["seed"] == seed)
        ]
        _scatter(ax, part, facts)
        where = f", seed {seed}" if several else ""
        ax.set_title(
            f"{facts.encoder_title(encoder)}, {texts.replace('_', ' ')}{where}\n{_rho(note)}"
        )
    for ax in axes[len(panels) :]:
        ax.set_axis_off()
    families = list(dict.fromkeys(g.family for g in facts.generators.values()))
    figure.legend(handles=_family_handles(families), loc="outside upper right", ncols=4)
    encoders = [p[0] for p in panels]
    finish(figure, registry.TITLES["interpretability"], kind_note(facts, dict.fromkeys(encoders)))
    return figure


def _rho(note: Mapping[str, Any]) -> str:
    """Say Spearman's rho with its interval, p and n; the paper found it negative."""
    if note.get("rho") is None:
        return f"Spearman's ρ cannot be had from {note.get('n', 0)} generators"

    def signed(value: float) -> str:
        return f"{value:+.2f}".replace("-", MINUS)

    text = f"Spearman's ρ = {signed(note['rho'])}"
    if note.get("low") is not None:
        text += f" ({signed(note['low'])} to {signed(note['high'])})"
    p = p_value(note.get("p"))
    return f"{text}, p {p if p.startswith('<') else f'= {p}'}, n = {note.get('n')}"


def _scatter(ax: Axes, part: pd.DataFrame, facts: Facts) -> None:
    families = list(dict.fromkeys(g.family for g in facts.generators.values()))
    x, y = part["max_cosine"].to_numpy(dtype=float), part["transfer"].to_numpy(dtype=float)
    for row in rows_of(part):
        known = facts.generators.get(row["generator"])
        which = families.index(known.family) if known else len(families)
        ax.plot(
            *(row["max_cosine"], row["transfer"], "os^Dv"[which % 5]),
            color=COLOURS[which % len(COLOURS)],
            ms=6,
            mfc="white" if known and known.kind == "simulated" else COLOURS[which % len(COLOURS)],
        )
    _label_points(ax, part, x, y, facts)
    ax.margins(0.16)
    ax.set_xlabel("largest cosine to a text")
    ax.set_ylabel("mean accuracy on the others")
    ax.grid(color=GREY, alpha=0.25, lw=0.5)


def _label_points(ax: Axes, part: pd.DataFrame, x: Any, y: Any, facts: Facts) -> None:
    """Label every point on the side with more room, nudged apart from labels that are near."""
    middle = (np.nanmin(x) + np.nanmax(x)) / 2
    span_x, span_y = float(np.ptp(x)) or 1.0, float(np.ptp(y)) or 1.0
    placed: list[tuple[float, float]] = []
    for i in np.argsort(-y):
        right = x[i] <= middle
        at = y[i] / span_y
        while any(abs(at - v) < 0.045 and abs(x[i] - u) < 0.5 * span_x for u, v in placed):
            at -= 0.02
        placed.append((float(x[i]), float(at)))
        shift = (at - y[i] / span_y) * 190
        ax.annotate(
            short_title(facts, str(part["generator"].iloc[i]), 80),
            (x[i], y[i]),
            xytext=(7 if right else -7, shift),
            textcoords="offset points",
            ha="left" if right else "right",
            va="center",
            fontsize=7.2,
        )


def _family_handles(families: Sequence[str]) -> list[Any]:
    from matplotlib.lines import Line2D

    return [
        Line2D(
            *([], []),
            ls="",
            marker="os^Dv"[i % 5],
            color=COLOURS[i % len(COLOURS)],
            ms=6,
            label=family_title(family),
        )
        for i, family in enumerate(families)
    ]
