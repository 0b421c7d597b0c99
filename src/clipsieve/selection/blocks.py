"""Which block of the encoder transfers best: all heads of one layer, instead of the embedding or beside it.

The choice looks at transfer between generators: a probe is trained on one and scored on the others. It
is made once for each generator that will be tested, without that generator, and once with all of them
for detectors that meet generators outside the run. The derivation is in docs/method/blocks.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clipsieve.errors import UserError
from clipsieve.probes.checks import check_C, check_labels, check_matrix
from clipsieve.probes.newton import fit_path
from clipsieve.probes.scores import auc
from clipsieve.selection.nuisance import nuisance_directions, project_out
from clipsieve.selection.training_sets import balanced_weights

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Images of an image set that a choice looks at, at most: it needs an order of blocks, no fine score.
MOST = 300


@dataclass(frozen=True)
class TransferScores:
    """How well a probe on one set of features transfers between generators, on rows not trained on.

    Attributes
    ----------
    generators : tuple of str
        Rows and columns of the matrix, sorted.
    matrix : float64 [G, G]
        AUC of the probe trained on generator i, scored on generator j; NaN on the diagonal.
    """

    generators: tuple[str, ...]
    matrix: Floats

    def mean(self, without: str | None = None) -> float:
        """Return the mean over the cells that touch a generator neither in training nor in scoring.

        Parameters
        ----------
        without : str, optional
            The generator that is left out; by default all cells count.
        """
        keep = np.array([name != without for name in self.generators])
        return float(np.nanmean(self.matrix[np.ix_(keep, keep)]))


@dataclass(frozen=True)
class Choice:
    """One of several candidates, chosen for every generator that will be tested.

    Attributes
    ----------
    chosen : int
        Place of the candidate that is best on all generators.
    nested : dict
        Tested generator -> place of the candidate that is best on the others.
    scores : dict
        Tested generator, or the empty text for `chosen` -> float64 [candidates], the means that
        decided.
    """

    chosen: int
    nested: dict[str, int]
    scores: dict[str, Floats]


@dataclass(frozen=True)
class Scored:
    """Rows on which candidates are compared; made by `Scored.of`, which checks them.

    Attributes
    ----------
    y : int64 [n]. 0 = generated, 1 = real.
    domain : str [n]. Generator of generated rows, source of real rows.
    source_of : dict. Source of each generator.
    fold : int64 [n]. Each fold is scored by probes that were trained on the other folds.
    """

    y: Ints
    domain: NDArray[np.str_]
    source_of: dict[str, str]
    fold: Ints

    @classmethod
    def of(
        cls,
        y: ArrayLike,
        domain: ArrayLike,
        *,
        source_of: Mapping[str, str],
        group: ArrayLike | None = None,
        folds: int = 3,
        seed: int = 0,
    ) -> Scored:
        """Check labels and domains, and divide the groups into folds.

        Parameters
        ----------
        y : [n]. 0 = generated, 1 = real.
        domain : [n]. Generator of generated rows, source of real rows.
        source_of : mapping
            Source of each generator.
        group : [n], optional
            Group of each row; each row is its own by default. Equal names are one group only within
            one source and its generators.
        folds : int, default 3
        seed : int, default 0
            Of the folds.

        Raises
        ------
        UserError
            For labels that cannot be used, fewer than three generators (one is left out, and one of
            the others scores what was trained on the other), a generator without real rows of its
            source, or too few groups.
        """
        labels = check_labels(y, "y", rows=len(np.asarray(y)))
        names = np.asarray(domain).astype(str)
        if names.shape != labels.shape:
            raise UserError(f"domain has shape {list(names.shape)}; it must be [{len(labels)}]")
        generators = sorted(set(names[labels == 0].tolist()))
        if len(generators) < 3:
            raise UserError(
                f"{len(generators)} generators; at least 3 are needed to choose by transfer between"
                " generators that are not tested"
            )
        sources = sorted(set(names[labels == 1].tolist()))
        for name in generators:
            if source_of.get(name) not in sources:
                raise UserError(
                    f"source_of[{name!r}] is {source_of.get(name)!r}; there are real rows of:"
                    f" {', '.join(sources)}"
                )
        groups = np.arange(len(labels)) if group is None else np.asarray(group)
        if groups.shape != labels.shape:
            raise UserError(f"group has shape {list(groups.shape)}; it must be [{len(labels)}]")
        origin = [source_of.get(name, name) for name in names.tolist()]
        keys = [f"{o}\t{g}" for o, g in zip(origin, groups.astype(str).tolist(), strict=True)]
        _, place = np.unique(keys, return_inverse=True)
        count = int(place.max()) + 1
        if not 2 <= folds <= count:
            raise UserError(f"folds is {folds}; {count} groups allow 2 to that many")
        order = np.random.default_rng(seed).permutation(count)
        return cls(labels, names, {g: source_of[g] for g in generators}, (order % folds)[place])

    @property
    def generators(self) -> tuple[str, ...]:
        """The generators, sorted."""
        return tuple(sorted(self.source_of))

    def rows(self, generator: str) -> NDArray[np.bool_]:
        """Return which rows are the generator's or its source's, bool [n]."""
        return np.isin(self.domain, [generator, self.source_of[generator]])

    def transfer(self, X: ArrayLike, *, C: float = 0.1) -> TransferScores:
        """Score probes on features X between all generators.

        A fold is scored by probes of the other folds, so that no group is on both sides; the AUC of
        a cell is the mean over the folds that hold both of its classes.

        Parameters
        ----------
        X : [n, D]
            Features of the rows.
        C : float, default 0.1
            Inverse penalty of the probes, which have no intercept and weigh both classes alike.

        Raises
        ------
        UserError
            For features that cannot be used, or a cell that no fold can score.
        """
        matrix = check_matrix(X, "X").astype(np.float64)
        if len(matrix) != len(self.y):
            raise UserError(f"X has {len(matrix)} rows; it must have {len(self.y)}")
        inner = matrix @ matrix.T  # all that a penalised fit needs of the features
        found: dict[tuple[str, str], list[float]] = {}
        for train in self.generators:
            mine = self.rows(train)
            for fold in range(int(self.fold.max()) + 1):
                seen = np.flatnonzero(mine & (self.fold != fold))
                if len(set(self.y[seen].tolist())) < 2:
                    continue
                logits = self._logits(inner, seen, check_C(C))
                for test in self.generators:
                    at = self.rows(test) & (self.fold == fold)
                    if test != train and len(set(self.y[at].tolist())) == 2:
                        found.setdefault((train, test), []).append(auc(logits[at], self.y[at]))
        names = self.generators
        scores = np.full((len(names), len(names)), np.nan)
        for i, train in enumerate(names):
            for j, test in enumerate(names):
                if i == j:
                    continue
                if (train, test) not in found:
                    raise UserError(
                        f"too few groups to score a probe of {train} on {test}: no fold leaves both"
                        " classes to train on and holds both to score"
                    )
                scores[i, j] = np.mean(found[train, test])
        return TransferScores(names, scores)

    def _logits(self, inner: Floats, seen: Ints, C: float) -> Floats:
        """Logits of every row by the probe of some rows, fitted in the span of these rows."""
        values, vectors = np.linalg.eigh(inner[np.ix_(seen, seen)])
        kept = values > 1e-9 * max(values[-1], 1e-300)
        root = np.sqrt(values[kept])
        weights = balanced_weights(self.y[seen], self.domain[seen])
        fit = fit_path(vectors[:, kept] * root, self.y[seen], [C], weights=weights)[0]
        return inner[:, seen] @ ((vectors[:, kept] / root) @ fit.coef)


def best_of(candidates: list[TransferScores]) -> Choice:
    """Choose the candidate that transfers best, for each tested generator without it.

    Parameters
    ----------
    candidates
        Scores between the same generators. Ties go to the first.

    Examples
    --------
    >>> nan = float("nan")
    >>> first = [[nan, 0.9, 0.5], [0.9, nan, 0.5], [0.5, 0.5, nan]]
    >>> second = [[nan, 0.6, 0.8], [0.6, nan, 0.8], [0.8, 0.8, nan]]
    >>> both = [TransferScores(("a", "b", "c"), np.array(m)) for m in (first, second)]
    >>> found = best_of(both)
    >>> found.chosen, found.nested
    (1, {'a': 1, 'b': 1, 'c': 0})
    """
    names = candidates[0].generators
    scores = {
        name: np.array([one.mean(name or None) for one in candidates]) for name in ("", *names)
    }
    best = {name: int(np.argmax(found)) for name, found in scores.items()}
    return Choice(best[""], {name: best[name] for name in names}, scores)


def few_of_each(domain: NDArray[np.str_]) -> NDArray[np.int64]:
    """Return the rows that a choice looks at: at most `MOST` of each domain, evenly spaced."""
    found = []
    for name in np.unique(domain):
        mine = np.flatnonzero(domain == name)
        if len(mine) > MOST:
            mine = mine[np.linspace(0, len(mine) - 1, MOST).round().astype(np.int64)]
        found.append(mine)
    return np.sort(np.concatenate(found))


def choose_block(
    block: Callable[[int], ArrayLike],
    layers: int,
    rows: Scored,
    *,
    embedding: ArrayLike | None = None,
    project: bool = False,
    C: float = 0.1,
) -> tuple[Choice, list[float]]:
    """Choose the layer whose heads transfer best.

    Parameters
    ----------
    block : callable
        Layer -> the outputs of its heads side by side, float [n, k], of the same rows.
    layers : int
        How many layers there are.
    rows : Scored
        Labels, domains and folds of the rows: train and val rows, never test rows.
    embedding : [n, D], optional
        Stand the block beside this embedding; by default the block stands alone.
    project : bool, default False
        Remove the differences between the sources' mean real features first.
    C : float, default 0.1
        As `Scored.transfer`.

    Returns
    -------
    Choice
        Places are layers.
    list of float
        Scale of each block: with it, real rows have the root mean square length that they have in
        the embedding, or in one of the embedding's stead in the first block.
    """
    real = rows.y == 1
    candidates, scales = [], []
    for layer in range(layers):
        heads = check_matrix(block(layer), f"block {layer}").astype(np.float64)
        whole = heads if embedding is None else np.asarray(embedding, dtype=np.float64)
        scale = scale_of(heads[real], whole[real])
        scales.append(scale)
        X = scale * heads if embedding is None else np.concatenate([whole, scale * heads], axis=1)
        if project:
            X = project_out(X, nuisance_directions(X[real], rows.domain[real]))
        candidates.append(rows.transfer(X, C=C))
    return best_of(candidates), scales


def scale_of(block: ArrayLike, embedding: ArrayLike) -> float:
    """Return the factor that gives rows of a block the root mean square length of the embedding's.

    A penalty treats all columns alike, so that a block of short vectors beside a long embedding would
    hardly be used.

    Examples
    --------
    >>> scale_of([[1.0, 0.0]], [[3.0, 4.0]])
    5.0
    """
    lengths = [
        float((np.asarray(X, dtype=np.float64) ** 2).sum(axis=1).mean()) for X in (block, embedding)
    ]
    return float(np.sqrt(lengths[1] / lengths[0])) if lengths[0] > 0 else 1.0
