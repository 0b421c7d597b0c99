"""Greedy elimination: drop, one at a time, the column whose removal makes the probe transfer best.

The paper's component search (section 5.1): train on one generator, score on another, D (D + 1) / 2
refits. Here every step is decided by proof instead (docs/method/greedy.md).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clipsieve.errors import UserError
from clipsieve.io.files import hash_of
from clipsieve.selection.greedy import checkpoint as greedy_checkpoint
from clipsieve.selection.greedy.newton import approach, fit
from clipsieve.selection.greedy.problem import Floats, Ints, Problem
from clipsieve.selection.greedy.scoring import POOLS, SCORES, Scoring, scored_sets
from clipsieve.selection.greedy.step import State, Step, decide, state_of
from clipsieve.selection.greedy.stop import ALPHAS, stopping_steps
from clipsieve.threads import limited

VERSION = 1  # raised when a search would give another list
TIES = ("log_loss", "first")
# of a step, in the side file
RECORDED = (
    *("column", "score", "ties", "ties_exact", "certified", "refined", "log_loss", "error"),
)

Progress = Callable[[int, int, float, float], None]


@dataclass(frozen=True)
class GreedyResult:
    """What a search found. Arrays over steps are in the order of removal.

    Attributes
    ----------
    removed : int64 [steps]
        Columns of X in the order they left.
    scores : float64 [steps]
        Score on the scoring rows after each removal: accuracy, balanced accuracy or AUC in [0, 1],
        or minus the mean log-loss in nats; of several scored generators their mean or worst.
    initial_score, initial_log_loss, initial_error : float
        Score, log-loss and standard error of the score with all columns.
    kept : int64, sorted
        Columns left at the first maximum of `scores`.
    ties : int64 [steps]
        Candidates with the winner's score, the winner included; at least so many where
        `ties_exact` is False.
    ties_exact : bool [steps]
        Whether `ties` is the number itself. On a long plateau it often is not, unless `count_ties`:
        most candidates are ruled out by their log-loss, whether or not their score is the best.
    certified : str [steps]
        How the step was proved: "bound" (error bounds only), "refined" (some candidates were
        refitted further), "tie_rule" (equal at machine precision; the lowest index went).
    log_losses : float64 [steps]
        Mean log-loss in nats on the scoring rows after each removal (the mean over scored generators
        of theirs), of the converged refit: its gradient is at most 1e-10 of the coefficients in the
        Hessian's norm.
    errors : float64 [steps]
        Standard error of each score over groups of scoring rows.
    refinements : int64 [steps]
        Refinements of a candidate that the proof took.
    params : dict
        Every option, the sizes and the sha256 of the data.
    params_hash : str
        sha256 of `params`.
    """

    removed: NDArray[np.int64]
    scores: NDArray[np.float64]
    initial_score: float
    initial_log_loss: float
    initial_error: float
    kept: NDArray[np.int64]
    ties: NDArray[np.int64]
    ties_exact: NDArray[np.bool_]
    certified: NDArray[np.str_]
    log_losses: NDArray[np.float64]
    errors: NDArray[np.float64]
    refinements: NDArray[np.int64]
    params: dict[str, Any]
    params_hash: str

    @property
    def path(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Scores, log-losses and errors [steps + 1], with all columns (step 0) first."""
        return (
            np.r_[self.initial_score, self.scores],
            np.r_[self.initial_log_loss, self.log_losses],
            np.r_[self.initial_error, self.errors],
        )

    def kept_at(self, alpha: str) -> NDArray[np.int64]:
        """Return the columns kept under a stopping rule of `clipsieve.selection.greedy.stop`, sorted.

        `alpha` is `first` (which `kept` is), `log_loss`, `last` or `one_se`.
        """
        if alpha not in ALPHAS:
            raise UserError(f"alpha: {alpha!r} is not one of {', '.join(ALPHAS)}")
        step = stopping_steps(*self.path)[alpha]
        width = int(self.params["n_columns"])
        return np.setdiff1d(np.arange(width, dtype=np.int64), self.removed[:step])


