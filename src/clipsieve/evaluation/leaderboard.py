"""Encoders and feature sets side by side: mean and spread over seeds, and how stable each choice is."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clipsieve.evaluation.metric_records import signs_of
from clipsieve.evaluation.metrics import METRICS
from clipsieve.evaluation.seeds import CLEAN_COLUMNS, over_seeds, with_clean
from clipsieve.evaluation.stability import stability
from clipsieve.families import BASELINE

if TYPE_CHECKING:
    import pandas as pd

# (run, encoder, feature set) -> seed -> what was selected, and out of how many.
Selections = Mapping[tuple[str, str, str], Mapping[int, tuple[Sequence[Hashable], int]]]

# The metrics that lead: an answer that is always the same has 0.5 of both, whatever the classes' sizes.
_LEADING = ("auc", "balanced_accuracy")
RANKED = (*_LEADING, *(name for name in METRICS if name not in _LEADING))
# What decides the order where a constant answer could have the best value.
_PROPER = ("log_loss", "brier", "auc")
_COLUMNS = (
    *("run", "encoder", "feature_set", "metric", "rank", "value_on_all_cells", "value", "low"),
    *("high", "value_generators_low", "value_generators_high", "seeds", "sd_over_seeds", "worst"),
    *("worst_test", "baseline", "difference", "difference_low", "difference_high", "p", "p_holm"),
    *("generators_low", "generators_high", "generators_p", "generators_p_holm", "better"),
    *("n_generators", *(f"clean_{name}" for name in CLEAN_COLUMNS)),
    *("n_cells", "n", "selected", "selected_from", "jaccard"),
    *("jaccard_by_chance", "jaccard_p", "selected_by_all_seeds"),
)


def leaderboard(means: pd.DataFrame, selections: Selections) -> pd.DataFrame:
    """Sum up tables of means over seeds, the best feature set of each metric first.

    Parameters
    ----------
    means
        Whole tables of means of every encoder and seed (docs/formats.md).
    selections
        What was selected, by run, encoder, feature set and seed; those with two seeds or more are judged.

    Returns
    -------
    DataFrame
        One row per metric, encoder and feature set, over all cells off the diagonal.

    Notes
    -----
    Each selection leaves out other generators, so means are over different cells and cannot be
    ranked by their values. Rows are ranked by ``value_on_all_cells``: the baseline's mean over all
    cells of the run and encoder, plus the paired difference to it over the set's own cells. Within
    an encoder that is the order of the differences. AUC and balanced accuracy come first:
    with classes of unequal size accuracy rewards an answer that never changes. The calibration
    error does too, so its rows are in the order of the log-loss, the Brier score or, without both,
    of the AUC.
    """
    import pandas as pd

    together = with_clean(over_seeds(means))
    whole = together[together["cells"] == "all"].drop(columns="cells")
    order = [name for name in RANKED if name in set(whole["metric"])]
    order += [name for name in dict.fromkeys(whole["metric"]) if name not in order]
    whole = whole.assign(value_on_all_cells=_on_all_cells(whole))
    better = signs_of(whole["metric"]) * whole["value_on_all_cells"]
    own = ["run", "encoder", "feature_set"]
    proper = next((m for m in _PROPER if m in order), None)
    if proper is not None:
        instead = whole.assign(_order=better)[whole["metric"] == proper].set_index(own)["_order"]
        places = pd.MultiIndex.from_frame(whole[own])
        better = np.where(whole["metric"] == "ece", instead.reindex(places).to_numpy(), better)
    stable = pd.DataFrame(
        [
            _stability(selections.get((str(run), str(encoder), str(name)), {}))
            for run, encoder, name in whole[own].itertuples(index=False)
        ],
        index=whole.index,
    )
    table = pd.concat([whole, stable], axis=1).rename(columns={"value_sd": "sd_over_seeds"})
    table = table.assign(_metric=table["metric"].map(order.index), _order=-better)
    table = table.sort_values(["_metric", "_order", "encoder", "feature_set"], kind="stable")
    table.insert(4, "rank", table.groupby("metric", sort=False).cumcount() + 1)
    known = [name for name in _COLUMNS if name in table.columns]
    return table[known].reset_index(drop=True)


def _on_all_cells(whole: pd.DataFrame) -> pd.Series:
    """Baseline's mean over all cells plus the paired difference over a set's own cells."""
    keys = ["run", "encoder", "metric"]
    base = whole[whole["feature_set"] == BASELINE].set_index(keys)["value"]
    at = whole.set_index(keys).index
    expected = base.reindex(at).to_numpy(dtype=float) + whole["difference"].to_numpy(dtype=float)
    result = whole["value"].where(whole["difference"].isna(), expected)
    # A run whose baseline is not here has means only.
    return result.fillna(whole["value"])


def _stability(by_seed: Mapping[int, tuple[Sequence[Hashable], int]]) -> dict[str, Any]:
    chosen = list(by_seed.values())
    sizes: NDArray[np.int64] = np.array([len(one) for one, _ in chosen], dtype=np.int64)
    result: dict[str, Any] = {
        "selected": sizes.mean() if len(sizes) else np.nan,
        "selected_from": chosen[0][1] or np.nan if chosen else np.nan,
        "jaccard": np.nan,
        "jaccard_by_chance": np.nan,
        "jaccard_p": np.nan,
        "selected_by_all_seeds": np.nan,
    }
    if len(chosen) > 1 and chosen[0][1]:
        found = stability([one for one, _ in chosen], chosen[0][1])
        result |= {
            "jaccard": found.jaccard,
            "jaccard_by_chance": found.chance,
            "jaccard_p": found.p,
            "selected_by_all_seeds": found.shared,
        }
    return result
