"""Small tools on tidy tables that several pages share: order of feature sets, means over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from clipsieve import families

if TYPE_CHECKING:
    import pandas as pd

    from clipsieve.report.facts import Facts


def order_feature_sets(feature_sets: Sequence[str]) -> list[str]:
    """Return the distinct feature sets by family, each family in the order of appearance."""
    rank = {name: place for place, name in enumerate(families.FAMILIES)}
    return sorted(dict.fromkeys(feature_sets), key=lambda s: rank[families.of(s).name])


def over_seeds(table: pd.DataFrame, keys: Sequence[str], values: Sequence[str]) -> pd.DataFrame:
    """Average columns over the seeds of a run.

    Parameters
    ----------
    table
        Tidy rows with a column `seed`.
    keys
        Columns that name a row; rows that differ in `seed` alone are averaged.
    values
        Columns to average.

    Returns
    -------
    pandas.DataFrame
        One row for each key, in the order of appearance: `keys`, `values` (means), `<first>_sd`
        (spread over seeds of the first value column, NaN for one seed), `seeds` (how many).
    """
    groups = table.groupby(list(keys), sort=False, dropna=False)
    result = groups[list(values)].mean()
    result[f"{values[0]}_sd"] = groups[values[0]].std(ddof=1)
    result["seeds"] = groups["seed"].nunique()
    return result.reset_index()


def rows_of(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows as mappings from column to value."""
    return [{str(k): v for k, v in row.items()} for row in table.to_dict("records")]


def verdict(row: Mapping[str, Any]) -> int:
    """Say whether a difference is told from 0 for generators not trained on: 1 above, -1 below, 0 not.

    Its interval over new generators leaves out 0, and the p value that goes with it, corrected after
    Holm, is at most 0.05 (where there is one). Fewer than four generators have no such interval, so
    nothing is told of them, however narrow the interval over photographs is. Of a set whose selection
    saw rows of a generator that is still in the evaluation (heads), the cells without that generator's
    probes decide, where a row has them (`clean_difference` and what goes with it).
    """
    clean = row.get("clean_difference")
    of = "clean_generators" if clean is not None and clean == clean else "generators"
    low, high, p = (row.get(f"{of}_{end}") for end in ("low", "high", "p_holm"))
    if p is not None and p > 0.05:
        return 0
    return int(low is not None and low > 0) - int(high is not None and high < 0)


def search_alerts(features: pd.DataFrame | None, facts: Facts) -> list[str]:
    """Return one line an encoder that counts the searches whose outcome says little.

    Parameters
    ----------
    features
        Rows of feature-set files, whose `facts` hold what each search warns of (`warnings`: direction
        to sentences); None where a page has none.
    facts
        Titles.
    """
    if features is None or "facts" not in features.columns:
        return []
    searched: dict[str, set[tuple[int, str]]] = {}
    warned: dict[str, set[tuple[int, str]]] = {}
    for row in rows_of(features):
        known = row["facts"] if isinstance(row["facts"], Mapping) else {}
        if "alpha" not in known or not row["pair"]:
            continue
        first, second = row["pair"]
        for direction in (f"{first}--{second}", f"{second}--{first}"):
            searched.setdefault(row["encoder"], set()).add((row["seed"], direction))
            if known.get("warnings", {}).get(direction):
                warned.setdefault(row["encoder"], set()).add((row["seed"], direction))
    return [
        f"{facts.encoder_title(encoder)}: in {len(warned[encoder])} of {len(searched[encoder])} component"
        " searches the score sat at its ceiling, more than 90 % of the columns were kept, or no"
        " removal helped. Where to stop then decides more than the search does: the page of"
        " selections names them."
        for encoder in facts.order_encoders(warned)
    ]


def leading(table: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Return the table with `columns` first (those that it has), then the others."""
    first = [c for c in columns if c in table.columns]
    return table[first + [c for c in table.columns if c not in first]]


def run_of(*tables: pd.DataFrame) -> str:
    """Return the id of the run that tables are of, by the first that names one; else empty."""
    for table in tables:
        for name in table["run"].dropna():
            if name:
                return str(name)
    return ""


def with_kinds(table: pd.DataFrame, facts: Facts) -> pd.DataFrame:
    """Add what made the images beside each generator column, and each encoder's weights.

    `train` gets `train_kind`, and so do `test`, `generator` and `worst_test` (`network` or
    `simulated`, empty for what is no generator of the run); `encoder` gets `encoder_weights`
    (`random` where there are none).
    """
    table = table.copy()
    kinds = {g.id: g.kind for g in facts.generators.values()}
    for column in ("generator", "train", "test", "worst_test"):
        if column in table.columns:
            table[f"{column}_kind"] = [kinds.get(g, "") for g in table[column]]
    if "encoder" in table.columns and facts.encoders:
        weights = {e.id: e.weights or "random" for e in facts.encoders.values()}
        table["encoder_weights"] = [weights.get(e, "") for e in table["encoder"]]
    return table
