"""Probes applied to test images, through `clipsieve transfer`, against plain products of the rows."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from clipsieve.cli import main
from clipsieve.io.dataset import read_rows
from clipsieve.io.feature_sets import FeatureSet, write_feature_sets
from clipsieve.io.probes import StoredProbe, write_probes
from clipsieve.io.roles import RoleError
from clipsieve.probes.apply import apply_probes
from tests.helpers.data_sets import write_image_set
from tests.helpers.score_files import read_score_table

GENERATORS = ("one", "three", "two")
SOURCES = {"one": "real", "two": "real", "three": "other"}
FAMILIES = {"one": "gan", "two": "diffusion", "three": "gan"}


@pytest.fixture
def run(tmp_path: Path) -> tuple[Path, list[StoredProbe]]:
    for k, name in enumerate((*GENERATORS, "real", "other")):
        write_image_set(tmp_path, name, label=int(name in ("real", "other")), shift=float(k))
    rng = np.random.default_rng(5)
    probes = [
        StoredProbe(
            feature_set, draw, train, "embedding", columns, rng.normal(size=len(columns)),
            float(rng.normal()), float(rng.normal()), {"grid": "fast"}, {},
        )
        for feature_set, draw, columns in (
            ("components/one--two", 0, [1, 4]), ("all", 0, [0, 1, 2, 3]), ("all", 1, [0, 2]),
        )
        for train in GENERATORS
        if feature_set == "all" or train == "three"
    ]  # fmt: skip
    for train in GENERATORS:
        mine = [probe for probe in probes if probe.train == train]
        write_probes(tmp_path / f"probes/{train}.npz", mine)
    write_feature_sets(
        tmp_path / "features.json",
        [
            FeatureSet("all", "all"),
            FeatureSet("components/one--two", "components", excluded=["one", "two"]),
        ],
    )
    return tmp_path, probes


def transfer(folder: Path, *flags: str, **changes: object) -> int:
    sets = (*GENERATORS, "real", "other")
    options = {"sources": json.dumps(SOURCES), "families": json.dumps(FAMILIES), **changes}
    probes = [str(folder / f"probes/{train}.npz") for train in options.pop("train", GENERATORS)]
    return main(
        ["transfer", "--features", str(folder / "features.json"), "--probes", *probes,
         "--embeddings", *(str(folder / f"embeddings/{name}.h5") for name in sets),
         "--splits", *(str(folder / f"splits/{name}.parquet") for name in sets),
         "--run", "r", "--encoder", "tiny", "--seed", "0", "--output", str(folder / "all.h5"),
         *(part for name, text in options.items() for part in (f"--{name}", str(text))), *flags]
    )  # fmt: skip


def test_every_logit_is_the_product_of_row_and_coefficients(run) -> None:
    folder, probes = run
    assert transfer(folder) == 0
    table = read_score_table(folder / "all.h5")
    assert set(table["split"]) == {"test"}
    seen = 0
    for name in (*GENERATORS, "real", "other"):
        files = ([folder / f"embeddings/{name}.h5"], [folder / f"splits/{name}.parquet"])
        rows = read_rows(*files, ("test",), "test")
        for probe in probes:
            mine = table[
                (table["feature_set"] == probe.feature_set)
                & (table["draw"] == probe.draw)
                & (table["train"] == probe.train)
                & (table["image_set"] == name)
            ].set_index("image_id")
            if name in ("one", "two") and probe.feature_set != "all":
                assert mine.empty
                continue
            for image, row in zip(rows.image_id, rows.embedding, strict=True):
                logit = probe.intercept + sum(
                    float(row[c]) * w for c, w in zip(probe.columns, probe.coef, strict=True)
                )
                assert mine.loc[image, "logit"] == pytest.approx(logit, abs=1e-12)
            assert set(mine["threshold"]) == {probe.threshold}
            assert set(mine["source"]) == {SOURCES.get(name, name)}
            assert set(mine["family"]) == {FAMILIES.get(name, "")}
            assert set(mine["grid"]) == {"fast"}
            seen += len(mine)
    assert seen == len(table)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sources": '{"one": "real", "two": "real"}'}, "--sources: does not name the generator three"),
        ({"families": '{"one": "gan", "three": "gan"}'}, "--families: does not name the generator two"),
        ({"train": (*GENERATORS, "one")}, "two probes of all, draw 0, trained on one"),
    ],
)  # fmt: skip
def test_what_is_missing_or_repeated_is_named(run, capsys, changes, message) -> None:
    folder, _ = run
    assert transfer(folder, **changes) == 2
    assert message in capsys.readouterr().err
    assert not (folder / "all.h5").exists()


def test_a_probe_trained_on_what_its_selection_was_given_is_refused(run, capsys) -> None:
    folder, probes = run
    wrong = dataclasses.replace(probes[0], train="one")
    write_probes(folder / "probes/one.npz", [wrong])
    assert transfer(folder) == 2
    assert "one took part in the selection" in capsys.readouterr().err


def test_a_logit_that_is_no_number_is_refused(run, capsys) -> None:
    folder, probes = run
    wrong = dataclasses.replace(probes[1], intercept=float("nan"))
    write_probes(folder / "probes/one.npz", [wrong])
    assert transfer(folder) == 2
    assert "by the probe of all trained on one is not a finite number" in capsys.readouterr().err


def test_rows_of_another_split_are_refused_by_the_function_too(run) -> None:
    folder, probes = run
    files = ([folder / "embeddings/two.h5"], [folder / "splits/two.parquet"])
    rows = read_rows(*files, ("val", "test"), "test")
    with pytest.raises(RoleError, match="may read only test rows, was handed 10 of 'val'"):
        apply_probes(probes[1:3], rows, {"all": (), "components/one--two": ()})


def test_probes_of_the_own_pair_see_that_pair_alone(run) -> None:
    """What the optimism reads: the pair's probes on the pair's test images, in a file of its own."""
    folder, probes = run
    columns = probes[0].columns
    pair = [
        dataclasses.replace(probes[0], train=train, coef=np.full(len(columns), k + 1.0))
        for k, train in enumerate(("one", "two"))
    ]
    for probe in pair:
        write_probes(folder / f"probes/{probe.train}.npz", [probe])
    entry = FeatureSet(
        "components/one--two", "components", pair=("one", "two"), excluded=("one", "two")
    )
    write_feature_sets(folder / "features.json", [entry])
    assert transfer(folder, train=("one", "two")) == 2  # no other evaluation may have them
    assert transfer(folder, "--own-pair", train=("one", "two")) == 0
    table = read_score_table(folder / "all.h5")
    assert set(table["train"]) == {"one", "two"}
    assert set(table.loc[table["label"] == 0, "image_set"]) == {"one", "two"}
    assert set(table["split"]) == {"test"}
    write_probes(folder / "probes/three.npz", [probes[0]])
    assert transfer(folder, "--own-pair", train=("three",)) == 2
