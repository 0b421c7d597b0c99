"""Write a run's files with made-up numbers and the columns of docs/formats.md, for the report's tests.

Run as a script, it writes a run for looking at: `python tests/unit/report_inputs.py FOLDER [paper]`.
"""

from __future__ import annotations

import itertools
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

PAPER_TITLES = {
    "progan": "ProGAN",
    "stylegan": "StyleGAN",
    "stylegan2": "StyleGAN2",
    "biggan": "BigGAN",
    "cyclegan": "CycleGAN",
    "stargan": "StarGAN",
    "gaugan": "GauGAN",
    "dalle_mini": "DALL-E mini",
    "glide_base": "GLIDE base",
    "glide_clip": "GLIDE with CLIP guidance",
    "sd14_50": "Stable Diffusion 1.4, 50 steps",
    "sd14_200": "Stable Diffusion 1.4, 200 steps",
    "kandinsky_20": "Kandinsky 2, 20 steps",
    "kandinsky_100": "Kandinsky 2, 100 steps",
}
PAPER_PAIRS = [
    ("stylegan", "glide_clip"),
    ("cyclegan", "kandinsky_20"),
    ("progan", "dalle_mini"),
    ("gaugan", "glide_base"),
    ("stargan", "kandinsky_100"),
]
METRICS = ["accuracy", "balanced_accuracy", "auc", "ece"]


