"""What embeddings, head outputs and texts cost, each against the plain way in the same run.

`python bench/encoders.py` prints the table; `run` returns it. The model is ViT-B/16 with random
weights: the cost does not depend on them. Plain and ours are timed in turn and the best of each
counts, since a shared machine only ever adds time.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

MODEL = "ViT-B-16-quickgelu"
TINY = '{"model": "tiny"}'


def run(quick: bool = False) -> dict[str, Any]:
    """Measure all four ratios and the sizes.

    Returns
    -------
    dict
        `heads_over_plain`: time of embeddings with head outputs over open_clip's encode_image, same
        batch (to reach: at most 1.05). `cache_times_smaller`: bytes of full-width head outputs over
        bytes of the cache (at least 12). `vocabulary_times_faster`: full-length prompts over cut
        ones, whole vocabulary (at least 15), with `vocabulary_difference`, relative (at most 1e-5).
        `embed_over_plain`: the embed verb over a plain forward pass on pixels in memory (at most
        1.15). `mb_per_1000_images` (and once `mb_per_file`), `float16_error` (of head outputs),
        `peak_mb`: the verb's memory for a small and a large set. Names in `_processors` are ratios
        of processor time instead of clock time.
    """
    import torch

    from clipsieve.encoders import load_encoder

    encoder = load_encoder({"model": MODEL})
    result: dict[str, Any] = {"model": MODEL, "threads": torch.get_num_threads()}
    result |= forward_pass(encoder, batch=8 if quick else 16, rounds=2 if quick else 4)
    result |= vocabulary(encoder, cut=512 if quick else 4096, full=32 if quick else 128)
    result |= end_to_end(encoder, count=32 if quick else 64, rounds=1 if quick else 2)
    result |= memory(counts=(64, 256) if quick else (128, 2048))
    return result


def in_turn(
    first: Callable[[], Any], second: Callable[[], Any], rounds: int
) -> tuple[np.ndarray, np.ndarray]:
    """Take both in turn; return the best (seconds on the clock, seconds of processors) of each."""
    best = np.full((2, 2), np.inf)
    for _ in range(rounds):
        for index, action in enumerate((first, second)):
            clock, processors = time.perf_counter(), time.process_time()
            action()
            spent = time.perf_counter() - clock, time.process_time() - processors
            best[index] = np.minimum(best[index], spent)
    return best[0], best[1]


def ratios(name: str, above: np.ndarray, below: np.ndarray) -> dict[str, float]:
    """A ratio of clock times, and of processor times, which others on the machine disturb less."""
    clock, processors = above / below
    return {name: float(clock), f"{name}_processors": float(processors)}


def forward_pass(encoder: Any, batch: int, rounds: int) -> dict[str, Any]:
    """Embeddings with head outputs against open_clip's encode_image."""
    import torch

    pixels = torch.randn(batch, 3, 224, 224, generator=torch.Generator().manual_seed(0))

    def plain() -> Any:
        with torch.inference_mode():
            return encoder.model.encode_image(pixels)

    plain()
    ours, theirs = in_turn(lambda: encoder.encode_pixels(pixels), plain, rounds)
    embedding, _ = encoder.encode_pixels(pixels)
    expected = plain().numpy()
    return {
        "batch": batch,
        **ratios("heads_over_plain", ours, theirs),
        "plain_ms_per_image": 1000 * theirs[0] / batch,
        "embedding_difference": float(
            np.linalg.norm(embedding - expected) / np.linalg.norm(expected)
        ),
    }


def vocabulary(encoder: Any, cut: int, full: int) -> dict[str, Any]:
    """The whole vocabulary, cut against full length, from samples of both, tokenising included.

    Ours encodes prompts with the same tokens once, so the time of a sample of different prompts is
    scaled to the number of different prompts, that of full-length ones to the number of all.
    """
    import torch

    from clipsieve.encoders.texts import vocabulary_prompts

    prompts, _ = vocabulary_prompts(encoder.tokenizer)
    tokens = torch.cat(
        [encoder.tokenizer(prompts[k : k + 4096]) for k in range(0, len(prompts), 4096)]
    )
    _, different = np.unique(tokens.numpy(), axis=0, return_index=True)
    sample = np.random.default_rng(0).permutation(different)
    some, few = [prompts[i] for i in sample[:cut]], [prompts[i] for i in sample[:full]]

    def plain() -> Any:
        with torch.inference_mode():
            return encoder.model.encode_text(encoder.tokenizer(few))

    ours, theirs = in_turn(lambda: encoder.encode_texts(some), plain, rounds=2)
    expected = plain().numpy()
    found = encoder.encode_texts(few)
    difference = np.linalg.norm(found - expected, axis=1) / np.linalg.norm(expected, axis=1)
    return {
        **ratios(
            "vocabulary_times_faster", theirs / full * len(prompts), ours / cut * len(different)
        ),
        **ratios("prompt_times_faster", theirs / full, ours / cut),
        "vocabulary_difference": float(difference.max()),
        "vocabulary_seconds": ours[0] / cut * len(different),
    }


