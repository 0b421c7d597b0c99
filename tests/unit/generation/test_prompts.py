"""Tables of prompts: filters, repeats, samples that nest, and what is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from clipsieve import cli
from clipsieve.io.tables import read_table


@pytest.fixture
def laion(tmp_path) -> pd.DataFrame:
    random = np.random.default_rng(0)
    n = 400
    frame = pd.DataFrame(
        {
            "URL": [f"https://example.org/{i}.jpg" for i in range(n)],
            "TEXT": [f"Picture number {i % 300}" for i in range(n)],
            "aesthetic": random.uniform(3, 7, n),
            "punsafe": random.uniform(0, 1, n),
            "pwatermark": random.uniform(0, 1, n),
            "NSFW": random.choice(["UNLIKELY", "NSFW", "UNSURE"], n, p=[0.8, 0.1, 0.1]),
        }
    )
    frame.loc[5, "TEXT"] = "  "
    frame.loc[6, "TEXT"] = None
    frame.loc[310, "TEXT"] = "PICTURE  number 10"  # the same words
    frame.to_parquet(tmp_path / "laion.parquet")
    frame.to_csv(tmp_path / "laion.csv", index=False)
    return frame


def prompts(folder, *more: str, table: str = "laion.parquet"):
    words = ["prompts", "--table", str(folder / table), "--output", str(folder / "out.parquet")]
    assert cli.main([*words, *more]) == 0
    return read_table(folder / "out.parquet")


COLUMNS = ("--text", "TEXT", "--url", "URL", "--score", "aesthetic", "--min-score", "4.5")


def test_filters_and_repeats_are_those_of_a_plain_loop(tmp_path, laion):
    table, note = prompts(tmp_path, *COLUMNS)
    wanted, seen = {}, set()
    for row in laion.itertuples():
        text = (row.TEXT or "").strip() if isinstance(row.TEXT, str) else ""
        if not text or row.aesthetic < 4.5 or row.punsafe > 0.5 or row.pwatermark > 0.8:
            continue
        if row.NSFW != "UNLIKELY":
            continue
        key = " ".join(text.lower().split())
        seen.add(row.Index)
        wanted.setdefault(key, row.URL)
    assert len(table) == len(wanted)
    assert {" ".join(t.lower().split()) for t in table["text"]} == set(wanted)
    assert (table["score"] >= 4.5).all()
    assert table["prompt_id"].is_unique
    counts = note["counts"]
    assert counts["read"] == 400
    assert counts["without_text"] == 2
    assert counts["repeated"] == len(seen) - len(wanted)
    assert counts["chosen"] == len(wanted)
    lost = counts["without_text"] + counts["below_score"] + counts["unsafe"]
    assert 400 - lost - counts["watermarked"] == len(seen)


def test_a_larger_sample_holds_a_smaller_one_and_order_does_not_count(tmp_path, laion):
    small, _ = prompts(tmp_path, *COLUMNS, "--sample", "10")
    large, _ = prompts(tmp_path, *COLUMNS, "--sample", "25")
    assert list(large["prompt_id"][:10]) == list(small["prompt_id"])
    laion.iloc[::-1].to_parquet(tmp_path / "turned.parquet")
    turned, _ = prompts(tmp_path, *COLUMNS, "--sample", "25", table="turned.parquet")
    assert list(turned["prompt_id"]) == list(large["prompt_id"])
    other, _ = prompts(tmp_path, *COLUMNS, "--sample", "25", "--seed", "1")
    assert set(other["prompt_id"]) != set(large["prompt_id"])


def test_csv_and_parquet_give_the_same(tmp_path, laion):
    one, _ = prompts(tmp_path, *COLUMNS, "--sample", "20")
    two, _ = prompts(tmp_path, *COLUMNS, "--sample", "20", table="laion.csv")
    assert list(one["prompt_id"]) == list(two["prompt_id"])
    assert list(one["url"]) == list(two["url"])


def test_pieces_of_a_large_table_change_nothing(tmp_path, laion, monkeypatch):
    from clipsieve.generation import prompts as module

    whole, note = prompts(tmp_path, *COLUMNS, "--sample", "20")
    monkeypatch.setattr(module, "_ROWS", 7)
    pieces, again = prompts(tmp_path, *COLUMNS, "--sample", "20")
    assert whole.equals(pieces)
    assert note == again


def test_a_text_file_is_a_table_without_images(tmp_path):
    (tmp_path / "mine.txt").write_text("a cat\n\nA  CAT\nein Hund, süß\n", encoding="utf-8")
    table, _ = prompts(tmp_path, table="mine.txt")
    assert set(table["text"]) == {"a cat", "ein Hund, süß"}
    assert table["url"].isna().all()


def test_a_folder_of_images_gives_an_id_each(tmp_path):
    for name in ("b_0.png", "a_1.png", "a_0.png"):
        (tmp_path / "photos").mkdir(exist_ok=True)
        (tmp_path / "photos" / name).touch()
    words = ["prompts", "--images", str(tmp_path / "photos"), "--sample", "2"]
    assert cli.main([*words, "--output", str(tmp_path / "out.parquet")]) == 0
    table, _ = read_table(tmp_path / "out.parquet")
    assert len(table) == 2
    assert all(
        f"{i}.png" == image for i, image in zip(table["prompt_id"], table["image"], strict=True)
    )


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--text", "caption"), "no column 'caption', which the key text names; it has URL, TEXT"),
        ((*COLUMNS, "--sample", "900"), "sample: 900 prompts are asked for and"),
        ((*COLUMNS, "--min-score", "9"), "no prompt is left of 400"),
        ((*COLUMNS, "--id", "URL"), "cannot be part of a file name"),
        (("--text", "URL", "--id", "NSFW"), "stands for two prompts"),
    ],
)
def test_mistakes_are_one_line(tmp_path, laion, capsys, more, said):
    words = [
        "prompts",
        "--table",
        str(tmp_path / "laion.parquet"),
        *more,
        "--name",
        "prompts.laion",
    ]
    assert cli.main([*words, "--output", str(tmp_path / "out.parquet")]) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert said in line
    assert "prompts.laion" in line


def test_a_missing_or_damaged_table_is_named(tmp_path, capsys):
    (tmp_path / "bad.parquet").write_bytes(b"no")
    for name, said in (("bad.parquet", "not a readable table"), ("none.csv", "no such table")):
        words = [
            "prompts",
            "--table",
            str(tmp_path / name),
            "--output",
            str(tmp_path / "o.parquet"),
        ]
        assert cli.main(words) == 2
        assert said in capsys.readouterr().err
