"""Build a table by its name: the CSV text and the page of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from clipsieve.errors import UserError
from clipsieve.report import registry
from clipsieve.report.facts import Facts
from clipsieve.report.html.page import Page, render
from clipsieve.report.reading import confidence_of

if TYPE_CHECKING:
    import pandas as pd

Builder = Callable[[Mapping[str, Sequence[Path]], Facts], "tuple[Page, pd.DataFrame]"]


def _builders() -> dict[str, Builder]:
    from clipsieve.report.tables import (
        audits,
        controls,
        leaderboard,
        overview,
        robustness,
        selection,
        table4,
        transfer,
        words,
    )

    return {
        **{name: partial(words.words_table, name) for name in words.TABLES},
        "overview": overview.overview_page,
        "table4": table4.table4,
        "means": transfer.means_page,
        "cells": transfer.cells_page,
        "controls": controls.controls_page,
        "selection": selection.selection_page,
        "shortcuts": audits.shortcuts_page,
        "leakage": audits.leakage_page,
        "leaderboard": leaderboard.leaderboard_page,
        "robustness": robustness.robustness_page,
    }


def build_table(name: str, inputs: Mapping[str, Sequence[Path]], facts: Facts) -> tuple[str, str]:
    """Build one table.

    Parameters
    ----------
    name
        A key of `registry.TABLES`.
    inputs
        Files by input name; what the table needs (`registry.TABLES[name]`) must be there.
    facts
        Titles, families and kinds of the run's generators and encoders.

    Returns
    -------
    tuple of str
        The CSV text (numbers with ten significant digits) and the HTML page.

    Raises
    ------
    UserError
        For an unknown name, an input that is missing, or a file that cannot be read.
    """
    if name not in registry.TABLES:
        raise UserError(f"no table {name!r}; one of: {', '.join(registry.TABLES)}")
    needed = complete(name, registry.TABLES[name], inputs)
    page, table = _builders()[name](needed, facts)
    if {"low", "difference_low"} & set(table.columns):
        page.confidence = confidence_of(path for paths in needed.values() for path in paths)
    return table.to_csv(index=False, float_format="%.10g", lineterminator="\n"), render(page)


def complete(
    name: str, needs: Sequence[str], inputs: Mapping[str, Sequence[Path]]
) -> dict[str, Sequence[Path]]:
    """Return every input, those not given as empty lists; raise where a needed one lacks."""
    found: dict[str, Sequence[Path]] = {}
    for key in registry.INPUTS:
        found[key] = list(inputs.get(key) or ())
        if key in needs and not found[key] and (name, key) not in registry.OPTIONAL:
            raise UserError(f"{name} needs --{key.replace('_', '-')} FILE [FILE ..]")
    return found
