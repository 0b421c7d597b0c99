"""The whole DAG with a CLS tower and a pooled tower of timm, and with arrays that a user brings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock

from clipsieve.io import store
from clipsieve.io.layers import layers_shape, read_layers
from clipsieve.io.tables import read_table
from tests.workflow.conftest import Project, bare_project

CONFIG = "tests/config/encoders.yaml"
RUN = Path("results/encoders")
SETS = (
    *("photographs", "upsample_transposed", "upsample_nearest", "denoise_tv_4"),
    "denoise_bilateral_8",
)
DIVIDED = "upsample_nearest"


def bring_arrays(root: Path) -> None:
    """Write a user's arrays: those of the CLS tower with heads and layers, and vectors of words."""
    folder = root / "arrays" / "mine"
    folder.mkdir(parents=True)
    for image_set in SETS:
        path = root / RUN / f"embeddings/timm_cls/{image_set}.h5"
        found = store.read_embeddings(path)
        # in another order, as a user's may be
        order = np.random.default_rng(0).permutation(len(found.image_id))
        arrays = {"heads": store.read_heads(path), "layers": read_layers(path)}
        np.savez(
            folder / f"{image_set}.npz",
            image_id=found.image_id.astype(str)[order],
            embedding=found.embedding[order],
            head_basis=store.read_head_basis(path),
            **{name: array[order] for name, array in arrays.items()},
        )
    vectors = np.random.default_rng(1).normal(size=(40, found.embedding.shape[1]))
    np.savez(root / "arrays/words.npz", text=[f"word {i}" for i in range(40)], embedding=vectors)


@pytest.fixture(scope="session")
def finished_encoders(tmp_path_factory, worker_id) -> Project:
    own = tmp_path_factory.getbasetemp()
    shared = own if worker_id == "master" else own.parent
    root, done = shared / "encoders", shared / "encoders.done"
    with FileLock(shared / "encoders.lock"):
        if not done.exists():
            project = bare_project(root)
            run = ("--profile", "profiles/local", "--configfile", CONFIG)
            own_towers = "use={encoders: [timm_cls, timm_pooled], texts: []}"
            project.snakemake(*run, "--config", own_towers, "--", "embeddings")
            bring_arrays(root)
            project.snakemake(*run)
            done.touch()
    return Project(root)


def means(project: Project, encoder: str) -> pd.DataFrame:
    table, _ = read_table(project.root / RUN / f"seed0/{encoder}/means.parquet")
    chosen = table[(table["cells"] == "all") & (table["metric"] == "auc")]
    return chosen.set_index("feature_set")["value"]


def test_every_encoder_has_every_family_and_page(finished_encoders):
    root = finished_encoders.root / RUN
    for encoder in ("timm_cls", "timm_pooled", "mine"):
        families = {name.partition("/")[0] for name in means(finished_encoders, encoder).index}
        assert {"all", "heads", "layers"} <= families, encoder
        controls, _ = read_table(root / f"seed0/{encoder}/controls.parquet")
        assert {c.partition("/")[0] for c in controls["control"]} >= {"random_layers"}
    drawing = (root / "figures/layers.svg").read_text()
    for title in ("CLS token and registers", "attention pooling", "arrays of my own"):
        assert title in drawing
    leaderboard = pd.read_csv(root / "leaderboard.csv")
    assert set(leaderboard["encoder"]) == {"timm_cls", "timm_pooled", "mine"}
    words, _ = read_table(root / "seed0/mine/interpretation/words.parquet")
    assert words["text"].str.startswith("word ").all()


def test_heads_of_the_pooled_tower_are_of_full_width(finished_encoders):
    files = finished_encoders.root / RUN / "embeddings"
    shapes = {
        e: store.heads_shape(files / e / "photographs.h5") for e in ("timm_cls", "timm_pooled")
    }
    assert shapes["timm_cls"][1:] == (3, 4, 12)
    assert shapes["timm_pooled"][1:] == (3, 4, 48)
    assert layers_shape(files / "timm_pooled/photographs.h5")[1:] == (3, 48)
    assert store.read_attributes(files / "timm_pooled/photographs.h5")["pool_mlp_share"] > 0


def test_arrays_of_the_users_own_give_what_the_encoder_that_made_them_gives(finished_encoders):
    mine, theirs = (means(finished_encoders, encoder) for encoder in ("mine", "timm_cls"))
    pd.testing.assert_series_equal(mine.sort_index(), theirs.sort_index(), rtol=1e-6)


def test_the_large_set_was_embedded_in_parts(finished_encoders):
    files = finished_encoders.root / RUN / "embeddings/timm_cls"
    parts = sorted((files / "parts" / DIVIDED).glob("*.h5"))
    ids = [i for part in parts for i in store.read_embeddings(part).image_id]
    assert len(parts) == 3
    assert ids == store.read_embeddings(files / f"{DIVIDED}.h5").image_id.tolist()
    table, _ = read_table(finished_encoders.root / RUN / f"images/{DIVIDED}.parquet")
    assert ids == table["image_id"].tolist()


def test_nothing_is_left_to_do(finished_encoders):
    assert finished_encoders.planned("--configfile", CONFIG) == {}
