"""Image sets and arguments for the embed verb."""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image

from clipsieve.cli import embed
from clipsieve.encoders.encoder import Encoded, Encoder

SPEC = (
    '{"model": {"embed_dim": 16, "vision_cfg": {"image_size": 32, "layers": 2, "width": 24,'
    ' "head_width": 8, "patch_size": 16}, "text_cfg": {"vocab_size": 4, "width": 8, "heads": 1,'
    ' "layers": 1}}}'
)


def make_set(root: Path, count: int, start: int = 0) -> pd.DataFrame:
    root.mkdir(exist_ok=True)
    rows = []
    for i in range(start, start + count):
        path = root / f"{i:04d}.{'jpg' if i % 3 else 'png'}"
        pixels = np.random.default_rng(i).integers(0, 256, (6, 7, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((50, 40)).save(path)
        rows.append(row(path))
    return pd.DataFrame(rows).astype({"problem": "string"})


def row(path: Path, problem: str | None = None) -> dict:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return {"image_id": f"s/{path.name}", "path": path.name, "sha256": digest, "problem": problem}


def arguments(
    folder: Path, table: pd.DataFrame, name: str = "x", **changes: object
) -> argparse.Namespace:
    images = folder / f"{name}.parquet"
    table.to_parquet(images)
    parser = argparse.ArgumentParser()
    embed.add_arguments(parser)
    options: dict = {
        "images": images,
        "data-root": folder / "images",
        "image-set": "s",
        "encoder": "small",
        "spec": SPEC,
        "batch-size": 4,
        "shard-size": 8,
        "threads": 1,
        "shards": folder / f"{name}-shards",
        "output": folder / f"{name}.h5",
        "problems": folder / f"{name}-problems.parquet",
    }
    options |= {key.replace("_", "-"): value for key, value in changes.items()}
    return parser.parse_args([part for k, v in options.items() for part in (f"--{k}", str(v))])


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def count_passes(monkeypatch) -> list[int]:
    """How many images each forward pass saw."""
    passes: list[int] = []
    honest = Encoder.encode

    def counting(self: Encoder, pixels: torch.Tensor, **options: bool) -> Encoded:
        passes.append(len(pixels))
        return honest(self, pixels, **options)

    monkeypatch.setattr(Encoder, "encode", counting)
    return passes
