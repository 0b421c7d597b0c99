"""One table of prompts out of a list, a table of web images (as LAION has them), or a folder of images.

Rows are drawn by the hash of seed and prompt, not by place: a larger sample holds every smaller one, and another
order of the same rows gives the same prompts.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from clipsieve.errors import UserError
from clipsieve.io.files import seed_of

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("prompt_id", "text", "url", "score", "image")

#: Columns of LAION's tables that say how likely an image is unsafe or has a watermark, and its own verdict.
UNSAFE, WATERMARK, VERDICT = "punsafe", "pwatermark", "NSFW"
#: Rows read at a time.
_ROWS = 200_000

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True)
class Choice:
    """Which columns a table of prompts has and which of its rows are wanted.

    Parameters
    ----------
    text, id, url, score : str or None
        Names of columns. Without `id` the prompt's id is a hash of its words.
    min_score : float or None
        Least value of the column `score`.
    max_unsafe, max_watermark : float or None
        Largest values of the columns punsafe and pwatermark, where the table has them; a row whose
        column NSFW says NSFW or UNSURE is left out with the former. None respects no such column.
    sample : int or None
        How many prompts; None takes all.
    seed : int
        Seed of the draw.
    """

    text: str = "text"
    id: str | None = None
    url: str | None = None
    score: str | None = None
    min_score: float | None = None
    max_unsafe: float | None = 0.5
    max_watermark: float | None = 0.8
    sample: int | None = None
    seed: int = 0


@dataclass
class Counts:
    """How many rows went at each step."""

    read: int = 0
    without_text: int = 0
    below_score: int = 0
    unsafe: int = 0
    watermarked: int = 0
    repeated: int = 0
    chosen: int = 0
    hashes: list[np.ndarray] = field(default_factory=list, repr=False)

    def facts(self) -> dict[str, int]:
        """Return the numbers, for the table's note."""
        return {key: value for key, value in vars(self).items() if key != "hashes"}


def prompts_of_tables(paths: Sequence[Path], choice: Choice) -> tuple[pd.DataFrame, Counts]:
    """Filter, deduplicate and draw the rows of tables.

    Parameters
    ----------
    paths
        Parquet, CSV, or text files of one prompt a line.
    choice
        Columns and filters.

    Returns
    -------
    table : DataFrame
        The columns `COLUMNS`, in the order of the draw; `url`, `score` and `image` may be null.
    counts : Counts

    Raises
    ------
    UserError
        A file or column is missing, an id cannot be a file name or stands twice, or there are fewer
        prompts than the sample asks for.
    """
    import pandas as pd

    counts = Counts()
    kept = pd.DataFrame(columns=[*COLUMNS, "rank"])
    for frame in _frames(paths, choice):
        fresh = _ranked(_filtered(frame, choice, counts), choice)
        counts.hashes.append(fresh["rank"].to_numpy(np.uint64))
        # equal words have equal ranks, so repeats lie beside each other whatever table they are in
        both = pd.concat([kept, fresh], ignore_index=True) if len(kept) else fresh
        both = both.sort_values(["rank", "prompt_id"], kind="stable").drop_duplicates("rank")
        kept = both.head(choice.sample) if choice.sample else both
    ranks = np.concatenate([np.zeros(0, np.uint64), *counts.hashes])
    counts.repeated = len(ranks) - len(np.unique(ranks))
    return _complete(kept, choice, counts)


def prompts_of_images(names: Sequence[str], choice: Choice) -> tuple[pd.DataFrame, Counts]:
    """Make a table of prompts without words from image files: the id is the file's name without ending.

    Parameters
    ----------
    names
        Paths relative to the images' folder.
    """
    import pandas as pd

    rows = [
        {"prompt_id": Path(name).stem, "text": "", "url": None, "score": None, "image": name}
        for name in names
    ]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    table["rank"] = [seed_of(choice.seed, name) for name in names]
    kept = table.sort_values("rank", kind="stable")
    kept = kept.head(choice.sample) if choice.sample else kept
    return _complete(kept, choice, Counts(read=len(names)))


