"""What every feature set of an encoder and seed is compared with, and the tables that come of it."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from clipsieve import families as feature_families
from clipsieve.errors import UserError
from clipsieve.evaluation import bootstrap, means
from clipsieve.evaluation.cells import cell_table
from clipsieve.evaluation.comparisons import Comparer
from clipsieve.evaluation.matrix import Layout, Matrix, layout_of, transfer_matrix
from clipsieve.evaluation.operating import operating_table
from clipsieve.evaluation.pairs import Compared
from clipsieve.evaluation.several import Several, cell_groups, several_rows
from clipsieve.evaluation.significance import SignFlips, holm_by_metric
from clipsieve.io.roles import require_excluded
from clipsieve.io.scores import AllScores, Scores
from clipsieve.io.training import ONE

if TYPE_CHECKING:
    import pandas as pd

    from clipsieve.io.feature_sets import FeatureSet

log = logging.getLogger("clipsieve")

CONTROL_COLUMNS = [
    *("feature_set", "control", "metric", "value", "compared_value", "control_mean"),
    *("control_sd", "draws", "rank", "p", "p_holm"),
    *("difference", "difference_low", "difference_high", "n_cells", "n"),
]


@dataclass(frozen=True)
class Options:
    """How intervals and tests are made.

    Attributes
    ----------
    resamples
        Bootstrap resamples.
    interval
        One of `bootstrap.INTERVALS`.
    confidence
        Coverage of the intervals.
    flips
        Random sign vectors of the tests.
    seed
        Seed of resamples and signs.
    threads
        Feature sets worked on at once.
    released
        Release date of generators (``2022-08-22`` or ``2022-08``).
    test_share
        Share of the images in the test split, for what several seeds say together.
    """

    resamples: int = 2000
    interval: bootstrap.Interval = "studentized"
    confidence: float = 0.95
    flips: int = 20_000
    seed: int = 0
    threads: int = 1
    released: Mapping[str, str] = field(default_factory=dict)
    test_share: float = 0.3


def ranked_on(feature_set: str) -> str | None:
    """Return the first generator of an ordered pair, on whose rows the set was selected.

    Examples
    --------
    >>> ranked_on("heads/a--b"), ranked_on("components/a--b"), ranked_on("all")
    ('a', None, None)
    """
    if feature_families.of(feature_set).pairs != "ordered":
        return None
    return feature_families.generators_of(feature_families.pair_of(feature_set))[0]


class Comparisons:
    """What every feature set of a run is compared with."""

    def __init__(
        self,
        scores: AllScores,
        features: Mapping[str, FeatureSet],
        options: Options,
    ) -> None:
        self.features, self.families, self.options = features, scores.images.family, options
        self.grid = scores.grid
        self.layout: Layout = layout_of(
            scores.images, resamples=options.resamples, seed=options.seed
        )
        twins = [twin.scores for twin in scores.twins.values()]
        for one in (*scores.scores, *scores.several, *twins):
            self._check(one)
        self.draws = Counter((one.feature_set, one.training) for one in scores.scores)
        self.draws.update((one.feature_set, one.training) for one in scores.several)
        first = {
            one.feature_set: one
            for one in scores.scores
            if self.draws[one.feature_set, one.training] == 1
        }
        baseline = feature_families.BASELINE
        if baseline not in first:
            raise UserError(
                f"evaluation: no scores of the feature set {baseline!r}, which is the baseline"
            )
        self.scores = scores
        self.baselines: dict[str, Matrix] = {
            name: transfer_matrix(first[name], self.layout)
            for name in (baseline, feature_families.BASELINE_INTERCEPT)
            if name in first
        }
        self.several_baselines: dict[tuple[str, str], Several] = {
            (one.feature_set, one.training): found
            for one in scores.several
            if one.feature_set in self.baselines
            and (found := several_rows(one, self.layout)) is not None
        }
        self._averaged: dict[
            tuple[str, tuple[str, ...], tuple[str, ...], str | None], means.Means
        ] = {}
        self.twins = {
            name: (
                self._average(
                    transfer_matrix(twin.scores, self.layout, replicate=False), ranked_on(name)
                ),
                twin.grid,
            )
            for name, twin in scores.twins.items()
        }
        flips = SignFlips(self.layout.strata, options.flips, options.seed)
        self.comparer = Comparer(self.layout, flips, options.interval, options.confidence)

    def _check(self, one: Scores) -> None:
        entry = self.features.get(one.feature_set)
        if entry is None:
            raise UserError(f"evaluation: scores of {one.feature_set}, which no feature file has")
        applied = [
            name
            for name in self.layout.source
            if np.isfinite(one.logits[:, self.layout.columns[name]]).any()
        ]
        require_excluded([*one.train, *applied], entry.excluded, f"evaluation of {one.feature_set}")

    def one(self, scores: Scores) -> tuple[str, means.Means, pd.DataFrame]:
        """Means and cells of one feature set and draw."""
        single = self.draws[scores.feature_set, scores.training] == 1
        known = self.baselines.get(scores.feature_set)
        matrix = known or transfer_matrix(scores, self.layout, replicate=single)
        cells = cell_table(
            matrix,
            self.layout,
            self.families,
            confidence=self.options.confidence,
            method=self.options.interval,
        )
        return scores.feature_set, self._average(matrix, ranked_on(scores.feature_set)), cells

    def several(
        self, scores: Scores
    ) -> tuple[tuple[str, str], means.Means, list[pd.DataFrame]] | None:
        """Means and cells of the rows of one feature set and draw trained on several generators."""
        key = (scores.feature_set, scores.training)
        found = self.several_baselines.get(key)
        if found is None:
            found = several_rows(scores, self.layout, replicate=self.draws[key] == 1)
        if found is None:
            return None
        cells = [
            cell_table(
                row,
                self.layout,
                self.families,
                confidence=self.options.confidence,
                method=self.options.interval,
            )
            for row in found.rows
        ]
        return key, self._average_several(found), cells

    def _average_several(self, found: Several) -> means.Means:
        return means.mean_over_cells(found.whole, cell_groups(found, self.families), self.layout)

    def several_baseline_of(self, feature_set: str, mine: means.Means) -> means.Means | None:
        """Means of the baseline over the same cells of training sets; None for a baseline itself.

        The baseline's training sets keep the generators that a feature set gave up to its selection.
        """
        if feature_set in self.baselines:
            return None
        wanted = self._baseline_name(feature_set)
        whole = self.several_baselines.get((wanted, mine.matrix.training))
        if whole is None:
            return None
        found = self._average_several(whole.cells_like(mine.matrix.train, mine.matrix.test))
        if found.cells != mine.cells:
            raise UserError(f"evaluation: {feature_set} and {wanted} are of different cells")
        return found

    def _average(self, matrix: Matrix, first: str | None) -> means.Means:
        masks = means.cell_groups(
            matrix.train,
            matrix.test,
            self.families,
            sources=self.layout.source,
            released=self.options.released,
            ranked_on=first,
        )
        return means.mean_over_cells(matrix, masks, self.layout)

    def baseline_of(self, feature_set: str, mine: means.Means) -> means.Means | None:
        """Means of the baseline over the same cells; None for a baseline itself."""
        if feature_set in self.baselines:
            return None
        matrix = self.baselines[self._baseline_name(feature_set)]
        train = sorted({train for train, _ in mine.cells[0]})
        test = [name for name in matrix.test if name in mine.tested[0]]
        first = ranked_on(feature_set)
        key = (matrix.feature_set, tuple(train), tuple(test), first)
        found = self._averaged.get(key)
        if found is None:
            part = means.restricted(matrix, train, test)
            if part is None:
                raise UserError(
                    f"evaluation: {feature_set} has cells that its baseline"
                    f" {matrix.feature_set} lacks"
                )
            found = self._averaged[key] = self._average(part, first)
        if found.cells != mine.cells:
            raise UserError(
                f"evaluation: {feature_set} and {matrix.feature_set} are of different cells"
            )
        return found

    def _baseline_name(self, feature_set: str) -> str:
        """Which baseline a feature set has: the one with an intercept where it has one itself."""
        with_intercept = feature_families.BASELINE_INTERCEPT
        has_it = self.features[feature_set].fit_intercept and with_intercept in self.baselines
        return with_intercept if has_it else feature_families.BASELINE

    def operating_table(
        self,
        by_set: Mapping[str, list[means.Means]],
        by_training: Mapping[tuple[str, str], list[means.Means]],
        pool: Executor,
    ) -> pd.DataFrame:
        """Build the table of operating points, of every set that is not drawn many times."""
        own = {**{(name, ONE): mine for name, mine in by_set.items()}, **by_training}
        whole = {
            (one.feature_set, one.training): one
            for one in (*self.scores.scores, *self.scores.several)
            # its thresholds come from the fit on train alone, as those of draws do
            if self.draws[one.feature_set, one.training] == 1
            and not feature_families.of(one.feature_set).tuned_on_partner
        }

        def baseline(one: Scores) -> Scores | None:
            if one.feature_set in self.baselines:
                return None
            return whole.get((self._baseline_name(one.feature_set), one.training))

        return operating_table(
            [(one, own[key][0]) for key, one in whole.items() if key in own],
            baseline,
            self.layout,
            pool,
            method=self.options.interval,
            confidence=self.options.confidence,
        )

    def baselines_of(
        self, by_set: Mapping[str, list[means.Means]]
    ) -> dict[str, means.Means | None]:
        """Means of each set's baseline over its own cells."""
        return {name: self.baseline_of(name, mine[0]) for name, mine in by_set.items()}

    def mean_table(
        self,
        by_set: Mapping[str, list[means.Means]],
        by_training: Mapping[tuple[str, str], list[means.Means]],
        pool: Executor,
    ) -> pd.DataFrame:
        """Build the table of means, Holm's rule applied over each metric."""
        import pandas as pd

        def rows(name: str) -> list[Any]:
            mine = by_set[name]
            return self.comparer.mean_rows(name, mine, self.baseline_of(name, mine[0]))

        def several(key: tuple[str, str]) -> list[Any]:
            mine = by_training[key]
            baseline = self.several_baseline_of(key[0], mine[0])
            return self.comparer.mean_rows(key[0], mine, baseline)

        parts = [*pool.map(rows, by_set), *pool.map(several, sorted(by_training))]
        table = pd.DataFrame([row for part in parts for row in part])
        table["p_holm"] = holm_by_metric(table, "p")
        table["generators_p_holm"] = holm_by_metric(table, "generators_p")
        return table

    def against(self, by_set: Mapping[str, list[means.Means]]) -> Callable[[str, str], Compared]:
        """Return what tells how a feature set is compared with a control, given both ids."""

        def compared(name: str, control: str) -> Compared:
            twin, grid = None, self.grid.get(name, "")
            if self.draws[control, ONE] > 1 and name in self.twins:
                twin, grid = self.twins[name]
                if twin.cells != by_set[name][0].cells:
                    raise UserError(f"evaluation: {name} and its twin are of different cells")
            return Compared(twin, len({grid, self.grid.get(control, "")} - {""}) < 2)

        return compared

    def control_table(self, by_set: Mapping[str, list[means.Means]]) -> pd.DataFrame:
        """Build the table that holds selected sets against their controls."""
        import pandas as pd

        rows = []
        compared = self.against(by_set)
        for name, mine in by_set.items():
            for control in feature_families.controls_of(name):
                drawn = by_set.get(control)
                if drawn is None:
                    continue
                if drawn[0].cells[0] != mine[0].cells[0]:
                    raise UserError(f"evaluation: {name} and {control} are of different cells")
                how = compared(name, control)
                rows += self.comparer.control_rows(
                    name, mine[0], control, drawn, twin=how.twin, alike=how.alike
                )
        table = pd.DataFrame(rows, columns=CONTROL_COLUMNS)
        table["p_holm"] = holm_by_metric(table, "p")
        return table
