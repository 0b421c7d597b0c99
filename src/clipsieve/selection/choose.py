"""From searches and rankings to feature sets: one function a family.

Every function returns the feature sets of its family. Sets selected on a pair exclude the pair's generators
from their evaluation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from clipsieve.io.feature_sets import FeatureSet

Pair = tuple[str, str]
Head = tuple[int, int]

PLAIN = {
    "all": FeatureSet("all", "all"),
    "all_intercept": FeatureSet("all_intercept", "all_intercept", fit_intercept=True),
    "residual": FeatureSet("residual", "residual", space="residual", fit_intercept=True),
    "nearest_mean": FeatureSet("nearest_mean", "nearest_mean", fit_intercept=True),
}


@dataclass(frozen=True)
class Searched:
    """What the two searches of a pair found: kept columns of each direction, and the total of columns.

    `alpha` is the rule that says where they stop; `warnings` are what each direction's search warns of.
    """

    kept: tuple[Sequence[int], Sequence[int]]
    columns: int
    alpha: str = "first"
    warnings: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def union(self) -> list[int]:
        """Columns kept by either direction (paper, section 4), sorted."""
        return sorted(set(self.kept[0]) | set(self.kept[1]))


def shuffled(shuffles: int) -> list[FeatureSet]:
    """All columns, labels permuted before the fit, `shuffles` times."""
    return [FeatureSet("shuffled", "shuffled", shuffle=True, draws=(None,) * shuffles)]


def components(family: str, searched: Mapping[Pair, Searched]) -> list[FeatureSet]:
    """Return the union of what both searches of each pair kept.

    `family` is `components`, `components_intercept` or `residual_components`.
    """
    template = FeatureSet(
        "", family,
        space="residual" if family == "residual_components" else "embedding",
        fit_intercept=family != "components",
    )  # fmt: skip
    return [
        replace(
            template,
            feature_set=f"{family}/{a}--{b}",
            pair=(a, b),
            draws=(found.union,),
            excluded=(a, b),
            facts={
                "columns": found.columns,
                "kept": [len(kept) for kept in found.kept],
                "union": len(found.union),
                "alpha": found.alpha,
                "warnings": {direction: list(said) for direction, said in found.warnings.items()},
            },
        )
        for (a, b), found in searched.items()
    ]


def random_components(searched: Mapping[Pair, Searched], draws: int, seed: int) -> list[FeatureSet]:
    """Return random column subsets as large as each pair's selected set."""
    from clipsieve.selection.filters import random_subsets

    return [
        FeatureSet(
            f"random/{a}--{b}", "random", (a, b), excluded=(a, b),
            draws=tuple(
                [int(c) for c in subset]
                for subset in random_subsets(
                    found.columns, len(found.union), draws, seed=_seed_of(seed, a, b)
                )
            ),
        )
        for (a, b), found in searched.items()
    ]  # fmt: skip


def filtered(
    family: str,
    searched: Mapping[Pair, Searched],
    rows: Mapping[Pair, tuple[np.ndarray, np.ndarray]],
) -> list[FeatureSet]:
    """Return columns picked by a simple filter on the rows that the search saw, at equal size.

    `family` is `fisher`, `variance` or `l1`; `rows` holds X [n, D] and labels [n] of each pair.
    """
    from clipsieve.selection import filters as controls

    pick = {"fisher": controls.fisher, "variance": controls.variance, "l1": controls.l1}[family]
    return [
        FeatureSet(
            f"{family}/{a}--{b}", family, (a, b), excluded=(a, b),
            draws=([int(c) for c in pick(*rows[a, b], len(found.union))],),
        )
        for (a, b), found in searched.items()
    ]  # fmt: skip


def heads(ranked: Mapping[Pair, Sequence[Head]], best: int, exclude: str) -> list[FeatureSet]:
    """Return the `best` heads of each ordered pair (train, val), best first.

    `exclude` is `validation` (the paper: the validation generator leaves) or `both`.
    """
    return [
        FeatureSet(
            f"heads/{train}--{val}", "heads", (train, val), space="heads",
            draws=([[int(layer), int(head)] for layer, head in order[:best]],),
            excluded=(val,) if exclude == "validation" else (train, val),
        )
        for (train, val), order in ranked.items()
    ]  # fmt: skip


def random_heads(
    ranked: Mapping[Pair, Sequence[Head]], best: int, exclude: str, draws: int, seed: int
) -> list[FeatureSet]:
    """Return random sets of as many heads."""
    from clipsieve.selection.filters import random_head_sets

    found = []
    for chosen in heads(ranked, best, exclude):
        train, val = chosen.pair or ("", "")
        order = ranked[train, val]
        layers = 1 + max(layer for layer, _ in order)
        count = 1 + max(head for _, head in order)
        sets = random_head_sets(layers, count, best, draws, seed=_seed_of(seed, train, val))
        found.append(
            replace(
                chosen,
                feature_set=f"random_heads/{train}--{val}",
                family="random_heads",
                draws=tuple([[int(layer), int(head)] for layer, head in heads_] for heads_ in sets),
            )
        )
    return found


def _seed_of(seed: int, first: str, second: str) -> int:
    """Return a seed that depends on the names, so that a pair's draws don't follow the list's order."""
    import hashlib

    digest = hashlib.sha256(f"{seed}:{first}:{second}".encode()).digest()
    return int.from_bytes(digest[:4], "big")
