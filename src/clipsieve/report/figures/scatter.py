"""The scatter of section 5's claim: transfer against the largest cosine to a text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from clipsieve.errors import UserError
from clipsieve.report.facts import Facts, family_title
from clipsieve.report.figures.plot import COLOURS, GREY, kind_note, new_figure
from clipsieve.report.frames import over_seeds, rows_of
from clipsieve.report.html.page import number, p_value
from clipsieve.report.reading import Inputs

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MARKERS = "os^Dv"
_SIZE = (5.0, 3.9)  # inches of one panel
_FONT = 7.2  # points


def interpretability(inputs: Inputs, facts: Facts) -> tuple[Figure, str]:
    """Draw each generator's transfer against its largest cosine to a text, with Spearman's rho.

    A panel for each encoder and text list. Points are averages over seeds; rho, its interval and
    its p value are those that the files hold, one for each seed.
    """
    table = inputs["interpretability"]
    if not len(table):
        raise UserError("interpretability: no generator in --interpretability")
    if "texts" not in table.columns:
        table["texts"] = "texts"
    table = table[table["tuned"].astype(bool)] if "tuned" in table.columns else table
    notes: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for note in inputs.notes("interpretability"):
        for texts, found in note.get("spearman", {}).items():
            within = note.get("within_families", {}).get(texts, {})
            sweep = note.get("sweep", {}).get(texts, [])
            notes.setdefault((str(note.get("encoder", "")), texts), []).append(
                {**found, "within": within, "sweep": sweep}
            )
    shown = over_seeds(table, ["encoder", "texts", "generator"], ["transfer", "max_cosine"])
    panels = [
        (encoder, str(texts))
        for encoder in facts.order_encoders(shown["encoder"])
        for texts in dict.fromkeys(shown.loc[shown["encoder"] == encoder, "texts"])
    ]
    columns = min(2, len(panels))
    lines = -(-len(panels) // columns)
    figure = new_figure(_SIZE[0] * columns + 1.8, _SIZE[1] * lines + 1.2)
    axes = figure.subplots(lines, columns, squeeze=False).ravel()
    families = list(dict.fromkeys(g.family for g in facts.generators.values()))
    for ax, (encoder, texts) in zip(axes, panels, strict=False):
        _scatter(
            ax, shown[(shown["encoder"] == encoder) & (shown["texts"] == texts)], facts, families
        )
        ax.set_title(
            f"{facts.encoder_title(encoder)}, {texts.replace('_', ' ')}\n"
            f"{_rho(notes.get((encoder, texts), []))}"
        )
    for ax in axes[len(panels) :]:
        ax.set_axis_off()
    if families:
        figure.legend(handles=_family_handles(families), loc="outside upper right", ncols=4)
    seeds = table["seed"].nunique()
    return figure, (
        (
            "Hollow: simulated. "
            if any(g.kind == "simulated" for g in facts.generators.values())
            else ""
        )
        + (f"Points: averages over {seeds} seeds." if seeds > 1 else "")
        + "\nTwo confounders: the penalty that each probe was tuned to (ρ at one C for all beside it), and"
        " families\nthat differ on both sides (ρ within families). Generators share real images: p errs low."
        + f"\n{kind_note(facts, [p[0] for p in panels])}"
    )


def _rho(notes: Sequence[Mapping[str, Any]]) -> str:
    """Say Spearman's rho with its interval, p and n; for several seeds each one's rho."""
    known = [n for n in notes if n.get("rho") is not None]
    if not known:
        return f"Spearman's ρ cannot be had from {notes[0].get('n', 0) if notes else 0} generators"
    first = known[0]
    if len(known) > 1:
        listed = ", ".join(number(n["rho"], 2, sign=True) for n in known)
        return f"Spearman's ρ by seed {listed}; n = {first.get('n')}"
    text = f"Spearman's ρ = {number(first['rho'], 2, sign=True)}"
    if first.get("low") is not None:
        text += f" ({number(first['low'], 2, sign=True)} to {number(first['high'], 2, sign=True)})"
    p = p_value(first.get("p"))
    text = f"{text}, p {p if p.startswith('<') else f'= {p}'}, n = {first.get('n')}"
    return "\n".join([text, *_confounders(first)])


def _confounders(note: Mapping[str, Any]) -> list[str]:
    """Say rho within families, and its range where all generators have the same C."""
    lines = []
    within = note.get("within") or {}
    if within.get("rho") is not None:
        p = p_value(within["p"])
        lines.append(
            f"within families ρ = {number(within['rho'], 2, sign=True)},"
            f" p {p if p.startswith('<') else f'= {p}'}"
        )
    fixed = [one["rho"] for one in note.get("sweep") or [] if one.get("rho") is not None]
    if fixed:
        lines.append(
            f"one C for all: ρ from {number(min(fixed), 2, sign=True)}"
            f" to {number(max(fixed), 2, sign=True)}"
        )
    return lines


def _scatter(ax: Axes, part: pd.DataFrame, facts: Facts, families: Sequence[str]) -> None:
    for row in rows_of(part):
        known = facts.generators.get(row["generator"])
        which = families.index(known.family) if known else len(families)
        colour = COLOURS[which % len(COLOURS)]
        ax.plot(
            *(row["max_cosine"], row["transfer"], _MARKERS[which % len(_MARKERS)]),
            color=colour,
            ms=6,
            mfc="white" if known and known.kind == "simulated" else colour,
        )
    ax.margins(0.2)
    points = part[["max_cosine", "transfer"]].to_numpy(dtype=float)
    titles = [facts.title(str(g)) for g in part["generator"]]
    whole = np.isfinite(points).all(axis=1)
    _label_points(ax, points[whole], [t for t, w in zip(titles, whole, strict=True) if w])
    ax.set_xlabel("largest cosine to a text")
    ax.set_ylabel("mean accuracy on the others")
    ax.grid(color=GREY, alpha=0.25, lw=0.5)


def _label_points(ax: Axes, points: np.ndarray, titles: Sequence[str]) -> None:
    """Label every point where its label meets the fewest points and labels; far ones get a line."""
    if not len(points):
        return
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    # About how large the panel is in points, without its labels.
    size = np.array([72 * (_SIZE[0] - 0.9), 72 * (_SIZE[1] - 1.1)])
    at = (points - [left, bottom]) / [right - left, top - bottom] * size
    boxes: list[tuple[float, float, float, float]] = [(x - 4, y - 4, x + 4, y + 4) for x, y in at]
    for (x, y), point, title in zip(at, points, titles, strict=True):
        width, height = 0.56 * _FONT * len(title), 1.25 * _FONT
        best: tuple[float, float, float, tuple[float, float, float, float]] | None = None
        for far in (7, 14, 22, 32, 44):
            for turn in (0, 180, 90, 270, 35, 145, 215, 325):
                dx, dy = far * np.cos(np.radians(turn)), far * np.sin(np.radians(turn))
                edge = x + dx - (width if dx < -1 else 0 if dx > 1 else width / 2)
                box = (edge, y + dy - height / 2, edge + width, y + dy + height / 2)
                cost = sum(_overlap(box, other) for other in boxes) + 0.6 * far
                cost += 8 * (max(0.0, -box[0]) + max(0.0, box[2] - size[0]))
                cost += 8 * (max(0.0, -box[1]) + max(0.0, box[3] - size[1]))
                if best is None or cost < best[0] - 1e-9:
                    best = (cost, dx, dy, box)
        assert best is not None  # the loops above run at least once
        boxes.append(best[3])
        dx, dy = best[1], best[2]
        ax.annotate(
            title,
            (float(point[0]), float(point[1])),
            xytext=(dx, dy),
            textcoords="offset points",
            ha="right" if dx < -1 else "left" if dx > 1 else "center",
            va="center",
            fontsize=_FONT,
            arrowprops={"arrowstyle": "-", "color": GREY, "lw": 0.5, "shrinkA": 0, "shrinkB": 3}
            if np.hypot(dx, dy) > 12
            else None,
        )


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> float:
    """Return the area that two boxes (left, bottom, right, top) share."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    return max(0.0, width) * max(0.0, height)


def _family_handles(families: Sequence[str]) -> list[Any]:
    from matplotlib.lines import Line2D

    return [
        Line2D(
            *([], []),
            ls="",
            marker=_MARKERS[i % len(_MARKERS)],
            color=COLOURS[i % len(COLOURS)],
            ms=6,
            label=family_title(family),
        )
        for i, family in enumerate(families)
    ]
