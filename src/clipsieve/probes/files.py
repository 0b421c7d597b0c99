"""Probes on disk: coefficients as arrays, everything else as JSON, in one npz without pickle."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from clipsieve.errors import UserError
from clipsieve.files import replacing


@dataclass(frozen=True)
class StoredProbe:
    """One probe with what is needed to apply it.

    Attributes
    ----------
    feature_set, draw, train
        Which feature set, which draw of it (0 but for controls), which training generator.
    space
        `embedding`, `residual` or `heads`.
    columns
        Columns of the embedding (int list), heads ([[l, h], ..]), or None for all columns.
    coef, intercept
        float64 [k] and float; a logit above 0 says real.
    threshold
        Logit threshold fixed on val by a fit on train alone.
    params
        Hyperparameters that the grid chose, with the solver's account.
    facts
        n_train, n_val, val_accuracy.
    residual
        float64 [D or len(columns)], for the residual space, else None.
    """

    feature_set: str
    draw: int
    train: str
    space: str
    columns: list[Any] | None
    coef: np.ndarray
    intercept: float
    threshold: float
    params: dict[str, Any]
    facts: dict[str, Any]
    residual: np.ndarray | None = None


def write_probes(path: str | os.PathLike[str], probes: Sequence[StoredProbe]) -> None:
    """Write probes of one training generator and family; see docs/formats.md, Probes."""
    arrays: dict[str, np.ndarray] = {}
    meta = []
    for i, probe in enumerate(probes):
        arrays[f"coef_{i}"] = np.asarray(probe.coef, dtype=np.float64)
        arrays[f"intercept_{i}"] = np.asarray(probe.intercept, dtype=np.float64)
        if probe.residual is not None:
            arrays[f"residual_{i}"] = np.asarray(probe.residual, dtype=np.float64)
        names = ("feature_set", "draw", "train", "space", "columns", "threshold", "params", "facts")
        meta.append({name: getattr(probe, name) for name in names})
    arrays["meta"] = np.array(json.dumps(meta, sort_keys=True))
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, array in sorted(arrays.items()):
            # numpy's own savez stamps the time into the archive: equal probes shall be equal bytes
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            with archive.open(entry, "w") as handle:
                np.lib.format.write_array(handle, array, allow_pickle=False)


def read_probes(path: str | os.PathLike[str]) -> list[StoredProbe]:
    """Read the probes of `write_probes`, in their order.

    Raises
    ------
    UserError
        The file is missing or is not such a file; the line names it.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            meta = json.loads(str(archive["meta"]))
            return [
                StoredProbe(
                    **entry,
                    coef=archive[f"coef_{i}"],
                    intercept=float(archive[f"intercept_{i}"]),
                    residual=archive.get(f"residual_{i}"),
                )
                for i, entry in enumerate(meta)
            ]
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, KeyError, ValueError, TypeError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: not a probe file of clipsieve ({error})") from None
