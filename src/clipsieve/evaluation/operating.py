"""Operating points: true and false alarms at thresholds that were fixed before the test."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clipsieve.evaluation.bootstrap import Interval, degrees_of_freedom, exact_bound, interval
from clipsieve.evaluation.comparisons import over_new
from clipsieve.evaluation.generators import deletions, deletions_of_tested, generator_spread
from clipsieve.evaluation.matrix import Layout
from clipsieve.evaluation.means import WITH_DIAGONAL, Means
from clipsieve.io.scores import OPERATING, Scores
from clipsieve.io.training import ONE

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.floating]

#: Rate of false alarms that a threshold was fixed for on val.
ASKED = dict(zip(OPERATING, (0.01, 0.05), strict=True))
#: Metrics of the table, in the order of its rows: the share of alarms, and the threshold's name.
SHARES = {f"{share}_at_val_{name}": (share, name) for name in OPERATING for share in ("tpr", "fpr")}
OPERATING_COLUMNS = [
    *("feature_set", "cells", "metric", "asked", "value", "low", "high"),
    *("value_generators_low", "value_generators_high", "baseline", "difference"),
    *("difference_low", "difference_high", "generators_low", "generators_high", "generators_p"),
    *(
        "generators_se",
        "generators_freedom",
        "n_cells",
        "n",
        "groups",
        "probes_without",
        "training",
    ),
]
# Replicates of single cells that the interval over generators reads.
_KEPT = 200


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


@dataclass(frozen=True)
class Alarms:
    """Alarms of every cell of one feature set at one kind of threshold.

    Attributes
    ----------
    train, test
        Rows [P] and columns [J].
    values
        TPR and FPR, float64 [2, P, J]; NaN where the probe was not applied or has no threshold.
    replicates
        The same in every resample, float32 [2, P, J, B].
    """

    train: list[str]
    test: list[str]
    values: NDArray[np.float64]
    replicates: NDArray[np.float32]

    def of(self, cells: Iterable[tuple[str, str]]) -> tuple[Floats, Floats]:
        """Return values [2, C] and replicates [2, C, B] of (train, test) cells."""
        places = [(self.train.index(train), self.test.index(test)) for train, test in cells]
        rows, columns = [i for i, _ in places], [j for _, j in places]
        return self.values[:, rows, columns], self.replicates[:, rows, columns]


def alarms_of(scores: Scores, layout: Layout, name: str) -> Alarms:
    """Work out the alarms of every cell at the thresholds `name` (of `OPERATING`).

    Parameters
    ----------
    scores
        Logits and thresholds of the probes of one feature set and draw.
    layout
        Of the same images.
    name
        Which thresholds.
    """
    limits = scores.operating_threshold(name)
    test = list(layout.source)
    shape = (2, len(scores.train), len(test))
    values = np.full(shape, np.nan)
    replicates = np.full((*shape, layout.weights.shape[1]), np.nan, dtype=np.float32)
    if scores.nested:
        # a tested generator has the alarms of the choice that was made for it
        for one in scores.nested:
            part = alarms_of(one, layout, name)
            values = np.where(np.isnan(values), part.values, values)
            replicates = np.where(np.isnan(replicates), part.replicates, replicates)
        return Alarms(scores.train, test, values, replicates)
    known = np.isfinite(limits)
    for j, generator in enumerate(test):
        real, generated = (
            scores.logits[:, layout.columns[image_set]]
            for image_set in (layout.source[generator], generator)
        )
        there = known & np.isfinite(real).all(axis=1) & np.isfinite(generated).all(axis=1)
        if not there.any():
            continue
        real, generated = real[there], generated[there]
        weights = [
            layout.weights[layout.group[layout.columns[image_set]]]
            for image_set in (layout.source[generator], generator)
        ]
        plain = operating_point(real, generated, limits[there])
        drawn = operating_point(
            real, generated, limits[there], real_weights=weights[0], generated_weights=weights[1]
        )
        for k, share in enumerate(("tpr", "fpr")):
            values[k, there, j] = getattr(plain, share)[:, 0]
            replicates[k, there, j] = getattr(drawn, share)
    return Alarms(scores.train, test, values, replicates)


def operating_table(
    sets: Iterable[tuple[Scores, Means]],
    baseline: Callable[[Scores], Scores | None],
    layout: Layout,
    pool: Executor,
    *,
    method: Interval = "studentized",
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Write the alarms of feature sets over each group of cells, beside those of their baseline.

    Parameters
    ----------
    sets
        Scores of each feature set with one draw, and its means, whose groups of cells are taken.
        The thresholds of controls drawn many times come from the fit on train alone.
    baseline
        Gives the scores of a set's baseline; None for a baseline itself.
    layout
        Of the test images.
    pool
        Feature sets are worked on in it.
    method, confidence
        Of the intervals over photographs.

    Returns
    -------
    DataFrame
        One row per feature set, group of cells and metric (`SHARES`). A cell whose probe has no
        threshold, or whose baseline has none, is left out; `probes_without` counts such probes.
    """
    import pandas as pd

    def rows(item: tuple[Scores, Means]) -> list[dict[str, Any]]:
        scores, means = item
        other = baseline(scores)
        found = []
        for name in OPERATING:
            mine = alarms_of(scores, layout, name)
            theirs = None if other is None else alarms_of(other, layout, name)
            for cells, wanted in zip(means.names, means.cells, strict=True):
                if cells == WITH_DIAGONAL:
                    continue
                parts = _rows(
                    mine, theirs, sorted(wanted), scores.training, layout, method, confidence
                )
                for share, part in zip(("tpr", "fpr"), parts, strict=True):
                    found.append(
                        {
                            "feature_set": scores.feature_set,
                            "cells": cells,
                            "metric": f"{share}_at_val_{name}",
                            "asked": ASKED[name],
                            **part,
                            "training": scores.training,
                        }
                    )
        return found

    every = [row for part in pool.map(rows, list(sets)) for row in part]
    return pd.DataFrame(every, columns=OPERATING_COLUMNS)


