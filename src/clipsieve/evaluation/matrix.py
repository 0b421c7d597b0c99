"""The transfer matrix of one feature set: every cell's metrics, replicates and influences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clipsieve.errors import UserError
from clipsieve.evaluation import metrics
from clipsieve.evaluation.bootstrap import Strata, resample_weights, strata_of
from clipsieve.evaluation.influence import cell_influence
from clipsieve.io.scores import Images, Scores
from clipsieve.io.training import ONE

# Replicates are worked out for so many (image, resample) numbers at once: they stay in the cache.
_CHUNK = 200_000


@dataclass
class Layout:
    """Where the test images of each image set are, and how their groups are resampled.

    Attributes
    ----------
    columns
        Columns of the logits, by image set.
    source
        Source of each generator.
    group
        Group of each image, 0 .. G - 1. A group of one source is not that of another.
    strata
        Strata of the groups.
    weights
        float32 [G, B], how often each group counts in each resample; the same for all feature sets.
    """

    columns: dict[str, NDArray[np.int64]]
    source: dict[str, str]
    group: NDArray[np.int64]
    strata: Strata
    weights: NDArray[np.float32]

    @property
    def n_groups(self) -> int:
        """Number of groups."""
        return len(self.strata.of_group)

    def groups_of(self, *image_sets: str) -> NDArray[np.int64]:
        """Groups that have an image in one of the sets, sorted."""
        return np.unique(np.concatenate([self.group[self.columns[name]] for name in image_sets]))


def layout_of(images: Images, *, resamples: int, seed: int) -> Layout:
    """Arrange test images and draw the resamples.

    Parameters
    ----------
    images
        The run's test images.
    resamples
        Number of bootstrap resamples.
    seed
        Seed of the draw. Groups are in the order of their names, so the draw does not depend on the
        order of files or rows.
    """
    keys = np.array([f"{s}\t{g}" for s, g in zip(images.source, images.group, strict=True)])
    names, group = np.unique(keys, return_inverse=True)
    del names
    sets, set_code = np.unique(images.image_set, return_inverse=True)
    _, source_code = np.unique(images.source, return_inverse=True)
    strata = strata_of(group, source_code, set_code)
    columns = {str(name): np.flatnonzero(set_code == k) for k, name in enumerate(sets)}
    source = {
        name: str(images.source[at[0]]) for name, at in columns.items() if images.label[at[0]] == 0
    }
    return Layout(columns, source, group, strata, resample_weights(strata, resamples, seed))


@dataclass
class Matrix:
    """Metrics of every cell of one feature set and draw.

    Attributes
    ----------
    train, test
        Generators of the rows and columns.
    values
        float64 [M, P, J], in the order of `metrics.METRICS`.
    replicates
        float32 [M, P, J, B], or None.
    influence
        Of each group of the cell's source on each cell, by source: its groups [K], the positions in
        `test` of its generators, and float64 [M, P, J', K]; empty without replicates.
    training
        What the rows are trained on (`clipsieve.io.training.KINDS`).
    """

    feature_set: str
    draw: int
    train: list[str]
    test: list[str]
    values: NDArray[np.float64]
    replicates: NDArray[np.float32] | None
    influence: list[tuple[NDArray[np.int64], list[int], NDArray[np.float64]]]
    training: str = ONE


def transfer_matrix(scores: Scores, layout: Layout, *, replicate: bool = True) -> Matrix:
    """Work out every cell of a feature set.

    Parameters
    ----------
    scores
        Logits of its probes on all test images.
    layout
        Of the same images.
    replicate
        Whether to work out bootstrap replicates and influences too.

    Raises
    ------
    UserError
        When the probes were applied to some but not all images of a set, or to different sets.
    """
    if scores.nested:
        return _joined(scores, layout, replicate=replicate)
    present = _present(scores, layout)
    test = [name for name in layout.source if name in present]
    n_metrics, shape = len(metrics.METRICS), (len(scores.train), len(test))
    values = np.empty((n_metrics, *shape))
    n_resamples = layout.weights.shape[1]
    replicates = np.empty((n_metrics, *shape, n_resamples), np.float32) if replicate else None
    influence = []
    for source in sorted({layout.source[name] for name in test}):
        if source not in present:
            raise UserError(f"{scores.feature_set}: no scores of the real images of {source}")
        own = [k for k, name in enumerate(test) if layout.source[name] == source]
        sets = [test[k] for k in own]
        every = [layout.columns[name] for name in (source, *sets)]
        ones = [np.ones((len(columns), 1)) for columns in every]
        values[:, :, own] = _block(scores, every, ones)[..., 0]
        if replicates is None:
            continue
        step = max(32, _CHUNK // max(len(columns) for columns in every))
        for start in range(0, n_resamples, step):
            part = layout.weights[:, start : start + step]
            weights = [part[layout.group[columns]] for columns in every]
            replicates[:, :, own, start : start + step] = _block(scores, every, weights)
        groups = layout.groups_of(source, *sets)
        influence.append((groups, own, _influence(scores, layout, every, groups)))
    return Matrix(
        scores.feature_set, scores.draw, scores.train, test, values, replicates, influence,
        scores.training,
    )  # fmt: skip


def _joined(scores: Scores, layout: Layout, *, replicate: bool) -> Matrix:
    """Join the columns of the choices of a feature set: each cell by the choice of its tested generator."""
    parts = [transfer_matrix(one, layout, replicate=replicate) for one in scores.nested]
    parts = [part for part in parts if part.test]
    there = {name for part in parts for name in part.test}
    test = [name for name in layout.source if name in there]
    n_metrics, rows = len(metrics.METRICS), len(scores.train)
    values = np.empty((n_metrics, rows, len(test)))
    shape = (*values.shape, layout.weights.shape[1])
    replicates = np.empty(shape, np.float32) if replicate else None
    influence = []
    for part in parts:
        own = [test.index(name) for name in part.test]
        values[:, :, own] = part.values
        if replicates is not None and part.replicates is not None:
            replicates[:, :, own] = part.replicates
        influence += [(groups, [own[k] for k in at], each) for groups, at, each in part.influence]
    return Matrix(
        scores.feature_set, scores.draw, scores.train, test, values, replicates, influence,
        scores.training,
    )  # fmt: skip


def _present(scores: Scores, layout: Layout) -> set[str]:
    """Image sets on which every probe was applied, all images of them."""
    found = set()
    for name, columns in layout.columns.items():
        there = np.isfinite(scores.logits[:, columns])
        if there.all():
            found.add(name)
        elif there.any():
            row = int(np.argwhere(~there)[0, 0])
            raise UserError(
                f"{scores.feature_set}, draw {scores.draw}: the probe trained on"
                f" {scores.train[row]} has no score for {np.count_nonzero(~there[row])} of the"
                f" {len(columns)} test images of {name}; every probe needs all or none of a set"
            )
    return found


def _block(
    scores: Scores, columns: list[NDArray[np.int64]], weights: Sequence[NDArray[np.floating]]
) -> NDArray[np.floating]:
    """All metrics [M, P, J, B] of the generators of one source; the first columns are the reals."""
    n_probes, n_tests, n_weights = len(scores.train), len(columns) - 1, weights[0].shape[1]
    result = np.empty((len(metrics.METRICS), n_probes, n_tests, n_weights), dtype=weights[0].dtype)
    logits = [scores.logits[:, at] for at in columns]
    real = metrics.set_sums(logits[0], 1, scores.threshold, weights[0])
    ranked = [metrics.rank_reals(row, weights[0]) for row in logits[0]]
    for j in range(n_tests):
        mine, my_weights = logits[j + 1], weights[j + 1]
        generated = metrics.set_sums(mine, 0, scores.threshold, my_weights)
        for name, value in metrics.threshold_metrics(real, generated).items():
            result[metrics.METRICS.index(name), :, j] = value
        for i in range(n_probes):
            for name, value in metrics.ranking_metrics(ranked[i], mine[i], my_weights).items():
                result[metrics.METRICS.index(name), i, j] = value
    return result


def _influence(
    scores: Scores,
    layout: Layout,
    columns: list[NDArray[np.int64]],
    groups: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Influence of each group [M, P, J, K] on the cells of one source, not centred."""
    n_probes, n_tests = len(scores.train), len(columns) - 1
    result = np.zeros((len(metrics.METRICS), n_probes, n_tests, len(groups)))
    local = [np.searchsorted(groups, layout.group[at]) for at in columns]
    for i in range(n_probes):
        real = scores.logits[i, columns[0]]
        for j in range(n_tests):
            parts = cell_influence(
                real, scores.logits[i, columns[j + 1]], float(scores.threshold[i])
            )
            for part, where in zip(parts, (local[0], local[j + 1]), strict=True):
                for m in range(len(metrics.METRICS)):
                    result[m, i, j] += np.bincount(where, part[m], minlength=len(groups))
    return result
