"""The verbs on files: planted meanings are found, rows obey their roles, mistakes are one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import false_discovery_control

from clipsieve.cli import main
from clipsieve.geometry import iso_score, mean_cosine
from clipsieve.interpretation.confounders import SWEEP
from clipsieve.interpretation.material import read_material
from clipsieve.io import store
from clipsieve.io.feature_sets import FeatureSet, write_feature_sets
from clipsieve.io.probes import StoredProbe, read_probes, write_probes
from clipsieve.io.tables import read_table, write_table

D, LAYERS, HEADS, WIDTH = 24, 2, 3, 4
SPLITS = np.array(["train"] * 60 + ["val"] * 20 + ["test"] * 20)


class Files:
    """A small run on disk: one source, two generators, texts, probes, heads and one edit."""

    def __init__(self, root: Path) -> None:
        self.root = root
        rng = np.random.default_rng(0)
        self.texts = rng.normal(size=(200, D))
        self.projection = rng.normal(size=(LAYERS, HEADS, D, WIDTH)).astype(np.float32)
        scales = np.geomspace(2, 0.2, D)
        base = np.linspace(1, 2, D)
        self.shift = 2.0 * self.texts[7] / np.linalg.norm(self.texts[7])
        self.embedding = {
            "real": rng.normal(size=(100, D)) * scales * 0.3 + base,
            "gan": rng.normal(size=(100, D)) * scales * 0.3 + base + self.shift,
            "diff": rng.normal(size=(100, D)) * scales * 0.3 + base,
        }
        for name, X in self.embedding.items():
            self.write_images(name, X, rng)
        self.heads = {name: store.read_heads(root / f"e/{name}.h5") for name in self.embedding}
        store.write_texts(
            root / "t/words.h5",
            text=[f"word {i}" for i in range(200)] + ["Word 7"],
            embedding=np.vstack([self.texts, self.texts[7]]),
            duplicate_of=np.array([-1] * 200 + [7]),
        )
        store.write_head_maps(
            root / "encoder.h5",
            head_basis=np.tile(np.eye(WIDTH), (LAYERS, HEADS, 1, 1)),
            head_projection=self.projection,
        )
        write_feature_sets(
            root / "f/heads.json",
            [FeatureSet("heads/gan--diff", "heads", ("gan", "diff"), "heads", draws=([[1, 2]],))],
        )
        write_feature_sets(
            root / "f/components.json",
            [
                FeatureSet(
                    "components/gan--diff", "components", ("gan", "diff"),
                    draws=([0, 5, 9],), excluded=("gan", "diff"),
                )
            ],
        )  # fmt: skip
        probe = {"draw": 0, "intercept": 0.0, "threshold": 0.0, "params": {}, "facts": {}}
        for name, direction in (("gan", self.texts[7]), ("diff", rng.normal(size=D) * scales)):
            one = StoredProbe(
                feature_set="all", train=name, space="embedding", columns=None,
                coef=-direction, **probe,
            )  # fmt: skip
            write_probes(root / f"p/all/{name}.npz", [one])
            gap = self.residual(name)
            two = StoredProbe(
                feature_set="residual", train=name, space="residual", columns=None,
                coef=np.array([-3.0]), residual=gap, **probe,
            )  # fmt: skip
            write_probes(root / f"p/residual/{name}.npz", [two])
            nulls = [
                StoredProbe(
                    feature_set="shuffled", train=name, space="embedding", columns=None,
                    coef=rng.normal(size=D) * scales, **{**probe, "draw": draw},
                )
                for draw in range(3)
            ]  # fmt: skip
            write_probes(root / f"p/shuffled/{name}.npz", nulls)
        self.write_edit("blur", self.embedding["real"] + 0.5 * self.texts[7])

    def write_images(self, name: str, X: np.ndarray, rng: np.random.Generator) -> None:
        ids = [f"{name}/{i:03}.png" for i in range(100)]
        store.write_embeddings(
            self.root / f"e/{name}.h5", image_id=ids, embedding=X.astype(np.float32),
            heads=(rng.normal(size=(100, LAYERS, HEADS, WIDTH)) + 1).astype(np.float32),
            head_basis=np.tile(np.eye(WIDTH), (LAYERS, HEADS, 1, 1)),
        )  # fmt: skip
        real = name == "real"
        frame = pd.DataFrame(
            {
                "image_id": ids, "group": [f"g{i}" for i in range(100)],
                "label": int(real), "generator": None if real else name, "split": SPLITS,
            }
        )  # fmt: skip
        write_table(frame, self.root / f"s/{name}.parquet")
        write_table(frame.assign(source="real"), self.root / f"i/{name}.parquet")

    def write_edit(self, edit: str, X: np.ndarray) -> None:
        store.write_embeddings(
            self.root / f"edits/{edit}.h5",
            image_id=[f"real_{edit}/{i:03}.jpg" for i in range(100)],
            embedding=X.astype(np.float32),
        )

    def residual(self, name: str) -> np.ndarray:
        means = [self.embedding[s][SPLITS == "train"].mean(axis=0) for s in (name, "real")]
        return means[0] / np.linalg.norm(means[0]) - means[1] / np.linalg.norm(means[1])

    def paths(self, folder: str, suffix: str) -> list[str]:
        return [str(self.root / folder / f"{name}.{suffix}") for name in self.embedding]

    def probes(self, *families: str) -> list[str]:
        return [str(self.root / f"p/{f}/{g}.npz") for f in families for g in ("gan", "diff")]

    def material(self, *families: str) -> list[str]:
        return [
            "--probes", *self.probes(*families), "--embeddings", *self.paths("e", "h5"),
            "--splits", *self.paths("s", "parquet"), "--run", "r", "--encoder", "tiny",
        ]  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(tmp_path_factory.mktemp("run"))


def test_interpret_finds_the_planted_word_and_merges_its_repeat(files: Files):
    output = files.root / "words.parquet"
    heads = ["--features", str(files.root / "f/heads.json"), "--head-maps"]
    status = main(
        ["interpret", "--texts", str(files.root / "t/words.h5"), "--top", "3", "--output",
         str(output), *files.material("all", "residual", "shuffled"), *heads,
         str(files.root / "encoder.h5")]
    )  # fmt: skip
    assert status == 0
    table, note = read_table(output)
    assert set(table["run"]) == {"r"}
    assert (note["texts"], note["texts_without_repeats"], note["shuffled_probes"]) == (201, 200, 6)
    assert table.groupby(["kind", "direction", "feature_set"]).size().tolist() == [6] * 7
    assert set(table["kind"]) == {"probe", "pattern", "residual", "head"}
    for kind in ("probe", "residual"):
        one = table[(table["kind"] == kind) & (table["direction"] == "gan")]
        best = one[one["side"] == "nearest"].sort_values("rank")
        assert best["text"].iloc[0] == "word 7"
        assert best["above_null"].iloc[0]
        assert "Word 7" not in set(one["text"])
    first = table[(table["rank"] == 1) & table["p"].notna()]
    np.testing.assert_allclose(first["q"], false_discovery_control(first["p"]))
    nothing = table[(table["direction"] == "diff") & (table["kind"] == "probe")]
    assert not nothing["above_null"].any()
    # A head's direction is the projected mean over train and val, both labels weighing the same.
    head = table[(table["kind"] == "head") & (table["rank"] == 1) & (table["side"] == "nearest")]
    seen = SPLITS != "test"
    generated = np.concatenate([files.heads[g][seen, 1, 2] for g in ("gan", "diff")]).mean(axis=0)
    mean = (generated + files.heads["real"][seen, 1, 2].mean(axis=0)) / 2
    vector = files.projection[1, 2] @ mean
    lengths = np.linalg.norm(files.texts, axis=1) * np.linalg.norm(vector)
    assert head["cosine"].item() == pytest.approx((files.texts @ vector / lengths).max(), abs=1e-5)
    assert head["direction"].item() == "l1_h2"
    assert head["z_shuffled"].isna().all()
    # a mean output is exchangeable with no draw: it has no p value, and is never marked
    assert head[["p", "p_rank", "q"]].isna().all(axis=None)
    assert not head["above_null"].any()


def test_centred_texts_are_listed_beside_the_plain_ones(files: Files):
    output = files.root / "centred.parquet"
    call = ["interpret", "--texts", str(files.root / "t/words.h5"), "--output", str(output)]
    assert main([*call, "--centred", *files.material("all", "shuffled")]) == 0
    table = read_table(output)[0]
    assert table.groupby("centred").size().nunique() == 1
    units = files.texts / np.linalg.norm(files.texts, axis=1, keepdims=True)
    moved = units - units.mean(axis=0)
    moved /= np.linalg.norm(moved, axis=1, keepdims=True)
    best = table[table["centred"] & (table["kind"] == "probe") & (table["direction"] == "gan")]
    best = best[(best["side"] == "nearest") & (best["rank"] == 1)]
    (probe,) = (p for p in read_probes(files.probes("all")[0]))
    direction = -probe.coef / np.linalg.norm(probe.coef)
    assert best["cosine"].item() == pytest.approx((moved @ direction).max(), abs=1e-5)


def test_two_runs_write_the_same_bytes(files: Files):
    outputs = [files.root / f"again{i}.parquet" for i in (0, 1)]
    for output in outputs:
        main(["interpret", "--texts", str(files.root / "t/words.h5"), "--draws", "50", "--output",
              str(output), *files.material("all", "shuffled")])  # fmt: skip
    assert outputs[0].read_bytes() == outputs[1].read_bytes()


def test_concepts_reads_the_edit_in_the_right_sign_from_train_and_val_alone(files: Files):
    output = files.root / "concepts.parquet"
    edit = ["blur", str(files.root / "e/real.h5"), str(files.root / "edits/blur.h5")]
    changed = files.embedding["real"].copy()
    changed[SPLITS == "test"] += 1e6  # would swamp the mean, were it read
    changed[:, 3] -= 0.5
    files.write_edit("other", changed)
    other = ["other", str(files.root / "e/real.h5"), str(files.root / "edits/other.h5")]
    status = main(
        ["concepts", "--edit", *edit, "--edit", *other, "--output", str(output),
         *files.material("all", "shuffled")]
    )  # fmt: skip
    assert status == 0
    table = read_table(output)[0].set_index(["direction", "edit"])
    blur = table.loc[("gan", "blur")]
    assert blur["cosine"] == pytest.approx(1.0, abs=1e-5)
    assert blur["above_null"]
    assert blur["n"] == 80
    expected = -files.texts[7][3] / np.linalg.norm(files.texts[7])
    assert table.loc[("gan", "other"), "cosine"] == pytest.approx(expected, abs=1e-5)
    assert not table.loc[("diff", "blur"), "above_null"]


def test_concepts_leave_out_heads_of_another_space_than_the_embeddings(files: Files):
    maps, output = files.root / "wide.h5", files.root / "wide.parquet"
    store.write_head_maps(
        maps,
        head_basis=np.tile(np.eye(WIDTH), (LAYERS, HEADS, 1, 1)),
        head_projection=np.ones((LAYERS, HEADS, D + 5, WIDTH)),
    )
    edit = ["blur", str(files.root / "e/real.h5"), str(files.root / "edits/blur.h5")]
    heads = ["--features", str(files.root / "f/heads.json"), "--head-maps"]
    call = ["concepts", "--edit", *edit, "--output", str(output), *files.material("all"), *heads]
    assert main([*call, str(files.root / "encoder.h5")]) == 0
    assert set(read_table(output)[0]["kind"]) == {"probe", "head"}
    assert main([*call, str(maps)]) == 0
    assert set(read_table(output)[0]["kind"]) == {"probe"}


def test_equal_group_names_of_two_sources_are_two_groups(files: Files):
    rows = {name: pd.DataFrame({"generator": [name], "source": [source], "label": [0]})
            for name, source in (("gan", "real"), ("diff", "other"))}  # fmt: skip
    for name, table in rows.items():
        write_table(table, files.root / f"sources/{name}.parquet")
    material = read_material(
        embeddings=files.paths("e", "h5"), splits=files.paths("s", "parquet"),
        probes=[], images=[str(files.root / f"sources/{n}.parquet") for n in rows],
        features=[str(files.root / "f/heads.json")], head_maps=str(files.root / "encoder.h5"),
        head_mode="difference", draws=20, seed=0, what="test",
    )  # fmt: skip
    (head,) = material.meaningless.heads.values()
    assert {str(group).split("/")[0] for group in head.group} == {"real", "other"}
    assert len(set(head.group)) == 2 * 80


def test_geometry_measures_train_and_val_before_and_after(files: Files):
    output = files.root / "geometry.parquet"
    status = main(
        ["geometry", "--embeddings", *files.paths("e", "h5"), "--splits",
         *files.paths("s", "parquet"), "--features", str(files.root / "f/components.json"),
         "--output", str(output)]
    )  # fmt: skip
    assert status == 0
    table = read_table(output)[0].set_index(["image_set", "feature_set"])
    X = files.embedding["gan"].astype(np.float32)[SPLITS != "test"]
    before, after = table.loc[("gan", "all")], table.loc[("gan", "components/gan--diff")]
    assert before["iso_score"] == pytest.approx(iso_score(X))
    assert before["mean_cosine"] == pytest.approx(mean_cosine(X))
    assert after["iso_score"] == pytest.approx(iso_score(X[:, [0, 5, 9]]))
    assert (before["n"], before["dimensions"], after["dimensions"]) == (80, D, 3)
    assert after["selected_on"]
    assert not before["selected_on"]
    assert not table.loc[("real", "components/gan--diff"), "selected_on"]


def test_interpretability_joins_transfer_and_texts(files: Files):
    cells = pd.DataFrame(
        [
            ("r", "tiny", 0, "all", train, test, train, "accuracy", 0.5 + 0.1 * i)
            for i, (train, test) in enumerate([("gan", "diff"), ("diff", "gan"), ("gan", "gan")])
        ],
        columns=[
            *("run", "encoder", "seed", "feature_set", "train", "test", "train_family"),
            *("metric", "value"),
        ],
    )
    write_table(cells, files.root / "cells.parquet")
    main(["interpret", "--texts", str(files.root / "t/words.h5"), "--output",
          str(files.root / "n/words.parquet"), *files.material("all")])  # fmt: skip
    output = files.root / "interpretability.parquet"
    status = main(
        ["interpretability", "--cells", str(files.root / "cells.parquet"), "--interpretation",
         str(files.root / "n/words.parquet"), "--texts", str(files.root / "t/words.h5"),
         "--probes", *files.probes("all"), "--embeddings", *files.paths("e", "h5"), "--splits",
         *files.paths("s", "parquet"), "--images", *files.paths("i", "parquet"),
         "--output", str(output)]
    )  # fmt: skip
    assert status == 0
    everything, note = read_table(output)
    table = everything[everything["tuned"]]
    assert table["transfer"].tolist() == pytest.approx([0.5, 0.6])
    assert table["texts"].tolist() == ["words", "words"]
    assert table["max_cosine"].iloc[0] == pytest.approx(1.0, abs=1e-5)
    assert note["spearman"]["words"]["n"] == 2
    assert note["spearman"]["words"]["rho"] is None
    assert [one["C"] for one in note["sweep"]["words"]] == list(SWEEP)
    fixed = everything[~everything["tuned"]]
    assert fixed.groupby("C").size().tolist() == [2] * len(SWEEP)
    # a probe that separates along the residual is close to it
    assert fixed[fixed["generator"] == "gan"]["cos_residual"].max() > 0.9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--draws", "10"], "--draws 10: at least 20"),
        (["--features", "f/heads.json"], "head maps"),
        (["--probes", "p/shuffled/gan.npz"], "nothing"),
        (["--embeddings", "e/gan.h5"], "1 embedding files, 3 split tables"),
        (["--texts", "t/other.h5"], "texts of 5 columns, embeddings of 24"),
        (["--probes", "p/other.npz"], "has 5 weights"),
        (["--probes", "p/columns.npz"], "has column 700, the embeddings have 24 columns"),
        (["--probes", "p/residual5.npz"], "has 5 weights, the embeddings have 24 columns"),
    ],
)
def test_mistakes_are_named_in_one_line(
    files: Files, change: list[str], message: str, capsys: pytest.CaptureFixture[str]
):
    store.write_texts(
        files.root / "t/other.h5", text=["a"], embedding=np.ones((1, 5)), duplicate_of=[-1]
    )
    write_probes(
        files.root / "p/other.npz",
        [StoredProbe("all", 0, "gan", "embedding", None, np.ones(5), 0.0, 0.0, {}, {})],
    )
    for name, part in (
        ("columns", {"space": "embedding", "columns": [3, 700], "coef": np.ones(2)}),
        ("residual5", {"space": "residual", "columns": None, "coef": np.ones(1),
                       "residual": np.ones(5)}),
    ):  # fmt: skip
        probe = {"draw": 0, "intercept": 0.0, "threshold": 0.0, "params": {}, "facts": {}}
        stored = StoredProbe(feature_set="all", train="gan", **probe, **part)
        write_probes(files.root / f"p/{name}.npz", [stored])
    values = [str(files.root / v) if "/" in v else v for v in change[1:]]
    status = main(
        ["interpret", "--texts", str(files.root / "t/words.h5"), *files.material("all"),
         "--output", str(files.root / "never.parquet"), change[0], *values]
    )  # fmt: skip
    error = capsys.readouterr().err
    assert status == 2
    assert message.replace("nothing", "no probe, residual or head") in error
    assert len(error.strip().splitlines()) == 1
    assert not (files.root / "never.parquet").exists()
