"""Score files: the logit of every probe of a family on every test image, as one matrix (HDF5)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from clipsieve.errors import UserError
from clipsieve.families import TWIN
from clipsieve.io import hdf5
from clipsieve.io.files import replacing
from clipsieve.io.hdf5 import PathLike
from clipsieve.io.probe_scores import OPERATING, Scores, joined_choices
from clipsieve.io.tested_images import IMAGE_TEXTS, Images, checked_images, require_same_images
from clipsieve.io.training import KINDS, ONE

if TYPE_CHECKING:
    import h5py

__all__ = [
    "OPERATING",
    "AllScores",
    "Images",
    "Scores",
    "Twin",
    "joined_choices",
    "read_scores",
    "write_scores",
]

# Numbers in an HDF5 chunk of the logits: about 1 MiB.
_CHUNK = 1 << 17


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
            [one.of_images(keep) for one in each] for each in (self.scores, self.several)
        )
        twins = {
            name: replace(twin, scores=twin.scores.of_images(keep))
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
    probes = [probe for _, each in ordered for probe in each]
    shape = (len(probes), len(scores.images.label))
    rows = max(1, min(shape[0], _CHUNK // max(1, shape[1])))
    with replacing(path) as temporary, hdf5.create(temporary) as file:
        # `hdf5.numbers` refuses the NaN that marks an image to which a probe was not applied
        hdf5.dataset(file, "logits", shape, np.float64, (rows, shape[1]))
        start = 0
        for logits, each in ordered:
            file["logits"][start : start + len(each)] = logits
            start += len(each)
        hdf5.strings(file, "feature_set", [probe.feature_set for probe in probes])
        hdf5.numbers(file, "draw", np.array([probe.draw for probe in probes], dtype=np.int64))
        hdf5.strings(file, "train", [probe.train for probe in probes])
        hdf5.strings(file, "training", [probe.training for probe in probes])
        hdf5.numbers(file, "choice", np.array([probe.choice for probe in probes], dtype=np.int64))
        hdf5.strings(file, "tested", [" ".join(probe.tested) for probe in probes])
        hdf5.strings(file, "grid", [_grid_of(scores, probe) for probe in probes])
        hdf5.numbers(file, "threshold", np.array([probe.threshold for probe in probes]))
        for k, name in enumerate(OPERATING):
            limits = np.array([probe.limits[k] for probe in probes])
            hdf5.dataset(file, f"threshold_{name}", limits.shape, np.float64, limits.shape)
            file[f"threshold_{name}"][...] = limits
        for name, column in scores.images.columns().items():
            if name == "label":
                hdf5.numbers(file, name, column.astype(np.int64))
            else:
                hdf5.strings(file, name, column.tolist())
        facts = {"run": scores.run, "encoder": scores.encoder, "seed": scores.seed}
        hdf5.set_attributes(file, "scores", facts)


class _Row(NamedTuple):
    """What a file says of one probe; the first four fields say which it is, and sort the rows."""

    feature_set: str
    draw: int
    train: str
    choice: int
    training: str
    tested: tuple[str, ...]
    threshold: float
    limits: tuple[float, ...]

    @property
    def place(self) -> tuple[str, int, str, int]:
        return self[:4]


def _grid_of(scores: AllScores, probe: _Row) -> str:
    """Return the grid that a probe was made on; empty where it is not known."""
    if probe.training != ONE:
        return "fast"  # that of all training sets, whatever the other probes are fitted on
    if probe.draw == TWIN:
        return scores.twins[probe.feature_set].grid
    return scores.grid.get(probe.feature_set, "")


def _by_draw(scores: list[Scores]) -> list[tuple[NDArray[np.float64], list[_Row]]]:
    """Join the rows of each feature set and draw, sorted: their logits, and what is said of them."""
    joined = []
    parts = [part for one in scores for part in (one.nested or (one,))]
    ordered = sorted(parts, key=lambda one: (one.feature_set, one.draw))
    for _, each in groupby(ordered, lambda one: (one.feature_set, one.draw)):
        logits, rows = [], []
        for one in each:
            # a training set that is tested on generators of other choices has no row of this one
            there = np.flatnonzero(~np.isnan(one.threshold))
            logits.append(one.logits[there])
            rows += [
                _Row(
                    one.feature_set, one.draw, one.train[k], one.choice, one.training, one.tested,
                    float(one.threshold[k]),
                    tuple(float(one.operating_threshold(name)[k]) for name in OPERATING),
                )
                for k in there
            ]  # fmt: skip
        order = sorted(range(len(rows)), key=lambda k: rows[k].place)
        joined.append((np.concatenate(logits)[order], [rows[k] for k in order]))
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
        require_same_images(path, part.images, first_path, first.images)
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
        columns = {name: hdf5.read_strings(file, name).astype(str) for name in IMAGE_TEXTS}
        label = np.asarray(file["label"][...], dtype=np.int64)
        probes, grids = _read_probes(file)
        logits = np.asarray(file["logits"][...], dtype=np.float64)
        run, encoder, seed = str(facts["run"]), str(facts["encoder"]), int(facts["seed"])
    lengths = {len(probes), len(grids)}, {len(label), *map(len, columns.values())}
    if logits.ndim != 2 or lengths != ({logits.shape[0]}, {logits.shape[1]}):
        raise UserError(f"{path}: logits of shape {logits.shape} do not fit the columns beside it")
    if not probes:
        raise UserError(f"{path}: holds no probe")
    for before, after in pairwise(probes):
        if before.place >= after.place:
            raise UserError(
                f"{path}: probes must be sorted by feature set, draw and training generator, each"
                f" once; {after.feature_set}, draw {after.draw}, trained on {after.train} follows"
                f" {before.feature_set}, draw {before.draw}, trained on {before.train}"
            )
    images = checked_images(path, columns, label)
    _require_finite(path, images, probes, logits)
    if not np.isfinite([probe.threshold for probe in probes]).all():
        raise UserError(f"{path}: a threshold is not a finite number")
    unknown = sorted({probe.training for probe in probes} - set(KINDS))
    if unknown:
        raise UserError(f"{path}: training {unknown[0]!r}; allowed: {', '.join(KINDS)}")
    rows: dict[tuple[str, int, str], dict[int, list[int]]] = {}
    for k, probe in enumerate(probes):
        key = (probe.feature_set, probe.draw, probe.training)
        rows.setdefault(key, {}).setdefault(probe.choice, []).append(k)
    found = AllScores(encoder, seed, images, [], run=run)
    for (feature_set, draw, kind), choices in rows.items():
        parts = []
        for choice, mine in choices.items():
            # one range where it can be, which is not copied
            part = slice(mine[0], mine[-1] + 1) if mine[-1] - mine[0] + 1 == len(mine) else mine
            train = [probes[k].train for k in mine]
            cuts = np.array([probes[k].threshold for k in mine])
            limits = {
                name: np.array([probes[k].limits[at] for k in mine])
                for at, name in enumerate(OPERATING)
            }
            tested = probes[mine[0]].tested
            parts.append(
                Scores(
                    feature_set, draw, train, logits[part], cuts, kind, limits, (), choice, tested
                )
            )
        one = parts[0] if choices.keys() == {0} else joined_choices(parts, images)
        grid = grids[next(iter(choices.values()))[0]]
        if kind != ONE:
            found.several.append(one)
        elif draw == TWIN:
            found.twins[feature_set] = Twin(one, grid)
        else:
            found.scores.append(one)
            found.grid[feature_set] = grid
    return found


def _read_probes(file: h5py.File) -> tuple[list[_Row], list[str]]:
    """Read what is said of each probe, and its grid."""
    names, trains, grids, kinds = (
        hdf5.read_strings(file, name).tolist()
        for name in ("feature_set", "train", "grid", "training")
    )
    draws = file["draw"][...].tolist()
    threshold = np.asarray(file["threshold"][...], dtype=np.float64).tolist()
    # files of an earlier version have one choice for all tested generators
    choices = file["choice"][...].tolist() if "choice" in file else [0] * len(names)
    tested = hdf5.read_strings(file, "tested").tolist() if "tested" in file else [""] * len(names)
    limits = list(
        zip(*(file[f"threshold_{name}"][...].tolist() for name in OPERATING), strict=True)
    )
    columns = (names, draws, trains, choices, kinds, tested, threshold, limits)
    lengths = {len(column) for column in columns}
    if len(lengths) > 1:
        raise ValueError(f"the columns of its probes have {sorted(lengths)} rows")
    probes = [
        _Row(name, draw, train, choice, kind, tuple(those.split()), cut, at)
        for name, draw, train, choice, kind, those, cut, at in zip(*columns, strict=True)
    ]
    return probes, grids


def _require_finite(
    path: PathLike, images: Images, probes: list[_Row], logits: NDArray[Any]
) -> None:
    """Refuse infinite logits, and NaN in an image set to which the probe was applied."""
    finite = np.isfinite(logits)
    if finite.all():
        return
    wrong = np.isinf(logits)
    for name in np.unique(images.image_set).tolist():
        mine = images.image_set == name
        applied = finite[:, mine].any(axis=1)
        wrong[:, mine] |= applied[:, None] & ~finite[:, mine]
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        feature_set, draw, train, _ = probes[row].place
        raise UserError(
            f"{path}: the logit of {images.image_id[column]} is not a finite number"
            f" ({feature_set}, draw {draw}, trained on {train})"
        )
