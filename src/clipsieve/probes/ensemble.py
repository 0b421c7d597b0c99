"""Several probes as one detector: logits on one scale, each counted from its own threshold."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clipsieve.errors import UserError


def held_out_scale(logits: ArrayLike, y: ArrayLike) -> float:
    """Return the spread of a probe's logits, both classes weighing the same.

    Parameters
    ----------
    logits
        Of rows that the fit behind each did not see (`clipsieve.probes.thresholds`), [n].
    y
        0 = generated, 1 = real, [n].

    Returns
    -------
    float
        Standard deviation around the middle of the class means; NaN where a class is missing.

    Examples
    --------
    >>> held_out_scale([-3.0, -1.0, 1.0, 1.0, 3.0, 3.0], [0, 0, 1, 1, 1, 1])
    2.23606797749979
    """
    z, real = np.asarray(logits, dtype=np.float64), np.asarray(y) == 1
    if real.all() or not real.any():
        return float("nan")
    middle = (z[real].mean() + z[~real].mean()) / 2
    squares = [np.square(z[side] - middle).mean() for side in (real, ~real)]
    return float(np.sqrt(np.mean(squares)))


def joined_logits(
    logits: ArrayLike, thresholds: ArrayLike, scales: ArrayLike
) -> NDArray[np.float64]:
    """Return the mean over probes of (logit - threshold) / scale; above 0 says real.

    Logits of two probes differ in size by their C alone (40 times on the demo's embeddings), so a plain
    mean is the answer of the least penalised one. Multiplying the logits of a probe by a number, and its
    threshold and scale with them, changes nothing here.

    Parameters
    ----------
    logits
        Of P probes on the same images, [P, n]; NaN for an image that a probe must not judge, which
        the others then judge alone.
    thresholds
        Cross-fitted threshold of each probe (`Probe.threshold`), [P].
    scales
        Spread of each probe's held-out logits (`threshold_facts["scale"]`), [P].

    Returns
    -------
    float64 [n]
        NaN where no probe judges.

    Raises
    ------
    UserError
        Shapes that do not match, or a scale that is not a positive number.

    Examples
    --------
    >>> joined_logits([[10.0, -10.0], [0.3, 0.5]], [0.0, 0.2], [10.0, 0.1]).round(6).tolist()
    [1.0, 1.0]
    """
    z = np.asarray(logits, dtype=np.float64)
    t, s = (np.asarray(part, dtype=np.float64) for part in (thresholds, scales))
    if z.ndim != 2 or t.shape != (len(z),) or s.shape != (len(z),):
        raise UserError(
            f"logits have shape {list(z.shape)}; thresholds and scales must be one a probe, not"
            f" {list(t.shape)} and {list(s.shape)}"
        )
    if not (np.isfinite(s) & (s > 0)).all():
        raise UserError("the scale of a probe's logits is not a positive number")
    there = np.isfinite(z)
    steps = np.where(there, (z - t[:, None]) / s[:, None], 0.0)
    counts = there.sum(axis=0)
    result = np.full(z.shape[1], np.nan)
    np.divide(steps.sum(axis=0), counts, out=result, where=counts > 0)
    return result
