"""A detector on disk: a folder of arrays (safetensors), a description (JSON) and a model card (Markdown).

Every byte is checked when a detector is read. The description has the sha256 of the two other files and
of itself; so a file that was damaged, cut, edited or exchanged is refused before anything in it is used.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from clipsieve.detector.calibration import Band, Platt
from clipsieve.detector.model import LABELS, Model, Reference
from clipsieve.errors import UserError
from clipsieve.io.files import replacing
from clipsieve.io.probes import pack, unpack

if TYPE_CHECKING:
    from numpy.typing import NDArray

FORMAT = "clipsieve detector"
FORMAT_VERSION = 2
#: The files of a detector.
DESCRIPTION, ARRAYS, CARD = FILES = ("detector.json", "detector.safetensors", "README.md")
#: A longer file is no detector; the largest that is written here has a few megabytes.
_LONGEST = 1 << 30
_OWN = "sha256"


def write_detector(folder: str | os.PathLike[str], model: Model, card: str) -> None:
    """Write a detector; equal detectors give equal bytes.

    Parameters
    ----------
    folder
        Made where it is missing; files of an earlier detector in it are replaced.
    model
        The detector.
    card
        Its model card, Markdown (`clipsieve.detector.model_card.card_of`).
    """
    from safetensors.numpy import save

    arrays, members = pack(model.probes)
    arrays["image_mean"] = np.asarray(model.image_mean, np.float64)
    reference = model.reference
    arrays["reference_label"] = np.asarray(reference.label, np.int64)
    arrays["reference_embedding"] = np.asarray(reference.embedding, np.float16)
    arrays["text_embedding"] = np.asarray(reference.text_embedding, np.float16)
    data = {
        ARRAYS: save({name: np.asarray(array, order="C") for name, array in arrays.items()}),
        CARD: card.encode(),
    }
    description = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "labels": LABELS,
        "threshold": model.threshold,
        "platt": {"slope": model.calibration.slope, "offset": model.calibration.offset},
        # JSON has no infinity: a missing end of the band is null.
        "unsure_between": {
            "low": _finite(model.band.low),
            "high": _finite(model.band.high),
        },
        "operating_points": {f"{rate:g}": limit for rate, limit in model.points.items()},
        "probes": members,
        "reference": {
            "image_id": reference.image_id,
            "image_set": reference.image_set,
            "texts": reference.texts,
        },
        "facts": model.facts,
        "files": {name: hashlib.sha256(text).hexdigest() for name, text in data.items()},
    }
    data[DESCRIPTION] = _sealed(description)
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    # the description comes last: until then the folder is refused
    for name in (ARRAYS, CARD, DESCRIPTION):
        with replacing(path / name) as temporary:
            temporary.write_bytes(data[name])


def read_description(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Read and check the description of a detector.

    Raises
    ------
    UserError
        There is no detector, its description was changed, or it is of another format version.
    """
    path = Path(folder) / DESCRIPTION
    data = _read(path)
    try:
        found = json.loads(data)
        kind = found["format"]
        version = found["format_version"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise UserError(f"{path}: not a detector (clipsieve export writes one)") from None
    if kind != FORMAT:
        raise UserError(f"{path}: not a detector (clipsieve export writes one)")
    if version != FORMAT_VERSION:
        raise UserError(
            f"{path}: detector format {version}, this version reads {FORMAT_VERSION}; export it again"
        )
    try:
        same = _sealed(found) == data
    except (ValueError, TypeError, RecursionError):
        same = False
    if not same:
        raise UserError(f"{path}: changed since it was exported (sha256 differs); export it again")
    return dict(found)


def read_detector(folder: str | os.PathLike[str]) -> Model:
    """Read a detector, checking every byte of its files.

    Raises
    ------
    UserError
        The folder is not a detector, a file of it is missing or was changed, or it has another
        format version.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    description = read_description(folder)
    data = {}
    for name in (ARRAYS, CARD):
        path = Path(folder) / name
        data[name] = _read(path)
        if hashlib.sha256(data[name]).hexdigest() != description["files"].get(name):
            raise UserError(
                f"{path}: changed since it was exported (sha256 differs); export it again"
            )
    try:
        return _model(description, load(data[ARRAYS]))
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{folder}: not a detector of this version ({error})") from None


def identity_of(folder: str | os.PathLike[str]) -> str:
    """Return the sha256 that names a detector: that of its description, which has the others."""
    return str(read_description(folder)[_OWN])


def _model(description: Mapping[str, Any], arrays: Mapping[str, NDArray]) -> Model:
    ends = description["unsure_between"]
    platt = description["platt"]
    reference = description["reference"]
    return Model(
        probes=unpack(arrays, description["probes"]),
        threshold=float(description["threshold"]),
        calibration=Platt(float(platt["slope"]), float(platt["offset"])),
        band=Band(
            -np.inf if ends["low"] is None else float(ends["low"]),
            np.inf if ends["high"] is None else float(ends["high"]),
        ),
        points={float(rate): limit for rate, limit in description["operating_points"].items()},
        facts=dict(description["facts"]),
        image_mean=arrays["image_mean"],
        reference=Reference(
            list(reference["image_id"]),
            list(reference["image_set"]),
            arrays["reference_label"],
            arrays["reference_embedding"],
            list(reference["texts"]),
            arrays["text_embedding"],
        ),
    )


def _sealed(description: Mapping[str, Any]) -> bytes:
    """Return the description's bytes, with the sha256 of all that it says beside it."""
    rest = {name: value for name, value in description.items() if name != _OWN}
    text = json.dumps(rest, sort_keys=True, indent=1, allow_nan=False)
    whole = {**rest, _OWN: hashlib.sha256(text.encode()).hexdigest()}
    return (json.dumps(whole, sort_keys=True, indent=1, allow_nan=False) + "\n").encode()


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > _LONGEST:
            raise UserError(f"{path}: not a detector (clipsieve export writes one)")
        return path.read_bytes()
    except FileNotFoundError:
        raise UserError(
            f"{path}: no such file; a detector is a folder of clipsieve export"
        ) from None
    except OSError as error:
        raise UserError(
            f"{path}: can't be read ({error.strerror}); a detector is a folder of clipsieve export"
        ) from None


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
