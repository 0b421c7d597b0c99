"""Shards: killed and gone on with, filtered pictures, seeds, gathering; a small program makes the images."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clipsieve import cli
from clipsieve.generation.making import LARGEST_SEED, Made, Settings, seed_for
from clipsieve.generation.shard import LEDGER, Shard, make_shard, problem_of
from clipsieve.io.tables import read_table, write_table
from tests.helpers.generating import generate, options, pictures, write_prompts

# a picture of the seed's own noise; prompts that begin with "dark" are black on their first two attempts
PAINTER = """
import random, sys, time
from PIL import Image
prompt, seed, output, pause, tried = sys.argv[1:6]
time.sleep(float(pause))
pixels = random.Random(int(seed)).randbytes(192)
if prompt.startswith("dark"):
    with open(tried, "a+") as file:
        file.seek(0)
        attempt = sum(line.strip() == prompt for line in file)
        print(prompt, file=file)
    if attempt < 2:
        pixels = bytes(192)
Image.frombytes("RGB", (8, 8), pixels).save(output)
"""


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "painter.py").write_text(PAINTER)
    write_prompts(tmp_path / "prompts.parquet", 6)
    return tmp_path


def recipe(folder: Path, pause: float = 0, tried: str = "tried.txt", **more):
    words = [sys.executable, str(folder / "painter.py"), "{prompt}", "{seed}", "{output}"]
    words += [str(pause), str(folder / tried)]
    return {"adapter": "command", "command": words, "images_per_prompt": 1, **more}


def darken(folder: Path) -> None:
    table, _ = read_table(folder / "prompts.parquet")
    table.loc[1, "text"] = "dark night"
    write_table(table, folder / "prompts.parquet")


def test_killed_again_and_again_it_ends_with_the_same_pictures(folder):
    slow = recipe(folder, pause=0.05)
    generate(folder, slow, "whole")
    words = [sys.executable, "-m", "clipsieve", *options(folder, slow, "killed")]
    kills, shard = 0, folder / "killed"
    for _ in range(30):
        before = pictures(shard)
        process = subprocess.Popen(words, env=dict(os.environ), stderr=subprocess.DEVNULL)
        while process.poll() is None and len(pictures(shard)) < len(before) + 2:
            time.sleep(0.01)
        if process.poll() is not None:
            assert process.returncode == 0
            break
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
        after = pictures(shard)
        # no more than the one whose line was not written yet is lost
        assert len(before.items() - after.items()) <= 1
        for path in shard.glob("[!.]*.png"):
            Image.open(path).load()
    assert kills >= 2
    assert pictures(shard) == pictures(folder / "whole")
    tables = [read_table(folder / f"{name}.parquet")[0] for name in ("whole", "killed")]
    assert tables[0].drop(columns="seconds").equals(tables[1].drop(columns="seconds"))
    assert not list(shard.glob(".*.png"))


@pytest.mark.parametrize(
    ("on_filtered", "attempts", "file"),
    [("skip", 1, None), ("keep", 1, "p1_0.png"), ("again", 3, "p1_0.png")],
)
def test_black_pictures_are_listed_and_treated_as_asked(folder, on_filtered, attempts, file):
    darken(folder)
    table, _ = generate(folder, recipe(folder, on_filtered=on_filtered))
    dark = table[table["prompt_id"] == "p1"]
    assert list(dark["problem"].fillna("")) == (
        ["black", "black", ""] if attempts == 3 else ["black"]
    )
    assert (dark["file"].iloc[-1] == file) if file else dark["file"].isna().all()
    assert dark["file"].iloc[:-1].isna().all()
    assert len(set(dark["seed"])) == attempts
    assert ("p1_0.png" in pictures(folder / "0")) == (file is not None)
    assert (table[table["prompt_id"] != "p1"]["attempt"] == 0).all()


def test_tries_end(folder):
    darken(folder)
    table, _ = generate(folder, recipe(folder, on_filtered="again", tries=2))
    dark = table[table["prompt_id"] == "p1"]
    assert list(dark["problem"]) == ["black", "black"]
    assert dark["file"].isna().all()


def test_a_changed_script_prompt_or_damaged_file_is_made_again(folder):
    generate(folder, recipe(folder))
    before = pictures(folder / "0")
    (folder / "0/p3_0.png").write_bytes(before["p3_0.png"][:50])
    with open(folder / "0" / LEDGER, "a") as ledger:
        ledger.write('{"name": "half a li')
    (folder / "0/stranger.png").write_bytes(b"x")
    (folder / "0/.p1_0.99-0123abcd.png").write_bytes(b"half")
    generate(folder, recipe(folder))
    assert pictures(folder / "0") == before
    assert not list((folder / "0").glob(".*.png"))
    write_prompts(folder / "prompts.parquet", 2)
    generate(folder, recipe(folder))
    assert pictures(folder / "0").keys() == {"p0_0.png", "p1_0.png"}


class Failing:
    """Makes NaN, flags, refuses and paints, by turns."""

    facts: dict = {}  # noqa: RUF012

    def make(self, requests):
        noise = np.random.default_rng(requests[0].seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
        kind = requests[0].prompt_id
        black = Image.new("RGB", (4, 4))
        return [
            {"p0": Made(None, "not a number"), "p1": Made(black, "filtered"), "p2": Made(None)}.get(
                kind, Made(Image.fromarray(noise))
            )
        ]


def test_nan_filtered_and_missing_pictures_have_their_reasons(folder):
    from clipsieve.config import complete

    entry = complete(recipe(folder) | {"prompts": "x"}, "generate", "test")
    prompts, _ = read_table(folder / "prompts.parquet")
    shard = Shard(Settings("tiny", entry), prompts, folder / "made")
    rows, _ = make_shard(shard, Failing)
    assert [row["problem"] for row in rows[:4]] == ["not a number", "filtered", "no picture", None]
    assert pictures(folder / "made").keys() == {"p3_0.png", "p4_0.png", "p5_0.png"}


def test_a_finished_shard_loads_nothing(folder):
    from clipsieve.config import complete

    entry = complete(recipe(folder) | {"prompts": "x"}, "generate", "test")
    prompts, _ = read_table(folder / "prompts.parquet")
    shard = Shard(Settings("tiny", entry), prompts.tail(3), folder / "made")
    rows, _ = make_shard(shard, Failing)

    def load():
        raise AssertionError("loaded")

    assert make_shard(shard, load)[0] == rows


def test_problems_of_pixels():
    night = Image.fromarray(np.array([[[0, 0, 0], [9, 0, 0]]], dtype=np.uint8))
    assert problem_of(night) is None
    assert problem_of(Image.new("RGB", (3, 3), (1, 2, 1))) == "black"
    assert problem_of(Image.new("RGB", (3, 3), (9, 9, 9))) == "of one colour"
    assert problem_of(None) == "no picture"


def test_seeds_are_positive_and_differ_by_every_name():
    seeds = {
        seed_for(g, s, p, k, a)
        for g in ("x", "y") for s in (0, 1) for p in ("a", "b") for k in (0, 1) for a in (0, 1)
    }  # fmt: skip
    assert len(seeds) == 32
    assert all(0 < seed <= LARGEST_SEED for seed in seeds)


def test_two_processes_do_not_make_one_shard(folder, capsys):
    from clipsieve.io.locks import locked

    (folder / "0").mkdir()
    with locked(folder / "0/.lock", "busy"):
        assert cli.main(options(folder, recipe(folder))) == 2
    assert "another process is making these images" in capsys.readouterr().err


def gather(folder: Path, *shards: str) -> int:
    tables = [str(folder / f"{name}.parquet") for name in shards]
    return cli.main(
        ["gather", "--tables", *tables, "--output-dir", str(folder / "tiny"),
         "--output", str(folder / "tiny.parquet")]
    )  # fmt: skip


def test_shards_are_gathered_and_scanned_as_one_set(folder):
    darken(folder)
    for n in range(3):
        generate(folder, recipe(folder, images_per_prompt=2), str(n), shard=n, size=2)
    assert gather(folder, "0", "1", "2") == 0
    table, note = read_table(folder / "tiny.parquet")
    made = pictures(folder / "tiny")
    assert set(made) == set(table["file"].dropna())
    assert len(table) == note["wanted"] == 12
    # links: nothing is stored twice
    assert (folder / "tiny/p0_0.png").stat().st_ino == (folder / "0/p0_0.png").stat().st_ino
    pattern = r"^(?P<group>.+)_\d+$"
    words = ["scan", "--image-set", "tiny", "--folder", str(folder / "tiny"), "--data-root", str(folder),
             "--label", "0", "--generator", "tiny", "--family", "diffusion", "--source", "real",
             f"--group-pattern={pattern}", "--output", str(folder / "images.parquet")]  # fmt: skip
    assert cli.main(words) == 0
    scanned, _ = read_table(folder / "images.parquet")
    assert len(scanned) == len(made)
    assert set(scanned["group"]) == {Path(name).stem.rpartition("_")[0] for name in made}
    assert scanned["problem"].isna().all()


def test_a_damaged_image_is_not_gathered(folder, capsys):
    generate(folder, recipe(folder))
    (folder / "0/p2_0.png").write_bytes(b"other")
    assert gather(folder, "0") == 2
    assert "p2_0.png: is missing or was changed" in capsys.readouterr().err


def test_shards_of_two_recipes_are_not_gathered(folder, capsys):
    generate(folder, recipe(folder), "0", shard=0, size=3)
    generate(folder, recipe(folder, seed=1), "1", shard=1, size=3)
    assert gather(folder, "0", "1") == 2
    assert "another recipe" in capsys.readouterr().err


def test_a_shard_beyond_the_prompts_is_refused(folder, capsys):
    assert cli.main(options(folder, recipe(folder), shard=3, size=2)) == 2
    assert "has 6 prompts, 2 a shard" in capsys.readouterr().err


def test_the_recipe_of_the_table_is_complete(folder):
    _, note = generate(folder, recipe(folder))
    assert note["recipe"]["on_filtered"] == "skip"
    assert note["recipe"]["tries"] == 5
    assert json.dumps(note)
