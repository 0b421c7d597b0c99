"""Logit thresholds of a probe: fixed on logits of rows that the fit behind each did not see.

The finished probe is fitted on train and val together, so no fitting row is left for a threshold.
The rows are therefore divided into folds of whole groups, the probe is fitted again without each
fold with the hyperparameters that were chosen, and the logits of each fold come from the fit that
did not see it. A fold's fit has fewer rows, and the loss is a sum over rows, so C is raised by
the same factor: the penalty weighs as much per row as in the finished probe, and so the logits are
on its scale.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clipsieve.errors import UserError
from clipsieve.probes.ensemble import held_out_scale
from clipsieve.probes.scores import best_threshold, false_alarm_threshold

Floats = NDArray[Any]
Ints = NDArray[np.int64]

FOLDS = 5
FALSE_ALARMS = {"fpr_1": 0.01, "fpr_5": 0.05}


@dataclass(frozen=True)
class Thresholds:
    """Thresholds of one probe.

    Attributes
    ----------
    threshold : float. The best accuracy (or balanced accuracy); see `best_threshold`.
    operating_points : dict. `fpr_1` and `fpr_5`: the threshold at which at most 1 % and 5 % of real
        images are called generated, None where there are too few; see `false_alarm_threshold`.
    facts : dict. `folds` (0: logits of one fit on train alone), `n`, `n_real` (rows behind the
        thresholds), `note` (what is missing, or None), and `scale` (spread of these logits,
        `clipsieve.probes.ensemble.held_out_scale`).
    """

    threshold: float
    operating_points: dict[str, float | None]
    facts: dict[str, Any]


def check_groups(groups: ArrayLike | None, rows: int, name: str) -> NDArray[Any]:
    """Return the group of each row, [rows]; without groups each row is one of its own."""
    if groups is None:
        return np.arange(rows)
    found = np.asarray(groups)
    if found.shape != (rows,):
        raise UserError(f"{name} has shape {list(found.shape)}; it must be [{rows}]")
    return found


def joined_groups(
    groups: tuple[ArrayLike, ArrayLike] | None, n_train: int, n_val: int
) -> NDArray[Any]:
    """Return the groups of train and val rows in one array; without groups, one for each row."""
    if groups is None:
        return np.arange(n_train + n_val)
    return np.concatenate(
        [
            check_groups(groups[0], n_train, "groups_train"),
            check_groups(groups[1], n_val, "groups_val"),
        ]
    )


def folds_of(groups: NDArray[Any], y: Ints, folds: int = FOLDS) -> Ints | None:
    """Return the fold of each row: whole groups, dealt out evenly for each mixture of labels.

    Parameters
    ----------
    groups : [n], any type that sorts. The division depends only on the names and labels, not on
        the order of the rows.
    y : int [n]. 0 = generated, 1 = real.
    folds : int. At most this many; fewer when a class has fewer groups.

    Returns
    -------
    int64 [n], or None when a class has no two groups, so that no fold can be left out.
    """
    names, place = np.unique(groups, return_inverse=True)
    has_real = np.bincount(place, weights=y, minlength=len(names)) > 0
    has_generated = np.bincount(place, weights=1 - y, minlength=len(names)) > 0
    folds = min(folds, int(has_real.sum()), int(has_generated.sum()))
    if folds < 2:
        return None
    kind = has_real + 2 * has_generated
    shuffled = np.random.default_rng(0).random(len(names))
    fold = np.empty(len(names), dtype=np.int64)
    fold[np.lexsort((shuffled, kind))] = np.arange(len(names)) % folds
    return fold[place]


def plan_folds(
    fit_groups: NDArray[Any], y_fit: Ints, groups: NDArray[Any] | None, y: Ints | None
) -> tuple[Ints, Ints] | None:
    """Return the folds of the rows that are fitted and of the rows that thresholds are found on.

    `groups` and `y` describe the latter; None when they are the fitted rows themselves. Rows of
    one group are in one fold in both. None when a fold would leave a class out of its fit.
    """
    if groups is None or y is None:
        fit_fold = folds_of(fit_groups, y_fit)
        row_fold = fit_fold
    else:
        fold = folds_of(np.concatenate([fit_groups, groups]), np.concatenate([y_fit, y]))
        fit_fold = None if fold is None else fold[: len(y_fit)]
        row_fold = None if fold is None else fold[len(y_fit) :]
    if fit_fold is None or row_fold is None:
        return None
    for left_out in np.unique(row_fold):
        kept = y_fit[fit_fold != left_out]
        if not len(kept) or (kept == kept[0]).all():
            return None
    return fit_fold, row_fold


def held_out_thresholds(
    fit: Callable[[NDArray[np.bool_], float], tuple[Floats, float]],
    fit_groups: NDArray[Any],
    y_fit: Ints,
    X: Floats,
    y: Ints,
    groups: NDArray[Any] | None = None,
    *,
    otherwise: tuple[NDArray[Any], Ints],
    balanced: bool,
) -> Thresholds:
    """Return the thresholds that cross-fitted logits fix.

    Parameters
    ----------
    fit : callable, as in `cross_fitted`.
    fit_groups, y_fit : [n_fit]. Group and label of each row of the finished fit.
    X, y, groups : [n, D], [n], [n]. Rows that thresholds are found on; without `groups` they are
        the fitted rows themselves.
    otherwise : (logits, labels). What serves where there are too few groups to cross-fit.
    balanced : bool. Balanced accuracy instead of accuracy.
    """
    folds = plan_folds(fit_groups, y_fit, groups, None if groups is None else y)
    if folds is None:
        return thresholds_of(*otherwise, balanced=balanced, folds=0)
    logits = cross_fitted(fit, X, *folds)
    return thresholds_of(logits, y, balanced=balanced, folds=len(np.unique(folds[1])))


def cross_fitted(
    fit: Callable[[NDArray[np.bool_], float], tuple[Floats, float]],
    X: Floats,
    fit_fold: Ints,
    row_fold: Ints,
) -> NDArray[np.float64]:
    """Return the logit of every row under the fit that left its fold out.

    Parameters
    ----------
    fit : callable. Given which rows to fit (bool [n_fit]) and by what factor to raise C, returns
        coefficients [D] and intercept.
    X : [n, D]. Rows whose logits are wanted.
    fit_fold, row_fold : int64 [n_fit], [n]. From `plan_folds`.

    Returns
    -------
    float64 [n]
    """
    logits = np.empty(len(X))
    for left_out in np.unique(row_fold):
        kept = fit_fold != left_out
        coef, intercept = fit(kept, len(kept) / int(kept.sum()))
        rows = row_fold == left_out
        logits[rows] = X[rows].astype(np.float64) @ np.asarray(coef, np.float64) + intercept
    return logits


def thresholds_of(
    logits: NDArray[Any], y: Ints, *, balanced: bool, folds: int, wanted: bool = True
) -> Thresholds:
    """Return the thresholds that these held-out logits fix.

    Parameters
    ----------
    logits : [n]. Of rows that the fit behind each did not see.
    y : int [n]. 0 = generated, 1 = real.
    balanced : bool. Balanced accuracy instead of accuracy.
    folds : int. For `facts`; 0 says that one fit on train alone made the logits.
    wanted : bool. Whether folds were asked for, so that the note says why there are none.
    """
    real = np.asarray(logits, dtype=np.float64)[y == 1]
    points = {name: false_alarm_threshold(real, rate) for name, rate in FALSE_ALARMS.items()}
    notes = [
        f"{len(real)} real images are too few for a false-alarm rate of {rate:.0%};"
        f" {round(1 / rate) - 1} are needed"
        for name, rate in FALSE_ALARMS.items()
        if points[name] is None
    ]
    if not folds:
        why = "too few groups to cross-fit; " if wanted else ""
        notes.insert(0, f"{why}found with the fit on train alone")
    facts = {
        **{"folds": folds, "n": len(y), "n_real": len(real), "note": "; ".join(notes) or None},
        "scale": held_out_scale(logits, y),
    }
    return Thresholds(best_threshold(logits, y, balanced=balanced), points, facts)
