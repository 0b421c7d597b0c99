"""Build a figure by its name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from clipsieve.errors import UserError
from clipsieve.report import registry
from clipsieve.report.facts import Facts
from clipsieve.report.tables.build import complete

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HEATMAPS = ("figure2", "figure3", "figure4")


def build_figure(
    name: str, inputs: Mapping[str, Sequence[Path]], facts: Facts, *, pair: str | None = None
) -> Figure:
    """Build one figure; call it within `plot.style()`, and save it there with `plot.save`.

    Parameters
    ----------
    name
        A key of `registry.FIGURES`.
    inputs
        Files by input name.
    facts
        Titles, families and kinds of the run's generators and encoders.
    pair
        For figures 2, 3 and 4: the search pair `a--b` to show (default: the first).

    Raises
    ------
    UserError
        For an unknown name, an input that is missing, or a file that cannot be read.
    """
    from clipsieve.report.figures import curves, heatmaps, points, scatter

    if name not in registry.FIGURES:
        raise UserError(f"no figure {name!r}; one of: {', '.join(registry.FIGURES)}")
    needed = complete(name, registry.FIGURES[name], inputs)
    if name in HEATMAPS:
        return heatmaps.heatmap_pair(name, needed, facts, pair)
    builders = {
        "figure5": partial(curves.search_curves, needed),
        "figure6": partial(points.geometry, needed),
        "forest": partial(points.forest, needed),
        "concepts": partial(heatmaps.concepts, needed),
        "robustness": partial(curves.robustness_curves, needed),
        "interpretability": partial(scatter.interpretability, needed),
    }
    return builders[name](facts)
