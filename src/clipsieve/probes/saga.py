"""SAGA for several values of C at once, bit for bit the iterates of scikit-learn's solver.

scikit-learn's `saga` draws its samples from a generator seeded only by `random_state`, so fits
that differ in C only visit the same rows in the same order, and a fit limited to k epochs is the
first k epochs of a longer one. All values of C therefore run side by side ("lanes"), each with
exactly the floating-point operations of the reference, in its order; what is shared is the walk
over the rows, and independent lanes fill the processor's pipelines. (Equal to the last bit where
scikit-learn was compiled without fused multiply-add, as its builds for x86-64 are.)

Reference: Defazio, Bach, Lacoste-Julien (2014), SAGA, arXiv:1407.0202.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, isfinite
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[Any]

_JIT = {"cache": True, "nogil": True, "fastmath": False}


@dataclass
class Lanes:
    """State of the lanes between two calls of `advance`; row c of each array belongs to Cs[c].

    Attributes
    ----------
    coef : [n_lanes, D], dtype of X. Weights at the last finished epoch.
    intercept : [n_lanes], dtype of X. Stays 0 without an intercept.
    n_iter : int64 [n_lanes]. Epochs done; fixed once a lane has converged.
    running : bool [n_lanes]. False once a lane has converged or was dropped.
    """

    coef: Floats
    intercept: Floats
    n_iter: NDArray[np.int64]
    running: NDArray[np.bool_]
    _X: Floats
    _y: Floats
    _alpha: NDArray[np.float64]
    _step: NDArray[np.float64]
    _sum_gradient: Floats
    _intercept_sum: Floats
    _memory: Floats
    _sums: Floats
    _previous: Floats
    _seen: NDArray[np.bool_]
    _counters: NDArray[np.int64]
    _tol: float
    _fit_intercept: bool

    def advance(self, epochs: int) -> None:
        """Run every lane that is still running until `epochs` epochs are done in total.

        Raises
        ------
        FloatingPointError
            When a weight stops being finite (scikit-learn raises there too).
        """
        active = np.flatnonzero(self.running)
        if not len(active) or self._counters[2] >= epochs:
            return
        failed = _advance(
            self._X,
            self._y,
            epochs,
            active,
            self.running,
            self.n_iter,
            self.coef,
            self.intercept,
            self._alpha,
            self._step,
            self._sum_gradient,
            self._intercept_sum,
            self._memory,
            self._sums,
            self._previous,
            self._seen,
            self._counters,
            self._tol,
            self._fit_intercept,
        )
        if failed >= 0:
            raise FloatingPointError(f"saga overflowed at epoch {self.n_iter[failed] + 1}")


def start(
    X: Floats,
    y: NDArray[Any],
    Cs: NDArray[np.float64],
    *,
    fit_intercept: bool = False,
    tol: float = 1e-4,
    seed: int = 0,
) -> Lanes:
    """Set up one lane for each value of C, all at zero weights.

    Parameters
    ----------
    X : float32 or float64 [n, D]. The arithmetic is done in this dtype, as scikit-learn does.
    y : int [n], 0 or 1.
    Cs : float64 [n_lanes]. Inverse regularisation strengths.
    tol : float. Stop when the largest change of a weight in an epoch is below tol times the largest
        weight.
    seed : int. What LogisticRegression takes as `random_state`.
    """
    X = np.ascontiguousarray(X)
    n, D = X.shape
    lanes, dtype = len(Cs), X.dtype
    # Step size 1 / (2 L + min(2 n mu, L)) with mu = 1 / (C n), L = max ||x||^2 / 4 + mu.
    alpha = 1.0 / np.asarray(Cs, dtype=np.float64) / n
    largest = np.einsum("ij,ij->i", X, X).max()
    step = np.empty(lanes)
    for c in range(lanes):
        mu = float(alpha[c])  # a Python float, so that a float32 `largest` keeps its precision
        smooth = 0.25 * (largest + int(fit_intercept)) + mu
        step[c] = 1.0 / (2 * smooth + min(2 * n * mu, smooth))
    first = np.random.RandomState(seed).randint(1, np.iinfo(np.int32).max)
    return Lanes(
        coef=np.zeros((lanes, D), dtype),
        intercept=np.zeros(lanes, dtype),
        n_iter=np.zeros(lanes, np.int64),
        running=np.ones(lanes, np.bool_),
        _X=X,
        _y=np.asarray(y, dtype=dtype),
        _alpha=alpha,
        _step=step,
        _sum_gradient=np.zeros((lanes, D), dtype),
        _intercept_sum=np.zeros(lanes, dtype),
        _memory=np.zeros((lanes, n), dtype),
        _sums=np.zeros((lanes, n), dtype),
        _previous=np.zeros((lanes, D), dtype),
        _seen=np.zeros(n, np.bool_),
        _counters=np.array([first, 0, 0], np.int64),  # generator state, rows seen, epochs done
        _tol=tol,
        _fit_intercept=fit_intercept,
    )


@numba.njit(**_JIT)
def _dot1(a, x, zero):  # type: ignore[no-untyped-def]
    s = zero
    for j in range(x.shape[0]):
        s += a[j] * x[j]
    return s


@numba.njit(**_JIT)
def _dot4(a, b, c, d, x, zero, out):  # type: ignore[no-untyped-def]
    # Four independent chains hide the latency of an addition; each keeps its own order.
    s0 = s1 = s2 = s3 = zero
    for j in range(x.shape[0]):
        v = x[j]
        s0 += a[j] * v
        s1 += b[j] * v
        s2 += c[j] * v
        s3 += d[j] * v
    out[0] = s0
    out[1] = s1
    out[2] = s2
    out[3] = s3


@numba.njit(**_JIT)
def _axpy(w, g, factor):  # type: ignore[no-untyped-def]
    for j in range(w.shape[0]):
        w[j] -= factor * g[j]


@numba.njit(**_JIT)
def _update(w, g, x, change, step, bias, scale):  # type: ignore[no-untyped-def]
    for j in range(w.shape[0]):
        correction = x[j] * change
        w[j] -= correction * step * bias / scale
        g[j] += correction


@numba.njit(**_JIT)
def _reset(w, g, factor, scale):  # type: ignore[no-untyped-def]
    ok = True
    for j in range(w.shape[0]):
        w[j] -= factor * g[j]
        w[j] *= scale
        if not isfinite(w[j]):
            ok = False
    return ok


@numba.njit(**_JIT)
def _advance(  # type: ignore[no-untyped-def]
    X, y, epochs, active, running, n_iter, coef, intercept, alpha, step, sum_gradient,
    intercept_sum, memory, sums, previous, seen, counters, tol, fit_intercept,
):  # fmt: skip
    n, D = X.shape
    lanes = coef.shape[0]
    holder = np.zeros(4, X.dtype)  # typed scalars: stores round to the dtype of X
    zero = holder[0]
    scale = np.ones(lanes, X.dtype)
    shrink = np.empty(lanes, X.dtype)
    wide = np.empty(1, X.dtype)
    inner = np.zeros(lanes, X.dtype)
    dots = np.zeros(4, X.dtype)
    prediction = np.zeros(1, X.dtype)
    gradient = np.zeros(1, X.dtype)
    correction = np.zeros(1, X.dtype)
    last = np.zeros(lanes, np.int64)
    for c in range(lanes):
        shrink[c] = 1.0 - step[c] * alpha[c]
    state = np.uint32(counters[0])
    num_seen = counters[1]
    epoch = counters[2]
    m = len(active)
    live = active.copy()
    while epoch < epochs and m > 0:
        for itr in range(n):
            state ^= np.uint32(state << np.uint32(13))
            state ^= np.uint32(state >> np.uint32(17))
            state ^= np.uint32(state << np.uint32(5))
            row = np.int64(state % np.uint32(2147483648)) % n
            x = X[row]
            if not seen[row]:
                seen[row] = True
                num_seen += 1
            wide[0] = num_seen
            bias = 1 - 1.0 / num_seen
            if itr > 0:
                for i in range(m):
                    c = live[i]
                    factor = sums[c, itr - 1]
                    if last[c] != 0:
                        factor -= sums[c, last[c] - 1]
                    _axpy(coef[c], sum_gradient[c], factor)
                    last[c] = itr
            i = 0
            while i + 4 <= m:
                _dot4(coef[live[i]], coef[live[i + 1]], coef[live[i + 2]], coef[live[i + 3]],
                      x, zero, dots)  # fmt: skip
                for k in range(4):
                    inner[live[i + k]] = dots[k]
                i += 4
            if i < m and m - i > 1:
                c, d, e = live[i], live[i + 1], live[min(i + 2, m - 1)]
                _dot4(coef[c], coef[d], coef[e], coef[e], x, zero, dots)
                inner[c] = dots[0]
                inner[d] = dots[1]
                inner[e] = dots[2]
            elif i < m:
                inner[live[i]] = _dot1(coef[live[i]], x, zero)
            for i in range(m):
                c = live[i]
                prediction[0] = scale[c] * inner[c] + intercept[c]
                raw = np.float64(prediction[0])
                target = np.float64(y[row])
                if raw > -37:
                    small = exp(-raw)
                    gradient[0] = ((1 - target) - target * small) / (1 + small)
                else:
                    gradient[0] = exp(raw) - target
                scale[c] *= shrink[c]
                change = gradient[0] - memory[c, row]
                _update(coef[c], sum_gradient[c], x, change, step[c], bias, np.float64(scale[c]))
                if fit_intercept:
                    correction[0] = change
                    intercept_sum[c] += correction[0]
                    correction[0] = correction[0] * (step[c] * (1.0 - 1.0 / num_seen))
                    intercept[c] -= (
                        step[c] * intercept_sum[c] / np.float64(num_seen) * 1.0
                    ) + correction[0]
                    if not isfinite(intercept[c]):
                        return c
                memory[c, row] = gradient[0]
                increment = step[c] / np.float64(scale[c] * wide[0])
                if itr == 0:
                    sums[c, 0] = increment
                else:
                    sums[c, itr] = sums[c, itr - 1] + increment
                if scale[c] < 1e-9:
                    factor = sums[c, itr]
                    if last[c] != 0:
                        factor -= sums[c, last[c] - 1]
                    if not _reset(coef[c], sum_gradient[c], factor, scale[c]):
                        return c
                    last[c] = (itr + 1) % n
                    sums[c, itr] = zero
                    scale[c] = 1.0
        epoch += 1
        kept = 0
        for i in range(m):
            c = live[i]
            factor = sums[c, n - 1]
            if last[c] != 0:
                factor -= sums[c, last[c] - 1]
            if not _reset(coef[c], sum_gradient[c], factor, scale[c]):
                return c
            last[c] = 0
            sums[c, n - 1] = zero
            scale[c] = 1.0
            largest_change = zero
            largest_weight = zero
            for j in range(D):
                largest_weight = max(largest_weight, abs(coef[c, j]))
                largest_change = max(largest_change, abs(coef[c, j] - previous[c, j]))
                previous[c, j] = coef[c, j]
            n_iter[c] = epoch
            if (largest_weight != 0 and largest_change / largest_weight <= tol) or (
                largest_weight == 0 and largest_change == 0
            ):
                running[c] = False
            else:
                live[kept] = c
                kept += 1
        m = kept
    counters[0] = state
    counters[1] = num_seen
    counters[2] = epoch
    return -1
