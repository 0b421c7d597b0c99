"""Transfer by layer: how well a probe on the token after each block does on other generators."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clipsieve.report.facts import Facts
from clipsieve.report.figures.plot import COLOURS, GREY, INK, kind_note, new_figure
from clipsieve.report.reading import Inputs

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

METRIC = "auc"


def transfer_by_layer(inputs: Inputs, facts: Facts) -> tuple[Figure, str]:
    """Draw the mean AUC over ordered pairs of generators against the layer, a panel an encoder."""
    table = inputs["layer_rankings"]
    encoders = facts.order_encoders(table["encoder"])
    columns = min(len(encoders), 3)
    lines = -(-len(encoders) // columns)
    figure = new_figure((3.6 if columns > 1 else 5.6) * columns + 0.8, 3.0 * lines + 1.4)
    axes = figure.subplots(lines, columns, squeeze=False, sharey=True).ravel()
    for ax, encoder in zip(axes, encoders, strict=False):
        _panel(ax, table[table["encoder"] == encoder])
        ax.set_title(facts.encoder_title(encoder))
    for ax in axes[len(encoders) :]:
        ax.set_axis_off()
    axes[0].set_ylabel("mean AUC on other generators")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper")
    pairs = len(table[["train", "val"]].drop_duplicates())
    return figure, (
        f"Means over {pairs} ordered pairs of generators"
        + (" and over seeds" if table["seed"].nunique() > 1 else "")
        + ". Trained on train images of the one, scored on train and val images of the other;\n"
        "no test image is read, so that a layer can be chosen from this figure.\n"
        f"{kind_note(facts, encoders)}"
    )


def by_layer(table: pd.DataFrame) -> pd.DataFrame:
    """Return mean and lowest AUC of every layer over the generators scored on.

    Parameters
    ----------
    table
        Layer rankings of one encoder: columns `val`, `layer`, `auc`.

    Returns
    -------
    pandas.DataFrame
        One row a layer, in order (-1, the final embedding, first): `layer`, `mean` over ordered
        pairs, `lowest` and `highest` mean of a generator scored on.
    """
    by_val = table.groupby(["layer", "val"])[METRIC].mean()
    found = table.groupby("layer")[METRIC].mean().rename("mean").to_frame()
    found["lowest"] = by_val.groupby("layer").min()
    found["highest"] = by_val.groupby("layer").max()
    return found.reset_index()


def _panel(ax: Axes, table: pd.DataFrame) -> None:
    found = by_layer(table)
    final = found[found["layer"] < 0]
    found = found[found["layer"] >= 0]
    x = found["layer"] + 1
    ax.fill_between(
        x, found["lowest"], found["highest"], color=COLOURS[0], alpha=0.15, lw=0,
        label="lowest to highest\ngenerator scored on",
    )  # fmt: skip
    ax.plot(x, found["mean"], "o-", color=COLOURS[0], ms=4, label="token after the block")
    for value in final["mean"]:
        ax.axhline(value, color=INK, ls="--", lw=1, label="final embedding")
    ax.axhline(0.5, color=GREY, lw=0.8)
    ax.set_xlabel("block (its layer, counted from 0, plus 1)")
    ax.set_xlim(0.5, len(found) + 0.5)
