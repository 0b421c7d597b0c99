"""Controls: simpler ways to choose as many columns or heads, and permuted labels.

Every function is pure and deterministic (random ones by `seed`), and sees only the rows that it is
handed; hand over train and val rows, never test rows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clipsieve.errors import UserError
from clipsieve.probes.checks import check_labels, check_matrix
from clipsieve.selection.choose import Chosen, Given

Ints = NDArray[np.int64]


def random_subsets(columns: int, k: int, draws: int, *, seed: int) -> Ints:
    """Return random subsets of `k` of the columns 0 .. columns - 1.

    Returns
    -------
    int64 [draws, k]
        Each row sorted, drawn without replacement, all equally likely. Draw i depends on `seed` and
        i alone, so more draws only add rows.

    Raises
    ------
    UserError
        When `k` is not between 1 and `columns`.
    """
    _check_size(k, columns, "columns")
    found = np.empty((draws, k), dtype=np.int64)
    for draw in range(draws):
        rng = np.random.default_rng([seed, draw])
        found[draw] = np.sort(rng.choice(columns, size=k, replace=False))
    return found


def random_head_sets(layers: int, heads: int, k: int, draws: int, *, seed: int) -> Ints:
    """Return random sets of `k` heads, int64 [draws, k, 2] of (layer, head), each set sorted.

    Raises
    ------
    UserError
        When `k` is not between 1 and layers * heads.
    """
    _check_size(k, layers * heads, "heads")
    flat = random_subsets(layers * heads, k, draws, seed=seed)
    return np.stack(np.divmod(flat, heads), axis=-1)


def fisher_scores(X: ArrayLike, y: ArrayLike) -> NDArray[np.float64]:
    """Return (mean_real - mean_generated)^2 / (var_real + var_generated) of each column.

    Variances are those of the population (divided by n). Where both are zero the score is infinite
    if the means differ, else 0.

    Parameters
    ----------
    X : [n, D]
    y : [n]. 0 = generated, 1 = real.

    Returns
    -------
    float64 [D]
    """
    matrix = check_matrix(X, "X").astype(np.float64)
    labels = check_labels(y, "y", rows=len(matrix))
    real, generated = matrix[labels == 1], matrix[labels == 0]
    apart = (real.mean(axis=0) - generated.mean(axis=0)) ** 2
    spread = real.var(axis=0) + generated.var(axis=0)
    empty = np.where(apart > 0, np.inf, 0.0)
    return np.divide(apart, spread, out=empty, where=spread > 0)


def fisher(X: ArrayLike, y: ArrayLike, k: int) -> Ints:
    """Return the `k` columns with the largest Fisher score, sorted; ties to the lower column.

    Raises
    ------
    UserError
        For rows or labels that cannot be used, or when `k` is not between 1 and D.
    """
    return _largest(fisher_scores(X, y), k)


def variance(X: ArrayLike, y: ArrayLike | None, k: int) -> Ints:
    """Return the `k` columns with the largest variance, sorted; ties to the lower column.

    The labels `y` are not used; they are in the signature so that all filters are called alike.

    Raises
    ------
    UserError
        For rows that cannot be used, or when `k` is not between 1 and D.
    """
    return _largest(check_matrix(X, "X").astype(np.float64).var(axis=0), k)


def l1(X: ArrayLike, y: ArrayLike, k: int) -> Ints:
    """Return the `k` columns that an L1-penalised logistic regression keeps, sorted.

    The penalty is lowered until k columns are in play; when the path jumps over k, the k largest
    weights of the next larger set are kept, so the size is always k. No intercept, as in the search;
    columns are standardised first, so that the penalty treats them alike.

    Parameters
    ----------
    X : [n, D]
    y : [n]. 0 = generated, 1 = real.
    k : int. How many columns.

    Raises
    ------
    UserError
        For rows or labels that cannot be used, or when `k` is not between 1 and D.
    """
    matrix = check_matrix(X, "X").astype(np.float64)
    labels = check_labels(y, "y", rows=len(matrix))
    _check_size(k, matrix.shape[1], "columns")
    matrix -= matrix.mean(axis=0)
    spread = matrix.std(axis=0)
    # A constant column leaves only rounding behind, which must not be blown up.
    constant = spread <= 1e-12 * np.maximum(np.abs(matrix).max(axis=0), spread.max())
    matrix[:, constant] = 0.0
    matrix /= np.where(constant, 1.0, spread)
    from clipsieve.selection.lasso import columns_by_lasso

    return columns_by_lasso(matrix * np.where(labels == 1, 1.0, -1.0)[:, None], k)


def shuffled_labels(
    y: ArrayLike, draws: int, *, seed: int, groups: ArrayLike | None = None
) -> Ints:
    """Return the labels in random order, several times: a null in which no column says anything.

    Without groups all rows are exchanged. With groups the exchange keeps what rows of a group share:
    in a group that holds both classes (a photograph and its generated twin) labels are exchanged
    within the group; groups of one class are labelled whole, in random order, until as many rows
    are real as were. Groups of unlike sizes meet that number as nearly as whole groups allow, and
    at least one of them gets each label.

    Parameters
    ----------
    y : [n]. 0 = generated, 1 = real.
    draws : int. How many orders.
    seed : int
    groups : [n], optional. Group of each row, any type that sorts.

    Returns
    -------
    int64 [draws, n]

    Raises
    ------
    UserError
        For labels that cannot be used, or groups of another length.
    """
    labels = check_labels(y, "y", rows=len(np.asarray(y)), both=False)
    names = np.arange(len(labels)) if groups is None else np.asarray(groups)
    if names.shape != labels.shape:
        raise UserError(f"groups has shape {list(names.shape)}; it must be [{len(labels)}]")
    place, sizes = np.unique(names, return_inverse=True, return_counts=True)[1:]
    real = np.bincount(place, weights=labels).astype(np.int64)
    mixed = (real > 0) & (real < sizes)
    within = np.flatnonzero(mixed[place])
    within = within[np.argsort(place[within], kind="stable")]
    whole, of_whole = np.flatnonzero(~mixed), ~mixed[place]
    wanted = real[whole].sum()
    exchangeable = 0 < wanted < sizes[whole].sum()
    rng = np.random.default_rng(seed)
    found = np.tile(labels, (draws, 1))
    for row in found:
        order = np.lexsort((rng.random(len(within)), place[within]))
        row[within] = labels[within][order]
        if exchangeable:
            order = rng.permutation(whole)
            rows = np.cumsum(sizes[order])[:-1]
            nearest = 1 + int(np.argmin(np.abs(rows - wanted)))
            row[of_whole] = np.isin(place[of_whole], order[:nearest])
    return found


def select_random_columns(given: Given) -> Chosen:
    """Draw column subsets of the size that the searches chose."""
    columns = given.searched.columns
    return Chosen(list(random_subsets(columns, given.size, given.draws, seed=given.seed)))


def select_random_heads(given: Given) -> Chosen:
    """Draw sets of as many heads as the best ones, out of all that were ranked."""
    layers, heads = (1 + max(axis) for axis in zip(*given.ranked, strict=True))
    sets = random_head_sets(layers, heads, given.best, given.draws, seed=given.seed)
    return Chosen(list(sets))


def select_random_layers(given: Given) -> Chosen:
    """Draw sets of as many layers as the best ones, out of all that were ranked."""
    layers = len(given.ranked_layers)
    return Chosen(list(random_subsets(layers, given.best, given.draws, seed=given.seed)))


def select_fisher(given: Given) -> Chosen:
    """Choose as many columns as the searches did, by `fisher`."""
    return Chosen([fisher(given.X, given.y, given.size)])


def select_variance(given: Given) -> Chosen:
    """Choose as many columns as the searches did, by `variance`."""
    return Chosen([variance(given.X, given.y, given.size)])


def select_l1(given: Given) -> Chosen:
    """Choose as many columns as the searches did, by `l1`."""
    return Chosen([l1(given.X, given.y, given.size)])


def _largest(scores: NDArray[np.float64], k: int) -> Ints:
    _check_size(k, len(scores), "columns")
    return np.sort(np.argsort(-scores, kind="stable")[:k]).astype(np.int64)


def _check_size(k: int, available: int, what: str) -> None:
    if not 1 <= k <= available:
        raise UserError(f"the number of {what} to choose is {k}; allowed: 1 to {available}")