def greedy_elimination(
    X_train: ArrayLike,
    y_train: ArrayLike,
    X_val: ArrayLike,
    y_val: ArrayLike,
    *,
    C: float = 1.0,
    tie: str = "log_loss",
    fit_intercept: bool = False,
    checkpoint: str | PathLike[str] | None = None,
    progress: Progress | None = None,
    score: str = "accuracy",
    stop_at: int = 1,
    threads: int | None = None,
    count_ties: bool = False,
    sample_weight: ArrayLike | None = None,
    val_group: ArrayLike | None = None,
    val_domain: ArrayLike | None = None,
    source_of: Mapping[str, str] | None = None,
    pool: str = "mean",
) -> GreedyResult:
    """Remove columns one by one, each time the one without which the probe scores best.

    The list is the one that a fully converged logistic regression for every candidate of every step
    would give under the tie rule (paper, section 5.1; proofs in docs/method/greedy.md).

    Parameters
    ----------
    X_train, X_val : float [n, D] and [m, D]
        Training rows of the one generator and scoring rows of the other, any scale.
    y_train, y_val : [n] and [m]
        Labels: 0 generated, 1 real. Both must occur in `y_train`, and in `y_val` for AUC and
        balanced accuracy.
    C : float, default 1.0
        Inverse penalty, as in scikit-learn: C times the summed log-loss plus half the squared norm.
    tie : {"log_loss", "first"}, default "log_loss"
        Among equal scores the lower log-loss on the scoring rows wins, then the lower index; or the
        lowest index at once.
    fit_intercept : bool, default False
        Add an intercept: not penalised, never removed.
    checkpoint : path, optional
        Side file: written as the search goes, read to go on after a stop. `<path>.lock` beside it
        keeps a second process out.
    progress : callable, optional
        Called after each step with (steps done, steps in all, seconds elapsed, seconds left).
    score : {"accuracy", "balanced_accuracy", "auc", "log_loss"}, default "accuracy"
        What a removal should make best. Balanced accuracy is the mean of the two labels' shares of
        right rows; with as many rows of either label it is accuracy.
    stop_at : int, default 1
        Columns left when the search ends.
    threads : int, optional
        Threads of the linear algebra; as the environment says by default.
    count_ties : bool, default False
        Count the ties of every step to the last one, also where that takes more than 32 refinements
        that the choice does not need. The list is the same.
    sample_weight : float [n], optional
        Multiple of each training row's log-loss, at least 0; 1 by default. `equal_weights` makes
        those that let each generator, each source and both labels count alike.
    val_group : [m], optional
        Group of each scoring row, for `errors`; each row its own by default.
    val_domain : [m], optional
        Names of several scored generators: a generated row's generator, a real row's source. The
        score is then taken for each generator apart, on its rows and the real rows of its source
        (all real rows without `source_of`), and pooled. None: one score over all rows.
    source_of : mapping, optional
        Source of each scored generator, as `val_domain` names it.
    pool : {"mean", "worst"}, default "mean"
        The mean over the scored generators, or the worst of them.

    Returns
    -------
    GreedyResult

    Raises
    ------
    UserError
        Shapes, labels, options or values that make no search, or a checkpoint of another one.
    """
    for name, value, allowed in (
        ("score", score, SCORES),
        ("tie", tie, TIES),
        ("pool", pool, POOLS),
    ):
        if value not in allowed:
            raise UserError(f"{name}: {value!r} is not one of {', '.join(allowed)}")
    if not (np.isfinite(C) and C > 0):
        raise UserError(f"C: {C!r} is not a positive number")
    train, train_real = checked(X_train, y_train, "train")
    val, val_real = checked(X_val, y_val, "val")
    weights = checked_weights(sample_weight, len(train))
    if weights is not None:
        train, train_real, weights = (
            train[weights > 0],
            train_real[weights > 0],
            weights[weights > 0],
        )
    width = train.shape[1]
    if val.shape[1] != width:
        raise UserError(f"X_val: has {val.shape[1]} columns, X_train has {width}")
    if len(np.unique(train_real)) < 2:
        raise UserError("y_train: holds one label only; both 0 and 1 are needed, with a weight")
    scoring = Scoring.of(score, val_real, scored_sets(val_real, val_domain, source_of), pool)
    for name, rows in zip(scoring.names, scoring.rows, strict=True):
        if scoring.both_labels and len(np.unique(val_real[rows])) < 2:
            whose = f" of {name}" if name else ""
            raise UserError(
                f"y_val: holds one label only{whose}; score {score!r} needs both 0 and 1"
            )
    group = numbered(val_group, len(val))
    if not (isinstance(stop_at, int | np.integer) and 1 <= stop_at <= width):
        raise UserError(f"stop_at: {stop_at!r} is not a whole number from 1 to {width} (columns)")

    params: dict[str, Any] = {
        "version": VERSION,
        "C": float(C),
        "tie": tie,
        "fit_intercept": bool(fit_intercept),
        "score": score,
        "count_ties": bool(count_ties),
        "pool": pool,
        "scored": list(scoring.names) if val_domain is not None else None,
        "weighted": weights is not None,
        "n_train": len(train),
        "n_val": len(val),
        "n_columns": width,
        "data_sha256": data_hash(
            train,
            train_real,
            val,
            val_real,
            group,
            *scoring.rows,
            *([] if weights is None else [weights]),
        ),
    }
    key = hash_of(params)  # a longer search goes on from a shorter one: `stop_at` is not part of it
    params["stop_at"] = int(stop_at)
    problem = Problem.build(
        train,
        train_real,
        val,
        val_real,
        C=float(C),
        fit_intercept=fit_intercept,
        scoring=scoring,
        sample_weight=weights,
    )
    del train, val
    total = width - int(stop_at)
    options: dict[str, Any] = {"tie": tie, "count_ties": bool(count_ties)}
    with limited(threads, products_of_scipy=True):
        if checkpoint is None:
            initial, steps = search(problem, group, options, total, None, progress)
        else:
            with greedy_checkpoint.opened(checkpoint, key) as side:
                initial, steps = search(problem, group, options, total, side, progress)
    units = scoring.units
    removed = np.array([s.column for s in steps], dtype=np.int64)
    scores = np.array([s.score / units for s in steps], dtype=np.float64)
    best = int(np.argmax(scores)) + 1 if total else 0
    return GreedyResult(
        removed=removed,
        scores=scores,
        initial_score=initial.score / units,
        initial_log_loss=initial.log_loss,
        initial_error=initial.error,
        kept=np.setdiff1d(np.arange(width, dtype=np.int64), removed[:best]),
        ties=np.array([s.ties for s in steps], dtype=np.int64),
        ties_exact=np.array([s.ties_exact for s in steps], dtype=bool),
        certified=np.array([s.certified for s in steps], dtype="U8"),
        log_losses=np.array([s.log_loss for s in steps], dtype=np.float64),
        errors=np.array([s.error for s in steps], dtype=np.float64),
        refinements=np.array([s.refined for s in steps], dtype=np.int64),
        params=params,
        params_hash=hash_of(params),
    )