def _frames(paths: Sequence[Path], choice: Choice) -> Iterator[pd.DataFrame]:
    """Read tables in pieces: those of LAION do not fit into memory."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    for path in paths:
        if not path.is_file():
            raise UserError(f"{path}: no such table of prompts")
        try:
            if path.suffix == ".parquet":
                with pq.ParquetFile(path) as file:
                    columns = _columns(path, file.schema_arrow.names, choice)
                    for batch in file.iter_batches(_ROWS, columns=columns):
                        yield batch.to_pandas()
            elif path.suffix == ".txt":
                lines = path.read_text(encoding="utf-8-sig").splitlines()
                yield pd.DataFrame({choice.text: lines})
            else:
                names = list(pd.read_csv(path, nrows=0).columns)
                columns = _columns(path, names, choice)
                text = {name: str for name in (choice.text, choice.id, choice.url) if name}
                yield from pd.read_csv(
                    path, usecols=columns, dtype=text, chunksize=_ROWS, keep_default_na=False,
                    na_values=[""],
                )  # fmt: skip
        except (
            pa.ArrowInvalid,
            UnicodeDecodeError,
            pd.errors.ParserError,
            pd.errors.EmptyDataError,
        ) as error:
            said = " ".join(str(error).split())
            raise UserError(f"{path}: not a readable table of prompts ({said})") from None


def _columns(path: Path, names: Sequence[str], choice: Choice) -> list[str]:
    """Return the columns to read; those that the choice names must be there."""
    for key in ("text", "id", "url", "score"):
        name = getattr(choice, key)
        if name is not None and name not in names:
            raise UserError(
                f"{path}: no column {name!r}, which the key {key} names; it has {', '.join(names)}"
            )
    wanted = [choice.text, choice.id, choice.url, choice.score]
    if choice.max_unsafe is not None:
        wanted += [UNSAFE, VERDICT]
    if choice.max_watermark is not None:
        wanted.append(WATERMARK)
    return [name for name in names if name in wanted]


def _filtered(frame: pd.DataFrame, choice: Choice, counts: Counts) -> pd.DataFrame:
    """Leave out rows step by step, and count each."""
    import pandas as pd

    counts.read += len(frame)
    texts = frame[choice.text].fillna("").astype(str).str.strip()
    frame = frame.assign(**{choice.text: texts})
    kept = frame[texts != ""]
    counts.without_text += len(frame) - len(kept)

    def below(frame: pd.DataFrame, column: str, largest: float) -> pd.DataFrame:
        # where nothing is known of an image it is not taken
        return frame[pd.to_numeric(frame[column], errors="coerce") <= largest]

    if choice.score is not None and choice.min_score is not None:
        before = len(kept)
        kept = kept[pd.to_numeric(kept[choice.score], errors="coerce") >= choice.min_score]
        counts.below_score += before - len(kept)
    before = len(kept)
    if UNSAFE in kept and choice.max_unsafe is not None:
        kept = below(kept, UNSAFE, choice.max_unsafe)
    if VERDICT in kept and choice.max_unsafe is not None:
        kept = kept[~kept[VERDICT].astype(str).str.upper().isin(["NSFW", "UNSURE"])]
    counts.unsafe += before - len(kept)
    before = len(kept)
    if WATERMARK in kept and choice.max_watermark is not None:
        kept = below(kept, WATERMARK, choice.max_watermark)
    counts.watermarked += before - len(kept)
    return kept


def _ranked(frame: pd.DataFrame, choice: Choice) -> pd.DataFrame:
    """Return the table's own columns, with each row's place in the draw."""
    import pandas as pd

    texts = list(frame[choice.text])
    words = [normal(text) for text in texts]
    ids = list(map(str, frame[choice.id])) if choice.id else [_hash(text) for text in words]
    return pd.DataFrame(
        {
            "prompt_id": ids,
            "text": texts,
            "url": frame[choice.url].to_numpy() if choice.url else None,
            "score": pd.to_numeric(frame[choice.score], errors="coerce").to_numpy(float)
            if choice.score
            else None,
            "image": None,
            "rank": np.array([seed_of(choice.seed, text) for text in words], dtype=np.uint64),
        }
    )


def normal(text: str) -> str:
    """Return the form of a prompt in which two that differ in case, width or spaces alone are equal.

    Examples
    --------
    >>> normal("A  red Car ")
    'a red car'
    """
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _complete(kept: pd.DataFrame, choice: Choice, counts: Counts) -> tuple[pd.DataFrame, Counts]:
    """Check ids and number, and return the table."""
    counts.chosen = len(kept)
    if choice.sample and len(kept) < choice.sample:
        raise UserError(
            f"sample: {choice.sample} prompts are asked for and {len(kept)} are left of"
            f" {counts.read} ({_lost(counts)})"
        )
    if kept.empty:
        raise UserError(f"no prompt is left of {counts.read} ({_lost(counts)})")
    for value in kept["prompt_id"]:
        if not _ID.fullmatch(value):
            raise UserError(
                f"id: {value!r} cannot be part of a file name; letters, digits, dot, hyphen and"
                " underscore are allowed, at most 100"
            )
    repeated = kept["prompt_id"][kept["prompt_id"].duplicated()]
    if len(repeated):
        raise UserError(f"id: {repeated.iloc[0]!r} stands for two prompts")
    return kept[list(COLUMNS)].reset_index(drop=True), counts


def _lost(counts: Counts) -> str:
    lost: dict[str, Any] = {k: v for k, v in counts.facts().items() if k not in ("read", "chosen")}
    return ", ".join(f"{value} {key.replace('_', ' ')}" for key, value in lost.items())
