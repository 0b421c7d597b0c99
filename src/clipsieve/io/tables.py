"""Parquet tables with a note: the facts that hold for the whole table travel in its schema."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from clipsieve.errors import UserError
from clipsieve.io.files import replacing

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

NOTE = b"clipsieve"


def write_table(
    frame: pd.DataFrame, path: str | os.PathLike[str], note: dict[str, Any] | None = None
) -> None:
    """Write a table and a JSON note as parquet, whole or not at all.

    Parameters
    ----------
    frame
        The rows; the index is not kept.
    path
        Where the file goes; its folder is made.
    note
        JSON-able facts about the whole table (parameters, counts); kept in the schema's metadata.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pandas(frame, preserve_index=False)
    text = json.dumps(note or {}, sort_keys=True).encode()
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), NOTE: text})
    with replacing(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def read_table(
    path: str | os.PathLike[str], columns: tuple[str, ...] = ()
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Read a parquet table and its note.

    Parameters
    ----------
    path
        The file.
    columns
        Columns that the caller needs; others may be there too.

    Raises
    ------
    UserError
        The file is missing, is not parquet, or lacks one of `columns`; the line names the file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:  # pq.read_table would import all of pyarrow.dataset
            table = file.read()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{path}: not a readable parquet table ({error})") from None
    missing = [column for column in columns if column not in table.column_names]
    if missing:
        raise UserError(f"{path}: no column {missing[0]!r}; it has {', '.join(table.column_names)}")
    return table.to_pandas(), note_of(table.schema)


def read_note(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read only the note of a parquet table, {} where there is none."""
    import pyarrow.parquet as pq

    return note_of(pq.read_schema(path))


def note_of(schema: pa.Schema) -> dict[str, Any]:
    """Return the note in a table's schema, {} where there is none."""
    note: dict[str, Any] = json.loads((schema.metadata or {}).get(NOTE, b"{}"))
    return note
