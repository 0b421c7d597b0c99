"""What other choices would have given: the gains of this run beside those of the runs it is compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from clipsieve import families
from clipsieve.evaluation.metric_records import RECORDS
from clipsieve.report.facts import Facts, metric_title
from clipsieve.report.frames import leading, order_feature_sets, rows_of, with_kinds
from clipsieve.report.html.page import Cell, Content, Section, Table, integer, interval, number
from clipsieve.report.reading import Inputs
from clipsieve.report.tables.transfer import HEADLINE

if TYPE_CHECKING:
    import pandas as pd

_KEYS = ["encoder", "metric", "family"]
_COLUMNS = ("run", "compared", "encoder", "metric", "family", "sets", "value", "there", "change")


def what_if_page(inputs: Inputs, facts: Facts) -> tuple[Content, pd.DataFrame]:
    """Build the page; its table has one row a compared run, encoder, metric and family."""
    board = inputs["leaderboard"]
    # the file's place says whose it is; its rows are of every run
    own = inputs.notes("leaderboard")[0].get("run", board["run"].iloc[0])
    table = effects(board, str(own))
    sections = []
    for encoder in facts.order_encoders(table["encoder"]):
        for metric in [m for m in reversed(HEADLINE) if m in set(table["metric"])]:
            part = table[(table["encoder"] == encoder) & (table["metric"] == metric)]
            if len(part):
                sections.append(
                    Section(
                        f"{facts.section_title(encoder)}: {metric_title(metric)}",
                        tables=[_rows(part)],
                        folded=metric != "auc" or facts.is_random(encoder),
                    )
                )
    page = Content(
        [
            "Each compared run differs from this one in a choice that the paper leaves open. Δ is the gain"
            " over all columns on the same cells, averaged over search pairs; the change is Δ there minus Δ"
            " here, over the feature sets that both runs have. For all columns themselves, which have no"
            " gain, it is the change of the mean."
        ],
        sections or [Section("Nothing to compare", ["No compared run shares a feature set."])],
        notes=[
            "Sets: how many feature sets (search pairs) both runs have. The spread is the smallest and the"
            " largest change among them; it is no interval, and the runs share their images.",
            "What the config cannot choose is not here: keeping the columns that both directions of a"
            " search keep instead of those that either keeps, and ranking heads by their projected outputs.",
        ],
    )
    return page, leading(with_kinds(table, facts), _COLUMNS)


def effects(board: pd.DataFrame, own: str) -> pd.DataFrame:
    """Set the gains of every other run beside those of the run `own`.

    Parameters
    ----------
    board
        Rows of `leaderboard.csv` of several runs.
    own
        The run that others are compared with.

    Returns
    -------
    DataFrame
        One row per compared run, encoder, metric and family: `sets`, `value` and `there` (mean gain
        over the baseline, of the baselines the mean itself), `change`, `change_low` and
        `change_high` (least and largest change of a feature set). Families that no run shares are left out.
    """
    import pandas as pd

    keys = ["encoder", "metric", "feature_set"]
    gain = board["difference"].where(board["difference"].notna(), board["value"])
    board = board.assign(gain=gain)[["run", *keys, "gain"]]
    here = board[board["run"] == own].drop(columns="run")
    parts = []
    for run in [name for name in dict.fromkeys(board["run"]) if name != own]:
        there = board[board["run"] == run].drop(columns="run")
        both = here.merge(there, on=keys, suffixes=("", "_there"))
        both["family"] = [families.family_of(name) for name in both["feature_set"]]
        both["change"] = both["gain_there"] - both["gain"]
        found = both.groupby(_KEYS, sort=False).agg(
            sets=("change", "size"),
            value=("gain", "mean"),
            there=("gain_there", "mean"),
            change=("change", "mean"),
            change_low=("change", "min"),
            change_high=("change", "max"),
        )
        parts.append(found.reset_index().assign(compared=run))
    columns = ["run", "compared", *_KEYS, "sets", "value", "there", "change"]
    columns += ["change_low", "change_high"]
    if not parts:
        return pd.DataFrame(columns=columns)
    return pd.concat(parts, ignore_index=True).assign(run=own)[columns]


def _rows(part: pd.DataFrame) -> Table:
    rows = []
    place = {name: k for k, name in enumerate(order_feature_sets(list(part["family"])))}
    for row in sorted(rows_of(part), key=lambda r: (place[r["family"]], r["compared"])):
        better = RECORDS[row["metric"]].higher_is_better
        change = float(np.round(row["change"], 12))
        rows.append(
            [
                Cell(families.get(row["family"]).title, tip=row["family"]),
                Cell(row["compared"]),
                Cell(integer(row["sets"]), css="num quiet"),
                Cell(number(row["value"], sign=True), css="num"),
                Cell(number(row["there"], sign=True), css="num"),
                Cell(
                    number(change, sign=True),
                    sub=interval(row["change_low"], row["change_high"], sign=True)
                    if row["sets"] > 1
                    else "",
                    tip="better there" if change and (change > 0) == better else "",
                    css="num strong",
                ),
            ]
        )
    columns = [
        *(("Family", "", ""), ("Run", "", ""), ("sets", "num", "")),
        *(("Δ here", "num", ""), ("Δ there", "num", "")),
        ("change", "num", "least and largest change of a set below"),
    ]
    return Table(columns, rows)
