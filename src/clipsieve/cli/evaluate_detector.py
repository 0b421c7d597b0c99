"""Measure a detector on labelled images of one's own, beside other detectors' scores.

The images are judged as clipsieve detect judges them. Metrics come with intervals from resampled
groups, for all images and by format, size and generator; a calibration plot and every image's
result are written beside them. Scores that other detectors gave the same images are read from CSV
files and stand in the same tables, compared on the images that all have scored.
"""

from __future__ import annotations

import argparse
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipsieve.cli.options import add_bootstrap, add_encoder_place, check_bootstrap, count
from clipsieve.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    from clipsieve.detector.benchmark import Candidate

HELP = "measure a detector on labelled images of one's own, beside other detectors"

log = logging.getLogger("clipsieve")

_REAL = ("1", "real", "nature", "photo", "photograph", "0_real", "reals")
_GENERATED = ("0", "generated", "fake", "ai", "synthetic", "1_fake", "fakes")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.epilog = (
        "example:\n  clipsieve evaluate-detector detector photos --labels folders --output found\n"
        "  clipsieve evaluate-detector detector photos --labels labels.csv \\\n"
        "    --scores univfd=univfd.csv sidbench=sidbench.csv --output found"
    )
    parser.add_argument("detector", type=Path, help="folder of clipsieve export")
    parser.add_argument("folder", type=Path, help="folder (or archive) of the images")
    parser.add_argument(
        "--labels", required=True, metavar="CSV",
        help="table with path (from the folder) and label (real or generated; 1 or 0), and group and"
        " generator where known; or folders: the nearest folder named real, fake or the like says it",
    )  # fmt: skip
    parser.add_argument(
        "--scores", nargs="+", default=[], metavar="NAME=CSV",
        help="other detectors' scores: path and score, large for generated; from 0 to 1 they are taken"
        " for probabilities (default: none)",
    )  # fmt: skip
    parser.add_argument(
        "--max-false-alarms", type=float, metavar="RATE",
        help="operating point of the verdicts (default: the detector's own band)",
    )  # fmt: skip
    parser.add_argument("--output", required=True, type=Path, help="folder to write to")
    add_bootstrap(parser, kinds=False)
    add_encoder_place(parser)
    parser.add_argument(
        "--batch-size", type=count, default=32, help="images per forward pass (default %(default)s)"
    )
    parser.add_argument(
        "--threads", type=count, default=None,
        help="threads that decode, and that compute (default: the cores this process may use)",
    )  # fmt: skip


def run(args: argparse.Namespace) -> None:
    """Judge, compare and write."""
    import numpy as np
    import pandas as pd

    from clipsieve.detector.benchmark import (
        calibration_curve,
        candidate_of_scores,
        evaluate_candidates,
        match_scores,
    )
    from clipsieve.io.files import replacing
    from clipsieve.report.figures.reliability import write_reliability

    check_bootstrap(args)
    labels = _folders(args.folder) if args.labels == "folders" else _table(args)
    others = _others(args.scores)
    images, candidate = _judged(args, labels)
    paths = images["path"].tolist()
    candidates = [candidate]
    for name, (file, scores) in others.items():
        own = match_scores(paths, scores, os.fspath(args.folder), file)
        missing = int(np.isnan(own).sum())
        if missing:
            log.warning("%s: no score of %d of %d images", file, missing, len(own))
        candidates.append(candidate_of_scores(name, own))
    metrics, differences = evaluate_candidates(
        images, candidates, resamples=args.resamples, confidence=args.confidence
    )
    label = images["label"].to_numpy()
    curves = {one.name: calibration_curve(one, label) for one in candidates if one.is_probability}
    args.output.mkdir(parents=True, exist_ok=True)
    bins = pd.DataFrame([row for curve in curves.values() for row in curve])
    for one in candidates[1:]:
        images[f"score_{one.name}"] = one.logits
    tables = {"metrics": metrics, "differences": differences, "calibration": bins}
    for name, table in {**tables, "images": images}.items():
        with replacing(args.output / f"{name}.csv") as temporary:
            table.to_csv(temporary, index=False)
    with replacing(args.output / "calibration.svg") as temporary:
        write_reliability(temporary, curves)
    for row in metrics[(metrics["subset"] == "all") & (metrics["metric"] == "auc")].itertuples():
        log.info(
            "%s: AUC %.3f (%.3f to %.3f) on %d real and %d generated images",
            row.detector, row.value, row.low, row.high, row.n_real, row.n_generated,
        )  # fmt: skip


