"""Judge image files with an exported detector: generated, real, or unsure.

The images pass through the same decoding, preprocessing and encoder as those that it was trained
on; an encoder with different weights is refused. The probability is that of *generated*, and it
assumes that both labels are equally common. A verdict is given only where the detector was right
often enough on generators that it had not seen; otherwise it is *unsure*. A file unlike the
training images gets a warning. Prints one line per file to standard output, and the detector's own
facts to standard error.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clipsieve.detector.model import Detector

HELP = "judge images with an exported detector"

log = logging.getLogger("clipsieve")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.epilog = (
        "example:\n  clipsieve detect biggan.npz photo.jpg painting.png\n"
        "  clipsieve detect biggan.npz --json folder > verdicts.json"
    )
    parser.add_argument("detector", help="file of clipsieve export-detector")
    # At least one, so that options may appear between detector and images; --describe needs none.
    images = parser.add_argument(
        "images",
        nargs="+",
        metavar="IMAGE",
        help="image files, folders of them, or tars, zips and parquet files (x.zip, x.zip!a.png)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document instead")
    parser.add_argument(
        "--describe", action=_Describe, images=images, default=False,
        help="print what the detector is, as JSON, and stop",
    )  # fmt: skip
    parser.add_argument(
        "--weights", metavar="FILE", help="file of the encoder's weights, where it has moved"
    )
    parser.add_argument(
        "--device", choices=["auto", "cpu", "cuda"], default="auto",
        help="where the encoder runs (default %(default)s: cuda where there is one)",
    )  # fmt: skip
    parser.add_argument(
        "--batch-size", type=int, default=32, help="images per forward pass (default %(default)s)"
    )


class _Describe(argparse.Action):
    """A flag with which no image is needed."""

    def __init__(self, *args: Any, images: argparse.Action, **options: Any) -> None:
        super().__init__(*args, **{**options, "nargs": 0})
        self.images = images

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        self.images.required = False
        namespace.describe = True


def run(args: argparse.Namespace) -> None:
    """Judge, and print."""
    from clipsieve.detector.model import read_detector
    from clipsieve.errors import UserError

    detector = read_detector(args.detector)
    if args.describe:
        print(json.dumps(description(detector), indent=2, sort_keys=True))
        return
    if args.batch_size < 1:
        raise UserError(f"--batch-size {args.batch_size}: at least 1")
    paths = list(image_paths(args.images))
    if not paths:
        raise UserError("no image given (clipsieve detect DETECTOR IMAGE ..)")
    encoder = load_same_encoder(detector, args)
    for line in detector_warnings(detector):
        log.warning("%s", line)
    results = []
    for start in range(0, len(paths), args.batch_size):
        part = judge_files(detector, encoder, paths[start : start + args.batch_size])
        results += part
        if not args.json:
            for result in part:
                print(as_text(result), flush=True)
    if args.json:
        document = {"detector": description(detector), "images": results}
        print(json.dumps(document, indent=2, sort_keys=True))
    bad = [result for result in results if result["problem"] is not None]
    if bad:
        raise UserError(
            f"{len(bad)} of {len(results)} files are not usable images (first: {bad[0]['path']}:"
            f" {bad[0]['problem']})"
        )


def image_paths(given: list[str]) -> Iterator[Path]:
    """Yield the files given, and in place of a folder or container its files, as the scan sees them."""
    from clipsieve.errors import UserError
    from clipsieve.images.containers import is_container, located
    from clipsieve.images.listing import list_files

    for name in given:
        if not name:  # Path("") is the working directory
            raise UserError("an image argument is empty")
        path = Path(name)
        if path.is_dir() or (is_container(path) and path.is_file()):
            yield from (located(path, inside) for inside in list_files(path))
        else:
            yield path


def load_same_encoder(detector: Detector, args: argparse.Namespace) -> Any:
    """Load the encoder that the detector was trained on, and refuse another."""
    from clipsieve.encoders import load_encoder
    from clipsieve.errors import UserError
    from clipsieve.images.decode import DECODE_VERSION

    facts = detector.facts["encoder"]
    spec = dict(facts["spec"], device=args.device)
    if args.weights:
        spec["weights"] = args.weights
    encoder = load_encoder(spec)
    identity = encoder.identity
    for name in ("weights_sha256", "preprocessing", "encoder_version"):
        # JSON turns tuples into lists.
        found = json.loads(json.dumps(identity[name]))
        if found != facts[name]:
            hint = " (--weights names another file)" if name == "weights_sha256" else ""
            raise UserError(
                f"{args.detector}: trained on the encoder with {name} {facts[name]}, the one loaded"
                f" has {found}{hint}"
            )
    if facts["decode_version"] not in (None, DECODE_VERSION):
        raise UserError(
            f"{args.detector}: trained on images of decoder version {facts['decode_version']}, this"
            f" is {DECODE_VERSION}; export it again"
        )
    if identity["versions"] != facts["versions"]:
        log.info("other library versions than at training: %s", identity["versions"])
    if detector.needs_heads and not encoder.has_heads:
        raise UserError(f"{args.detector}: needs head outputs; {encoder.heads_missing}")
    return encoder


def judge_files(detector: Detector, encoder: Any, paths: list[Path]) -> list[dict[str, Any]]:
    """Judge some files; one that is not a usable image gets its `problem` instead of a verdict."""
    import torch

    from clipsieve.detector.model import file_warnings
    from clipsieve.images.align import aligned
    from clipsieve.images.decode import ImageProblem, decode
    from clipsieve.images.facts import FileFacts, file_facts

    # Behind transparent pixels, as at training.
    colour = detector.facts["encoder"]["background"] or (255, 255, 255)
    background = (int(colour[0]), int(colour[1]), int(colour[2]))
    profiles = detector.facts["encoder"].get("colour_profiles", "ignore")
    align = detector.facts.get("align")
    results: list[dict[str, Any]] = []
    pixels, kept, facts_of = [], [], []
    for path in paths:
        # a name that is not UTF-8 could not be printed
        shown = os.fsencode(path).decode(errors="backslashreplace")
        results.append({"path": shown, "problem": None})
        facts: FileFacts = file_facts(path)
        problem = facts.problem
        if problem is None:
            try:
                image = decode(path, background=background, profiles=profiles)
                if align:
                    image = decode(
                        aligned(
                            image, size=align["size"], file_format=align["format"],
                            quality=align["quality"], scale=align.get("scale"),
                        )
                    )  # fmt: skip
                # Only what the encoder sees is kept: a folder of large photographs fits in memory.
                pixels.append(encoder.preprocess(image))
                kept.append(results[-1])
                facts_of.append(facts)
            except ImageProblem as error:
                problem = error.reason
        results[-1]["problem"] = problem
    if not pixels:
        return results
    embeddings, heads = encoder.encode_pixels(torch.stack(pixels))
    basis = encoder.head_basis() if detector.needs_heads else None
    verdicts = detector.judge(detector.logits(embeddings, heads, basis))
    likeness = detector.likeness(embeddings)
    training = detector.facts["training"]
    for result, verdict, facts, like in zip(kept, verdicts, facts_of, likeness, strict=True):
        # what is brought to one size and format may have had any
        warnings = [] if align else file_warnings(vars(facts), training)
        if like < training["likeness"]:
            warnings.append(
                f"the picture is unlike the training images (cosine {like:.2f} with their mean,"
                f" theirs {training['likeness']:.2f} and more)"
            )
        result.update(verdict, warnings=warnings)
    return results


def as_text(result: dict[str, Any]) -> str:
    """Return one file's line, with a line below for each warning."""
    if result["problem"] is not None:
        return f"-      no image   {result['path']}\n    problem: {result['problem']}"
    line = f"{result['probability_generated']:.3f}  {result['verdict']:9}  {result['path']}"
    return "\n".join([line, *(f"    warning: {text}" for text in result["warnings"])])


