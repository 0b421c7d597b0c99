"""Decoding in images per second, and what head outputs and layers cost beside the plain forward pass.

`python bench/throughput.py` prints the numbers; `run` returns them. Every way through a tower is measured in a
process of its own, by time of processors, which others on the machine disturb less than the clock, and by that
process's peak memory. Weights are random: the cost does not depend on them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

TOWERS = {
    "CLS token (DINOv2 ViT-B/14 with registers)": {
        "timm": "vit_base_patch14_reg4_dinov2",
        "img_size": 224,
    },
    "attention pooling (SigLIP ViT-B/16)": {"timm": "vit_base_patch16_siglip_224"},
}
WAYS = ("plain", "heads", "heads and layers")
#: Side, format and number of the pictures that are decoded.
PICTURES = (("256 px PNG and JPEG", 256, 400), ("1,024 px JPEG", 1024, 80))


def run(quick: bool = False) -> dict[str, Any]:
    """Measure decoding by threads and by processes, and each way through each tower."""
    return {"decoding": decoding(quick), "towers": towers(quick)}


def decoding(quick: bool) -> dict[str, Any]:
    """Images per second, and per second of processors, through decoding and preprocessing alone."""
    from clipsieve.encoders.timm_towers import transform

    settings = {"size": 224, "interpolation": "bicubic", "mean": [0.5] * 3, "std": [0.5] * 3}
    preprocess = transform({**settings, "crop_pct": 1.0, "crop_mode": "center"})
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        for title, side, count in PICTURES:
            folder = Path(name, str(side))
            folder.mkdir()
            jobs = pictures(folder, side, 16 if quick else count)
            for decoder, workers in (("threads", 1), ("threads", 2), ("processes", 2)):
                ways = [drained(part, preprocess, decoder, workers) for part in (jobs[:8], jobs)]
                # without what processes spend on starting, which is the same in both
                clock, spent = (long - short for short, long in zip(*ways, strict=True))
                found[f"{title}, {workers} {decoder}"] = {
                    "images": len(jobs) - 8,
                    "per_second": (len(jobs) - 8) / clock,
                    "per_processor_second": (len(jobs) - 8) / spent,
                }
    return found


def drained(jobs: list[Any], preprocess: Any, decoder: str, workers: int) -> tuple[float, float]:
    """Seconds of the clock and of processors in which all pictures were decoded."""
    from clipsieve.encoders.pipeline import batches, workers_of

    before, start = os.times(), time.perf_counter()
    with workers_of(decoder, workers) as pool:
        for _ in batches(jobs, preprocess, batch_size=8, workers=workers, pool=pool):
            pass
    clock = time.perf_counter() - start
    return clock, sum(b - a for a, b in zip(before[:4], os.times()[:4], strict=True))


def pictures(folder: Path, side: int, count: int) -> list[Any]:
    """Write pictures that compress as photographs do: noise at every scale."""
    from PIL import Image

    from clipsieve.encoders.pipeline import Job

    rng = np.random.default_rng(0)
    jobs = []
    for number in range(count):
        canvas = np.zeros((side, side, 3), np.float32)
        for size in (4, 16, 64, side // 2):
            noise = rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
            layer = Image.fromarray(noise).resize((side, side), Image.Resampling.BICUBIC)
            canvas += np.asarray(layer, np.float32) / 4
        png = side == 256 and number % 2
        path = folder / f"{number}.{'png' if png else 'jpg'}"
        Image.fromarray(canvas.astype(np.uint8)).save(path, **({} if png else {"quality": 90}))
        jobs.append(Job(hashlib.sha256(path.read_bytes()).hexdigest(), path))
    return jobs


def towers(quick: bool) -> dict[str, Any]:
    """Processor time per image, peak memory and cached bytes of each way, a process each."""
    found: dict[str, Any] = {}
    for title, model in TOWERS.items():
        ways: dict[str, Any] = {}
        for way in WAYS:
            spec = model | ({"depth": 2} if quick else {})
            command = [sys.executable, __file__, "--way", way, "--model", json.dumps(spec)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            ways[way] = json.loads(done.stdout.splitlines()[-1])
        plain = ways["plain"]
        for numbers in ways.values():
            numbers["over_plain"] = numbers["processor_seconds"] / plain["processor_seconds"]
        found[title] = ways
    return found


def one_way(model: dict[str, Any], way: str, images: int = 8, rounds: int = 3) -> dict[str, float]:
    """The best processor time of a few rounds, per image, and this process's peak memory."""
    import resource

    import torch

    from clipsieve.encoders import load_encoder

    encoder = load_encoder({"model": model})
    pixels = torch.randn(images, 3, *encoder.image_size, generator=torch.Generator().manual_seed(0))
    options = {"heads": way != "plain", "layers": "layers" in way}
    best = np.inf
    for _ in range(rounds):
        start = time.process_time()
        encoded = encoder.encode(pixels, **options)
        best = min(best, time.process_time() - start)
    arrays = (encoded.embedding, encoded.heads, encoded.layers)
    return {
        "processor_seconds": best / images,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "bytes_per_image": sum(array.nbytes for array in arrays if array is not None) / images,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer images, towers of two blocks")
    parser.add_argument("--way", choices=WAYS, help="measure this way through --model alone")
    parser.add_argument("--model", type=json.loads)
    options = parser.parse_args()
    if options.way:
        print(json.dumps(one_way(options.model, options.way)))
    else:
        print(json.dumps(run(options.quick), indent=2))
