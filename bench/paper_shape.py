"""The CPU side of the paper's run at its shape, on seeded synthetic embeddings, through the workflow itself.

14 generators of about 1,000 images beside as many real ones, embeddings of 512 and 768 columns, 144 and 384 heads, five
search pairs, every family of feature sets, the 96-point grid. The embeddings stand where `embed` would put them;
Snakemake runs everything that follows. The paper's own took "less than 7 days in total" on three servers with 104 CPUs,
its slowest search "nearly 12 hours for one pair of models" (its appendix on resources).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from clipsieve import config
from clipsieve.images.spectrum import COLUMNS as SLOPES
from clipsieve.io import store
from clipsieve.io.tables import write_table

CONFIGS = ["config/paper.yaml", "config/paper-shape.yaml"]
SHAPES = {"clip_b16": (512, 12, 12), "clip_l14": (768, 24, 16)}
D_HEAD = 64
WALL = "s"  # the column of Snakemake's benchmark files; it samples processor time too seldom to be of use


def run(quick: bool) -> dict[str, Any]:
    """Run everything but the pages that show images; one encoder and a fifth of the images if `quick`."""
    encoders = ["clip_b16"] if quick else list(SHAPES)
    images = 200 if quick else 1000
    cores = os.cpu_count() or 1
    study = config.Run.of(config.resolve(config.read_run(CONFIGS)))
    root = Path("results") / study.config["run"]
    shutil.rmtree(root, ignore_errors=True)
    write_image_tables(study, root, images)
    for encoder in encoders:
        write_encoder(study, root, encoder, images)
    beside = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # where clipsieve is
    started = time.monotonic()
    subprocess.run(
        [
            sys.executable, "-m", "snakemake", "--profile", "profiles/local", "--cores", str(cores),
            "--quiet", "rules", "host",
            "--configfile", *CONFIGS, "--config", f"use={{encoders: {encoders}}}",
            "--", "statistics",
        ],
        check=True, env={**os.environ, "PATH": beside},
    )  # fmt: skip
    seconds = time.monotonic() - started
    jobs = job_times(root / "benchmarks")
    return {
        "generators": len(study.generators),
        "images_of_each": images,
        "search_pairs": len(study.pairs),
        "cores": cores,
        "hours": seconds / 3600,
        "searches": searches(jobs, len(study.generators), cores),
        "jobs": by_rule(jobs),
    }


def job_times(folder: Path) -> pd.DataFrame:
    """Every job's seconds, from the benchmark files: `<rule>/[seed<seed>/[<encoder>/..]]<name>.tsv`."""
    rows = []
    for path in sorted(folder.rglob("*.tsv")):
        rule, *rest = path.relative_to(folder).with_suffix("").parts
        times = pd.read_csv(path, sep="\t", na_values="-").iloc[0]
        rows.append(
            {
                "rule": rule,
                "encoder": next((e for e in SHAPES if e in rest), None),
                "seconds": float(times[WALL]),
            }
        )
    return pd.DataFrame(rows)


def searches(jobs: pd.DataFrame, generators: int, cores: int) -> list[dict[str, Any]]:
    """Of each encoder: its searches, and what all ordered pairs would take at their mean, one a core."""
    rows = []
    for encoder, found in jobs[jobs["rule"] == "search"].groupby("encoder"):
        ordered = generators * (generators - 1)
        rows.append(
            {
                "encoder": encoder,
                "columns": SHAPES[str(encoder)][0],
                "searches": len(found),
                "seconds_least": float(found["seconds"].min()),
                "seconds_mean": float(found["seconds"].mean()),
                "seconds_most": float(found["seconds"].max()),
                "all_ordered_pairs": ordered,
                "their_hours_on_these_cores": ordered
                * float(found["seconds"].mean())
                / 3600
                / cores,
            }
        )
    return rows


def by_rule(jobs: pd.DataFrame) -> list[dict[str, Any]]:
    """Jobs and seconds of each rule, the costliest first."""
    table = jobs.groupby("rule").agg(
        jobs=("seconds", "size"),
        seconds=("seconds", "sum"),
        longest=("seconds", "max"),
    )
    return table.sort_values("seconds", ascending=False).reset_index().to_dict("records")


