"""Made-up numbers of every evaluation, search and interpretation file: see report_inputs."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from clipsieve.evaluation.ranking import rank_methods
from clipsieve.selection.greedy.stop import facts_of_stops

if TYPE_CHECKING:
    from tests.helpers.report_inputs import Made

METRICS = ["accuracy", "balanced_accuracy", "auc", "ece"]


def cells(
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


def means(made: Made, cells: pd.DataFrame) -> pd.DataFrame:
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
    table["generators_low"] = table["difference"] - 0.03
    table["generators_high"] = table["difference"] + 0.031
    table["generators_se"], table["generators_freedom"] = 0.015, 9.0
    for name, p in (("generators_p", 0.02), ("generators_p_holm", 0.04)):
        table[name] = pd.Series(p, table.index).mask(own)
    table["value_generators_low"] = table["value"] - 0.05
    table["value_generators_high"] = table["value"] + 0.045
    tests = cells.assign(up=cells["value"] - cells["base"])
    up = tests.groupby([*keys, "test"], sort=False)["up"].mean().reset_index()
    counted = up.groupby(keys, sort=False)["up"].agg(
        better=lambda x: (x > 0).sum(), n_generators="size"
    )
    table = table.merge(counted.reset_index(), on=keys)
    table["confidence"], table["test_share"] = 0.95, 0.3
    return table.assign(run=first["run"], encoder=first["encoder"], seed=first["seed"])


def controls(made: Made, base: Path, means: pd.DataFrame, rng: Any) -> None:
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
                    "compared_value": value,
                    **{
                        "control_sd": 0.011,
                        "draws": 100,
                        "rank": 2,
                        "p": 2 / 101,
                        "p_holm": 4 / 101,
                    },
                }
            )
        optimism.append(
            {
                **{"feature_set": f"components/{a}--{b}", "score_on_search_pair": 0.9},
                **{"score_on_the_rest": 0.77, "baseline_on_search_pair": 0.7},
                **{
                    "baseline_on_the_rest": 0.75,
                    "n_cells": 30,
                    "winners_curse": 0.11,
                    "shift": 0.07,
                },
            }
        )
    pd.DataFrame(rows).to_parquet(made.add("controls", base / "controls.parquet"))
    pd.DataFrame(optimism).to_parquet(made.add("optimism", base / "optimism.parquet"))


def pairs(made: Made, means: pd.DataFrame) -> pd.DataFrame:
    """Joint rows: components against the baseline and among 100 random draws, heads against the baseline."""
    rows = []
    for family, against in (("components", "all"), ("components", "random"), ("heads", "all")):
        part = means[means["feature_set"].str.startswith(f"{family}/")]
        for (cells, metric), mine in part.groupby(["cells", "metric"], sort=False):
            drawn = against == "random"
            value, base = mine["value"].mean(), mine["baseline"].mean()
            gain = value - base
            rows.append(
                {
                    **{"family": family, "against": against, "cells": cells, "metric": metric},
                    **{"pairs": len(made.pairs), "value": value, "against_value": base},
                    **{"difference": gain, "difference_low": np.nan if drawn else gain - 0.008},
                    **{"difference_high": np.nan if drawn else gain + 0.009, "p": 0.03},
                    **{"p_holm": 0.06, "sd_between_pairs": mine["difference"].std()},
                    "better": int((mine["difference"] > 0).sum()),
                    **{"generators_low": np.nan if drawn else gain - 0.025},
                    **{"generators_high": np.nan if drawn else gain + 0.026},
                    **{"generators_p": np.nan if drawn else 0.2},
                    **{"generators_p_holm": np.nan if drawn else 0.4},
                    **{"generators_se": np.nan if drawn else 0.012},
                    **{"generators_freedom": np.nan if drawn else 7.0},
                    **{"rank": 3 if drawn else np.nan, "draws": 100 if drawn else 1},
                }
            )
    names = {k: means[k].iloc[0] for k in ("run", "encoder", "seed")}
    return pd.DataFrame(rows).assign(**names, confidence=0.95, test_share=0.3)


def ranking(made: Made, cells: pd.DataFrame) -> pd.DataFrame:
    """Rank on the cells that all sets without draws have, by the evaluation's own function."""
    cells = cells[(cells["train"] != cells["test"]) & (cells["draw"] == 0)]
    given = {g for pair in made.pairs for g in pair}
    cells = cells[~cells["train"].isin(given) & ~cells["test"].isin(given)]
    rows = []
    for metric, part in cells.groupby("metric", sort=False):
        by_test = part.groupby(["test", "feature_set"])["value"].mean().unstack()
        found = rank_methods(by_test.to_numpy(), less=metric == "ece")
        for name, rank in zip(by_test.columns, found.average, strict=True):
            rows.append(
                {
                    **{"comparison": "every pair", "feature_set": name, "metric": metric},
                    **{"average_rank": rank, "sets": by_test.shape[1]},
                    **{"generators": len(by_test), "n_cells": len(by_test) * (len(by_test) - 1)},
                    **{"friedman": found.statistic, "friedman_p": found.p},
                    "critical_difference": found.critical_difference,
                    "best_told_apart": rank - found.average.min() >= found.critical_difference,
                }
            )
    names = {k: cells[k].iloc[0] for k in ("run", "encoder", "seed")}
    return pd.DataFrame(rows).assign(**names)


