"""The command split: what of an image table decides in which split an image is."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from clipsieve.cli import main
from clipsieve.images.scan import COLUMNS
from clipsieve.images.splits import assign_splits


def write_images(path: Path, image_set: str, groups: list[str]) -> Path:
    """An image table with three images in each group."""
    rows = [
        {"image_id": f"{image_set}/{group}-{k}.png", "image_set": image_set, "group": group}
        for group in groups
        for k in range(3)
    ]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    table["label"] = int(image_set == "photos")
    fixed = {name: kind for name, kind in COLUMNS.items() if not table[name].isna().all()}
    table.astype(fixed).to_parquet(path, index=False)
    return path


def split(folder: Path, image_set: str, groups: list[str], *options: str) -> pd.DataFrame:
    source = write_images(folder / "photos.parquet", "photos", [f"g{i}" for i in range(60)])
    images = write_images(folder / f"{image_set}.parquet", image_set, groups)
    output = folder / "splits.parquet"
    call = ["split", "--images", str(images), "--source-images", str(source), *options]
    assert main([*call, "--output", str(output)]) == 0
    return pd.read_parquet(output)


def test_a_group_is_never_divided_and_a_generator_follows_its_source(tmp_path):
    """Groups decide, not images: the same photograph's images are in one split in both sets."""
    real = split(tmp_path, "photos", [f"g{i}" for i in range(60)], "--seed", "1")
    generated = split(tmp_path, "gan", [f"g{i}" for i in range(40)], "--seed", "1")
    of_group = real.groupby("group")["split"].agg(["first", "nunique"])
    assert (of_group["nunique"] == 1).all()
    assert (generated["split"] == generated["group"].map(of_group["first"])).all()


def test_the_seed_and_the_shares_of_the_command_decide(tmp_path):
    groups = [f"g{i}" for i in range(60)]
    names = pd.Series([group for group in groups for _ in range(3)])
    found = {}
    for seed in (0, 7):
        options = ("--seed", str(seed), "--test", "0.4", "--val", "0.5")
        found[seed] = split(tmp_path, "photos", groups, *options)["split"].tolist()
        assert found[seed] == assign_splits(names, names, seed=seed, test=0.4, val=0.5).tolist()
    assert found[0] != found[7]
