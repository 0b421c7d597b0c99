"""What could be told from the files without looking at a pixel: format, size, compression, mode.

A classifier that sees file facts alone is trained and tested on the same images as a detector. Where
it does well, so might the detector for the same reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clipsieve.errors import UserError
from clipsieve.evaluation.bootstrap import degrees_of_freedom, resample_weights, strata_of
from clipsieve.evaluation.intervals import metric_intervals
from clipsieve.evaluation.metrics import METRICS, cell_metrics
from clipsieve.io.roles import EVALUATION, FITTING, require_splits

if TYPE_CHECKING:
    import pandas as pd

FACTS = ("format", "width", "height", "bytes_per_pixel", "jpeg_quality", "mode")
NEEDED = (
    *("image_id", "image_set", "source", "generator", "label", "group", "bytes", "format"),
    *("width", "height", "mode", "jpeg_quality"),
)
# A classifier this accurate, its interval above chance, separates the classes.
SEPARATING = 0.75


def file_facts(images: pd.DataFrame) -> dict[str, NDArray[np.floating]]:
    """Turn the file facts of n images into numbers.

    Returns
    -------
    dict
        Fact -> float64 [n, k]: one column, or one column a value for format and mode. An image
        without an estimated JPEG quality has -1.
    """
    area = images["width"].astype(float) * images["height"].astype(float)
    found = {
        "width": images["width"].astype(float),
        "height": images["height"].astype(float),
        "bytes_per_pixel": images["bytes"].astype(float) / area,
        "jpeg_quality": images["jpeg_quality"].astype("Float64").fillna(-1.0).astype(float),
    }
    result: dict[str, NDArray[np.floating]] = {
        name: column.to_numpy(dtype=np.float64)[:, None] for name, column in found.items()
    }
    for name in ("format", "mode"):
        text = images[name].fillna("").astype(str).to_numpy(dtype=object)
        values = sorted(set(text))
        same = text[:, None] == np.array(values, dtype=object)[None, :]
        result[name] = same.astype(np.float64)
    return {name: result[name] for name in FACTS}


def audit_generator(
    images: pd.DataFrame,
    split: str,
    generator: str,
    *,
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, Any]:
    """Train on the file facts of one generator and its source, and test.

    Parameters
    ----------
    images
        Rows of the manifest.
    split
        Name of the column with the split.
    generator
        Which generator.
    resamples, confidence
        Of the interval, by group.
    seed
        Of the forest and the resamples.

    Returns
    -------
    dict
        ``accuracy`` and ``auc`` on test, with ``low`` and ``high`` (of the accuracy), ``auc_low``,
        ``auc_high``, ``n``, the ``strongest_fact`` (the one that alone has the largest AUC on test;
        ``none`` when none is above 0.5) and its ``strongest_auc``, and whether the facts separate the classes.

    Raises
    ------
    UserError
        When a class is missing in training or test.
    """
    mine = images["generator"].astype("string") == generator
    source = images.loc[mine, "source"].iloc[0]
    rows = images[(mine | (images["image_set"] == source)).fillna(False) & images[split].notna()]
    train = rows[rows[split].isin(list(FITTING))]
    test = rows[rows[split].isin(list(EVALUATION))]
    require_splits(train[split].to_numpy(dtype=object), FITTING, f"shortcuts of {generator}")
    require_splits(test[split].to_numpy(dtype=object), EVALUATION, f"shortcuts of {generator}")
    for name, part in (("train or val", train), ("test", test)):
        if part["label"].nunique() < 2:
            raise UserError(f"shortcuts of {generator}: one class alone among its {name} images")
    facts = file_facts(rows)
    in_test = rows[split].isin(list(EVALUATION)).to_numpy()
    label = rows["label"].to_numpy(dtype=np.int64)
    every = np.hstack(list(facts.values()))
    logits = _forest_logits(every[~in_test], label[~in_test], every[in_test], seed)
    found = _scored(logits, test, resamples, confidence, seed)
    alone = {name: _auc_of_one(facts[name], label, in_test) for name in FACTS}
    strongest = max(alone, key=lambda name: alone[name])
    return {
        "generator": generator,
        **found,
        "strongest_fact": strongest if alone[strongest] > 0.5 else "none",
        "strongest_auc": alone[strongest],
        "separates": found["accuracy"] >= SEPARATING and found["low"] > 0.5,
    }


def _forest_logits(
    X: NDArray[np.floating], y: NDArray[np.int64], X_test: NDArray[np.floating], seed: int
) -> NDArray[np.float64]:
    from sklearn.ensemble import RandomForestClassifier

    # few facts and many images: large leaves, or the trees learn single files by heart
    leaf = max(3, len(y) // 50)
    forest = RandomForestClassifier(n_estimators=100, min_samples_leaf=leaf, random_state=seed)
    share = forest.fit(X, y).predict_proba(X_test)[:, 1]
    share = np.clip(share, 1e-6, 1 - 1e-6)
    logits: NDArray[np.float64] = np.log(share / (1 - share))
    return logits


def _auc_of_one(
    columns: NDArray[np.floating], label: NDArray[np.int64], in_test: NDArray[np.bool_]
) -> float:
    """AUC on test of a small tree on one fact."""
    from sklearn.tree import DecisionTreeClassifier

    tree = DecisionTreeClassifier(max_leaf_nodes=8, min_samples_leaf=3, random_state=0)
    share = tree.fit(columns[~in_test], label[~in_test]).predict_proba(columns[in_test])[:, 1]
    return float(cell_metrics(share - 0.5, label[in_test])["auc"][0])


def _scored(
    logits: NDArray[np.float64],
    test: pd.DataFrame,
    resamples: int,
    confidence: float,
    seed: int,
) -> dict[str, Any]:
    """Accuracy and AUC with intervals by group."""
    label = test["label"].to_numpy(dtype=np.int64)
    _, group = np.unique(test["group"].to_numpy(dtype=str), return_inverse=True)
    _, image_set = np.unique(test["image_set"].to_numpy(dtype=str), return_inverse=True)
    strata = strata_of(group, np.zeros(len(group), dtype=np.int64), image_set)
    weights = resample_weights(strata, resamples, seed)[group]
    plain, drawn = cell_metrics(logits, label), cell_metrics(logits, label, weights=weights)
    values = np.array([plain[name][0] for name in METRICS])
    sides = {name: len(set(group[label == k])) for name, k in (("real", 1), ("generated", 0))}
    low, high = metric_intervals(
        values,
        np.stack([drawn[name] for name in METRICS]),
        {**sides, "both": len(strata.of_group), "real_of_a_source": sides["real"]},
        confidence=confidence,
        freedom=degrees_of_freedom(strata, np.unique(group)),
    )
    at = {name: METRICS.index(name) for name in ("accuracy", "auc")}
    return {
        "accuracy": values[at["accuracy"]],
        "auc": values[at["auc"]],
        "low": low[at["accuracy"]],
        "high": high[at["accuracy"]],
        "auc_low": low[at["auc"]],
        "auc_high": high[at["auc"]],
        "n": len(label),
    }