def end_to_end(encoder: Any, count: int, rounds: int) -> dict[str, Any]:
    """The embed verb (encoder loaded) against a plain forward pass; sizes of what it wrote."""
    from unittest import mock

    import h5py
    import torch

    from clipsieve.cli import embed
    from clipsieve.io import store

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table, pixels = make_images(folder, count, encoder)
        turn = iter(range(1000))

        def verb() -> None:
            number = next(turn)
            options = [f"--shards={folder}/shards{number}", f"--output={folder}/{number}.h5"]
            with mock.patch("clipsieve.encoders.load_encoder", return_value=encoder):
                embed.run(verb_arguments(folder, table, f'{{"model": "{MODEL}"}}', options))

        def plain() -> None:
            with torch.inference_mode():
                for start in range(0, count, 32):
                    encoder.model.encode_image(pixels[start : start + 32])

        ours, theirs = in_turn(verb, plain, rounds)
        output = folder / "0.h5"
        heads = store.read_heads(output)
        with h5py.File(output, "r", locking=False) as file:
            cache_bytes = file["heads"].nbytes
            fixed = file["head_basis"].nbytes
        full = encoder.head_outputs(heads[:8])
        narrow = encoder.head_outputs(heads[:8].astype(np.float16).astype(np.float32))
        return {
            "images": count,
            **ratios("embed_over_plain", ours, theirs),
            "cache_times_smaller": full[0].nbytes * count / cache_bytes,
            "mb_per_1000_images": (output.stat().st_size - fixed) / count / 1000,
            "mb_per_file": fixed / 1e6,
            "float16_error": float(np.linalg.norm(narrow - full) / np.linalg.norm(full)),
        }


def make_images(folder: Path, count: int, encoder: Any = None) -> tuple[Path, Any]:
    """Write pictures of a usual kind (256 px, PNG and JPEG in turn) and their table."""
    import hashlib

    import pandas as pd
    import torch
    from PIL import Image

    rows, tensors = [], []
    rng = np.random.default_rng(0)
    for number in range(count):
        small = rng.integers(0, 256, (48, 48, 3), dtype=np.uint8)
        image = Image.fromarray(small).resize((256, 256), Image.Resampling.BICUBIC)
        path = folder / f"{number:05d}.{'png' if number % 2 else 'jpg'}"
        image.save(path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        rows.append({"image_id": path.name, "path": path.name, "sha256": digest, "problem": None})
        if encoder is not None:
            tensors.append(encoder.preprocess(Image.open(path).convert("RGB")))
    table = folder / "images.parquet"
    pd.DataFrame(rows).astype({"problem": "string"}).to_parquet(table)
    return table, torch.stack(tensors) if tensors else None


def verb_arguments(folder: Path, table: Path, spec: str, more: list[str]) -> argparse.Namespace:
    """The embed verb's options for a folder of `make_images`."""
    from clipsieve.cli import embed

    parser = argparse.ArgumentParser()
    embed.add_arguments(parser)
    fixed = [f"--images={table}", f"--data-root={folder}", "--image-set=s", "--encoder=e"]
    return parser.parse_args([*fixed, f"--spec={spec}", *more])


def memory(counts: tuple[int, int]) -> dict[str, Any]:
    """Peak memory of the whole verb, in its own process, for a small and a large set."""
    peaks = []
    for count in counts:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            table, _ = make_images(folder, count)
            options = [f"--images={table}", f"--data-root={folder}", "--image-set=s", "--encoder=e"]
            options += [f"--spec={TINY}", f"--shards={folder}/shards", f"--output={folder}/o.h5"]
            code = (
                "import resource, sys; from clipsieve.cli import main; main(sys.argv[1:]);"
                "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
            )
            done = subprocess.run(
                [sys.executable, "-c", code, "embed", *options],
                capture_output=True,
                text=True,
                check=True,
            )
            peaks.append(int(done.stdout.split()[-1]) // 1024)
    return {"peak_mb": dict(zip(counts, peaks, strict=True))}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer images and rounds")
    print(json.dumps(run(parser.parse_args().quick), indent=2))
