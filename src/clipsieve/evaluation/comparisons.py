"""Rows of the tables of means and controls: intervals, and paired differences over the same cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clipsieve.evaluation import bootstrap
from clipsieve.evaluation.generators import (
    Spread,
    deletions,
    deletions_of_tested,
    generator_spread,
    t_interval,
)
from clipsieve.evaluation.intervals import difference_intervals, metric_intervals, too_few
from clipsieve.evaluation.means import WITH_DIAGONAL, Means
from clipsieve.evaluation.metric_records import RECORDS, signs_of
from clipsieve.evaluation.metrics import METRICS
from clipsieve.evaluation.ranks import rank_among
from clipsieve.evaluation.significance import SignFlips, bootstrap_p
from clipsieve.io.training import ONE

if TYPE_CHECKING:
    from clipsieve.evaluation.matrix import Layout

Array = NDArray[np.floating]


class Comparer:
    """Makes intervals and paired tests for means of one encoder and seed.

    Parameters
    ----------
    layout
        Of the test images.
    flips
        Signs of the tests.
    method, confidence
        Of the intervals.
    """

    def __init__(
        self, layout: Layout, flips: SignFlips, method: bootstrap.Interval, confidence: float
    ) -> None:
        self.layout, self.flips = layout, flips
        self.method, self.confidence = method, confidence

    def mean_rows(self, feature_set: str, draws: list[Means], baseline: Means | None) -> list[Any]:
        """Rows of the table of means for one feature set.

        Parameters
        ----------
        feature_set
            Its id.
        draws
            Its means; more than one for a control drawn many times, which then has their mean and
            no interval.
        baseline
            Means of the baseline over the same cells; None for the baseline itself.
        """
        first = draws[0]
        values = np.mean([one.values for one in draws], axis=0)
        rows = []
        for k, cells in enumerate(first.names):
            low, high = self._intervals(first, k, values[:, k])
            single = len(draws) == 1
            compared = self._difference(first, baseline, k, single=single)
            compared |= self._over_generators(first, baseline, k, single=single)
            own = self._over_generators(first, None, k, single=single)
            better = better_on(draws, baseline, k)
            if cells == WITH_DIAGONAL:
                # Trained on what it is tested on: no claim to test, and none to correct for.
                compared["p"] = compared["generators_p"] = np.full(len(METRICS), np.nan)
            for m, metric in enumerate(METRICS):
                rows.append(
                    {
                        "feature_set": feature_set,
                        "cells": cells,
                        "metric": metric,
                        "value": values[m, k],
                        "low": low[m],
                        "high": high[m],
                        "n_cells": len(first.cells[k]),
                        "n": first.n[k],
                        "groups": len(first.groups[k]),
                        "draws": len(draws),
                        **_worst(draws, m, k),
                        "baseline": np.nan if baseline is None else baseline.values[m, k],
                        "difference": np.nan
                        if baseline is None
                        else values[m, k] - baseline.values[m, k],
                        **{name: column[m] for name, column in compared.items()},
                        "better": np.nan if better is None else better[m],
                        "n_generators": len(first.tested[k]),
                        **{
                            f"value_{name}": np.clip(own[name][m], *RECORDS[metric].range)
                            for name in ("generators_low", "generators_high")
                        },
                        "training": first.matrix.training,
                    }
                )
        return rows

    def control_rows(
        self,
        feature_set: str,
        mine: Means,
        control: str,
        draws: list[Means],
        *,
        twin: Means | None = None,
        alike: bool = True,
    ) -> list[Any]:
        """Rows that hold a selected set against one control over the same cells.

        The p value is the permutation p of its rank where the control was drawn many times, and
        that of the paired sign-flip test where there is one draw. There is none where the probes of
        the two were not tuned `alike`: a better grid could by itself explain the rank. So it is the
        `twin` that is ranked, the set's probes made as the draws are, where there is one.
        """
        rows = []
        compared = self._difference(mine, draws[0], 0, single=len(draws) == 1)
        for m, metric in enumerate(METRICS):
            value = mine.values[m, 0]
            drawn = np.array([one.values[m, 0] for one in draws])
            compared_value = value if twin is None else twin.values[m, 0]
            rank, p = rank_among(compared_value, drawn, less=not RECORDS[metric].higher_is_better)
            rows.append(
                {
                    "feature_set": feature_set,
                    "control": control,
                    "metric": metric,
                    "value": value,
                    "compared_value": compared_value,
                    "control_mean": drawn.mean(),
                    "control_sd": drawn.std(ddof=1) if len(drawn) > 1 else np.nan,
                    "draws": len(drawn),
                    "rank": rank,
                    "p": np.nan if not alike else p if len(drawn) > 1 else compared["p"][m],
                    "difference": compared_value - drawn.mean(),
                    "difference_low": compared["difference_low"][m],
                    "difference_high": compared["difference_high"][m],
                    "n_cells": len(mine.cells[0]),
                    "n": mine.n[0],
                }
            )
        return rows

    def difference_interval(self, mine: Means, baseline: Means, metric: str) -> tuple[float, float]:
        """Interval of the paired difference over all cells off the diagonal."""
        compared = self._difference(mine, baseline, 0, single=True)
        m = METRICS.index(metric)
        return float(compared["difference_low"][m]), float(compared["difference_high"][m])

    def _freedom(self, groups: NDArray[np.int64]) -> int:
        return bootstrap.degrees_of_freedom(self.layout.strata, groups)

    def _intervals(self, mine: Means, k: int, values: Array) -> tuple[Array, Array]:
        if mine.replicates is None or mine.influence is None:
            nothing = np.full(len(METRICS), np.nan)
            return nothing, nothing
        return metric_intervals(
            values,
            mine.replicates[:, k],
            mine.class_groups[k],
            confidence=self.confidence,
            method=self.method,
            influence=mine.influence[:, k],
            freedom=self._freedom(mine.groups[k]),
        )

    def _difference(
        self, mine: Means, other: Means | None, k: int, *, single: bool
    ) -> dict[str, Array]:
        """Interval and p of the difference to another feature set, each [M]; NaN without one."""
        if (
            other is None
            or not single
            or mine.replicates is None
            or mine.influence is None
            or other.replicates is None
            or other.influence is None
        ):
            nothing = np.full(len(METRICS), np.nan)
            return dict.fromkeys(("difference_low", "difference_high", "p"), nothing)
        return self.over_photographs(
            mine.values[:, k] - other.values[:, k],
            mine.replicates[:, k] - other.replicates[:, k],
            mine.influence[:, k] - other.influence[:, k],
            mine.groups[k],
            too_few(mine.class_groups[k]),
        )

    def over_photographs(
        self,
        difference: Array,
        replicates: NDArray[np.floating],
        influence: Array,
        groups: NDArray[np.int64],
        unknown: Sequence[int],
    ) -> dict[str, Array]:
        """Interval and p of paired differences over new photographs.

        Parameters
        ----------
        difference, replicates, influence
            Shapes [M], [M, B] and [M, G].
        groups
            Groups that have images in it.
        unknown
            Positions of metrics that these groups say nothing of.

        Returns
        -------
        dict
            ``difference_low``, ``difference_high`` and ``p``, each [M].
        """
        freedom = self._freedom(groups)
        low, high = difference_intervals(
            difference,
            replicates,
            confidence=self.confidence,
            method=self.method,
            influence=influence,
            freedom=freedom,
        )
        p = self.flips.p_values(difference, influence, groups)
        p = np.where(np.isnan(p), bootstrap_p(difference, replicates, freedom), p)
        for m in unknown:
            low[m] = high[m] = p[m] = np.nan
        return {"difference_low": low, "difference_high": high, "p": p}

    def _over_generators(
        self, mine: Means, other: Means | None, k: int, *, single: bool
    ) -> dict[str, Array]:
        """Interval over new generators, of a mean or of its difference to another feature set.

        Each of ``generators_low``, ``generators_high``, ``generators_p``, ``generators_se`` and
        ``generators_freedom`` [M]; NaN where generators are too few, and of controls drawn many
        times, whose photographs are not resampled.
        """
        cells, values, drawn = mine.cell_values(k)
        maps = (deletions if mine.matrix.training == ONE else deletions_of_tested)(cells)
        total = mine.replicates
        if maps is None or not single or drawn is None or total is None:
            return dict.fromkeys(GENERATOR_COLUMNS, np.full(len(METRICS), np.nan))
        mean, total = mine.values[:, k], total[:, k]
        if other is not None:
            _, theirs, also_drawn = other.cell_values(k)
            if also_drawn is None or other.replicates is None:
                raise ValueError(f"{other.matrix.feature_set} has no replicates")
            values, drawn = values - theirs, drawn - also_drawn
            mean, total = mean - other.values[:, k], total - other.replicates[:, k]
        spread = generator_spread(maps, values, drawn, total.var(axis=-1, ddof=1, dtype=np.float64))
        found = over_new(mean, spread, self.confidence)
        for m in too_few(mine.class_groups[k]):
            for column in found.values():
                column[m] = np.nan
        return found


GENERATOR_COLUMNS = (
    *("generators_low", "generators_high", "generators_p", "generators_se"),
    "generators_freedom",
)


def over_new(value: Array, spread: Spread, confidence: float) -> dict[str, Array]:
    """Columns of the interval over new generators."""
    error = spread.error()
    low, high, p = t_interval(value, error, spread.freedom, confidence)
    return dict(zip(GENERATOR_COLUMNS, (low, high, p, error, spread.freedom.copy()), strict=True))


def better_on(draws: Sequence[Means], baseline: Means | None, k: int) -> Array | None:
    """Number of test generators on which the mean over draws is better than the baseline, [M]."""
    if baseline is None:
        return None
    gain = np.mean([one.by_test[k] for one in draws], axis=0) - baseline.by_test[k]
    sign = signs_of(METRICS)
    result: Array = (sign[:, None] * gain > 1e-12).sum(axis=1)
    return result


def _worst(draws: list[Means], m: int, k: int) -> dict[str, Any]:
    """Worst test generator; of a control drawn many times, that of its draws' mean."""
    first = draws[0]
    by_test = np.mean([one.by_test[k][m] for one in draws], axis=0)
    at = int((np.argmin if RECORDS[METRICS[m]].higher_is_better else np.argmax)(by_test))
    return {"worst": by_test[at], "worst_test": first.tested[k][at]}
