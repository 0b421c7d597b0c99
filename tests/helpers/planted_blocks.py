"""Planted image sets whose encoder has blocks of heads: one block holds the trace that generators share."""

from __future__ import annotations

import numpy as np

from clipsieve.io import store
from tests.helpers.planted_sources import SOURCE_OF, Planted

LAYERS, HEADS, SIZE = 3, 2, 3
#: The block that holds the trace.
TRACED = 1


class PlantedBlocks(Planted):
    """As `Planted`, with a faint trace in the embedding and a strong one in block `TRACED`.

    The other blocks hold noise and, in the last one, what the embedding's first columns say, so that
    shifted images are shifted there too.
    """

    def __init__(self, folder, *, strong: float = 3.0, **options):
        self.strong = strong
        super().__init__(folder, **{"trace": 0.3, **options})

    def write(self, name: str, X: np.ndarray) -> None:
        super().write(name, X)
        rng = np.random.default_rng([7, len(name), ord(name[0])])
        heads = rng.normal(size=(len(X), LAYERS, HEADS, SIZE))
        heads[:, TRACED, 0, 0] += self.strong * (name in SOURCE_OF)
        heads[:, 2, 1] += X[:, :SIZE]
        basis = np.random.default_rng(3).normal(size=(LAYERS, HEADS, SIZE, SIZE))
        ids = store.read_embeddings(self.file(name)).image_id
        store.write_embeddings(
            self.file(name), image_id=list(ids), embedding=X.astype(np.float32),
            heads=heads.astype(np.float32), head_basis=basis.astype(np.float32),
        )  # fmt: skip
