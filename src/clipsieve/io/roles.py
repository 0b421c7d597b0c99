"""Who may read which rows; checked where the rows are returned.

Selection, ranking and hyperparameters may read train and val, the evaluation only test, and the
generators that were used for a selection take no part in the evaluation of what it selected.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from clipsieve.errors import UserError

SPLITS = ("train", "val", "test")
# What each use of the data may read.
FITTING = ("train", "val")
EVALUATION = ("test",)


class RoleError(UserError):
    """Rows were handed to a function that must not see them."""


def require_splits(
    splits: Sequence[str] | np.ndarray,
    allowed: Sequence[str],
    what: str,
    *,
    ids: Sequence[str] | np.ndarray | None = None,
) -> None:
    """Refuse rows whose split is not allowed.

    Parameters
    ----------
    splits
        Split of each row, shape [N].
    allowed
        Splits that the caller may read, e.g. ``FITTING`` or ``EVALUATION``.
    what
        Name of the use, for the message (``search stylegan--glide``).
    ids
        Image id of each row, shape [N]; the first offender is then named.

    Raises
    ------
    RoleError
        When a row has another split, or `allowed` names a split that doesn't exist. The message
        counts the offending rows of each split.
    """
    unknown = [split for split in allowed if split not in SPLITS]
    if unknown:
        raise RoleError(f"{what}: there is no split {unknown[0]!r}; splits are {', '.join(SPLITS)}")
    given = np.asarray(splits, dtype=str)
    wrong = ~np.isin(given, list(allowed))
    if not wrong.any():
        return
    names, counts = np.unique(given[wrong], return_counts=True)
    found = ", ".join(f"{n} of '{name}'" for name, n in zip(names, counts, strict=True))
    first = "" if ids is None else f" (first: {np.asarray(ids, dtype=str)[wrong][0]})"
    may = " and ".join(allowed)
    raise RoleError(f"{what}: may read only {may} rows, was handed {found}{first}")


def require_excluded(present: Iterable[str], excluded: Iterable[str], what: str) -> None:
    """Refuse an evaluation in which generators that were used for the selection occur.

    Parameters
    ----------
    present
        Generators that occur, as rows or columns, in the evaluation.
    excluded
        Generators that were used to select the feature set.
    what
        Name of the evaluation, for the message.

    Raises
    ------
    RoleError
        Naming the generators that are in both.
    """
    shared = sorted(set(present) & set(excluded))
    if shared:
        raise RoleError(
            f"{what}: {', '.join(shared)} took part in the selection and may not take part in its"
            " evaluation"
        )
