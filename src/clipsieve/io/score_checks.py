"""What a score file must hold: its images, their sources and families, and finite logits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipsieve.errors import UserError
from clipsieve.io.hdf5 import PathLike
from clipsieve.io.roles import EVALUATION, require_splits

Columns = Mapping[str, NDArray[Any]]


def checked_families(path: PathLike, columns: Columns, label: NDArray[np.int64]) -> dict[str, str]:
    """Check the columns of a file's images, and return the family of each generator.

    Parameters
    ----------
    path
        The file, for messages.
    columns
        Texts of the images, each [n].
    label
        0 = generated, 1 = real, [n].

    Raises
    ------
    UserError
        As `read_scores` names it, for what can be wrong with images.
    """
    ids, sets = columns["image_id"], columns["image_set"]
    require_splits(columns["split"], EVALUATION, f"evaluation of {path}", ids=ids)
    names, counts = np.unique(ids, return_counts=True)
    if (counts > 1).any():
        raise UserError(f"{path}: image {names[counts > 1][0]} is there twice")
    if not np.isin(label, (0, 1)).all():
        raise UserError(f"{path}: a label is neither 0 (generated) nor 1 (real)")
    real_sets = np.unique(sets[label == 1]).tolist()
    family = {}
    for name in np.unique(sets).tolist():
        mine = sets == name
        for column, values in (("label", label), *columns.items()):
            known = np.unique(values[mine]).tolist()
            if column not in ("image_id", "group") and len(known) > 1:
                raise UserError(f"{path}: image set {name} has more than one {column}: {known}")
        source, generator, kind = (
            str(columns[column][mine][0]) for column in ("source", "generator", "family")
        )
        real = name in real_sets
        if source not in real_sets or (real and source != name):
            raise UserError(
                f"{path}: the source of {name} is {source or 'not given'}; the file holds real"
                f" images of {', '.join(real_sets) or 'no source'}"
            )
        if generator != ("" if real else name):
            raise UserError(f"{path}: image set {name} has the generator {generator!r}")
        if bool(kind) == real:
            said = f"the family {kind!r}, though it is real" if real else "no family"
            raise UserError(f"{path}: image set {name} has {said}")
        if not real:
            family[name] = kind
    return family


def require_finite(
    path: PathLike, columns: Columns, probes: list[tuple[str, int, str]], logits: NDArray[Any]
) -> None:
    """Refuse infinite logits, and NaN in an image set to which the probe was applied."""
    finite = np.isfinite(logits)
    if finite.all():
        return
    wrong = np.isinf(logits)
    for name in np.unique(columns["image_set"]).tolist():
        mine = columns["image_set"] == name
        applied = finite[:, mine].any(axis=1)
        wrong[:, mine] |= applied[:, None] & ~finite[:, mine]
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        feature_set, draw, train = probes[row]
        raise UserError(
            f"{path}: the logit of {columns['image_id'][column]} is not a finite number"
            f" ({feature_set}, draw {draw}, trained on {train})"
        )


def require_same_images(path: str, ours: Columns, first_path: str, theirs: Columns) -> None:
    """Refuse a file whose image columns are not those of the first."""
    if len(ours["label"]) != len(theirs["label"]):
        raise UserError(
            f"{path}: {len(ours['label'])} images, but {first_path} has {len(theirs['label'])}; the"
            " families of an encoder and seed are scored on the same images"
        )
    for name, column in ours.items():
        differs = column != theirs[name]
        if differs.any():
            at = int(np.flatnonzero(differs)[0])
            raise UserError(
                f"{path}: the {name} of image {ours['image_id'][at]} is {column[at]}, in {first_path}"
                f" it is {theirs[name][at]}"
            )
