"""The L1-penalised logistic regression along a path of penalties, to rank columns.

Minimises  sum_i log(1 + exp(-s_i x_i . w)) + mu |w|_1.  Each penalty is solved by proximal Newton
steps: coordinate descent on the second-order model over the columns in play, then a check of the
optimality conditions of all others. Everything is deterministic.

Reference: Friedman, Hastie, Tibshirani (2010), Journal of Statistical Software 33(1).
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from clipsieve.probes.scores import losses, sigmoid

Floats = NDArray[np.float64]

_SHRINK = 0.85  # ratio of neighbouring penalties on the way down
_SMALLEST = 1e-2  # last penalty, as a share of the first
_BISECTIONS = 12
_OUTER = 100
_SWEEPS = 1000  # of coordinate descent for one quadratic model
_TOLERANCE = 1e-3  # of the optimality conditions, as a share of the penalty


def columns_by_lasso(X: Floats, k: int) -> NDArray[np.int64]:
    """Return the `k` columns that the L1 path picks, sorted.

    The penalty goes down until k columns are in play, then by bisection to where k are, or as near
    above k as the path comes; of these the k with the largest |w| are taken. When even the smallest
    penalty keeps fewer, the columns with the largest |gradient| (next to enter) fill up. Ties go to
    the lower column.

    Parameters
    ----------
    X : float64 [n, D]. Rows of label 1, and negated rows of label 0.
    k : int, 1 to D.
    """
    w = np.zeros(X.shape[1])
    largest = float(np.abs(X.sum(axis=0)).max()) / 2.0
    if largest == 0.0:
        return np.arange(k, dtype=np.int64)
    mu, above, best = largest, largest, w
    while np.count_nonzero(best) < k and mu > largest * _SMALLEST:
        above, w = mu, best
        mu = max(mu * _SHRINK, largest * _SMALLEST)
        best = _solve(X, mu, w)
    below = mu
    for _ in range(_BISECTIONS):
        if np.count_nonzero(best) <= k or above / below < 1.0 + 1e-9:
            break
        middle = float(np.sqrt(above * below))
        found = _solve(X, middle, w)
        if np.count_nonzero(found) >= k:
            below, best = middle, found
        else:
            above, w = middle, found
    gradient = np.abs(X.T @ sigmoid(-(X @ best)))
    order = np.lexsort((-gradient, -np.abs(best)))
    return np.sort(order[:k]).astype(np.int64)


def _objective(margin: Floats, w: Floats, mu: float) -> float:
    return float(losses(margin).sum() + mu * np.abs(w).sum())


def _solve(X: Floats, mu: float, start: Floats) -> Floats:
    w = start.copy()
    margin = X @ w
    value = _objective(margin, w, mu)
    playing = w != 0.0
    for _ in range(_OUTER):
        q = sigmoid(-margin)
        gradient = -(X.T @ q)
        # Optimality: |gradient_j| <= mu where w_j = 0, gradient_j = -mu sign(w_j) elsewhere.
        gap = np.where(
            w == 0.0,
            np.maximum(np.abs(gradient) - mu, 0.0),
            np.abs(gradient + mu * np.sign(w)),
        )
        if gap.max() <= _TOLERANCE * mu:
            break
        playing = playing | (gap > _TOLERANCE * mu)
        columns = np.flatnonzero(playing)
        block = X[:, columns]
        scaled = block * np.sqrt(q * (1.0 - q))[:, None]
        H = scaled.T @ scaled
        H[np.diag_indices(len(columns))] += 1e-10 * (1.0 + np.trace(H) / len(columns))
        target = _descend(H, gradient[columns], w[columns], mu, _SWEEPS)
        move = target - w[columns]
        shift = block @ move
        # Armijo rule with the directional decrease of the penalised objective.
        change = np.abs(target).sum() - np.abs(w[columns]).sum()
        expected = float(gradient[columns] @ move + mu * change)
        scale = 1.0
        while True:
            trial = w.copy()
            trial[columns] = target if scale == 1.0 else w[columns] + scale * move
            value_next = _objective(margin + scale * shift, trial, mu)
            if value_next <= value + 1e-3 * scale * expected + 1e-12 * abs(value) or scale < 1e-8:
                break
            scale *= 0.5
        w, margin, value = trial, margin + scale * shift, value_next
    return w


@numba.njit(cache=True, nogil=True)
def _descend(H, gradient, w, mu, sweeps):  # type: ignore[no-untyped-def]
    # Coordinate descent on gradient . d + d' H d / 2 + mu |w + d|_1, with H d kept up to date.
    m = len(w)
    at = w.copy()
    product = np.zeros(m)
    for _ in range(sweeps):
        largest = 0.0
        for j in range(m):
            curvature = H[j, j]
            pull = curvature * at[j] - gradient[j] - product[j]
            if pull > mu:
                new = (pull - mu) / curvature
            elif pull < -mu:
                new = (pull + mu) / curvature
            else:
                new = 0.0
            change = new - at[j]
            if change != 0.0:
                at[j] = new
                for i in range(m):
                    product[i] += change * H[i, j]
                largest = max(largest, change * change * curvature)
        if largest < 1e-10:
            break
    return at
