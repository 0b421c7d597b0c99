"""The CPU side of the paper's run at its shape, on seeded synthetic embeddings, through the workflow itself.

14 generators of about 1,000 images beside as many real ones, embeddings of 512 and 768 columns, 144 and 384 heads, five
search pairs, every family of feature sets, the 96-point grid. The embeddings stand where `embed` would put them;
Snakemake runs everything that follows.

    python -m bench.paper_shape [--images 1000] [--encoders clip_b16 clip_l14] [--cores 2]
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

from clipsieve import config, store
from clipsieve.tables import write_table

CONFIGS = ["config.yaml", "config/paper.yaml", "config/paper-shape.yaml"]
SHAPES = {"clip_b16": (512, 12, 12), "clip_l14": (768, 24, 16)}
D_HEAD = 64


def main(argv: list[str] | None = None) -> float:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1000, help="images of each set")
    parser.add_argument("--encoders", nargs="+", default=list(SHAPES), choices=list(SHAPES))
    parser.add_argument("--cores", type=int, default=2)
    args = parser.parse_args(argv)
    run = config.Run.of(config.resolve(config.read_configs(CONFIGS)))
    root = Path("results") / run.config["run"]
    shutil.rmtree(root, ignore_errors=True)
    write_image_tables(run, root, args.images)
    for encoder in args.encoders:
        write_encoder(run, root, encoder, args.images)
    started = time.monotonic()
    subprocess.run(
        [
            sys.executable, "-m", "snakemake", "--cores", str(args.cores), "--quiet", "all",
            "--configfile", *CONFIGS[1:], "--config", f"use={{encoders: {args.encoders}}}",
            "--", "statistics",
        ],
        check=True,
    )  # fmt: skip
    seconds = time.monotonic() - started
    print(f"paper shape: {', '.join(args.encoders)}: {seconds:.0f} s on {args.cores} cores")
    return seconds


def write_image_tables(run: config.Run, root: Path, images: int) -> None:
    """Image tables as a scan would write them: file facts are the same for both classes."""
    for image_set in run.image_sets:
        generated = image_set in run.generators
        source = run.source_of(image_set)
        names = [f"{i:05d}" for i in range(images)]
        table = pd.DataFrame(
            {
                "image_id": [f"{image_set}/{name}.png" for name in names],
                "image_set": image_set,
                "generator": image_set if generated else None,
                "family": run.config["generators"][image_set]["family"] if generated else None,
                "source": source,
                "label": 0 if generated else 1,
                "group": [f"{source}_{name}" for name in names],
                "path": [f"{image_set}/{name}.png" for name in names],
                "sha256": [f"{image_set}{name}".encode().hex().rjust(64, "0") for name in names],
                "bytes": np.random.default_rng(len(image_set)).integers(90_000, 110_000, images),
                "format": "PNG", "width": 256, "height": 256, "mode": "RGB",
                "jpeg_quality": pd.array([None] * images, dtype="Int64"),
                "perceptual_hash": [f"{hash_word(image_set, i):016x}" for i in range(images)],
                "is_constant": False,
                "problem": pd.array([None] * images, dtype="string"),
            }
        )  # fmt: skip
        write_table(table, root / "images" / f"{image_set}.parquet")


def hash_word(image_set: str, i: int) -> int:
    seed = [sum(image_set.encode()), len(image_set), i]
    return int(np.random.default_rng(seed).integers(0, 2**63))


def write_encoder(run: config.Run, root: Path, encoder: str, images: int) -> None:
    """Embeddings of CLIP's look (a strong mean, a steep spectrum, norm about 10), heads that feed them.

    Every generator moves its images along a direction of its family, one of its own, and one that only
    works for itself: so there is something to transfer and something that harms.
    """
    width, layers, heads = SHAPES[encoder]
    rng = np.random.default_rng(sum(encoder.encode()))
    scale = np.linspace(1, 60, width) ** -0.5
    rotation = np.linalg.qr(rng.normal(size=(width, width)))[0]
    mean = 8 * rotation[:, 0]
    basis = rng.normal(size=(layers, heads, D_HEAD, D_HEAD)).astype(np.float32) / 8
    write_maps(root, encoder, basis, width, rng)
    family = {f: rng.normal(size=width) for f in ("gan", "diffusion")}
    for image_set in run.image_sets:
        X = mean + 3 * (rng.normal(size=(images, width)) * scale) @ rotation.T
        Z = rng.normal(size=(images, layers, heads, D_HEAD)).astype(np.float32)
        if image_set in run.generators:
            own = rng.normal(size=width)
            shared = family[run.config["generators"][image_set]["family"]]
            X += 0.02 * (shared + own)
            X[:, rng.permutation(width)[: width // 10]] += 0.08 * rng.normal(size=width // 10)
            Z[:, :, :, 0] += 0.4 * rng.random((layers, heads))
        store.write_embeddings(
            root / "embeddings" / encoder / f"{image_set}.h5",
            image_id=[f"{image_set}/{i:05d}.png" for i in range(images)],
            embedding=X.astype(np.float32),
            heads=Z,
            head_basis=basis,
            attributes={"encoder": encoder, "synthetic": True},
        )


def write_maps(
    root: Path, encoder: str, basis: np.ndarray, width: int, rng: np.random.Generator
) -> None:
    projection = rng.normal(size=(*basis.shape[:2], width, D_HEAD)).astype(np.float32)
    store.write_head_maps(
        root / "encoders" / f"{encoder}.h5",
        head_basis=basis,
        head_projection=projection,
        attributes={"encoder": encoder, "synthetic": True},
    )


if __name__ == "__main__":
    main()
