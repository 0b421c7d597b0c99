"""Operating points: true and false alarms at thresholds that were fixed before the test."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class OperatingPoint:
    """Shares of images called generated at a fixed threshold.

    Attributes
    ----------
    tpr, fpr
        Of the generated and of the real images, float64 [P, B].
    """

    tpr: Floats
    fpr: Floats


def operating_point(
    real: Floats,
    generated: Floats,
    thresholds: Floats,
    *,
    real_weights: Floats | None = None,
    generated_weights: Floats | None = None,
) -> OperatingPoint:
    """Work out what thresholds from the validation images give on test images.

    Unlike TPR at a fixed FPR, which takes its threshold from the real test images themselves and so
    is a point of the ROC curve, this is what a user of the detector gets: the false alarms are not
    those that were asked for, and both shares have to be read together.

    Parameters
    ----------
    real, generated
        Logits of P probes, shapes [P, n] and [P, m]; large = real.
    thresholds
        Logit threshold of each probe, fixed on val for a rate of false alarms, shape [P]. An image
        is called generated when its logit is at or below it.
    real_weights, generated_weights
        How often each image counts in each resample, shapes [n, B] and [m, B]; once by default.

    Examples
    --------
    >>> point = operating_point(
    ...     np.array([[2.0, 1.0, -1.0, 3.0]]), np.array([[-2.0, 0.5]]), np.array([0.0])
    ... )
    >>> float(point.tpr[0, 0]), float(point.fpr[0, 0])
    (0.5, 0.25)
    """
    shares = []
    for logits, weights in ((generated, generated_weights), (real, real_weights)):
        w = np.ones((logits.shape[1], 1)) if weights is None else weights
        called = (logits <= thresholds[:, None]).astype(w.dtype)
        shares.append(called @ w / w.sum(axis=0))
    return OperatingPoint(*shares)
