"""What occurs in two splits or in both classes: groups, identical files and near-duplicates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clipsieve.errors import UserError
from clipsieve.images.hashes import from_hex, near_duplicates
from clipsieve.io.columns import LEAKAGE

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = tuple(LEAKAGE.types)
NEEDED = ("image_id", "source", "label", "group", "sha256", "perceptual_hash")
#: Kind of finding -> what it is called.
KINDS = {
    "group": "group in two splits",
    "identical": "identical file in two splits",
    "near_duplicate": "near-duplicate in two splits",
    "identical_classes": "identical file in both classes",
    "near_duplicate_classes": "near-duplicate in both classes",
}


def find_leaks(images: pd.DataFrame, split: str, *, near_duplicate_bits: int = 0) -> pd.DataFrame:
    """List the images that occur in two splits or in both classes.

    Parameters
    ----------
    images
        Rows of the manifest; those without a split take no part.
    split
        Name of the column with the split.
    near_duplicate_bits
        Images whose 64-bit perceptual hashes differ in at most this many bits are near-duplicates.

    Returns
    -------
    DataFrame
        ``kind`` (a key of `KINDS`), ``first``, ``second`` (image ids), their splits, ``distance`` in
        bits (null for groups). Of a group or file in several splits, each image outside the split that has most of
        them is one row, ``first`` being an image of that split. Near-duplicates likewise by hash,
        and one row for each two hashes and splits that are close. Of files in both classes,
        whatever their splits, ``first`` is real and each generated image is a row.

    Notes
    -----
    A group is one of its source: equal names in two sources are not the same group. A generated
    image that was made from a photograph is expected to look like it, and is in the same split
    by its group, so it is not a finding; a file with both labels always is.
    Pictures of one colour have the hash 0 and say nothing.
    """
    import pandas as pd

    rows = images[images[split].notna()].reset_index(drop=True)
    ids = rows["image_id"].to_numpy(dtype=object)
    splits = rows[split].to_numpy(dtype=object)
    group = (rows["source"].astype(str) + "\t" + rows["group"].astype(str)).to_numpy(dtype=object)
    found = [("group", a, b, np.nan) for a, b in _divided(group, splits)]
    sha = rows["sha256"].to_numpy(dtype=object)
    found += [("identical", a, b, 0.0) for a, b in _divided(sha, splits)]
    close = _near(rows["perceptual_hash"], splits, near_duplicate_bits)
    found += [("near_duplicate", a, b, d) for a, b, d in close if sha[a] != sha[b]]
    label = rows["label"].to_numpy(dtype=np.int64)
    found += [("identical_classes", a, b, 0.0) for a, b in _in_both_classes(sha, label)]
    mixed = _near_in_both_classes(rows["perceptual_hash"], label, group, near_duplicate_bits)
    found += [("near_duplicate_classes", a, b, d) for a, b, d in mixed if sha[a] != sha[b]]
    table: dict[str, Any] = {
        "kind": [kind for kind, *_ in found],
        "first": [ids[a] for _, a, _, _ in found],
        "second": [ids[b] for _, _, b, _ in found],
        "first_split": [splits[a] for _, a, _, _ in found],
        "second_split": [splits[b] for _, _, b, _ in found],
        "distance": np.array([distance for *_, distance in found], dtype=np.float64),
    }
    result = pd.DataFrame(table, columns=list(COLUMNS))
    return result.astype({name: "string" for name in COLUMNS if name != "distance"})


def shared_names(images: pd.DataFrame, split: str) -> int:
    """Count group names that several sources have with different splits (no finding, but worth a look)."""
    rows = images[images[split].notna()]
    by_name = rows.groupby("group")
    return int(((by_name["source"].nunique() > 1) & (by_name[split].nunique() > 1)).sum())


def stop_on_leaks(leaks: pd.DataFrame, where: str) -> None:
    """Raise `UserError` naming the first images when there is any finding; `where` has them all."""
    if leaks.empty:
        return
    numbers = leaks["kind"].value_counts()
    counts = ", ".join(f"{numbers[k]} by {words}" for k, words in KINDS.items() if k in numbers)
    named = "; ".join(
        f"{row.first} ({row.first_split}) and {row.second} ({row.second_split}): {KINDS[str(row.kind)]}"
        for row in leaks.drop_duplicates("kind").itertuples()
    )
    raise UserError(
        f"audit: {len(leaks)} images leak ({counts}): {named}; all: {where}. Correct the folders, leave"
        " the files out (a metadata table without them, or remove them), or set audit.on_leak: warn"
        " (--on-leak warn) to go on"
    )


def _in_both_classes(keys: NDArray[Any], label: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Generated rows whose key a real one has, too, with the first such real row."""
    first: dict[Any, int] = {}
    for row in np.flatnonzero(label == 1).tolist():
        first.setdefault(keys[row], row)
    return [
        (first[keys[row]], row) for row in np.flatnonzero(label == 0).tolist() if keys[row] in first
    ]


