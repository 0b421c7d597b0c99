"""Rows of a data set with their roles: embeddings joined with splits, only those that may be seen.

A data set here is one generator's images and its source's real images. Every reader names the splits
that it needs, and gets no other row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clipsieve.errors import UserError
from clipsieve.io import store
from clipsieve.io.columns import SPLITS
from clipsieve.io.layers import read_layers
from clipsieve.io.roles import require_splits
from clipsieve.io.tables import read_table

SPLIT_COLUMNS = tuple(SPLITS.types)


@dataclass(frozen=True)
class Rows:
    """Images of one or more image sets, in the order of the files.

    Attributes
    ----------
    image_id, group, split
        str [N].
    image_set
        str [N], the file that the row comes from.
    label
        int64 [N], 0 = generated, 1 = real.
    embedding
        float32 [N, D].
    files
        Embedding file of each part, with the rows taken from it (int64), for `heads`.
    """

    image_id: np.ndarray
    group: np.ndarray
    split: np.ndarray
    image_set: np.ndarray
    label: np.ndarray
    embedding: np.ndarray
    files: tuple[tuple[Path, np.ndarray], ...]

    def __len__(self) -> int:
        return len(self.label)

    def take(self, keep: np.ndarray) -> Rows:
        """Return the rows where the boolean mask `keep` [N] is true."""
        starts = np.cumsum([0, *(len(index) for _, index in self.files)])
        parts = zip(self.files, starts[:-1], starts[1:], strict=True)
        files = tuple((path, index[keep[a:b]]) for (path, index), a, b in parts)
        arrays = (self.image_id, self.group, self.split, self.image_set, self.label, self.embedding)
        image_id, group, split, image_set, label, embedding = (array[keep] for array in arrays)
        return Rows(image_id, group, split, image_set, label, embedding, files)

    def of(self, *splits: str) -> Rows:
        """Return the rows of these splits."""
        return self.take(np.isin(self.split, splits))

    def shares_groups_with(self, other: Rows) -> bool:
        """Whether equal group names in both mean one group: they have a source in common."""
        sources, others = (np.unique(rows.image_set[rows.label == 1]) for rows in (self, other))
        return bool(np.isin(sources, others).any())

    def apart_from(self, other: Rows) -> np.ndarray:
        """Return which rows have a group that `other` lacks, bool [N]."""
        if not self.shares_groups_with(other):
            return np.ones(len(self), dtype=bool)
        return ~np.isin(self.group, other.group)

    def without_groups_of(self, other: Rows) -> Rows:
        """Return the rows whose group `other` lacks; equal names of two sources are two groups."""
        return self.take(self.apart_from(other))

    def heads(self, heads: Sequence[tuple[int, int]] | None = None) -> np.ndarray:
        """Read cached head outputs: float32 [N, len(heads), d_head], or [N, L, H, d_head] for all."""
        return np.concatenate([store.read_heads(path, heads, index) for path, index in self.files])

    def layers(self, layers: Sequence[int] | None = None) -> np.ndarray:
        """Read the cached token after each of these blocks, or of all: float32 [N, len(layers), width]."""
        return np.concatenate([read_layers(path, layers, index) for path, index in self.files])

    def head_basis(self) -> np.ndarray:
        """Read the factor R of the heads' output projections, float32 [L, H, d_head, d_head]."""
        return store.read_head_basis(self.files[0][0])


def read_rows(
    embeddings: Sequence[str | Path],
    splits: Sequence[str | Path],
    allowed: Sequence[str],
    what: str,
) -> Rows:
    """Join embedding files with their split tables and keep the rows of the allowed splits.

    Parameters
    ----------
    embeddings
        Embedding files, one an image set.
    splits
        Split tables of the same image sets, in the same order.
    allowed
        Splits that the caller may read.
    what
        Name of the use, for messages.

    Raises
    ------
    UserError
        The files don't belong together, or an image set has no row in the allowed splits.
    """
    if len(embeddings) != len(splits):
        raise UserError(f"{what}: {len(embeddings)} embedding files, {len(splits)} split tables")
    parts = [
        _part(Path(e), Path(s), allowed, what) for e, s in zip(embeddings, splits, strict=True)
    ]
    widths = {part.embedding.shape[1] for part in parts}
    if len(widths) > 1:
        raise UserError(f"{what}: embeddings of different widths {sorted(widths)} in one data set")
    joined = Rows(
        image_id=np.concatenate([part.image_id for part in parts]),
        group=np.concatenate([part.group for part in parts]),
        split=np.concatenate([part.split for part in parts]),
        image_set=np.concatenate([part.image_set for part in parts]),
        label=np.concatenate([part.label for part in parts]),
        embedding=np.concatenate([part.embedding for part in parts]),
        files=tuple(file for part in parts for file in part.files),
    )
    require_splits(joined.split, allowed, what, ids=joined.image_id)
    return joined


def require_both_classes(rows: Rows, what: str) -> None:
    """Raise UserError unless generated and real rows are both there."""
    for label, name in ((0, "generated"), (1, "real")):
        if not np.any(rows.label == label):
            raise UserError(f"{what}: no {name} image among its {len(rows)} rows; both are needed")


def base_of(image_set: str) -> str:
    """Return the image set that a perturbed one (`<set>__<purpose>__<edit>`) was made from."""
    return image_set.split("__")[0]


def _part(embeddings: Path, splits: Path, allowed: Sequence[str], what: str) -> Rows:
    base, perturbed = base_of(embeddings.stem), "__" in embeddings.stem
    if base != splits.stem:
        raise UserError(f"{what}: {embeddings} and {splits} are of different image sets")
    table, _ = read_table(splits, SPLIT_COLUMNS)
    table = table[table["split"].isin(list(allowed))]
    if table.empty:
        raise UserError(f"{splits}: no image in {' or '.join(allowed)}, needed by {what}")
    stored = store.read_embeddings(embeddings)
    position = {image: row for row, image in enumerate(stored.image_id)}
    known = table["image_id"].isin(list(position)).to_numpy()
    if perturbed:
        # some of the set's images, under the ids of their originals
        table, known = table[known], known[known]
    if not known.all():
        first = table["image_id"].to_numpy()[~known][0]
        raise UserError(f"{embeddings}: no embedding of image {first}, which {splits} lists")
    index = np.array([position[image] for image in table["image_id"]], dtype=np.int64)
    # a contiguous order in the file keeps HDF5 reads sequential and results independent of the table's order
    order = np.argsort(index)
    table, index = table.iloc[order], index[order]
    return Rows(
        image_id=table["image_id"].to_numpy(dtype=object).astype(str),
        group=table["group"].to_numpy(dtype=object).astype(str),
        split=table["split"].to_numpy(dtype=object).astype(str),
        image_set=np.full(len(table), base),
        label=table["label"].to_numpy(dtype=np.int64),
        embedding=stored.embedding[index],
        files=((embeddings, index),),
    )
