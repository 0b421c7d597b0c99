"""Embed an image set: the embedding of every image, head outputs where there are, layers if asked for.

Images are decoded and preprocessed ahead of the forward pass, in memory that does not grow with
the set. Finished parts are kept in --shards, found by the sha256 of each image: a run that was
killed resumes where it stopped and ends with the same file, and if images are added to a set, only
these are embedded. Images with a problem are left out, each with a row in --problems.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipsieve.cli.options import add_profiles, add_spec, json_object
from clipsieve.cli.progress import Pace
from clipsieve.config import default
from clipsieve.errors import UserError
from clipsieve.io.tables import read_table
from clipsieve.versions import EMBED

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from clipsieve.encoders.encoder import Encoder
    from clipsieve.encoders.pipeline import Job
    from clipsieve.encoders.shards import ShardCache

HELP = "embed an image set, with head outputs; resumes, and embeds only new images"

log = logging.getLogger("clipsieve")

_COLUMNS = ("image_id", "path", "sha256", "problem")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--images",
        type=Path,
        required=True,
        metavar="PARQUET",
        help="image table of the set (columns image_id, path, sha256, problem)",
    )
    parser.add_argument(
        "--data-root", type=Path, required=True, help="folder that the paths are relative to"
    )
    parser.add_argument("--image-set", required=True, help="id of the image set")
    parser.add_argument("--encoder", required=True, help="id of the encoder")
    add_spec(parser)
    parser.add_argument(
        "--batch-size",
        type=int,
        default=default("embed.batch_size"),
        help="images per forward pass (default %(default)s)",
    )
    parser.add_argument(
        "--workers", type=int, default=None, help="decoding threads (default: as --threads)"
    )
    parser.add_argument(
        "--decoder",
        choices=("threads", "processes"),
        default=default("embed.decoder"),
        help="what decodes images; the pixels are the same (default %(default)s)",
    )
    parser.add_argument(
        "--channels-last",
        action="store_true",
        help="lay convolutions out for tensor cores; moves an embedding by less than 1e-5 of its"
        " length in float32, which is checked (default: no)",
    )
    parser.add_argument(
        "--compile",
        action="store_true",
        help="compile the tower, for embeddings without head outputs and layers; checked in the same"
        " way (default: no)",
    )
    parser.add_argument(
        "--threads",
        type=int,
        default=None,
        help="threads of the forward pass (default: the cores this process may use)",
    )
    parser.add_argument(
        "--on-problem",
        choices=("error", "skip"),
        default=default("embed.on_problem"),
        help="stop at an image that can't be decoded, or leave it out (default %(default)s)",
    )
    parser.add_argument(
        "--heads-dtype",
        choices=("float32", "float16", "none"),
        help="type of the head outputs in the file, which the encoder must then have; none leaves them"
        " out (default: float32 where the encoder has them)",
    )
    parser.add_argument(
        "--layers-dtype",
        choices=("float32", "float16", "none"),
        default="none",
        help="type of the CLS token, or of the pooled tokens, after every block, for the family layers;"
        " none leaves them out (default %(default)s)",
    )
    parser.add_argument(
        "--background",
        default="255,255,255",
        metavar="R,G,B",
        help="colour behind transparent pixels, 0 to 255 each (default: white)",
    )
    add_profiles(parser)
    parser.add_argument(
        "--part",
        nargs=2,
        type=int,
        metavar=("NUMBER", "SIZE"),
        help="embed one range of the table alone: SIZE rows from row NUMBER x SIZE, NUMBER from 0"
        " (default: the whole table)",
    )
    parser.add_argument("--shards", type=Path, required=True, help="folder of finished parts")
    parser.add_argument(
        "--shard-size",
        type=int,
        default=256,
        help="images per shard, the most that a killed process loses; rounded up to whole batches"
        " (default %(default)s)",
    )
    parser.add_argument(
        "--output", type=Path, required=True, metavar="H5", help="the embeddings to write"
    )
    parser.add_argument(
        "--problems",
        type=Path,
        default=None,
        metavar="PARQUET",
        help="table to write of the images left out: image_id, path, problem (default: none)",
    )
    parser.epilog = (
        "example:\n  clipsieve embed --images images/progan.parquet --data-root data \\\n"
        "    --image-set progan --encoder clip_b16 \\\n"
        '    --spec \'{"model": "ViT-B-16-quickgelu", "weights": "openai"}\' \\\n'
        "    --shards embeddings/clip_b16/.shards/progan --output embeddings/clip_b16/progan.h5"
    )


def run(args: argparse.Namespace) -> None:
    spec = json_object(args.spec, "--spec")
    background = _background(args.background)
    if min(args.batch_size, args.shard_size) < 1:
        raise UserError("--batch-size and --shard-size must be 1 or more")
    table, _ = read_table(args.images, _COLUMNS)
    twice = table["image_id"].duplicated()
    if twice.any():
        raise UserError(f"{args.images}: image_id {table['image_id'][twice].iloc[0]!r} twice")
    if args.part is not None:
        number, size = args.part
        if number < 0 or size < 1:
            raise UserError(f"--part {number} {size}: a number from 0 and a size from 1 are wanted")
        table = table.iloc[number * size : (number + 1) * size]
    usable = table[table["problem"].isna()]
    if args.on_problem == "error" and len(usable) < len(table):
        first = table[table["problem"].notna()].iloc[0]
        raise UserError(
            f"{args.images}: {first['image_id']}: {first['problem']} (skip leaves such images out)"
        )
    if usable.empty and args.part is None:
        raise UserError(f"{args.images}: no image that can be embedded in {args.image_set}")
    from clipsieve.encoders.parallel import set_threads

    threads = set_threads(args.threads)

    from clipsieve.encoders import load_encoder, shards
    from clipsieve.encoders.pipeline import Job
    from clipsieve.images.decode import DECODE_VERSION
    from clipsieve.io.files import remove_leftovers

    encoder = load_encoder(spec)
    heads_dtype = args.heads_dtype or "float32"
    if encoder.heads_missing and heads_dtype != "none":
        missing = f"encoder {args.encoder}: no head outputs, since {encoder.heads_missing}"
        if args.heads_dtype:
            raise UserError(f"{missing}; leave them out (has_heads: false, --heads-dtype none)")
        log.info("%s", missing)
        heads_dtype = "none"
    if args.compile and (heads_dtype, args.layers_dtype) != ("none", "none"):
        raise UserError(
            "--compile: a compiled tower gives neither head outputs nor layers; leave them out"
            " (has_heads: false, has_layers: false)"
        )
    if args.layers_dtype != "none" and encoder.layers_shape is None:
        raise UserError(
            f"encoder {args.encoder}: no layers, since {encoder.heads_missing}; leave them out"
            " (has_layers: false, --layers-dtype none)"
        )
    if args.compile or args.channels_last:
        from clipsieve.encoders.speed import speed_up

        moved = speed_up(encoder, channels_last=args.channels_last, compiled=args.compile)
        log.info("the faster way moves an embedding by %.1e of its length", moved)
    parameters = {
        "embed_version": EMBED,
        "decode_version": DECODE_VERSION,
        "background": background,
        "heads_dtype": heads_dtype,
        # only where there are layers, so that shards of before are found again
        **({} if args.layers_dtype == "none" else {"layers_dtype": args.layers_dtype}),
        "encoder": encoder.identity,
    }
    if args.colour_profiles != "ignore":  # absent otherwise: then nothing is other than it was
        parameters["colour_profiles"] = args.colour_profiles
    keys = [str(key) for key in usable["sha256"]]
    jobs = {key: Job(key, args.data_root / path) for key, path in _pairs(usable)}
    basis = encoder.head_basis() if heads_dtype != "none" else None
    with shards.opened(args.shards, parameters) as cache:
        remove_leftovers(args.output)
        problems = _embed(args, encoder, cache, jobs, keys, background, heads_dtype, basis, threads)
        good = [i for i, key in enumerate(keys) if key not in problems]
        bad = {i: key for i, key in enumerate(keys) if key in problems}
        _report(args, table, {str(usable["image_id"].iloc[i]): problems[k] for i, k in bad.items()})
        if not good and args.part is None:
            raise UserError(f"{args.images}: no image of {args.image_set} could be decoded")
        _write(args, encoder, cache, usable.iloc[good], parameters, basis)
        cache.keep_finished(args.output)
    log.info("%s: %d images, %d left out", args.output, len(good), len(table) - len(good))


def _background(text: str) -> tuple[int, int, int]:
    parts = text.split(",")
    if len(parts) != 3 or not all(p.strip().isdigit() and int(p) <= 255 for p in parts):
        raise UserError(f"--background {text!r}: three numbers from 0 to 255, such as 255,255,255")
    return int(parts[0]), int(parts[1]), int(parts[2])


def _pairs(table: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """(sha256, path) a row, the first path of each sha256 winning."""
    seen = table.drop_duplicates("sha256")
    return zip(seen["sha256"].astype(str), seen["path"].astype(str), strict=True)


def _embed(
    args: argparse.Namespace,
    encoder: Encoder,
    cache: ShardCache,
    jobs: dict[str, Job],
    keys: Sequence[str],
    background: tuple[int, int, int],
    heads_dtype: str,
    basis: np.ndarray | None,
    threads: int,
) -> dict[str, str]:
    """Embed what is missing, shard by shard; return what can't be decoded, and why."""
    from clipsieve.encoders.collected import Collected
    from clipsieve.encoders.pipeline import batches, workers_of

    size = -(-args.shard_size // args.batch_size) * args.batch_size
    plan = cache.plan(keys, size)
    todo = [(name, cache.missing(name, part)) for name, part in plan]
    work = [jobs[key] for _, part in todo for key in part]
    if len(work) < len(jobs):
        log.info("%s: %d of %d images are done", args.image_set, len(jobs) - len(work), len(jobs))
    progress = Progress(args.image_set, len(work))
    wanted = {"heads": heads_dtype != "none", "layers": args.layers_dtype != "none"}
    todo = [(name, part) for name, part in todo if part]
    # one pool for all shards: processes take seconds to start
    pool = workers_of(args.decoder, args.workers or threads) if todo else nullcontext()
    with pool as workers:
        for name, part in todo:
            collected = Collected(heads_dtype, args.layers_dtype)
            for batch in batches(
                [jobs[key] for key in part],
                encoder.preprocess,
                batch_size=args.batch_size,
                workers=args.workers or threads,
                background=background,
                profiles=args.colour_profiles,
                pin=encoder.device.type == "cuda",
                pool=workers,
            ):
                for job, reason in batch.problems:
                    if args.on_problem == "error":
                        raise UserError(f"{job.path}: {reason} (--on-problem skip leaves it out)")
                    log.warning("%s: %s", job.path, reason)
                    collected.problems[job.key] = reason
                if batch.pixels is not None:
                    encoded = encoder.encode(batch.pixels, pad=True, **wanted)
                    collected.take([job.key for job in batch.jobs], encoded)
                progress.step(len(batch.jobs) + len(batch.problems))
            embedding, heads, layers = collected.arrays(encoder)
            cache.add(name, collected.keys, embedding, heads, basis, layers, collected.problems)
    known: dict[str, str] = {}
    for name, _ in plan:
        known.update(cache.problems.get(name, {}))
    if known and args.on_problem == "error":
        key, reason = next(iter(known.items()))
        raise UserError(f"{jobs[key].path}: {reason} (--on-problem skip leaves it out)")
    return {key: reason for key, reason in known.items() if key in jobs}


class Progress:
    """A line now and then: images done, images per second, time left."""

    def __init__(self, title: str, total: int) -> None:
        self.title, self.total = title, total
        self.done = 0
        self.start, self.pace = time.monotonic(), Pace()

    def step(self, count: int) -> None:
        """Count images; say so when it is time."""
        self.done += count
        if not self.pace.due(finished=self.done >= self.total):
            return
        rate = self.done / max(time.monotonic() - self.start, 1e-9)
        left = (self.total - self.done) / rate
        log.info(
            "%s: %d/%d images, %.1f images/s, %s left",
            self.title,
            self.done,
            self.total,
            rate,
            time.strftime("%H:%M:%S", time.gmtime(left)),
        )


def _report(args: argparse.Namespace, table: pd.DataFrame, problems: dict[str, str]) -> None:
    """Write the table of images that were left out, now or by the image table."""
    if args.problems is None:
        return
    from clipsieve.io.files import replacing

    rows = table[["image_id", "path", "problem"]].copy()
    rows["problem"] = [
        problems.get(str(i), problem)
        for i, problem in zip(rows["image_id"], rows["problem"], strict=True)
    ]
    with replacing(args.problems) as temporary:
        rows[rows["problem"].notna()].reset_index(drop=True).to_parquet(temporary)


def _write(
    args: argparse.Namespace,
    encoder: Encoder,
    cache: ShardCache,
    rows: pd.DataFrame,
    parameters: dict[str, Any],
    basis: np.ndarray | None,
) -> None:
    """Gather the shards into the output, a few hundred rows at a time."""
    from clipsieve.encoders.collected import Collected
    from clipsieve.io import store

    keys = [str(key) for key in rows["sha256"]]
    blocks = cache.rows(keys)
    if not keys:  # a part of a set may have no image that can be used
        empty = Collected(parameters["heads_dtype"], parameters.get("layers_dtype", "none"))
        blocks = iter([empty.arrays(encoder)])
    first, second, third = itertools.tee(blocks, 3)
    heads = None if basis is None else (block[1] for block in second if block[1] is not None)
    layers = None
    if "layers_dtype" in parameters:
        layers = (block[2] for block in third if block[2] is not None)
    extra = {key: value for key, value in parameters.items() if key != "encoder"}
    store.write_embeddings(
        args.output,
        image_id=[str(i) for i in rows["image_id"]],
        image_sha256=keys,
        embedding=(block[0] for block in first if block[0] is not None),
        heads=heads,
        head_basis=basis,
        layers=layers,
        attributes={
            "encoder": args.encoder,
            "image_set": args.image_set,
            **encoder.attributes(),
            **extra,
        },
    )
