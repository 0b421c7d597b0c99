"""Write a run's files with made-up numbers and the columns of docs/formats.md, for the report's tests.

A run for looking at: `python -m tests.unit.report_inputs FOLDER [paper] [seeds]`.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from clipsieve.cli.page_options import parse_facts
from clipsieve.report.facts import Facts
from tests.helpers import report_numbers
from tests.helpers.score_files import write_score_table

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


def facts_of(made: Made) -> Facts:
    return parse_facts(made.generators_json, made.encoders_json)


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
            cells = report_numbers.cells(made, run, encoder, seed, sets, rng)
            cells.to_parquet(made.add("cells", base / "cells.parquet"))
            means = report_numbers.means(made, cells)
            means.to_parquet(made.add("means", base / "means.parquet"))
            pairs = report_numbers.pairs(made, means)
            pairs.to_parquet(made.add("pairs", base / "pairs.parquet"))
            ranking = report_numbers.ranking(made, cells)
            ranking.to_parquet(made.add("ranking", base / "ranking.parquet"))
            operating = report_numbers.operating(means)
            operating.to_parquet(made.add("operating", base / "operating.parquet"))
            _training_choice(made, base, run, encoder, seed)
            report_numbers.controls(made, base, means, rng)
            report_numbers.searches(made, base, rng, components)
            report_numbers.layers(made, base)
            report_numbers.removal(made, run, encoder, seed, base, rng)
            report_numbers.interpretation(made, run, encoder, seed, base, rng)
            report_numbers.geometry(made, base, rng)
            report_numbers.robustness(made, run, encoder, seed, base, rng)
    _manifest(made, rng)
    _leaderboard(made)
    return made


def _training_choice(made: Made, base: Path, run: str, encoder: str, seed: int) -> None:
    """Sets of up to two generators for each held-out one, every number another one."""
    rows = [
        {
            **{"run": run, "encoder": encoder, "seed": seed, "held_out": held_out, "step": step},
            **{"generator": [g for g in made.generators if g != held_out][step - 1]},
            **{"transfer": 0.7 + 0.01 * place, "value": 0.6 + 0.02 * place + 0.1 * step},
            **{"random_mean": 0.65, "random_best": 0.75, "random_sets": 10, "all_others": 0.9},
        }
        for place, held_out in enumerate(made.generators)
        for step in (1, 2)
    ]
    pd.DataFrame(rows).to_parquet(made.add("training_choice", base / "training_choice.parquet"))


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
            if "components" in family:
                # one direction in two has something to warn of
                warned = {f"{a}--{b}": ["the score sat at its ceiling for 3 of 59 steps"]}
                entries[-1]["facts"] = {
                    "alpha": "log_loss",
                    "columns": components,
                    "warnings": warned,
                }
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


def _shortcuts(made: Made, seed: int, rng: Any) -> None:
    rows = []
    for i, train in enumerate(made.generators):
        for test in made.generators:
            for facts in ("file", "spectrum", "both"):
                auc = 0.99 if i == 1 and train == test else 0.52
                rows.append(
                    {
                        **{"files": "used", "facts": facts, "train": train, "test": test},
                        **{"reals": "photographs", "generator": test, "n": 90},
                        **{"accuracy": auc, "low": auc - 0.05, "high": auc},
                        **{"auc": auc, "auc_low": auc - 0.05, "auc_high": min(auc + 0.04, 1)},
                        **{"balanced_accuracy": auc - 0.01, "balanced_low": auc - 0.06},
                        **{"balanced_high": auc, "separates": auc > 0.9, "strongest_auc": auc},
                        "strongest_fact": "format" if i == 1 else "bytes_per_pixel",
                        "unlike_treatment": None,
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
        *("generators_low", "generators_high", "generators_p", "generators_p_holm", "better"),
        *("n_generators", "value_generators_low", "value_generators_high"),
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
                    **{"perceptual_hash": f"{i:016}", "is_constant": False, "problem": None},
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
            path = made.root / f"seed{seed}" / encoder / "scores" / "all.h5"
            write_score_table(
                made.add("scores", path),
                table,
                sources=dict.fromkeys(made.generators, "photographs"),
                families={name: entry["family"] for name, entry in made.generators.items()},
                run=made.root.name,
            )


if __name__ == "__main__":
    made_run = make_run(
        Path(sys.argv[1]), paper="paper" in sys.argv, seeds=(0, 1) if "seeds" in sys.argv else (0,)
    )
    (made_run.root / "generators.json").write_text(made_run.generators_json)
    (made_run.root / "encoders.json").write_text(made_run.encoders_json)
    inputs = {k: list(map(str, v)) for k, v in made_run.inputs.items()}
    (made_run.root / "inputs.json").write_text(json.dumps(inputs))
    print(made_run.root)
