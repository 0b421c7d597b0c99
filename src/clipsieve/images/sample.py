"""A part of an image set: seeded, balanced over folders, and a smaller part inside every larger one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath

from clipsieve.images.containers import as_folders
from clipsieve.images.facts import FileFacts
from clipsieve.images.layouts import LAYOUTS
from clipsieve.images.members import Member


def sample_order(
    members: Sequence[Member], *, layout: str = "plain", seed: int = 0
) -> list[Member]:
    """Return the usable members in the order in which a sample takes them.

    The first n are the sample of n images, so n = 500 is inside n = 1,000. Within a folder (classes
    such as ``airplane``, apart from the class folders of the layout) the order is that of the hashes
    of the groups: image sets whose groups have one name (prompts, photographs) are sampled alike,
    and the images of a group come together. Folders take turns.

    Parameters
    ----------
    members
        Files of the set; those with a problem are left out.
    layout
        Whose class folders are no folders of their own.
    seed
        Another seed is another sample.

    Examples
    --------
    >>> files = [Member(f"{folder}/{i}.png", f"{folder}/{i}") for folder in "ab" for i in range(9)]
    >>> sorted({m.path[0] for m in sample_order(files)[:2]})
    ['a', 'b']
    """
    rules = LAYOUTS[layout]

    def folder(member: Member) -> str:
        parts = PurePosixPath(as_folders(member.path)).parts[:-1]
        return "/".join(p for p in parts if p.lower() not in rules.real + rules.generated)

    def key(member: Member) -> tuple[str, str]:
        return _hash(seed, member.group or member.path), _hash(seed, member.path)

    by_folder: dict[str, list[tuple[str, str, Member]]] = {}
    for member in members:
        if member.problem is None:
            by_folder.setdefault(folder(member), []).append((*key(member), member))
    ranked = [
        (rank, first, second, member)
        for rows in by_folder.values()
        for rank, (first, second, member) in enumerate(sorted(rows, key=lambda row: row[:2]))
    ]
    return [row[3] for row in sorted(ranked, key=lambda row: row[:3])]


def _hash(seed: int, text: str) -> str:
    return hashlib.sha256(f"{seed}:{text}".encode(errors="surrogateescape")).hexdigest()


def take(
    ordered: Sequence[Member],
    images: int,
    read: Callable[[Sequence[Member]], list[FileFacts]],
) -> tuple[list[Member], list[FileFacts]]:
    """Read members in order until so many are usable images; what was read comes back.

    Parameters
    ----------
    ordered
        As `sample_order` returns them.
    images
        How many are wanted.
    read
        Gives the facts of some members (`clipsieve.images.scan.scan`).
    """
    facts: list[FileFacts] = []
    missing = images
    while missing > 0 and len(facts) < len(ordered):
        facts += read(ordered[len(facts) : len(facts) + missing])
        missing = images - sum(fact.problem is None for fact in facts)
    return list(ordered[: len(facts)]), facts