def operating(means: pd.DataFrame) -> pd.DataFrame:
    """True and false alarms made from the AUC; two probes have no threshold for 1 %."""
    auc = means[(means["metric"] == "auc") & (means["cells"] != "all_with_diagonal")]
    auc = auc[~auc["feature_set"].str.startswith(("random", "shuffled"))]
    parts = []
    for share, asked, value in (
        ("tpr", 0.01, auc["value"] - 0.5),
        ("fpr", 0.01, 0.02 + 0.05 * (1 - auc["value"])),
        ("tpr", 0.05, auc["value"] - 0.2),
        ("fpr", 0.05, 0.07 + 0.05 * (1 - auc["value"])),
    ):
        part = auc[["run", "encoder", "seed", "feature_set", "cells", "n_cells", "n"]].copy()
        part["metric"] = f"{share}_at_val_fpr_{asked * 100:.0f}"
        part["asked"], part["value"] = asked, value.clip(0, 1)
        gap = auc["difference"] if share == "tpr" else 0.1 * auc["difference"]
        part["baseline"], part["difference"] = part["value"] - gap, gap
        for ends, reach in (("", 0.02), ("value_generators_", 0.06)):
            part[f"{ends}low"] = (part["value"] - reach).clip(0, 1)
            part[f"{ends}high"] = (part["value"] + reach).clip(0, 1)
        for ends, reach in (("difference_", 0.01), ("generators_", 0.03)):
            part[f"{ends}low"], part[f"{ends}high"] = gap - reach, gap + reach
        part["generators_p"], part["generators_se"], part["generators_freedom"] = 0.3, 0.014, 9.0
        part["groups"], part["training"] = 60, "one"
        part["probes_without"] = 2 if asked == 0.01 else 0
        parts.append(part)
    return pd.concat(parts, ignore_index=True).assign(confidence=0.95, test_share=0.3)


def searches(made: Made, base: Path, rng: Any, components: int) -> None:
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
        path = np.r_[0.69, score], np.r_[0.31, 1 - score], np.full(components, 0.02)
        note = {"initial_score": 0.69, "score": "accuracy", "columns": components, "rows": 600}
        note |= facts_of_stops(*path, score="accuracy", columns=components)
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


def layers(made: Made, base: Path) -> None:
    """Layer rankings that rise and fall with depth; layer -1 is the final embedding."""
    depth = 12
    for train in made.generators:
        rows = []
        for val in (g for g in made.generators if g != train):
            auc = 0.6 + 0.02 * np.minimum(np.arange(depth), 8) - 0.001 * len(val)
            for layer in range(-1, depth):
                value = 0.7 if layer < 0 else auc[layer]
                rank = 0 if layer < 0 else 1 + int((auc > auc[layer]).sum())
                rows.append(
                    {
                        **{"train": train, "val": val, "layer": layer, "accuracy": value - 0.05},
                        **{"log_loss": 0.6, "auc": value, "rank": rank, "n": 140},
                    }
                )
        path = made.add("layer_rankings", base / "layer_rankings" / f"{train}.parquet")
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


def interpretation(made: Made, run: str, encoder: str, seed: int, base: Path, rng: Any) -> None:
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
                            **{"p": min(1.0, float(np.exp(-z))), "above_null": bool(z > 1.6)},
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
        "spearman": {"vocabulary": {"rho": -0.81, "low": -0.95, "high": -0.35, "p": 0.004, "n": n}},
        "within_families": {"vocabulary": {"rho": -0.12, "p": 0.71, "n": n, "families": 2}},
        "sweep": {"vocabulary": [{"C": 0.1, "rho": -0.4}, {"C": 1.0, "rho": 0.2}]},
    }
    table = pa.Table.from_pandas(frame, preserve_index=False)
    table = table.replace_schema_metadata({b"clipsieve": json.dumps(note).encode()})
    pq.write_table(table, made.add("interpretability", base / "interpretability.parquet"))


def removal(made: Made, run: str, encoder: str, seed: int, base: Path, rng: Any) -> None:
    """Transfer at four sizes of each search, of the generators that are not in it."""
    rows = [
        {
            **{"run": run, "encoder": encoder, "seed": seed, "search": f"{a}--{b}"},
            **{"step": step, "left": 60 - step, "metric": metric, "train": i, "test": t},
            "value": float(rng.uniform(0.4, 1)),
        }
        for pair in made.pairs
        for a, b in (pair, pair[::-1])
        for step, metric in itertools.product((0, 20, 51, 59), ("accuracy", "auc"))
        for i, t in itertools.product([g for g in made.generators if g not in pair], repeat=2)
    ]
    pd.DataFrame(rows).to_parquet(made.add("removal", base / "removal.parquet"))


def geometry(made: Made, base: Path, rng: Any) -> None:
    rows = []
    for image_set in [*made.generators, "photographs"]:
        iso, cosine = rng.uniform(0.05, 0.2), rng.uniform(0.5, 0.75)
        for feature_set in ["all", *(f"components/{a}--{b}" for a, b in made.pairs)]:
            gain = 0 if feature_set == "all" else rng.uniform(0.02, 0.12)
            bands = {
                **{"iso_random_low": iso + 0.03, "iso_random_high": iso + 0.08},
                **{"cosine_random_low": cosine - 0.2, "cosine_random_high": cosine - 0.05},
            }
            rows.append(
                {
                    **{"image_set": image_set, "feature_set": feature_set},
                    **{"dimensions": 60 if feature_set == "all" else 9},
                    **{"iso_score": iso + gain, "mean_cosine": cosine - 2 * gain, "n": 150},
                    **({} if feature_set == "all" else bands),
                }
            )
    pd.DataFrame(rows).to_parquet(made.add("geometry", base / "geometry.parquet"))


def robustness(made: Made, run: str, encoder: str, seed: int, base: Path, rng: Any) -> None:
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
