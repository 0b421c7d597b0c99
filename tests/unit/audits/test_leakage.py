"""A planted leak of each kind is seen and named; expected likeness is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from clipsieve.audits.leakage import find_leaks, shared_names
from clipsieve.cli import main
from clipsieve.io.tables import read_table, write_table

SPLITS = ("train", "val", "test")


def manifest(n: int = 30, seed: int = 0) -> pd.DataFrame:
    """One source with two generators made from it, a second source with its own generator."""
    rng = np.random.default_rng(seed)
    rows = []
    for source, sets in (
        ("photos", ("photos", "gan_a", "gan_b")),
        ("paintings", ("paintings", "sd")),
    ):
        for g in range(n):
            look = int(rng.integers(1, 2**63))
            for name in sets:
                rows.append(
                    {
                        "image_id": f"{name}/{g}.png",
                        "image_set": name,
                        "source": source,
                        "generator": None if name == source else name,
                        "label": int(name == source),
                        "group": f"{source}{g}",
                        "sha256": f"{len(rows):064x}",
                        # generated images look like the photograph that they were made from
                        "perceptual_hash": f"{look:016x}",
                        "split_seed0": SPLITS[g % 3],
                    }
                )
    return pd.DataFrame(rows)


def at(table: pd.DataFrame, image_id: str) -> int:
    return int(table.index[table["image_id"] == image_id][0])


def found(table: pd.DataFrame, bits: int = 0) -> list[tuple]:
    leaks = find_leaks(table, "split_seed0", near_duplicate_bits=bits)
    return [tuple(row)[:5] for row in leaks.itertuples(index=False)]


def test_an_honest_manifest_has_no_finding() -> None:
    assert found(manifest(), bits=4) == []


def test_a_group_in_two_splits_across_generators_is_found() -> None:
    table = manifest()
    table.loc[at(table, "gan_b/4.png"), "split_seed0"] = "test"
    kinds = found(table)
    assert ("group", "photos/4.png", "gan_b/4.png", "val", "test") in kinds
    # its look is that of its group's other images too
    assert {kind for kind, *_ in kinds} == {"group", "near_duplicate"}


def test_an_identical_file_across_sources_is_found() -> None:
    table = manifest()
    a, b = at(table, "photos/0.png"), at(table, "sd/1.png")
    table.loc[b, "sha256"] = table.loc[a, "sha256"]
    pair = ("photos/0.png", "sd/1.png", "train", "val")
    # one of them is called real, the other generated
    assert found(table) == [("identical", *pair), ("identical_classes", *pair)]


def test_a_near_duplicate_within_a_generator_is_found_up_to_the_threshold() -> None:
    table = manifest()
    a, b = at(table, "gan_a/3.png"), at(table, "gan_a/5.png")
    value = int(table.loc[a, "perceptual_hash"], 16) ^ (1 << 3) ^ (1 << 41)
    table.loc[b, "perceptual_hash"] = f"{value:016x}"
    assert found(table, bits=1) == []
    kinds = found(table, bits=2)
    # it looks like the photograph of gan_a/3, too
    assert {kind for kind, *_ in kinds} == {"near_duplicate", "near_duplicate_classes"}
    assert any("gan_a/5.png" in row for row in kinds)
    table.loc[b, "perceptual_hash"] = table.loc[a, "perceptual_hash"]
    assert any("gan_a/5.png" in row for row in found(table, bits=0))


def test_findings_are_those_of_all_pairs_compared() -> None:
    rng = np.random.default_rng(3)
    n = 300
    base = rng.integers(1, 2**63, size=40)
    hashes = [int(base[k % 40]) ^ (1 << int(rng.integers(64))) for k in range(n)]
    table = pd.DataFrame(
        {
            "image_id": [f"i{k}" for k in range(n)],
            "source": "s",
            "label": 1,
            "group": [f"g{k}" for k in range(n)],
            "sha256": [f"{k}" for k in range(n)],
            "perceptual_hash": [f"{h:016x}" for h in hashes],
            "split_seed0": rng.choice(SPLITS, n),
        }
    )
    splits = table["split_seed0"].tolist()
    close = {
        frozenset(((hashes[a], splits[a]), (hashes[b], splits[b])))
        for a in range(n)
        for b in range(a)
        if 0 < (hashes[a] ^ hashes[b]).bit_count() <= 2 and splits[a] != splits[b]
    }
    ours = find_leaks(table, "split_seed0", near_duplicate_bits=2)
    ours = ours[ours["distance"] > 0]
    where = {f"i{k}": (hashes[k], splits[k]) for k in range(n)}
    assert {frozenset((where[r.first], where[r.second])) for r in ours.itertuples()} == close
    assert len(close) > 20


def test_pictures_of_one_colour_and_images_without_a_split_say_nothing() -> None:
    table = manifest()
    table.loc[[at(table, "sd/0.png"), at(table, "gan_a/1.png")], "perceptual_hash"] = "0" * 16
    table.loc[at(table, "gan_b/4.png"), "split_seed0"] = None
    assert found(table) == []


def test_a_file_in_both_classes_is_found_in_whatever_split() -> None:
    table = manifest()
    a, b = at(table, "photos/0.png"), at(table, "gan_a/0.png")
    table.loc[b, "sha256"] = table.loc[a, "sha256"]
    assert found(table) == [("identical_classes", "photos/0.png", "gan_a/0.png", "train", "train")]
    other = at(table, "sd/3.png")
    table.loc[other, "sha256"] = table.loc[a, "sha256"]
    assert [row[2] for row in found(table)] == ["gan_a/0.png", "sd/3.png"]


def test_a_generated_image_may_look_like_its_own_photograph_alone() -> None:
    table = manifest()
    # gan_a/3 and photos/6 are both in train, and of two groups
    a, b = at(table, "photos/6.png"), at(table, "gan_a/3.png")
    table.loc[b, "perceptual_hash"] = table.loc[a, "perceptual_hash"]
    said = [("near_duplicate_classes", "photos/6.png", "gan_a/3.png", "train", "train")]
    assert found(table) == said
    value = int(table.loc[a, "perceptual_hash"], 16) ^ (1 << 7)
    table.loc[b, "perceptual_hash"] = f"{value:016x}"
    assert found(table) == []
    assert found(table, bits=1) == said


def test_the_verb_names_files_in_both_classes_and_the_ways_on(tmp_path: Path, capsys) -> None:
    table = manifest()
    table.loc[at(table, "gan_a/0.png"), "sha256"] = table.loc[at(table, "photos/0.png"), "sha256"]
    write_table(table, tmp_path / "manifest.parquet")
    call = ["audit-leakage", "--manifest", str(tmp_path / "manifest.parquet"), "--seed", "0"]
    assert main([*call, "--output", str(tmp_path / "leakage.parquet")]) == 2
    error = capsys.readouterr().err
    said = "photos/0.png (train) and gan_a/0.png (train): identical file in both classes"
    assert said in error
    assert "audit.on_leak: warn" in error


def test_thousands_of_identical_placeholders_take_no_time() -> None:
    from time import process_time

    n = 20_000
    table = pd.DataFrame(
        {
            "image_id": [f"i{k}" for k in range(n)],
            "source": "s",
            "label": [k % 2 for k in range(n)],
            "group": [f"g{k}" for k in range(n)],
            "sha256": [f"{k}" for k in range(n)],
            "perceptual_hash": "00ff00ff00ff00ff",
            "split_seed0": [SPLITS[k % 3] for k in range(n)],
        }
    )
    start = process_time()
    leaks = find_leaks(table, "split_seed0", near_duplicate_bits=4)
    assert process_time() - start < 10
    assert leaks["kind"].value_counts().to_dict() == {
        "near_duplicate": n - int((table["split_seed0"] == "train").sum()),
        "near_duplicate_classes": n // 2,
    }


def test_equal_names_in_two_sources_are_not_one_group() -> None:
    table = manifest()
    lone = at(table, "paintings/1.png")
    table.loc[lone, ["group", "perceptual_hash"]] = ["photos0", "00ff00ff00ff00f1"]
    assert found(table) == []
    assert shared_names(table, "split_seed0") == 1


def test_the_verb_stops_names_the_images_and_leaves_the_table(tmp_path: Path, capsys) -> None:
    table = manifest()
    table.loc[at(table, "gan_b/4.png"), "split_seed0"] = "test"
    write_table(table, tmp_path / "manifest.parquet")
    call = [
        *("audit-leakage", "--manifest", str(tmp_path / "manifest.parquet"), "--seed", "0"),
        *("--output", str(tmp_path / "leakage.parquet")),
    ]
    assert main(call) == 2
    error = capsys.readouterr().err
    assert "photos/4.png (val) and gan_b/4.png (test): group" in error
    assert len(pd.read_csv(tmp_path / "leakage_found.csv")) == 2
    assert main([*call, "--on-leak", "warn"]) == 0
    assert set(read_table(tmp_path / "leakage.parquet")[0]["kind"]) == {"group", "near_duplicate"}
    write_table(manifest(), tmp_path / "manifest.parquet")
    assert main(call) == 0
    assert not (tmp_path / "leakage_found.csv").exists()
    assert read_table(tmp_path / "leakage.parquet")[0].empty


def test_a_seed_without_splits_is_named(tmp_path: Path, capsys) -> None:
    write_table(manifest(), tmp_path / "manifest.parquet")
    call = ["audit-leakage", "--manifest", str(tmp_path / "manifest.parquet"), "--seed", "7"]
    assert main([*call, "--output", str(tmp_path / "leakage.parquet")]) == 2
    assert "no column 'split_seed7'" in capsys.readouterr().err


@pytest.mark.parametrize("bits", [-1, 17])
def test_a_threshold_out_of_range_is_refused(tmp_path: Path, capsys, bits: int) -> None:
    call = ["audit-leakage", "--manifest", "x", "--seed", "0", "--near-duplicate-bits", str(bits)]
    assert main([*call, "--output", str(tmp_path / "leakage.parquet")]) == 2
    assert "between 0 and 16" in capsys.readouterr().err
