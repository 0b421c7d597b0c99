"""A finished probe: its coefficients, how they were chosen, and what it says about rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clipsieve.probes.checks import check_matrix
from clipsieve.probes.scores import accuracy, auc, balanced_accuracy, log_loss, sigmoid


@dataclass
class Probe:
    """A linear detector; label 0 = generated, 1 = real, so a high logit means real.

    Attributes
    ----------
    coef : float64 [D]. Weights.
    intercept : float. 0 when the probe was fitted without one.
    params : dict. `solver`, `C`, `max_iter`, `fit_intercept`; `n_iter` and `converged` of the final
        fit on train and val; `grid`, `score`, and `seed` where one was used; `ties`, how many
        points of the grid shared the best score.
    threshold : float. Logit threshold with the best (balanced) accuracy, on the scale of `coef`; 0
        is the plain threshold. docs/method/probes.md says on which rows it is found.
    operating_points : dict. `fpr_1`, `fpr_5`: the thresholds at which at most 1 % and 5 % of real
        images are called generated; None where there were too few real images.
    threshold_facts : dict. `folds`, `n`, `n_real` and `note` of `clipsieve.probes.thresholds`.
    val_logits : float64 [n_val]. Logits of the rows that hyperparameters were tuned on (val, unless
        others were given) under the fit on train alone.
    val_scores : dict. `accuracy` and `balanced_accuracy` (at logit 0), `log_loss`, `auc` of
        `val_logits`.
    """

    coef: NDArray[np.float64]
    intercept: float
    params: dict[str, Any]
    threshold: float = 0.0
    operating_points: dict[str, float | None] = field(default_factory=dict)
    threshold_facts: dict[str, Any] = field(default_factory=dict)
    val_logits: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    val_scores: dict[str, float] = field(default_factory=dict)

    @property
    def val_accuracy(self) -> float:
        """Accuracy on val at logit 0 of the fit on train alone; NaN when there was no val."""
        return self.val_scores.get("accuracy", float("nan"))

    def logits(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return coef . x + intercept for every row, float64 [n].

        Raises
        ------
        UserError
            When `X` [n, D] has another number of columns than the probe, or NaN or infinity.
        """
        matrix = check_matrix(X, "X", columns=len(self.coef))
        return np.asarray(matrix @ self.coef + self.intercept, dtype=np.float64)

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return probabilities, float64 [n, 2]: column 0 generated, column 1 real."""
        z = self.logits(X)
        return np.column_stack([sigmoid(-z), sigmoid(z)])


def judge(val_logits: NDArray[Any], y_val: NDArray[np.int64]) -> dict[str, float]:
    """Return the scores of `Probe.val_scores`."""
    return {
        "accuracy": accuracy(val_logits, y_val),
        "balanced_accuracy": balanced_accuracy(val_logits, y_val),
        "log_loss": log_loss(val_logits, y_val),
        "auc": auc(val_logits, y_val),
    }
