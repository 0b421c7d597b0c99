"""What several seeds say together: one interval for every page and table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from clipsieve.errors import UserError
from clipsieve.evaluation.generators import t_interval
from clipsieve.evaluation.means import CLEAN
from clipsieve.evaluation.metric_records import signs_of
from clipsieve.evaluation.significance import holm_by_metric

if TYPE_CHECKING:
    import pandas as pd

KEYS = ("run", "encoder", "feature_set", "cells", "metric")
_AVERAGED = (
    *("value", "n_cells", "n", "baseline", "difference", "better", "n_generators"),
    *("value_generators_low", "value_generators_high"),
)
_BOUNDS = (
    *("low", "high", "difference_low", "difference_high", "p", "p_holm", "generators_low"),
    *("generators_high", "generators_p", "generators_p_holm"),
)


def over_seeds(table: pd.DataFrame) -> pd.DataFrame:
    """Sum up a table of means over the seeds of each run and encoder.

    Parameters
    ----------
    table
        Rows of `means.parquet` (docs/formats.md) of one seed or more. Pass whole tables: Holm's rule
        is applied to what is passed, over the rows of one run, encoder and metric.

    Returns
    -------
    DataFrame
        One row per run, encoder, feature set, group of cells and metric, in the order of appearance,
        with the columns of means that are there, ``value_sd`` (spread over seeds, NaN for one) and
        ``seeds``. A row of one seed is that seed's own.

    Raises
    ------
    UserError
        Several seeds, and the column `test_share` or `confidence` is missing or differs between them.

    Notes
    -----
    Of J seeds with the test share r of the images, an interval over photographs, training images
    and splits is the mean -+ t(J - 1) * sqrt((1 / J + r / (1 - r)) s^2), s the seeds' standard
    deviation (Nadeau and Bengio 2003): test sets overlap, so J seeds are fewer than J samples. It is
    never shorter than the uncertainty from photographs only, sqrt((1 - r) / J + r) of the seeds'
    own intervals. The interval over generators keeps its mean squared standard error: other seeds
    are not other generators. The worst test generator is that of the least favourable seed.
    """
    keys = [key for key in KEYS if key in table.columns]
    groups = table.groupby(keys, sort=False, dropna=False)
    averaged = [name for name in _AVERAGED if name in table.columns]
    result = groups[averaged].mean()
    result["value_sd"] = groups["value"].std(ddof=1)
    result["seeds"] = groups["seed"].nunique()
    for name in ("worst", "worst_test"):
        if name in table.columns:
            result[name] = _least_favourable(table, keys)[name]
    first = groups.first()
    for name in _BOUNDS:
        if name in table.columns:
            result[name] = first[name]
    several = (result["seeds"] > 1).to_numpy()
    if not several.any():
        return result.reset_index()
    confidence, share = (_of_each(table, keys, name) for name in ("confidence", "test_share"))
    for value, low, high, p in (
        ("value", "low", "high", ""),
        ("difference", "difference_low", "difference_high", "p"),
    ):
        if low not in table.columns:
            continue
        half = (table[high] - table[low]) / 2
        own = half.groupby([table[key] for key in keys], sort=False, dropna=False).mean()
        found = _corrected(
            result[value].to_numpy(dtype=float),
            groups[value].std(ddof=1).to_numpy(dtype=float),
            result["seeds"].to_numpy(dtype=float),
            own.to_numpy(dtype=float),
            confidence,
            share,
        )
        bounds = found[:2] if value == "difference" else [np.clip(x, 0, 1) for x in found[:2]]
        for name, column in zip((low, high, p), (*bounds, found[2]), strict=True):
            if name in result:
                result[name] = np.where(several, column, result[name])
    if "generators_se" in table.columns:
        _generators(result, table, keys, several, confidence)
    result = result.reset_index()
    within = [key for key in ("run", "encoder") if key in keys]
    for name in ("p", "generators_p"):
        if f"{name}_holm" in result:
            corrected = holm_by_metric(result, name, within=within)
            result[f"{name}_holm"] = np.where(several, corrected, result[f"{name}_holm"])
    return result


CLEAN_COLUMNS = ("difference", "generators_low", "generators_high", "generators_p_holm")


def with_clean(together: pd.DataFrame) -> pd.DataFrame:
    """Set beside each row over all cells what is left without the generator it was selected on.

    Parameters
    ----------
    together
        Means, one row a run, encoder, feature set, group of cells and metric.

    Returns
    -------
    DataFrame
        The same rows with `clean_<name>` for each name of `CLEAN_COLUMNS`: of the group of cells
        `clean`, in the rows of the group `all`; NaN where a set has no such group.
    """
    keys = [key for key in KEYS if key in together.columns and key != "cells"]
    clean = together[together["cells"] == CLEAN]
    names = {name: f"clean_{name}" for name in CLEAN_COLUMNS if name in together.columns}
    beside = clean[[*keys, *names]].rename(columns=names)
    return together.merge(beside.assign(cells="all"), on=[*keys, "cells"], how="left")


def _corrected(
    mean: np.ndarray,
    deviation: np.ndarray,
    seeds: np.ndarray,
    own: np.ndarray,
    confidence: np.ndarray,
    share: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Low, high and p of means over seeds; `own` is the mean half width of the seeds' intervals."""
    from scipy.special import ndtr, ndtri

    freedom = np.maximum(seeds - 1, 1)
    error = np.sqrt(1 / seeds + share / (1 - share)) * deviation
    low, high, p = t_interval(mean, error, freedom, confidence)
    least = own * np.sqrt((1 - share) / seeds + share)
    reach = np.fmax((high - low) / 2, least)
    normal = least / ndtri((1 + confidence) / 2)
    with np.errstate(invalid="ignore", divide="ignore"):
        p = np.fmax(p, np.where(normal > 0, 2 * ndtr(-np.abs(mean) / normal), np.nan))
    return mean - reach, mean + reach, p


def _generators(
    result: pd.DataFrame,
    table: pd.DataFrame,
    keys: Sequence[str],
    several: np.ndarray,
    confidence: np.ndarray,
) -> None:
    """Set, in place, the interval over generators of rows of several seeds."""
    squares = table.assign(_square=table["generators_se"] ** 2)
    mean = squares.groupby(list(keys), sort=False, dropna=False)[["_square", "generators_freedom"]]
    error, freedom = mean.mean().to_numpy(dtype=float).T
    difference = result["difference"].to_numpy(dtype=float)
    found = t_interval(difference, np.sqrt(error), freedom, confidence)
    names = ("generators_low", "generators_high", "generators_p")
    for name, column in zip(names, found, strict=True):
        result[name] = np.where(several, column, result[name])


def _least_favourable(table: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Give the row of each key whose worst test generator is worst."""
    sign = signs_of(table["metric"]) if "metric" in table else 1
    order = (sign * table["worst"]).argsort(kind="stable")
    return (
        table.iloc[order]
        .groupby(list(keys), sort=False, dropna=False)[["worst", "worst_test"]]
        .first()
    )


def _of_each(table: pd.DataFrame, keys: Sequence[str], column: str) -> np.ndarray:
    """Value of a column that all seeds of a row share, one for each row."""
    if column not in table.columns:
        raise UserError(f"means: column {column} is missing; several seeds need it")
    groups = table.groupby(list(keys), sort=False, dropna=False)[column]
    if (groups.nunique() > 1).any():
        found = ", ".join(f"{value:g}" for value in sorted(table[column].dropna().unique()))
        raise UserError(f"means: seeds of one run have more than one {column}: {found}")
    return groups.first().to_numpy(dtype=float)
