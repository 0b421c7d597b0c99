"""How long the statistics of a run in the shape of the paper's take, and how much memory.

Writes made-up scores of 14 generators (600 test images a cell, one source), the feature sets of five
pairs and ten ordered pairs with all their controls, runs `clipsieve evaluate` on them in a process of
its own. `python -m bench.statistics --help`.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from clipsieve.io.feature_sets import FeatureSet, write_feature_sets
from clipsieve.io.scores import AllScores, Images, Scores, write_scores


def feature_sets(generators: list[str], draws: int) -> dict[str, list[dict]]:
    """Every family with its feature sets."""
    pairs = [(generators[2 * k], generators[2 * k + 1]) for k in range(5)]
    ordered = [pair for a, b in pairs for pair in ((a, b), (b, a))]
    families: dict[str, list[dict]] = {
        name: [{"feature_set": name, "excluded": [], "draws": 1}]
        for name in ("all", "all_intercept", "residual", "nearest_mean")
    }
    families["shuffled"] = [{"feature_set": "shuffled", "excluded": [], "draws": 5}]
    for name in ("components", "components_intercept", "residual_components", "fisher", "variance"):
        families[name] = [entry(name, pair, pair, 1) for pair in pairs]
    families["l1"] = [entry("l1", pair, pair, 1) for pair in pairs]
    families["random"] = [entry("random", pair, pair, draws) for pair in pairs]
    families["heads"] = [entry("heads", pair, pair[1:], 1) for pair in ordered]
    families["random_heads"] = [entry("random_heads", pair, pair[1:], draws) for pair in ordered]
    return families


def entry(name: str, pair: tuple[str, str], excluded: tuple[str, ...], draws: int) -> dict:
    """One feature set."""
    return {"feature_set": f"{name}/{'--'.join(pair)}", "excluded": list(excluded), "draws": draws}


def images_of(generators: list[str], sources: int, images: int) -> Images:
    """Test images of every source and generator, as many of each; groups are shared with the source."""
    source_of = {name: f"s{k % sources}" for k, name in enumerate(generators)}
    sets = [*sorted(set(source_of.values())), *generators]
    image_set = np.repeat(sets, images)
    source = np.array([source_of.get(name, name) for name in image_set])
    number = np.tile(np.arange(images), len(sets)).astype(str)
    return Images(
        image_id=np.char.add(np.char.add(image_set, "/"), number),
        image_set=image_set,
        source=source,
        group=np.char.add(np.char.add(source, "_"), number),
        label=(image_set == source).astype(np.int64),
        family={name: "gan" if k < 7 else "diffusion" for k, name in enumerate(generators)},
        split=np.full(len(image_set), "test"),
    )


def write_families(
    folder: Path, images: int, generators: list[str], draws: int, sources: int
) -> int:
    """Write score files and feature files; return the number of logits."""
    rng = np.random.default_rng(0)
    total = 0
    there = images_of(generators, sources, images)
    for family, entries in feature_sets(generators, draws).items():
        scores = []
        for item in entries:
            kept = [name for name in generators if name not in item["excluded"]]
            given_up = np.isin(there.image_set, item["excluded"])
            for draw in range(item["draws"]):
                logits = rng.normal(size=(len(kept), len(there.label))) + 1.6 * there.label - 0.8
                logits[:, given_up] = np.nan
                threshold = np.full(len(kept), 0.05)
                scores.append(Scores(item["feature_set"], draw, kept, logits, threshold))
                total += int(np.isfinite(logits).sum())
        every = AllScores("clip_b16", 0, there, scores, run="bench")
        write_scores(folder / f"scores/{family}.h5", every)
        known = [
            FeatureSet(item["feature_set"], family, excluded=tuple(item["excluded"]))
            for item in entries
        ]
        write_feature_sets(folder / f"features/{family}.json", known)
    return total


def paper_shape(
    *, generators: int, images: int, sources: int, draws: int, resamples: int, threads: int
) -> dict[str, Any]:
    """Run `clipsieve evaluate` on made-up scores in a process of its own."""
    names = [f"g{k:02d}" for k in range(generators)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = write_families(folder, images, names, draws, sources)
        outputs = [
            part
            for table in ("cells", "means", "controls", "optimism", "pairs", "ranking", "operating")
            for part in (f"--{table}", str(folder / f"{table}.parquet"))
        ]
        command = [
            *(sys.executable, "-m", "clipsieve", "evaluate", "--scores"),
            *map(str, sorted(folder.glob("scores/*.h5"))),
            *("--features", *map(str, sorted(folder.glob("features/*.json")))),
            *("--resamples", str(resamples), "--threads", str(threads), *outputs),
        ]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        started = time.monotonic()
        subprocess.run(command, check=True)
        seconds = time.monotonic() - started
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cells = pd.read_parquet(folder / "cells.parquet", columns=["feature_set", "draw"])
    return {
        "generators": generators,
        "test_images_a_cell": 2 * images,
        "feature_sets_and_draws": len(cells.drop_duplicates()),
        "scores": rows,
        "rows_of_cells": len(cells),
        "resamples": resamples,
        "threads": threads,
        "seconds": seconds,
        "seconds_of_one_core": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "MiB_at_most": after.ru_maxrss / 1024,
    }


def one_matrix(*, generators: int, images: int, resamples: int) -> dict[str, Any]:
    """Replicates of all metrics of one feature set, against a loop over resamples and cells.

    The loop calls scikit-learn for accuracy, AUC and average precision alone, on some resamples of
    one cell; its time for all is that times the numbers of cells and resamples.
    """
    from sklearn import metrics as sk

    from clipsieve.evaluation.matrix import layout_of, transfer_matrix

    names = [f"g{k:02d}" for k in range(generators)]
    image_set = np.repeat(np.array(["s", *names]), images)
    group = np.tile(np.arange(images), generators + 1).astype(str)
    label = (image_set == "s").astype(np.int64)
    ids = np.char.add(np.char.add(image_set, "/"), group)
    scores_of = Images(ids, image_set, np.full(len(label), "s"), group, label)
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(generators, len(label))) + 1.6 * label - 0.8
    layout = layout_of(scores_of, resamples=resamples, seed=0)
    scores = Scores("all", 0, names, logits, np.zeros(generators))
    transfer_matrix(scores, layout, replicate=False)
    started = time.process_time()
    transfer_matrix(scores, layout)
    ours = time.process_time() - started
    cell = np.r_[layout.columns["s"], layout.columns[names[0]]]
    y, x, some = label[cell], logits[0, cell], 50
    started = time.process_time()
    for b in range(some):
        w = layout.weights[layout.group[cell], b]
        sk.accuracy_score(y, x >= 0, sample_weight=w)
        sk.roc_auc_score(1 - y, -x, sample_weight=w)
        sk.average_precision_score(1 - y, -x, sample_weight=w)
    loop = (time.process_time() - started) / some * resamples * generators**2
    return {
        "cells": generators**2,
        "resamples": resamples,
        "seconds_of_one_core": ours,
        "loop_with_scikit_learn_seconds": loop,
        "ratio": loop / ours,
    }


def run(quick: bool) -> dict[str, Any]:
    """Measure everything; `quick` takes small sizes."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        matrix = one_matrix(
            generators=6 if quick else 14, images=60 if quick else 300, resamples=2000
        )
    shape = paper_shape(
        generators=14,
        images=60 if quick else 300,
        sources=1,
        draws=4 if quick else 20,
        resamples=400 if quick else 2000,
        threads=2,
    )
    return {"one_matrix": matrix, "a_run_in_the_shape_of_the_papers": shape}


def main() -> None:
    """Measure a run of the wanted size and print what it took."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--generators", type=int, default=14)
    parser.add_argument("--images", type=int, default=300, help="test images a set")
    parser.add_argument("--sources", type=int, default=1)
    parser.add_argument("--draws", type=int, default=20, help="draws of the random controls")
    parser.add_argument("--resamples", type=int, default=2000)
    parser.add_argument("--threads", type=int, default=2)
    found = paper_shape(**vars(parser.parse_args()))
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
