"""Are ranks of searched columns among random ones uniform where the search can find nothing?

Part of `python -m bench.coverage`; the results stand in docs/method/statistics.md.
"""

from __future__ import annotations

import numpy as np

from clipsieve.evaluation.ranks import rank_among
from clipsieve.probes import accuracy, auc
from clipsieve.selection import greedy_elimination
from clipsieve.selection.filters import random_subsets

COLUMNS, ROWS, DRAWS = 12, 100, 39


def selection_p_values(sets: int, seed: int, planted: bool = False) -> dict[str, np.ndarray]:
    """P values of the rank of a searched set of columns among random ones of its size.

    Two generators are searched in both directions, two others evaluate. Without `planted`, every
    column is worth the same on the others, whatever it did on the pair: nothing is to be found.
    With it, half of the columns point the same way in every generator and half to a random side,
    and never to the same in both generators of the pair.

    Returns
    -------
    dict
        Metric -> p of each data set; searches that kept every column are left out.
    """
    found: dict[str, list[float]] = {"accuracy": [], "auc": []}
    for k in range(sets):
        rng = np.random.default_rng([seed, 11, k])
        labels = np.arange(ROWS) % 2
        data = []
        sides = rng.choice([-1.0, 1.0], size=(4, COLUMNS)) * 0.8
        sides[1] = -sides[0]
        for g in range(4):
            effect = 0.3 + 0.4 * rng.normal(size=COLUMNS)
            if planted:
                effect = np.where(np.arange(COLUMNS) < COLUMNS // 2, 0.5, sides[g])
            rows = [
                rng.normal(size=(n, COLUMNS)) + np.outer(np.arange(n) % 2 - 0.5, effect)
                for n in (ROWS, 4 * ROWS)
            ]
            data.append(rows)
        kept = set()
        for train, val in ((0, 1), (1, 0)):
            result = greedy_elimination(data[train][0], labels, data[val][0], labels)
            kept |= set(result.kept.tolist())
        if len(kept) == COLUMNS:
            continue
        drawn = random_subsets(COLUMNS, len(kept), DRAWS, seed=int(rng.integers(2**31)))
        masks = np.zeros((DRAWS + 1, COLUMNS))
        masks[0, sorted(kept)] = 1
        np.put_along_axis(masks[1:], drawn, 1, axis=1)
        values: dict[str, np.ndarray] = {name: np.zeros(DRAWS + 1) for name in found}
        for train, test in ((2, 3), (3, 2)):
            coef = _fits(data[train][0], labels, masks)
            tested, truth_of = data[test][1], np.arange(4 * ROWS) % 2
            for d, logits in enumerate(coef @ tested.T):
                values["accuracy"][d] += accuracy(logits, truth_of) / 2
                values["auc"][d] += auc(logits, truth_of) / 2
        for name, value in values.items():
            found[name].append(rank_among(value[0], value[1:])[1])
    return {name: np.array(p) for name, p in found.items()}


def _fits(X: np.ndarray, y: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Logistic regressions (C = 1, no intercept) on many subsets of the columns, by Newton steps."""
    Z = X[None] * masks[:, None, :]
    w = np.zeros(masks.shape)
    for _ in range(12):
        p = 1 / (1 + np.exp(-np.einsum("dnk,dk->dn", Z, w)))
        gradient = np.einsum("dnk,dn->dk", Z, p - y) + w
        hessian = np.einsum("dnk,dn,dnj->dkj", Z, p * (1 - p), Z) + np.eye(X.shape[1])
        w -= np.linalg.solve(hessian, gradient[..., None])[..., 0]
    return w
