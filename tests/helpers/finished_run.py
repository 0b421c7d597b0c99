"""A small finished run for notebooks: the report's inputs, with embeddings, probes and their scores."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from clipsieve.io.dataset import read_rows
from clipsieve.io.feature_sets import read_feature_sets
from clipsieve.io.probes import StoredProbe, write_probes
from clipsieve.io.scores import write_scores
from clipsieve.io.store import write_embeddings
from clipsieve.io.tables import write_table
from clipsieve.probes.apply import score_images
from clipsieve.report.reading import origin
from tests.helpers.report_inputs import Made, make_run

WIDTH = 60
FAMILIES = ("all", "components", "random")


def make_finished_run(root: Path, seeds: tuple[int, ...] = (0,)) -> Made:
    """Write `root/results/demo` as the workflow leaves it, as far as notebooks read it."""
    made = make_run(root, seeds=seeds, components=WIDTH)
    config = {
        "run": "demo",
        "seeds": list(seeds),
        "use": {"encoders": list(made.encoders), "generators": list(made.generators)},
    }
    (made.root / "config.json").write_text(json.dumps(config))
    manifest = pd.read_parquet(made.root / "manifest.parquet")
    sets = [*made.generators, "photographs"]
    for encoder in made.encoders:
        for k, image_set in enumerate(sets):
            ids = manifest.loc[manifest["image_set"] == image_set, "image_id"].tolist()
            rng = np.random.default_rng([k, len(encoder)])
            embedding = rng.normal(size=(len(ids), WIDTH)).astype(np.float32)
            write_embeddings(
                made.root / f"embeddings/{encoder}/{image_set}.h5",
                image_id=ids, embedding=embedding,
                attributes={"encoder": encoder, "image_set": image_set},
            )  # fmt: skip
    for seed in seeds:
        for image_set in sets:
            columns = ["image_id", "group", "label", "generator", f"split_seed{seed}"]
            split = manifest.loc[manifest["image_set"] == image_set, columns]
            path = made.root / f"seed{seed}/splits/{image_set}.parquet"
            write_table(split.rename(columns={f"split_seed{seed}": "split"}), path)
        for encoder in made.encoders:
            _fit_and_score(made, encoder, seed, sets)
    for path in made.inputs["controls"]:  # the report's pages take these from the path
        controls = pd.read_parquet(path)
        for position, (name, value) in enumerate(origin("controls", path).items()):
            if name not in controls:
                controls.insert(position, name, value)
        controls.to_parquet(path)
    means = pd.concat([pd.read_parquet(path) for path in made.inputs["means"]])
    (made.root / "tables").mkdir()
    means.to_csv(made.root / "tables/means.csv", index=False)
    return made


def _fit_and_score(made: Made, encoder: str, seed: int, sets: list[str]) -> None:
    """Write probes with made-up coefficients, and their scores, for three families."""
    base = made.root / f"seed{seed}" / encoder
    rng = np.random.default_rng([seed, len(encoder)])
    for family in FAMILIES:
        features = read_feature_sets(base / f"features/{family}.json")
        probes = [
            StoredProbe(
                item.feature_set, draw, train, "embedding", columns,
                rng.normal(size=len(columns or [])), float(rng.normal()), float(rng.normal()),
                {"C": 1.0, "grid": "fast"}, {"n_train": 40},
            )
            for item in features
            for draw, columns in enumerate(item.draws)
            for train in made.generators
            if train not in item.excluded
        ]  # fmt: skip
        for train in made.generators:
            mine = [probe for probe in probes if probe.train == train]
            write_probes(base / f"probes/{family}/{train}.npz", mine)
        image_sets = [
            read_rows(
                [made.root / f"embeddings/{encoder}/{name}.h5"],
                [made.root / f"seed{seed}/splits/{name}.parquet"],
                ("test",),
                "test",
            )
            for name in sets
        ]
        scores = score_images(
            probes,
            image_sets,
            {item.feature_set: item.excluded for item in features},
            sources=dict.fromkeys(made.generators, "photographs"),
            families={name: entry["family"] for name, entry in made.generators.items()},
            encoder=encoder,
            seed=seed,
            run="demo",
        )
        write_scores(base / f"scores/{family}.h5", scores)
