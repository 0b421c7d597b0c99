"""A planted shortcut is named; where file facts say nothing, nothing is claimed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from clipsieve.audits.shortcuts import audit_generator, file_facts
from clipsieve.cli import main
from clipsieve.io.tables import read_table, write_table


def manifest(n: int = 150, seed: int = 0) -> pd.DataFrame:
    """Photographs and a generator whose files have the same facts; `plant` changes that."""
    rng = np.random.default_rng(seed)
    rows = []
    for name in ("photos", "gan"):
        for g in range(n):
            width = int(rng.choice([256, 320, 512]))
            rows.append(
                {
                    "image_id": f"{name}/{g}",
                    "image_set": name,
                    "source": "photos",
                    "generator": None if name == "photos" else name,
                    "label": int(name == "photos"),
                    "group": f"g{g}",
                    "bytes": int(width * 256 * rng.uniform(0.8, 1.6)),
                    "format": "PNG",
                    "width": width,
                    "height": 256,
                    "mode": str(rng.choice(["RGB", "L"])),
                    "jpeg_quality": pd.NA,
                    "split_seed1": ("train", "val", "test")[g % 3],
                }
            )
    return pd.DataFrame(rows).astype({"jpeg_quality": "Int64", "width": "Int64", "bytes": "Int64"})


def plant(table: pd.DataFrame, column: str, value: object) -> pd.DataFrame:
    planted = table.copy()
    planted.loc[planted["label"] == 1, column] = value
    return planted


def test_files_that_are_alike_are_not_told_apart() -> None:
    found = audit_generator(manifest(), "split_seed1", "gan", resamples=500)
    assert found["low"] < 0.5 < found["high"]
    assert found["auc_low"] < 0.5 < found["auc_high"]
    assert not found["separates"]
    assert found["n"] == 100


def test_facts_that_are_all_equal_name_none() -> None:
    equal = manifest(60).assign(width=256, bytes=1000, mode="RGB").astype({"width": "Int64"})
    found = audit_generator(equal, "split_seed1", "gan", resamples=200)
    assert (found["accuracy"], found["auc"], found["strongest_fact"]) == (0.5, 0.5, "none")


@pytest.mark.parametrize(
    ("column", "value", "fact"),
    [
        ("format", "JPEG", "format"),
        ("width", 1024, "width"),
        ("height", 300, "height"),
        ("jpeg_quality", 75, "jpeg_quality"),
        ("mode", "CMYK", "mode"),
        ("bytes", 7_000_000, "bytes_per_pixel"),
    ],
)
def test_a_planted_shortcut_is_named(column: str, value: object, fact: str) -> None:
    found = audit_generator(plant(manifest(), column, value), "split_seed1", "gan", resamples=300)
    assert found["accuracy"] == 1
    assert found["separates"]
    assert found["strongest_fact"] == fact
    # all right on 50 groups does not prove that all are
    assert 0.9 < found["low"] < 1


def test_a_partial_shortcut_is_measured() -> None:
    table = manifest(600)
    rng = np.random.default_rng(1)
    jpeg = (table["label"] == 1) & (rng.random(len(table)) < 0.5)
    table.loc[jpeg, "format"] = "JPEG"
    found = audit_generator(table, "split_seed1", "gan", resamples=500)
    # JPEG means real; of the rest, two thirds are generated: right in 3 of 4
    assert found["accuracy"] == pytest.approx(0.75, abs=0.05)
    assert found["low"] < found["accuracy"] < found["high"]
    assert found["strongest_fact"] == "format"


def test_facts_are_numbers_per_image() -> None:
    table = plant(manifest(3), "jpeg_quality", 90)
    facts = file_facts(table)
    first = table.iloc[0]
    assert facts["bytes_per_pixel"][0, 0] == first["bytes"] / (first["width"] * first["height"])
    assert set(facts["jpeg_quality"].ravel()) == {90.0, -1.0}
    assert (facts["mode"].sum(axis=1) == 1).all()


def test_the_verb_writes_a_row_a_generator_and_warns(tmp_path: Path, caplog) -> None:
    write_table(plant(manifest(), "format", "JPEG"), tmp_path / "manifest.parquet")
    call = ["audit-shortcuts", "--manifest", str(tmp_path / "manifest.parquet"), "--seed", "1"]
    with caplog.at_level("WARNING", logger="clipsieve"):
        assert main([*call, "--output", str(tmp_path / "shortcuts.parquet")]) == 0
    assert "gan is told from real images by file facts alone" in caplog.text
    table, _ = read_table(tmp_path / "shortcuts.parquet")
    assert table["generator"].tolist() == ["gan"]
    assert table["strongest_fact"].tolist() == ["format"]


def test_a_class_that_is_missing_is_named(tmp_path: Path, capsys) -> None:
    table = manifest()
    lone = table[(table["label"] == 0) | (table["split_seed1"] != "test")]
    write_table(lone, tmp_path / "manifest.parquet")
    call = ["audit-shortcuts", "--manifest", str(tmp_path / "manifest.parquet"), "--seed", "1"]
    assert main([*call, "--output", str(tmp_path / "s.parquet")]) == 2
    assert "one class alone among its test images" in capsys.readouterr().err
