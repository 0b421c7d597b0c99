"""Finished probes applied to test images: the logit of each probe on each image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from clipsieve.io.dataset import Rows
from clipsieve.io.probes import StoredProbe
from clipsieve.io.roles import EVALUATION, require_excluded, require_splits
from clipsieve.probes.features import features_of

if TYPE_CHECKING:
    import pandas as pd


def apply_probes(
    probes: Sequence[StoredProbe], rows: Rows, excluded: Mapping[str, Sequence[str]]
) -> pd.DataFrame:
    """Score the test rows of one image set with every probe that may see it.

    Parameters
    ----------
    probes
        Finished probes of one family.
    rows
        Test rows of one image set.
    excluded
        Feature set -> generators given up to its selection.

    Returns
    -------
    DataFrame
        One row a probe and image: the columns of docs/formats.md, Scores, without encoder and seed.

    Raises
    ------
    RoleError
        A row isn't a test row, or a probe was trained on a generator its feature set gave up.
    """
    import pandas as pd

    require_splits(rows.split, EVALUATION, "transfer", ids=rows.image_id)
    image_set = str(rows.image_set[0])
    real = bool((rows.label == 1).all())
    seen = [probe for probe in probes if real or image_set not in excluded[probe.feature_set]]
    for probe in probes:
        require_excluded([probe.train], excluded[probe.feature_set], probe.feature_set)
    known: dict[tuple[str, str], np.ndarray] = {}
    logits = []
    for probe in seen:
        key = (probe.space, str(probe.columns))
        if probe.space == "residual":
            kind = probe.facts["residual_kind"]
            X = features_of(
                rows, probe.space, probe.columns, residual=probe.residual, residual_kind=kind
            )
        else:
            # a column list is shared by every training generator
            if key not in known:
                known[key] = features_of(rows, probe.space, probe.columns)
            X = known[key]
        logits.append(X @ probe.coef + probe.intercept)
    n, k = len(rows), len(seen)
    return pd.DataFrame(
        {
            "feature_set": pd.Categorical(np.repeat([p.feature_set for p in seen], n)),
            "draw": np.repeat(np.array([p.draw for p in seen], dtype=np.int32), n),
            "train": pd.Categorical(np.repeat([p.train for p in seen], n)),
            "image_set": pd.Categorical([image_set] * (n * k)),
            "generator": [None if real else image_set] * (n * k),
            "image_id": np.tile(rows.image_id, k),
            "group": np.tile(rows.group, k),
            "label": np.tile(rows.label, k),
            "split": pd.Categorical(["test"] * (n * k)),
            "logit": np.concatenate(logits) if logits else np.empty(0),
            "threshold": np.repeat(np.array([p.threshold for p in seen], dtype=np.float64), n),
        }
    ).astype({"feature_set": str, "train": str, "image_set": str, "split": str})
