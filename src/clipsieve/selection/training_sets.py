"""Which generators to train on: a greedy choice by transfer to generators that are not in the set.

A user who has to pay for images asks how many generators a detector needs, and which. The choice here
looks only at the generators that it is given: to judge it on a generator that it has not seen, leave that
generator out and choose again (`nested_choices`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clipsieve.errors import UserError
from clipsieve.probes.checks import check_C, check_labels, check_matrix

Floats = NDArray[np.float64]

SCORES = ("auc", "balanced_accuracy", "log_loss")


@dataclass(frozen=True)
class TrainingChoice:
    """An ordered choice of training generators.

    Attributes
    ----------
    chosen : tuple of str
        Generators in the order in which they were added.
    scores : float64 [k]
        Mean score on the generators outside the set, after each addition. The generators that are
        scored become fewer by one at each step, so the curve is not over the same cells.
    candidates : tuple of mapping
        For each step, the score of every candidate that could have been added.
    """

    chosen: tuple[str, ...]
    scores: Floats
    candidates: tuple[dict[str, float], ...]


def balanced_weights(y: ArrayLike, domain: ArrayLike) -> Floats:
    """Return weights that make both classes, every generator and every source count the same.

    Parameters
    ----------
    y : [n]. 0 = generated, 1 = real.
    domain : [n]. Generator of generated rows, source of real rows.

    Returns
    -------
    float64 [n]
        Their sum is n, so that a penalty means the same as without weights. When every domain
        of a class has as many rows, and both classes do, all weights are 1.

    Examples
    --------
    >>> balanced_weights([0, 0, 0, 1], ["sd", "sd", "glide", "coco"]).tolist()
    [0.5, 0.5, 1.0, 2.0]
    """
    labels = check_labels(y, "y", rows=len(np.asarray(y)))
    names = np.asarray(domain).astype(str)
    weights = np.empty(len(labels))
    for label in (0, 1):
        rows = labels == label
        _, place, counts = np.unique(names[rows], return_inverse=True, return_counts=True)
        weights[rows] = len(labels) / (2.0 * len(counts) * counts[place])
    return weights


def choose_training_generators(
    X: ArrayLike,
    y: ArrayLike,
    domain: ArrayLike,
    *,
    k: int = 2,
    source_of: Mapping[str, str],
    group: ArrayLike | None = None,
    C: float = 1.0,
    score: str = "auc",
    folds: int = 3,
    seed: int = 0,
    pool: str = "mean",
) -> TrainingChoice:
    """Choose training generators one at a time, each the one that transfers best with those before it.

    At each step a probe is trained on the set and one candidate, with the real images of their
    sources, and scored on every generator outside the set with the real images of its source.
    Scored rows never share a group with training rows: groups are divided into folds, and each fold
    is scored by the probe that was trained on the others.

    Parameters
    ----------
    X : [n, D]
        Embeddings of train and val rows; hand over no test row and no row of a tested generator.
    y : [n]. 0 = generated, 1 = real.
    domain : [n]. Generator of generated rows, source of real rows.
    k : int, default 2
        How many generators to choose; at least one generator must stay outside the set.
    source_of : mapping
        Source of each generator.
    group : [n], optional
        Group of each row; by default every row is a group of its own. Equal names count as one
        group only within one source and its generators.
    C : float, default 1.0
        Inverse strength of the L2 penalty; the rows are weighted by `balanced_weights`.
    score : `auc` (default), `balanced_accuracy` or `log_loss` (then the least is best).
    folds : int, default 3
    seed : int, default 0
        Of the folds.
    pool : `mean` (default) or `worst`, over the scored generators.

    Returns
    -------
    TrainingChoice

    Raises
    ------
    UserError
        For rows that cannot be used, a generator without a source, too few generators or groups,
        or an unknown score.
    """
    data = _Data.of(X, y, domain, source_of, group, folds, seed)
    strength = check_C(C)
    if score not in SCORES:
        raise UserError(f"the score is {score!r}; allowed: {', '.join(SCORES)}")
    if pool not in ("mean", "worst"):
        raise UserError(f"pool is {pool!r}; allowed: mean, worst")
    if not 1 <= k < len(data.generators):
        raise UserError(
            f"k is {k}; of {len(data.generators)} generators, 1 to {len(data.generators) - 1} can "
            "be chosen, since at least one must be left to score"
        )
    sign = -1.0 if score == "log_loss" else 1.0
    chosen: list[str] = []
    scores, candidates = [], []
    for _ in range(k):
        found = {
            name: data.transfer((*chosen, name), strength, score, pool)
            for name in data.generators
            if name not in chosen
        }
        best = max(found, key=lambda name: sign * found[name])
        chosen.append(best)
        scores.append(found[best])
        candidates.append(found)
    return TrainingChoice(tuple(chosen), np.array(scores), tuple(candidates))


def nested_choices(
    X: ArrayLike,
    y: ArrayLike,
    domain: ArrayLike,
    *,
    source_of: Mapping[str, str],
    group: ArrayLike | None = None,
    **options: Any,
) -> dict[str, TrainingChoice]:
    """Choose once for each generator held out: its images take no part in its own choice.

    Parameters
    ----------
    X, y, domain, source_of, group, options
        As `choose_training_generators` takes them.

    Returns
    -------
    dict
        Held-out generator -> the choice among the others. A source whose only generator is held
        out leaves too, since its real images would be scored against nothing.
    """
    labels, names = np.asarray(y), np.asarray(domain).astype(str)
    groups = np.arange(len(labels)) if group is None else np.asarray(group)
    found = {}
    for held_out in sorted(set(names[labels == 0].tolist())):
        left = {g: s for g, s in source_of.items() if g != held_out}
        keep = np.isin(names, [*left, *left.values()])
        found[held_out] = choose_training_generators(
            np.asarray(X)[keep],
            labels[keep],
            names[keep],
            source_of=left,
            group=groups[keep],
            **options,
        )
    return found


@dataclass(frozen=True)
class JudgedStep:
    """What a set of training generators is worth on a generator that had no part in its choice.

    Attributes
    ----------
    held_out : str
        The generator.
    step : int
        Generators in the set, from 1.
    added : str
        The one that this step added.
    transfer : float
        The score that decided: on the other generators outside the set.
    score : float
        The score on the held-out generator.
    random : float64 [sets]
        The score there of random sets of as many of the same generators.
    everyone : float
        The score there of all other generators together.
    """

    held_out: str
    step: int
    added: str
    transfer: float
    score: float
    random: Floats
    everyone: float


def judged_choices(
    X: ArrayLike,
    y: ArrayLike,
    domain: ArrayLike,
    *,
    source_of: Mapping[str, str],
    group: ArrayLike | None = None,
    k: int = 2,
    C: float = 1.0,
    score: str = "auc",
    folds: int = 3,
    seed: int = 0,
    random_sets: int = 10,
) -> list[JudgedStep]:
    """Choose without each generator in turn, and score the chosen sets on it, beside random ones.

    Parameters
    ----------
    X, y, domain, source_of, group, k, C, score, folds, seed
        As `choose_training_generators` takes them.
    random_sets : int, default 10
        Random sets for each step.

    Returns
    -------
    list of JudgedStep
        One for each held-out generator and step. Scored rows share no group with training rows.
    """
    options: dict[str, Any] = {"k": k, "C": C, "score": score, "folds": folds, "seed": seed}
    chosen = nested_choices(X, y, domain, source_of=source_of, group=group, **options)
    data = _Data.of(X, y, domain, source_of, group, folds, seed)

    def worth(train: tuple[str, ...], held_out: str) -> float:
        return data.score_on(held_out, data.logits(train, check_C(C)), score)

    found = []
    for held_out, choice in chosen.items():
        others = [name for name in data.generators if name != held_out]
        everyone = worth(tuple(others), held_out)
        for step, added in enumerate(choice.chosen, 1):
            # by name, so that a generator more or less does not change the draws of the others
            rng = np.random.default_rng([seed, step, *held_out.encode()])
            drawn = [
                tuple(rng.choice(others, size=step, replace=False).tolist())
                for _ in range(random_sets)
            ]
            found.append(
                JudgedStep(
                    held_out,
                    step,
                    added,
                    float(choice.scores[step - 1]),
                    worth(choice.chosen[:step], held_out),
                    np.array([worth(one, held_out) for one in drawn]),
                    everyone,
                )
            )
    return found


@dataclass(frozen=True)
class _Data:
    """Checked rows with their folds."""

    X: Floats
    y: NDArray[np.int64]
    domain: NDArray[np.str_]
    source_of: dict[str, str]
    generators: tuple[str, ...]
    fold: NDArray[np.int64]

    @classmethod
    def of(
        cls,
        X: ArrayLike,
        y: ArrayLike,
        domain: ArrayLike,
        source_of: Mapping[str, str],
        group: ArrayLike | None,
        folds: int,
        seed: int,
    ) -> _Data:
        matrix = check_matrix(X, "X").astype(np.float64)
        labels = check_labels(y, "y", rows=len(matrix))
        names = np.asarray(domain).astype(str)
        if names.shape != labels.shape:
            raise UserError(f"domain has shape {list(names.shape)}; it must be [{len(labels)}]")
        generators = tuple(sorted(set(names[labels == 0].tolist())))
        sources = set(names[labels == 1].tolist())
        for generator in generators:
            if source_of.get(generator) not in sources:
                raise UserError(
                    f"source_of[{generator!r}] is {source_of.get(generator)!r}; there are real rows "
                    f"of: {', '.join(sorted(sources))}"
                )
        groups = np.arange(len(labels)) if group is None else np.asarray(group)
        if groups.shape != labels.shape:
            raise UserError(f"group has shape {list(groups.shape)}; it must be [{len(labels)}]")
        origin = [source_of[d] if label == 0 else d for d, label in zip(names, labels, strict=True)]
        keys = np.array([f"{o}\t{g}" for o, g in zip(origin, groups.astype(str), strict=True)])
        _, place = np.unique(keys, return_inverse=True)
        if not 2 <= folds <= place.max() + 1:
            raise UserError(f"folds is {folds}; {place.max() + 1} groups allow 2 to that many")
        order = np.random.default_rng(seed).permutation(place.max() + 1)
        return cls(matrix, labels, names, dict(source_of), generators, (order % folds)[place])

    def logits(self, train: tuple[str, ...], C: float) -> Floats:
        """Return the logit of every row by a probe trained on `train` in the other folds."""
        rows = np.isin(self.domain, [*train, *(self.source_of[g] for g in train)])
        logits = np.empty(len(self.y))
        for fold in range(self.fold.max() + 1):
            seen = rows & (self.fold != fold)
            if len(set(self.y[seen].tolist())) < 2:
                raise UserError(f"too few groups: fold {fold} leaves one class of {train} to train")
            out = self.fold == fold
            logits[out] = self.X[out] @ _fit(self.X[seen], self.y[seen], self.domain[seen], C)
        return logits

    def transfer(self, train: tuple[str, ...], C: float, score: str, pool: str) -> float:
        """Return the score of a probe trained on `train`, over the generators outside it."""
        logits = self.logits(train, C)
        found = [self.score_on(g, logits, score) for g in self.generators if g not in train]
        worst = max if score == "log_loss" else min
        return float(np.mean(found) if pool == "mean" else worst(found))

    def score_on(self, generator: str, logits: Floats, score: str) -> float:
        """Return one generator's score against its source, the mean of the folds' own scores."""
        from clipsieve.probes.scores import accuracy, auc, log_loss

        cell = np.isin(self.domain, [generator, self.source_of[generator]])
        found = []
        for fold in range(self.fold.max() + 1):
            rows = cell & (self.fold == fold)
            z, y = logits[rows], self.y[rows]
            if len(set(y.tolist())) < 2:
                continue
            parts = [(z[y == label], y[y == label]) for label in (0, 1)]
            if score == "auc":
                found.append(auc(z, y))
            else:
                of_class = accuracy if score == "balanced_accuracy" else log_loss
                found.append(float(np.mean([of_class(*part) for part in parts])))
        if not found:
            raise UserError(f"too few groups of {generator}: no fold holds both of its classes")
        return float(np.mean(found))


def _fit(X: Floats, y: NDArray[np.int64], domain: NDArray[np.str_], C: float) -> Floats:
    """Return the coefficients of a weighted logistic regression without an intercept."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=C, fit_intercept=False, solver="newton-cholesky", tol=1e-8)
    model.fit(X, y, sample_weight=balanced_weights(y, domain))
    return np.asarray(model.coef_[0])
