"""Score files from tables with one row for each probe and image, as tests make them, and back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from clipsieve.families import TWIN
from clipsieve.io.scores import OPERATING, AllScores, Images, Scores, Twin, write_scores

PROBE_COLUMNS = ("feature_set", "draw", "train", "threshold", "grid")
IMAGE_COLUMNS = (
    *("image_id", "image_set", "source", "generator", "family", "group", "label", "split"),
)


def write_score_table(
    path: Path,
    table: pd.DataFrame,
    *,
    images: pd.DataFrame | None = None,
    sources: Mapping[str, str],
    families: Mapping[str, str],
    grid: str = "",
    twin_grid: str = "",
    run: str = "r",
) -> None:
    """Write rows (encoder, seed, feature_set, draw, train, image_id, .., logit, threshold) as a file.

    `images` are the rows whose images the file has, where these are more than those of `table`.
    Rows of draw -1 are twins, made on `twin_grid`.
    """
    every = (table if images is None else images).drop_duplicates("image_id", ignore_index=True)
    columns = {
        name: every[name].to_numpy(dtype=object).astype(str)
        for name in ("image_id", "image_set", "group", "split")
    }
    source = np.array([sources.get(name, name) for name in columns["image_set"]])
    label = every["label"].to_numpy(dtype=np.int64)
    there = Images(
        columns["image_id"], columns["image_set"], source, columns["group"], label,
        dict(families), columns["split"],
    )  # fmt: skip
    scores, twins = [], {}
    for (feature_set, draw), part in table.groupby(["feature_set", "draw"]):
        wide = part.pivot(index="train", columns="image_id", values="logit")
        logits = wide.reindex(columns=every["image_id"]).to_numpy(dtype=np.float64)
        threshold = part.groupby("train")["threshold"].first().loc[wide.index].to_numpy()
        operating = {
            name: part.groupby("train")[name].first().loc[wide.index].to_numpy(dtype=np.float64)
            for name in OPERATING
            if name in part
        }
        one = Scores(
            str(feature_set), int(draw), wide.index.tolist(), logits, threshold, operating=operating
        )
        if draw == TWIN:
            twins[str(feature_set)] = Twin(one, twin_grid)
        else:
            scores.append(one)
    grids = dict.fromkeys(table["feature_set"], grid)
    first = table.iloc[0]
    seed = int(first["seed"])
    write_scores(path, AllScores(first["encoder"], seed, there, scores, grids, run, twins=twins))


def read_score_table(path: Path) -> pd.DataFrame:
    """Read a score file with h5py alone: one row for each probe and image it was applied to."""
    with h5py.File(path, "r") as file:
        text = {
            name: file[name].asstr()[...] if file[name].dtype.kind == "S" else file[name][...]
            for name in (*PROBE_COLUMNS, *IMAGE_COLUMNS)
        }
        logits = file["logits"][...]
    rows, columns = np.nonzero(np.isfinite(logits))
    table = pd.DataFrame({name: text[name][rows] for name in PROBE_COLUMNS})
    for name in IMAGE_COLUMNS:
        table[name] = text[name][columns]
    return table.assign(logit=logits[rows, columns])
