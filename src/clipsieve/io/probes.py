"""Probes on disk: coefficients as arrays, everything else as JSON, in one npz without pickle."""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.lib.npyio import NpzFile

from clipsieve.errors import UserError
from clipsieve.families import TWIN
from clipsieve.io.files import replacing

_ENTRY = (
    "feature_set", "draw", "train", "space", "columns", "threshold", "operating_points", "params",
    "facts", "training", "members", "choice", "tested",
)  # fmt: skip
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError)  # of an archive cut or overwritten


@dataclass(frozen=True)
class StoredProbe:
    """One probe with what is needed to apply it.

    Attributes
    ----------
    feature_set, draw, train
        Which feature set, which draw of it (0 but for controls; `families.TWIN` for a twin), which
        training generator or training set.
    space
        `embedding`, `residual`, `heads` or `beside`.
    columns
        Columns of the embedding (int list), heads ([[l, h], ..]), or None for all columns.
    coef, intercept
        float64 [k] and float; a logit above 0 says real. Those of `beside` are of the embedding's
        columns first, then of the heads' outputs.
    threshold
        Logit threshold, cross-fitted (docs/method/probes.md).
    params
        Hyperparameters that the grid chose, with the solver's account.
    facts
        n_train, n_val, n_tune (rows that hyperparameters were scored on), tuned_on (their
        generator), val_accuracy (on these rows), thresholds (folds, n, n_real, note).
    residual
        float64 [D or len(columns)], for the residual space, else None.
    operating_points
        `fpr_1`, `fpr_5`: logit thresholds at which at most 1 % and 5 % of real images are called
        generated, fixed on the same rows as `threshold`; None where these held too few real images.
    training
        `one` generator, or the kind of the training set (`clipsieve.io.training.KINDS`).
    members
        Generators of the training set; it is tested on none of them. Empty for one generator.
    choice, tested
        Of a feature set that is chosen for each tested generator apart: the number of the choice,
        from 1, and the generators that it was made for, the only ones that the probe is tested on.
        0, and nobody, for the choice made with all generators; and for all other feature sets.
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
    operating_points: dict[str, float | None] = field(default_factory=dict)
    training: str = "one"
    members: Sequence[str] = ()
    choice: int = 0
    tested: Sequence[str] = ()


def write_probes(path: str | os.PathLike[str], probes: Sequence[StoredProbe]) -> None:
    """Write probes of one training generator and family; see docs/formats.md, Probes."""
    arrays, entries = pack(probes)
    write_npz(path, {**arrays, "meta": np.array(json.dumps(entries, sort_keys=True))})


def pack(probes: Sequence[StoredProbe]) -> tuple[dict[str, np.ndarray], list[dict[str, Any]]]:
    """Divide probes into arrays, named by the probe's place, and JSON-able entries, one a probe."""
    arrays: dict[str, np.ndarray] = {}
    for i, probe in enumerate(probes):
        arrays[f"coef_{i}"] = np.asarray(probe.coef, dtype=np.float64)
        arrays[f"intercept_{i}"] = np.asarray(probe.intercept, dtype=np.float64)
        if probe.residual is not None:
            arrays[f"residual_{i}"] = np.asarray(probe.residual, dtype=np.float64)
    return arrays, [{name: getattr(probe, name) for name in _ENTRY} for probe in probes]


def unpack(
    arrays: Mapping[str, np.ndarray], entries: Sequence[Mapping[str, Any]]
) -> list[StoredProbe]:
    """Join what `pack` divided; a KeyError or TypeError says that it was something else."""
    return [
        StoredProbe(
            **entry,
            coef=arrays[f"coef_{i}"],
            intercept=float(arrays[f"intercept_{i}"]),
            residual=arrays.get(f"residual_{i}"),
        )
        for i, entry in enumerate(entries)
    ]


def write_npz(path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays as npz without pickle; equal arrays give equal bytes."""
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, array in sorted(arrays.items()):
            # numpy's own savez stamps the time into the archive
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            with archive.open(entry, "w") as handle:
                np.lib.format.write_array(handle, array, allow_pickle=False)


@contextmanager
def opened_npz(path: str | os.PathLike[str], what: str) -> Iterator[NpzFile]:
    """Open an npz of `write_npz`; objects in it, which only pickle could read, are refused.

    Raises
    ------
    UserError
        The file is missing, or what is read from it within the `with` block shows that it is not
        `what`: no archive, damaged, an array or key that is not there or of another kind.
    """
    if not os.path.exists(path):
        raise UserError(f"{path}: no such file")
    try:
        # asked first: numpy's own message for anything else recommends unpickling it
        if not zipfile.is_zipfile(path):
            raise ValueError("no npz archive")
        with np.load(path, allow_pickle=False) as archive:
            yield archive
    except (*_DAMAGE, OSError, KeyError, ValueError, TypeError) as error:
        raise UserError(f"{path}: not {what} of clipsieve ({error})") from None


def read_probes(
    path: str | os.PathLike[str], *, twins: bool = False, nested: bool = False
) -> list[StoredProbe]:
    """Read the probes of `write_probes`, in their order.

    Parameters
    ----------
    path
        The file.
    twins
        Whether twins come too, which are there to be ranked among a control's draws and nothing
        else.
    nested
        Whether probes of choices for tested generators come too, which are there to be tested on
        these and nothing else.

    Raises
    ------
    UserError
        The file is missing or is not such a file; the line names it.
    """
    with opened_npz(path, "a probe file") as archive:
        probes = unpack(archive, json.loads(str(archive["meta"])))
    return [
        probe for probe in probes if (twins or probe.draw != TWIN) and (nested or probe.choice == 0)
    ]
