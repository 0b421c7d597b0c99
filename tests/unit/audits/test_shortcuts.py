"""A planted shortcut is named; where file facts say nothing, nothing is claimed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from clipsieve.audits.shortcuts import SPECTRUM, audit, audit_generator, file_facts
from clipsieve.cli import main
from clipsieve.io.tables import read_table, write_table


def manifest(
    n: int = 150,
    seed: int = 0,
    *,
    per_photograph: int = 1,
    sets: tuple[tuple[str, str], ...] = (("photos", "photos"), ("gan", "photos")),
) -> pd.DataFrame:
    """Photographs and generators whose files have the same facts; `plant` changes that."""
    rng = np.random.default_rng(seed)
    rows = []
    for name, source in sets:
        for g in [g for g in range(n) for _ in range(1 if name == source else per_photograph)]:
            width = int(rng.choice([256, 320, 512]))
            rows.append(
                {
                    "image_id": f"{name}/{len(rows)}",
                    "image_set": name,
                    "source": source,
                    "generator": None if name == source else name,
                    "label": int(name == source),
                    "group": f"g{g}",
                    "bytes": int(width * 256 * rng.uniform(0.8, 1.6)),
                    "format": "PNG",
                    "width": width,
                    "height": 256,
                    "mode": str(rng.choice(["RGB", "L"])),
                    "jpeg_quality": pd.NA,
                    **dict(zip(SPECTRUM, rng.normal(-2, 0.3, len(SPECTRUM)), strict=True)),
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
    facts, values = file_facts(table)
    first = table.iloc[0]
    assert facts["bytes_per_pixel"][0, 0] == first["bytes"] / (first["width"] * first["height"])
    assert set(facts["jpeg_quality"].ravel()) == {90.0, -1.0}
    assert (facts["mode"].sum(axis=1) == 1).all()
    # a value that the classifier did not learn has no column
    other, _ = file_facts(table.assign(format="WEBP"), values)
    assert other["format"].shape == (len(table), 1)
    assert not other["format"].any()


@pytest.mark.parametrize("per_photograph", [3, 5])
def test_facts_that_say_nothing_raise_no_alarm_where_classes_are_unequal(per_photograph) -> None:
    for seed in range(2):
        table = manifest(300, seed, per_photograph=per_photograph)
        table = table.assign(width=256, mode="RGB").astype({"width": "Int64"})
        found = audit_generator(table, "split_seed1", "gan", resamples=300)
        # always saying "generated" is right this often; that is no knowledge
        assert found["accuracy"] > per_photograph / (per_photograph + 1) - 0.08
        assert abs(found["balanced_accuracy"] - 0.5) < 0.1
        assert not found["separates"]


def test_a_shortcut_among_unequal_classes_is_found() -> None:
    table = manifest(300, per_photograph=3)
    rng = np.random.default_rng(1)
    jpeg = (table["label"] == 1) & (rng.random(len(table)) < 0.6)
    table.loc[jpeg, "format"] = "JPEG"
    found = audit_generator(table, "split_seed1", "gan", resamples=300)
    assert found["separates"]
    # 60 % of real images known, of the others nothing
    assert found["auc"] == pytest.approx(0.8, abs=0.06)
    assert found["balanced_accuracy"] == pytest.approx(0.8, abs=0.06)


def test_scores_are_those_of_scikit_learn() -> None:
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.metrics import accuracy_score, balanced_accuracy_score, roc_auc_score

    table = manifest(200, per_photograph=2)
    table.loc[(table["label"] == 1) & (table.index % 3 == 0), "width"] = 700
    found = audit(table, "split_seed1", resamples=100)
    row = next(r for r in found if r["facts"] == "spectrum")
    fit = table["split_seed1"] != "test"
    X, y = table[list(SPECTRUM)].to_numpy(), table["label"].to_numpy()
    forest = RandomForestClassifier(
        100, min_samples_leaf=max(3, fit.sum() // 50), random_state=0
    ).fit(X[fit], y[fit])
    share = forest.predict_proba(X[~fit])[:, 1]
    assert row["auc"] == pytest.approx(roc_auc_score(y[~fit], share))
    assert row["accuracy"] == pytest.approx(accuracy_score(y[~fit], share > 0.5))
    balanced = balanced_accuracy_score(y[~fit], share > y[fit].mean())
    assert row["balanced_accuracy"] == pytest.approx(balanced)


def test_a_difference_of_spectra_is_seen_where_file_facts_are_equal() -> None:
    table = manifest()
    table.loc[table["label"] == 1, "spectrum_30"] -= 1
    rows = {r["facts"]: r for r in audit(table, "split_seed1", resamples=200)}
    assert not rows["file"]["separates"]
    assert rows["spectrum"]["separates"]
    assert rows["spectrum"]["strongest_fact"] == "spectrum_30"
    assert rows["both"]["auc"] > 0.95


TWO_SOURCES = (
    *(("photos", "photos"), ("gan", "photos"), ("twin", "photos")),
    *(("paintings", "paintings"), ("sd", "paintings")),
)


def test_facts_transfer_where_generators_share_them_and_reals_are_swapped() -> None:
    table = manifest(sets=TWO_SOURCES)
    # both sources are JPEG, as is one generator of paintings' family; that of photographs is PNG
    table.loc[table["image_set"].isin(["photos", "sd"]), "format"] = "JPEG"
    rows = audit(table, "split_seed1", resamples=200)
    cells = {(r["train"], r["test"], r["reals"]): r for r in rows if r["facts"] == "file"}
    assert set(cells) == {
        *((g, g, "photos") for g in ("gan", "twin")),
        ("sd", "sd", "paintings"),
        *(("gan", "twin", "photos"), ("twin", "gan", "photos")),
        *((g, "sd", reals) for g in ("gan", "twin") for reals in ("photos", "paintings")),
        *(("sd", g, reals) for g in ("gan", "twin") for reals in ("photos", "paintings")),
    }
    assert cells["gan", "twin", "photos"]["auc"] == 1
    # sd's own shortcut points the other way: JPEG means generated
    assert cells["gan", "sd", "paintings"]["auc"] < 0.1
    # with the photographs, which are JPEG too, it says nothing
    assert abs(cells["gan", "sd", "photos"]["auc"] - 0.5) < 0.15
    assert [r["strongest_fact"] is None for r in rows] == [r["train"] != r["test"] for r in rows]
    # equal names in two sources are two groups
    assert cells["gan", "sd", "photos"]["n"] == 100


def test_the_originals_of_an_aligned_run_are_audited_too(tmp_path: Path, caplog) -> None:
    originals = plant(manifest(), "width", 1024)
    scale = np.where(originals["label"] == 1, 0.25, 1.0)
    aligned = originals.assign(width=256, format="PNG", align_scale=scale, bytes=60_000)
    write_table(aligned.astype({"width": "Int64"}), tmp_path / "manifest.parquet")
    write_table(originals.drop(columns="split_seed1"), tmp_path / "scanned.parquet")
    call = ["audit-shortcuts", "--manifest", str(tmp_path / "manifest.parquet"), "--seed", "1"]
    call += ["--originals", str(tmp_path / "scanned.parquet"), "--resamples", "200"]
    with caplog.at_level("WARNING", logger="clipsieve"):
        assert main([*call, "--output", str(tmp_path / "shortcuts.parquet")]) == 0
    table, _ = read_table(tmp_path / "shortcuts.parquet")
    file = table[table["facts"] == "file"].set_index("files")
    assert file.loc["originals", "separates"]
    assert not file.loc["used", "separates"]
    assert "(original files), AUC 1.000; strongest: width" in caplog.text
    assert "real images: 100 % reduced; generated images: 100 % untouched" in caplog.text
    assert table["unlike_treatment"].notna().sum() == 1


def test_the_verb_writes_a_row_a_generator_and_warns(tmp_path: Path, caplog) -> None:
    write_table(plant(manifest(), "format", "JPEG"), tmp_path / "manifest.parquet")
    call = ["audit-shortcuts", "--manifest", str(tmp_path / "manifest.parquet"), "--seed", "1"]
    with caplog.at_level("WARNING", logger="clipsieve"):
        assert main([*call, "--output", str(tmp_path / "shortcuts.parquet")]) == 0
    assert "gan can be told from real images by file facts alone" in caplog.text
    table, _ = read_table(tmp_path / "shortcuts.parquet")
    assert table["generator"].tolist() == ["gan"] * 3
    assert table["facts"].tolist() == ["file", "spectrum", "both"]
    assert table["strongest_fact"].iloc[0] == "format"


def test_a_class_that_is_missing_is_named(tmp_path: Path, capsys) -> None:
    table = manifest()
    lone = table[(table["label"] == 0) | (table["split_seed1"] != "test")]
    write_table(lone, tmp_path / "manifest.parquet")
    call = ["audit-shortcuts", "--manifest", str(tmp_path / "manifest.parquet"), "--seed", "1"]
    assert main([*call, "--output", str(tmp_path / "s.parquet")]) == 2
    assert "only one class among its test images" in capsys.readouterr().err
