"""Judge image files with an exported detector: generated, real, or unsure.

The images pass through the same decoding, preprocessing and encoder as those that it was trained
on; an encoder with different weights is refused. The probability is that of *generated*, and it
assumes that both labels are equally common. A verdict is given only where the detector was right
often enough on generators that it had not seen; otherwise it is *unsure*. A file unlike the
training images gets a warning. Results go to standard output as they come, one for each file, and
the detector's own facts to standard error.

Exit status: 0 if every file was judged, 3 if a file is not a usable image (the others are judged),
1 if --fail-on is given and such a verdict occurred, 2 after a mistake.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import time
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from clipsieve.cli.options import add_encoder_place, count
from clipsieve.cli.progress import Pace

if TYPE_CHECKING:
    from io import BufferedReader

    from clipsieve.detector.model import Model

HELP = "judge images with an exported detector"

log = logging.getLogger("clipsieve")

#: Exit statuses beside 0 and 2.
FOUND, UNUSABLE = 1, 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.epilog = (
        "example:\n  clipsieve detect detector photo.jpg painting.png\n"
        "  clipsieve detect detector --json folder archive.zip > verdicts.jsonl\n"
        "  find photos -name '*.jpg' | clipsieve detect detector - --output verdicts.parquet\n"
        "  clipsieve detect detector --explain --html why.html photo.jpg"
    )
    parser.add_argument("detector", type=Path, help="folder of clipsieve export")
    # At least one, so that options may appear between detector and images; --describe needs none.
    images = parser.add_argument(
        "images",
        nargs="+",
        metavar="IMAGE",
        help="image files, folders, tars, zips and parquet files (x.zip, x.zip!a.png), patterns, or -"
        " for a list of them on standard input, one a line",
    )
    parser.add_argument(
        "--null", action="store_true", help="names on standard input end with a zero byte"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print one JSON object a line")
    form.add_argument("--csv", action="store_true", help="print CSV")
    parser.add_argument(
        "--output", type=Path, metavar="FILE",
        help="write results there instead (.jsonl, .csv or .parquet); the same command resumes after it"
        " was stopped",
    )  # fmt: skip
    parser.add_argument(
        "--max-false-alarms", type=float, metavar="RATE",
        help="largest share of real images called generated, one of the detector's operating points,"
        " as 0.01 (default: the detector's own band)",
    )  # fmt: skip
    parser.add_argument(
        "--fail-on", choices=("generated", "unsure"),
        help="exit with status 1 if an image is called generated (or, with unsure, is not called real);"
        " default: verdicts have no influence",
    )  # fmt: skip
    parser.add_argument(
        "--explain", action="store_true",
        help="say what moved each score: heads, components, patches, words, nearest training images",
    )  # fmt: skip
    parser.add_argument(
        "--html", type=Path, metavar="FILE",
        help="write the explanation of one image as a page (with --explain; default: none)",
    )  # fmt: skip
    parser.add_argument(
        "--shard", metavar="K/N",
        help="judge only the files of part K of N, 0 to N - 1, divided by their names (default: all)",
    )  # fmt: skip
    parser.add_argument(
        "--ignore-unusable", action="store_true",
        help="exit with status 0 even if a file is not a usable image; its row says so",
    )  # fmt: skip
    parser.add_argument(
        "--gather", action=_WithoutImages, images=images, nargs="+", metavar="PARQUET",
        help="instead of judging, join results of parts into --output (default: judge)",
    )  # fmt: skip
    parser.add_argument(
        "--describe", action=_WithoutImages, images=images, nargs=0, default=False,
        help="print what the detector is, as JSON, and stop",
    )  # fmt: skip
    add_encoder_place(parser)
    parser.add_argument(
        "--batch-size", type=count, default=32, help="images per forward pass (default %(default)s)"
    )
    parser.add_argument(
        "--threads", type=count, default=None,
        help="threads that decode, and that compute (default: the cores this process may use)",
    )  # fmt: skip


class _WithoutImages(argparse.Action):
    """An option with which no image is needed."""

    def __init__(self, *args: Any, images: argparse.Action, **options: Any) -> None:
        super().__init__(*args, **options)
        self.images = images

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        self.images.required = False
        setattr(namespace, self.dest, values or True)


def run(args: argparse.Namespace) -> int:
    """Judge, and print; return the exit status."""
    from clipsieve.detector.folder import identity_of, read_description, read_detector
    from clipsieve.detector.results import Journal, gather_parquets, writer
    from clipsieve.errors import UserError

    if args.describe:
        print(json.dumps(read_description(args.detector), indent=2, sort_keys=True))
        return 0
    if args.gather:
        if args.output is None or args.output.suffix != ".parquet":
            raise UserError("--gather: needs --output FILE.parquet")
        rows = gather_parquets(map(Path, args.gather), args.output)
        log.info("%s: %d images", args.output, rows)
        return 0
    if not args.images:
        raise UserError("no image given (clipsieve detect DETECTOR IMAGE ..)")
    if args.html and not args.explain:
        raise UserError("--html: only with --explain")
    if args.output and (args.json or args.csv or args.explain):
        raise UserError("--output: not with --json, --csv or --explain; its ending decides")
    # Pillow says of damaged files what their rows say
    warnings.filterwarnings("ignore", module="PIL")
    model = read_detector(args.detector)
    model.band_at(args.max_false_alarms)
    shard = _shard(args.shard)
    paths = _paths(args, shard)
    if args.explain:
        return _explain(args, model, paths)
    if args.output is None:
        write = writer(sys.stdout, "json" if args.json else "csv" if args.csv else "text")
        return _judge(args, model, paths, write)
    note = {
        "detector": identity_of(args.detector),
        "max_false_alarms": args.max_false_alarms,
        "shard": args.shard,
    }
    with Journal(args.output, note) as journal:
        status = _judge(args, model, journal.left_of(paths), journal.add, done=journal.counts)
        journal.finish()
    log.info("%s: %d images", args.output, sum(journal.counts.values()))
    return status


def _judge(
    args: argparse.Namespace,
    model: Model,
    paths: Iterable[str],
    write: Any,
    done: dict[str, int] | None = None,
) -> int:
    """Judge the files and hand each result on; return the exit status."""
    from clipsieve.detector.judging import Judge, load_same_encoder
    from clipsieve.detector.model import cautions
    from clipsieve.encoders.parallel import set_threads

    threads = set_threads(args.threads)
    encoder = load_same_encoder(model, str(args.detector), weights=args.weights, device=args.device)
    for line in cautions(model):
        log.warning("%s", line)
    counts: dict[str, int] = {} if done is None else done
    first_bad = None
    pace, started = Pace(), time.monotonic()
    stream = Judge(model, encoder).stream(
        paths,
        batch_size=args.batch_size,
        workers=threads,
        max_false_alarms=args.max_false_alarms,
    )
    for judged, result in enumerate(stream, 1):
        write(result)
        kind = "problem" if result["problem"] is not None else result["verdict"]
        counts[kind] = counts.get(kind, 0) + 1
        if result["problem"] is not None and first_bad is None:
            first_bad = result
        if pace.due():
            rate = judged / max(time.monotonic() - started, 1e-9)
            log.info("%d images judged, %.1f a second", judged, rate)
    if first_bad is not None:
        print(
            f"clipsieve detect: {counts['problem']} of {sum(counts.values())} files are not usable images"
            f" (first: {first_bad['path']}: {first_bad['problem']})",
            file=sys.stderr,
        )
    return _status(args, counts)


def _status(args: argparse.Namespace, counts: dict[str, int]) -> int:
    kinds = {None: (), "generated": ("generated",), "unsure": ("generated", "unsure")}
    failing = kinds[args.fail_on]
    if any(counts.get(kind) for kind in failing):
        return FOUND
    return UNUSABLE if counts.get("problem") and not args.ignore_unusable else 0


def _explain(args: argparse.Namespace, model: Model, paths: Iterable[str]) -> int:
    """Explain images one by one."""
    from clipsieve.detector.explanation import as_text, explain
    from clipsieve.detector.judging import Judge, load_same_encoder
    from clipsieve.detector.model import cautions
    from clipsieve.detector.pictures import shown
    from clipsieve.detector.results import as_line
    from clipsieve.encoders.parallel import set_threads
    from clipsieve.errors import UserError
    from clipsieve.images.decode import ImageProblem

    given = list(paths) if args.html else paths
    if isinstance(given, list) and len(given) != 1:
        raise UserError(f"--html: one image makes one page; {len(given)} are given")
    set_threads(args.threads)
    judge = Judge(
        model,
        load_same_encoder(model, str(args.detector), weights=args.weights, device=args.device),
    )
    for line in cautions(model):
        log.warning("%s", line)
    counts: dict[str, int] = {}
    for path in given:
        try:
            found = explain(judge, path, args.max_false_alarms)
        except ImageProblem as problem:
            counts["problem"] = counts.get("problem", 0) + 1
            result = {"path": shown(path), "problem": problem.reason}
            print(json.dumps(result) if args.json else as_line(result), flush=True)
            continue
        verdict = found.result["verdict"]
        counts[verdict] = counts.get(verdict, 0) + 1
        result = {"path": shown(path), **found.result}
        if args.json:
            print(json.dumps({**found.as_dict(), "result": result}), flush=True)
        else:
            print(as_line(result), as_text(found), sep="\n", flush=True)
        if args.html:
            from clipsieve.detector.explanation_page import write_page

            write_page(args.html, judge, path, found, cautions(model))
            log.info("%s", args.html)
    return _status(args, counts)


def _paths(args: argparse.Namespace, shard: tuple[int, int] | None) -> Iterator[str]:
    """Yield the files to judge, in order, as they are needed."""
    from zlib import crc32

    from clipsieve.detector.pictures import find_images

    for path in find_images(_given(args)):
        if shard is None or crc32(os.fsencode(path)) % shard[1] == shard[0]:
            yield path


def _given(args: argparse.Namespace) -> Iterator[str]:
    for name in args.images:
        if name == "-":
            yield from _lines(b"\0" if args.null else b"\n")
        else:
            yield name


def _lines(end: bytes) -> Iterator[str]:
    """Read names from standard input as they come; any bytes but the end are part of a name."""
    rest = b""
    while block := cast("BufferedReader", sys.stdin.buffer).read1(1 << 16):
        *names, rest = (rest + block).split(end)
        for name in names:
            name = name.removesuffix(b"\r") if end == b"\n" else name
            if name:
                yield os.fsdecode(name)
    if rest:
        yield os.fsdecode(rest)


def _shard(text: str | None) -> tuple[int, int] | None:
    from clipsieve.errors import UserError

    if text is None:
        return None
    part, _, parts = text.partition("/")
    if not (part.isdigit() and parts.isdigit() and int(part) < int(parts)):
        raise UserError(f"--shard {text}: write K/N with K from 0 to N - 1")
    return int(part), int(parts)
