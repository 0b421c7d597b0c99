"""Rank attention heads: a probe on each head's output, trained on one set of rows, scored on another.

The output of head (l, h) in the residual stream is E = W_O^h z, `width` numbers of rank d_head. With
W_O^h = Q R, Q with orthonormal columns, a probe on E under an L2 penalty is the same problem as one
on R z: for weights u on E, u . E = (Q^T u) . R z, and the part of u outside the span of Q costs penalty
and changes no logit, so it is zero. Same optimum, same logits, d_head columns instead of `width`.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clipsieve.errors import UserError
from clipsieve.probes.checks import check_basis, check_C, check_contexts, check_labels
from clipsieve.probes.newton import minimise
from clipsieve.probes.scores import accuracy, auc, log_loss
from clipsieve.threads import limited

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class HeadRanking:
    """Scores of every head on the scoring rows.

    Attributes
    ----------
    accuracy, log_loss, auc : float64 [L, H]. At logit 0; mean in nats; ties counted half.
    order : int64 [L * H, 2]. (layer, head), best first: by accuracy, then lower log-loss, then
        lower layer, then lower head.
    """

    accuracy: Floats
    log_loss: Floats
    auc: Floats
    order: NDArray[np.int64]

    def best(self, k: int) -> list[tuple[int, int]]:
        """Return the best `k` heads as (layer, head); UserError when there are fewer."""
        if not 1 <= k <= len(self.order):
            raise UserError(f"the number of best heads is {k}; allowed: 1 to {len(self.order)}")
        return [(int(layer), int(head)) for layer, head in self.order[:k]]


@dataclass(frozen=True)
class HeadProbes:
    """One converged probe for each head, applied to cached contexts z directly.

    Attributes
    ----------
    coef : float64 [L, H, d_head]. R^T w, so that coef . z = w . R z.
    intercept : float64 [L, H]. 0 without an intercept.
    """

    coef: Floats
    intercept: Floats

    def logits(self, Z: ArrayLike) -> Floats:
        """Return the logit of every row and head, float64 [L, H, n]; Z is [n, L, H, d_head]."""
        contexts = check_contexts(Z, "Z", heads=self.coef.shape)
        found = np.empty((*self.coef.shape[:2], len(contexts)))
        for place in np.ndindex(*self.coef.shape[:2]):
            found[place] = contexts[:, *place].astype(np.float64) @ self.coef[place]
        return found + self.intercept[:, :, None]

    def rank(self, Z: ArrayLike, y: ArrayLike) -> HeadRanking:
        """Score every head on rows Z [n, L, H, d_head] with labels y [n], and rank the heads.

        Raises
        ------
        UserError
            As `rank_heads`.
        """
        contexts = check_contexts(Z, "Z_val", heads=self.coef.shape)
        labels = check_labels(y, "y_val", rows=len(contexts))
        logits = self.logits(contexts)
        layers, heads = logits.shape[:2]
        scores = np.empty((3, layers, heads))
        for place in np.ndindex(layers, heads):
            z = logits[place]
            scores[:, *place] = accuracy(z, labels), log_loss(z, labels), auc(z, labels)
        # Places in (layer, head) order and a stable sort: that ends every tie.
        order = np.lexsort((scores[1].ravel(), -scores[0].ravel()))
        return HeadRanking(
            accuracy=scores[0],
            log_loss=scores[1],
            auc=scores[2],
            order=np.stack(np.divmod(order, heads), axis=-1),
        )


def rank_heads(
    Z_train: ArrayLike,
    y_train: ArrayLike,
    Z_val: ArrayLike,
    y_val: ArrayLike,
    basis: ArrayLike,
    *,
    C: float = 1.0,
    fit_intercept: bool = False,
    threads: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> HeadRanking:
    """Score a converged probe on every head's output and rank the heads (paper, Section 4).

    The same as `fit_heads(...).rank(Z_val, y_val)`; use that to score one fit on several sets.

    Parameters
    ----------
    Z_train, Z_val : float32 or float64 [n, L, H, d_head]. Cached CLS contexts of rows of the
        generator trained on, and of the one scored on.
    y_train, y_val : [n]. 0 = generated, 1 = real.
    basis, C, fit_intercept, threads, progress : as `fit_heads`.

    Returns
    -------
    HeadRanking

    Raises
    ------
    UserError
        For shapes that do not match, NaN or infinity, labels other than 0 and 1, one class only.
    """
    train = check_contexts(Z_train, "Z_train")
    val = check_contexts(Z_val, "Z_val", heads=train.shape[1:])
    v = check_labels(y_val, "y_val", rows=len(val))
    probes = fit_heads(
        train, y_train, basis,
        C=C, fit_intercept=fit_intercept, threads=threads, progress=progress,
    )  # fmt: skip
    return probes.rank(val, v)


def fit_heads(
    Z_train: ArrayLike,
    y_train: ArrayLike,
    basis: ArrayLike,
    *,
    C: float = 1.0,
    fit_intercept: bool = False,
    threads: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> HeadProbes:
    """Fit a converged probe on every head's output.

    Parameters
    ----------
    Z_train : float32 or float64 [n, L, H, d_head]. Cached CLS contexts.
    y_train : [n]. 0 = generated, 1 = real.
    basis : [L, H, d_out, d_head]. The factor R of each head's W_O^h = Q R; or of any other map from
        the cached numbers, such as the projection to the joint space.
    C : float. Inverse strength of the L2 penalty, as in scikit-learn.
    fit_intercept : bool. Add an unpenalised intercept.
    threads : int. Heads worked on at once. Each head's arithmetic is the same for any number: the
        matrix library is held to one thread.
    progress : callable, optional. Called with (heads done, heads in all).

    Returns
    -------
    HeadProbes

    Raises
    ------
    UserError
        As `rank_heads`.
    """
    train = check_contexts(Z_train, "Z_train")
    R = check_basis(basis, train.shape[1:])
    y = check_labels(y_train, "y_train", rows=len(train))
    C = check_C(C)
    if threads < 1:
        raise UserError(f"threads is {threads}; it must be at least 1")
    layers, heads, size = train.shape[1:]
    places = [(layer, head) for layer in range(layers) for head in range(heads)]
    coef, intercept = np.empty((layers, heads, size)), np.zeros((layers, heads))

    def fit(place: tuple[int, int]) -> None:
        coef[place], intercept[place] = _fit_head(train[:, *place], y, R[place], C, fit_intercept)

    # The matrices are small: one thread a head beats many threads on one head.
    with limited(1), ThreadPoolExecutor(threads) as pool:
        steps = map(fit, places) if threads == 1 else pool.map(fit, places)
        for done, _ in enumerate(steps, start=1):
            if progress is not None:
                progress(done, len(places))
    return HeadProbes(coef=coef, intercept=intercept)


def _fit_head(
    z: NDArray[Any], y: NDArray[np.int64], R: Floats, C: float, fit_intercept: bool
) -> tuple[Floats, float]:
    features = z.astype(np.float64) @ R.T
    size = features.shape[1]
    if fit_intercept:
        features = np.column_stack([features, np.ones(len(features))])
    features *= np.where(y == 1, 1.0, -1.0)[:, None]
    penalty = np.full(features.shape[1], 1.0 / C)
    penalty[size:] = 0.0
    w, _ = minimise(features, penalty, rough=features.astype(np.float32), tol=1e-8)
    return R.T @ w[:size], float(w[size]) if fit_intercept else 0.0
