"""For each direction under study, the meaningless directions with which it is compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from clipsieve.interpretation.nearest import Direction, probe_direction
from clipsieve.interpretation.nulls import (
    covariance,
    permuted_means,
    permuted_residuals,
    random_directions,
    unit_rows,
)
from clipsieve.io.files import seed_of
from clipsieve.probes import fit_path
from clipsieve.selection.filters import shuffled_labels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from clipsieve.io.probes import StoredProbe

#: Fits on shuffled labels that make the null of a feature set's probes, over all its generators.
REFITS = 59

#: What a null of a direction is called; equal keys mean equal draws.
Key = tuple[object, ...]


@dataclass(frozen=True)
class LabelledRows:
    """Images with labels.

    Attributes
    ----------
    X : float [n, k]
        Embeddings or head outputs.
    generated : bool [n]
    group : str [n]
        Labels are exchanged within a group that holds both classes.
    """

    X: NDArray
    generated: NDArray[np.bool_]
    group: NDArray


@dataclass(frozen=True)
class Refit:
    """How one generator's probe on some columns was fitted, to fit it again on shuffled labels."""

    rows: LabelledRows
    columns: tuple[int, ...]
    C: float
    fit_intercept: bool


@dataclass
class Meaningless:
    """Draws of meaningless directions, made when first asked for.

    Attributes
    ----------
    embeddings : float [N, D]
        Images that the probes were fitted on (train and val).
    by_generator : mapping
        For each generator its images with its real ones; needed for residuals on shuffled labels.
    shuffled_probes : float64 [S, D]
        Directions of probes on shuffled labels, over all generators and draws; S may be 0.
    refits : mapping
        For each feature set on some columns, how the probes of its generators were fitted.
    heads : mapping
        Cached outputs of each head under study, by ``l<layer>_h<head>``.
    projections : mapping
        P W_O [D, d_head] of the same heads.
    head_mode : {"mean", "difference"}
        How head outputs are averaged; labels play no part in ``mean``: nothing is shuffled there.
    draws, seed : int
        Number of random directions (and of shuffled residuals), and their seed.
    """

    embeddings: NDArray
    draws: int
    seed: int
    by_generator: Mapping[str, LabelledRows] = field(default_factory=dict)
    shuffled_probes: NDArray | None = None
    refits: Mapping[str, Sequence[Refit]] = field(default_factory=dict)
    heads: Mapping[str, LabelledRows] = field(default_factory=dict)
    projections: Mapping[str, NDArray] = field(default_factory=dict)
    head_mode: str = "mean"
    _covariance: NDArray | None = None

    def random_key(self, direction: Direction) -> Key:
        """Name the null of random directions for this direction."""
        if direction.kind == "head":
            return ("random", "head", direction.name)
        if direction.kind == "pattern":
            return ("random", "pattern")
        return ("random", "embedding", direction.columns)

    def random(self, direction: Direction) -> NDArray[np.float64]:
        """Return random directions [draws, D] with the covariance of what the direction is made of.

        That is the embeddings for probes and residuals (restricted to the probe's columns), and the
        head's own outputs, mapped to the joint space, for a head. A pattern is the covariance times
        a probe's weights, so its draws are the covariance times those of a probe.
        """
        key = self.random_key(direction)
        if direction.kind == "head":
            inner = random_directions(
                covariance(self.heads[direction.name].X), self.draws, self._seed_of(key)
            )
            return unit_rows(inner @ self.projections[direction.name].T)
        if direction.kind == "pattern":
            return unit_rows(self.random(replace(direction, kind="probe")) @ self.covariance())
        # One seed for every set of columns: restricted draws are parts of the whole ones.
        seed = self._seed_of(("random", "embedding"))
        return random_directions(self.covariance(), self.draws, seed, columns=direction.columns)

    def covariance(self) -> NDArray[np.float64]:
        """Return the covariance [D, D] of the images that the probes were fitted on."""
        if self._covariance is None:
            self._covariance = covariance(self.embeddings)
        return self._covariance

    def exchangeable(self, direction: Direction) -> bool:
        """Say whether any null gives this direction a valid p value.

        The mean output of a head is mostly a constant that is the same for every image, and no
        draw with the outputs' covariance is exchangeable with it: its cosines have no p value.
        """
        return direction.kind != "head" or self.head_mode != "mean"

    def shuffled_key(self, direction: Direction) -> Key | None:
        """Name the null of shuffled labels for this direction, None where there is none."""
        if direction.kind == "probe":
            if direction.columns is not None:
                known = direction.feature_set in self.refits
                return ("shuffled", "probe", direction.feature_set) if known else None
            if self.shuffled_probes is None:
                return None
            return ("shuffled", "probe") if len(self.shuffled_probes) > 1 else None
        if direction.kind == "pattern":
            key = self.shuffled_key(replace(direction, kind="probe"))
            return None if key is None else ("shuffled", "pattern", *key[2:])
        if direction.kind == "residual":
            known = direction.name in self.by_generator
            return ("shuffled", "residual", direction.name, direction.columns) if known else None
        if self.head_mode == "difference":
            return ("shuffled", "head", direction.name)
        return None

    def shuffled(self, direction: Direction) -> NDArray[np.float64]:
        """Return directions made from shuffled labels; call it where `shuffled_key` isn't None.

        For a probe on all columns: the run's probes of the family `shuffled`, of all generators. For
        a probe on some columns: fits on these columns with shuffled labels and the probe's own C,
        of all generators that have the feature set. For a residual: residuals of the same images
        with the labels shuffled. For a head's difference: likewise.
        """
        key = self.shuffled_key(direction)
        if key is None:
            raise ValueError(f"no shuffled labels for {direction.kind} {direction.name}")
        if direction.kind == "pattern":
            return unit_rows(self.shuffled(replace(direction, kind="probe")) @ self.covariance())
        if direction.kind == "probe" and direction.columns is not None:
            return self._refitted(direction.feature_set)
        if direction.kind == "probe" and self.shuffled_probes is not None:
            return unit_rows(self.shuffled_probes)
        if direction.kind == "head":
            rows = self.heads[direction.name]
            ours, real = permuted_means(rows.X, self._exchanged(rows, key))
            return unit_rows((ours - real) @ self.projections[direction.name].T)
        rows = self.by_generator[direction.name]
        if direction.columns is None:
            return permuted_residuals(rows.X, self._exchanged(rows, key))
        columns = list(direction.columns)
        whole = np.zeros((self.draws, rows.X.shape[1]))
        whole[:, columns] = permuted_residuals(rows.X[:, columns], self._exchanged(rows, key))
        return whole

    def _refitted(self, feature_set: str) -> NDArray[np.float64]:
        """Return directions [REFITS or a few more, D] of probes on a feature set's columns, labels shuffled."""
        refits = self.refits[feature_set]
        draws = -(-REFITS // len(refits))
        found: list[NDArray[np.float64]] = []
        for refit in refits:
            rows, columns = refit.rows, list(refit.columns)
            seed = self._seed_of(("shuffled", feature_set, columns, len(found)))
            X = rows.X[:, columns]
            for y in shuffled_labels(~rows.generated, draws, seed=seed, groups=rows.group):
                (fit,) = fit_path(X, y, [refit.C], fit_intercept=refit.fit_intercept)
                found.append(probe_direction(fit.coef, columns, rows.X.shape[1]))
        return unit_rows(np.stack(found))

    def _exchanged(self, rows: LabelledRows, key: Key) -> NDArray[np.bool_]:
        """Return which rows each draw takes for generated, [draws, n]."""
        seed = self._seed_of(key)
        return shuffled_labels(~rows.generated, self.draws, seed=seed, groups=rows.group) == 0

    def _seed_of(self, key: Key) -> int:
        """Return a seed that depends only on the run's seed and the null's name."""
        return seed_of(self.seed, repr(key))


def directions_of_probes(probes: Sequence[StoredProbe], dimensions: int) -> list[Direction]:
    """Return the directions of probes on the embedding and of residuals, in the order given.

    Probes on head outputs have no direction in the joint space and are left out; the heads
    themselves are explained instead. A probe whose weights are all zero has no direction.
    """
    found = []
    for probe in probes:
        columns = None if probe.columns is None else tuple(int(c) for c in probe.columns)
        if probe.space == "embedding":
            kind, vector = "probe", probe_direction(probe.coef, columns, dimensions)
        elif probe.space == "residual" and probe.residual is not None:
            # A residual points from real to generated already; weights point to real.
            kind, vector = "residual", probe_direction(-probe.residual, columns, dimensions)
        else:
            continue
        if np.any(vector):
            found.append(Direction(kind, probe.train, probe.feature_set, vector, columns))
    return found


def patterns_of(directions: Sequence[Direction], cov: NDArray) -> list[Direction]:
    """Return the pattern of each probe on all columns: the covariance [D, D] times its direction.

    Weights say what a probe multiplies an embedding with, and suppress what varies for other reasons;
    the pattern says how the embedding moves where the probe's logit moves (Haufe et al., NeuroImage
    87, 2014).
    """
    return [
        replace(direction, kind="pattern", vector=cov @ direction.vector)
        for direction in directions
        if direction.kind == "probe" and direction.columns is None
    ]
