"""The training images of a detector, read from the files of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from clipsieve.detector.explanation import effective_weights
from clipsieve.detector.model import Model, Reference
from clipsieve.detector.training_images import likeness, training_facts
from clipsieve.errors import UserError
from clipsieve.io import store
from clipsieve.io.dataset import Rows, read_rows
from clipsieve.io.roles import EVALUATION, FITTING
from clipsieve.io.tables import read_table

if TYPE_CHECKING:
    import pandas as pd

#: Training images that are kept for explanations, and the longest list of texts that is.
KEPT = 1000
MOST_TEXTS = 2000
_WORDS = 8
_COLUMNS = ("image_id", "label", "format", "mode", "width", "height", "bytes", "jpeg_quality")


class TrainingMaterial:
    """Training images of a detector: their rows, files, mean and what explanations keep of them.

    Parameters
    ----------
    run : Path
        The run's folder.
    seed, encoder
        Which of the run's.
    generators : sequence of str
        Those that the detector is trained on.
    source_of : mapping
        Source of each of them.
    texts : sequence of path, optional
        Embedded texts; by default every list of the run with at most `MOST_TEXTS` texts.

    Attributes
    ----------
    rows : Rows
        Training and validation rows; no test row is among them.
    attributes : dict
        What the embeddings say of their encoder.
    train, test : DataFrame
        File facts of these rows, and of the test images of the same sets.
    mean : float64 [D]
    facts : dict
        Of `training_facts`, with `likeness`: the least cosine with the mean but for one in a thousand.
    sources : list of str
    reference : Reference
    """

    def __init__(
        self,
        run: Path,
        seed: int,
        encoder: str,
        generators: Sequence[str],
        source_of: Mapping[str, str],
        texts: Sequence[str] | None = None,
    ) -> None:
        self.sources = sorted({str(source_of[name]) for name in generators})
        sets = [*generators, *self.sources]
        embeddings = [run / f"embeddings/{encoder}/{name}.h5" for name in sets]
        splits = [run / f"seed{seed}/splits/{name}.parquet" for name in sets]
        self.rows = read_rows(embeddings, splits, FITTING, "detector")
        self.attributes = store.read_attributes(embeddings[0])
        images = _image_tables([run / f"images/{name}.parquet" for name in sets])
        self.train = _rows_of(images, self.rows)
        self.test = _test_files(images, splits)
        self.mean = self.rows.embedding.mean(axis=0, dtype=np.float64)
        self.facts = training_facts(self.train)
        self.facts["likeness"] = float(np.quantile(likeness(self.rows.embedding, self.mean), 0.001))
        given = texts if texts is not None else sorted((run / f"texts/{encoder}").glob("*.h5"))
        self.reference = self._reference(given)

    def _reference(self, paths: Sequence[str | Path]) -> Reference:
        """Keep some training images and the short text lists."""
        from clipsieve.interpretation.nearest import first_of_each

        rows = self.rows
        order = np.random.default_rng(0).permutation(len(rows))
        kept = np.sort(order[:KEPT])
        texts: dict[str, Any] = {}
        for path in paths:
            found = store.read_texts(path)
            if len(found.text) <= MOST_TEXTS:
                for k in first_of_each(found.duplicate_of):
                    texts.setdefault(str(found.text[k]), found.embedding[k])
        width = rows.embedding.shape[1]
        vectors = np.array(list(texts.values()), dtype=np.float16).reshape(len(texts), width)
        return Reference(
            rows.image_id[kept].tolist(), rows.image_set[kept].tolist(), rows.label[kept],
            rows.embedding[kept].astype(np.float16), list(texts), vectors,
        )  # fmt: skip


def _image_tables(paths: Sequence[Path]) -> pd.DataFrame:
    """Read what is known of the files of several image sets."""
    import pandas as pd

    return pd.concat([read_table(path, _COLUMNS)[0] for path in paths], ignore_index=True)


def _test_files(images: pd.DataFrame, splits: Sequence[Path]) -> pd.DataFrame:
    """Return the files of the test images."""
    ids: set[str] = set()
    for path in splits:
        table, _ = read_table(path, ("image_id", "split"))
        ids |= set(table.loc[table["split"].isin(list(EVALUATION)), "image_id"])
    return images[images["image_id"].isin(list(ids))]


def _rows_of(images: pd.DataFrame, rows: Rows) -> pd.DataFrame:
    """Return the facts of exactly the images in `rows`."""
    known = images.set_index("image_id")
    missing = [image for image in rows.image_id.tolist() if image not in known.index]
    if missing:
        raise UserError(f"detector: no image table has the training image {missing[0]}")
    return known.loc[rows.image_id]


def nearest_to_detector(
    model: Model, material: TrainingMaterial, *, draws: int
) -> list[dict[str, Any]]:
    """Return the texts nearest to the direction along which P(generated) rises, with their null.

    Parameters
    ----------
    model, material
        The detector, and the images that it was trained on.
    draws
        Random directions, with the covariance of these images.

    Returns
    -------
    list of dict
        `text`, `cosine` and `p`; empty for a detector of heads, or without texts.
    """
    from clipsieve.interpretation.explain import explain_with_texts
    from clipsieve.interpretation.nearest import Direction
    from clipsieve.interpretation.null_directions import Meaningless

    reference = model.reference
    if model.needs_heads or not reference.texts:
        return []
    weights, _ = effective_weights(model, material.mean)
    used = np.flatnonzero(weights)
    columns = None if len(used) == len(weights) else tuple(used.tolist())
    direction = Direction("probe", "detector", model.facts["feature_set"], -weights, columns)
    null = Meaningless(material.rows.embedding, draws=draws, seed=0)
    texts = reference.text_embedding.astype(np.float32)
    table = explain_with_texts([direction], reference.texts, texts, null, top=_WORDS)
    return [
        {"text": str(row["text"]), "cosine": float(row["cosine"]), "p": float(row["p"])}
        for row in table[table["side"] == "nearest"].to_dict("records")
    ]
