"""Write the maps from an encoder's cached head outputs to other spaces.

Also checks the encoder: its weights, its activation, and that its parts rebuild its embedding.
"""

from __future__ import annotations

import argparse
import logging

from clipsieve.cli.options import add_spec

HELP = "check an encoder and write its head maps"

log = logging.getLogger("clipsieve")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.epilog = (
        "example:\n"
        '  clipsieve encoder --spec \'{"model": "ViT-B-16-quickgelu", "weights": "openai"}\' \\\n'
        "    --output encoders/clip_b16.h5"
    )
    add_spec(parser)
    parser.add_argument(
        "--encoder", default="encoder", help="id of the encoder, for messages (default %(default)s)"
    )
    parser.add_argument("--output", required=True, metavar="H5", help="the head maps")


def run(args: argparse.Namespace) -> None:
    """Load, check, and write."""
    from clipsieve.cli.options import json_object
    from clipsieve.encoders import load_encoder
    from clipsieve.io import store

    spec = json_object(args.spec, "--spec")
    if spec.get("embeddings") is not None:
        # what a user's own head outputs lead to is not known
        store.write_head_maps(
            args.output,
            head_basis=None,
            head_projection=None,
            attributes={"model": "precomputed", "heads_missing": "the embeddings were imported"},
        )
        log.info("encoder %s: embeddings of your own, no head maps", args.encoder)
        return
    encoder = load_encoder(spec)
    basis = projection = None
    if encoder.has_heads:
        basis, projection = encoder.head_basis(), encoder.head_projection()
    store.write_head_maps(
        args.output,
        head_basis=basis,
        head_projection=projection,
        attributes=encoder.attributes(),
    )
    log.info("encoder %s: %s", args.encoder, "heads" if basis is not None else "no head outputs")