@dataclass
class Made:
    """A run made up for tests: where it stands, its facts and its files by input."""

    root: Path
    generators: dict[str, dict[str, Any]]
    encoders: dict[str, dict[str, Any]]
    pairs: list[tuple[str, str]]
    seeds: list[int]
    inputs: dict[str, list[Path]] = field(default_factory=dict)

    @property
    def generators_json(self) -> str:
        return json.dumps(self.generators)

    @property
    def encoders_json(self) -> str:
        return json.dumps(self.encoders)

    def add(self, name: str, path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.inputs.setdefault(name, []).append(path)
        return path


def paper_like() -> tuple[dict[str, Any], dict[str, Any], list[tuple[str, str]]]:
    generators = {
        g: {"title": t, "family": "gan" if i < 7 else "diffusion", "kind": "network"}
        for i, (g, t) in enumerate(PAPER_TITLES.items())
    }
    encoders = {
        "clip_b16": {"title": "CLIP ViT-B/16", "weights": "openai"},
        "clip_l14": {"title": "CLIP ViT-L/14", "weights": "openai"},
    }
    return generators, encoders, PAPER_PAIRS


def demo_like() -> tuple[dict[str, Any], dict[str, Any], list[tuple[str, str]]]:
    names = [
        ("cyclegan_vintage", "CycleGAN photo to vintage", "gan", "network"),
        ("style_mosaic", "Style network <mosaic>", "gan", "network"),
        ("up_transposed", "Transposed-convolution up-sampler", "gan", "simulated"),
        ("up_nearest", "Nearest-neighbour up-sampler", "gan", "simulated"),
        ("denoise_tv_4", "Total-variation denoising, 4 steps", "diffusion", "simulated"),
        ("denoise_nlm_8", "Non-local means, 8 steps", "diffusion", "simulated"),
        ("denoise_nlm_2", "Non-local means, 2 steps", "diffusion", "simulated"),
        ("denoise_wavelet_4", "Wavelet denoising, 4 steps", "diffusion", "simulated"),
    ]
    generators = {i: {"title": t, "family": f, "kind": k} for i, t, f, k in names}
    encoders = {
        "clip_b16": {"title": "CLIP ViT-B/16", "weights": "wheel"},
        "tiny": {"title": "tiny ViT", "weights": None},
    }
    return generators, encoders, [("up_nearest", "denoise_nlm_8"), ("style_mosaic", "denoise_tv_4")]


def make_run(
    root: Path, *, paper: bool = False, seeds: tuple[int, ...] = (0,), components: int = 60
) -> Made:
    """Write every input of the report below `root/results/<run>`."""
    generators, encoders, pairs = paper_like() if paper else demo_like()
    run = "paper" if paper else "demo"
    made = Made(root / "results" / run, generators, encoders, pairs, list(seeds))
    rng = np.random.default_rng(11)
    for seed in seeds:
        _shortcuts(made, seed, rng)
        for encoder in encoders:
            base = made.root / f"seed{seed}" / encoder
            sets = _feature_sets(made, base, rng, components)
            cells = _cells(made, run, encoder, seed, sets, rng)
            cells.to_parquet(made.add("cells", base / "cells.parquet"))
            means = _means(made, cells)
            means.to_parquet(made.add("means", base / "means.parquet"))
            _controls(made, base, means, rng)
            _searches(made, base, rng, components)
            _interpretation(made, run, encoder, seed, base, rng)
            _geometry(made, base, rng)
            _robustness(made, run, encoder, seed, base, rng)
    _manifest(made, rng)
    _leaderboard(made)
    return made


def _feature_sets(made: Made, base: Path, rng: Any, components: int) -> list[dict[str, Any]]:
    everything = list(range(components))
    entries: list[dict[str, Any]] = [
        {"feature_set": f, "family": f, "pair": None, "excluded": [], "draws": [everything]}
        for f in ("all", "all_intercept", "residual", "shuffled", "nearest_mean")
    ]
    for a, b in made.pairs:
        kept = sorted(map(int, rng.choice(components, 9, replace=False)))
        for family in ("components", "components_intercept", "residual_components", "fisher"):
            entries.append(
                {
                    "feature_set": f"{family}/{a}--{b}",
                    "family": family,
                    "pair": [a, b],
                    "excluded": [a, b],
                    "draws": [kept],
                }
            )
        entries.append({**entries[-1], "feature_set": f"random/{a}--{b}", "family": "random"})
        entries[-1]["draws"] = [
            sorted(map(int, rng.choice(components, 9, replace=False))) for _ in range(3)
        ]
        for train, val in ((a, b), (b, a)):
            heads = [[int(x), int(y)] for x, y in rng.integers(0, 12, (3, 2))]
            entries.append(
                {
                    "feature_set": f"heads/{train}--{val}",
                    "family": "heads",
                    "pair": [train, val],
                    "excluded": [val],
                    "draws": [heads],
                }
            )
    for family in {e["family"]: None for e in entries}:
        chosen = [
            {"space": "embedding", "fit_intercept": False, "shuffle": False, **e}
            for e in entries
            if e["family"] == family
        ]
        path = made.add("features", base / "features" / f"{family}.json")
        path.write_text(json.dumps(chosen), encoding="utf-8")
    return entries


def _cells(
    made: Made, run: str, encoder: str, seed: int, sets: list[dict[str, Any]], rng: Any
) -> pd.DataFrame:
    skill = {"clip_l14": 0.1, "clip_b16": 0.06}.get(encoder, -0.1)
    ids = np.array(list(made.generators))
    family = {g: e["family"] for g, e in made.generators.items()}
    train, test = np.repeat(ids, len(ids)), np.tile(ids, len(ids))
    fa, fb = ([family[g] for g in column] for column in (train, test))
    own = dict(zip(ids, rng.uniform(-0.08, 0.08, len(ids)), strict=True))
    level = 0.72 + skill + np.where(np.array(fa) == np.array(fb), 0.06, -0.06)
    level = level + np.array([own[g] for g in train]) + 0.12 * (train == test)
    frames = []
    for entry in sets:
        gain = {"components": 0.02, "heads": 0.01, "shuffled": -0.2 - skill}.get(entry["family"], 0)
        kept = ~(np.isin(train, entry["excluded"]) | np.isin(test, entry["excluded"]))
        drawn = len(entry["draws"]) > 1
        for draw, metric in itertools.product(range(len(entry["draws"])), METRICS):
            noise = rng.normal(0, 0.02, len(train)) + 0.02 * METRICS.index(metric)
            value = np.clip(level + gain + noise, 0.02, 0.995)
            frame = pd.DataFrame({"train": train, "test": test, "value": value})
            frame["train_family"], frame["test_family"] = fa, fb
            frame["low"] = np.nan if drawn else np.maximum(value - 0.04, 0)
            frame["high"] = np.nan if drawn else np.minimum(value + 0.035, 1)
            names = {"feature_set": entry["feature_set"], "draw": draw, "metric": metric}
            frames.append(frame[kept].assign(**names))
    numbers = {"n": 90, "n_real": 45, "n_generated": 45, "groups": 9}
    return pd.concat(frames, ignore_index=True).assign(
        run=run, encoder=encoder, seed=seed, **numbers
    )


def _means(made: Made, cells: pd.DataFrame) -> pd.DataFrame:
    cells = cells[(cells["train"] != cells["test"]) & (cells["draw"] == 0)]
    first = cells.iloc[0]
    base_all = cells[cells["feature_set"] == "all"].set_index(["metric", "train", "test"])["value"]
    same = pd.MultiIndex.from_frame(cells[["metric", "train", "test"]])
    cells = cells.assign(base=base_all.reindex(same).to_numpy())
    within = cells["train_family"] == cells["test_family"]
    across = cells["train_family"] + "_to_" + cells["test_family"]
    cells = cells.assign(cells=("within_" + cells["train_family"]).where(within, across))
    cells = pd.concat([cells.assign(cells="all"), cells], ignore_index=True)
    keys = ["feature_set", "metric", "cells"]
    groups = cells.groupby(keys, sort=False)
    table = groups.agg(
        value=("value", "mean"),
        baseline=("base", "mean"),
        n_cells=("value", "size"),
        n=("test", lambda tests: 90 * tests.nunique()),
    ).reset_index()
    by_test = cells.groupby([*keys, "test"], sort=False)["value"].mean().reset_index()
    worst = by_test.sort_values("value").groupby(keys, sort=False).first()
    worst = worst.rename(columns={"value": "worst", "test": "worst_test"}).reset_index()
    table = table.merge(worst, on=keys)
    own = table["feature_set"] == "all"
    table["low"], table["high"] = table["value"] - 0.02, table["value"] + 0.018
    table["difference"] = (table["value"] - table["baseline"]).mask(own)
    table["difference_low"] = table["difference"] - 0.011
    table["difference_high"] = table["difference"] + 0.012
    table["p"], table["p_holm"] = (pd.Series(v, table.index).mask(own) for v in (0.004, 0.031))
    return table.assign(run=first["run"], encoder=first["encoder"], seed=first["seed"])


def _controls(made: Made, base: Path, means: pd.DataFrame, rng: Any) -> None:
    rows, optimism = [], []
    for a, b in made.pairs:
        for metric in ("accuracy", "auc"):
            value = means[
                (means["feature_set"] == f"components/{a}--{b}")
                & (means["metric"] == metric)
                & (means["cells"] == "all")
            ]["value"].iloc[0]
            rows.append(
                {
                    **{"feature_set": f"components/{a}--{b}", "control": f"random/{a}--{b}"},
                    **{"metric": metric, "value": value, "control_mean": value - 0.03},
                    **{"control_sd": 0.011, "draws": 100, "rank": 2, "p": 2 / 101},
                }
            )
        optimism.append(
            {
                **{"feature_set": f"components/{a}--{b}", "score_on_search_pair": 0.9},
                **{"score_on_the_rest": 0.77, "baseline_on_search_pair": 0.7},
                **{"baseline_on_the_rest": 0.75, "n_cells": 30},
            }
        )
    pd.DataFrame(rows).to_parquet(made.add("controls", base / "controls.parquet"))
    pd.DataFrame(optimism).to_parquet(made.add("optimism", base / "optimism.parquet"))


def _searches(made: Made, base: Path, rng: Any, components: int) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    for a, b in [p for pair in made.pairs for p in (pair, pair[::-1])]:
        steps = np.arange(1, components)
        top = 0.86 * components
        curve = 0.68 + 0.2 * np.exp(-(((steps - top) / (0.45 * components)) ** 2))
        score = np.round((curve + rng.normal(0, 0.004, len(steps))) * 600) / 600
        frame = pd.DataFrame(
            {
                **{"step": steps, "removed": rng.permutation(components)[:-1], "score": score},
                **{"log_loss": 1 - score, "ties": rng.integers(1, 4, len(steps))},
                **{"certified": "bound", "left": components - steps},
            }
        )
        note = {"initial_score": 0.69, "kept": [1, 2], "score": "accuracy", "rows": 600}
        table = pa.Table.from_pandas(frame, preserve_index=False)
        table = table.replace_schema_metadata({b"clipsieve": json.dumps(note).encode()})
        pq.write_table(table, made.add("searches", base / "searches" / f"{a}--{b}.parquet"))
    rows = [
        {
            **{"train": a, "val": b, "layer": int(rng.integers(0, 12)), "head": r, "rank": r},
            **{"accuracy": 0.8 - 0.01 * r, "log_loss": 0.5, "auc": 0.85, "n": 140},
        }
        for a, b in made.pairs
        for r in range(1, 13)
    ]
    path = made.add("head_rankings", base / "head_rankings" / f"{made.pairs[0][0]}.parquet")
    pd.DataFrame(rows).to_parquet(path)


WORDS = {
    "vocabulary": [
        "gouache",
        "방탄소년단",
        "instaweather",
        "blurry",
        "generative",
        "と",
        "<b>&bold",
    ],
    "phrases": [
        "Detailed illustration of a futuristic brain-computer interface",
        "Photo with grainy, old film effect",
        "Generated image",
        "An image of two subjects",
        "Fast-paced race car blur",
        "Photograph with the artistic style of double exposure",
        "Vibrant city alley",
    ],
}


def _interpretation(made: Made, run: str, encoder: str, seed: int, base: Path, rng: Any) -> None:
    for texts, words in WORDS.items():
        directions = [
            (k, g, "all" if k == "probe" else "residual")
            for k in ("probe", "residual")
            for g in made.generators
        ]
        directions += [
            ("head", f"l{layer}_h{head}", f"heads/{a}--{b}")
            for a, b in made.pairs
            for layer, head in ((4, 6), (5, 5), (6, 0))
        ]
        rows = []
        for kind, direction, feature_set in directions:
            for side in ("nearest", "farthest"):
                order = rng.permutation(len(words))
                for rank, i in enumerate(order, 1):
                    cosine = (0.16 - 0.015 * rank) * (1 if side == "nearest" else -0.7)
                    z = 4.2 - rank + rng.normal(0, 0.3)
                    rows.append(
                        {
                            **{"run": run, "encoder": encoder, "seed": seed, "kind": kind},
                            **{"direction": direction, "feature_set": feature_set, "side": side},
                            **{"rank": rank, "text": words[i], "cosine": cosine, "z_random": z},
                            "z_shuffled": z - 0.4 if kind == "probe" else np.nan,
                            **{"p": float(np.exp(-z)), "above_null": bool(z > 1.6)},
                        }
                    )
        path = made.add("interpretation", base / "interpretation" / f"{texts}.parquet")
        pd.DataFrame(rows).to_parquet(path)
    edits = ["jpeg_90", "jpeg_50", "blur", "sharpen", "noise", "down_up", "saturation", "grid"]
    rows = [
        {
            **{"kind": kind, "direction": g, "feature_set": "all", "edit": edit},
            **{"cosine": float(c), "z_random": float(c / 0.06), "p": 0.01},
            **{"above_null": bool(abs(c) > 0.12), "n": 60},
        }
        for kind in ("probe", "residual")
        for g in made.generators
        for edit, c in zip(edits, rng.normal(0.02, 0.12, len(edits)), strict=True)
    ]
    pd.DataFrame(rows).to_parquet(made.add("concepts", base / "concepts.parquet"))
    import pyarrow as pa
    import pyarrow.parquet as pq

    n = len(made.generators)
    x = rng.uniform(0.06, 0.2, n)
    frame = pd.DataFrame(
        {
            **{"run": run, "encoder": encoder, "seed": seed},
            **{"generator": list(made.generators), "transfer": 0.85 - 0.8 * x},
            **{"max_cosine": x + rng.normal(0, 0.01, n), "texts": "vocabulary"},
        }
    )
    note = {
        "spearman": {"vocabulary": {"rho": -0.81, "low": -0.95, "high": -0.35, "p": 0.004, "n": n}}
    }
    table = pa.Table.from_pandas(frame, preserve_index=False)
    table = table.replace_schema_metadata({b"clipsieve": json.dumps(note).encode()})
    pq.write_table(table, made.add("interpretability", base / "interpretability.parquet"))


def _geometry(made: Made, base: Path, rng: Any) -> None:
    rows = []
    for image_set in [*made.generators, "photographs"]:
        iso, cosine = rng.uniform(0.05, 0.2), rng.uniform(0.5, 0.75)
        for feature_set in ["all", *(f"components/{a}--{b}" for a, b in made.pairs)]:
            gain = 0 if feature_set == "all" else rng.uniform(0.02, 0.12)
            rows.append(
                {
                    **{"image_set": image_set, "feature_set": feature_set},
                    **{"dimensions": 60 if feature_set == "all" else 9},
                    **{"iso_score": iso + gain, "mean_cosine": cosine - 2 * gain, "n": 150},
                }
            )
    pd.DataFrame(rows).to_parquet(made.add("geometry", base / "geometry.parquet"))


def _robustness(made: Made, run: str, encoder: str, seed: int, base: Path, rng: Any) -> None:
    grid = {
        "jpeg": [95, 85, 70, 50, 30],
        "webp": [90, 70, 50],
        "blur": [0.5, 1.0, 2.0, 3.0],
        "resize": [0.9, 0.7, 0.5],
        "noise": [2, 5, 10],
    }
    rows = []
    sets = ["all", "residual", *(f"components/{a}--{b}" for a, b in made.pairs)]
    sets += [f"heads/{a}--{b}" for pair in made.pairs for a, b in (pair, pair[::-1])]
    for i, feature_set in enumerate(sets):
        for metric in ("accuracy", "auc"):
            start = 0.8 + 0.01 * i + (0.05 if metric == "auc" else 0)
            rows.append((feature_set, "none", "none", 0.0, metric, start))
            for name, levels in grid.items():
                for k, level in enumerate(levels, 1):
                    edit = f"{name}_{level:g}".replace(".", "_")
                    value = start - 0.05 * k
                    rows.append((feature_set, edit, name, float(k), metric, value))
    frame = pd.DataFrame(
        rows, columns=["feature_set", "perturbation", "family", "level", "metric", "value"]
    ).assign(run=run, encoder=encoder, seed=seed, n=400)
    frame["low"], frame["high"] = frame["value"] - 0.03, frame["value"] + 0.03
    frame.to_parquet(made.add("robustness", base / "robustness.parquet"))


def _shortcuts(made: Made, seed: int, rng: Any) -> None:
    rows = []
    for i, g in enumerate(made.generators):
        accuracy = 0.97 if i == 1 else 0.52
        rows.append(
            {
                **{"generator": g, "accuracy": accuracy, "auc": min(accuracy + 0.02, 1)},
                **{"low": accuracy - 0.05, "high": min(accuracy + 0.04, 1), "n": 90},
                "strongest_fact": "format" if i == 1 else "bytes_per_pixel",
            }
        )
    base = made.root / f"seed{seed}"
    pd.DataFrame(rows).to_parquet(made.add("shortcuts", base / "shortcuts.parquet"))
    empty = pd.DataFrame(
        {
            **{k: pd.Series([], dtype="object") for k in ("kind", "first", "second")},
            **{k: pd.Series([], dtype="object") for k in ("first_split", "second_split")},
            "distance": pd.Series([], dtype="float64"),
        }
    )
    empty.to_parquet(made.add("leakage", base / "leakage.parquet"))


def _leaderboard(made: Made) -> None:
    means = pd.concat([pd.read_parquet(p) for p in made.inputs["means"]])
    board = means[(means["cells"] == "all") & means["metric"].isin(["accuracy", "auc"])]
    columns = [
        *("run", "encoder", "feature_set", "metric", "value", "low", "high", "worst", "worst_test"),
        *("baseline", "difference", "difference_low", "difference_high", "p_holm", "n_cells", "n"),
    ]
    board = board.groupby(["encoder", "feature_set", "metric"]).first().reset_index()[columns]
    board = board.assign(seeds=len(made.seeds), sd_over_seeds=0.01 if len(made.seeds) > 1 else None)
    selected = board["feature_set"].str.startswith("components/")
    board["selected"] = np.where(selected, 9.0, np.nan)
    board["selected_from"] = np.where(selected, 60.0, np.nan)
    board["jaccard"] = np.where(selected & (len(made.seeds) > 1), 0.3, np.nan)
    board["jaccard_by_chance"] = np.where(selected & (len(made.seeds) > 1), 0.08, np.nan)
    board.to_csv(made.add("leaderboard", made.root / "leaderboard.csv"), index=False)


def _manifest(made: Made, rng: Any) -> None:
    """Write the images, their manifest, and scores of the feature set `all` on the test split."""
    from PIL import Image

    data = made.root / "data"
    rows = []
    for image_set in ["photographs", *made.generators]:
        for i in range(10):
            name = f"{image_set}/{i:02}.png"
            path = data / name
            path.parent.mkdir(parents=True, exist_ok=True)
            level = rng.integers(0, 255, (6, 8, 3), dtype=np.uint8)
            size = (int(120 + 20 * i), 160)
            Image.fromarray(level).resize(size, Image.Resampling.BICUBIC).save(path)
            generated = image_set in made.generators
            rows.append(
                {
                    **{"image_id": name, "image_set": image_set},
                    "generator": image_set if generated else None,
                    "family": made.generators[image_set]["family"] if generated else None,
                    **{"source": "photographs", "label": 0 if generated else 1},
                    **{"group": f"g{i}", "path": name, "sha256": f"{i:064}"},
                    **{"bytes": path.stat().st_size, "format": "PNG", "width": size[0]},
                    **{"height": size[1], "mode": "RGB", "jpeg_quality": np.nan},
                    **{"perceptual_hash": f"{i:016}", "problem": None},
                    "split": "test" if i < 6 else "val" if i < 8 else "train",
                }
            )
    manifest = pd.DataFrame(rows)
    for seed in made.seeds:
        manifest[f"split_seed{seed}"] = manifest["split"]
    manifest.to_parquet(made.add("manifest", made.root / "manifest.parquet"))
    test = manifest[manifest["split"] == "test"]
    for seed in made.seeds:
        for encoder in made.encoders:
            scores = []
            for train in made.generators:
                part = test.assign(train=train, logit=rng.normal(0, 2, len(test)))
                part["logit"] += np.where(part["label"] == 1, 1.5, -1.5)
                scores.append(part)
            table = pd.concat(scores).assign(
                encoder=encoder, seed=seed, feature_set="all", draw=0, threshold=0.0
            )
            columns = [
                *("encoder", "seed", "feature_set", "draw", "train", "image_set", "generator"),
                *("image_id", "group", "label", "split", "logit", "threshold"),
            ]
            path = made.root / f"seed{seed}" / encoder / "scores" / "all.parquet"
            table[columns].to_parquet(made.add("scores", path))


if __name__ == "__main__":
    made_run = make_run(
        Path(sys.argv[1]), paper="paper" in sys.argv, seeds=(0, 1) if "seeds" in sys.argv else (0,)
    )
    (made_run.root / "generators.json").write_text(made_run.generators_json)
    (made_run.root / "encoders.json").write_text(made_run.encoders_json)
    inputs = {k: list(map(str, v)) for k, v in made_run.inputs.items()}
    (made_run.root / "inputs.json").write_text(json.dumps(inputs))
    print(made_run.root)
