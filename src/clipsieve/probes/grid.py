"""Fit a probe: hyperparameters by their score on val, then a refit on train and val.

Two grids. `paper` is the 96 points of the paper's Appendix A.3, with scikit-learn's solvers and
their iteration limits, unconverged fits included. `fast` is only C, each fit converged.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clipsieve.errors import UserError
from clipsieve.probes.checks import check_labels, check_matrix
from clipsieve.probes.contest import Contest, Grid, GridFit, Point, SharedFits
from clipsieve.probes.newton import fit_path
from clipsieve.probes.probe import Probe, judge
from clipsieve.probes.scores import SCORES
from clipsieve.probes.thresholds import (
    Thresholds,
    check_groups,
    held_out_thresholds,
    joined_groups,
    thresholds_of,
)

Floats = NDArray[Any]
Ints = NDArray[np.int64]

CS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 10.0)
MAX_ITERS = (10, 50, 100, 500, 1000, 5000)


@dataclass(frozen=True)
class TuneRows:
    """Rows of another generator that hyperparameters and thresholds are found on instead of val.

    Attributes
    ----------
    X : [m, D].
    y : [m]. 0 = generated, 1 = real.
    groups : [m], optional. Group of each row, named as those of the fitted rows.
    scored : bool [m], optional. Which rows the hyperparameters are scored on; all by default. The
        thresholds use every row, each under a fit that did not see its group.
    """

    X: ArrayLike
    y: ArrayLike
    groups: ArrayLike | None = None
    scored: ArrayLike | None = None


def fit_probe(
    X_train: ArrayLike,
    y_train: ArrayLike,
    X_val: ArrayLike,
    y_val: ArrayLike,
    *,
    grid: Literal["paper", "fast"] = "paper",
    fit_intercept: bool = False,
    seed: int = 0,
    score: str = "balanced_accuracy",
    groups: tuple[ArrayLike, ArrayLike] | None = None,
    tune: TuneRows | None = None,
    cross_fit: bool = True,
    shared: SharedFits | None = None,
) -> Probe:
    """Choose hyperparameters on val and fit the probe on train and val together.

    Parameters
    ----------
    X_train, X_val : [n, D], float32 or float64. With grid `paper` the arithmetic is done in the
        dtype of the rows, as scikit-learn does; with `fast` in float64.
    y_train, y_val : [n]. 0 = generated, 1 = real.
    grid : `paper`: solver {lbfgs, saga} x C {0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 10} x max_iter
        {10, 50, 100, 500, 1000, 5000}. Chosen parameters and coefficients are those of a plain loop
        over the 96 fits of `LogisticRegression(solver=, C=, max_iter=, fit_intercept=,
        random_state=seed)`. `fast`: the same values of C, converged fits.
    fit_intercept : bool. Add an intercept (unpenalised).
    seed : int. Order in which saga visits rows; nothing else is random.
    score : `accuracy`, `balanced_accuracy`, `auc` or `log_loss`. What hyperparameters are chosen
        by. The threshold is that of the best accuracy with `accuracy`, else of the best balanced
        accuracy; where the classes are of equal size the two are one.
    groups : (groups_train, groups_val), optional. Rows of a group stay together when thresholds
        are cross-fitted. Without them each row is a group of its own.
    tune : TuneRows, optional. Rows that hyperparameters and thresholds are found on instead of val;
        the final fit is on train and val as ever.
    cross_fit : bool. Whether thresholds come from fits without each fold of the rows. Without,
        which saves five fits of six, they are those of the fit on train alone, on the rows that
        hyperparameters are scored on.
    shared : SharedFits, optional. Fits that several calls share which differ in `tune` alone: the same
        rows, grid, intercept and seed. The result is the same without.

    Returns
    -------
    Probe
        Ties in the score go to the lower log-loss, then to the smaller C, then to the earlier point
        of the grid (lbfgs before saga, fewer iterations first). `params["ties"]` counts the points
        that shared the best score, `params["fits"]` the distinct fits that were needed.

    Raises
    ------
    UserError
        For shapes that do not match, values that are NaN or infinite, labels other than 0 and 1, a
        class that is missing in train or val, or an unknown grid or score.

    References
    ----------
    Appendix A.3 of the paper (grid, refit on train and val).

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> y = np.arange(60) % 2
    >>> X = rng.standard_normal((60, 4)) + y[:, None]
    >>> probe = fit_probe(X[:40], y[:40], X[40:], y[40:], grid="fast")
    >>> probe.coef.shape, probe.params["solver"]
    ((4,), 'newton')
    """
    X = check_matrix(X_train, "X_train")
    V = check_matrix(X_val, "X_val", columns=X.shape[1])
    y = check_labels(y_train, "y_train", rows=len(X))
    v = check_labels(y_val, "y_val", rows=len(V))
    how = grid_of(grid, fit_intercept, seed)
    check_score(score)
    both, labels = np.concatenate([X, V]), np.concatenate([y, v])
    fit_groups = joined_groups(groups, len(X), len(V))
    if tune is None:
        S, s, T, t, row_groups = V, v, both, labels, None
    else:
        T = check_matrix(tune.X, "tune.X", columns=X.shape[1])
        t = check_labels(tune.y, "tune.y", rows=len(T))
        row_groups = check_groups(tune.groups, len(T), "tune.groups")
        if tune.groups is None:
            row_groups = row_groups + len(both)  # no row shares a group with a fitted one
        scored = np.ones(len(T), bool) if tune.scored is None else np.asarray(tune.scored, bool)
        S, s = T[scored], check_labels(t[scored], "tune.y of the scored rows", rows=scored.sum())
    if shared is None:
        shared = SharedFits()
    contest = shared.contest(how, X, y, S, s, score)
    point = contest.won()
    coef, intercept, n_iter = shared.final(how, both, labels, point)

    # where saga converged, its folds are fitted to the same optimum by Newton's method, several times
    # faster; thresholds are no part of what has to equal the plain loop
    of_folds = how
    if point.solver == "saga" and point.max_iter is not None and n_iter < point.max_iter:
        of_folds = FastGrid(fit_intercept)

    def refit(kept: NDArray[np.bool_], factor: float) -> tuple[Floats, float]:
        return of_folds.fit(both[kept], labels[kept], point, factor)[:2]

    balanced = score != "accuracy"
    if cross_fit:
        thresholds = held_out_thresholds(
            refit, fit_groups, labels, T, t, row_groups,
            otherwise=(point.logits, s), balanced=balanced,
        )  # fmt: skip
    else:
        thresholds = thresholds_of(point.logits, s, balanced=balanced, folds=0, wanted=False)
    return probe_of(
        grid, contest, s, coef, intercept, n_iter, thresholds,
        fit_intercept=fit_intercept, score=score, seed=seed if grid == "paper" else None,
    )  # fmt: skip


def probe_of(
    grid: str,
    contest: Contest,
    y: Ints,
    coef: Floats,
    intercept: float,
    n_iter: int | None,
    thresholds: Thresholds,
    *,
    fit_intercept: bool,
    score: str,
    seed: int | None,
) -> Probe:
    """Put a probe together: the winner of a contest on rows with labels y, and its final fit."""
    point = contest.won()
    logits = point.logits.astype(np.float64)
    return Probe(
        coef=np.asarray(coef, dtype=np.float64),
        intercept=float(intercept),
        params={
            "grid": grid,
            "score": score,
            "solver": point.solver,
            "C": point.C,
            "max_iter": point.max_iter,
            "fit_intercept": fit_intercept,
            "converged": point.max_iter is None or n_iter is None or n_iter < point.max_iter,
            "n_iter": n_iter,
            "seed": seed,
            "fits": contest.fits,
            "ties": contest.ties,
        },
        threshold=thresholds.threshold,
        operating_points=thresholds.operating_points,
        threshold_facts=thresholds.facts,
        val_logits=logits,
        val_scores=judge(logits, y),
    )


def check_score(score: str) -> None:
    """Raise UserError unless `score` is one that hyperparameters can be chosen by."""
    if score not in SCORES:
        raise UserError(f"the score of a probe is {score!r}; allowed: {', '.join(SCORES)}")


def grid_of(grid: str, fit_intercept: bool, seed: int) -> Grid:
    """Return the grid of this name; raise UserError for another."""
    if grid == "paper":
        return PaperGrid(fit_intercept, seed)
    if grid == "fast":
        return FastGrid(fit_intercept)
    raise UserError(f"the probe grid is {grid!r}; allowed: paper, fast")


@dataclass(frozen=True)
class PaperGrid:
    """The 96 points of Appendix A.3, with work shared where that changes nothing."""

    fit_intercept: bool
    seed: int

    def fits(self, X: Floats, y: Ints) -> list[GridFit]:
        """Fit every point on X, y."""
        found: list[GridFit] = []

        def add(
            solver: str, C: float, i: int, coef: Floats, intercept: Any, converged: bool
        ) -> None:
            # a converged fit is the fit of every larger limit too
            points = len(MAX_ITERS) - i if converged else 1
            found.append(GridFit(solver, C, MAX_ITERS[i], points, coef.copy(), intercept))

        for C in CS:
            for i, max_iter in enumerate(MAX_ITERS):
                coef, intercept, n_iter = _fit_lbfgs(X, y, C, max_iter, self.fit_intercept)
                add("lbfgs", C, i, coef, intercept, n_iter < max_iter)
                if n_iter < max_iter:
                    break
        # All values of C of saga side by side: the first k epochs of a run are the run limited to k.
        from clipsieve.probes.saga import start

        lanes = start(X, y, np.array(CS), fit_intercept=self.fit_intercept, seed=self.seed)
        for i, max_iter in enumerate(MAX_ITERS):
            moving = lanes.running.copy()
            _advance(lanes, max_iter)
            for lane in np.flatnonzero(moving):
                stopped = not lanes.running[lane]
                add("saga", CS[lane], i, lanes.coef[lane], lanes.intercept[lane], stopped)
            if not lanes.running.any():
                break
        return found

    def logits(self, fit: GridFit, S: Floats) -> Floats:
        """Return the logits by the expression of scikit-learn, so that even one of 0 agrees."""
        return np.asarray((S @ fit.coef[None, :].T + fit.intercept).ravel())

    def fit(self, X: Floats, y: Ints, point: Point, factor: float) -> tuple[Floats, float, int]:
        """Return coefficients, intercept and iterations of `point` with C raised by `factor`."""
        assert point.max_iter is not None
        C = point.C * factor
        if point.solver == "lbfgs":
            return _fit_lbfgs(X, y, C, point.max_iter, self.fit_intercept)
        from clipsieve.probes.saga import start

        lanes = start(X, y, np.array([C]), fit_intercept=self.fit_intercept, seed=self.seed)
        _advance(lanes, point.max_iter)
        return lanes.coef[0], float(lanes.intercept[0]), int(lanes.n_iter[0])


@dataclass(frozen=True)
class FastGrid:
    """The eight values of C, each fit converged."""

    fit_intercept: bool

    def fits(self, X: Floats, y: Ints) -> list[GridFit]:
        """Fit every point on X, y."""
        path = fit_path(X, y, list(CS), fit_intercept=self.fit_intercept)
        return [
            GridFit("newton", C, None, 1, fit.coef, fit.intercept)
            for C, fit in zip(CS, path, strict=True)
        ]

    def logits(self, fit: GridFit, S: Floats) -> Floats:
        """Return the logits of a fit on rows S."""
        return np.asarray(S @ fit.coef + fit.intercept)

    def fit(self, X: Floats, y: Ints, point: Point, factor: float) -> tuple[Floats, float, int]:
        """Return coefficients, intercept and iterations of `point` with C raised by `factor`."""
        found = fit_path(X, y, [point.C * factor], fit_intercept=self.fit_intercept)[0]
        return found.coef, found.intercept, found.n_iter


def _advance(lanes: Any, max_iter: int) -> None:
    try:
        lanes.advance(max_iter)
    except FloatingPointError as error:
        raise UserError(f"{error}; scale the columns of X_train down") from None


def _fit_lbfgs(
    X: Floats, y: NDArray[np.int64], C: float, max_iter: int, fit_intercept: bool
) -> tuple[Floats, float, int]:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(solver="lbfgs", C=C, max_iter=max_iter, fit_intercept=fit_intercept)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # stopping at the limit is what the grid asks for
        model.fit(X, y)
    return model.coef_[0], float(model.intercept_[0]), int(model.n_iter_[0])