def _near_in_both_classes(
    hashes: pd.Series, label: NDArray[np.int64], group: NDArray[Any], bits: int
) -> list[tuple[int, int, float]]:
    """Generated rows that look like a real one of another group: one row each of those of equal hash.

    A generated image may have been made from the photograph of its own group.
    """
    known = np.flatnonzero(hashes.notna().to_numpy())
    values = from_hex(list(hashes.iloc[known]))
    known, values = known[values != 0], values[values != 0]
    real: dict[int, dict[Any, int]] = {}
    generated: dict[int, list[int]] = {}
    for row, value in zip(known.tolist(), values.tolist(), strict=True):
        if label[row] == 1:
            real.setdefault(value, {}).setdefault(group[row], row)
        else:
            generated.setdefault(value, []).append(row)

    def strange(real_hash: int, generated_hash: int) -> list[tuple[int, int]]:
        photographs = real.get(real_hash, {})
        rows = [row for row in generated.get(generated_hash, []) if group[row] not in photographs]
        return [(next(iter(photographs.values())), row) for row in rows] if photographs else []

    found = [(a, b, 0.0) for value in real for a, b in strange(value, value)]
    if bits:
        unique = np.unique(values)
        for a, b, distance in zip(*near_duplicates(unique, bits), strict=True):
            one, other = int(unique[a]), int(unique[b])
            for pair in (strange(one, other), strange(other, one)):
                found += [(x, y, float(distance)) for x, y in pair[:1]]
    return found


def _divided(keys: NDArray[Any], splits: NDArray[Any]) -> list[tuple[int, int]]:
    """Rows of each key that lie outside its most frequent split, with the first row of that split."""
    import pandas as pd

    frame = pd.DataFrame({"key": keys, "split": splits})
    several = frame.groupby("key", sort=False)["split"].transform("nunique") > 1
    found = []
    for _, rows in frame[several].groupby("key", sort=False):
        main = rows["split"].value_counts(sort=True).index[0]
        first = int(rows.index[rows["split"] == main][0])
        found += [(first, int(row)) for row in rows.index[rows["split"] != main]]
    return found


def _near(hashes: pd.Series, splits: NDArray[Any], bits: int) -> list[tuple[int, int, float]]:
    """Near-duplicates in two splits: rows and distance."""
    known = np.flatnonzero(hashes.notna().to_numpy())
    values = from_hex(list(hashes.iloc[known]))
    known, values = known[values != 0], values[values != 0]
    found = [
        (int(known[a]), int(known[b]), 0.0)
        for a, b in _divided(values.astype(object), splits[known])
    ]
    if bits == 0:
        return found
    # each hash once for each split it is in: what else carries it was found above
    frame_keys: dict[tuple[int, str], int] = {}
    for row, value in zip(known.tolist(), values.tolist(), strict=True):
        frame_keys.setdefault((value, splits[row]), row)
    unique = np.unique(values)
    rows_of: dict[int, list[tuple[str, int]]] = {}
    for (value, split), row in frame_keys.items():
        rows_of.setdefault(value, []).append((split, row))
    for a, b, distance in zip(*near_duplicates(unique, bits), strict=True):
        for split_a, row_a in rows_of[int(unique[a])]:
            for split_b, row_b in rows_of[int(unique[b])]:
                if split_a != split_b:
                    found.append((row_a, row_b, float(distance)))
    return found
