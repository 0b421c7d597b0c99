"""Measure what known edits of real images do to the embedding, and which directions react to them.

The direction of an edit (blur, JPEG, ..) is the mean change of the embedding over the run's own
real images (train and val). Its cosine with a probe says whether the edit makes real images look
more (positive) or less (negative) generated to that probe; no text tower is needed. Each cosine is
compared with random directions and shuffled labels as in `clipsieve interpret`, corrected for the
number of edits.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from clipsieve.cli.material_options import add_material_arguments, check_null_arguments

HELP = "cosine of probes, residuals and heads with the directions of known edits"

log = logging.getLogger("clipsieve")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.epilog = (
        "example:\n  clipsieve concepts --edit jpeg_50 e/real.h5 edited/jpeg_50/real.h5 \\\n"
        "    --edit blur_2 e/real.h5 edited/blur_2/real.h5 \\\n"
        "    --probes probes/all/*.npz probes/shuffled/*.npz --embeddings e/biggan.h5 e/real.h5 \\\n"
        "    --splits s/biggan.parquet s/real.parquet --output concepts.parquet"
    )
    parser.add_argument(
        "--edit", nargs=3, action="append", required=True, metavar=("NAME", "SOURCE", "EDITED"),
        help="an edit: its name, the embedding file of a source and that of the edited images,"
        " which keep the path of the original but for the extension; repeat for each edit, and"
        " with the same name for each source",
    )  # fmt: skip
    add_material_arguments(parser)
    parser.add_argument(
        "--output", required=True, metavar="PARQUET", help="one row per direction and edit"
    )


def run(args: argparse.Namespace) -> None:
    """Measure the edits' directions, and write the cosines."""
    from clipsieve.interpretation.explain import explain_with_edits
    from clipsieve.interpretation.material import read_changes, read_material
    from clipsieve.io.tables import write_table
    from clipsieve.threads import limited

    check_null_arguments(args)
    with limited(args.threads):
        material = read_material(
            embeddings=args.embeddings, splits=args.splits, probes=args.probes,
            images=args.images, features=args.features, head_maps=args.head_maps,
            head_mode=args.head_mode, draws=args.draws, seed=args.seed, what="concepts",
        )  # fmt: skip
        edits = [(name, Path(source), Path(edited)) for name, source, edited in args.edit]
        names, changes, counts = read_changes(edits, material.rows)
        directions = [d for d in material.directions if len(d.vector) == changes.shape[1]]
        if len(directions) < len(material.directions):
            log.info("concepts: head outputs are left out, since embeddings are in another space")
        frame = explain_with_edits(
            directions, names, changes, counts, material.meaningless, level=args.level
        )
    for position, name in enumerate(("run", "encoder", "seed")):
        frame.insert(position, name, getattr(args, name))
    write_table(
        frame, args.output,
        {"draws": args.draws, "level": args.level, "head_mode": args.head_mode},
    )  # fmt: skip
    log.info(
        "concepts: %d of %d cosines are above their null",
        int(frame["above_null"].sum()),
        len(frame),
    )
