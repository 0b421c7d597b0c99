"""The two sets of rows in working order: columns that are still in the probe come first.

Training rows are multiplied by their sign (+1 for label 1, -1 for label 0), so the probe's loss is
`sum_i c_i log(1 + exp(-x_i . w)) + 1/2 sum_k penalty_k w_k^2` with `penalty = 1/C` (0 for the intercept)
and c_i the rows' weights (1 by default).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from clipsieve.selection.greedy.score import Floats, Ints
from clipsieve.selection.greedy.scoring import Scoring


@dataclass
class Problem:
    """Columns `[0, width)` of the arrays are the probe's; `first` of them (an intercept) never leave.

    Removing a column swaps it with the last one in use, which keeps the block contiguous (the
    arrays are in Fortran order) at the cost of moving one column.
    """

    train: Floats  # [n, D'] signed rows, Fortran order
    val: Floats  # [m, D'] rows as they are, Fortran order
    val_real: NDArray[np.bool_]  # [m] label 1
    penalty: Floats  # [D']
    column: Ints  # [D'] the caller's column at each position, -1 for the intercept
    train_norm: Floats  # [n] 2-norm of each row over all columns
    val_norm: Floats  # [m]
    train_single: NDArray[np.float32]  # `train / train_scale`
    val_single: NDArray[np.float32]
    train_scale: float  # a power of two near the largest entry
    val_scale: float
    first: int  # 1 with an intercept, else 0
    width: int  # columns in use, intercept included
    scoring: Scoring  # what a removal is judged by
    sample_weight: Floats | None = None  # [n] multiple of each training row's log-loss; None: 1

    @classmethod
    def build(
        cls,
        X_train: Floats,
        y_train: NDArray[np.bool_],
        X_val: Floats,
        y_val: NDArray[np.bool_],
        *,
        C: float,
        fit_intercept: bool,
        scoring: Scoring | None = None,
        sample_weight: Floats | None = None,
    ) -> Problem:
        """Copy the caller's arrays into working order."""
        first = int(fit_intercept)
        width = X_train.shape[1] + first
        train = np.empty((len(X_train), width), order="F")
        val = np.empty((len(X_val), width), order="F")
        train[:, :first] = 1.0
        val[:, :first] = 1.0
        train[:, first:] = X_train
        val[:, first:] = X_val
        train *= np.where(y_train, 1.0, -1.0)[:, None]
        penalty = np.full(width, 1.0 / C)
        penalty[:first] = 0.0
        train_scale, val_scale = power_of_two(train), power_of_two(val)
        return cls(
            train=train,
            val=val,
            val_real=y_val,
            penalty=penalty,
            column=np.arange(width, dtype=np.int64) - first,
            train_norm=np.sqrt(np.einsum("ij,ij->i", train, train)),
            val_norm=np.sqrt(np.einsum("ij,ij->i", val, val)),
            train_single=np.asfortranarray(train / train_scale, dtype=np.float32),
            val_single=np.asfortranarray(val / val_scale, dtype=np.float32),
            train_scale=train_scale,
            val_scale=val_scale,
            first=first,
            width=width,
            scoring=scoring or Scoring.of("accuracy", y_val),
            sample_weight=sample_weight,
        )

    @property
    def x(self) -> Floats:
        """Signed training rows of the columns in use, [n, width]."""
        return self.train[:, : self.width]

    @property
    def v(self) -> Floats:
        """Scoring rows of the columns in use, [m, width]."""
        return self.val[:, : self.width]

    @property
    def x_single(self) -> NDArray[np.float32]:
        """`x / train_scale` in single precision."""
        return self.train_single[:, : self.width]

    @property
    def v_single(self) -> NDArray[np.float32]:
        """`v / val_scale` in single precision."""
        return self.val_single[:, : self.width]

    @property
    def lam(self) -> Floats:
        """Penalty of the columns in use, [width]."""
        return self.penalty[: self.width]

    @property
    def names(self) -> Ints:
        """The caller's column at each position in use, [width]."""
        return self.column[: self.width]

    def position(self, column: int) -> int:
        """Return the current position of the caller's column."""
        return int(np.flatnonzero(self.names == column)[0])

    def without(self, position: int) -> Problem:
        """Return a copy that lacks one column, the others in their order."""
        keep = np.delete(np.arange(self.width), position)
        return replace(
            self,
            train=np.asfortranarray(self.train[:, keep]),
            val=self.val[:, :0],
            train_single=self.train_single[:, :0],
            val_single=self.val_single[:, :0],
            penalty=self.penalty[keep],
            column=self.column[keep],
            width=self.width - 1,
        )

    def remove(self, position: int, w: Floats) -> Floats:
        """Take a column out of use; return the coefficients `w` [width] in the new order [width - 1]."""
        last = self.width - 1
        for rows in (self.train, self.val, self.train_single, self.val_single):
            rows[:, position] = rows[:, last]
        self.penalty[position] = self.penalty[last]
        self.column[position] = self.column[last]
        w = w.copy()
        w[position] = w[last]
        self.width = last
        return w[:last]


def power_of_two(rows: Floats) -> float:
    """Return the power of two just above the largest entry (1 for zeros)."""
    largest = max(float(rows.max(initial=0.0)), -float(rows.min(initial=0.0)))
    return float(2.0 ** np.ceil(np.log2(largest))) if largest > 0 else 1.0
