"""Take over embeddings of an image set that were made elsewhere, in place of embedding the images.

The file (npz, HDF5 or parquet) has an array `image_id` or `path`, an array `embedding` [n, D] and,
in npz and HDF5, optionally head outputs `heads` [n, L, H, d_head] with their `head_basis`
[L, H, d_out, d_head] (by default the identity) and the tokens after every block, `layers`
[n, L, width]. Its images are matched with the image table: every usable image needs one, and the
file may hold no other. The sha256 of the file goes into the output.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from clipsieve.errors import UserError

HELP = "take over embeddings that were made elsewhere"

log = logging.getLogger("clipsieve")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    add = parser.add_argument
    add(
        "--images",
        type=Path,
        required=True,
        metavar="PARQUET",
        help="image table of the set (columns image_id, path, sha256, problem)",
    )
    add("--image-set", required=True, help="id of the image set")
    add("--encoder", required=True, help="id of the encoder")
    add(
        "--source",
        type=Path,
        required=True,
        metavar="FILE",
        help="your arrays: npz, HDF5 (.h5, .hdf5) or parquet",
    )
    add(
        "--heads",
        action="store_true",
        help="take the head outputs over too, which the file must then have (default: leave them)",
    )
    add(
        "--layers",
        action="store_true",
        help="take the layers over too, which the file must then have (default: leave them)",
    )
    add("--output", type=Path, required=True, metavar="H5", help="the embeddings to write")
    parser.epilog = (
        "example:\n  clipsieve import-embeddings --images images/progan.parquet \\\n"
        "    --image-set progan --encoder mine --source mine/progan.npz \\\n"
        "    --output embeddings/mine/progan.h5"
    )


def run(args: argparse.Namespace) -> None:
    """Read, check, match and write."""
    from clipsieve.io import imported, store
    from clipsieve.io.files import sha256_of
    from clipsieve.io.tables import read_table

    table, _ = read_table(args.images, ("image_id", "path", "sha256", "problem"))
    usable = table[table["problem"].isna()]
    if usable.empty:
        raise UserError(f"{args.images}: no usable image in {args.image_set}")
    found = imported.read_images(args.source)
    if args.heads and found.heads is None:
        raise UserError(f"{args.source}: no heads in it (encoders.{args.encoder}.has_heads: false)")
    if args.layers and found.layers is None:
        raise UserError(
            f"{args.source}: no layers in it (encoders.{args.encoder}.has_layers: false)"
        )
    rows = imported.match_rows(found, table, str(args.source))
    with_heads = args.heads and found.heads is not None
    store.write_embeddings(
        args.output,
        image_id=[str(i) for i in usable["image_id"]],
        image_sha256=[str(s) for s in usable["sha256"]],
        embedding=found.embedding[rows],
        heads=found.heads[rows] if with_heads and found.heads is not None else None,
        head_basis=found.head_basis if with_heads else None,
        layers=found.layers[rows] if args.layers and found.layers is not None else None,
        attributes={
            "encoder": args.encoder,
            "image_set": args.image_set,
            "model": "precomputed",
            "source": args.source.name,
            "source_sha256": sha256_of(args.source),
            "embedding_size": int(found.embedding.shape[1]),
            "heads_missing": "" if with_heads else "none were taken over",
        },
    )
    log.info(
        "%s: %d images of %d numbers, %s head outputs",
        args.output,
        len(rows),
        found.embedding.shape[1],
        "with" if with_heads else "without",
    )
