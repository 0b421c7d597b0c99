"""Score files: the logit of every probe of a family on every test image, as one matrix (HDF5)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clipsieve.errors import UserError
from clipsieve.families import TWIN
from clipsieve.io import hdf5
from clipsieve.io.files import replacing
from clipsieve.io.hdf5 import PathLike
from clipsieve.io.score_checks import checked_families, require_finite, require_same_images
from clipsieve.io.training import KINDS, ONE

if TYPE_CHECKING:
    import h5py

# Columns of the images that are text; `label` is beside them.
_IMAGE_TEXTS = ("image_id", "image_set", "source", "generator", "family", "group", "split")
# Numbers in an HDF5 chunk of the logits: about 1 MiB.
_CHUNK = 1 << 17
#: Thresholds for a rate of false alarms, as probes name them.
OPERATING = ("fpr_1", "fpr_5")


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
    training
        `one`: each probe is trained on one generator. Otherwise the kind of the training sets
        (`clipsieve.io.training.KINDS`), whose names stand in `train`; such a probe is applied to the
        generators outside its set alone.
    operating
        float64 [P] for each of `OPERATING`: threshold fixed on val for that rate of false alarms, NaN
        where there were too few real images. Where a name is missing, no probe has such a threshold.
    """

    feature_set: str
    draw: int
    train: list[str]
    logits: NDArray[np.float64]
    threshold: NDArray[np.float64]
    training: str = ONE
    operating: dict[str, NDArray[np.float64]] = field(default_factory=dict)

    def operating_threshold(self, name: str) -> NDArray[np.float64]:
        """Return the thresholds [P] for one rate of false alarms; NaN where there is none."""
        return self.operating.get(name, np.full(len(self.train), np.nan))


@dataclass(frozen=True)
class Twin:
    """Scores of the twins of a feature set's probes, and the grid that they were made on."""

    scores: Scores
    grid: str


@dataclass
class AllScores:
    """What the score files of one encoder and seed hold.

    Attributes
    ----------
    encoder, seed, run
        Whose scores they are.
    images
        The columns of every matrix.
    scores
        One entry for each feature set and draw, in sorted order: probes trained on one generator.
    grid
        Hyperparameter grid of these probes, by feature set; empty where it is not known.
    several
        One entry for each feature set, draw and kind of training sets: probes trained on several
        generators. They are apart, so that no mean over the transfer matrix counts them.
    twins
        Of feature sets with controls that are drawn many times: their probes made as those draws
        are. Ranks among the draws read them, and nothing else does.
    """

    encoder: str
    seed: int
    images: Images
    scores: list[Scores]
    grid: dict[str, str] = field(default_factory=dict)
    run: str = ""
    several: list[Scores] = field(default_factory=list)
    twins: dict[str, Twin] = field(default_factory=dict)

    def take(self, keep: NDArray[np.bool_]) -> AllScores:
        """Return the scores of the images where the mask `keep` [n] is true."""
        columns = {
            name: column[keep]
            for name in ("image_id", "image_set", "source", "group", "label", "split")
            if (column := getattr(self.images, name)) is not None
        }
        parts, several = (
            [replace(one, logits=one.logits[:, keep]) for one in each]
            for each in (self.scores, self.several)
        )
        twins = {
            name: replace(twin, scores=replace(twin.scores, logits=twin.scores.logits[:, keep]))
            for name, twin in self.twins.items()
        }
        images = replace(self.images, **columns)
        return replace(self, images=images, scores=parts, several=several, twins=twins)


