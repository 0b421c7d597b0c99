"""Gather what the explanations need from a run's files: directions and what their nulls need."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from clipsieve import families
from clipsieve.errors import UserError
from clipsieve.interpretation.concepts import edit_direction, match_edited
from clipsieve.interpretation.nearest import Direction, head_direction, probe_direction
from clipsieve.interpretation.null_directions import (
    LabelledRows,
    Meaningless,
    Refit,
    directions_of_probes,
    patterns_of,
)
from clipsieve.io import store
from clipsieve.io.dataset import Rows, read_rows
from clipsieve.io.feature_sets import read_feature_sets
from clipsieve.io.probes import read_probes
from clipsieve.io.roles import FITTING
from clipsieve.io.tables import read_table

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from clipsieve.io.probes import StoredProbe

log = logging.getLogger("clipsieve")

PathLike = str | Path


@dataclass(frozen=True)
class Material:
    """Directions to explain, their nulls' source, and the images behind both."""

    directions: list[Direction]
    meaningless: Meaningless
    rows: Rows


def read_material(
    *,
    embeddings: Sequence[PathLike],
    splits: Sequence[PathLike],
    probes: Sequence[PathLike],
    images: Sequence[PathLike] = (),
    features: Sequence[PathLike] = (),
    head_maps: PathLike | None = None,
    head_mode: str = "mean",
    patterns: bool = False,
    draws: int = 500,
    seed: int = 0,
    what: str = "interpret",
) -> Material:
    """Read probes, head choices and training images of one encoder and seed.

    Parameters
    ----------
    embeddings, splits : sequence of path
        Embedding files and split tables of every image set, in the same order. Train and val rows
        alone are read.
    probes : sequence of path
        Probe files; those on shuffled labels become the null, the others directions.
    images : sequence of path, optional
        Image tables, which say each generator's source. Needed when there are several sources.
    features : sequence of path, optional
        Feature-set files; the heads that their sets in the space `heads` chose are explained.
    head_maps : path, optional
        The encoder's head maps; needed with chosen heads.
    head_mode : {"mean", "difference"}
        See `nearest.head_direction`.
    patterns : bool, default False
        Whether the pattern of each probe on all columns is a direction too.
    draws, seed : int
        Of the random directions and shuffled residuals.
    what : str
        Name of the use, for messages.

    Raises
    ------
    UserError
        The files don't belong together, or there is nothing to explain.
    """
    rows = read_rows(embeddings, splits, FITTING, what)
    dimensions = rows.embedding.shape[1]
    stored = [probe for path in probes for probe in read_probes(path)]
    for probe in stored:
        _check_width(probe, dimensions, what)
    null = [probe for probe in stored if families.of(probe.feature_set).shuffle]
    real = [probe for probe in stored if not families.of(probe.feature_set).shuffle]
    directions = directions_of_probes(real, dimensions)
    chosen = chosen_heads(features)
    heads: dict[str, LabelledRows] = {}
    projections: dict[str, NDArray] = {}
    if chosen:
        if head_maps is None:
            raise UserError(f"{what}: chosen heads need the encoder's head maps (--head-maps)")
        names = list(dict.fromkeys(head for heads_of in chosen.values() for head in heads_of))
        heads, projections = _read_heads(rows, names, head_maps, images)
        directions += _head_directions(chosen, heads, projections, head_mode)
    if not directions:
        raise UserError(f"{what}: no probe, residual or head to explain in the files given")
    by_generator = _by_generator(
        rows, images, {p.train for p in real if p.space == "residual" or p.columns is not None}
    )
    meaningless = Meaningless(
        embeddings=rows.embedding,
        draws=draws,
        seed=seed,
        by_generator=by_generator,
        shuffled_probes=_shuffled_directions(null, dimensions),
        refits=_refits(real, by_generator),
        heads=heads,
        projections=projections,
        head_mode=head_mode,
    )
    if patterns:
        directions += patterns_of(directions, meaningless.covariance())
    log.info(
        "%s: %d directions, %d images (train, val), %d probes on shuffled labels",
        what, len(directions), len(rows), len(null),
    )  # fmt: skip
    return Material(directions, meaningless, rows)


