"""Samples: nested, balanced, coordinated by group, and full although some files are broken."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from clipsieve.cli import main
from clipsieve.images.members import Member
from clipsieve.images.sample import sample_order


def files(counts: dict[str, int], side: str = "0_real") -> list[Member]:
    return [
        Member(f"{folder}/{side}/{i:04}.png", f"{folder}/{i:04}")
        for folder, n in counts.items()
        for i in range(n)
    ]


COUNTS = {"airplane": 300, "bird": 40, "cat": 300, "dog": 7}


def test_samples_are_nested_and_do_not_depend_on_the_order_of_the_listing():
    members = files(COUNTS)
    order = sample_order(members, layout="wang2020")
    assert sorted(m.path for m in order) == sorted(m.path for m in members)
    assert sample_order(members[::-1], layout="wang2020") == order
    assert sample_order(members, layout="wang2020", seed=1)[:50] != order[:50]


@pytest.mark.parametrize("n", [1, 5, 28, 100, 300, 500])
def test_folders_take_turns(n):
    part = sample_order(files(COUNTS), layout="wang2020")[:n]
    found = Counter(m.path.split("/")[0] for m in part)
    # a plain loop: fill the folders one image at a time while they have any
    left, want, k = dict(COUNTS), Counter(), 0
    while k < n:
        open_folders = [f for f in COUNTS if want[f] < COUNTS[f]]
        least = min(want[f] for f in open_folders)
        want[next(f for f in open_folders if want[f] == least)] += 1
        k += 1
    assert left == COUNTS
    assert sorted(found.values()) == sorted(+v for v in want.values() if v)


def test_sets_that_share_groups_are_sampled_alike():
    real = files(COUNTS)
    fake = [Member(f"{m.group}_{k}.png", m.group) for m in files(COUNTS, "x") for k in range(2)]
    reals = [m.group for m in sample_order(real, layout="wang2020")[:60]]
    fakes = [m.group for m in sample_order(fake)[:120]]
    assert set(Counter(fakes).values()) <= {1, 2}
    shared = len(set(reals) & set(fakes))
    assert shared >= 56


def test_files_with_a_problem_take_no_place():
    members = [Member("a.png", "a"), Member("b.png", None, "no class"), Member("c.png", "c")]
    assert {m.path for m in sample_order(members)} == {"a.png", "c.png"}


def test_scan_takes_that_many_usable_images(tmp_path: Path, caplog):
    for folder in "ab":
        (tmp_path / "set" / folder).mkdir(parents=True)
        for i in range(10):
            buffer = io.BytesIO()
            pixels = np.random.default_rng([i, ord(folder)]).integers(0, 255, (40, 40, 3), np.uint8)
            Image.fromarray(pixels).save(buffer, "PNG")
            data = buffer.getvalue() if i % 3 else b"broken"
            (tmp_path / "set" / folder / f"{i}.png").write_bytes(data)

    def scanned(*options: str) -> pd.DataFrame:
        command = ["scan", "--image-set", "s", "--folder", str(tmp_path / "set"), "--label", "1"]
        command += ["--data-root", str(tmp_path), "--source", "s", *options]
        assert main([*command, "--output", str(tmp_path / "t.parquet")]) == 0
        return pd.read_parquet(tmp_path / "t.parquet")

    everything = scanned()
    good = everything[everything["problem"].isna()]
    assert len(good) == 12
    before: set[str] = set()
    for n in (2, 5, 8, 12):
        table = scanned("--sample", str(n))
        usable = table[table["problem"].isna()]
        assert len(usable) == n
        assert before <= set(usable["path"]) <= set(good["path"])
        before = set(usable["path"])
    caplog.clear()
    assert len(scanned("--sample", "50")) == 20
    assert "50 images wanted, 12 there" in caplog.text
