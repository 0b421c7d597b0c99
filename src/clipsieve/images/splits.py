"""Which group of images is for training, for validation and for testing.

A group (a prompt, a photograph) is never divided, and the answer for a group follows from the seed
and only the groups of the *source*. So every generator that shares a source has the same splits,
and a generator more or less in the config moves no image.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from clipsieve.errors import UserError
from clipsieve.io.files import seed_of

if TYPE_CHECKING:
    import pandas as pd

SPLITS = ("train", "val", "test")


def group_position(seed: int, group: str) -> float:
    """Return a number in [0, 1) that depends only on the seed and the group's name.

    It is the first 53 bits of sha256("<seed>:<group>"), so it is the same on every machine.
    """
    return (seed_of(seed, group) >> 11) / 2**53


def source_assignment(
    counts: Mapping[str, int], *, seed: int, test: float = 0.3, val: float = 0.2
) -> dict[str, str]:
    """Divide a source's groups between the splits.

    Parameters
    ----------
    counts
        Number of images of each group of the source.
    seed
        Seed of the order in which groups are taken.
    test
        Share of the source's images wanted in test, in (0, 1).
    val
        Share of what test leaves that is wanted in val, in (0, 1).

    Returns
    -------
    dict
        Group -> ``train``, ``val`` or ``test``; each of the three has at least one group.

    Raises
    ------
    UserError
        With fewer than three groups, or a share out of (0, 1).

    Notes
    -----
    Groups are walked in the order of a hash of (seed, name). A group goes to test when that brings
    the number of test images nearer to the share wanted, then likewise for val. So one very large
    group doesn't swallow a split, and the shares are met as closely as whole groups allow.
    """
    _check_shares(test, val)
    if len(counts) < 3:
        raise UserError(
            f"splits: the source has {len(counts)} group(s); at least 3 are needed, one for each"
            " of train, val and test (check the group rule of the image set)"
        )
    order = sorted(counts, key=lambda group: (group_position(seed, group), group))
    in_test = _fill(order, counts, target=test * sum(counts.values()), leave=2)
    rest = [group for group in order if group not in in_test]
    in_val = _fill(rest, counts, target=val * sum(counts[group] for group in rest), leave=1)
    return {
        group: "test" if group in in_test else "val" if group in in_val else "train"
        for group in counts
    }


def assign_splits(
    source_groups: pd.Series,
    groups: pd.Series,
    *,
    seed: int,
    test: float = 0.3,
    val: float = 0.2,
) -> pd.Series:
    """Give every image of a set its split.

    Parameters
    ----------
    source_groups
        Group of every usable image of the source (one entry per image, str).
    groups
        Group of every usable image of this set (one entry per image, str); for the source's own
        images, the same series.
    seed
        Seed of the division.
    test
        Share of the source's images for test (paper: 0.3).
    val
        Share of the remaining images for val.

    Returns
    -------
    pandas.Series
        ``train``, ``val`` or ``test`` for each entry of `groups`, with its index.

    Raises
    ------
    UserError
        When the source has fewer than three groups, or when a split of this set would be empty.

    Notes
    -----
    A group of the source has the source's split. A group that the source doesn't know (images that
    have no real counterpart) is placed by its own hash: below `test` it is test, below
    ``test + (1 - test) * val`` it is val. That, too, is the same for every generator.
    """
    import pandas as pd

    counts = {str(group): int(n) for group, n in source_groups.value_counts().items()}
    known = source_assignment(counts, seed=seed, test=test, val=val)
    assigned = {
        group: known[group] if group in known else _by_threshold(seed, group, test, val)
        for group in groups.unique()
    }
    result = pd.Series([assigned[g] for g in groups], index=groups.index, name="split", dtype=str)
    missing = [split for split in SPLITS if split not in set(assigned.values())]
    if missing:
        raise UserError(
            f"splits: no image falls in {', '.join(missing)} ({len(assigned)} groups in the set,"
            f" {len(known)} in its source); every split needs one: add groups or change the seed"
        )
    return result


def _check_shares(test: float, val: float) -> None:
    for name, share in (("test", test), ("val", val)):
        if not 0 < share < 1:
            raise UserError(
                f"splits: {name} is {share}; it must lie between 0 and 1, both excluded"
            )


def _by_threshold(seed: int, group: str, test: float, val: float) -> str:
    position = group_position(seed, group)
    if position < test:
        return "test"
    return "val" if position < test + (1 - test) * val else "train"


def _fill(order: Iterable[str], counts: Mapping[str, int], target: float, leave: int) -> set[str]:
    """Take groups in order as long as each brings the total nearer to `target`; leave some over."""
    order = list(order)
    taken: set[str] = set()
    total = 0
    for group in order:
        if len(taken) == len(order) - leave:
            break
        if abs(total + counts[group] - target) < abs(total - target):
            taken.add(group)
            total += counts[group]
    # Every group can be more than twice the target: then the smallest overshoots least.
    return taken or {min(order, key=lambda group: counts[group])}
