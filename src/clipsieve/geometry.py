"""How evenly a cloud of embeddings uses its dimensions: IsoScore and mean pairwise cosine.

Both are closed forms that need no eigenvalue and no pair: the participation ratio of covariance
eigenvalues is a ratio of two norms, and the sum of all pairwise cosines is the squared length of
the sum of unit vectors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def participation_ratio(X: ArrayLike) -> float:
    """Return (sum of lambda)^2 / (sum of lambda^2) over the covariance eigenvalues of `X`.

    Parameters
    ----------
    X : array_like, shape [samples, dimensions]
        Any real dtype; computed in float64.

    Returns
    -------
    float
        Between 1 (all variance along one line) and min(samples - 1, dimensions); 0.0 where `X` has
        no variance at all.

    Raises
    ------
    ValueError
        If `X` is not a non-empty matrix of finite numbers.

    Notes
    -----
    The sums are the trace and the squared Frobenius norm of the covariance; the factor
    1 / (samples - 1) cancels. With fewer samples than dimensions the Gram matrix of the centred
    rows stands in for the covariance: it has the same eigenvalues but for zeros.
    """
    matrix = _matrix(X)
    centred = matrix - matrix.mean(axis=0)
    total = float(np.square(centred).sum())
    # What is left of a constant column after centring is rounding, not variance.
    rounding = 8 * np.finfo(np.float64).eps * float(np.abs(matrix).max())
    if total <= matrix.size * rounding**2:
        return 0.0
    centred /= np.sqrt(total)
    few_rows = centred.shape[0] < centred.shape[1]
    scatter = centred @ centred.T if few_rows else centred.T @ centred
    return 1.0 / float(np.square(scatter).sum())


def iso_score(X: ArrayLike) -> float:
    """Return the IsoScore of a point cloud: the share of dimensions that it uses uniformly.

    Parameters
    ----------
    X : array_like, shape [samples, dimensions]
        Any real dtype; computed in float64.

    Returns
    -------
    float
        (PR - 1) / (d - 1), where PR is the participation ratio of the covariance eigenvalues and
        d the number of dimensions: 1 where all directions have the same variance, 0 where one
        direction has it all. A cloud without variance scores 0.0; in one dimension any cloud with
        variance scores 1.0, as it uses the one dimension there is.

    Raises
    ------
    ValueError
        If `X` is not a non-empty matrix of finite numbers.

    References
    ----------
    Rudman et al., IsoScore: Measuring the Uniformity of Embedding Space Utilization, Findings of
    ACL 2022 (their algorithm simplifies to this expression); the paper's Appendix A.5.
    """
    matrix = _matrix(X)
    dimensions = matrix.shape[1]
    ratio = participation_ratio(matrix)
    if ratio == 0.0:
        return 0.0
    if dimensions == 1:
        return 1.0
    return float(np.clip((ratio - 1.0) / (dimensions - 1.0), 0.0, 1.0))


def mean_cosine(X: ArrayLike) -> float:
    """Return the mean cosine over all pairs of different rows.

    Parameters
    ----------
    X : array_like, shape [samples, dimensions]
        Any real dtype; computed in float64. A row of zeros has cosine 0 with every row.

    Returns
    -------
    float
        (|sum of unit rows|^2 - number of non-zero rows) / (n (n - 1)), in [-1, 1].

    Raises
    ------
    ValueError
        If `X` is not a matrix of finite numbers with at least two rows.
    """
    matrix = _matrix(X)
    samples = matrix.shape[0]
    if samples < 2:
        raise ValueError("the mean cosine of pairs needs at least two rows")
    # Scale first, so that the squares of very large or small rows stay in range.
    scale = np.abs(matrix).max(axis=1, keepdims=True)
    used = scale[:, 0] > 0
    rows = matrix[used] / scale[used]
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    together = float(np.square(rows.sum(axis=0)).sum()) - float(rows.shape[0])
    return float(np.clip(together / (samples * (samples - 1.0)), -1.0, 1.0))


def subset_geometry(
    X: ArrayLike, subsets: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the IsoScore and the mean cosine of a point cloud on many subsets of its columns.

    Parameters
    ----------
    X : array_like, shape [samples, dimensions]
        At least two rows.
    subsets : array_like of int, shape [k, size]
        Columns of each subset, none twice.

    Returns
    -------
    iso_score, mean_cosine : float64 [k]
        As `iso_score` and `mean_cosine` of ``X[:, subset]``. All subsets share the covariance: the
        trace and the squared Frobenius norm of a part of it are sums over its entries.

    Raises
    ------
    ValueError
        If `X` is not a matrix of finite numbers with at least two rows.
    """
    matrix = _matrix(X)
    if len(matrix) < 2:
        raise ValueError("the geometry of subsets needs at least two rows")
    chosen = np.asarray(subsets, dtype=np.int64)
    mask = np.zeros((len(chosen), matrix.shape[1]))
    np.put_along_axis(mask, chosen, 1.0, axis=1)
    centred = matrix - matrix.mean(axis=0)
    scatter = centred.T @ centred
    trace = mask @ np.diag(scatter)
    squares = np.einsum("kd,kd->k", mask @ np.square(scatter), mask)
    size = chosen.shape[1]
    rounding = 8 * np.finfo(np.float64).eps * float(np.abs(matrix).max())
    flat = trace <= len(matrix) * size * rounding**2
    ratio = np.divide(np.square(trace), squares, out=np.zeros(len(chosen)), where=~flat)
    iso = np.clip((ratio - 1.0) / (size - 1.0), 0.0, 1.0) if size > 1 else np.ones(len(chosen))
    lengths = np.sqrt(np.square(matrix) @ mask.T)
    scale = np.divide(1.0, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    together = np.square((matrix.T @ scale) * mask.T).sum(axis=0) - (lengths > 0).sum(axis=0)
    pairs = len(matrix) * (len(matrix) - 1.0)
    return np.where(flat, 0.0, iso), np.clip(together / pairs, -1.0, 1.0)


def _matrix(X: ArrayLike) -> NDArray[np.float64]:
    """Check that `X` is a non-empty finite matrix and give it as float64."""
    matrix = np.asarray(X, dtype=np.float64)
    if matrix.ndim != 2 or matrix.size == 0:
        raise ValueError(
            f"a [samples, dimensions] matrix with at least one entry is needed, not {matrix.shape}"
        )
    if not np.isfinite(matrix).all():
        raise ValueError("the matrix has NaN or infinite entries")
    return matrix
