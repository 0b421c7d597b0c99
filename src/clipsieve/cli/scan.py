"""Write the table of an image set: one row per file, with its label, group and file facts.

An image set is a source of real photographs (label 1) or the output of one generator (label 0).
Every file has a row: if it can't be used, the column `problem` gives the reason. Hidden files are
skipped. The set's folder may be a zip, tar or parquet file, or a folder in one (x.zip!progan), and
it may hold one class or both. The help of --layout lists the layouts.
A CSV (--metadata) may give groups and classes: columns path (or image_path, file_name), group,
target (or label).
"""

from __future__ import annotations

import argparse
import logging
import os
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from clipsieve.cli.options import add_threads, count
from clipsieve.cli.progress import counter
from clipsieve.errors import UserError
from clipsieve.images.layouts import LAYOUTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import pandas as pd

    from clipsieve.images.facts import FileFacts
    from clipsieve.images.fingerprint import Stat
    from clipsieve.images.members import Member

log = logging.getLogger("clipsieve")

HELP = "scan one image set: one row per file with label, group, hashes and file facts"

_EPILOG = """example:
  clipsieve scan --image-set progan --folder images/progan --data-root images --label 0 \\
    --generator progan --family gan --source lsun --layout wang2020 --output progan.parquet
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = _EPILOG
    add = parser.add_argument
    add("--image-set", required=True, help="id of the image set, [a-z0-9_]+")
    add("--folder", required=True, type=Path, help="the set's folder, inside the data root")
    add("--data-root", required=True, type=Path, help="folder that the table's paths start from")
    add(
        "--label",
        required=True,
        type=int,
        choices=(0, 1),
        help="what the set's images are: 0 generated, 1 real",
    )
    add("--generator", default="", help="the generator's id (default empty: real images)")
    add("--family", default="", help="the generator's family, as gan (default empty: real images)")
    add("--source", required=True, help="the source of real images with which the set is compared")
    add(
        "--layout",
        choices=tuple(LAYOUTS),
        metavar="LAYOUT",
        default="plain",
        help="how the folder is laid out (default %(default)s): "
        + "; ".join(f"{name}: {layout.title}" for name, layout in LAYOUTS.items()),
    )
    add(
        "--group-pattern",
        default="",
        help="regular expression with (?P<group>...), searched in the file's name without suffix;"
        " by default the group is the path without suffix and class folder",
    )
    add(
        "--metadata",
        default="",
        metavar="CSV",
        help="groups and classes, a path relative to the set's folder (default: none)",
    )
    add(
        "--real-values",
        default="",
        help="values of the CSV's target column that mean real, with commas between, as 0"
        " (default: none)",
    )
    add(
        "--hash-threshold",
        type=int,
        default=4,
        help="images of different groups whose perceptual hashes differ in at most this many of 64"
        " bits are named in the log (default %(default)s)",
    )
    add(
        "--sample",
        type=count,
        default=None,
        help="take this many usable images, balanced over folders; a smaller sample is inside every"
        " larger one (default: all)",
    )
    add(
        "--sample-seed",
        type=int,
        default=0,
        help="seed of the sample; sets that share groups are sampled alike (default %(default)s)",
    )
    add(
        "--known",
        type=Path,
        metavar="PARQUET",
        help="record of what was found, read and then written again: files that are unchanged since the last"
        " scan with this record (size, time, inode) are not read (default: none)",
    )
    add(
        "--fingerprint",
        default="",
        help="fingerprint of the folder, kept in the record for the workflow (default: none)",
    )
    add_threads(parser, "files read at once")
    add("--output", required=True, type=Path, metavar="PARQUET", help="the image table to write")


def run(args: argparse.Namespace) -> None:
    """Scan the set and write its table."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    from clipsieve.images import known, members
    from clipsieve.images import scan as manifest
    from clipsieve.io.files import replacing

    if bool(args.generator) != (args.label == 0):
        raise UserError(
            f"image set {args.image_set}: label {args.label} with generator {args.generator!r};"
            " generated images (0) have a generator, real images (1) must not have one"
        )
    prefix = _prefix(args.folder, args.data_root, args.image_set)
    found = members.read_set(
        args.folder,
        metadata=args.metadata or None,
        label=args.label,
        layout=args.layout,
        group_pattern=args.group_pattern or None,
        real_values=[value.strip() for value in args.real_values.split(",") if value.strip()],
    )
    chosen = found.members
    for line in found.notes:
        log.info("%s: %s", args.image_set, line)
    for line in found.warnings:
        log.warning("%s: %s", args.image_set, line)
    if not chosen:
        kind = "generated" if args.label == 0 else "real"
        raise UserError(
            f"image set {args.image_set}: no {kind} images in {args.folder} (layout {args.layout})"
        )
    log.info("%s: %d files in %s", args.image_set, len(chosen), args.folder)
    with ExitStack() as stack:
        temporary = stack.enter_context(replacing(args.output))
        record = None
        if args.known is not None:
            written = stack.enter_context(replacing(args.known))
            record = known.Record(written, _version(), args.fingerprint)
        table = None
        for members_of_part, facts, stats in _parts(args, chosen):
            part = manifest.image_table(
                members_of_part,
                facts,
                image_set=args.image_set,
                source=args.source,
                label=args.label,
                prefix=prefix,
                generator=args.generator or None,
                family=args.family or None,
            )
            rows = pa.Table.from_pandas(part, preserve_index=False)
            if table is None:
                table = stack.enter_context(pq.ParquetWriter(temporary, rows.schema))
            table.write_table(rows)
            if record is not None:
                record.add_members([member.path for member in members_of_part], stats, facts)
        assert table is not None
        table.close()
        if record is not None:
            if not args.sample:
                record.add_others(args.folder, found.others)
            record.close()
        columns = ["path", "problem", "group", "is_constant", "colour_profile", "perceptual_hash"]
        whole = pd.read_parquet(temporary, columns=columns)
        manifest.require_usable(whole, args.image_set)
        _report(whole, args.image_set, args.hash_threshold)