def write_image_tables(study: config.Run, root: Path, images: int) -> None:
    """Image tables as a scan would write them: file facts are the same for both classes."""
    for image_set in study.image_sets:
        generated = image_set in study.generators
        source = study.source_of(image_set)
        names = [f"{i:05d}" for i in range(images)]
        spectra = np.random.default_rng(list(image_set.encode()))
        table = pd.DataFrame(
            {
                "image_id": [f"{image_set}/{name}.png" for name in names],
                "image_set": image_set,
                "generator": image_set if generated else None,
                "family": study.config["generators"][image_set]["family"] if generated else None,
                "source": source,
                "label": 0 if generated else 1,
                "group": [f"{source}_{name}" for name in names],
                "path": [f"{image_set}/{name}.png" for name in names],
                "sha256": [f"{image_set}{name}".encode().hex().rjust(64, "0") for name in names],
                "bytes": np.random.default_rng(len(image_set)).integers(90_000, 110_000, images),
                "format": "PNG", "width": 256, "height": 256, "mode": "RGB",
                "jpeg_quality": pd.array([None] * images, dtype="Int64"),
                "colour_profile": pd.array([None] * images, dtype="string"),
                "perceptual_hash": [f"{hash_word(image_set, i):016x}" for i in range(images)],
                "is_constant": False,
                **dict(zip(SLOPES, spectra.normal(-2.5, 0.3, (len(SLOPES), images)), strict=True)),
                "align_scale": np.nan,
                "problem": pd.array([None] * images, dtype="string"),
            }
        )  # fmt: skip
        write_table(table, root / "images" / f"{image_set}.parquet")


def hash_word(image_set: str, i: int) -> int:
    seed = [sum(image_set.encode()), len(image_set), i]
    return int(np.random.default_rng(seed).integers(0, 2**63))


def write_encoder(study: config.Run, root: Path, encoder: str, images: int) -> None:
    """Embeddings of CLIP's look (a strong mean of norm 9, a falling spectrum of norm 6.8 around it) and head outputs
    (mean and spread of norm 0.6 each), as the demo's photographs have under ViT-B/16.

    Every generator moves its images along a direction of its family and one of its own, 0.15 standard deviations of
    each principal component, and each head's outputs along the first one's: so there is something to transfer and
    something that harms.
    """
    width, layers, heads = SHAPES[encoder]
    rng = np.random.default_rng(sum(encoder.encode()))
    scale = 1 / np.sqrt(1 + np.arange(width))
    scale *= 6.8 / np.linalg.norm(scale)
    rotation = np.linalg.qr(rng.normal(size=(width, width)))[0]
    mean = 9 * rotation[:, 0]
    basis = rng.normal(size=(layers, heads, D_HEAD, D_HEAD)).astype(np.float32) / 8
    write_maps(root, encoder, basis, width, rng)
    head_mean = rng.normal(size=(layers, heads, D_HEAD)).astype(np.float32)
    head_mean *= 0.6 / np.linalg.norm(head_mean, axis=-1, keepdims=True)
    head_scale = (1 + np.arange(D_HEAD, dtype=np.float32)) ** -0.25
    head_scale *= 0.6 / np.linalg.norm(head_scale)
    family = {f: 0.15 * rng.normal(size=width) * scale for f in ("gan", "diffusion")}
    for image_set in study.image_sets:
        X = rng.normal(size=(images, width)) * scale
        Z = head_mean + head_scale * rng.standard_normal((images, *head_mean.shape), np.float32)
        if image_set in study.generators:
            X += family[study.config["generators"][image_set]["family"]]
            X += 0.15 * rng.normal(size=width) * scale
            Z[:, :, :, 0] += 0.4 * head_scale[0] * rng.random((layers, heads))
        store.write_embeddings(
            root / "embeddings" / encoder / f"{image_set}.h5",
            image_id=[f"{image_set}/{i:05d}.png" for i in range(images)],
            embedding=(mean + X @ rotation.T).astype(np.float32),
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