def _judged(args: argparse.Namespace, labels: pd.DataFrame) -> tuple[pd.DataFrame, Candidate]:
    """Judge the labelled images; those that can't be used are left out, and named."""
    import numpy as np
    import pandas as pd

    from clipsieve.detector.benchmark import Candidate
    from clipsieve.detector.folder import read_detector
    from clipsieve.detector.judging import Judge, load_same_encoder
    from clipsieve.encoders.parallel import set_threads
    from clipsieve.images.containers import located

    model = read_detector(args.detector)
    model.band_at(args.max_false_alarms)
    threads = set_threads(args.threads)
    encoder = load_same_encoder(model, str(args.detector), weights=args.weights, device=args.device)
    results = list(
        Judge(model, encoder).stream(
            (os.fspath(located(args.folder, path)) for path in labels["path"]),
            batch_size=args.batch_size,
            workers=threads,
            max_false_alarms=args.max_false_alarms,
        )
    )
    found = pd.DataFrame(results).drop(columns=["path", "warnings"])
    images = pd.concat([labels.reset_index(drop=True), found], axis=1)
    bad = images[images["problem"].notna()]
    for row in bad.head(5).itertuples():
        log.warning("%s: %s", row.path, row.problem)
    if len(bad):
        log.warning("%d of %d images can't be used and are left out", len(bad), len(images))
    images = images[images["problem"].isna()].reset_index(drop=True)
    if images.empty:
        raise UserError(f"{args.folder}: no usable image among the {len(labels)} that have a label")
    images["verdict_is_right"] = images["verdict"] == np.where(
        images["label"] == 1, "real", "generated"
    )
    logits = images["logit"].to_numpy(dtype=np.float64)
    platt = model.calibration
    # of a detector that is worse than chance the curve is flat: only its own logits rank
    slope, offset = (platt.slope, platt.offset) if platt.slope > 0 else (1.0, 0.0)
    candidate = Candidate(
        "clipsieve",
        slope * logits + offset,
        slope * model.threshold + offset,
        images["verdict"].to_numpy(dtype=str),
    )
    return images, candidate


def _folders(folder: Path) -> pd.DataFrame:
    """Label images by the nearest folder that is named after a class."""
    import pandas as pd

    from clipsieve.images.containers import as_folders
    from clipsieve.images.listing import IMAGE_ENDINGS, list_files

    rows = []
    for path in list_files(folder):
        if Path(path).suffix.lower() not in IMAGE_ENDINGS:
            continue
        named = [
            label
            for part in as_folders(path).split("/")[:-1]
            if (label := _label(part)) is not None
        ]
        if named:
            rows.append({"path": path, "label": named[-1], "group": path})
    if not rows:
        raise UserError(
            f"--labels folders: no image in {folder} stands below a folder named"
            f" {', '.join(_REAL[1:])} or {', '.join(_GENERATED[1:])}"
        )
    return pd.DataFrame(rows)


def _label(text: str) -> int | None:
    from clipsieve.images.metadata import class_key

    key = class_key(text)
    return 1 if key in _REAL else 0 if key in _GENERATED else None


def _table(args: argparse.Namespace) -> pd.DataFrame:
    """Read labels from a table."""
    import pandas as pd

    table = _csv(Path(args.labels), "--labels", ("path", "label"))
    rows: list[dict[str, Any]] = []
    for number, row in enumerate(table.to_dict("records"), 2):
        label = _label(str(row["label"]))
        if label is None:
            raise UserError(
                f"{args.labels}: line {number}: label {row['label']!r}; allowed: real, generated, 1, 0"
            )
        path = str(row["path"])
        rows.append(
            {
                "path": path,
                "label": label,
                "group": str(row.get("group") or path),
                **({"generator": row["generator"] or None} if "generator" in row else {}),
            }
        )
    found = pd.DataFrame(rows)
    if found.empty:
        raise UserError(f"{args.labels}: no row")
    if found["path"].duplicated().any():
        raise UserError(f"{args.labels}: {found['path'][found['path'].duplicated()].iloc[0]} twice")
    return found


def _others(given: list[str]) -> dict[str, tuple[str, dict[str, float]]]:
    """Read other detectors' scores: name -> file, and path -> score."""
    found: dict[str, tuple[str, dict[str, float]]] = {}
    for text in given:
        name, equals, file = text.partition("=")
        if not (name and equals and file) or name == "clipsieve" or name in found:
            raise UserError(f"--scores {text}: write NAME=CSV, each name once and none clipsieve")
        table = _csv(Path(file), "--scores", ("path", "score"))
        scores: dict[str, float] = {}
        for number, row in enumerate(table.to_dict("records"), 2):
            try:
                score = float(str(row["score"]))
            except ValueError:
                raise UserError(
                    f"{file}: line {number}: score {row['score']!r} is no number"
                ) from None
            scores[str(row["path"])] = score
        found[name] = (file, scores)
    return found


def _csv(path: Path, option: str, needed: tuple[str, ...]) -> pd.DataFrame:
    import pandas as pd

    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except FileNotFoundError:
        raise UserError(f"{option} {path}: no such file") from None
    except (ValueError, OSError) as error:
        raise UserError(f"{option} {path}: not a CSV table ({error})") from None
    table.columns = [str(name).strip().lower() for name in table.columns]
    missing = [name for name in needed if name not in table.columns]
    if missing:
        raise UserError(
            f"{option} {path}: no column {missing[0]}; there are: {', '.join(table.columns)}"
        )
    return table
