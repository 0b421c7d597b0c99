"""The table of an image set: one row per file, usable or not."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from clipsieve.errors import UserError
from clipsieve.images.containers import MARK, located
from clipsieve.images.facts import FileFacts, file_facts
from clipsieve.images.fingerprint import Stat, stat_of
from clipsieve.images.known import Known
from clipsieve.images.members import Member
from clipsieve.images.spectrum import COLUMNS as SPECTRUM

if TYPE_CHECKING:
    import pandas as pd

#: Columns of the image table and their pandas types (docs/formats.md).
COLUMNS = {
    "image_id": "string",
    "image_set": "string",
    "generator": "string",
    "family": "string",
    "source": "string",
    "label": "int64",
    "group": "string",
    "path": "string",
    "sha256": "string",
    "bytes": "Int64",
    "format": "string",
    "width": "Int64",
    "height": "Int64",
    "mode": "string",
    "jpeg_quality": "Int64",
    "colour_profile": "string",
    "perceptual_hash": "string",
    "is_constant": "boolean",
    **dict.fromkeys(SPECTRUM, "float64"),
    "align_scale": "float64",
    "problem": "string",
}


def scan(
    folder: Path,
    chosen: Sequence[Member],
    *,
    threads: int = 1,
    progress: Callable[[int], None] | None = None,
    known: Known | None = None,
) -> tuple[list[FileFacts], list[Stat | None]]:
    """Return the facts of each file, in order, and what tells later whether it was changed.

    Parameters
    ----------
    folder
        The folder that the members' paths start from.
    chosen
        The files.
    threads
        Files read at once (decoding happens outside Python's lock).
    progress
        Called after each file that was read or known, with the number of them.
    known
        What an earlier scan found; files that are unchanged since are not read.
    """
    before = known.of(member.path for member in chosen) if known is not None else {}
    start = os.path.join(folder, "")
    # the folder may be a container
    whole = os.path.isdir(folder)

    def facts(member: Member) -> tuple[FileFacts, Stat | None]:
        path = start + member.path if whole else os.fspath(located(folder, member.path))
        stat = stat_of(path)
        kept = before.get(member.path)
        if kept is not None and stat == kept[0]:
            return kept[1], stat
        return file_facts(Path(path)), stat

    found: list[FileFacts] = []
    stats: list[Stat | None] = []
    with ThreadPoolExecutor(max_workers=max(1, threads)) as pool:
        for result, stat in pool.map(facts, chosen):
            found.append(result)
            stats.append(stat)
            if progress is not None:
                progress(len(found))
    return found, stats


def image_table(
    chosen: Sequence[Member],
    facts: Sequence[FileFacts],
    *,
    image_set: str,
    source: str,
    label: int,
    prefix: str,
    generator: str | None = None,
    family: str | None = None,
) -> pd.DataFrame:
    """Put members and facts together to the image table (columns and types: `COLUMNS`).

    Parameters
    ----------
    chosen, facts
        The files and what was found of them, in the same order.
    image_set, source, generator, family
        Ids that every row carries; generator and family are None for real images.
    label
        0 = generated, 1 = real.
    prefix
        The set's folder relative to the data root, with forward slashes ("." for the root); with
        "!" at its end where it is a container.

    """
    import pandas as pd

    start = prefix if prefix.endswith(MARK) else f"{prefix}/"
    rows = []
    for member, fact in zip(chosen, facts, strict=True):
        path = member.path if prefix in ("", ".") else f"{start}{member.path}"
        row = {
            "image_id": f"{image_set}/{member.path}",
            "image_set": image_set,
            "generator": generator,
            "family": family,
            "source": source,
            "label": label,
            "group": member.group,
            "path": path,
        }
        row.update(fact.as_row())
        row["problem"] = member.problem or fact.problem
        rows.append(row)
    rows.sort(key=lambda row: str(row["path"]))
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


def require_usable(table: pd.DataFrame, image_set: str) -> None:
    """Refuse (UserError) a set without a usable image; `table` has columns path and problem."""
    if table["problem"].notna().all():
        first = table.iloc[0]
        raise UserError(
            f"image set {image_set}: none of its {len(table)} files can be used;"
            f" the first, {first['path']}: {first['problem']}"
        )


def usable(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of an image table that can be used (no problem)."""
    return table[table["problem"].isna()]


def read_images(path: Path) -> pd.DataFrame:
    """Read an image table.

    Raises
    ------
    UserError
        When the file is missing or lacks columns.
    """
    from clipsieve.io.tables import read_table

    return read_table(path, tuple(COLUMNS))[0][list(COLUMNS)]