def _rows(
    mine: Alarms,
    theirs: Alarms | None,
    cells: list[tuple[str, str]],
    training: str,
    layout: Layout,
    method: Interval,
    confidence: float,
) -> list[dict[str, Any]]:
    """Return the numbers of TPR and of FPR over these cells."""
    there = np.isfinite(mine.of(cells)[0][0])
    if theirs is not None:
        there &= np.isfinite(theirs.of(cells)[0][0])
    without = len({train for (train, _), known in zip(cells, there, strict=True) if not known})
    left = [cell for cell, known in zip(cells, there, strict=True) if known]
    if not left:
        return [{"n_cells": 0, "n": 0, "groups": 0, "probes_without": without}] * 2
    values, drawn = mine.of(left)
    own = _Mean(values, drawn)
    tested = sorted({test for _, test in left})
    sources = sorted({layout.source[name] for name in tested})
    gap = None if theirs is None else own.less(_Mean(*theirs.of(left)))
    maps = (deletions if training == ONE else deletions_of_tested)(tuple(left))
    over = {} if maps is None else over_new(own.value, own.spread(maps), confidence)
    new = {} if maps is None else over_new(gap.value, gap.spread(maps), confidence) if gap else over
    result = []
    for k, image_sets in enumerate((tested, sources)):
        groups = layout.groups_of(*image_sets)
        freedom = degrees_of_freedom(layout.strata, groups)
        how: Mapping[str, Any] = {"confidence": confidence, "method": method, "freedom": freedom}
        low, high = interval(own.value[k : k + 1], own.drawn[k : k + 1], logit=True, **how)
        if own.value[k] in (0.0, 1.0):
            low, high = exact_bound(own.value[k : k + 1], len(groups), confidence)
        row = {
            "value": own.value[k],
            "low": low[0] if len(groups) > 1 else np.nan,
            "high": high[0] if len(groups) > 1 else np.nan,
            "n_cells": len(left),
            "n": sum(len(layout.columns[name]) for name in image_sets),
            "groups": len(groups),
            "probes_without": without,
        }
        for end in ("low", "high") if over else ():
            row[f"value_generators_{end}"] = np.clip(over[f"generators_{end}"][k], 0, 1)
        for name in ("generators_se", "generators_freedom") if new else ():
            row[name] = new[name][k]
        if gap is not None:
            low, high = interval(gap.value[k : k + 1], gap.drawn[k : k + 1], **how)
            row |= {"baseline": own.value[k] - gap.value[k], "difference": gap.value[k]}
            if len(groups) > 1:
                row |= {"difference_low": low[0], "difference_high": high[0]}
            for name in ("generators_low", "generators_high", "generators_p") if new else ():
                row[name] = new[name][k]
        result.append(row)
    return result


class _Mean:
    """Mean of TPR and of FPR over cells, in the data and in every resample."""

    def __init__(self, values: Floats, replicates: Floats) -> None:
        self.values, self.replicates = values, replicates
        self.value, self.drawn = values.mean(axis=1), replicates.mean(axis=1, dtype=np.float64)

    def less(self, other: _Mean) -> _Mean:
        """Return the mean of the differences cell by cell."""
        return _Mean(self.values - other.values, self.replicates - other.replicates)

    def spread(self, maps: Any) -> Any:
        """Return the spread over new generators and photographs."""
        variance = self.drawn.var(axis=-1, ddof=1)
        return generator_spread(maps, self.values, self.replicates[..., :_KEPT], variance)
