"""Figures 2, 3 and 4 (transfer before and after selection), and the map of known edits."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from clipsieve import families
from clipsieve.errors import UserError
from clipsieve.report.facts import Facts
from clipsieve.report.figures.plot import kind_note, new_figure, short_title
from clipsieve.report.frames import over_seeds, rows_of
from clipsieve.report.html.page import number
from clipsieve.report.reading import Inputs

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

_LOW, _HIGH = 0.5, 1.0  # chance to perfect; what is below chance takes the darkest colour


def before_and_after(inputs: Inputs, facts: Facts, pair: str | None = None) -> tuple[Figure, str]:
    """Draw the transfer matrices before and after selection, a row an encoder.

    Parameters
    ----------
    inputs
        `cells`: all seeds and encoders; accuracy is averaged over seeds. The record names the two
        families of feature sets, before and after.
    facts
        Titles and kinds.
    pair
        The search pair `a--b` on the right; by default the first one of the files, as the paper
        shows one typical pair. Generators given up to it are greyed.

    Raises
    ------
    UserError
        Where no selection is in the files, or none of `pair`.
    """
    before, after = inputs.result.families
    cells = inputs["cells"]
    cells = cells[(cells["metric"] == "accuracy") & (cells["draw"] == 0)]
    selected = [f for f in dict.fromkeys(cells["feature_set"]) if families.family_of(f) == after]
    if pair is not None:
        selected = [
            f
            for f in selected
            if families.unordered(families.pair_of(f)) == families.unordered(pair)
        ]
    if not selected:
        wanted = families.feature_set_id(after, pair or "..")
        raise UserError(f"{inputs.result.name}: no feature set {wanted} in --cells")
    chosen = selected[0]
    shown = over_seeds(cells, ["encoder", "feature_set", "train", "test"], ["value", "n"])
    encoders = facts.order_encoders(shown["encoder"])
    everyone = facts.order([*shown["train"], *shown["test"]])
    side = max(3.9, 0.36 * len(everyone))
    figure = new_figure(2 * side + 3.6, (side + 1.1) * len(encoders) + 2.2)
    axes = figure.subplots(len(encoders), 2, squeeze=False, sharex=True, sharey=True)
    image = None
    for row, encoder in zip(axes, encoders, strict=True):
        mine = shown[shown["encoder"] == encoder]
        left = _square(mine[mine["feature_set"] == before], everyone)
        right = _square(mine[mine["feature_set"] == chosen], everyone)
        off = ~np.eye(len(everyone), dtype=bool)
        same = off & np.isfinite(right) & np.isfinite(left)
        given = _given(chosen, everyone)
        title = facts.encoder_title(encoder)
        _draw(row[0], left, everyone, facts, None)
        row[0].set_title(
            f"{title}: {facts.feature_set_title(before)}\n"
            f"mean {_percent(left, off & np.isfinite(left))}\n"
            f"over the cells on the right {_percent(left, same)}"
        )
        image = _draw(row[1], right, everyone, facts, given)
        pair_lines = textwrap.wrap(facts.pair_title(families.pair_of(chosen)), int(12 * side))
        row[1].set_title(
            "\n".join(
                [
                    f"{facts.feature_set_title(families.family_of(chosen))}, selected on",
                    *pair_lines[:2],
                    f"mean {_percent(right, same)}",
                ]
            )
        )
        row[0].set_ylabel("trained on")
    for ax in axes[-1]:
        ax.set_xlabel("tested on")
    if image is not None:
        bar = figure.colorbar(image, ax=axes, shrink=0.5, pad=0.01, aspect=30, extend="min")
        bar.set_label("accuracy, %")
        ticks = np.arange(_LOW, _HIGH + 0.01, 0.1)
        bar.ax.set_yticks(ticks, [f"{100 * v:.0f}" for v in ticks])
        bar.outline.set_visible(False)
    seeds = cells["seed"].nunique()
    n = sorted({int(v) for v in shown["n"]})
    images = f"{n[0]}" if len(n) == 1 else f"{n[0]} to {n[-1]}"
    return figure, (
        f"Means are over the cells off the diagonal (outlined). {images} test images a cell"
        + (f", averages over {seeds} seeds" if seeds > 1 else "")
        + f". Grey: used for the selection.\n{kind_note(facts, encoders)}"
    )


def _square(table: pd.DataFrame, everyone: Sequence[str]) -> NDArray[np.float64]:
    place = {g: i for i, g in enumerate(everyone)}
    square = np.full((len(everyone), len(everyone)), np.nan)
    for row in rows_of(table):
        square[place[row["train"]], place[row["test"]]] = row["value"]
    return square


def _given(feature_set: str, everyone: Sequence[str]) -> NDArray[np.bool_]:
    out = np.isin(list(everyone), families.generators_of(families.pair_of(feature_set)))
    return out[:, None] | out[None, :]


def _percent(square: NDArray[np.float64], where: NDArray[np.bool_]) -> str:
    if not where.any():
        return "–"
    return f"{100 * square[where].mean():.2f} % ({int(where.sum())} cells)"


def _draw(
    ax: Axes,
    square: NDArray[np.float64],
    everyone: Sequence[str],
    facts: Facts,
    given: NDArray[np.bool_] | None,
) -> Any:
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Rectangle

    if given is not None:
        grey = np.where(given & ~np.isfinite(square), 0.0, np.nan)
        ax.imshow(grey, cmap=ListedColormap(["#d3d7db"]), vmin=0, vmax=1)
    image = ax.imshow(square, cmap="cividis", vmin=_LOW, vmax=_HIGH)
    labels = [short_title(facts, g, 99) for g in everyone]
    ax.set_xticks(range(len(everyone)), labels, rotation=55, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(len(everyone)), labels)
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)
    for (i, j), value in np.ndenumerate(square):
        if np.isfinite(value):
            ax.text(
                *(j, i, f"{100 * value:.0f}"),
                ha="center",
                va="center",
                fontsize=8,
                color="black" if value > 0.76 else "white",
                in_layout=False,
            )
        if i == j and np.isfinite(value):
            ax.add_patch(
                Rectangle(
                    (j - 0.46, i - 0.46), 0.92, 0.92, fill=False, lw=0.8, ec="#f4f4f4", ls="--"
                )
            )
    return image


def concepts(inputs: Inputs, facts: Facts) -> tuple[Figure, str]:
    """Draw the cosine of every probe, residual and head with every known edit.

    Cosines above their null are printed in full ink, the others in grey; averages over seeds,
    which count as above the null where they are under most seeds.
    """
    table = inputs["concepts"]
    table = table[
        (table["kind"] == "head") | table["feature_set"].isin(families.EXPLAINED_WHOLE)
    ].assign(above=lambda t: t["above_null"].astype(float))
    shown = over_seeds(
        table, ["encoder", "kind", "feature_set", "direction", "edit"], ["cosine", "above"]
    )
    encoders = facts.order_encoders(shown["encoder"])
    edits = list(dict.fromkeys(shown["edit"]))
    panels = [
        (encoder, kind)
        for encoder in encoders
        for kind in ("probe", "residual", "head")
        if ((shown["encoder"] == encoder) & (shown["kind"] == kind)).any()
    ]
    if not panels:
        raise UserError("concepts: no direction in --concepts")
    rows = {
        p: _directions(shown[(shown["encoder"] == p[0]) & (shown["kind"] == p[1])], facts)
        for p in panels
    }
    heights = [0.27 * len(rows[p]) + 0.5 for p in panels]
    figure = new_figure(max(9.0, 0.62 * len(edits) + 4.6), sum(heights) + 2.2)
    axes = figure.subplots(len(panels), 1, squeeze=False, sharex=True, height_ratios=heights)[:, 0]
    top = max(0.05, float(shown["cosine"].abs().max()))
    image: Any = None
    for ax, panel in zip(axes, panels, strict=True):
        image = _edit_panel(ax, shown, panel, rows[panel], edits, top)
        ax.set_title(f"{facts.encoder_title(panel[0])}: {_KIND_WORDS[panel[1]]}")
    bar = figure.colorbar(image, ax=list(axes), shrink=0.5, pad=0.015, aspect=30)
    bar.set_label("cosine")
    bar.outline.set_visible(False)
    return figure, (
        "Positive: to this direction the edit makes real images look more generated. Bold: above"
        " what a meaningless\ndirection reaches with any of these edits; plain: not.\n"
        + kind_note(facts, encoders)
    )


_KIND_WORDS = {"probe": "probes on all columns", "residual": "residuals", "head": "selected heads"}


def _directions(part: pd.DataFrame, facts: Facts) -> list[tuple[tuple[str, str], str]]:
    """Return the rows of one panel: (direction, feature set) and the label."""
    if (part["kind"] == "head").all():
        keys = dict.fromkeys(zip(part["direction"], part["feature_set"], strict=True))
        return [
            (
                key,
                f"({key[0][1:].replace('_h', ', ')}) {facts.pair_title(families.pair_of(key[1]), ' → ')}",
            )
            for key in keys
        ]
    sets = dict(zip(part["direction"], part["feature_set"], strict=True))
    return [((g, sets[g]), short_title(facts, g, 60)) for g in facts.order(sets)]


def _edit_panel(
    ax: Axes,
    shown: pd.DataFrame,
    panel: tuple[str, str],
    rows: Sequence[tuple[tuple[str, str], str]],
    edits: Sequence[str],
    top: float,
) -> Any:
    part = shown[(shown["encoder"] == panel[0]) & (shown["kind"] == panel[1])]
    found = {(r["direction"], r["feature_set"], r["edit"]): r for r in rows_of(part)}
    square = np.full((len(rows), len(edits)), np.nan)
    for i, (key, _) in enumerate(rows):
        for j, edit in enumerate(edits):
            cell = found.get((*key, edit))
            if cell is None:
                continue
            value = square[i, j] = cell["cosine"]
            above = cell["above"] > 0.5
            dark = abs(value) > 0.62 * top
            inks = ("white", "black") if above else ("#e9e2d8", "#6f767d")
            ax.text(
                *(j, i, number(value, 2, sign=True)),
                ha="center",
                va="center",
                fontsize=7.5,
                fontweight="bold" if above else "normal",
                in_layout=False,
                color=inks[0] if dark else inks[1],
            )
    image = ax.imshow(square, cmap="PuOr_r", vmin=-top, vmax=top, aspect="auto")
    ax.set_yticks(range(len(rows)), [label for _, label in rows])
    labels = [e.replace("_", " ") for e in edits]
    ax.set_xticks(range(len(edits)), labels, rotation=40, ha="right", rotation_mode="anchor")
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)
    return image
