"""The page of where transfer is lost: threshold, direction or source, for each cell, and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clipsieve import families
from clipsieve.io.training import ONE
from clipsieve.report.facts import Facts
from clipsieve.report.frames import leading, rows_of, with_kinds
from clipsieve.report.html.page import Cell, Content, Section, Table, generator_cell, number
from clipsieve.report.reading import Inputs

if TYPE_CHECKING:
    import pandas as pd

#: A smaller part of a loss is not worth a word: with 100 test images of a class it is noise.
WORTH = 0.02
_COLUMNS = (
    *("run", "encoder", "seed", "train", "test", "own", "attainable", "balanced_accuracy", "auc"),
    *("loss", "threshold", "direction", "source", "rest", "largest"),
)
_KEYS = ["run", "encoder", "seed", "train", "test"]
#: The projection whose gain is the source's part: the first method that is made from real images alone.
PROJECTION = next(name for name in families.METHODS if families.get(name).reads == ("reals",))


def losses_page(inputs: Inputs, facts: Facts) -> tuple[Content, pd.DataFrame]:
    """Build the page of losses, one row for each tested generator and then each cell."""
    table = losses(inputs["cells"])
    source_of = _sources(inputs["manifest"]) if "manifest" in inputs else {}
    sections = []
    for encoder in facts.order_encoders(table["encoder"]):
        mine = table[table["encoder"] == encoder]
        numbers = ["own", "balanced_accuracy", "loss", "threshold", "direction", "source", "rest"]
        by_test = mine.groupby("test", sort=False)[numbers].mean().reset_index()
        rows = [_test_row(row, mine, facts, source_of) for row in rows_of(by_test)]
        cells = mine.groupby(["train", "test"], sort=False)[numbers].mean().reset_index()
        sections.append(
            Section(
                f"{facts.section_title(encoder)}: each tested generator",
                [_sentence(by_test)],
                tables=[Table([("tested", "", ""), *_HEADS, ("what to do", "", "")], rows)],
                folded=facts.is_random(encoder),
            )
        )
        sections.append(
            Section(
                f"{facts.section_title(encoder)}: each cell",
                tables=[
                    Table(
                        [("trained", "", ""), ("tested", "", ""), *_HEADS],
                        [
                            [
                                generator_cell(facts, row["train"]),
                                generator_cell(facts, row["test"]),
                                *_numbers(row),
                            ]
                            for row in rows_of(cells)
                        ],
                        compact=True,
                    )
                ],
                folded=True,
            )
        )
    notes = [
        "The loss of a cell is what its probe's balanced accuracy lacks of the best that a probe of the"
        " tested generator itself could have. All of it is on test images, for probes on all columns.",
        "Threshold: what the best threshold would give back at the AUC that there is. The best balanced"
        " accuracy is taken to be that of two normal distributions of logits with this AUC, so that no"
        " threshold is chosen on test images.",
        "Direction: what the AUC itself lacks. Threshold and direction add up to the loss. A part of the"
        " direction is the source's: what removing the differences of the sources' mean real images gives"
        " back (family nuisance; empty where the run lacks it). It is negative where these helped.",
    ]
    page = Content(
        ["Why probes lose accuracy on a generator that they were not trained on, and what to do."],
        sections,
        notes=notes,
    )
    return page, leading(with_kinds(table, facts), _COLUMNS)


_HEADS = (
    ("at best", "num", "balanced accuracy that a probe of the tested generator could have"),
    ("balanced accuracy", "num", "of the probe as it is"),
    ("loss", "num", ""),
    ("threshold", "num", "part of the loss that another threshold gives back"),
    ("direction", "num", "part of the loss that no threshold gives back"),
    ("source", "num", "part of the direction that removing the sources' differences gives back"),
    ("rest", "num", "part of the direction that is left"),
)


def attainable(auc: ArrayLike) -> NDArray[np.float64]:
    """Return the balanced accuracy at the best threshold where logits of both classes are normal.

    With AUC = Phi(z) for equal spreads it is Phi(z / sqrt 2); below an AUC of 0.5 a constant answer
    is best.

    Examples
    --------
    >>> attainable([0.5, 0.9, 1.0]).round(3).tolist()
    [0.5, 0.818, 1.0]
    """
    from scipy.stats import norm

    areas = np.asarray(auc, dtype=np.float64)
    return np.asarray(norm.cdf(norm.ppf(np.clip(areas, 0.5, 1.0)) / np.sqrt(2.0)))


def losses(cells: pd.DataFrame) -> pd.DataFrame:
    """Divide the loss of every cell off the diagonal into its parts.

    Parameters
    ----------
    cells
        Rows of the table of cells, of any encoders and seeds.

    Returns
    -------
    DataFrame
        One row for each cell of probes on all columns, trained on one generator: `own` (attainable
        on the tested generator by its own probe), `attainable`, `balanced_accuracy`, `auc`, and
        `loss` = `threshold` + `direction`, `direction` = `source` + `rest`; `source` and `rest` are
        NaN where the run has no projection. `largest` names the largest of threshold, source and
        rest (or direction), empty where none is at least `WORTH`.
    """
    single = cells[cells["draw"] == 0]
    if "training" in single:  # files without the column have no training sets
        single = single[single["training"] == ONE]
    values = single.pivot_table(
        index=["feature_set", *_KEYS], columns="metric", values="value", sort=False
    )
    base = values.loc[families.BASELINE].reset_index()
    diagonal = base[base["train"] == base["test"]]
    own = diagonal[["run", "encoder", "seed", "test", "auc"]].rename(columns={"auc": "own_auc"})
    found = base[base["train"] != base["test"]].merge(own, on=["run", "encoder", "seed", "test"])
    found["own"] = attainable(found["own_auc"])
    found["attainable"] = attainable(found["auc"])
    found["loss"] = found["own"] - found["balanced_accuracy"]
    found["threshold"] = found["attainable"] - found["balanced_accuracy"]
    found["direction"] = found["own"] - found["attainable"]
    found["source"] = np.nan
    if PROJECTION in set(single["feature_set"]):
        projected = values.loc[PROJECTION].reset_index()[[*_KEYS, "auc"]]
        both = found[_KEYS].merge(projected, on=_KEYS, how="left")
        found["source"] = attainable(both["auc"]) - found["attainable"].to_numpy()
    found["rest"] = found["direction"] - found["source"]
    found["largest"] = [largest(row) for row in rows_of(found)]
    return found[list(_COLUMNS)]


def largest(row: Mapping[str, Any]) -> str:
    """Return which part of a loss is the largest, empty where none is worth a word.

    Examples
    --------
    >>> largest({"threshold": 0.01, "direction": 0.2, "source": 0.15, "rest": 0.05})
    'source'
    >>> largest({"threshold": 0.01, "direction": 0.2, "source": float("nan"), "rest": float("nan")})
    'direction'
    """
    names: tuple[str, ...] = ("threshold", "source", "rest")
    if np.isnan(row["source"]):
        names = ("threshold", "direction")
    best = max(names, key=lambda name: float(row[name]))
    return best if row[best] >= WORTH else ""


def advice(row: Mapping[str, Any], trained: str, facts: Facts, source: str | None = None) -> str:
    """Say in words what to do about the largest part of a loss.

    Parameters
    ----------
    row
        With the parts of the loss.
    trained
        The generator whose probe is best on the tested one.
    facts
        Titles.
    source
        Source of the tested generator, where it is known.
    """
    known = facts.generators.get(trained)
    like = f" like those of {source}" if source else " of the tested source"
    if (part := largest(row)) == "threshold":
        return "Calibrate: fix the threshold on some images of the place where it will be used."
    if part == "source":
        return f"Collect real images{like} to train with, or project the sources' differences out."
    if part:
        family = f", or on others of the family {known.family}" if known else ""
        return (
            f"Train on {facts.title(trained)}, whose probe is the best here{family}; better on several"
            " generators."
        )
    return "Little is lost."


def _sources(manifest: pd.DataFrame) -> dict[str, str]:
    """Return the source of each generator."""
    if "source" not in manifest:
        return {}
    known = manifest[manifest["generator"].fillna("") != ""]
    return dict(zip(known["generator"], known["source"], strict=True))


def _sentence(by_test: pd.DataFrame) -> str:
    mean = {
        name: float(by_test[name].mean()) for name in ("loss", "threshold", "direction", "source")
    }
    said = (
        f"On average {number(mean['loss'])} of balanced accuracy is lost: {number(mean['threshold'])}"
        f" by the threshold, {number(mean['direction'])} by the direction"
    )
    if np.isnan(mean["source"]):
        return f"{said}."
    return (
        f"{said}, of which removing the sources' differences gives back {number(mean['source'])}."
    )


def _test_row(
    row: Mapping[str, Any], cells: pd.DataFrame, facts: Facts, source_of: Mapping[str, str]
) -> list[Cell]:
    mine = cells[cells["test"] == row["test"]].groupby("train", sort=False)["auc"].mean()
    words = advice(row, str(mine.idxmax()), facts, source_of.get(row["test"]))
    return [generator_cell(facts, row["test"]), *_numbers(row), Cell(words, css="wide")]


def _numbers(row: Mapping[str, Any]) -> list[Cell]:
    parts = ("own", "balanced_accuracy", "loss", "threshold", "direction", "source", "rest")
    return [
        Cell(number(row[name]), css="num strong" if name == "loss" else "num") for name in parts
    ]
