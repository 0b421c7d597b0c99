"""Make one shard of a generator's images from prompts, one after the other.

The recipe is the generator's `generate` of the config, as JSON. Each image has a seed of its own,
from the names of generator and prompt and its number, so any shard can be made again alone, in any
order, and comes out the same on the same hardware. Images lie in --output-dir as
<prompt id>_<k>.png; the table says of each what it was made by: seed, settings, versions, device,
hash of the weights. Black, one-coloured and filtered pictures are found and treated as the recipe's
on_filtered says. A call that was stopped goes on where it was; a kill loses at most one image.
docs/data.md says which adapters there are and what each takes.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import Any

from clipsieve.cli.options import add_threads, count, json_object
from clipsieve.cli.progress import Pace
from clipsieve.errors import UserError

log = logging.getLogger("clipsieve")

HELP = "make one shard of a generator's images from prompts (diffusers, GLIDE, any command, ..)"

_EPILOG = """example:
  clipsieve generate --generator sd14_50 --prompts prompts.parquet --shard 0 --size 50 \\
    --recipe '{"adapter": "diffusers_text_to_image", "model": "CompVis/stable-diffusion-v1-4"}' \\
    --output-dir shards/sd14_50/0 --output shards/sd14_50/0.parquet
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = _EPILOG
    add = parser.add_argument
    add("--generator", required=True, help="the generator's id (it enters the seeds)")
    add("--recipe", required=True, metavar="JSON", help="its generate, as JSON or @FILE")
    add("--prompts", required=True, type=Path, metavar="PARQUET", help="table of clipsieve prompts")
    add("--images", type=Path, metavar="DIR", help="folder of the images to start from, if any")
    add("--shard", type=int, default=0, help="which shard, from 0 (default %(default)s)")
    add("--size", type=count, default=10**9, help="prompts in a shard (default %(default)s)")
    add_threads(parser, "CPU threads of one image; another number may change the last bit")
    add("--output-dir", required=True, type=Path, help="folder for the images; made if missing")
    add("--output", required=True, type=Path, metavar="PARQUET", help="the shard's table to write")


def run(args: argparse.Namespace) -> None:
    """Make what isn't there yet, then write the table."""
    import pandas as pd

    from clipsieve.config import complete
    from clipsieve.generation import records
    from clipsieve.generation.making import Settings, load
    from clipsieve.generation.shard import COLUMNS, Shard, make_shard
    from clipsieve.io.tables import read_table, write_table

    key = f"generators.{args.generator}.generate"
    entry = complete(
        {"prompts": args.prompts.stem, **json_object(args.recipe, "--recipe")}, "generate", key
    )
    records.check(entry, key)
    adapter = records.find(entry["adapter"])
    prompts, _ = read_table(args.prompts, ("prompt_id", "text", "image"))
    chosen = prompts.iloc[args.shard * args.size : (args.shard + 1) * args.size]
    if args.shard < 0 or chosen.empty:
        raise UserError(
            f"--shard {args.shard}: {args.prompts} has {len(prompts)} prompts, {args.size} a shard"
        )
    if adapter.from_images and (args.images is None or chosen["image"].isna().any()):
        raise UserError(
            f"{key}.prompts: the adapter {adapter.name} starts from images; take prompts that have"
            " `images`"
        )
    settings = Settings(args.generator, entry, args.threads)
    shard = Shard(settings, chosen, args.output_dir, args.images)
    pace = Pace()

    def progress(done: int, total: int) -> None:
        if pace.due(finished=done == total):
            log.info("%s, shard %d: %d of %d images", args.generator, args.shard, done, total)

    rows, machines = make_shard(shard, lambda: load(settings), progress)
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    _report(table, args.generator)
    note: dict[str, Any] = {"recipe": entry, "machines": machines, "threads": args.threads}
    write_table(table, args.output, note)


def _report(table: Any, generator: str) -> None:
    """Log the pictures in which something is wrong."""
    wrong = table[table["problem"].notna()]
    for row in wrong.head(10).itertuples():
        log.warning(
            "%s: prompt %s, image %d, attempt %d: %s%s",
            generator,
            row.prompt_id,
            row.k,
            row.attempt,
            row.problem,
            "" if isinstance(row.file, str) else " (not in the set)",
        )
    if len(wrong) > 10:
        log.warning("%s: %d more, see the table", generator, len(wrong) - 10)
