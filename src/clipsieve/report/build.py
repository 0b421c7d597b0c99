"""Build a table or a figure by its name: read what its record asks for and call its builder."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipsieve.errors import UserError
from clipsieve.report.facts import Facts
from clipsieve.report.frames import search_alerts
from clipsieve.report.html.page import Content, Page, render
from clipsieve.report.reading import Inputs
from clipsieve.report.registry import FIGURES, TABLES, Result

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


def build_table(name: str, paths: Mapping[str, Sequence[Path]], facts: Facts) -> tuple[str, str]:
    """Build one table.

    Parameters
    ----------
    name
        A key of `registry.TABLES`.
    paths
        Files by input name; what the table's record needs must be there.
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
    page, table = table_page(name, paths, facts)
    return csv_of(table), render(page)


def csv_of(table: pd.DataFrame) -> str:
    """Return a table as CSV text, numbers with ten significant digits."""
    return table.to_csv(index=False, float_format="%.10g", lineterminator="\n")


def table_page(
    name: str, paths: Mapping[str, Sequence[Path]], facts: Facts
) -> tuple[Page, pd.DataFrame]:
    """Build one table as `build_table` does, and return its page and its rows."""
    if name not in TABLES:
        raise UserError(f"no table {name!r}; one of: {', '.join(TABLES)}")
    result = TABLES[name]
    inputs = Inputs(result, paths)
    content: Content
    table: pd.DataFrame
    content, table = builder_of(result)(inputs, facts)
    page = Page(
        result.title,
        content.lead,
        content.sections,
        facts,
        alerts=[*content.alerts, *search_alerts(inputs.get("features"), facts)],
        notes=content.notes,
        run=", ".join(map(str, inputs.values("run"))),
        encoders=facts.order_encoders(inputs.values("encoder")),
        seeds=sorted(inputs.values("seed")),
        confidence=inputs.confidence if {"low", "difference_low"} & set(table.columns) else None,
    )
    return page, table


def build_figure(
    name: str, paths: Mapping[str, Sequence[Path]], facts: Facts, *, pair: str | None = None
) -> Figure:
    """Build one figure; call it within `plot.style()`, and save it there with `plot.save`.

    Parameters
    ----------
    name
        A key of `registry.FIGURES`.
    paths
        Files by input name.
    facts
        Titles, families and kinds of the run's generators and encoders.
    pair
        For figures whose record takes one: the search pair `a--b` to show (default: the first).

    Raises
    ------
    UserError
        For an unknown name, an input that is missing, or a file that cannot be read.
    """
    from clipsieve.report.figures.plot import finish

    if name not in FIGURES:
        raise UserError(f"no figure {name!r}; one of: {', '.join(FIGURES)}")
    result = FIGURES[name]
    options = {"pair": pair} if result.takes_pair else {}
    figure: Figure
    figure, note = builder_of(result)(Inputs(result, paths), facts, **options)
    finish(figure, result.title, note)
    return figure


def builder_of(result: Result) -> Callable[..., Any]:
    """Import the function that a record names."""
    module, _, function = result.builder.partition(":")
    found: Callable[..., Any] = getattr(
        importlib.import_module(f"clipsieve.report.{module}"), function
    )
    return found
