"""From prompts to Table 4: images of a program stand in the tables beside those of others."""

from __future__ import annotations

import pandas as pd

from clipsieve.io.tables import read_table
from tests.workflow.conftest import GENERATED


def test_a_run_from_prompts_ends_with_table_4_and_has_nothing_left_to_do(generated):
    page = generated.root / "results/generated/tables/table4.html"
    assert page.exists()
    cells = pd.read_parquet(generated.root / "results/generated/seed0/tiny/cells.parquet")
    assert {"painted", "smeared"} <= set(cells["train"]) & set(cells["test"])
    assert generated.planned("--configfile", GENERATED) == {}


def test_made_images_have_the_groups_of_their_photographs(generated):
    manifest = pd.read_parquet(generated.root / "results/generated/manifest.parquet")
    groups = {s: set(rows["group"]) for s, rows in manifest.groupby("image_set")}
    assert groups["painted"] == groups["photographs"]
    assert (manifest["image_set"] == "painted").sum() == 24


def test_one_lost_shard_is_made_again_alone_and_the_same(generated, tmp_path):
    project = generated.copy(tmp_path / "p")
    shard = project.root / "data/generated/shards/painted"
    before = {f.name: f.read_bytes() for f in (shard / "1").glob("*.png")}
    old, _ = read_table(shard / "1.parquet")
    for file in (shard / "1").iterdir():
        file.unlink()
    (shard / "1.parquet").unlink()
    target = "data/generated/shards/painted/1.parquet"
    project.snakemake("--cores", "1", "--configfile", GENERATED, "--", target)
    assert {f.name: f.read_bytes() for f in (shard / "1").glob("*.png")} == before
    new, _ = read_table(shard / "1.parquet")
    assert new.drop(columns="seconds").equals(old.drop(columns="seconds"))


def test_another_setting_makes_only_that_generator_s_images_again(generated):
    (generated.root / "seed.yaml").write_text("generators: {painted: {generate: {seed: 5}}}\n")
    jobs = generated.planned("--configfile", GENERATED, "seed.yaml")
    assert jobs["generate"] == 2
    assert jobs["gather"] == jobs["scan"] == jobs["embed"] == 1
    assert "prompts" not in jobs
