"""Probes: the logistic regression on a feature set, its grids, and the residual direction."""

from __future__ import annotations

from clipsieve.probes.grid import fit_probe
from clipsieve.probes.newton import Fit, fit_logistic, fit_path
from clipsieve.probes.probe import Probe
from clipsieve.probes.residual import fit_nearest_mean, residual, residual_feature
from clipsieve.probes.scores import accuracy, auc, best_threshold, log_loss, sigmoid

__all__ = [
    "Fit",
    "Probe",
    "accuracy",
    "auc",
    "best_threshold",
    "fit_logistic",
    "fit_nearest_mean",
    "fit_path",
    "fit_probe",
    "log_loss",
    "residual",
    "residual_feature",
    "sigmoid",
]
