"""Which feature set makes the best detector, and what choosing it flatters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from clipsieve.errors import UserError


@dataclass(frozen=True)
class Choice:
    """The best of several feature sets.

    Attributes
    ----------
    best : str
    candidates : dict
        Mean AUC on left-out generators of each, the best first.
    nested_auc : float or None
        The mean AUC that the choice itself gets: made anew without each generator, judged on it.
        None with fewer than three generators.
    generators : list of str
        Those that every candidate is judged on.
    """

    best: str
    candidates: dict[str, float]
    nested_auc: float | None
    generators: list[str]


def choose(aucs: Mapping[str, Mapping[str, float]]) -> Choice:
    """Choose the feature set with the best mean over the generators that all are judged on.

    Parameters
    ----------
    aucs
        Feature set -> left-out generator -> AUC. A feature set that was selected on a pair is not
        judged on it; ties go to the earlier.

    Raises
    ------
    UserError
        There is no candidate, or no generator that all are judged on.

    Examples
    --------
    >>> found = choose({"all": {"a": 0.8, "b": 0.7, "c": 0.6}, "heads": {"a": 0.9, "b": 0.9, "c": 0.3}})
    >>> found.best, round(found.nested_auc, 3)
    ('all', 0.6)
    """
    names = list(aucs)
    if not names:
        raise UserError("detector: the run has no scores of a feature set to choose from")
    common = [g for g in aucs[names[0]] if all(g in aucs[name] for name in names)]
    if not common:
        raise UserError(
            "detector: no generator is judged by every feature set, so none is best; name one with"
            " --feature-set"
        )
    values = np.array([[aucs[name][g] for g in common] for name in names])
    means = values.mean(axis=1)
    order = np.argsort(-means, kind="stable")
    nested = None
    if len(common) > 2:
        kept = [np.delete(values, k, axis=1).mean(axis=1) for k in range(len(common))]
        nested = float(np.mean([values[int(np.argmax(m)), k] for k, m in enumerate(kept)]))
    return Choice(names[int(order[0])], {names[k]: float(means[k]) for k in order}, nested, common)
