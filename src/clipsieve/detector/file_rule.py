"""What the file alone would say: a small rule that sees format, size and compression, and no pixel.

Where it tells the training labels apart, a detector may have learnt the same; its verdict stands beside
the detector's in every explanation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from clipsieve.probes.newton import minimise
from clipsieve.probes.scores import sigmoid

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

#: Of the squared coefficients of standardised facts, beside the mean loss.
_PENALTY = 1e-2


def fit_file_rule(
    train: pd.DataFrame, weights: NDArray[np.float64], test: pd.DataFrame
) -> dict[str, Any]:
    """Fit a logistic regression of the label on file facts.

    Parameters
    ----------
    train, test
        Rows of image tables: `label`, `format`, `mode`, `width`, `height`, `bytes`, `jpeg_quality`.
    weights
        Of the training rows, positive.

    Returns
    -------
    dict
        JSON-able, for `file_probability`; `auc` is that of the test rows (None where a class is
        missing there).
    """
    from clipsieve.evaluation.metrics import cell_metrics

    values = {name: sorted(set(train[name].astype(str))) for name in ("format", "mode")}
    X = _columns(train.to_dict("records"), values)
    mean, scale = X.mean(axis=0), X.std(axis=0)
    scale[scale < 1e-12] = 1.0
    rows = np.column_stack([(X - mean) / scale, np.ones(len(X))])
    signs = np.where(train["label"].to_numpy() == 1, 1.0, -1.0)
    penalty = np.full(rows.shape[1], _PENALTY)
    penalty[-1] = 0.0
    beta, _ = minimise(rows * signs[:, None], penalty, weights=weights / weights.sum())
    rule = {
        "values": values,
        "mean": mean.tolist(),
        "scale": scale.tolist(),
        "coef": beta[:-1].tolist(),
        "intercept": float(beta[-1]),
        "auc": None,
    }
    labels = test["label"].to_numpy()
    if len(set(labels.tolist())) == 2:
        logits = _logits(rule, test.to_dict("records"))
        rule["auc"] = float(cell_metrics(logits, labels)["auc"][0])
    return rule


def file_probability(rule: Mapping[str, Any], facts: Mapping[str, Any]) -> float:
    """Return P(generated) of a file by its facts alone (`fit_file_rule` has their names)."""
    return float(sigmoid(-_logits(rule, [facts]))[0])


def _logits(rule: Mapping[str, Any], rows: Sequence[Mapping[Any, Any]]) -> NDArray[np.float64]:
    X = (_columns(rows, rule["values"]) - np.array(rule["mean"])) / np.array(rule["scale"])
    return np.asarray(X @ np.array(rule["coef"]) + rule["intercept"], dtype=np.float64)


def _columns(
    rows: Sequence[Mapping[Any, Any]], values: Mapping[str, Sequence[str]]
) -> NDArray[np.float64]:
    """Turn facts into numbers [n, k]; an unknown format or mode has no column."""
    found = []
    for row in rows:
        given = row.get("jpeg_quality")
        quality = np.nan if given is None else float(given)
        found.append(
            [
                np.log(float(row["width"])),
                np.log(float(row["height"])),
                np.log(float(row["bytes"]) / (float(row["width"]) * float(row["height"]))),
                quality if np.isfinite(quality) else -1.0,
                *(float(str(row["format"]) == value) for value in values["format"]),
                *(float(str(row["mode"]) == value) for value in values["mode"]),
            ]
        )
    return np.array(found, dtype=np.float64)
