"""Where to stop removing: the four stopping points of a search, and what a search warns of.

A search removes columns down to one and records every step, so the stopping point is chosen
afterwards and a change of it repeats no search.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clipsieve.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

ALPHAS = ("first", "log_loss", "last", "one_se")
CEILING = 1.0  # of accuracy, balanced accuracy and AUC; log-loss has none that is reached
MANY_KEPT = 0.9  # a share of columns kept above which a selection says little


def stopping_steps(
    scores: NDArray[np.float64], log_losses: NDArray[np.float64], errors: NDArray[np.float64]
) -> dict[str, int]:
    """Return, for each rule of `ALPHAS`, after how many removals to stop.

    Parameters
    ----------
    scores, log_losses, errors : float [steps + 1]
        Score, log-loss and standard error of the score, before any removal (step 0) and after each.

    Returns
    -------
    dict
        - `first`: the first maximum of the scores after a removal, the paper's rule; step 0 never
          wins where anything was removed.
        - `log_loss`: the least log-loss, the earliest of equals.
        - `last`: the last maximum of the scores.
        - `one_se`: the last step, so the smallest set, whose score is within one standard error of
          the best; the error is that of the first maximum.

        The last three may be step 0: then nothing is removed.

    Examples
    --------
    >>> steps = stopping_steps(
    ...     np.array([0.7, 0.9, 0.9, 0.88, 0.5]), np.array([0.6, 0.4, 0.3, 0.35, 0.7]), np.full(5, 0.03)
    ... )
    >>> steps == {"first": 1, "log_loss": 2, "last": 2, "one_se": 3}
    True
    """
    after = scores[1:] if len(scores) > 1 else scores
    best = int(np.argmax(scores))
    near = scores >= scores[best] - errors[best]
    return {
        "first": int(np.argmax(after)) + int(len(scores) > 1),
        "log_loss": int(np.argmin(log_losses)),
        "last": int(np.flatnonzero(scores == scores[best])[-1]),
        "one_se": int(np.flatnonzero(near)[-1]),
    }


def kept_at(table: pd.DataFrame, note: Mapping[str, Any], alpha: str) -> list[int]:
    """Return the columns that a search keeps under a stopping rule, sorted.

    Parameters
    ----------
    table, note
        A search as `clipsieve search` writes it: one row per step with `step` and `removed`; `columns`
        and `stops` in the note.
    alpha
        One of `ALPHAS`.

    Raises
    ------
    UserError
        Another rule, or a search without stopping points.
    """
    if alpha not in ALPHAS:
        raise UserError(f"alpha: {alpha!r} is not one of {', '.join(ALPHAS)}")
    if "stops" not in note:
        raise UserError("searches: a table without stopping points; run its search again")
    gone = table.loc[table["step"] <= note["stops"][alpha]["step"], "removed"]
    return sorted(set(range(int(note["columns"]))) - {int(column) for column in gone})


def facts_of_stops(
    scores: NDArray[np.float64],
    log_losses: NDArray[np.float64],
    errors: NDArray[np.float64],
    *,
    score: str,
    columns: int,
) -> dict[str, Any]:
    """Return what a search's note says of its stopping points.

    Parameters are those of `stopping_steps`, the kind of score and the number of columns.

    Returns
    -------
    dict
        `stops` (for each rule `step`, `kept`, the number of columns, and `share` of all), `plateau`
        (steps with the greatest score) and `at_ceiling` (steps with a perfect score).
    """
    after = scores[1:]
    perfect = after >= CEILING if score != "log_loss" else np.zeros(len(after), dtype=bool)
    return {
        "stops": {
            alpha: {"step": step, "kept": columns - step, "share": (columns - step) / columns}
            for alpha, step in stopping_steps(scores, log_losses, errors).items()
        },
        "plateau": int(np.count_nonzero(after == after.max())) if len(after) else 0,
        "at_ceiling": int(np.count_nonzero(perfect)),
        "steps": len(after),
    }


def warnings_of(note: Mapping[str, Any], alpha: str) -> list[str]:
    """Return what a reader of a selection must know of its search, as sentences without a stop."""
    stop = note.get("stops", {}).get(alpha)
    if stop is None:
        return []
    said: Sequence[tuple[bool, str]] = (
        (
            note["at_ceiling"] > 0,
            f"the score sat at its ceiling for {note['at_ceiling']} of {note['steps']} steps",
        ),
        (stop["step"] == 0, "no removal did better than all columns"),
        (
            stop["step"] > 0 and stop["share"] > MANY_KEPT,
            f"{100 * stop['share']:.0f} % of the columns were kept, so a random set of that size is nearly the same",
        ),
    )
    return [text for holds, text in said if holds]
