"""Read a run's files into tables whose rows say where they come from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipsieve.errors import UserError
from clipsieve.io.feature_sets import read_feature_sets
from clipsieve.io.tables import read_note, read_table
from clipsieve.report.registry import INPUTS

if TYPE_CHECKING:
    import pandas as pd

_ORIGIN = re.compile(r"(?:(?P<run>[^/]+)/)?seed(?P<seed>\d+)(?:/(?P<encoder>[a-z0-9_]+))?(?=/)")

# The columns that a page cannot do without, by input; more may be there.
COLUMNS: dict[str, tuple[str, ...]] = {
    "manifest": ("image_id", "image_set", "generator", "label", "path", "split"),
    "cells": ("feature_set", "draw", "train", "test", "metric", "value", "low", "high", "n"),
    "means": (
        *("feature_set", "cells", "metric", "value", "low", "high", "n_cells", "n"),
        *("worst", "worst_test", "baseline", "difference", "difference_low"),
        *("difference_high", "p", "p_holm"),
    ),
    "controls": (
        *("feature_set", "control", "metric", "value", "control_mean", "control_sd"),
        *("draws", "rank", "p"),
    ),
    "optimism": (
        *("feature_set", "score_on_search_pair", "score_on_the_rest"),
        *("baseline_on_search_pair", "baseline_on_the_rest", "n_cells"),
    ),
    "searches": ("step", "removed", "score", "ties", "left"),
    "head_rankings": ("train", "val", "layer", "head", "accuracy", "rank", "n"),
    "interpretation": (
        *("kind", "direction", "feature_set", "side", "rank", "text", "cosine"),
        *("z_random", "p", "above_null"),
    ),
    "interpretability": ("generator", "transfer", "max_cosine"),
    "concepts": ("kind", "direction", "feature_set", "edit", "cosine", "z_random", "above_null"),
    "geometry": ("image_set", "feature_set", "dimensions", "iso_score", "mean_cosine", "n"),
    "leakage": ("kind", "first", "second", "first_split", "second_split", "distance"),
    "shortcuts": (
        *("files", "facts", "train", "test", "reals", "generator", "auc", "auc_low", "auc_high"),
        *("balanced_accuracy", "balanced_low", "balanced_high", "n", "strongest_fact"),
        *("separates", "unlike_treatment"),
    ),
    "leaderboard": ("encoder", "feature_set", "metric", "value", "low", "high"),
    "scores": ("feature_set", "draw", "train", "image_id", "label", "logit"),
    "robustness": ("feature_set", "perturbation", "level", "metric", "value", "low", "high", "n"),
}


def origin(path: str | Path) -> dict[str, Any]:
    """Return what a path `<run>/seed<seed>/<encoder>/..` says: `run`, `seed`, `encoder`."""
    matches = list(_ORIGIN.finditer(Path(path).as_posix()))
    if not matches:
        return {}
    found = {k: v for k, v in matches[-1].groupdict().items() if v is not None}
    if "seed" in found:
        return {**found, "seed": int(found["seed"])}
    return found


def read_tables(name: str, paths: Sequence[str | Path]) -> pd.DataFrame:
    """Read every file of one input and put them one below the other.

    Parameters
    ----------
    name
        The input's name, a key of `registry.INPUTS`.
    paths
        Parquet or CSV files. Rows get `run`, `seed` and `encoder` from the path where the file has
        no such column, and `file_stem`, the file's name without its ending.

    Raises
    ------
    UserError
        Where a file is missing, unreadable, or lacks a column that the input must have.
    """
    import pandas as pd

    if not paths:
        raise UserError(f"--{name.replace('_', '-')}: no file given")
    frames = []
    for path in map(Path, paths):
        frame = _read(path)
        missing = [c for c in COLUMNS.get(name, ()) if c not in frame.columns]
        if missing:
            raise UserError(f"{path}: column {missing[0]} is missing; {name} needs it")
        for key, value in origin(path).items():
            if key not in frame.columns or (key != "seed" and frame[key].isna().all()):
                frame[key] = value
        frame["file_stem"] = path.stem
        frames.append(frame)
    # An empty table has object columns; left in, they would change the dtypes of the others.
    filled = [f for f in frames if len(f)] or frames[:1]
    table = pd.concat(filled, ignore_index=True)
    for key, value in (("run", ""), ("seed", 0), ("encoder", "")):
        if key not in table.columns and (key != "encoder" or "{encoder}" in INPUTS[name]):
            table[key] = value
    return table


def _read(path: Path) -> pd.DataFrame:
    import pandas as pd

    if not path.is_file():
        raise UserError(f"no file {path}")
    if path.suffix != ".csv":
        return read_table(path)[0]
    try:
        return pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not a whole CSV file: {error}") from error


def confidence_of(paths: Iterable[str | Path]) -> float:
    """Return the coverage that the files state for their intervals; 0.95 where none does."""
    for path in map(Path, paths):
        found = None
        if path.suffix == ".parquet" and path.is_file():
            found = read_note(path).get("confidence")
        elif path.suffix == ".csv" and path.is_file():
            found = next(iter(_read(path).get("confidence", ())), None)
        if isinstance(found, int | float):
            return float(found)
    return 0.95


def read_features(paths: Iterable[str | Path]) -> list[dict[str, Any]]:
    """Read feature set files; every object gets `run`, `seed` and `encoder` from its path.

    Raises
    ------
    UserError
        Where a file is missing or is no list of objects with a `feature_set`.
    """
    return [
        {"run": "", "seed": 0, "encoder": "", **origin(path), **asdict(item)}
        for path in map(Path, paths)
        for item in read_feature_sets(path)
    ]
