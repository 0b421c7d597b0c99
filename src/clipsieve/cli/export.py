"""Make a detector of single images from a run: a folder with arrays, description and model card.

The detector is the mean logit of finished probes of one feature set, by default one for each
generator of the run; nothing is fitted again. Every generator is judged by the probes that were not
trained on it, so the numbers on the card are those of new generators. The threshold is cross-fitted
by group on train and val; operating points and their rates are cross-fitted by group on test.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipsieve.config import default

if TYPE_CHECKING:
    import pandas as pd

    from clipsieve.detector.held_out import HeldOut
    from clipsieve.detector.model import Model
    from clipsieve.detector.training_material import TrainingMaterial
    from clipsieve.io.probes import StoredProbe
    from clipsieve.io.scores import AllScores

HELP = "make a detector of single images from a run"

log = logging.getLogger("clipsieve")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.epilog = (
        "example:\n  clipsieve export results/demo --best --output detector\n"
        "  clipsieve export results/demo --encoder clip_b16 --feature-set all --train glide \\\n"
        "    --output glide\n"
        "  clipsieve detect detector photo.jpg"
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a run, as results/demo")
    chosen = parser.add_mutually_exclusive_group(required=True)
    chosen.add_argument(
        "--best",
        action="store_true",
        help="the feature set with the best mean AUC on left-out generators; the card says what this"
        " choice flatters",
    )
    chosen.add_argument("--feature-set", help="which feature set, as all or components/A--B")
    parser.add_argument("--encoder", help="id of the encoder (default: the only one of the run)")
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the splits (default %(default)s)"
    )
    parser.add_argument(
        "--train", nargs="+", metavar="GENERATOR",
        help="generators whose probes make the detector, or one training set of the run (default:"
        " every generator with a probe of the feature set)",
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
        help="method, size, format and quality by which the run aligned all images, or null; judged"
        " ones are aligned, too (default: what the run's config.json says)",
    )  # fmt: skip
    parser.add_argument(
        "--texts", nargs="*", metavar="H5",
        help="embedded texts for words in explanations (default: every list of the run with at most"
        " 2,000 texts)",
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
    parser.add_argument("--output", required=True, type=Path, help="folder of the detector")


def run(args: argparse.Namespace) -> None:
    """Gather, calibrate, and write."""
    from clipsieve.detector.evidence import gather_evidence
    from clipsieve.detector.folder import write_detector
    from clipsieve.detector.held_out import held_out_logits
    from clipsieve.detector.model import Model, check_members
    from clipsieve.detector.model_card import card_of
    from clipsieve.detector.training_material import TrainingMaterial, nearest_to_detector
    from clipsieve.errors import UserError
    from clipsieve.families import family_of

    if not 0 < args.rate < 0.5:
        raise UserError(f"--rate {args.rate}: above 0 and below 0.5")
    base = _encoder_folder(args)
    choice = None
    if args.best:
        choice = _best(base, args.train)
        args.feature_set = choice["best"]
        log.info("best feature set: %s", args.feature_set)
    family = family_of(args.feature_set)
    scores = _scores(base, family)
    probes = _probes(base / "probes" / family, args.feature_set, args.train, scores)
    check_members(probes)
    trains = [probe.train for probe in probes]
    members = [name for probe in probes for name in probe.members]
    found = held_out_logits(scores, args.feature_set, trains, members)
    source_of = dict(zip(scores.images.image_set, scores.images.source, strict=True))
    material = TrainingMaterial(
        args.run, args.seed, args.encoder, members or trains, source_of, args.texts
    )
    evidence = gather_evidence(
        scores, found,
        rate=args.rate, resamples=args.resamples, confidence=args.confidence,
    )  # fmt: skip
    facts = _facts(args, scores, probes, members, material) | evidence.facts
    facts["choice"] = choice
    model = Model(
        probes, evidence.threshold, evidence.calibration, evidence.band, evidence.points, facts,
        material.mean, material.reference,
    )  # fmt: skip
    facts["words"] = nearest_to_detector(model, material, draws=default("interpretation.draws"))
    write_detector(args.output, model, card_of(model))
    _say(args.output, model, found)


def _say(output: Path, model: Model, found: HeldOut) -> None:
    facts = model.facts
    expected = facts["expected"]["accuracy_at_val_threshold"]
    log.info(
        "%s: %s trained on %s: accuracy %.3f on %d generators%s (worst %s)",
        output, facts["feature_set"], ", ".join(facts["members"] or facts["train"]),
        expected["value"], len(facts["expected"]["per_generator"]),
        ", each left out in turn" if found.held_out else ", which are those trained on",
        facts["expected"]["worst_generator"],
    )  # fmt: skip


def _encoder_folder(args: argparse.Namespace) -> Path:
    """Return the folder of the run's encoder and seed."""
    from clipsieve.errors import UserError

    seed = args.run / f"seed{args.seed}"
    if not seed.is_dir():
        raise UserError(f"{args.run}: no run with the seed {args.seed} (no folder {seed.name})")
    known = sorted(path.parent.name for path in seed.glob("*/scores"))
    if args.encoder is None:
        if len(known) != 1:
            raise UserError(
                f"--encoder: which one? {args.run} has scores of: {', '.join(known) or 'none yet'}"
            )
        args.encoder = known[0]
    if args.encoder not in known:
        raise UserError(
            f"--encoder {args.encoder}: {args.run} has scores of: {', '.join(known) or 'none yet'}"
        )
    return Path(seed / args.encoder)


def _scores(base: Path, family: str) -> AllScores:
    from clipsieve.errors import UserError
    from clipsieve.io.scores import read_scores

    path = base / "scores" / f"{family}.h5"
    if not path.is_file():
        known = sorted(found.stem for found in path.parent.glob("*.h5"))
        raise UserError(f"--feature-set: no scores of the family {family}; of: {', '.join(known)}")
    return read_scores([path])


