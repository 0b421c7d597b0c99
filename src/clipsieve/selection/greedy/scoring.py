"""What a removal is judged by: one score, on one set of scoring rows or pooled over several.

A scored set is a generator's rows and the real rows that it is told from. Scores stay exact where
they are counts: of one set they are whole numbers, of the worst set the fraction nearest to a
quotient of whole numbers. Means over sets are rounded to 2^-42, so that equal means in different
parts are equal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clipsieve.errors import UserError
from clipsieve.selection.greedy import score as greedy_score
from clipsieve.selection.greedy.score import Flags, Floats, Ints

SCORES = ("accuracy", "balanced_accuracy", "auc", "log_loss")
POOLS = ("mean", "worst")
GRID = 2.0**42  # means over scored sets are multiples of its inverse


@dataclass(frozen=True)
class Scoring:
    """A score and the sets of rows that it is taken on."""

    score: str
    pool: str
    real: Flags  # [m] label 1
    names: tuple[str, ...]  # of the scored sets
    rows: tuple[Ints, ...]  # positions of each scored set's rows
    share: Floats  # [m] share of each row in the log-loss: the mean over sets of their means

    @classmethod
    def of(
        cls,
        score: str,
        real: Flags,
        sets: Mapping[str, Ints] | None = None,
        pool: str = "mean",
    ) -> Scoring:
        """Return the score on `sets` (name -> positions), all rows being the one set by default."""
        found = sets or {"": np.arange(len(real), dtype=np.int64)}
        share = np.mean([share_of(rows, len(real)) for rows in found.values()], axis=0)
        return cls(score, pool, real, tuple(found), tuple(found.values()), share)

    @property
    def both_labels(self) -> bool:
        """Whether the score needs rows of both labels in every set."""
        return self.score in ("balanced_accuracy", "auc")

    @property
    def judged(self) -> tuple[Floats, ...]:
        """Shares of the rows in the log-losses whose greatest is the score `log_loss`."""
        if self.pool == "worst":
            return tuple(share_of(rows, len(self.real)) for rows in self.rows)
        return (self.share,)

    @property
    def units(self) -> float:
        """What a value of `bounds` is divided by to be the score itself."""
        if len(self.rows) > 1:
            return 1.0
        return greedy_score.units(self.score, self.real[self.rows[0]])

    def bounds(self, logits: Floats, half: Floats) -> tuple[Floats, Floats]:
        """Return each candidate's least and greatest score; not for log-loss."""
        of_one = greedy_score.BOUNDS[self.score]
        parts = [of_one(*part) for part in self._parts(logits, half)]
        low, high = (np.array(side) for side in zip(*parts, strict=True))
        return self._pooled(low), self._pooled(high)

    def at_precision(self, logits: Floats, half: Floats) -> Floats:
        """Return each candidate's score where logits within `half` of each other are equal."""
        of_one = greedy_score.AT_PRECISION[self.score]
        return self._pooled(np.array([of_one(*part) for part in self._parts(logits, half)]))

    def _parts(self, logits: Floats, half: Floats) -> list[tuple[Floats, Floats, Flags]]:
        if len(self.rows) == 1 and len(self.rows[0]) == len(self.real):
            return [(logits, half, self.real)]
        return [(logits[rows], half[rows], self.real[rows]) for rows in self.rows]

    def _pooled(self, counts: Floats) -> Floats:
        if len(counts) == 1:
            return counts[0]
        units = [greedy_score.units(self.score, self.real[rows]) for rows in self.rows]
        scores = counts / np.array(units)[:, None]
        if self.pool == "worst":
            return scores.min(axis=0)
        return np.rint(scores.mean(axis=0) * GRID) / GRID


def share_of(rows: Ints, total: int) -> Floats:
    """Return 1 / len(rows) at `rows` and 0 at the others of `total` rows."""
    share = np.zeros(total)
    share[rows] = 1.0 / len(rows)
    return share


def scored_sets(
    real: NDArray[np.bool_],
    domain: ArrayLike | None,
    source_of: Mapping[str, str] | None,
) -> dict[str, Ints] | None:
    """Return the rows of every scored generator, with the real rows that it is told from.

    Parameters
    ----------
    real : bool [m]
        Label 1.
    domain : [m], optional
        The generator of a generated row, the source of a real one. None: all rows are one set.
    source_of : mapping, optional
        Source of each generator. None: every generator is told from all real rows.

    Raises
    ------
    UserError
        Another number of names than rows, no generated row, or a generator without a source.
    """
    if domain is None:
        if source_of is not None:
            raise UserError("source_of: needs val_domain, the generator or source of every row")
        return None
    names = np.asarray(domain).astype(str)
    if names.shape != real.shape:
        raise UserError(f"val_domain: shape {names.shape} is not {real.shape}, one name per row")
    generators = sorted(set(names[~real].tolist()))
    if not generators:
        raise UserError("val_domain: no row is generated (label 0), so no generator can be scored")
    sets = {}
    for generator in generators:
        told_from = real
        if source_of is not None:
            if generator not in source_of:
                raise UserError(f"source_of: does not name the source of {generator}")
            told_from = real & (names == source_of[generator])
        rows = np.flatnonzero((~real & (names == generator)) | told_from)
        sets[generator] = rows.astype(np.int64)
    return sets
