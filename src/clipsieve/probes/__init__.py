"""Probes: the logistic regression on a feature set, its grids, thresholds, and the residual direction."""

from __future__ import annotations

from clipsieve.probes.contest import SharedFits
from clipsieve.probes.grid import TuneRows, fit_probe
from clipsieve.probes.newton import Fit, fit_path
from clipsieve.probes.probe import Probe
from clipsieve.probes.residual import (
    fit_nearest_mean,
    fit_residual_probe,
    residual,
    residual_feature,
)
from clipsieve.probes.scores import (
    accuracy,
    auc,
    balanced_accuracy,
    best_threshold,
    log_loss,
    sigmoid,
)

__all__ = [
    "Fit",
    "Probe",
    "SharedFits",
    "TuneRows",
    "accuracy",
    "auc",
    "balanced_accuracy",
    "best_threshold",
    "fit_nearest_mean",
    "fit_path",
    "fit_probe",
    "fit_residual_probe",
    "log_loss",
    "residual",
    "residual_feature",
    "sigmoid",
]
