"""What a score file must hold to be believed: images that agree with themselves and with other files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipsieve.errors import UserError
from clipsieve.io.hdf5 import PathLike
from clipsieve.io.roles import EVALUATION, require_splits


def families_of(
    path: PathLike, columns: dict[str, NDArray[np.str_]], label: NDArray[np.int64]
) -> dict[str, str]:
    """Return the family of each generator, after the checks of images that `read_scores` names.

    Parameters
    ----------
    path
        The file, for messages.
    columns
        The texts of each image, str [n].
    label
        int64 [n].

    Raises
    ------
    UserError
        An image is not of the test split or occurs twice, or an image set contradicts itself.
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
    path: PathLike,
    image_id: NDArray[np.str_],
    image_set: NDArray[np.str_],
    probes: Sequence[tuple[str, int, str]],
    logits: NDArray[Any],
) -> None:
    """Refuse infinite logits, and NaN in an image set to which the probe was applied."""
    finite = np.isfinite(logits)
    if finite.all():
        return
    wrong: NDArray[np.bool_] = np.isinf(logits)
    for name in np.unique(image_set).tolist():
        mine = image_set == name
        applied = finite[:, mine].any(axis=1)
        wrong[:, mine] |= applied[:, None] & ~finite[:, mine]
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        feature_set, draw, train = probes[row]
        raise UserError(
            f"{path}: the logit of {image_id[column]} is not a finite number"
            f" ({feature_set}, draw {draw}, trained on {train})"
        )


def require_same_images(
    path: str,
    mine: dict[str, NDArray[Any]],
    first_path: str,
    first: dict[str, NDArray[Any]],
) -> None:
    """Refuse a file whose image columns, each [n], are not those of the first."""
    n, wanted = len(mine["label"]), len(first["label"])
    if n != wanted:
        raise UserError(
            f"{path}: {n} images, but {first_path} has {wanted}; the"
            " families of an encoder and seed are scored on the same images"
        )
    for name, column in mine.items():
        differs: NDArray[np.bool_] = np.not_equal(column, first[name])
        if differs.any():
            at = int(np.flatnonzero(differs)[0])
            raise UserError(
                f"{path}: the {name} of image {mine['image_id'][at]} is {column[at]}, in {first_path}"
                f" it is {first[name][at]}"
            )
