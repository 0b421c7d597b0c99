"""Compute the logits of finished probes on all test images, from which all metrics are made.

Nothing is fitted. A generator that was used to select a feature set occurs in it neither as
training generator nor as image set. The file holds one row per probe and one column per image,
with the facts that later commands need: the source and family of each generator, and the group and
label of each image.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from clipsieve.cli.options import (
    add_generator_facts,
    add_image_sets,
    add_own_pair,
    add_row_names,
    words_by_generator,
)

HELP = "apply the probes of one family to all test images"

log = logging.getLogger("clipsieve")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    parser.epilog = (
        "example:\n  clipsieve transfer --features all.json --probes probes/all/*.npz \\\n"
        "    --embeddings e/*.h5 --splits s/*.parquet --run demo --encoder clip_b16 --seed 0 \\\n"
        '    --families \'{"biggan": "gan"}\' --sources \'{"biggan": "coco"}\' \\\n'
        "    --output scores/all.h5"
    )
    parser.add_argument(
        "--features", required=True, metavar="JSON", help="feature sets of the family"
    )
    parser.add_argument(
        "--probes", nargs="+", required=True, metavar="NPZ", help="finished probes of it"
    )
    add_image_sets(parser, "of every image set, sources too")
    add_generator_facts(parser)
    add_own_pair(parser, "apply to the test images of")
    add_row_names(parser, "run", "encoder", "seed", required=True)
    parser.add_argument("--output", required=True, metavar="H5", help="the scores")


def run(args: argparse.Namespace) -> None:
    """Apply, and write the scores."""
    from clipsieve.io.dataset import read_rows
    from clipsieve.io.feature_sets import read_feature_sets
    from clipsieve.io.probes import read_probes
    from clipsieve.io.roles import EVALUATION
    from clipsieve.io.scores import write_scores
    from clipsieve.probes.apply import score_images

    sources = words_by_generator(args.sources, "--sources")
    excluded = {
        # only the pair's own images, which no other evaluation may read
        item.feature_set: [name for name in sources if name not in (item.pair or ())]
        if args.own_pair
        else item.excluded
        for item in read_feature_sets(args.features)
    }
    probes = [probe for path in args.probes for probe in read_probes(path, twins=True, nested=True)]
    image_sets = (
        read_rows([embeddings], [splits], EVALUATION, f"transfer {Path(embeddings).stem}")
        for embeddings, splits in zip(args.embeddings, args.splits, strict=True)
    )
    scores = score_images(
        probes,
        image_sets,
        excluded,
        sources=sources,
        families=words_by_generator(args.families, "--families"),
        encoder=args.encoder,
        seed=args.seed,
        run=args.run,
    )
    write_scores(args.output, scores)
    log.info("transfer: %d probes, %d test images", len(probes), len(scores.images.label))
