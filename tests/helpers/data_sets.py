"""Small run files with known contents, for tests of the verbs that read them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from clipsieve.io import store
from clipsieve.io.tables import write_table

D, LAYERS, HEADS, D_HEAD, WIDTH = 12, 2, 3, 4, 6


def write_image_set(
    folder: Path, image_set: str, *, label: int, groups: int = 40, shift: float = 0.0, seed: int = 0
) -> tuple[Path, Path]:
    """An embedding file and a split table: groups g0.. in train, val and test by turns of ten."""
    rng = np.random.default_rng([seed, label, len(image_set)])
    embedding = rng.normal(size=(groups, D)).astype(np.float32)
    embedding[:, 0] += shift
    heads = rng.normal(size=(groups, LAYERS, HEADS, D_HEAD)).astype(np.float32)
    heads[:, 1, 2, 0] += shift
    basis = rng.normal(size=(LAYERS, HEADS, D_HEAD, D_HEAD)).astype(np.float32)
    layers = rng.normal(size=(groups, LAYERS, WIDTH)).astype(np.float32)
    layers[:, 1, 3] += 2 * shift
    ids = [f"{image_set}/g{i}.png" for i in range(groups)]
    h5 = folder / "embeddings" / f"{image_set}.h5"
    arrays = {"embedding": embedding, "heads": heads, "head_basis": basis, "layers": layers}
    store.write_embeddings(h5, image_id=ids, **arrays)
    splits = folder / "splits" / f"{image_set}.parquet"
    frame = pd.DataFrame(
        {
            "image_id": ids,
            "group": [f"g{i}" for i in range(groups)],
            "label": label,
            "generator": None if label else image_set,
            "split": [("train", "train", "val", "test")[i % 4] for i in range(groups)],
        }
    )
    write_table(frame, splits)
    return h5, splits
