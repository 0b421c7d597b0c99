"""The one look of all figures, and how they are written: the same bytes for the same figure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipsieve.report.facts import Facts

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart with any common colour blindness; black is left to text.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F")
GREY = "#8a929b"
INK = "#20262c"

_STYLE: Any = {
    "svg.hashsalt": "clipsieve",
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Helvetica", "Arial", "sans-serif"],
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}


@contextmanager
def style() -> Iterator[None]:
    """Hold the look of the figures for a block; global settings are put back after it."""
    import matplotlib

    matplotlib.use("Agg")
    with matplotlib.rc_context(_STYLE):
        yield


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of a size in inches that makes room for its labels."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a figure as SVG, PDF or PNG by its suffix, without a date; nothing is cut off."""
    metadata: dict[str, Any] = {
        ".svg": {"Date": None},
        ".pdf": {"CreationDate": None},
        ".png": {"Software": None},
    }[path.suffix]
    figure.savefig(
        path,
        dpi=200,
        bbox_inches="tight",
        pad_inches=0.12,
        format=path.suffix[1:],
        metadata=metadata,
    )


def short_title(facts: Facts, generator: str, width: int = 24) -> str:
    """Return a generator's title for an axis, wrapped; `(sim.)` marks a simulated one."""
    known = facts.generators.get(generator)
    mark = " (sim.)" if known is not None and known.kind == "simulated" else ""
    return "\n".join(textwrap.wrap(facts.title(generator) + mark, width))


def set_title(facts: Facts, feature_set: str, width: int = 44) -> str:
    """Return a feature set's title for an axis, wrapped."""
    return "\n".join(textwrap.wrap(facts.feature_set_title(feature_set), width))


def kind_note(facts: Facts, encoders: Iterable[str] = ()) -> str:
    """Return the line below a figure: what is simulated, whose weights are random."""
    from clipsieve.report.html.page import kind_line

    lines = [kind_line(facts)]
    if any(g.kind == "simulated" for g in facts.generators.values()):
        lines[0] += " (sim.): simulated."
    random = [
        facts.encoders[e].title
        for e in encoders
        if e in facts.encoders and facts.encoders[e].random
    ]
    lines += [f"{title} has random weights: its values mean nothing." for title in random]
    return "\n".join(line for line in lines if line)


def finish(figure: Figure, title: str, note: str) -> None:
    """Put the title above and the note below all panels, no line wider than the figure."""
    inches = figure.get_figwidth() - 0.2
    title = textwrap.fill(title, int(inches * 72 / (12 * 0.68)))
    figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
    if note:
        width = int(inches * 72 / (8.5 * 0.6))
        note = "\n".join(textwrap.fill(line, width) for line in note.split("\n"))
        figure.supxlabel(note, x=0.01, ha="left", fontsize=8.5, color="#59626c")
