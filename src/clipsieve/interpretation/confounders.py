"""What else moves a probe's nearest cosine and its transfer together: the penalty, and the family.

A larger C lets weights turn away from the difference of the class means, so both the largest cosine to
a text and the transfer change with it; and generators of one family share both. A correlation over
generators says something of its own only where the same C is used for all, and within families.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from clipsieve.interpretation.nulls import covariance, unit_rows
from clipsieve.probes import fit_path, residual
from clipsieve.probes.scores import accuracy

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

#: Values of C at which every generator's probe is fitted again.
SWEEP = (0.001, 0.01, 0.1, 1.0, 10.0)


@dataclass(frozen=True)
class GeneratorRows:
    """One generator's images with the real images of its source.

    Attributes
    ----------
    X : float [n, D]. Train and val rows.
    y : int [n]. 0 = generated, 1 = real.
    group : str [n]
    train : bool [n]. Which of them are train rows; a residual is made only of these.
    X_test, y_test
        The same of the test split.
    """

    X: NDArray
    y: NDArray[np.int64]
    group: NDArray
    train: NDArray[np.bool_]
    X_test: NDArray
    y_test: NDArray[np.int64]


def sweep(
    rows: Mapping[str, GeneratorRows],
    texts: Mapping[str, NDArray],
    Cs: Sequence[float] = SWEEP,
) -> pd.DataFrame:
    """Fit every generator's probe on all columns at the same C, and see what follows.

    Parameters
    ----------
    rows : mapping
        By generator.
    texts : mapping
        Embeddings [T, D] of each list of texts.
    Cs : sequence of float, default `SWEEP`

    Returns
    -------
    DataFrame
        One row per list of texts, C and generator: `texts`, `C`, `generator`, `transfer` (mean
        accuracy on the test rows of the other generators), `max_cosine`, `cos_residual`.
    """
    import pandas as pd

    goals = {name: unit_rows(vectors, np.float32) for name, vectors in texts.items()}
    found = []
    for generator, mine in rows.items():
        towards = residual(mine.X[mine.train], mine.y[mine.train])
        for C, fit in zip(Cs, fit_path(mine.X, mine.y, list(Cs)), strict=True):
            others = [
                accuracy(other.X_test @ fit.coef, other.y_test)
                for name, other in rows.items()
                if name != generator
            ]
            direction = unit_rows(-fit.coef[None], np.float32)[0]
            for name, vectors in goals.items():
                found.append(
                    {
                        "texts": name,
                        "C": float(C),
                        "generator": generator,
                        "transfer": float(np.mean(others)),
                        "max_cosine": float((vectors @ direction).max()),
                        "cos_residual": cosine(-fit.coef, towards),
                    }
                )
    return pd.DataFrame(found).sort_values(["texts", "C"], kind="stable", ignore_index=True)


def cosine(a: NDArray, b: NDArray) -> float:
    """Return the cosine of two vectors, NaN where one of them is zero."""
    lengths = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / lengths if lengths else float("nan")


def half_stability(
    rows: GeneratorRows, *, C: float, seed: int = 0, repeats: int = 5
) -> tuple[float, float]:
    """Return how alike the probes of two halves of the groups are: of weights, and of patterns.

    Parameters
    ----------
    rows : GeneratorRows
        Train and val rows count.
    C : float
    seed, repeats : int
        Of the divisions; the mean over them is returned.

    Returns
    -------
    weights, patterns : float
        Mean cosine of the weights, and of the covariance times the weights. NaN where a half
        always lacks a class.
    """
    rng = np.random.default_rng(seed)
    names, place = np.unique(rows.group, return_inverse=True)
    cov = covariance(rows.X)
    found = []
    for _ in range(repeats):
        first = (rng.permutation(len(names)) < len(names) // 2)[place]
        halves = [rows.y[side] for side in (first, ~first)]
        if any(len(set(half.tolist())) < 2 for half in halves):
            continue
        u, v = (fit_path(rows.X[s], rows.y[s], [C])[0].coef for s in (first, ~first))
        found.append((cosine(u, v), cosine(cov @ u, cov @ v)))
    weights, patterns = np.mean(found, axis=0) if found else (np.nan, np.nan)
    return float(weights), float(patterns)
