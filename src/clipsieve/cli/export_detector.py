"""Export finished probes as one file that judges single images.

The detector is the probe of one feature set trained on one generator, or several such probes whose
mean logit is judged. Its probability, its band of *unsure* and its expected accuracy come from
test images of generators that it was not trained on. The file says what it was trained on, so
`clipsieve detect` can warn about images of another kind.
"""

from __future__ import annotations

import argparse
import logging
from typing import TYPE_CHECKING, Any

from clipsieve.cli.options import add_image_sets
from clipsieve.config import default

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from clipsieve.io.dataset import Rows

HELP = "export finished probes as a detector for single images"

log = logging.getLogger("clipsieve")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.epilog = (
        "example:\n  clipsieve export-detector --probes probes/all/biggan.npz \\\n"
        "    --scores scores/all.h5 --embeddings e/biggan.h5 e/real.h5 \\\n"
        "    --splits s/biggan.parquet s/real.parquet --images i/biggan.parquet i/real.parquet \\\n"
        "    --output biggan.npz\n"
        "  clipsieve detect biggan.npz photo.jpg"
    )
    parser.add_argument(
        "--probes", nargs="+", required=True, metavar="NPZ",
        help="probe files of one family, one for each generator to be trained on",
    )  # fmt: skip
    parser.add_argument(
        "--feature-set", help="which of the files' feature sets (default: the only one)"
    )
    parser.add_argument(
        "--scores", nargs="+", required=True, metavar="H5", help="scores of that family"
    )
    add_image_sets(parser, "of the training generators and their sources")
    parser.add_argument(
        "--images", nargs="+", required=True, metavar="PARQUET",
        help="image tables of the training image sets",
    )  # fmt: skip
    parser.add_argument(
        "--weights",
        metavar="FILE",
        help="where the encoder's weights file will be found (default: as embedded)",
    )
    parser.add_argument(
        "--rate", type=float, default=0.05,
        help="largest share of real images called generated, and of generated called real; what"
        " can't be called at this rate is unsure; above 0, below 0.5 (default %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--align", metavar="JSON",
        help="method, size, format and quality by which the run aligned all images; judged ones are"
        " aligned, too (default: as they are)",
    )  # fmt: skip
    parser.add_argument(
        "--confidence",
        type=float,
        default=default("evaluation.confidence"),
        help="of intervals (default %(default)s)",
    )
    parser.add_argument(
        "--resamples",
        type=int,
        default=default("evaluation.resamples"),
        help="bootstrap resamples (default %(default)s)",
    )
    parser.add_argument("--output", required=True, metavar="NPZ", help="the detector")


