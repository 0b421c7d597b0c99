"""How often images are generated where detectors say so with some probability."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from clipsieve.report.figures.plot import COLOURS, GREY, new_figure, style

if TYPE_CHECKING:
    from pathlib import Path


def write_reliability(path: Path, curves: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Draw calibration curves: share of generated images over P(generated), by detector.

    Parameters
    ----------
    path
        SVG or PNG.
    curves
        Detector -> bins with `probability`, `share` and `n`; larger points have more images.
    """
    from clipsieve.report.figures.plot import save

    with style():
        figure = new_figure(5.2, 4.6)
        axes = figure.add_subplot()
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, zorder=1)
        for k, (name, bins) in enumerate(curves.items()):
            colour = COLOURS[k % len(COLOURS)]
            x = [one["probability"] for one in bins]
            y = [one["share"] for one in bins]
            most = max((one["n"] for one in bins), default=1)
            sizes = [8 + 80 * one["n"] / most for one in bins]
            axes.plot(x, y, color=colour, linewidth=1.2, label=name, zorder=2)
            axes.scatter(x, y, s=sizes, color=colour, zorder=3)
        axes.set(
            xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel="P(generated) as the detector says",
            ylabel="share of generated images",
        )  # fmt: skip
        axes.set_title("Calibration; on the grey line, the detector is right about itself")
        axes.legend(loc="upper left")
        save(figure, path)
