"""Read a run's files into tables whose rows say where they come from."""

from __future__ import annotations

import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipsieve.errors import UserError
from clipsieve.io.columns import missing
from clipsieve.io.feature_sets import FeatureSet, read_feature_sets
from clipsieve.io.scores import AllScores, read_scores
from clipsieve.io.tables import read_table
from clipsieve.report.registry import INPUTS, Result
from clipsieve.training import ONE

if TYPE_CHECKING:
    import pandas as pd


def origin(name: str, path: str | Path) -> dict[str, Any]:
    """Return what the place of a file of the input `name` says (`registry.INPUTS`).

    Examples
    --------
    >>> origin("searches", "results/demo/seed0/clip_b16/searches/a--b.parquet")
    {'run': 'demo', 'seed': 0, 'encoder': 'clip_b16', 'train': 'a', 'val': 'b'}
    """
    pattern = INPUTS[name]
    place = Path(path).absolute().as_posix()
    for expression in (f"(?P<run>[^/]+)/{_open(pattern)}", _open(pattern.rpartition("/")[2])):
        if match := re.search(f"(?:^|/){expression}$", place):
            found: dict[str, Any] = match.groupdict()
            return {**found, "seed": int(found["seed"])} if "seed" in found else found
    return {}


def _open(pattern: str) -> str:
    """Return a pattern of `registry.INPUTS` as a regular expression with a group for each field."""
    parts = string.Formatter().parse(pattern)
    return "".join(
        re.escape(text) + (f"(?P<{field}>[a-z0-9_]+)" if field else "")
        for text, field, _, _ in parts
    )


class Inputs:
    """What a result is built from, read: tables by name, and the notes of their files.

    Parameters
    ----------
    result
        The table or figure that is built.
    paths
        Files by input name; those that the result does not take are ignored.

    Raises
    ------
    UserError
        Where a needed input has no file, or a file is missing, unreadable or lacks a column.

    Notes
    -----
    Rows have `run`, `seed`, `encoder` and whatever else the files of the input differ in. A column
    of the file says it, else the file's note, else its place in the run.
    """

    def __init__(self, result: Result, paths: Mapping[str, Sequence[str | Path]]) -> None:
        self.result = result
        self._read: dict[str, tuple[pd.DataFrame, list[dict[str, Any]]]] = {}
        for name in result.all_inputs:
            if paths.get(name):
                self._read[name] = _read_all(name, paths[name])
            elif name in result.inputs:
                raise UserError(f"{result.name} needs --{name.replace('_', '-')} FILE [FILE ..]")

    def __contains__(self, name: str) -> bool:
        return name in self._read

    def __getitem__(self, name: str) -> pd.DataFrame:
        return self._read[name][0]

    def get(self, name: str) -> pd.DataFrame | None:
        """Return the table of an optional input; None where no file was given."""
        return self._read[name][0] if name in self._read else None

    def notes(self, name: str) -> list[dict[str, Any]]:
        """Return the note of each file of an input, with the file's `run`, `seed` and `encoder`."""
        return self._read[name][1]

    @property
    def confidence(self) -> float:
        """Coverage that the files state for their intervals; 0.95 where none does."""
        for table, notes in self._read.values():
            stated = [note["confidence"] for note in notes if "confidence" in note]
            stated += list(table.get("confidence", ()))[:1]
            if stated:
                return float(stated[0])
        return 0.95

    def values(self, column: str) -> list[Any]:
        """Return the distinct runs, encoders or seeds of the needed inputs, else of any input.

        A table without rows counts with what its file says of itself.
        """
        for names in (self.result.inputs, self.result.optional):
            found: dict[Any, None] = {}
            for name in names:
                if name not in self._read or (column == "seed" and "{seed}" not in INPUTS[name]):
                    continue
                table, notes = self._read[name]
                known = table[column] if column in table.columns and len(table) else ()
                found |= dict.fromkeys(value for value in known if value == value and value != "")
                if not len(table):
                    found |= dict.fromkeys(note[column] for note in notes if column in note)
            if found:
                return list(found)
        return []


def read_tables(name: str, paths: Sequence[str | Path]) -> pd.DataFrame:
    """Read every file of one input, `name`, and put them one below the other (see `Inputs`)."""
    return _read_all(name, paths)[0]


def _read_all(name: str, paths: Sequence[str | Path]) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    import pandas as pd

    if not paths:
        raise UserError(f"--{name.replace('_', '-')}: no file given")
    frames, notes = [], []
    for path in map(Path, paths):
        frame, note = _read(path)
        if lacking := missing(name, frame.columns):
            raise UserError(f"{path}: column {lacking} is missing; {name} needs it")
        if name == "cells" and "training" in frame.columns:
            # the pages of cells are of the transfer matrix; training sets are among the means
            frame = frame[frame["training"] == ONE].copy()
        known = origin(name, path)
        known |= {key: note[key] for key in ("train", "val") if key in note} | note.get("of", {})
        for key, value in known.items():
            if key not in frame.columns or (key != "seed" and frame[key].isna().all()):
                frame[key] = value
        frames.append(frame)
        notes.append({**note, **known})
    # An empty table has object columns; left in, they would change the dtypes of the others.
    filled = [f for f in frames if len(f)] or frames[:1]
    table = pd.concat(filled, ignore_index=True)
    for key, value in (("run", ""), ("seed", 0), ("encoder", "")):
        if key not in table.columns and (key != "encoder" or "{encoder}" in INPUTS[name]):
            table[key] = value
    return table, notes


def _read(path: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    import pandas as pd

    if path.suffix == ".json":
        columns = [field.name for field in fields(FeatureSet)]
        items = [asdict(item) for item in read_feature_sets(path)]
        return pd.DataFrame(items, columns=columns), {}
    if not path.is_file():
        raise UserError(f"no file {path}")
    if path.suffix == ".h5":
        return _flat(read_scores([path])), {}
    if path.suffix != ".csv":
        return read_table(path)
    try:
        return pd.read_csv(path), {}
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not a whole CSV file: {error}") from error


def _flat(scores: AllScores) -> pd.DataFrame:
    """Return scores as one row a probe and image that it was applied to."""
    import numpy as np
    import pandas as pd

    columns = scores.images.columns()
    parts = []
    for one in scores.scores:
        probes, images = np.nonzero(np.isfinite(one.logits))
        part = pd.DataFrame({name: column[images] for name, column in columns.items()})
        part["train"] = np.array(one.train)[probes]
        part["logit"] = one.logits[probes, images]
        parts.append(part.assign(feature_set=one.feature_set, draw=one.draw))
    names: dict[str, Any] = {"run": scores.run, "encoder": scores.encoder, "seed": scores.seed}
    return pd.concat(parts, ignore_index=True).assign(**names)