def _probes(
    folder: Path, feature_set: str, train: Sequence[str] | None, scores: AllScores
) -> list[StoredProbe]:
    """Read the probes of a feature set that were trained on these generators, or on all."""
    from clipsieve.errors import UserError
    from clipsieve.io.probes import read_probes

    if train is None:
        mine = [s for s in scores.scores if s.feature_set == feature_set and s.draw == 0]
        train = mine[0].train if mine else []
    found = []
    for name in train:
        path = folder / f"{name}.npz"
        if not path.is_file():
            known = ", ".join(sorted(p.stem for p in folder.glob("*.npz"))) or "none yet"
            raise UserError(f"--train {name}: no such probe; there are: {known}")
        own = [p for p in read_probes(path) if p.feature_set == feature_set and p.draw == 0]
        if not own:
            raise UserError(f"--train {name}: no probe of {feature_set} in {path}")
        found += own
    if not found:
        known = ", ".join(sorted({s.feature_set for s in scores.scores if s.draw == 0}))
        raise UserError(f"--feature-set {feature_set}: not in this run; there are: {known}")
    if len(found) > 1 and any(probe.members for probe in found):
        raise UserError("--train: generators, or one training set alone")
    return found


def _best(base: Path, train: Sequence[str] | None) -> dict[str, Any]:
    """Choose among the methods of the run by AUC on left-out generators."""
    from dataclasses import asdict

    import numpy as np

    from clipsieve import families
    from clipsieve.detector.choice import choose
    from clipsieve.detector.held_out import held_out_logits, stacked
    from clipsieve.errors import UserError
    from clipsieve.evaluation.metrics import cell_metrics

    aucs: dict[str, dict[str, float]] = {}
    for family in families.METHODS:
        if not (base / "scores" / f"{family}.h5").is_file():
            continue
        scores = _scores(base, family)
        for one in scores.scores:
            if one.draw != 0:
                continue
            trains = [name for name in train or one.train if name in one.train]
            if len(trains) < 2 or (train and len(trains) < len(train)):
                continue
            found = held_out_logits(scores, one.feature_set, trains)
            z, real, sets, _ = stacked(found, scores)
            aucs[one.feature_set] = {}
            for name in found.tested:
                mine = (sets == name) | np.char.endswith(sets, f" for {name}")
                auc = cell_metrics(z[mine], real[mine].astype(np.int64))["auc"][0]
                aucs[one.feature_set][name] = float(auc)
    if not aucs:
        raise UserError(
            "--best: no feature set of the run has probes of two generators or more; name one with"
            " --feature-set"
        )
    return asdict(choose(aucs))


def _facts(
    args: argparse.Namespace,
    scores: AllScores,
    probes: Sequence[StoredProbe],
    members: Sequence[str],
    material: TrainingMaterial,
) -> dict[str, Any]:
    """Return what the detector says of its training and encoder."""
    from clipsieve import __version__
    from clipsieve.detector.calibration import balanced_weights
    from clipsieve.detector.file_rule import fit_file_rule

    rows = material.rows
    weights = balanced_weights(rows.image_set, rows.label == 1)
    return {
        "clipsieve_version": __version__,
        "run": scores.run,
        "seed": scores.seed,
        "encoder": _encoder_facts(args, material.attributes),
        "feature_set": probes[0].feature_set,
        "columns": _columns(probes[0]),
        "train": [probe.train for probe in probes],
        "members": list(members),
        "sources": material.sources,
        "align": _align(args, material.train),
        "training": material.facts,
        "file_rule": fit_file_rule(material.train, weights, material.test),
    }


def _columns(probe: StoredProbe) -> str:
    """Say in words what a probe sees."""
    kind = "columns of the embedding"
    if probe.space == "heads":
        kind = "attention heads"
    elif probe.space == "residual":
        kind = "columns, as a cosine with the residual"
    elif probe.space == "beside":
        kind = "attention heads beside all columns of the embedding"
    return f"all {kind}" if probe.columns is None else f"{len(probe.columns)} {kind}"


def _align(args: argparse.Namespace, training: pd.DataFrame) -> dict[str, Any] | None:
    """Return how judged images are aligned: the options, and the one factor where there was one."""
    from clipsieve.cli.options import json_object
    from clipsieve.errors import UserError

    if args.align is None:
        path = args.run / "config.json"
        if not path.is_file():
            raise UserError(f"{path}: no such file; say with --align how the run aligned images")
        align = json_object(f"@{path}", str(path)).get("align")
    else:
        align = None if args.align.strip() == "null" else json_object(args.align, "--align")
    if not align:
        return None
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


def _encoder_facts(args: argparse.Namespace, attributes: dict[str, Any]) -> dict[str, Any]:
    """Return what loads the encoder again, and what the loaded one must agree with."""
    from clipsieve.errors import UserError

    needed = ("spec", "weights_sha256", "encoder_version", "preprocessing", "versions")
    missing = [name for name in needed if name not in attributes]
    if missing:
        raise UserError(
            f"the embeddings of {args.encoder}: do not say their encoder's {missing[0]}"
        )
    spec = dict(attributes["spec"])
    if args.weights:
        spec["weights"] = args.weights
    return {
        "encoder": args.encoder,
        **{name: attributes[name] for name in needed},
        "spec": spec,
        # How files become pictures; absent where embeddings were not made by `clipsieve embed`.
        "background": attributes.get("background"),
        "colour_profiles": attributes.get("colour_profiles", "ignore"),
        "decode_version": attributes.get("decode_version"),
    }
