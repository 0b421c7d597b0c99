"""The points of a grid against each other: which wins on rows that the fits did not see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from clipsieve.probes.scores import log_loss, score_of

Floats = NDArray[Any]
Ints = NDArray[np.int64]

SOLVERS = ("lbfgs", "saga")


@dataclass(frozen=True)
class Point:
    """A grid point fitted on train: its scores on the rows tuned on and its logits there."""

    solver: str
    C: float
    max_iter: int | None
    score: float
    loss: float
    logits: Floats

    def rank(self) -> tuple[float, float, float, int, int]:
        """Sort key: best score, then lower log-loss, then smaller C, then earlier in the grid."""
        order = SOLVERS.index(self.solver) if self.solver in SOLVERS else 0
        return (-self.score, self.loss, self.C, order, self.max_iter or 0)


class Contest:
    """The best point so far, and how many points of the grid have its score."""

    def __init__(self, y: Ints, score: str) -> None:
        self._y, self._score = y, score
        self.best: Point | None = None
        self.ties = 0
        self.fits = 0

    def offer(
        self, solver: str, C: float, max_iter: int | None, logits: Floats, points: int = 1
    ) -> None:
        """Enter a fit that represents so many `points` of the grid."""
        score = score_of(self._score, logits, self._y)
        point = Point(solver, C, max_iter, score, log_loss(logits, self._y), logits)
        self.fits += 1
        if self.best is None or score > self.best.score:
            self.ties = 0
        if self.best is None or score >= self.best.score:
            self.ties += points
        if self.best is None or point.rank() < self.best.rank():
            self.best = point

    def won(self) -> Point:
        """Return the best point; there is one."""
        assert self.best is not None
        return self.best


@dataclass(frozen=True)
class GridFit:
    """One fit on train that stands for so many `points` of the grid."""

    solver: str
    C: float
    max_iter: int | None
    points: int
    coef: Floats
    intercept: Any


class Grid(Protocol):
    """How a grid is searched, and how its chosen point is fitted on other rows."""

    def fits(self, X: Floats, y: Ints) -> list[GridFit]:
        """Fit every point on X, y."""

    def logits(self, fit: GridFit, S: Floats) -> Floats:
        """Return the logits of a fit on rows S."""

    def fit(self, X: Floats, y: Ints, point: Point, factor: float) -> tuple[Floats, float, int]:
        """Return coefficients, intercept and iterations of `point` with C raised by `factor`."""


class SharedFits:
    """The fits of a grid on one set of rows, which do not depend on the rows that choose among them.

    Give one to the calls of `fit_probe` that have the same train and val rows, grid, intercept and seed.
    """

    def __init__(self) -> None:
        self._fits: list[GridFit] | None = None
        self._final: dict[tuple[str, float, int | None], tuple[Floats, float, int]] = {}

    def contest(self, how: Grid, X: Floats, y: Ints, S: Floats, s: Ints, score: str) -> Contest:
        """Fit every point on X, y, unless that is done, and score each on S, s."""
        if self._fits is None:
            self._fits = how.fits(X, y)
        contest = Contest(s, score)
        for one in self._fits:
            contest.offer(one.solver, one.C, one.max_iter, how.logits(one, S), one.points)
        return contest

    def final(self, how: Grid, X: Floats, y: Ints, point: Point) -> tuple[Floats, float, int]:
        """Fit a point on all rows, unless that is done."""
        key = (point.solver, point.C, point.max_iter)
        if key not in self._final:
            self._final[key] = how.fit(X, y, point, 1.0)
        return self._final[key]
