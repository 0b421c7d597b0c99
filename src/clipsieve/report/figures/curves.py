"""Figure 5 (score against components removed) and the curves under perturbations."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from clipsieve import families
from clipsieve.errors import UserError
from clipsieve.report.facts import Facts, metric_title
from clipsieve.report.figures.plot import (
    COLOURS,
    GREY,
    kind_note,
    new_figure,
    set_title,
    short_title,
)
from clipsieve.report.frames import order_feature_sets, over_seeds
from clipsieve.report.reading import Inputs
from clipsieve.report.tables.robustness import with_levels

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def search_curves(inputs: Inputs, facts: Facts) -> tuple[Figure, str]:
    """Draw the score of every search against the components removed, a panel a pair.

    Both directions of a pair stand in one panel; the four stopping points (alpha) are marked.
    Several seeds are several thin lines of one colour.
    """
    table = inputs["searches"]
    table = table.assign(direction=table["train"] + "--" + table["val"])
    notes = {
        (note.get("encoder", ""), note.get("seed", 0), f"{note['train']}--{note['val']}"): note
        for note in inputs.notes("searches")
    }
    encoders = facts.order_encoders(table["encoder"])
    pairs = _pairs(list(table["direction"]))
    columns = min(len(pairs), 3)
    lines_each = -(-len(pairs) // columns)
    width = 3.6 if columns > 1 else 5.6
    figure = new_figure(width * columns + 0.8, 2.7 * lines_each * len(encoders) + 1.4)
    axes = figure.subplots(lines_each * len(encoders), columns, squeeze=False)
    for e, encoder in enumerate(encoders):
        mine = table[table["encoder"] == encoder]
        block = axes[e * lines_each : (e + 1) * lines_each].ravel()
        for ax, directions in zip(block, pairs, strict=False):
            _pair_panel(ax, mine, encoder, directions, notes, facts)
        for ax in block[len(pairs) :]:
            ax.set_axis_off()
        legend = block[0].get_legend()
        above = sum(1 + t.get_text().count("\n") for t in legend.get_texts()) if legend else 0
        block[0].set_title(facts.encoder_title(encoder), fontweight="bold", pad=10 + 11 * above)
    seeds = table["seed"].nunique()
    return figure, (
        "Marks are the places to stop (α): "
        + ", ".join(f"{sign} {what}" for sign, what in zip("●■▲◆", _STOPS.values(), strict=True))
        + ". The components left at the one chosen are kept, those of both directions together."
        + (f" {seeds} seeds, a line each." if seeds > 1 else "")
        + f"\n{kind_note(facts, encoders)}"
    )


_STOPS = {
    "first": "first maximum",
    "log_loss": "least log-loss",
    "last": "last maximum",
    "one_se": "smallest set within one standard error of the best",
}
_MARKS = dict(zip(_STOPS, "os^D", strict=True))


def _pairs(stems: Sequence[str]) -> list[list[str]]:
    """Return the directions by unordered pair, in the order of appearance."""
    groups: dict[frozenset[str], list[str]] = {}
    for stem in dict.fromkeys(stems):
        groups.setdefault(families.unordered(stem), []).append(stem)
    return list(groups.values())


def _pair_panel(
    ax: Axes,
    table: pd.DataFrame,
    encoder: str,
    directions: Sequence[str],
    notes: Mapping[tuple[str, int, str], Mapping[str, Any]],
    facts: Facts,
) -> None:
    for colour, stem in zip(COLOURS, directions, strict=False):
        alphas = []
        lines = []
        for seed, steps in table[table["direction"] == stem].groupby("seed"):
            steps = steps.sort_values("step")
            note = notes[encoder, int(str(seed)), stem]
            x, y = steps["step"].to_numpy(), steps["score"].to_numpy(dtype=float)
            x, y = np.r_[0, x], np.r_[float(note["initial_score"]), y]
            lines += ax.plot(x, y, color=colour, lw=1.1)
            stops = {alpha: int(note["stops"][alpha]["step"]) for alpha in _STOPS}
            for alpha, step in stops.items():
                ax.plot(
                    x[step], y[step], _MARKS[alpha],
                    color=colour, ms=5, mec="white", mew=0.6, zorder=4,
                )  # fmt: skip
            alphas.append("/".join(str(step) for step in stops.values()))
        if lines:
            title = " → ".join(short_title(facts, g, 60) for g in families.generators_of(stem))
            wrapped = textwrap.fill(f"{title} (α = {', '.join(alphas)})", 58)
            lines[0].set_label(wrapped)
    ax.margins(y=0.16)
    ax.set_xlabel("components removed")
    ax.set_ylabel("score on the other")
    ax.legend(
        loc="lower left",
        bbox_to_anchor=(-0.02, 0.99),
        fontsize=7.2,
        handlelength=1.2,
        borderpad=0,
        labelspacing=0.2,
    )


def robustness_curves(inputs: Inputs, facts: Facts) -> tuple[Figure, str]:
    """Draw each metric against the strength of each perturbation, a line a feature set."""
    table = with_levels(inputs["robustness"])
    encoders = facts.order_encoders(table["encoder"])
    metrics = list(dict.fromkeys(table["metric"]))
    # A panel a sort of edit; the untouched images are the first point of each.
    perturbations = [p for p in dict.fromkeys(table["family"]) if p != "none"]
    if not perturbations:
        raise UserError("robustness: no perturbation in --robustness")
    shown = over_seeds(
        table,
        ["encoder", "feature_set", "family", "label", "metric"],
        ["value", "low", "high", "n"],
    )
    looks = _looks(order_feature_sets(list(shown["feature_set"])))
    grid = [(encoder, metric) for encoder in encoders for metric in metrics]
    figure = new_figure(max(5.0, 2.05 * len(perturbations)) + 3.4, 1.75 * len(grid) + 1.8)
    axes = figure.subplots(len(grid), len(perturbations), squeeze=False, sharey="row", sharex="col")
    for row, (encoder, metric) in zip(axes, grid, strict=True):
        mine = shown[(shown["encoder"] == encoder) & (shown["metric"] == metric)]
        for ax, perturbation in zip(row, perturbations, strict=True):
            for look in looks:
                for feature_set in look.sets:
                    part = mine[mine["feature_set"] == feature_set]
                    _curve(ax, part, perturbation, look, faint=len(look.sets) > 1)
                if len(look.sets) > 1:
                    _curve(ax, _average(mine, look), perturbation, look, faint=None)
            ax.grid(axis="y", color=GREY, alpha=0.25, lw=0.5)
        row[0].set_ylabel(textwrap.fill(metric_title(metric), 20), fontsize=8)
        if metric == metrics[0]:
            row[0].annotate(
                facts.encoder_title(encoder),
                *((0, 1), (0, 20)),
                xycoords="axes fraction",
                textcoords="offset points",
                fontweight="bold",
            )
    for ax, perturbation in zip(axes[0], perturbations, strict=True):
        ax.set_title(perturbation.replace("_", " "))
    for ax, perturbation in zip(axes[-1], perturbations, strict=True):
        levels = _levels(shown, perturbation)
        ax.set_xticks(range(len(levels) + 1), ["none", *levels], rotation=45)
    figure.legend(handles=_handles(looks, facts), loc="outside upper right", ncols=4, fontsize=7.5)
    n = sorted({int(v) for v in shown["n"].dropna()})
    level = f"{100 * inputs.confidence:g} %"
    return figure, (
        f"Bands: {level} intervals{', averages over seeds' if table['seed'].nunique() > 1 else ''}."
        f"{_FAMILY_NOTE if any(len(look.sets) > 1 for look in looks) else ''}"
        f" n {n[0] if n else 0}{f' to {n[-1]}' if len(n) > 1 else ''} images."
        f" Stronger to the right.\n{kind_note(facts, encoders)}"
    )


def _levels(shown: pd.DataFrame, perturbation: str) -> list[str]:
    """Return the labels of a sort of edit from weak to strong."""
    return list(dict.fromkeys(shown.loc[shown["family"] == perturbation, "label"]))


@dataclass(frozen=True)
class _Look:
    """How a feature set is drawn, or a whole family of them (`sets` are its selections)."""

    name: str
    sets: tuple[str, ...]
    colour: str
    dash: str


_MOST_LINES = 7
_FAMILY_NOTE = " Bold lines without a band: averages over a family's selections, which are faint."


def _looks(sets: Sequence[str]) -> list[_Look]:
    """Give each feature set a line; with more than seven of them, each family one."""
    groups: dict[str, list[str]] = {}
    for feature_set in sets:
        several = len(sets) > _MOST_LINES
        groups.setdefault(families.family_of(feature_set) if several else feature_set, []).append(
            feature_set
        )
    return [
        _Look(
            members[0] if len(members) == 1 else name,
            tuple(members),
            COLOURS[i % len(COLOURS)],
            ("-", "--", ":")[i // len(COLOURS) % 3],
        )
        for i, (name, members) in enumerate(groups.items())
    ]


def _average(mine: pd.DataFrame, look: _Look) -> pd.DataFrame:
    """Average the selections of a family at every perturbation."""
    part = mine[mine["feature_set"].isin(look.sets)]
    return (
        part.groupby(["family", "label"], sort=False)[["value", "low", "high"]].mean().reset_index()
    )


def _curve(
    ax: Axes, part: pd.DataFrame, perturbation: str, look: _Look, *, faint: bool | None
) -> None:
    """Draw one line: with its band, `faint` without, or (None) bold without."""
    chosen = part[part["family"] == perturbation]
    if not len(chosen):
        return
    start = part[part["family"] == "none"]
    place = {label: i + 1 for i, label in enumerate(_levels(part, perturbation))}
    x = [0] * min(1, len(start)) + [place[v] for v in chosen["label"]]

    def column(name: str) -> list[float]:
        return [*start[name].head(1).astype(float), *chosen[name].astype(float)]

    if faint:
        ax.plot(x, column("value"), color=look.colour, ls=look.dash, lw=0.5, alpha=0.4)
        return
    if faint is False:
        ax.fill_between(x, column("low"), column("high"), color=look.colour, alpha=0.12, lw=0)
    ax.plot(x, column("value"), color=look.colour, ls=look.dash, lw=1.3, marker="o", ms=2.5)


def _handles(looks: Sequence[_Look], facts: Facts) -> list[object]:
    from matplotlib.lines import Line2D

    return [
        Line2D(
            *([], []),
            color=look.colour,
            ls=look.dash,
            lw=1.4,
            label=set_title(facts, look.name, 34)
            + (f", {len(look.sets)} selections" if len(look.sets) > 1 else ""),
        )
        for look in looks
    ]