def write_scores(path: PathLike, scores: AllScores) -> None:
    """Write the scores of one family (docs/formats.md, Scores); equal scores give equal bytes.

    Parameters
    ----------
    path
        The file; it appears whole, by rename.
    scores
        The family's feature sets and draws.

    Raises
    ------
    ValueError
        There is no probe, or the split of the images is not given.
    """
    twins = [twin.scores for twin in scores.twins.values()]
    ordered = _by_draw([*scores.scores, *scores.several, *twins])
    if not ordered:
        raise ValueError("scores: no probe")
    probes = [
        (one.feature_set, one.draw, train, kind)
        for one, kinds in ordered
        for train, kind in zip(one.train, kinds, strict=True)
    ]
    shape = (len(probes), len(scores.images.label))
    rows = max(1, min(shape[0], _CHUNK // max(1, shape[1])))
    with replacing(path) as temporary, hdf5.create(temporary) as file:
        # `hdf5.numbers` refuses the NaN that marks an image to which a probe was not applied
        hdf5.dataset(file, "logits", shape, np.float64, (rows, shape[1]))
        start = 0
        for one, _ in ordered:
            file["logits"][start : start + len(one.train)] = one.logits
            start += len(one.train)
        names, draws, trains, kinds = (list(column) for column in zip(*probes, strict=True))
        hdf5.strings(file, "feature_set", names)
        hdf5.numbers(file, "draw", np.array(draws, dtype=np.int64))
        hdf5.strings(file, "train", trains)
        hdf5.strings(file, "training", kinds)
        hdf5.strings(file, "grid", [_grid_of(scores, *probe) for probe in probes])
        hdf5.numbers(file, "threshold", np.concatenate([one.threshold for one, _ in ordered]))
        for name in OPERATING:
            column = np.concatenate([one.operating_threshold(name) for one, _ in ordered])
            hdf5.dataset(file, f"threshold_{name}", column.shape, np.float64, column.shape)
            file[f"threshold_{name}"][...] = column
        for name, column in scores.images.columns().items():
            if name == "label":
                hdf5.numbers(file, name, column.astype(np.int64))
            else:
                hdf5.strings(file, name, column.tolist())
        facts = {"run": scores.run, "encoder": scores.encoder, "seed": scores.seed}
        hdf5.set_attributes(file, "scores", facts)


def _grid_of(scores: AllScores, feature_set: str, draw: int, train: str, kind: str) -> str:
    """Return the grid that a probe was made on; empty where it is not known."""
    if kind != ONE:
        return "fast"  # that of all training sets, whatever the other probes are fitted on
    if draw == TWIN:
        return scores.twins[feature_set].grid
    return scores.grid.get(feature_set, "")


def _by_draw(scores: list[Scores]) -> list[tuple[Scores, list[str]]]:
    """Join the kinds of training of each feature set and draw, rows sorted; each with its kinds."""
    joined = []
    ordered = sorted(scores, key=lambda one: (one.feature_set, one.draw))
    for (feature_set, draw), each in groupby(ordered, lambda one: (one.feature_set, one.draw)):
        parts = list(each)
        train = [name for part in parts for name in part.train]
        order = np.argsort(np.array(train), kind="stable")
        logits = np.concatenate([part.logits for part in parts])[order]
        threshold = np.concatenate([part.threshold for part in parts])[order]
        kinds = [part.training for part in parts for _ in part.train]
        whole = Scores(feature_set, draw, [train[k] for k in order], logits, threshold)
        whole.operating.update(
            {
                name: np.concatenate([part.operating_threshold(name) for part in parts])[order]
                for name in OPERATING
            }
        )
        joined.append((whole, [kinds[k] for k in order]))
    return joined


def read_scores(paths: Iterable[PathLike]) -> AllScores:
    """Read the score files of one encoder and seed, joined on their images.

    Parameters
    ----------
    paths
        Score files, one for each family.

    Raises
    ------
    UserError
        A file is missing, damaged or not a score file; an image is not of the test split or occurs
        twice; an image set has two labels, sources or families, or lacks its source's real images;
        a logit is not finite where its probe was applied; a probe occurs twice; the files are of
        different runs, encoders or seeds, or of different images. The line names the file.
    """
    files = {str(path): _read(path) for path in paths}
    if not files:
        raise UserError("evaluation: no score file is given")
    (first_path, first), *others = files.items()
    found = {_key(one): (first_path, one) for one in (*first.scores, *first.several)}
    for path, part in others:
        for name in ("run", "encoder", "seed"):
            mine, wanted = getattr(part, name), getattr(first, name)
            if mine != wanted:
                raise UserError(f"{path}: {name} {mine!r}, but {first_path} is of {wanted!r}")
        require_same_images(path, part.images.columns(), first_path, first.images.columns())
        for one in (*part.scores, *part.several):
            key = _key(one)
            if key in found:
                raise UserError(f"{path}: {key[0]}, draw {key[1]}, is in {found[key][0]} too")
            found[key] = (path, one)
    every = [found[key][1] for key in sorted(found)]
    grid = {name: kind for part in files.values() for name, kind in part.grid.items()}
    twins = {name: twin for part in files.values() for name, twin in part.twins.items()}
    return replace(
        first,
        scores=[one for one in every if one.training == ONE],
        grid=grid,
        several=[one for one in every if one.training != ONE],
        twins=twins,
    )


def _key(one: Scores) -> tuple[str, int, str]:
    return one.feature_set, one.draw, one.training


def _read(path: PathLike) -> AllScores:
    """Read and check one file."""
    with hdf5.opened(path, "scores") as file:
        facts = hdf5.get_attributes(file)
        columns = {name: hdf5.read_strings(file, name).astype(str) for name in _IMAGE_TEXTS}
        label = np.asarray(file["label"][...], dtype=np.int64)
        probes, threshold, grids, kinds = _read_probes(file)
        operating = {
            name: np.asarray(file[f"threshold_{name}"][...], dtype=np.float64) for name in OPERATING
        }
        logits = np.asarray(file["logits"][...], dtype=np.float64)
        run, encoder, seed = str(facts["run"]), str(facts["encoder"]), int(facts["seed"])
    per_probe = {len(probes), len(threshold), len(grids), len(kinds)}
    per_probe |= {len(column) for column in operating.values()}
    lengths = per_probe, {len(label), *map(len, columns.values())}
    if logits.ndim != 2 or lengths != ({logits.shape[0]}, {logits.shape[1]}):
        raise UserError(f"{path}: logits of shape {logits.shape} do not fit the columns beside it")
    if not probes:
        raise UserError(f"{path}: holds no probe")
    for before, after in pairwise(probes):
        if before >= after:
            raise UserError(
                f"{path}: probes must be sorted by feature set, draw and training generator, each"
                f" once; {after[0]}, draw {after[1]}, trained on {after[2]} follows {before[0]},"
                f" draw {before[1]}, trained on {before[2]}"
            )
    family = checked_families(path, columns, label)
    ids, sets, source, group = (
        columns[name] for name in ("image_id", "image_set", "source", "group")
    )
    images = Images(ids, sets, source, group, label, family, columns["split"])
    require_finite(path, columns, probes, logits)
    if not np.isfinite(threshold).all():
        raise UserError(f"{path}: a threshold is not a finite number")
    unknown = sorted(set(kinds) - set(KINDS))
    if unknown:
        raise UserError(f"{path}: training {unknown[0]!r}; allowed: {', '.join(KINDS)}")
    rows: dict[tuple[str, int, str], list[int]] = {}
    for k, ((feature_set, draw, _), kind) in enumerate(zip(probes, kinds, strict=True)):
        rows.setdefault((feature_set, draw, kind), []).append(k)
    found = AllScores(encoder, seed, images, [], run=run)
    for (feature_set, draw, kind), mine in rows.items():
        # one range where it can be, which is not copied
        part = slice(mine[0], mine[-1] + 1) if mine[-1] - mine[0] + 1 == len(mine) else mine
        train = [probes[k][2] for k in mine]
        limits = {name: column[part] for name, column in operating.items()}
        one = Scores(feature_set, draw, train, logits[part], threshold[part], kind, limits)
        if kind != ONE:
            found.several.append(one)
        elif draw == TWIN:
            found.twins[feature_set] = Twin(one, grids[mine[0]])
        else:
            found.scores.append(one)
            found.grid[feature_set] = grids[mine[0]]
    return found


def _read_probes(
    file: h5py.File,
) -> tuple[list[tuple[str, int, str]], NDArray[np.float64], list[str], list[str]]:
    """Feature set, draw and training generator of each probe; thresholds, grids, kinds of training."""
    names, trains, grids, kinds = (
        hdf5.read_strings(file, name).tolist()
        for name in ("feature_set", "train", "grid", "training")
    )
    draws = file["draw"][...].tolist()
    threshold = np.asarray(file["threshold"][...], dtype=np.float64)
    probes = list(zip(names, draws, trains, strict=False))
    return probes, threshold, grids, kinds