def run(args: argparse.Namespace) -> None:
    """Gather, calibrate, and write."""
    import numpy as np

    from clipsieve import __version__
    from clipsieve.detector.evidence import gather_evidence
    from clipsieve.detector.model import (
        Detector,
        check_members,
        likeness,
        training_facts,
        write_detector,
    )
    from clipsieve.errors import UserError
    from clipsieve.io import store
    from clipsieve.io.dataset import read_rows
    from clipsieve.io.probes import read_probes
    from clipsieve.io.roles import FITTING
    from clipsieve.io.scores import read_scores

    if not 0 < args.rate < 0.5:
        raise UserError(f"--rate {args.rate}: above 0 and below 0.5")
    probes = [probe for path in args.probes for probe in read_probes(path) if probe.draw == 0]
    if args.feature_set is not None:
        probes = [probe for probe in probes if probe.feature_set == args.feature_set]
    check_members(probes)
    trains = [probe.train for probe in probes]
    rows = read_rows(args.embeddings, args.splits, FITTING, "detector")
    absent = sorted(set(trains) - set(rows.image_set.tolist()))
    if absent:
        raise UserError(f"detector: embeddings of {absent[0]}, which it is trained on, are needed")
    images = image_facts(args.images)
    scores = read_scores(args.scores)
    evidence = gather_evidence(
        scores, probes[0].feature_set, trains,
        rate=args.rate, resamples=args.resamples, confidence=args.confidence,
    )  # fmt: skip
    mean = rows.embedding.mean(axis=0, dtype=np.float64)
    training = training_facts(rows_of(images, rows))
    training["likeness"] = float(np.quantile(likeness(rows.embedding, mean), 0.001))
    facts = {
        "clipsieve_version": __version__,
        "run": scores.run,
        "seed": scores.seed,
        "encoder": encoder_facts(scores.encoder, store.read_attributes(args.embeddings[0]), args),
        "feature_set": probes[0].feature_set,
        "train": trains,
        "align": align_facts(args.align, rows_of(images, rows)) if args.align else None,
        "training": training,
        **evidence.facts,
    }
    detector = Detector(
        probes, evidence.threshold, evidence.calibration, evidence.band, facts, mean
    )
    write_detector(args.output, detector)
    expected = facts["expected"]["accuracy_at_val_threshold"]
    log.info(
        "detector %s trained on %s: accuracy %.3f on %d generators%s (worst %s)",
        facts["feature_set"], ", ".join(trains), expected["value"],
        len(facts["expected"]["per_generator"]),
        "" if facts["expected"]["held_out"] else ", which are those trained on",
        facts["expected"]["worst_generator"],
    )  # fmt: skip


def image_facts(paths: Sequence[str]) -> pd.DataFrame:
    """Read what is known of the files of several image sets."""
    import pandas as pd

    from clipsieve.io.tables import read_table

    columns = (
        "image_id", "label", "format", "mode", "width", "height", "bytes", "jpeg_quality",
    )  # fmt: skip
    return pd.concat([read_table(path, columns)[0] for path in paths], ignore_index=True)


def align_facts(text: str, training: pd.DataFrame) -> dict[str, Any]:
    """Return how judged images are aligned: the options, and the one factor where there was one."""
    from clipsieve.cli.options import json_object
    from clipsieve.errors import UserError

    align = json_object(text, "--align")
    if align.get("method", "resize") != "common_scale":
        return {**align, "scale": 1.0 if align.get("method") == "crop" else None}
    known = "align_scale" in training  # tables of an earlier version have no such column
    scales = sorted(set(training["align_scale"].dropna())) if known else []
    if len(scales) != 1:
        listed = ", ".join(f"{scale:.3g}" for scale in scales) or "none"
        raise UserError(
            f"detector: its training images were aligned at {listed} as common scales; one is needed:"
            " train on generators of one source"
        )
    return {**align, "scale": float(scales[0])}


def rows_of(images: pd.DataFrame, rows: Rows) -> pd.DataFrame:
    """Return the facts of exactly the images in `rows`."""
    from clipsieve.errors import UserError

    known = images.set_index("image_id")
    missing = [image for image in rows.image_id.tolist() if image not in known.index]
    if missing:
        raise UserError(f"detector: no image table has the training image {missing[0]}")
    return known.loc[rows.image_id]


def encoder_facts(
    encoder: str, attributes: dict[str, Any], args: argparse.Namespace
) -> dict[str, Any]:
    """Return what loads the encoder again, and what the loaded one must agree with."""
    from clipsieve.errors import UserError

    needed = ("spec", "weights_sha256", "encoder_version", "preprocessing", "versions")
    missing = [name for name in needed if name not in attributes]
    if missing:
        raise UserError(f"{args.embeddings[0]}: does not say its encoder's {missing[0]}")
    spec = dict(attributes["spec"])
    if args.weights:
        spec["weights"] = args.weights
    return {
        "encoder": encoder,
        **{name: attributes[name] for name in needed},
        "spec": spec,
        # How files become pictures; absent where embeddings were not made by `clipsieve embed`.
        "background": attributes.get("background"),
        "colour_profiles": attributes.get("colour_profiles", "ignore"),
        "decode_version": attributes.get("decode_version"),
    }