def detector_warnings(detector: Detector) -> list[str]:
    """Return what a reader of any verdict must know of the detector itself."""
    facts, found = detector.facts, []
    if facts["encoder"]["spec"]["weights"] is None:
        found.append("the encoder has random weights: its verdicts mean nothing")
    if not facts["expected"]["held_out"]:
        found.append("no generator was held out: accuracy on new generators is not known")
    expected = facts["expected"]["accuracy_at_val_threshold"]
    interval = ""
    if expected["low"] is not None:
        interval = f" ({expected['low']:.2f} to {expected['high']:.2f})"
    found.append(
        f"detector {facts['feature_set']} trained on {', '.join(facts['train'])}: accuracy"
        f" {expected['value']:.2f}{interval} on {len(facts['expected']['per_generator'])}"
        " generators"
    )
    training = facts["training"]
    if len(training["formats"]) > 1 and any(0 in c.values() for c in training["formats"].values()):
        found.append("in training, the file format separated the labels: it may be a shortcut")
    return found


def description(detector: Detector) -> dict[str, Any]:
    """Return the detector's facts with its threshold, calibration and band, JSON-able."""
    import math

    from clipsieve.detector.model import LABELS

    ends = {"low": detector.band.low, "high": detector.band.high}
    return {
        **detector.facts,
        "labels": LABELS,
        "threshold": detector.threshold,
        "platt": {"slope": detector.calibration.slope, "offset": detector.calibration.offset},
        "unsure_between": {k: v if math.isfinite(v) else None for k, v in ends.items()},
        "note": "probability_generated takes both labels as equally common; logits are large for"
        " real images; the verdict is unsure between the two logits of unsure_between",
    }
