"""Components known to harm transfer: the search must find them, and better than every control does."""

from __future__ import annotations

import numpy as np
import pytest

from clipsieve.probes import fit_probe
from clipsieve.selection import greedy_elimination
from clipsieve.selection.filters import fisher, l1, random_subsets, variance

D, SHARED, HARMFUL = 40, 8, 8


def generator(rng: np.random.Generator, n: int, sign: float) -> tuple[np.ndarray, np.ndarray]:
    """Shared columns tell both generators from real alike; harmful ones by opposite signs."""
    y = np.arange(n) % 2
    X = rng.normal(size=(n, D))
    X[:, :SHARED] += np.where(y == 0, 0.55, -0.55)[:, None]
    X[:, SHARED : SHARED + HARMFUL] += sign * np.where(y == 0, 0.9, -0.9)[:, None]
    return X, y


@pytest.fixture(scope="module")
def found():
    rng = np.random.default_rng(11)
    first, second = generator(rng, 300, 1.0), generator(rng, 300, -1.0)
    kept = [
        set(greedy_elimination(*a, *b, C=0.1).kept) for a, b in ((first, second), (second, first))
    ]
    # two generators that the search has not seen, of either sign
    evaluation = [(generator(rng, 600, s), generator(rng, 600, -s)) for s in (1.0, -1.0)]
    return sorted(kept[0] | kept[1]), first, evaluation


def transfer(columns, evaluation) -> float:
    scores = []
    for (X, y), (X_test, y_test) in evaluation:
        probe = fit_probe(X[:400][:, columns], y[:400], X[400:][:, columns], y[400:], grid="fast")
        scores.append(((probe.logits(X_test[:, columns]) >= 0) == (y_test == 1)).mean())
    return float(np.mean(scores))


def test_the_harmful_components_are_removed_and_the_shared_ones_kept(found):
    kept = set(found[0])
    harmful = set(range(SHARED, SHARED + HARMFUL))
    assert len(kept & harmful) <= 1
    assert len(kept & set(range(SHARED))) >= SHARED - 1


def test_what_is_kept_transfers_better_than_every_control(found):
    kept, (X, y), evaluation = found
    selected = transfer(kept, evaluation)
    controls = {
        "all": range(D),
        "fisher": fisher(X, y, len(kept)),
        "variance": variance(X, y, len(kept)),
        "l1": l1(X, y, len(kept)),
        **dict(enumerate(random_subsets(D, len(kept), 20, seed=3))),
    }
    scores = {name: transfer(list(columns), evaluation) for name, columns in controls.items()}
    assert selected > 0.8
    assert selected > max(scores.values()) + 0.05, scores