def search(
    problem: Problem,
    group: Ints,
    options: dict[str, Any],
    total: int,
    side: greedy_checkpoint.Checkpoint | None,
    progress: Progress | None,
) -> tuple[State, list[Step]]:
    """Run `total` steps, the first ones from the side file; return the initial state and the steps."""
    begun = time.perf_counter()
    steps: list[Step] = []
    w = np.zeros(problem.width)
    initial: State | None = None
    for record in side.steps[:total] if side else []:
        initial = State(**record["initial"])
        steps.append(replayed(record))
        problem.remove(problem.position(steps[-1].column), np.zeros(problem.width))
        w = steps[-1].w
    # a step's work goes with the square of the columns in use
    work = np.cumsum([0.0] + [float(problem.width - i) ** 2 for i in range(total - len(steps))])
    resumed = len(steps)
    incumbent = fit(problem, w)
    if initial is None:
        initial = state_of(problem, incumbent, group)
    while len(steps) < total:
        step = decide(problem, incumbent, **options)
        position = problem.position(step.column)
        start = problem.remove(position, step.w)
        w = approach(problem, start, incumbent.metric.without(position))
        incumbent = fit(problem, w)
        state = state_of(problem, incumbent, group)
        step.log_loss, step.error = state.log_loss, state.error
        if problem.scoring.score == "log_loss":
            step.score = state.score
        steps.append(step)
        if side is not None:
            side.add(recorded(len(steps) - 1, step, initial, w))
        if progress is not None:
            elapsed = time.perf_counter() - begun
            done = work[len(steps) - resumed]
            progress(len(steps), total, elapsed, elapsed * (work[-1] - done) / done)
    return initial, steps


def recorded(number: int, step: Step, initial: State, w: Floats) -> dict[str, Any]:
    """Return a step as a record of the side file."""
    record = {name: getattr(step, name) for name in RECORDED}
    return record | {"step": number, "initial": asdict(initial), "w": greedy_checkpoint.pack(w)}


def replayed(record: dict[str, Any]) -> Step:
    """Undo `recorded`."""
    return Step(
        w=greedy_checkpoint.unpack(record["w"]), **{name: record[name] for name in RECORDED}
    )


def checked(X: ArrayLike, y: ArrayLike, name: str) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return finite float rows and labels as booleans (real)."""
    rows = np.asarray(X)
    labels = np.asarray(y)
    if rows.ndim != 2 or 0 in rows.shape:
        raise UserError(
            f"X_{name}: shape {rows.shape} is not [rows, columns] with at least one each"
        )
    if labels.shape != (len(rows),):
        raise UserError(f"y_{name}: shape {labels.shape} is not [{len(rows)}], one label per row")
    if rows.dtype.kind not in "fiub":
        raise UserError(f"X_{name}: type {rows.dtype} is not a number")
    rows = rows.astype(np.float64, copy=False)
    if not np.isfinite(rows).all():
        raise UserError(f"X_{name}: holds values that are not finite")
    if not np.isin(labels, (0, 1)).all():
        raise UserError(f"y_{name}: holds labels other than 0 (generated) and 1 (real)")
    return rows, labels.astype(bool)


def checked_weights(sample_weight: ArrayLike | None, rows: int) -> Floats | None:
    """Return the weights of the training rows as float64, None where there are none."""
    if sample_weight is None:
        return None
    weights = np.asarray(sample_weight, dtype=np.float64)
    if weights.shape != (rows,):
        raise UserError(f"sample_weight: shape {weights.shape} is not [{rows}], one weight per row")
    if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.any()):
        raise UserError("sample_weight: holds a negative or infinite weight, or none above 0")
    return weights


def numbered(group: ArrayLike | None, rows: int) -> Ints:
    """Return groups as numbers from 0; each row its own where none are given."""
    if group is None:
        return np.arange(rows, dtype=np.int64)
    names = np.asarray(group)
    if names.shape != (rows,):
        raise UserError(f"val_group: shape {names.shape} is not [{rows}], one group per row")
    return np.unique(names, return_inverse=True)[1].astype(np.int64)


def data_hash(*arrays: NDArray[Any]) -> str:
    """Return the sha256 of arrays' shapes and values, as float64 or booleans."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.shape}{array.dtype.kind}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
