"""The test images of a run, as the columns of a score file, and the checks on them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipsieve.errors import UserError
from clipsieve.io.hdf5 import PathLike
from clipsieve.io.roles import EVALUATION, require_splits

# Columns of the images that are text; `label` is beside them.
IMAGE_TEXTS = ("image_id", "image_set", "source", "generator", "family", "group", "split")


@dataclass
class Images:
    """The test images of a run, in the order of the files.

    Attributes
    ----------
    image_id, image_set, source, group
        str [n]. The source of a real image is its own image set.
    label
        int64 [n], 0 = generated, 1 = real.
    family
        Family of each generator.
    split
        str [n]; a file must say it, and only test images are read from one.
    """

    image_id: NDArray[np.str_]
    image_set: NDArray[np.str_]
    source: NDArray[np.str_]
    group: NDArray[np.str_]
    label: NDArray[np.int64]
    family: dict[str, str] = field(default_factory=dict)
    split: NDArray[np.str_] | None = None

    def columns(self) -> dict[str, NDArray[Any]]:
        """Return the columns of a score file: the texts and the label, each [n].

        Raises
        ------
        ValueError
            The split is not said.
        """
        if self.split is None:
            raise ValueError("images.split: a score file must state the split of each image")
        generated = self.label == 0
        families = [self.family.get(name, "") for name in self.image_set.tolist()]
        return {
            "image_id": self.image_id,
            "image_set": self.image_set,
            "source": self.source,
            "generator": np.where(generated, self.image_set, ""),
            "family": np.where(generated, np.array(families, dtype=str), ""),
            "group": self.group,
            "split": self.split,
            "label": self.label,
        }


def checked_images(
    path: PathLike, columns: dict[str, NDArray[np.str_]], label: NDArray[np.int64]
) -> Images:
    """Return the images after the checks that `clipsieve.io.scores.read_scores` names."""
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
    return Images(ids, sets, columns["source"], columns["group"], label, family, columns["split"])


def require_same_images(path: str, mine: Images, first_path: str, first: Images) -> None:
    """Refuse a file whose image columns are not those of the first."""
    ours, theirs = mine.columns(), first.columns()
    if len(mine.label) != len(first.label):
        raise UserError(
            f"{path}: {len(mine.label)} images, but {first_path} has {len(first.label)}; the"
            " families of an encoder and seed are scored on the same images"
        )
    for name, column in ours.items():
        differs = column != theirs[name]
        if differs.any():
            at = int(np.flatnonzero(differs)[0])
            raise UserError(
                f"{path}: the {name} of image {mine.image_id[at]} is {column[at]}, in {first_path}"
                f" it is {theirs[name][at]}"
            )
