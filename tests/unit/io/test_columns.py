"""The records of columns say what the writers write, and readers refuse what lacks a needed column."""

from __future__ import annotations

from dataclasses import fields

import pandas as pd
import pytest

from clipsieve.errors import UserError
from clipsieve.evaluation import (
    comparisons,
    feature_set_tables,
    leaderboard,
    operating,
    pairs,
    ranking,
    winners_curse,
)
from clipsieve.images import scan
from clipsieve.images.spectrum import COLUMNS as SPECTRUM
from clipsieve.interpretation import explain
from clipsieve.io import columns
from clipsieve.io.feature_sets import FeatureSet
from clipsieve.report import registry
from clipsieve.report.reading import read_tables

WHOSE = ["run", "encoder", "seed"]
PANDAS = {"string": "text", "Int64": "int64", "boolean": "bool"}


def test_the_image_table_has_the_columns_and_types_of_its_record():
    found = {name: PANDAS.get(kind, kind) for name, kind in scan.COLUMNS.items()}
    assert list(found.items()) == list(columns.IMAGES.types.items())
    assert [name for name in columns.IMAGES.types if name.startswith("spectrum")] == list(SPECTRUM)


@pytest.mark.parametrize(
    ("written", "record"),
    [
        (feature_set_tables.CONTROL_COLUMNS, columns.CONTROLS),
        (winners_curse.OPTIMISM_COLUMNS, columns.OPTIMISM),
        ((*pairs.COLUMNS, "confidence", "test_share"), columns.PAIRS),
        (ranking.COLUMNS, columns.RANKING),
        ((*operating.OPERATING_COLUMNS, "confidence", "test_share"), columns.OPERATING),
        (explain.EDIT_COLUMNS, columns.CONCEPTS),
    ],
)
def test_tables_of_an_encoder_and_seed_are_written_as_recorded(written, record):
    assert [*WHOSE, *written] == list(record.types)


def test_tables_that_are_put_together_are_written_as_recorded():
    assert [*WHOSE, *explain.TEXT_COLUMNS, "centred"] == list(columns.INTERPRETATION.types)
    assert [*leaderboard._COLUMNS, "confidence"] == list(columns.LEADERBOARD.types)
    assert set(comparisons.GENERATOR_COLUMNS) <= set(columns.MEANS.types)
    assert [field.name for field in fields(FeatureSet)] == list(columns.FEATURES.types)


def test_every_input_of_the_report_has_a_record():
    assert registry.INPUTS.keys() - {"scores"} <= columns.TABLES.keys()
    for name in registry.INPUTS.keys() - {"scores"}:
        assert columns.TABLES[name].needed, name


@pytest.mark.parametrize("name", sorted(registry.INPUTS.keys() - {"scores", "features"}))
def test_a_table_without_a_needed_column_is_refused(tmp_path, name):
    record = columns.TABLES[name]
    whole = pd.DataFrame({column: pd.Series(dtype="object") for column in record.types})
    ending = registry.INPUTS[name].rpartition(".")[2]
    for lost in record.needed:
        path = tmp_path / f"{lost}.{ending}"
        table = whole.drop(columns=lost)
        table.to_csv(path, index=False) if ending == "csv" else table.to_parquet(path)
        if lost not in WHOSE:  # these may come from the file's place or note
            with pytest.raises(UserError, match=f"column {lost} is missing; {name} needs it"):
                read_tables(name, [path])


def test_a_wrong_record_is_an_error():
    with pytest.raises(ValueError, match="column 'a' is listed twice"):
        columns.table(("text", "a b a"))
    with pytest.raises(ValueError, match="needed column 'c' is not a column"):
        columns.table(("text", "a b"), needed="a c")
