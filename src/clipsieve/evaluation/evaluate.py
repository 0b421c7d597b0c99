"""From scores to the tables of an encoder and seed, one for each field of `Tables`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clipsieve.evaluation import means
from clipsieve.evaluation import ranks as controls
from clipsieve.evaluation.feature_set_tables import Comparisons, Options
from clipsieve.evaluation.pairs import pair_table
from clipsieve.evaluation.ranking import ranking_table
from clipsieve.evaluation.winners_curse import optimism_table, own_pair_matrices
from clipsieve.io.scores import AllScores

if TYPE_CHECKING:
    import pandas as pd

    from clipsieve.io.feature_sets import FeatureSet

log = logging.getLogger("clipsieve")


@dataclass
class Tables:
    """The tables of docs/formats.md, Statistics, for one encoder and seed."""

    cells: pd.DataFrame
    means: pd.DataFrame
    controls: pd.DataFrame
    optimism: pd.DataFrame
    pairs: pd.DataFrame
    ranking: pd.DataFrame
    operating: pd.DataFrame


def evaluate(
    scores: AllScores,
    features: Mapping[str, FeatureSet],
    *,
    searches: Mapping[str, controls.SearchResult] | None = None,
    own_pair: AllScores | None = None,
    options: Options | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Tables:
    """Work out every number of an encoder and seed; nothing is fitted.

    Parameters
    ----------
    scores
        All score files, read; the families of the generators are in them.
    features
        Feature sets by id.
    searches
        Result of each searched direction, ``a--b``.
    own_pair
        Scores of selected sets on the test images of the pair that they were selected on; only the
        table of optimism reads them.
    options
        Of intervals and tests.
    progress
        Called with the number of finished and of all feature sets.

    Raises
    ------
    UserError
        A feature set is unknown; a generator that was used for a selection takes part in its evaluation;
        scores are missing; the baseline ``all`` is.
    """
    import pandas as pd

    from clipsieve.threads import limited

    chosen = options or Options()
    with limited(1), ThreadPoolExecutor(max_workers=max(1, chosen.threads)) as pool:
        work = Comparisons(scores, features, chosen)
        by_set: dict[str, list[means.Means]] = {}
        by_training: dict[tuple[str, str], list[means.Means]] = {}
        cells = []
        total = len(scores.scores) + len(scores.several)
        for done, (name, mine, part) in enumerate(pool.map(work.one, scores.scores), 1):
            by_set.setdefault(name, []).append(mine)
            cells.append(part)
            if progress is not None:
                progress(done, total)
        for done, several in enumerate(pool.map(work.several, scores.several), len(cells) + 1):
            if several is not None:
                key, mine, parts = several
                by_training.setdefault(key, []).append(mine)
                cells += parts
            if progress is not None:
                progress(done, total)
        found = (
            pd.concat(cells, ignore_index=True),
            work.mean_table(by_set, by_training, pool),
            work.control_table(by_set),
            optimism_table(
                work.comparer,
                by_set,
                lambda name: work.baseline_of(name, by_set[name][0]),
                work.baselines,
                searches or {},
                own_pair_matrices(own_pair),
            ),
            pair_table(work.comparer, by_set, work.baselines_of(by_set), work.against(by_set)),
            ranking_table(by_set),
            work.operating_table(by_set, by_training, pool),
        )
    for table in found:
        table.insert(0, "run", scores.run)
        table.insert(1, "encoder", scores.encoder)
        table.insert(2, "seed", scores.seed)
    for table in (found[1], found[4], found[6]):
        table["confidence"] = chosen.confidence
        table["test_share"] = chosen.test_share
    return Tables(*found)
