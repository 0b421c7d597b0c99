"""Follow the transfer along component searches: probes on what is left after some removals.

For each search, a probe of every generator that took no part in it is fitted on train and val
images at the C of the search, and applied to the test images of all of these generators. The
searches themselves see no test image. The explorer shows the result with a slider.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from clipsieve.cli.options import (
    add_image_sets,
    add_row_names,
    add_sources,
    count,
    identity_of,
    words_by_generator,
)

HELP = "transfer of probes on the columns that are left along component searches"

log = logging.getLogger("clipsieve")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_row_names(parser, "run", "encoder", "seed", required=True)
    parser.add_argument(
        "--searches", nargs="+", required=True, metavar="FILE", help="files of searches"
    )
    add_image_sets(parser, "of every generator and source")
    add_sources(parser)
    parser.add_argument(
        "--sizes",
        type=count,
        default=8,
        help="number of sizes, from all columns to one (default %(default)s)",
    )
    parser.add_argument("--output", required=True, metavar="PARQUET", help="one row per cell")
    parser.epilog = (
        "example:\n"
        "  clipsieve removal --run demo --encoder clip_b16 --seed 0 \\\n"
        "      --searches results/demo/seed0/clip_b16/searches/a--b.parquet \\\n"
        "      --embeddings results/demo/embeddings/clip_b16/{c,d,photographs}.h5 \\\n"
        "      --splits results/demo/seed0/splits/{c,d,photographs}.parquet \\\n"
        "      --sources @sources.json --output removal.parquet"
    )


def run(args: argparse.Namespace) -> None:
    import numpy as np
    import pandas as pd

    from clipsieve.errors import UserError
    from clipsieve.evaluation.along_search import ALONG, Sides, sizes_of, transfer_along
    from clipsieve.io.dataset import read_rows
    from clipsieve.io.roles import EVALUATION, FITTING
    from clipsieve.io.tables import read_table, write_table

    if args.sources is None:
        raise UserError("--sources: needed, as {generator: source}")
    sources = words_by_generator(args.sources, "--sources")
    files = args.embeddings, args.splits
    fitting, testing = (read_rows(*files, of, "removal") for of in (FITTING, EVALUATION))
    sides = {}
    for generator, source in sources.items():
        train, test = (
            rows.take(np.isin(rows.image_set, [generator, source])) for rows in (fitting, testing)
        )
        sides[generator] = Sides(train.embedding, train.label, test.embedding, test.label)
    frames = []
    for path in map(Path, args.searches):
        table, note = read_table(path, ("step", "removed"))
        pair = (note["train"], note["val"])
        others = {name: one for name, one in sides.items() if name not in pair}
        stops = [int(stop["step"]) for stop in note.get("stops", {}).values()]
        steps = sizes_of(int(note["columns"]), args.sizes, stops)
        removed = table.sort_values("step")["removed"].tolist()
        found = transfer_along(others, removed, steps, C=float(note["C"]))
        log.info("removal %s--%s: %d sizes, %d generators", *pair, len(steps), len(others))
        names = list(others)
        index = pd.MultiIndex.from_product(
            [["--".join(pair)], steps, ALONG, names, names],
            names=["search", "step", "metric", "train", "test"],
        )
        frame = index.to_frame(index=False).assign(value=found.ravel())
        frame.insert(2, "left", int(note["columns"]) - frame["step"])
        frames.append(frame)
    table = pd.concat(frames, ignore_index=True)
    for place, (name, value) in enumerate(identity_of(args).items()):
        table.insert(place, name, value)
    write_table(table, args.output, {"sizes": args.sizes})
