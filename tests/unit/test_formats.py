"""docs/formats.md is made from the records, and a record that is not described is noticed."""

from __future__ import annotations

from pathlib import Path

import pytest

from clipsieve import formats
from clipsieve.evaluation.metric_records import RECORDS
from clipsieve.io import columns

ROOT = Path(__file__).parents[2]


def test_the_page_is_what_the_command_prints():
    assert (ROOT / "docs/formats.md").read_text(encoding="utf-8") == formats.page()


def test_every_column_of_every_table_has_a_row_of_its_own():
    page = formats.page()
    for name, record in columns.TABLES.items():
        for column, kind in record.types.items():
            assert f"| `{column}` | {kind} | " in page, (name, column)


def test_a_column_without_a_meaning_and_a_meaning_without_a_column_are_errors(monkeypatch):
    more = columns.Table(columns.GEOMETRY.types | {"extra": "text"})
    monkeypatch.setitem(columns.TABLES, "geometry", more)
    with pytest.raises(ValueError, match="geometry: column 'extra' is not in both"):
        formats.page()
    fewer = {k: v for k, v in columns.GEOMETRY.types.items() if k != "iso_p"}
    monkeypatch.setitem(columns.TABLES, "geometry", columns.Table(fewer))
    with pytest.raises(ValueError, match="geometry: column 'iso_p' is not in both"):
        formats.page()


def test_a_table_that_is_not_described_is_an_error(monkeypatch):
    monkeypatch.setitem(columns.TABLES, "extra", columns.GEOMETRY)
    with pytest.raises(ValueError, match="extra is only described or only a record"):
        formats.page()


def test_every_metric_is_in_the_statistics_page():
    page = (ROOT / "docs/method/statistics.md").read_text(encoding="utf-8")
    for metric in RECORDS:
        assert f"`{metric}`" in page
