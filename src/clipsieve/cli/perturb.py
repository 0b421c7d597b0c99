"""Write copies of a set's images under one perturbation of the catalogue, each checked.

The check reads the written bytes back: a JPEG's quantisation tables must be those of its quality,
a blur must have lowered the fine detail, and so on. An image that the perturbation does not change
(a grey one has no saturation) gets the reason in the column problem of the new table. If this is
more than one image in ten, or if a check fails, the command fails. --perturbation list prints the
catalogue.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipsieve.cli.options import add_profiles, add_threads
from clipsieve.cli.progress import counter
from clipsieve.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger("clipsieve")

HELP = "write perturbed, checked copies of images (JPEG, blur, noise, ...)"

#: Share of pictures to which a perturbation may do nothing.
ALLOWED_FAILURES = 0.1

_EPILOG = """example:
  clipsieve perturb --images images/progan.parquet --data-root images --perturbation jpeg_50 \\
    --split-file splits/progan.parquet --only test \\
    --output-dir perturbed/jpeg_50 --output perturbed/jpeg_50/progan.parquet
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = _EPILOG
    add = parser.add_argument
    add("--perturbation", required=True, help="a name of the catalogue, or: list")
    add("--images", type=Path, metavar="PARQUET", help="image table of the set (clipsieve scan)")
    add("--data-root", type=Path, help="folder that the table's paths start from")
    add(
        "--split-file",
        type=Path,
        metavar="PARQUET",
        help="splits of the set (clipsieve split), for --only",
    )
    add(
        "--only",
        choices=("train", "val", "test"),
        help="use only the images of this split (default: all)",
    )
    add(
        "--limit",
        type=int,
        default=0,
        help="images in all, taken in turn from the groups (default %(default)s: every image)",
    )
    add("--seed", type=int, default=0, help="seed of the noise (default %(default)s)")
    add("--output-dir", type=Path, help="folder for the copies: their data root")
    add("--output", type=Path, metavar="PARQUET", help="image table of the copies to write")
    add_profiles(parser)
    add_threads(parser, "images at once")


def run(args: argparse.Namespace) -> None:
    """Write the copies and their table, or print the catalogue."""
    from clipsieve.images.perturbations import catalogue as perturb
    from clipsieve.images.perturbations.base import EditError, NoEffectError
    from clipsieve.images.rewrite import rewrite
    from clipsieve.images.scan import read_images, usable
    from clipsieve.io.files import replacing, seed_of

    if args.perturbation == "list":
        for edit in perturb.perturbations().values():
            print(f"{edit.name:20} {edit.title}")
        return
    for option in ("images", "data_root", "output_dir", "output"):
        if getattr(args, option) is None:
            raise UserError(f"perturb: --{option.replace('_', '-')} is needed")
    perturb.find(args.perturbation)
    table = read_images(args.images)
    if args.only:
        table = _of_split(table, args.split_file, args.only)
    if args.limit:
        # the first image of every group, then the second of every group, ..
        turn = table.groupby("group").cumcount()
        table = table.loc[turn.sort_values(kind="stable").index[: args.limit]].sort_index()

    def change(picture: Any, row: dict[str, Any]) -> tuple[bytes, str, str | None]:
        seed = seed_of(args.seed, row["image_id"])
        try:
            return *perturb.apply(args.perturbation, picture, seed=seed), None
        except NoEffectError as error:
            data, suffix = perturb.apply(args.perturbation, picture, seed=seed, verify=False)
            return data, suffix, str(error)
        except EditError as error:
            raise UserError(f"{row['path']}: {error}") from None

    written = rewrite(
        table,
        change,
        data_root=args.data_root,
        output_root=args.output_dir,
        threads=args.threads,
        profiles=args.colour_profiles,
        progress=counter(args.images.stem, len(table)),
    )
    _check_failures(written, len(usable(table)), args.perturbation)
    log.info("%s: %d images under %s", args.images.stem, len(written), args.perturbation)
    with replacing(args.output) as temporary:
        written.to_parquet(temporary, index=False)


def _check_failures(written: pd.DataFrame, attempted: int, name: str) -> None:
    """Name the pictures on which a perturbation did nothing; refuse when they are many."""
    failed = written[written["problem"].notna() & written["sha256"].notna()]
    failed = failed[failed["problem"].str.startswith(name)]
    for row in failed.head(5).itertuples():
        log.warning("%s: %s", row.path, row.problem)
    if len(failed) > ALLOWED_FAILURES * attempted:
        first = failed.iloc[0]
        raise UserError(
            f"perturbation {name} did nothing to {len(failed)} of {attempted} images, as"
            f" {first['path']} ({first['problem']}); at most one in ten may be so"
        )


def _of_split(table: pd.DataFrame, split_file: Path | None, only: str) -> pd.DataFrame:
    """Return the rows of an image table that are in one split."""
    from clipsieve.io.tables import read_table

    if split_file is None:
        raise UserError(f"perturb: --only {only} needs --split-file")
    splits, _ = read_table(split_file, ("image_id", "split"))
    wanted = set(splits.loc[splits["split"] == only, "image_id"])
    chosen = table[table["image_id"].isin(wanted)]
    if chosen.empty:
        raise UserError(f"{split_file}: no image of the table is in {only}")
    return chosen
