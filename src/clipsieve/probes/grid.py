"""Fit a probe: hyperparameters by accuracy on val, then a refit on train and val.

Two grids. `paper` is the 96 points of the paper's Appendix A.3, with scikit-learn's solvers and
their iteration limits, unconverged fits included. `fast` is C alone, each fit converged.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clipsieve.errors import UserError
from clipsieve.probes.checks import check_labels, check_matrix
from clipsieve.probes.newton import fit_path
from clipsieve.probes.probe import Probe, judge
from clipsieve.probes.scores import accuracy

Floats = NDArray[Any]

SOLVERS = ("lbfgs", "saga")
CS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 10.0)
MAX_ITERS = (10, 50, 100, 500, 1000, 5000)


@dataclass
class _Point:
    """A grid point fitted on train: its accuracy on val and its logits there."""

    solver: str
    C: float
    max_iter: int
    score: float
    val_logits: Floats

    def rank(self) -> tuple[float, float, int, int]:
        """Sort key: best accuracy, then smaller C, then earlier in the grid."""
        return (-self.score, self.C, SOLVERS.index(self.solver), self.max_iter)


class _Contest:
    """The best point so far, and which values of C can still win."""

    def __init__(self, V: Floats, v: NDArray[np.int64]) -> None:
        self._V, self._v = V, v
        self.best: _Point | None = None
        self.fits = 0

    def offer(self, solver: str, C: float, max_iter: int, coef: Floats, intercept: Any) -> None:
        # The same expression as scikit-learn's decision_function, so that even a logit of 0 agrees.
        logits = np.asarray((self._V @ coef[None, :].T + intercept).ravel())
        point = _Point(solver, C, max_iter, accuracy(logits, self._v), logits)
        self.fits += 1
        if self.best is None or point.rank() < self.best.rank():
            self.best = point

    def settled(self, C: float) -> bool:
        """True when a perfect score stands at `C` or a smaller one: no later point can win."""
        return self.best is not None and self.best.score == 1.0 and self.best.C <= C


def fit_probe(
    X_train: ArrayLike,
    y_train: ArrayLike,
    X_val: ArrayLike,
    y_val: ArrayLike,
    *,
    grid: Literal["paper", "fast"] = "paper",
    fit_intercept: bool = False,
    seed: int = 0,
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

    Returns
    -------
    Probe
        Ties in accuracy on val go to the smaller C, then to the earlier point of the grid (lbfgs
        before saga, fewer iterations first). `params["fits"]` counts the distinct fits that were
        needed.

    Raises
    ------
    UserError
        For shapes that do not match, values that are NaN or infinite, labels other than 0 and 1, a
        class that is missing in train or val, or an unknown grid.

    References
    ----------
    Appendix A.3 of the paper (grid, refit on train and val).
    """
    X = check_matrix(X_train, "X_train")
    V = check_matrix(X_val, "X_val", columns=X.shape[1])
    y = check_labels(y_train, "y_train", rows=len(X))
    v = check_labels(y_val, "y_val", rows=len(V))
    both, labels = np.concatenate([X, V]), np.concatenate([y, v])
    if grid == "paper":
        chosen, fits = _choose_paper(X, y, V, v, fit_intercept, seed)
        coef, intercept, n_iter = _fit_paper(
            both, labels, chosen.solver, chosen.C, chosen.max_iter, fit_intercept, seed
        )
        params = {
            "grid": grid,
            "solver": chosen.solver,
            "C": chosen.C,
            "max_iter": chosen.max_iter,
            "fit_intercept": fit_intercept,
            "converged": n_iter < chosen.max_iter,
            "n_iter": n_iter,
            "seed": seed,
            "fits": fits,
        }
    elif grid == "fast":
        chosen, fits = _choose_fast(X, y, V, v, fit_intercept)
        final = fit_path(both, labels, [chosen.C], fit_intercept=fit_intercept)[0]
        coef, intercept = final.coef, final.intercept
        params = {
            "grid": grid,
            "solver": "newton",
            "C": chosen.C,
            "max_iter": None,
            "fit_intercept": fit_intercept,
            "converged": True,
            "n_iter": final.n_iter,
            "seed": None,
            "fits": fits,
        }
    else:
        raise UserError(f"the probe grid is {grid!r}; allowed: paper, fast")
    logits = chosen.val_logits.astype(np.float64)
    threshold, scores = judge(logits, v)
    return Probe(
        coef=np.asarray(coef, dtype=np.float64),
        intercept=float(intercept),
        params=params,
        threshold=threshold,
        val_logits=logits,
        val_scores=scores,
    )


def _choose_paper(
    X: Floats,
    y: NDArray[np.int64],
    V: Floats,
    v: NDArray[np.int64],
    fit_intercept: bool,
    seed: int,
) -> tuple[_Point, int]:
    contest = _Contest(V, v)
    for C in CS:
        for max_iter in MAX_ITERS:
            if contest.settled(C):
                break
            coef, intercept, n_iter = _fit_lbfgs(X, y, C, max_iter, fit_intercept)
            contest.offer("lbfgs", C, max_iter, coef, intercept)
            if n_iter < max_iter:
                break  # converged: every larger limit gives this fit, and loses the tie
    # All values of C of saga side by side: the first k epochs of a run are the run limited to k.
    from clipsieve.probes.saga import start

    Cs = np.array([C for C in CS if not contest.settled(C)])
    if len(Cs):
        lanes = start(X, y, Cs, fit_intercept=fit_intercept, seed=seed)
        for max_iter in MAX_ITERS:
            moving = lanes.running.copy()
            _advance(lanes, max_iter)
            for lane in np.flatnonzero(moving):
                C = float(Cs[lane])
                if not contest.settled(C):
                    contest.offer("saga", C, max_iter, lanes.coef[lane], lanes.intercept[lane])
            lanes.running &= [not contest.settled(C) for C in Cs]
            if not lanes.running.any():
                break
    assert contest.best is not None
    return contest.best, contest.fits


def _fit_paper(
    X: Floats,
    y: NDArray[np.int64],
    solver: str,
    C: float,
    max_iter: int,
    fit_intercept: bool,
    seed: int,
) -> tuple[Floats, float, int]:
    if solver == "lbfgs":
        return _fit_lbfgs(X, y, C, max_iter, fit_intercept)
    from clipsieve.probes.saga import start

    lanes = start(X, y, np.array([C]), fit_intercept=fit_intercept, seed=seed)
    _advance(lanes, max_iter)
    return lanes.coef[0], float(lanes.intercept[0]), int(lanes.n_iter[0])


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


def _choose_fast(
    X: Floats, y: NDArray[np.int64], V: Floats, v: NDArray[np.int64], fit_intercept: bool
) -> tuple[_Point, int]:
    best: _Point | None = None
    fits = fit_path(X, y, list(CS), fit_intercept=fit_intercept)
    for C, fit in zip(CS, fits, strict=True):
        logits = V @ fit.coef + fit.intercept
        score = accuracy(logits, v)
        if best is None or score > best.score:
            best = _Point("lbfgs", C, 0, score, logits)
    assert best is not None
    return best, len(fits)
