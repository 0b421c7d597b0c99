"""Odd and damaged files by the thousand, lists, globs, archives, resuming, exit statuses, parts."""

from __future__ import annotations

import csv
import io
import json
import os
import tarfile
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from clipsieve.cli import main
from clipsieve.detector.judging import COLUMNS, Judge
from clipsieve.detector.pictures import find_images
from clipsieve.detector.results import gather_parquets, write_parquet
from clipsieve.errors import UserError
from tests.helpers.detector_runs import Run


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def small_file(rng: np.random.Generator, kind: str) -> bytes:
    kept = io.BytesIO()
    size = tuple(int(n) for n in rng.integers(1, 40, 2))
    pixels = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(kept, kind)
    return kept.getvalue()


def odd_file(rng: np.random.Generator, k: int) -> bytes:
    """A file that is whole, cut, has bytes changed, is noise, empty, or claims a huge picture."""
    data = small_file(rng, ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM"][k % 7])
    match k % 6:
        case 0:
            return data
        case 1:
            return data[: int(rng.integers(0, len(data)))]
        case 2:
            changed = bytearray(data)
            for at in rng.integers(0, len(data), 5):
                changed[at] = int(rng.integers(0, 256))
            return bytes(changed)
        case 3:
            return rng.bytes(int(rng.integers(0, 300)))
        case 4:
            return b""
    bomb = bytearray(small_file(rng, "PNG"))
    bomb[16:24] = (60_000).to_bytes(4, "big") * 2
    bomb[29:33] = zlib.crc32(bomb[12:29]).to_bytes(4, "big")
    return bytes(bomb)


def test_a_thousand_odd_files_in_one_call_are_a_row_each(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    rng = np.random.default_rng(0)
    folder = tmp_path / "odd"
    folder.mkdir()
    for k in range(1000):
        (folder / f"{k:04}.png").write_bytes(odd_file(rng, k))
    assert main(["detect", str(exported), "--json", str(folder)]) == 3
    found = lines(capsys)
    assert [Path(one["path"]).name for one in found] == [f"{k:04}.png" for k in range(1000)]
    for one in found:
        assert list(one) == [
            "path",
            "problem",
            *[name for name in one if name not in ("path", "problem")],
        ]
        assert set(one) == set(COLUMNS)
        if one["problem"] is None:
            assert one["verdict"] in ("generated", "real", "unsure")
            assert np.isfinite(one["logit"])
            assert 0 <= one["probability_generated"] <= 1
        else:
            assert "\n" not in one["problem"]
            assert one["verdict"] is None
    assert all(one["problem"] is None for one in found[::6])
    assert all(one["problem"] == "empty file" for one in found[4::6])
    assert all("more than" in one["problem"] for one in found[5::6])


def test_every_kind_of_name_finds_its_images(run: Run, tmp_path: Path):
    data = (run.root / "images/one/30.png").read_bytes()
    for name in ("a/1.png", "a/b/2.png", "a/.hidden.png", "c 3.png", "d!.png", "[e].png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("in/4.png", data)
    with tarfile.open(tmp_path / "y.tar", "w") as archive:
        member = tarfile.TarInfo("5.png")
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))

    def found(*names: str) -> list[str]:
        return [os.path.relpath(path, tmp_path) for path in find_images(
            [name if "://" in name else str(tmp_path / name) for name in names]
        )]  # fmt: skip

    assert found("a") == ["a/1.png", "a/b/2.png"]
    assert found("x.zip", "y.tar", "x.zip!in/4.png") == [
        "x.zip!in/4.png",
        "y.tar!5.png",
        "x.zip!in/4.png",
    ]
    assert found("a/**/*.png") == ["a/1.png", "a/b/2.png"]
    assert found("[e].png", "d!.png") == ["[e].png", "d!.png"]
    assert found("*.zip") == ["x.zip!in/4.png"]
    assert found("none*.png", "gone.png") == ["none*.png", "gone.png"]
    assert list(find_images(["https://example.org/x.zip"])) == ["https://example.org/x.zip"]


def test_a_list_on_standard_input(
    run: Run, exported: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    names = [str(run.root / f"images/one/{i}.png") for i in (31, 32)] + ["ftp://host/a.png"]
    for text, options in (("\r\n".join(names), []), ("\0".join(names) + "\0", ["--null"])):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
        assert main(["detect", str(exported), "--json", *options, "-"]) == 3
        found = lines(capsys)
        assert [one["path"] for one in found] == names
        assert found[2]["problem"] == "an address on the network; only files are read"


def test_all_forms_say_the_same(
    run: Run, exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    given = [str(run.root / "images/one"), str(run.root / "gone.png")]
    assert main(["detect", str(exported), "--json", *given]) == 3
    expected = lines(capsys)
    assert len(expected) == 41
    assert main(["detect", str(exported), "--csv", *given]) == 3
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    for ending in ("jsonl", "csv", "parquet"):
        output = tmp_path / f"found.{ending}"
        assert main(["detect", str(exported), *given, "--output", str(output)]) == 3
    assert capsys.readouterr().out == ""
    assert [
        json.loads(line) for line in (tmp_path / "found.jsonl").read_text().splitlines()
    ] == expected
    assert list(csv.DictReader((tmp_path / "found.csv").open())) == rows
    assert [float(row["logit"]) for row in rows[:-1]] == [one["logit"] for one in expected[:-1]]
    assert rows[-1]["problem"] == "no such file"
    table = pd.read_parquet(tmp_path / "found.parquet")
    assert list(table.columns) == list(COLUMNS)
    assert table["path"].tolist() == [one["path"] for one in expected]
    assert table["logit"].tolist()[:-1] == [one["logit"] for one in expected[:-1]]
    assert np.isnan(table["logit"].iloc[-1])
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "found.csv",
        "found.jsonl",
        "found.parquet",
    ]


def test_a_stopped_command_goes_on_where_it_was(
    run: Run, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):  # fmt: skip
    folder, output = run.root / "images/two", tmp_path / "out.jsonl"
    command = ["detect", str(exported), str(folder), "--output", str(output), "--batch-size", "8"]
    whole = tmp_path / "whole.jsonl"
    assert main([*command[:-3], str(whole)]) == 0
    judged: list[int] = []
    real = Judge.results

    def counted(self, prepared, *options):
        if len(judged) == 3:
            raise KeyboardInterrupt
        judged.append(len(prepared))
        return real(self, prepared, *options)

    monkeypatch.setattr(Judge, "results", counted)
    assert main(command) == 130
    assert judged == [8, 8, 8]
    assert not output.exists()
    journal = tmp_path / ".out.jsonl.journal"
    journal.write_bytes(journal.read_bytes()[:-20])  # the last line was being written
    judged.clear()
    judged.append(0)
    monkeypatch.setattr(Judge, "results", lambda *a: judged.append(len(a[1])) or real(*a))
    assert main(command) == 0
    assert sum(judged) == 40 - 23
    assert output.read_text() == whole.read_text()
    assert not journal.exists()


def test_a_journal_of_other_files_or_settings_is_refused(
    run: Run, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):  # fmt: skip
    output = tmp_path / "out.csv"
    paths = [str(run.root / f"images/one/{i}.png") for i in (30, 31, 32)]
    command = ["detect", str(exported), "--output", str(output), "--batch-size", "1"]
    real = Judge.results
    calls: list[int] = []

    def stopping(self, prepared, *options):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(self, prepared, *options)

    monkeypatch.setattr(Judge, "results", stopping)
    assert main([*command, *paths]) == 130
    monkeypatch.undo()
    assert main([*command, *paths[1:]]) == 2
    assert "its files are not those given now" in capsys.readouterr().err
    assert main([*command, *paths, "--max-false-alarms", "0.1"]) == 2
    assert "left by another detector or other settings" in capsys.readouterr().err
    assert main([*command, *paths]) == 0
    assert len(output.read_text().splitlines()) == 4


def test_exit_statuses(run: Run, exported: Path, tmp_path: Path):
    generated = pd.Series(
        {
            p: run.logits["all", "one", "one"][int(p.stem)]
            for p in (run.root / "images/one").iterdir()
        }
    ).idxmin()
    base = ["detect", str(exported), str(generated)]
    assert main(base) == 0
    assert main([*base, "--fail-on", "generated"]) == 1
    assert main([*base, "--fail-on", "unsure"]) == 1
    assert main([*base, str(tmp_path / "gone.png")]) == 3
    assert main([*base, "--output", "x.txt"]) == 2
    assert main([*base, "--html", str(tmp_path / "x.html")]) == 2
    assert main([*base, "--shard", "3/3"]) == 2


def test_parts_are_disjoint_and_whole_and_join_to_one_file(
    run: Run, exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    folder = str(run.root / "images/three")
    parts = []
    for k in range(3):
        parts.append(tmp_path / f"{k}.parquet")
        command = ["detect", str(exported), folder, "--shard", f"{k}/3", "--output", str(parts[-1])]
        assert main(command) == 0
    assert gather_parquets(parts, tmp_path / "all.parquet") == 40
    joined = pd.read_parquet(tmp_path / "all.parquet").set_index("path")
    assert main(["detect", str(exported), folder, "--output", str(tmp_path / "one.parquet")]) == 0
    whole = pd.read_parquet(tmp_path / "one.parquet").set_index("path")
    assert sorted(joined.index) == sorted(whole.index)
    # a part is another batch, and an image's numbers do not depend on its place
    assert (joined.loc[whole.index, "logit"] == whole["logit"]).all()
    pd.DataFrame({"path": ["a"]}).to_parquet(tmp_path / "other.parquet")
    with pytest.raises(UserError, match="not results of clipsieve detect"):
        gather_parquets([tmp_path / "other.parquet"], tmp_path / "never.parquet")
    assert not (tmp_path / "never.parquet").exists()
    write_parquet(tmp_path / "empty.parquet", [])
    assert gather_parquets([tmp_path / "empty.parquet"], tmp_path / "none.parquet") == 0


def test_the_stream_takes_names_only_as_it_needs_them(run: Run, detector):
    taken = []

    def names():
        for i in range(20, 40):
            taken.append(i)
            yield str(run.root / f"images/one/{i}.png")

    stream = detector.judge_.stream(names(), batch_size=2)
    next(stream)
    assert len(taken) <= 3 * 2
    assert len(list(stream)) == 19
