"""Write changed copies of the images of a table, and the table that describes the copies."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipsieve.errors import UserError
from clipsieve.images.containers import as_folders
from clipsieve.images.decode import ImageProblem, decode
from clipsieve.images.facts import facts_of_bytes
from clipsieve.images.listing import without_ending
from clipsieve.images.scan import COLUMNS, usable
from clipsieve.io.files import hash_of, replacing

if TYPE_CHECKING:
    import pandas as pd
    from PIL import Image

#: A picture, its row of the table -> the new file's bytes, suffix, and why it can't be used, if so.
#: It may raise `ImageProblem` where there is no new file.
Change = Callable[["Image.Image", "dict[str, Any]"], tuple[bytes, str, str | None]]


def rewrite(
    table: pd.DataFrame,
    change: Change,
    *,
    data_root: Path,
    output_root: Path,
    threads: int = 1,
    profiles: str = "ignore",
    progress: Callable[[int], None] | None = None,
) -> pd.DataFrame:
    """Write a changed copy of every usable image and return the copies' image table.

    A copy has the path of its original with another ending (`_stems`), the same `image_id`, label and group
    (so splits keep holding), and its own file facts. Originals with a problem keep their row, and so
    do those of which `change` makes no file (`ImageProblem`), with its reason.

    Parameters
    ----------
    table
        An image table (`clipsieve.images.manifest`).
    change
        Makes the new file of a picture; called from several threads.
    data_root
        Folder that the table's paths start from.
    output_root
        Folder that the new table's paths start from; not the data root.
    threads
        Images at once.
    profiles
        What is done with colour profiles; a copy has none.
    progress
        Called with the number of images done.

    Raises
    ------
    UserError
        When the copies would overwrite originals, two copies would share a name, or an image does
        not decode any more.
    """
    import pandas as pd

    if output_root.resolve() == data_root.resolve():
        raise UserError(f"{output_root}: copies would overwrite the images; give another folder")
    good = usable(table)
    stems = _stems(good["path"])

    def one(row: dict[str, Any]) -> dict[str, Any]:
        try:
            picture = decode(data_root / row["path"], profiles=profiles)
        except ImageProblem as damage:
            raise UserError(f"{data_root / row['path']}: {damage.reason}") from None
        try:
            data, suffix, problem = change(picture, row)
        except ImageProblem as refused:
            return {**row, "problem": refused.reason}
        path = _fitting(stems[row["path"]], suffix)
        with replacing(output_root / path) as temporary:
            temporary.write_bytes(data)
        facts = facts_of_bytes(data)
        return {**row, **facts.as_row(), "path": path, "problem": problem or facts.problem}

    rows = []
    with ThreadPoolExecutor(max_workers=max(1, threads)) as pool:
        for row in pool.map(one, good.astype(object).to_dict("records")):
            rows.append(row)
            if progress is not None:
                progress(len(rows))
    written = pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)
    left = table[table["problem"].notna()].reindex(columns=list(COLUMNS)).astype(COLUMNS)
    both = pd.concat([written, left]) if len(left) else written
    return both.sort_values("path").reset_index(drop=True)


def _fitting(stem: str, suffix: str) -> str:
    """Join both; a name that would be longer than file systems allow is cut, and gets a hash."""
    folder, name = os.path.split(stem)
    if len(os.fsencode(name + suffix)) > 255:
        short = os.fsencode(name)[: 255 - 17 - len(suffix)].decode(errors="ignore")
        name = f"{short}-{hash_of(name)[:16]}"
    return os.path.join(folder, name) + suffix


def _stems(paths: pd.Series) -> dict[str, str]:
    """Path of each original -> that of its copy without the new ending.

    It is the path without the ending of its format; of originals that differ only in their ending
    (``7.jpg`` and ``7.png``), the whole path. A container becomes a folder.
    """
    short = {str(path): without_ending(as_folders(str(path))) for path in paths}
    times = Counter(short.values())
    stems = {path: stem if times[stem] == 1 else as_folders(path) for path, stem in short.items()}
    twice = [stem for stem, n in Counter(stems.values()).items() if n > 1]
    if twice:
        raise UserError(f"{twice[0]}: two images would have this name without their endings")
    return stems
