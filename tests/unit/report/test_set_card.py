"""The card of an image set: its page, its Markdown and its contact sheet."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from clipsieve.cli import main
from clipsieve.io.tables import read_table, write_table
from clipsieve.report.set_card import prompt_lines, writing_systems

RNG = np.random.default_rng(0)
WORDS = "<script>alert(1)</script> | *bold*"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Fourteen images of one generator, one of them damaged, and the tables beside them."""
    (tmp_path / "sd").mkdir()
    for k in range(14):
        pixels = RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"sd/p{k}_0.png")
    (tmp_path / "sd/p13_0.png").write_bytes(b"no image")
    scan = ["scan", "--image-set", "sd", "--folder", str(tmp_path / "sd"), "--label", "0"]
    scan += ["--data-root", str(tmp_path), "--generator", "sd", "--family", "diffusion"]
    scan += ["--source", "reals"]
    assert main([*scan, "--output", str(tmp_path / "images.parquet")]) == 0
    rows = pd.DataFrame({"prompt_id": [f"p{k}" for k in range(14)], "text": [WORDS] * 13 + ["кот"]})
    note = {
        "recipe": {"adapter": "glide", "model": "weights/glide", "seed": 3, "decoder": None},
        "machines": {"0": {"device": "cpu", "weights": "abc"}},
    }
    write_table(rows, tmp_path / "made.parquet", note)
    return tmp_path


def call(folder: Path, *more: str) -> tuple[str, str]:
    outputs = {kind: folder / f"card.{kind}" for kind in ("html", "md", "jpg")}
    words = ["card", "--images", str(folder / "images.parquet"), "--data-root", str(folder)]
    words += ["--html", str(outputs["html"]), "--markdown", str(outputs["md"])]
    assert main([*words, "--sheet", str(outputs["jpg"]), *more]) == 0
    return outputs["html"].read_text(), outputs["md"].read_text()


def test_a_card_tells_what_is_there_and_how_it_was_made(folder):
    about = json.dumps({"title": f"SD {WORDS}", "licence": "CC0-1.0"})
    html, markdown = call(folder, "--made", str(folder / "made.parquet"), "--about", about)
    for text in (html, markdown):
        for said in (
            "13 usable of 14",
            "30 x 20: 13",
            "CC0-1.0",
            "glide",
            "Latin in 13",
            "Cyrillic in 1",
        ):
            assert said in text.replace("\\", ""), said
        assert "<script>alert" not in text
    assert "\\| \\*bold\\*" in markdown.splitlines()[0]
    # the decoder that the recipe does not have is not listed
    assert "decoder" not in markdown
    assert html.count("data:image/jpeg;base64,") == 12
    sheet = Image.open(folder / "card.jpg")
    assert sheet.size == (960, 320)


def test_a_fetched_set_states_its_own_licence_and_the_config_comes_first(folder):
    record = {"dataset": "cnn", "title": "CNN", "licence": "CC BY-NC-SA 4.0"}
    record["files"] = [{"name": "a.zip", "pinned": True}, {"name": "b.zip", "pinned": False}]
    (folder / "cnn.json").write_text(json.dumps(record))
    _, markdown = call(folder, "--fetched", str(folder / "cnn.json"))
    assert "CC BY-NC-SA 4.0" in markdown
    assert "2, 1 of them pinned" in markdown
    _, markdown = call(
        folder, "--fetched", str(folder / "cnn.json"), "--about", '{"licence": "mine"}'
    )
    assert "| Licence | mine |" in markdown
    _, markdown = call(folder, "--about", '{"folder": "here"}')
    assert "| Licence | not stated |" in markdown
    assert "| Folder | here |" in markdown


def test_the_same_images_are_shown_whatever_the_order_of_the_table(folder):
    first, _ = call(folder, "--count", "4")
    table, note = read_table(folder / "images.parquet")
    write_table(table.iloc[::-1].reset_index(drop=True), folder / "images.parquet", note)
    again, _ = call(folder, "--count", "4")
    assert first.count("data:image/jpeg") == 4
    assert first == again


def test_mistakes_are_named(folder, capsys):
    words = ["card", "--images", str(folder / "images.parquet"), "--data-root", str(folder)]
    words += ["--html", "x", "--markdown", "y", "--sheet", "z"]
    assert main([*words, "--about", '{"licens": "x"}']) != 0
    assert "licens" in capsys.readouterr().err
    assert main([*words, "--count", "0"]) != 0
    assert "--count" in capsys.readouterr().err


def test_lengths_and_writing_systems_of_prompts():
    lines = dict(prompt_lines(["one", "one two", "one two three", "犬 1"]))
    assert lines["Prompts"] == "4"
    assert lines["Words per prompt"] == "1 to 3, median 2"
    assert lines["Writing systems of the prompts"].startswith("Latin in 3, Cjk in 1")
    assert writing_systems("12 !?") == set()
