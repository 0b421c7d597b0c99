"""What a probe of a feature set is fitted on, and how its coefficients apply to what is stored.

Outputs of heads are scaled and directions are projected out before a fit. Both are linear, so that the
stored coefficients hold them, and whoever applies a probe needs neither.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipsieve.io.dataset import Rows
from clipsieve.io.feature_sets import FeatureSet
from clipsieve.io.probes import StoredProbe
from clipsieve.probes.features import features_of
from clipsieve.selection.nuisance import project_out

Floats = NDArray[np.float64]


def seen_by(feature_set: FeatureSet, draw: int, rows: Rows, **options: Any) -> Floats:
    """Return what a probe is fitted on: scaled, less the directions that are projected out.

    Parameters
    ----------
    feature_set, draw
        Which feature set, and which draw of it.
    rows
        The images.
    options
        Of `clipsieve.probes.features.features_of`, for residuals.

    Returns
    -------
    float64 [n, k]
    """
    X = features_of(rows, feature_set.space, feature_set.draws[draw], **options)
    if feature_set.scales:
        X = X * _factors(feature_set, draw, rows, X.shape[1])
    return project_out(X, feature_set.directions[draw]) if feature_set.directions else X


def stored_coefficients(feature_set: FeatureSet, draw: int, rows: Rows, coef: Floats) -> Floats:
    """Return the coefficients on what is stored: the embedding and the heads' outputs as they are.

    Those of a penalised fit on projected rows lie across the directions but for rounding; without
    that, w . x is w . (projected x), and whoever applies the probe need not project.
    """
    if feature_set.directions:
        coef = project_out(coef[None], feature_set.directions[draw])[0]
    return coef * _factors(feature_set, draw, rows, len(coef)) if feature_set.scales else coef


def _factors(feature_set: FeatureSet, draw: int, rows: Rows, columns: int) -> Floats:
    """Return the factor of each column: 1 of the embedding's, the draw's scale of the heads'."""
    found = np.full(columns, feature_set.scales[draw])
    if feature_set.space == "beside":
        found[: rows.embedding.shape[1]] = 1.0
    return found


def fit_choices(
    feature_set: FeatureSet,
    fit: Callable[[FeatureSet], list[StoredProbe]],
    *,
    members: Collection[str] = (),
    tested: Collection[str] = (),
) -> list[StoredProbe]:
    """Fit the choice made with all generators, and those made for tested ones; equal ones once.

    Parameters
    ----------
    feature_set
        Where it has no choices for tested generators, only itself is fitted.
    fit
        Fits one choice.
    members
        Generators trained on, of a set of several: choices for them alone are left out, since such
        a probe is not tested on them.
    tested
        Where it is known which generators the probes will be tested on: choices for others are left
        out.
    """
    found: list[StoredProbe] = []
    known: dict[str, list[StoredProbe]] = {}
    for number, own, chosen in feature_set.choices():
        outside = [name for name in own if name not in members and (not tested or name in tested)]
        if number and not outside:
            continue
        key = json.dumps([chosen.draws, chosen.directions, chosen.scales])
        if key not in known:
            known[key] = fit(chosen)
        found += [replace(probe, choice=number, tested=own) for probe in known[key]]
    return found