def _check_width(probe: StoredProbe, dimensions: int, what: str) -> None:
    """Raise UserError for a probe of embeddings of another width."""
    if probe.space not in ("embedding", "residual"):
        return
    if probe.columns is not None:
        last = max(map(int, probe.columns), default=0)
        fits, has = last < dimensions, f"column {last}"
    else:
        weights = probe.coef if probe.residual is None else probe.residual
        fits, has = len(weights) == dimensions, f"{len(weights)} weights"
    if not fits:
        raise UserError(
            f"{what}: the probe {probe.feature_set} of {probe.train} has {has}, the embeddings have"
            f" {dimensions} columns; are both of one encoder?"
        )


def chosen_heads(features: Sequence[PathLike]) -> dict[str, list[tuple[int, int]]]:
    """Return the heads of each feature set of a method that chooses heads (no controls)."""
    chosen = {}
    for path in features:
        for item in read_feature_sets(path):
            if (
                item.space == "heads"
                and not families.get(item.family).is_control
                and item.draws
                and item.draws[0]
            ):
                heads = [(int(layer), int(head)) for layer, head in item.draws[0]]
                chosen[item.feature_set] = heads
    return chosen


def head_name(head: tuple[int, int]) -> str:
    """Return a head's name, ``l<layer>_h<head>``, both from 0."""
    return f"l{head[0]}_h{head[1]}"


def _read_heads(
    rows: Rows, heads: list[tuple[int, int]], head_maps: PathLike, images: Sequence[PathLike]
) -> tuple[dict[str, LabelledRows], dict[str, NDArray]]:
    """Read the outputs of some heads for all rows, and what maps them to the joint space."""
    maps = store.read_head_maps(head_maps, heads)
    if maps.head_projection is None:
        raise UserError(f"{head_maps}: no head_projection; this encoder has no head outputs")
    outputs = rows.heads(heads)
    if maps.head_projection.shape[-1] != outputs.shape[-1]:
        raise UserError(
            f"{head_maps}: heads of {maps.head_projection.shape[-1]} numbers, the embedding files"
            f" have {outputs.shape[-1]}; are both of one encoder?"
        )
    generated = rows.label == 0
    source_of = sources_of(images)
    # equal names of two sources are two groups
    group = np.array(
        [
            f"{source_of.get(image_set, image_set)}/{name}"
            for image_set, name in zip(rows.image_set.tolist(), rows.group.tolist(), strict=True)
        ]
    )
    names = [head_name(head) for head in heads]
    return (
        {name: LabelledRows(outputs[:, i], generated, group) for i, name in enumerate(names)},
        {name: maps.head_projection[i].astype(np.float64) for i, name in enumerate(names)},
    )


def _head_directions(
    chosen: dict[str, list[tuple[int, int]]],
    heads: dict[str, LabelledRows],
    projections: dict[str, NDArray],
    mode: str,
) -> list[Direction]:
    found = []
    for feature_set, its_heads in chosen.items():
        for head in its_heads:
            name = head_name(head)
            X, generated = heads[name].X, heads[name].generated
            vector = head_direction(
                X[generated].mean(axis=0, dtype=np.float64),
                X[~generated].mean(axis=0, dtype=np.float64),
                projections[name],
                mode=mode,
            )
            found.append(Direction("head", name, feature_set, vector))
    return found


def _refits(
    probes: Sequence[StoredProbe], by_generator: dict[str, LabelledRows]
) -> dict[str, list[Refit]]:
    """Return how the probes on some columns were fitted, by feature set."""
    found: dict[str, list[Refit]] = {}
    for probe in probes:
        if probe.space == "embedding" and probe.columns is not None and "C" in probe.params:
            columns = tuple(int(c) for c in probe.columns)
            intercept = bool(probe.params.get("fit_intercept", False))
            refit = Refit(by_generator[probe.train], columns, float(probe.params["C"]), intercept)
            found.setdefault(probe.feature_set, []).append(refit)
    return found


