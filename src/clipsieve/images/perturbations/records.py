"""Which perturbations there are: one record for each, from which the config's schema is filled too.

Light on purpose: the Snakefile reads the names, and every cluster job parses the Snakefile again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Record:
    """One perturbation.

    Attributes
    ----------
    name
        As in the config and in files.
    maker
        `module:function` in this package; it takes the name and `arguments`, and gives an `Edit`.
    arguments
        Strength, in the maker's unit.
    """

    name: str
    maker: str
    arguments: tuple[float, ...]


def _levels(name: str, maker: str, levels: Iterable[float]) -> list[Record]:
    """Return a record for each level, which takes the place of `{}` in the name."""
    return [
        Record(name.format(f"{level:g}".replace(".", "_")), maker, (level,)) for level in levels
    ]


# Families together, milder levels first: the order of files, pages and axes.
_ALL = [
    *_levels("jpeg_{}", "files:jpeg", (95, 90, 80, 70, 60, 50, 40, 30)),
    *(Record(f"double_jpeg_{first}_90", "files:double_jpeg", (first, 90)) for first in (75, 50)),
    *_levels("webp_{}", "files:webp", (90, 75, 50, 30)),
    *_levels("blur_{}", "pixels:blur", (0.5, 1.0, 2.0, 3.0)),
    *_levels("resize_{}", "pixels:resize", (75, 50, 25)),
    *_levels("crop_{}", "pixels:crop", (90, 75, 50)),
    *_levels("noise_{}", "pixels:noise", (2, 5, 10, 20)),
    *_levels("sharpen_{}", "pixels:sharpen", (50, 100, 200)),
    *_levels("contrast_{}", "pixels:contrast", (70, 85, 115, 130)),
    *_levels("brightness_{}", "pixels:brightness", (80, 120)),
    *_levels("saturation_{}", "pixels:saturation", (50, 150)),
    Record("cool_10", "pixels:warmth", (-10,)),
    Record("warm_10", "pixels:warmth", (10,)),
    *_levels("grid_{}", "pixels:grid", (2, 4, 8)),
]

#: Every perturbation by name.
RECORDS = {record.name: record for record in _ALL}
if len(RECORDS) < len(_ALL):
    raise ImportError("two perturbations have the same name")
