"""Put a run's tables into the arrays and the header that the page reads."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from clipsieve import families
from clipsieve.evaluation.metric_records import RECORDS
from clipsieve.evaluation.seeds import over_seeds
from clipsieve.io.tables import read_table
from clipsieve.report.explorer.packing import Packing
from clipsieve.report.facts import Facts, cells_title, family_title
from clipsieve.report.frames import order_feature_sets, rows_of
from clipsieve.report.reading import origin, read_tables

if TYPE_CHECKING:
    import pandas as pd

#: Metrics of the page, where the run has them; the files of the run have all of them.
METRICS = (*("accuracy", "balanced_accuracy", "auc", "average_precision", "tpr_at_fpr_5", "ece"),)
#: Numbers are kept to this many parts of one: four decimals.
PARTS = 10_000
MEAN_COLUMNS = (
    *("value", "low", "high", "value_generators_low", "value_generators_high"),
    *("difference", "difference_low", "difference_high", "generators_low", "generators_high"),
    *("p_holm", "generators_p_holm"),
)
_CONTROL_COLUMNS = (
    *("encoder", "seed", "feature_set", "control", "metric", "value", "control_mean"),
    *("control_sd", "draws", "rank", "p", "p_holm"),
)
_EVERY_CELL = "all"

Paths = Mapping[str, Sequence[Path]]


class Axes:
    """What the numbers of the page are of: the places of a run's names along each axis.

    Attributes
    ----------
    run, confidence
        Id of the run, and the coverage of its intervals.
    encoders, seeds, feature_sets, metrics, generators
        In the order of the page.
    """

    def __init__(self, cells: pd.DataFrame, facts: Facts, confidence: float) -> None:
        self.run = next((str(run) for run in cells["run"] if run), "")
        self.confidence = confidence
        self.encoders = facts.order_encoders(cells["encoder"])
        self.seeds = sorted(set(cells["seed"].tolist()))
        self.feature_sets = order_feature_sets(list(dict.fromkeys(cells["feature_set"])))
        known = set(cells["metric"])
        self.metrics = [name for name in METRICS if name in known]
        self.generators = facts.order({*cells["train"], *cells["test"]})

    def header(self, facts: Facts) -> dict[str, Any]:
        """Return the names with their titles."""
        return {
            "run": self.run,
            "confidence": self.confidence,
            "baseline": families.BASELINE,
            "seeds": self.seeds,
            "encoders": [
                {"id": e, "title": facts.section_title(e), "random": facts.is_random(e)}
                for e in self.encoders
            ],
            "generators": [_generator(g, facts) for g in self.generators],
            "metrics": [
                {
                    **{"id": m, "title": RECORDS[m].title, "higher": RECORDS[m].higher_is_better},
                    "chance": RECORDS[m].chance_level(),
                }
                for m in self.metrics
            ],
            "sets": [
                {
                    **{"id": s, "title": facts.feature_set_title(s)},
                    "family": families.of(s).title,
                    "control": families.of(s).is_control,
                }
                for s in self.feature_sets
            ],
        }


def _generator(name: str, facts: Facts) -> dict[str, str]:
    known = facts.generators.get(name)
    return {
        **{"id": name, "title": facts.title(name)},
        "family": family_title(known.family) if known else "",
        "kind": known.kind_title if known else "",
    }


def add_cells(packing: Packing, cells: pd.DataFrame, axes: Axes) -> dict[str, Any]:
    """Add `cells` [encoder, seed, set, metric, train, test] and how far each interval reaches.

    `below` and `above` are the distances from the value to the ends. A control that is drawn many
    times is the mean of its draws and has no interval.
    """
    columns = ["encoder", "seed", "feature_set", "metric", "train", "test"]
    cells = cells[cells["metric"].isin(axes.metrics)]
    cells = cells.groupby(columns, sort=False)[["value", "low", "high"]].mean().reset_index()
    names = (axes.encoders, axes.seeds, axes.feature_sets, axes.metrics, *[axes.generators] * 2)
    place = tuple(
        cells[column].map({name: i for i, name in enumerate(axis)}).to_numpy(dtype=np.int64)
        for column, axis in zip(columns, names, strict=True)
    )
    value, low, high = (cells[c].to_numpy(dtype=float) for c in ("value", "low", "high"))
    # whole parts of one first, so that an end is exact to the same decimals as the value
    value, low, high = (np.rint(x * PARTS) / PARTS for x in (value, low, high))
    for name, found in (("cells", value), ("below", value - low), ("above", high - value)):
        cube = np.full([len(axis) for axis in names], np.nan)
        cube[place] = found
        packing.numbers(name, cube, PARTS)
    return {}


def add_counts(cells: pd.DataFrame, axes: Axes) -> dict[str, Any]:
    """Return how many test images stand behind the column of each test generator, of the first seed."""
    first = cells[(cells["feature_set"] == families.BASELINE) & (cells["seed"] == axes.seeds[0])]
    first = first.drop_duplicates("test").set_index("test")
    names = [name for name in ("n_real", "n_generated", "groups") if name in first.columns]
    return {
        "counts": [
            [int(first.at[g, name]) for name in names] if g in first.index else []
            for g in axes.generators
        ]
    }


def add_means(packing: Packing, means: pd.DataFrame, axes: Axes) -> dict[str, Any]:
    """Add means: every group of cells over the seeds together, all cells also seed by seed (-1: together)."""
    import pandas as pd

    means = means[means["metric"].isin(axes.metrics)]
    means = means[means["feature_set"].isin(axes.feature_sets)]
    together = over_seeds(means).assign(seed=-1)
    single = means[means["cells"] == _EVERY_CELL] if len(axes.seeds) > 1 else means.iloc[:0]
    table = pd.concat([frame for frame in (together, single) if len(frame)], ignore_index=True)
    groups = list(dict.fromkeys(together["cells"]))
    keys = [
        table["encoder"].map(axes.encoders.index),
        table["seed"].map(lambda seed: axes.seeds.index(seed) if seed >= 0 else -1),
        table["feature_set"].map(axes.feature_sets.index),
        table["metric"].map(axes.metrics.index),
        table["cells"].map(groups.index),
        table["n_cells"],
        *(
            table[name].fillna(-1) if name in table.columns else [-1] * len(table)
            for name in ("better", "n_generators")
        ),
    ]
    packing.indices("means_key", np.array([list(map(int, key)) for key in keys]).T)
    numbers = [
        table[name].to_numpy(dtype=float) if name in table.columns else np.full(len(table), np.nan)
        for name in MEAN_COLUMNS
    ]
    packing.numbers("means", np.array(numbers).T, PARTS)
    titles = [{"id": name, "title": cells_title(str(name))} for name in groups]
    return {"groups": titles, "mean_columns": list(MEAN_COLUMNS)}


def add_controls(controls: pd.DataFrame, axes: Axes) -> dict[str, Any]:
    """Return the rank of each selection among its controls."""
    mine = controls[controls["metric"].isin(axes.metrics)]
    names = [name for name in _CONTROL_COLUMNS if name in mine.columns]
    return {"controls": [plain({n: row[n] for n in names}) for row in rows_of(mine)]}


def add_searches(packing: Packing, paths: Sequence[Path], axes: Axes) -> dict[str, Any]:
    """Add the score and log-loss after each removal, search by search."""
    scores: list[float] = []
    losses: list[float] = []
    found = []
    for path in paths:
        table, note = read_table(path)
        of = {**origin("searches", path), **note.get("of", {})}
        if of["encoder"] not in axes.encoders or of["seed"] not in axes.seeds:
            continue
        table = table.sort_values("step")
        stops = {
            name: [int(stop["step"]), int(stop.get("kept", len(table) - stop["step"]))]
            for name, stop in note.get("stops", {}).items()
        }
        found.append(
            plain(
                {
                    **{"encoder": of["encoder"], "seed": of["seed"], "stops": stops},
                    **{"train": note.get("train", of["train"]), "val": note.get("val", of["val"])},
                    **{"initial": note["initial_score"], "columns": note["columns"]},
                    **{"score": note.get("score", "accuracy"), "n": note.get("n_val")},
                    **{"at": len(scores), "length": len(table)},
                }
            )
        )
        scores += table["score"].tolist()
        losses += np.clip(table["log_loss"].to_numpy(dtype=float), 0, 3.2).tolist()
    packing.numbers("search_score", scores, PARTS)
    packing.numbers("search_loss", losses, PARTS)
    return {"searches": found}


def add_removals(packing: Packing, removal: pd.DataFrame, axes: Axes) -> dict[str, Any]:
    """Add the transfer of probes on what is left, search by search: [size, metric, train, test]."""
    removal = removal[removal["metric"].isin(axes.metrics)]
    found, values = [], []
    at = 0
    for (encoder, seed, search), mine in removal.groupby(["encoder", "seed", "search"], sort=False):
        if encoder not in axes.encoders or seed not in axes.seeds:
            continue
        steps = sorted(set(mine["step"].tolist()))
        metrics = [name for name in axes.metrics if name in set(mine["metric"])]
        names = (steps, metrics, *[axes.generators] * 2)
        place = tuple(
            mine[column].map({name: i for i, name in enumerate(axis)}).to_numpy(dtype=np.int64)
            for column, axis in zip(("step", "metric", "train", "test"), names, strict=True)
        )
        cube = np.full([len(axis) for axis in names], np.nan)
        cube[place] = mine["value"].to_numpy(dtype=float)
        train, val = families.generators_of(str(search))
        found.append(
            plain({"encoder": encoder, "seed": seed, "train": train, "val": val, "at": at})
            | {"steps": steps, "metrics": metrics}
        )
        values.append(cube.ravel())
        at += cube.size
    packing.numbers("removals", np.concatenate(values) if values else [], PARTS)
    return {"removals": found}


def add_heads(packing: Packing, rankings: pd.DataFrame, axes: Axes) -> dict[str, Any]:
    """Add what each head scores: rows (encoder, seed, train, val, layer, head, rank) and numbers."""
    mine = rankings[rankings["encoder"].isin(axes.encoders) & rankings["seed"].isin(axes.seeds)]
    names = list(dict.fromkeys([*mine["train"], *mine["val"]]))
    keys = np.array(
        [
            mine["encoder"].map(axes.encoders.index),
            mine["seed"].map(axes.seeds.index),
            mine["train"].map(names.index),
            mine["val"].map(names.index),
            *(mine[column] for column in ("layer", "head", "rank")),
        ],
        dtype=np.int64,
    ).T
    packing.indices("heads_key", keys)
    packing.numbers("heads", mine[["accuracy", "auc"]].to_numpy(dtype=float), PARTS)
    return {"head_generators": names}


def add_words(packing: Packing, paths: Sequence[Path], axes: Axes) -> dict[str, Any]:
    """Add the nearest and farthest texts of every direction, with what their nulls say."""
    import pandas as pd

    parts = [
        read_tables("interpretation", [path]).assign(
            list=origin("interpretation", path).get("texts", path.stem)
        )
        for path in paths
    ]
    table = pd.concat(parts, ignore_index=True)
    table = table[table["encoder"].isin(axes.encoders) & table["seed"].isin(axes.seeds)]
    if "centred" in table.columns:
        # the same directions again, with the mean text subtracted, are a list of their own
        again = table["centred"].fillna(False).astype(bool)
        table["list"] = table["list"].where(~again, table["list"] + ", less the mean text")
    told: dict[str, list[str]] = {}
    columns: list[Any] = [table["encoder"].map(axes.encoders.index)]
    columns += [table["seed"].map(axes.seeds.index)]
    for column in ("list", "kind", "direction", "feature_set", "side", "text"):
        told[column], places = _places(table[column])
        columns.append(places)
    columns += [table["rank"], table["above_null"].astype(int)]
    packing.indices("words_key", np.array([list(map(int, c)) for c in columns]).T)
    packing.numbers("words", _chances(table, ("z_random", "z_shuffled")), PARTS)
    return {"words": told}


def add_concepts(packing: Packing, concepts: pd.DataFrame, axes: Axes) -> dict[str, Any]:
    """Add how each direction reacts to the known edits, with what their nulls say."""
    # the run edits images for its first seed alone
    table = concepts[concepts["encoder"].isin(axes.encoders) & (concepts["seed"] == axes.seeds[0])]
    told: dict[str, list[str]] = {}
    columns: list[Any] = [table["encoder"].map(axes.encoders.index)]
    for column in ("kind", "direction", "feature_set", "edit"):
        told[column], places = _places(table[column])
        columns.append(places)
    columns += [table["above_null"].astype(int)]
    packing.indices("concepts_key", np.array([list(map(int, c)) for c in columns]).T)
    packing.numbers("concepts", _chances(table, ("z_random",)), PARTS)
    return {"concepts": told}


def _chances(table: pd.DataFrame, scores: Sequence[str]) -> Any:
    """Return cosine, z scores (in hundreds, so that they fit) and p of each row."""
    numbers = [table["cosine"]]
    for name in scores:
        known = table[name] if name in table.columns else table["cosine"] * math.nan
        numbers.append((known / 100).clip(-3.2, 3.2))
    numbers.append(table["p"])
    return np.array([column.to_numpy(dtype=float) for column in numbers]).T


def _places(column: Iterable[Any]) -> tuple[list[str], list[int]]:
    """Return the distinct texts of a column, and the place of each row's among them."""
    found: dict[str, int] = {}
    places = [found.setdefault(str(text), len(found)) for text in column]
    return list(found), places


def plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row with Python's own numbers, and None for NaN."""
    result = {}
    for key, value in row.items():
        found = value.item() if isinstance(value, np.generic) else value
        if isinstance(found, float):
            found = round(found, 6) if math.isfinite(found) else None
        result[str(key)] = found
    return result