def _parts(
    args: argparse.Namespace, chosen: list[Member]
) -> Iterator[tuple[Sequence[Member], list[FileFacts], list[Stat | None]]]:
    """Yield the members with their facts, sorted by path, so many at a time that they fit in memory."""
    from clipsieve.images import known, sample
    from clipsieve.images.scan import scan

    before = known.Known(args.known, _version()) if args.known is not None else None
    if not args.sample:
        tell, done = counter(args.image_set, len(chosen)), 0
        for part in known.parts_of(sorted(chosen, key=lambda member: member.path)):
            progress = partial(_further, tell, done)
            yield (
                part,
                *scan(args.folder, part, threads=args.threads, progress=progress, known=before),
            )
            done += len(part)
        return
    ordered = sample.sample_order(chosen, layout=args.layout, seed=args.sample_seed)
    if left_out := len(chosen) - len(ordered):
        log.info("%s: %d files with a problem are not sampled", args.image_set, left_out)
    tell = counter(args.image_set, min(args.sample, len(ordered)))
    stats: dict[str, Stat | None] = {}

    def read(part: Sequence[Member]) -> list[FileFacts]:
        facts, seen = scan(args.folder, part, threads=args.threads, progress=tell, known=before)
        stats.update(zip((member.path for member in part), seen, strict=True))
        return facts

    taken, facts = sample.take(ordered, args.sample, read)
    usable = sum(fact.problem is None for fact in facts)
    if usable < args.sample:
        log.warning("%s: %d images wanted, %d there", args.image_set, args.sample, usable)
    pairs = sorted(zip(taken, facts, strict=True), key=lambda pair: pair[0].path)
    yield (
        [member for member, _ in pairs],
        [fact for _, fact in pairs],
        [stats[member.path] for member, _ in pairs],
    )


def _further(tell: Callable[[int], None], before: int, done: int) -> None:
    tell(before + done)


def _version() -> str:
    """Return what the facts of an unchanged file depend on: this code, Pillow, and the formats it reads."""
    from importlib.metadata import version

    from clipsieve.images.file_formats import readable
    from clipsieve.provenance.closure import code_of

    return " ".join([code_of("scan"), version("pillow"), *readable()])


def _prefix(folder: Path, data_root: Path, image_set: str) -> str:
    """Return the folder relative to the data root; refuse a missing folder or one outside."""
    from clipsieve.images.containers import MARK, is_container, split_member

    inside = split_member(folder)
    container = is_container(folder) and folder.is_file()
    if not (folder.is_dir() or container or (inside and Path(inside[0]).is_file())):
        raise UserError(f"image set {image_set}: folder {folder} does not exist")
    relative = os.path.relpath(folder.absolute(), data_root.absolute())
    if relative.split(os.sep)[0] == os.pardir:
        raise UserError(
            f"image set {image_set}: folder {folder} is not inside the data root {data_root}"
        )
    return Path(relative).as_posix() + (MARK if container else "")


def _report(table: pd.DataFrame, image_set: str, threshold: int) -> None:
    """Log what a user should know of the set: problems, blank pictures, near-duplicates."""
    from clipsieve.images import colour, hashes
    from clipsieve.images import scan as manifest

    good = manifest.usable(table)
    problems = table[table["problem"].notna()]
    log.info(
        "%s: %d usable images in %d groups, %d with a problem",
        image_set,
        len(good),
        good["group"].nunique(),
        len(problems),
    )
    for row in problems.head(10).itertuples():
        log.warning("%s: %s", row.path, row.problem)
    if line := colour.in_words(list(good["colour_profile"].dropna())):
        log.warning("%s: %s", image_set, line)
    blank = good[good["is_constant"]]
    if len(blank):
        log.warning(
            "%s: %d images of one colour, as %s", image_set, len(blank), blank["path"].iloc[0]
        )
    shown = good[~good["is_constant"]]
    group = shown["group"].to_numpy()
    alike = [
        part
        for part in hashes.clusters(hashes.from_hex(list(shown["perceptual_hash"])), threshold)
        if len(set(group[part])) > 1
    ]
    for part in alike[:5]:
        other = next(k for k in part if group[k] != group[part[0]])
        log.warning(
            "near-duplicates in different groups: %d images in %d groups, as %s and %s",
            len(part),
            len(set(group[part])),
            shown["path"].iloc[part[0]],
            shown["path"].iloc[other],
        )
    if len(alike) > 5:
        log.warning("near-duplicates in different groups: %d more clusters", len(alike) - 5)
