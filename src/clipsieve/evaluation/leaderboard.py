"""Encoders and feature sets side by side: mean and spread over seeds, and how stable each choice is."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clipsieve.evaluation.metric_records import RECORDS
from clipsieve.evaluation.metrics import METRICS
from clipsieve.evaluation.stability import stability

if TYPE_CHECKING:
    import pandas as pd

# (run, encoder, feature set) -> seed -> what was selected, and out of how many.
Selections = Mapping[tuple[str, str, str], Mapping[int, tuple[Sequence[Hashable], int]]]


def leaderboard(
    means: pd.DataFrame, selections: Selections, *, confidence: float = 0.95
) -> pd.DataFrame:
    """Sum up tables of means over seeds.

    Parameters
    ----------
    means
        Tables of means of every encoder and seed (docs/formats.md); the rows over all cells count.
    selections
        What was selected, by run, encoder, feature set and seed; those with two seeds or more are judged.
    confidence
        Coverage of the intervals in `means`, and of those made here.

    Returns
    -------
    DataFrame
        One row a metric, encoder and feature set, the best accuracy first.
    """
    import pandas as pd

    rows = []
    whole = means[means["cells"] == "all"]
    keys = ["run", "encoder", "feature_set", "metric"]
    for key, part in whole.groupby(keys, sort=False, dropna=False):
        low, high = over_seeds(part["value"], part["low"], part["high"], confidence)
        less, more = over_seeds(
            part["difference"], part["difference_low"], part["difference_high"], confidence
        )
        by_worst = part.groupby("worst_test")["worst"].mean()
        named = by_worst.idxmin() if RECORDS[str(key[3])].higher_is_better else by_worst.idxmax()
        rows.append(
            {
                **dict(zip(keys, key, strict=True)),
                "value": part["value"].mean(),
                "low": low,
                "high": high,
                "seeds": len(part),
                "sd_over_seeds": part["value"].std(ddof=1) if len(part) > 1 else np.nan,
                "worst": part["worst"].mean(),
                "worst_test": named,
                "baseline": part["baseline"].mean(),
                "difference": part["difference"].mean(),
                "difference_low": less,
                "difference_high": more,
                "p_holm": part["p_holm"].iloc[0] if len(part) == 1 else np.nan,
                "n_cells": int(part["n_cells"].iloc[0]),
                "n": int(part["n"].iloc[0]),
                **_stability(selections.get((str(key[0]), str(key[1]), str(key[2])), {})),
            }
        )
    table = pd.DataFrame(rows)
    order = table["metric"].map({name: k for k, name in enumerate(METRICS)})
    sign = table["metric"].map(
        {name: -1 if m.higher_is_better else 1 for name, m in RECORDS.items()}
    )
    return (
        table.assign(_order=order, _value=sign * table["value"])
        .sort_values(["_order", "_value", "encoder", "feature_set"], kind="stable")
        .drop(columns=["_order", "_value"])
        .reset_index(drop=True)
    )


def over_seeds(
    value: pd.Series, low: pd.Series, high: pd.Series, confidence: float
) -> tuple[float, float]:
    """Interval of a mean over seeds: test images and the spread of seeds taken together.

    Parameters
    ----------
    value, low, high
        Of each seed.
    confidence
        Coverage.

    Notes
    -----
    One seed: its own interval. More: Rubin's rule, ``W + (1 + 1/m) B`` with W the mean of the
    seeds' variances (from the widths of their intervals) and B the variance of the values, and
    Student's t with his degrees of freedom. The seeds' test images overlap, so this errs wide.
    """
    from scipy.special import ndtri, stdtrit

    m = len(value)
    if m == 1:
        return float(low.iloc[0]), float(high.iloc[0])
    z = float(ndtri((1 + confidence) / 2))
    within = float((((high - low) / (2 * z)) ** 2).mean())
    between = (1 + 1 / m) * float(value.var(ddof=1))
    if not np.isfinite(within + between):
        return float("nan"), float("nan")
    if between == 0:
        reach = z * np.sqrt(within)
    else:
        freedom = (m - 1) * (1 + within / between) ** 2
        reach = float(stdtrit(freedom, (1 + confidence) / 2)) * np.sqrt(within + between)
    mean = float(value.mean())
    return mean - float(reach), mean + float(reach)


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
