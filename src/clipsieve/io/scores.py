"""Score files as matrices: one row a probe, one column a test image, the same images for all."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipsieve.errors import UserError
from clipsieve.io.roles import EVALUATION, require_splits
from clipsieve.io.tables import note_of

COLUMNS = (
    *("encoder", "seed", "feature_set", "draw", "train", "image_set", "generator"),
    *("image_id", "group", "label", "split", "logit", "threshold"),
)
# Text columns that repeat; read as codes, so that no row holds a string of its own.
_TEXTS = ("encoder", "feature_set", "train", "image_set", "image_id", "group", "split")


@dataclass
class Images:
    """Every test image of the run, in the order of first appearance.

    Attributes
    ----------
    image_id, image_set, source, group
        str [n]. The source of a real image is its own image set.
    label
        int64 [n], 0 = generated, 1 = real.
    """

    image_id: NDArray[np.str_]
    image_set: NDArray[np.str_]
    source: NDArray[np.str_]
    group: NDArray[np.str_]
    label: NDArray[np.int64]


@dataclass
class Scores:
    """Logits of the probes of one feature set and draw.

    Attributes
    ----------
    feature_set, draw
        Which.
    train
        Training generator of each probe, P names in sorted order.
    logits
        float64 [P, n] on the columns of `Images`; NaN where the probe was not applied.
    threshold
        float64 [P].
    """

    feature_set: str
    draw: int
    train: list[str]
    logits: NDArray[np.float64]
    threshold: NDArray[np.float64]


@dataclass
class AllScores:
    """What a run's score files hold, for one encoder and seed.

    Attributes
    ----------
    grid
        Hyperparameter grid of the probes of each feature set; empty where it is not known.
    """

    encoder: str
    seed: int
    images: Images
    scores: list[Scores]
    grid: dict[str, str] = field(default_factory=dict)


def read_scores(
    paths: Iterable[str | os.PathLike[str]], sources: Mapping[str, str] | None = None
) -> AllScores:
    """Read score files into matrices.

    Parameters
    ----------
    paths
        Score files of one encoder and seed (docs/formats.md, Scores).
    sources
        Source of each generator. Without it the files' column ``source`` is used, or, where that is
        missing too, the only real image set there is.

    Raises
    ------
    UserError
        A file is missing or lacks a column; the files are of different encoders or seeds; an image
        is not of the test split, has two labels or groups, or is scored twice by a probe; a logit
        is not finite; a generator's source is not known.
    """
    reader = _Reader()
    for path in paths:
        reader.read(path)
    return reader.finish(dict(sources or {}))


class _Reader:
    """Gathers rows batch by batch, so that only logits and one copy of the images are held."""

    def __init__(self) -> None:
        self.index: dict[str, int] = {}
        self.facts: dict[str, list[str]] = {name: [] for name in ("image_set", "group", "source")}
        self.label: list[int] = []
        self.probes: dict[tuple[str, int, str], list[tuple[NDArray[Any], NDArray[Any]]]] = {}
        self.threshold: dict[tuple[str, int, str], float] = {}
        self.run: set[tuple[str, int]] = set()
        self.grid: dict[str, str] = {}

    def read(self, path: str | os.PathLike[str]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            file = pq.ParquetFile(path, read_dictionary=list(_TEXTS))
        except FileNotFoundError:
            raise UserError(f"{path}: no such file") from None
        except (pa.ArrowInvalid, OSError) as error:
            raise UserError(f"{path}: not a readable parquet table ({error})") from None
        names = file.schema_arrow.names
        missing = [name for name in COLUMNS if name not in names]
        if missing:
            raise UserError(f"{path}: no column {missing[0]!r}; it has {', '.join(names)}")
        wanted = [*COLUMNS, *(["source"] if "source" in names else [])]
        wanted.remove("generator")  # the image set says it
        grid = str(note_of(file.schema_arrow).get("grid", ""))
        with file:
            for batch in file.iter_batches(batch_size=1 << 20, columns=wanted):
                if batch.num_rows:
                    self._batch(batch, str(path), grid)

    def _batch(self, batch: Any, path: str, grid: str) -> None:
        columns = {name: _codes(batch.column(name)) for name in _TEXTS}
        self.grid |= dict.fromkeys(columns["feature_set"][1].tolist(), grid)
        split_codes, split_names = columns["split"]
        if set(split_names[np.unique(split_codes)]) != set(EVALUATION):
            ids = columns["image_id"]
            require_splits(
                split_names[split_codes], EVALUATION, f"evaluation of {path}", ids=ids[1][ids[0]]
            )
        for encoder in columns["encoder"][1][np.unique(columns["encoder"][0])]:
            for seed in np.unique(batch.column("seed").to_numpy(zero_copy_only=False)):
                self.run.add((str(encoder), int(seed)))
        if len(self.run) > 1:
            raise UserError(f"{path}: scores of more than one encoder or seed: {sorted(self.run)}")
        logits = batch.column("logit").to_numpy(zero_copy_only=False)
        if not np.isfinite(logits).all():
            bad = columns["image_id"][1][columns["image_id"][0][~np.isfinite(logits)][0]]
            raise UserError(f"{path}: the logit of {bad} is not a finite number")
        image = self._images(batch, columns, path)
        draw = batch.column("draw").to_numpy(zero_copy_only=False).astype(np.int64)
        threshold = batch.column("threshold").to_numpy(zero_copy_only=False).astype(np.float64)
        self._probes(columns, draw, image, logits, threshold, path)

    def _images(self, batch: Any, columns: Mapping[str, Any], path: str) -> NDArray[np.int64]:
        codes, ids = columns["image_id"]
        used, first = np.unique(codes, return_index=True)
        label = batch.column("label").to_numpy(zero_copy_only=False)
        set_codes, sets = columns["image_set"]
        group_codes, groups = columns["group"]
        named = "source" in batch.schema.names
        source = batch.column("source").take(first).to_pylist() if named else None
        position = np.full(len(ids), -1, dtype=np.int64)
        for k, (code, row) in enumerate(zip(used.tolist(), first.tolist(), strict=True)):
            name = str(ids[code])
            facts = (str(sets[set_codes[row]]), str(groups[group_codes[row]]))
            at = self.index.get(name)
            if at is None:
                at = self.index[name] = len(self.label)
                self.facts["image_set"].append(facts[0])
                self.facts["group"].append(facts[1])
                self.facts["source"].append(str(source[k] or "") if source else "")
                self.label.append(int(label[row]))
            elif facts != (self.facts["image_set"][at], self.facts["group"][at]):
                raise UserError(f"{path}: image {name} is of another image set or group elsewhere")
            position[code] = at
        image = position[codes]
        if (np.asarray(self.label)[image] != label).any():
            wrong = ids[codes[np.asarray(self.label)[image] != label][0]]
            raise UserError(f"{path}: image {wrong} has two labels")
        return image

    def _probes(
        self,
        columns: Mapping[str, Any],
        draw: NDArray[np.int64],
        image: NDArray[Any],
        logits: NDArray[Any],
        threshold: NDArray[Any],
        path: str,
    ) -> None:
        set_codes, sets = columns["feature_set"]
        train_codes, trains = columns["train"]
        n_draws, n_trains = int(draw.max()) + 1, len(trains)
        key = (set_codes.astype(np.int64) * n_draws + draw) * n_trains + train_codes
        order = np.argsort(key, kind="stable")
        starts = np.flatnonzero(np.r_[True, np.diff(key[order]) != 0])
        for rows in np.split(order, starts[1:]):
            one = rows[0]
            name = (str(sets[set_codes[one]]), int(draw[one]), str(trains[train_codes[one]]))
            limit = self.threshold.setdefault(name, float(threshold[one]))
            if (threshold[rows] != limit).any():
                raise UserError(f"{path}: {name[0]} trained on {name[2]} has two thresholds")
            self.probes.setdefault(name, []).append((image[rows], logits[rows]))

    def finish(self, sources: dict[str, str]) -> AllScores:
        if not self.probes:
            raise UserError("evaluation: the score files hold no row")
        images = self._finish_images(sources)
        grouped: dict[tuple[str, int], list[str]] = {}
        for feature_set, draw, train in sorted(self.probes):
            grouped.setdefault((feature_set, draw), []).append(train)
        scores = []
        for (feature_set, draw), trains in grouped.items():
            matrix = np.full((len(trains), len(self.label)), np.nan)
            limits = np.empty(len(trains))
            for row, train in enumerate(trains):
                parts = self.probes.pop((feature_set, draw, train))
                index = np.concatenate([part[0] for part in parts])
                if len(np.unique(index)) < len(index):
                    raise UserError(
                        f"evaluation: {feature_set}, draw {draw}, trained on {train}:"
                        " an image is scored twice"
                    )
                matrix[row, index] = np.concatenate([part[1] for part in parts])
                limits[row] = self.threshold[feature_set, draw, train]
            scores.append(Scores(feature_set, draw, trains, matrix, limits))
        ((encoder, seed),) = self.run
        return AllScores(encoder, seed, images, scores, self.grid)

    def _finish_images(self, sources: dict[str, str]) -> Images:
        image_set = np.array(self.facts["image_set"])
        label = np.array(self.label, dtype=np.int64)
        real_sets = sorted(set(image_set[label == 1].tolist()))
        known = dict(zip(self.facts["image_set"], self.facts["source"], strict=True))
        source_of = {name: name for name in real_sets}
        for name in sorted(set(image_set[label == 0].tolist())):
            if name in source_of:
                raise UserError(f"evaluation: image set {name} has real and generated images")
            only = real_sets[0] if len(real_sets) == 1 else ""
            source = sources.get(name) or known[name] or only
            if source not in real_sets:
                raise UserError(
                    f"evaluation: the source of {name} is {source or 'not given'}; score"
                    f" files hold real images of {', '.join(real_sets) or 'no source'}"
                )
            source_of[name] = source
        return Images(
            image_id=np.array(list(self.index)),
            image_set=image_set,
            source=np.array([source_of[name] for name in self.facts["image_set"]]),
            group=np.array(self.facts["group"]),
            label=label,
        )


def _codes(column: Any) -> tuple[NDArray[np.int64], NDArray[np.str_]]:
    """Codes [n] and names of a text column."""
    import pyarrow as pa

    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    names = np.array([str(value) for value in column.dictionary.to_pylist()], dtype=str)
    codes = column.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    if (codes < 0).any():
        names = np.append(names, "")
        codes = np.where(codes < 0, len(names) - 1, codes)
    return codes, names
