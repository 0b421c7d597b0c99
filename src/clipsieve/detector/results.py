"""Results of many images on their way out: lines as they come, and files that survive a stop."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from clipsieve.detector.judging import COLUMNS
from clipsieve.detector.pictures import shown
from clipsieve.errors import UserError
from clipsieve.io.files import replacing

ENDINGS = (".jsonl", ".csv", ".parquet")
#: Rows of a row group.
_GROUP = 1 << 14


def as_line(result: Mapping[str, Any]) -> str:
    """Return one file's line, with a line below for each warning."""
    if result["problem"] is not None:
        return f"-      no image   {result['path']}\n    problem: {result['problem']}"
    line = f"{result['probability_generated']:.3f}  {result['verdict']:9}  {result['path']}"
    return "\n".join([line, *(f"    warning: {text}" for text in result["warnings"])])


def writer(stream: IO[str], form: str) -> Callable[[Mapping[str, Any]], None]:
    """Return a function that writes a result at once, as `text`, `json` (a line each) or `csv`."""
    if form == "csv":
        rows = csv.writer(stream, lineterminator="\n")
        rows.writerow(COLUMNS)

        def write(result: Mapping[str, Any]) -> None:
            rows.writerow(_cells(result))
            stream.flush()

        return write

    def line(result: Mapping[str, Any]) -> None:
        text = json.dumps(result) if form == "json" else as_line(result)
        stream.write(text + "\n")
        stream.flush()

    return line


def _cells(result: Mapping[str, Any]) -> list[Any]:
    """Return a result's cells, in the order of `COLUMNS`; warnings are joined."""
    cells = {**result, "warnings": "; ".join(result["warnings"])}
    return ["" if cells[name] is None else cells[name] for name in COLUMNS]


class Journal:
    """Results on their way into a file: a line each, kept until the file is whole.

    A command that was stopped goes on where it was: lines of a journal of the same detector, settings and
    list of files are not judged again. Nothing but one result is in memory.

    Parameters
    ----------
    path
        The file; its ending says of what kind it is. The journal stands beside it until `finish`.
    note
        What a journal must have been written with to be taken up.

    Attributes
    ----------
    counts : dict
        Results by verdict (`problem` for unusable files), those of earlier commands among them.
    """

    def __init__(self, path: Path, note: Mapping[str, Any]) -> None:
        if path.suffix not in ENDINGS:
            raise UserError(f"--output {path}: must end in {', '.join(ENDINGS)}")
        self.path = path
        self.journal = path.with_name(f".{path.name}.journal")
        self.counts: dict[str, int] = {}
        self._note = json.dumps({"journal": dict(note)}, sort_keys=True)
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Journal:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self.journal.open("a+b")
        self._file.seek(0)
        first = self._file.readline()
        if not first:
            self._file.write(self._note.encode() + b"\n")
        elif first.decode(errors="replace").rstrip("\n") != self._note:
            self._file.close()
            raise UserError(
                f"{self.journal}: left by another detector or other settings; remove it to start anew"
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()

    def left_of(self, paths: Iterable[str]) -> Iterator[str]:
        """Yield the paths that have no line yet; UserError where the list of files has changed."""
        upcoming = iter(paths)
        for result in self._lines():
            path = next(upcoming, None)
            if path is None or shown(path) != result["path"]:
                raise UserError(
                    f"{self.journal}: its files are not those given now; remove it to start anew"
                )
            kind = "problem" if result["problem"] is not None else result["verdict"]
            self.counts[kind] = self.counts.get(kind, 0) + 1
        yield from upcoming

    def _lines(self) -> Iterator[dict[str, Any]]:
        """Read the journal; a last line that was cut by a stop is taken off."""
        assert self._file is not None
        self._file.seek(0)
        whole = len(self._file.readline())
        for line in self._file:
            if not line.endswith(b"\n"):
                break
            yield json.loads(line)
            whole += len(line)
        self._file.truncate(whole)
        self._file.seek(0, os.SEEK_END)

    def add(self, result: Mapping[str, Any]) -> None:
        """Write one result."""
        assert self._file is not None
        self._file.write(json.dumps(result).encode() + b"\n")
        self._file.flush()

    def finish(self) -> None:
        """Turn the journal into the file, which appears whole, and remove it."""
        assert self._file is not None
        with replacing(self.path) as temporary:
            if self.path.suffix == ".parquet":
                write_parquet(temporary, self._lines())
            else:
                with temporary.open("w", encoding="utf-8", newline="") as stream:
                    write = writer(stream, "csv" if self.path.suffix == ".csv" else "json")
                    for result in self._lines():
                        write(result)
        self._file.close()
        self.journal.unlink()


def _schema() -> Any:
    import pyarrow as pa

    kinds = {
        "probability_generated": pa.float64(), "logit": pa.float64(), "likeness": pa.float64(),
        "width": pa.int64(), "height": pa.int64(), "warnings": pa.list_(pa.string()),
    }  # fmt: skip
    return pa.schema([(name, kinds.get(name, pa.string())) for name in COLUMNS])


def write_parquet(path: Path, results: Iterable[Mapping[str, Any]]) -> None:
    """Write results as parquet, a row group at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = _schema()
    with pq.ParquetWriter(path, schema) as file:
        group: list[Mapping[str, Any]] = []
        for result in results:
            group.append(result)
            if len(group) == _GROUP:
                file.write_table(pa.Table.from_pylist(group, schema))
                group = []
        file.write_table(pa.Table.from_pylist(group, schema))


def gather_parquets(paths: Iterable[Path], output: Path) -> int:
    """Join results of shards into one file, a row group at a time; return the number of rows.

    Raises
    ------
    UserError
        A file is not one of `write_parquet`.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema, rows = _schema(), 0
    with replacing(output) as temporary, pq.ParquetWriter(temporary, schema) as file:
        for path in paths:
            try:
                with pq.ParquetFile(path) as part:
                    if not part.schema_arrow.equals(schema):
                        raise UserError(f"{path}: not results of clipsieve detect")
                    for batch in part.iter_batches(_GROUP):
                        file.write_batch(batch)
                        rows += len(batch)
            except (pa.ArrowInvalid, FileNotFoundError) as error:
                raise UserError(f"{path}: not results of clipsieve detect ({error})") from None
    return rows