def _shuffled_directions(probes: Sequence, dimensions: int) -> NDArray | None:
    """Stack the directions of probes on shuffled labels, [S, D], None without any."""
    vectors = [
        probe_direction(probe.coef, probe.columns, dimensions)
        for probe in probes
        if probe.space == "embedding" and np.any(probe.coef)
    ]
    return np.stack(vectors) if vectors else None


def sources_of(images: Sequence[PathLike]) -> dict[str, str]:
    """Return the source of each generator that the image tables know."""
    found: dict[str, str] = {}
    for path in images:
        table, _ = read_table(path, ("generator", "source", "label"))
        for generator, source in table[["generator", "source"]].dropna().drop_duplicates().values:
            found[str(generator)] = str(source)
    return found


def _by_generator(
    rows: Rows, images: Sequence[PathLike], generators: set[str]
) -> dict[str, LabelledRows]:
    """For each generator, its images with those of its source."""
    real_sets = sorted(set(rows.image_set[rows.label == 1].tolist()))
    source_of = sources_of(images)
    found = {}
    for generator in sorted(generators):
        source = source_of.get(generator)
        if source is None and len(real_sets) == 1:
            source = real_sets[0]
        if source is None:
            raise UserError(
                f"residual of {generator}: which of the sources {', '.join(real_sets)} is its own?"
                " Give the image tables (--images)"
            )
        mine = np.isin(rows.image_set, [generator, source])
        generated = rows.label[mine] == 0
        if not 0 < generated.sum() < len(generated):
            raise UserError(
                f"residual of {generator}: embeddings of {generator} and {source} are both needed"
            )
        found[generator] = LabelledRows(rows.embedding[mine], generated, rows.group[mine])
    return found


def read_changes(
    edits: Sequence[tuple[str, Path, Path]], rows: Rows
) -> tuple[list[str], NDArray[np.float64], list[int]]:
    """Measure the direction of each edit over the real images among `rows`.

    Parameters
    ----------
    edits : sequence of (name, source embeddings, edited embeddings)
        Parts of one name, over several sources, are pooled.
    rows : Rows
        Images that may be read; edited versions of others are left out.

    Returns
    -------
    (names, changes, counts)
        In the order in which names first occur; `changes` float64 [E, D].

    Raises
    ------
    UserError
        If no edited image belongs to a real image among `rows`, the encoders differ, or an edit
        changed nothing.
    """
    seen = rows.image_id[rows.label == 1].tolist()
    pairs: dict[str, list[tuple[NDArray, NDArray]]] = {}
    for name, source_path, edited_path in edits:
        source, edited = store.read_embeddings(source_path), store.read_embeddings(edited_path)
        widths = {source.embedding.shape[1], edited.embedding.shape[1], rows.embedding.shape[1]}
        if len(widths) > 1:
            raise UserError(f"{edited_path}: embeddings of different widths {sorted(widths)}")
        allowed = np.flatnonzero(np.isin(source.image_id, seen))
        if not len(allowed):
            raise UserError(f"{source_path}: none of its images is a real train or val image")
        try:
            first, second = match_edited(
                source.image_id[allowed].tolist(), edited.image_id.tolist()
            )
        except UserError as error:
            raise UserError(f"{edited_path}: {error}") from None
        before, after = source.embedding[allowed[first]], edited.embedding[second]
        pairs.setdefault(name, []).append((before, after))
    changes, counts = [], []
    for name, parts in pairs.items():
        before, after = (np.concatenate([part[i] for part in parts]) for i in (0, 1))
        try:
            changes.append(edit_direction(before, after))
        except ValueError as error:
            raise UserError(f"edit {name}: {error}") from None
        counts.append(len(before))
    return list(pairs), np.stack(changes), counts
