"""What every fit refuses: wrong shapes, labels other than 0 and 1, one class, NaN, infinity."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clipsieve.errors import UserError

_CLASSES = {0: "generated", 1: "real"}


def check_matrix(X: ArrayLike, name: str, *, columns: int | None = None) -> NDArray[Any]:
    """Return `X` as a float32 or float64 matrix [n, D] without NaN or infinity.

    Parameters
    ----------
    X : array-like [n, D]. Integers become float64.
    name : str. What to call it in a message.
    columns : int, optional. The number of columns that it must have.

    Raises
    ------
    UserError
        When it is not a matrix, is empty, has another number of columns, or holds NaN or infinity.
    """
    matrix = np.asarray(X)
    if matrix.ndim != 2:
        raise UserError(f"{name} has shape {list(matrix.shape)}; it must be [rows, columns]")
    if matrix.dtype not in (np.float32, np.float64):
        try:
            matrix = matrix.astype(np.float64)
        except (TypeError, ValueError):
            raise UserError(f"{name} has dtype {matrix.dtype}; it must hold numbers") from None
    if 0 in matrix.shape:
        raise UserError(f"{name} has shape {list(matrix.shape)}; it needs a row and a column")
    if columns is not None and matrix.shape[1] != columns:
        raise UserError(f"{name} has {matrix.shape[1]} columns; it must have {columns}")
    # One sum says whether anything is wrong; only then look for where.
    if not np.isfinite(matrix.sum(dtype=np.float64)):
        bad = np.argwhere(~np.isfinite(matrix))
        if len(bad):
            row, column = bad[0]
            raise UserError(
                f"{name} has {len(bad)} values that are NaN or infinite, the first in row {row}, "
                f"column {column}; all must be finite"
            )
    return matrix


def check_labels(y: ArrayLike, name: str, *, rows: int, both: bool = True) -> NDArray[np.int64]:
    """Return labels as int64 [rows], 0 = generated and 1 = real.

    Parameters
    ----------
    y : array-like [rows]. Booleans and whole floats are accepted.
    name : str. What to call it in a message.
    rows : int. The length that it must have.
    both : bool. Refuse labels that are all of one class.

    Raises
    ------
    UserError
        When the length, a value or the number of classes is wrong.
    """
    labels = np.asarray(y)
    if labels.shape != (rows,):
        raise UserError(f"{name} has shape {list(labels.shape)}; it must be [{rows}]")
    whole = labels.astype(np.int64) if labels.dtype.kind in "biuf" else np.full(rows, -1)
    wrong = ~((labels == 0) | (labels == 1))
    if wrong.any():
        raise UserError(
            f"{name} holds the label {labels[wrong][0]}; labels are 0 (generated) and 1 (real)"
        )
    if both and (whole == whole[0]).all():
        raise UserError(f"{name} holds one class only, {whole[0]} ({_CLASSES[int(whole[0])]})")
    return whole


def check_C(C: float) -> float:
    """Return `C` as a float; raise UserError unless it is positive and finite."""
    value = float(C)
    if not (np.isfinite(value) and value > 0):
        raise UserError(f"C is {C}; it must be a positive number")
    return value


def check_contexts(Z: ArrayLike, name: str, heads: tuple[int, ...] | None = None) -> NDArray[Any]:
    """Return cached head outputs [n, L, H, d_head] as an array; raise UserError for others."""
    contexts = np.asarray(Z)
    if contexts.ndim != 4 or 0 in contexts.shape:
        raise UserError(f"{name} has shape {list(contexts.shape)}; it must be [n, L, H, d_head]")
    if contexts.dtype.kind not in "fiu":
        raise UserError(f"{name} has dtype {contexts.dtype}; it must hold numbers")
    if heads is not None and contexts.shape[1:] != tuple(heads):
        raise UserError(
            f"{name} has heads {list(contexts.shape[1:])}; as in Z_train they must be {list(heads)}"
        )
    if not np.isfinite(contexts.sum(dtype=np.float64)) and not np.isfinite(contexts).all():
        raise UserError(f"{name} holds NaN or infinity; all values must be finite")
    return contexts


def check_basis(basis: ArrayLike, heads: tuple[int, ...]) -> NDArray[np.float64]:
    """Return a head basis [L, H, d_out, d_head] as float64; raise UserError for another."""
    R = np.asarray(basis)
    if R.ndim == 4 and R.strides[:2] == (0, 0):
        # one matrix for all heads stays one in memory
        R = np.broadcast_to(R[:1, :1].astype(np.float64), R.shape)
    else:
        R = R.astype(np.float64)
    if R.ndim != 4 or (R.shape[0], R.shape[1], R.shape[3]) != tuple(heads):
        raise UserError(
            f"the head basis has shape {list(R.shape)}; for heads {list(heads)} it must be "
            f"[{heads[0]}, {heads[1]}, d_out, {heads[2]}]"
        )
    if not np.isfinite(R).all():
        raise UserError("the head basis holds NaN or infinity; all values must be finite")
    return R
