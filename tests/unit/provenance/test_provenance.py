"""The record of a run and its check, against sha256sum, git, and what the RO-Crate reader finds."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from clipsieve.cli import main
from clipsieve.errors import UserError
from clipsieve.io import store
from clipsieve.provenance import record as provenance

CONFIG = {"run": "small", "seeds": [1], "use": {"generators": ["a", "b"]}}
BENCHMARK = "s\th:m:s\tmax_rss\tmax_vms\n{seconds}\t0:00:01\t{memory}\t2\n"


def embeddings(path: Path, weights: str, rows: int = 3) -> None:
    store.write_embeddings(
        path,
        image_id=[f"x/{i}" for i in range(rows)],
        embedding=np.arange(rows * 2, dtype=np.float32).reshape(rows, 2),
        attributes={"encoder": "tiny", "weights_sha256": weights},
    )


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    run = tmp_path / "results" / "small"
    embeddings(run / "embeddings" / "tiny" / "a.h5", "ab" * 32)
    embeddings(run / "embeddings" / "tiny" / "b.h5", "ab" * 32, rows=4)
    (run / "tables").mkdir()
    (run / "tables" / "means of cells.csv").write_text("run,value\nsmall,1\n")
    (run / "manifest.parquet").write_bytes(b"not read here")
    (run / "logs" / "embed").mkdir(parents=True)
    (run / "logs" / "embed" / "a.log").write_text("10:00:00 done\n")
    (run / "benchmarks" / "embed").mkdir(parents=True)
    for name, seconds, memory in (("a", 1.5, 300), ("b", 2.25, 100)):
        text = BENCHMARK.format(seconds=seconds, memory=memory)
        (run / "benchmarks" / "embed" / f"{name}.tsv").write_text(text)
    (run / "benchmarks" / "split.tsv").write_text(BENCHMARK.format(seconds=0.1, memory="NA"))
    (run / ".unfinished.parquet").write_bytes(b"half")
    (run / "deep" / "logs").mkdir(parents=True)
    (run / "deep" / "logs" / "result.txt").write_text("a folder called logs further down counts")
    return run


def record_by_command(run: Path, *more: str) -> dict:
    output = run / "provenance.json"
    command = ["provenance", "--run-dir", str(run), "--config", json.dumps(CONFIG)]
    assert main([*command, "--output", str(output), *more]) == 0
    return json.loads(output.read_text())


def test_files_and_hashes_are_those_of_sha256sum(run_dir: Path) -> None:
    record = record_by_command(run_dir)
    expected = {
        "deep/logs/result.txt",
        "embeddings/tiny/a.h5",
        "embeddings/tiny/b.h5",
        "manifest.parquet",
        "tables/means of cells.csv",
    }
    assert set(record["files"]) == expected
    for name, facts in record["files"].items():
        path = run_dir / name
        printed = subprocess.run(["sha256sum", path], capture_output=True, text=True, check=True)
        assert facts == {"sha256": printed.stdout.split()[0], "bytes": path.stat().st_size}
    assert record["manifest_sha256"] == record["files"]["manifest.parquet"]["sha256"]


def test_record_says_what_made_the_run(run_dir: Path) -> None:
    record = record_by_command(run_dir)
    assert record["config"] == CONFIG
    assert record["run"] == "small"
    assert record["weights_sha256"] == {"tiny": "ab" * 32}
    assert record["versions"]["numpy"] == np.__version__
    assert record["jobs"] == {
        "embed": {"jobs": 2, "seconds": 3.75, "max_rss_mb": 300},
        "split": {"jobs": 1, "seconds": 0.1, "max_rss_mb": 0},
    }
    times = record["times"]
    assert times["first_result"] <= times["last_result"] <= times["recorded"]


def test_config_may_be_a_file_and_key_order_does_not_count(run_dir: Path, tmp_path: Path) -> None:
    first = record_by_command(run_dir)
    turned = tmp_path / "config.yaml"
    turned.write_text("use:\n  generators: [a, b]\nseeds: [1]\nrun: small\n")
    second = provenance.make_record(run_dir, {"seeds": [1], **CONFIG})
    output = str(run_dir / "provenance.json")
    command = ["provenance", "--run-dir", str(run_dir), "--config", str(turned)]
    assert main([*command, "--output", output]) == 0
    third = json.loads(Path(output).read_text())
    assert first["config_sha256"] == second["config_sha256"] == third["config_sha256"]


def test_commit_is_that_of_git(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        command = ["git", "-C", str(tmp_path), *identity, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    assert provenance.code_state(tmp_path) is None
    git("init", "-q")
    (tmp_path / "code.py").write_text("1\n")
    git("add", "code.py")
    git("commit", "-q", "-m", "one")
    commit = git("log", "-1", "--format=%H")
    assert provenance.code_state(tmp_path) == {"commit": commit, "modified": False}
    (tmp_path / "untracked.txt").write_text("does not count")
    assert provenance.code_state(tmp_path) == {"commit": commit, "modified": False}
    (tmp_path / "code.py").write_text("2\n")
    assert provenance.code_state(tmp_path) == {"commit": commit, "modified": True}


def test_equal_results_have_equal_hashes(run_dir: Path) -> None:
    first = provenance.make_record(run_dir, CONFIG)
    (run_dir / "logs" / "embed" / "a.log").write_text("other times")
    (run_dir / "manifest.parquet").touch()
    assert provenance.make_record(run_dir, CONFIG)["results_sha256"] == first["results_sha256"]
    (run_dir / "manifest.parquet").rename(run_dir / "renamed.parquet")
    assert provenance.make_record(run_dir, CONFIG)["results_sha256"] != first["results_sha256"]


def test_verify_accepts_the_run_as_it_was(
    run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record_by_command(run_dir, "--crate", str(run_dir / "ro-crate-metadata.json"))
    (run_dir / "logs" / "late.log").write_text("logs may change")
    assert main(["verify", str(run_dir)]) == 0
    assert capsys.readouterr().out == ""


def test_verify_names_what_changed(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record_by_command(run_dir)
    path = run_dir / "embeddings" / "tiny" / "b.h5"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    (run_dir / "tables" / "means of cells.csv").unlink()
    (run_dir / "tables" / "later.csv").write_text("made later\n")
    with pytest.raises(SystemExit) as stopped:
        main(["verify", str(run_dir)])
    assert stopped.value.code == 1
    assert capsys.readouterr().out.splitlines() == [
        "changed\tembeddings/tiny/b.h5",
        "missing\ttables/means of cells.csv",
        "unlisted\ttables/later.csv",
    ]


def test_an_added_file_alone_is_no_failure(run_dir: Path) -> None:
    record_by_command(run_dir)
    (run_dir / "notes.txt").write_text("mine")
    assert main(["verify", str(run_dir)]) == 0


def test_an_edited_record_is_refused(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = record_by_command(run_dir)
    record["files"]["manifest.parquet"]["sha256"] = "0" * 64
    (run_dir / "provenance.json").write_text(json.dumps(record))
    assert main(["verify", str(run_dir)]) == 2
    assert "results_sha256" in capsys.readouterr().err


@pytest.mark.parametrize("text", [None, "{", "[]", '{"format_version": 99}'])
def test_no_usable_record_is_a_users_mistake(run_dir: Path, text: str | None) -> None:
    if text is not None:
        (run_dir / "provenance.json").write_text(text)
    assert main(["verify", str(run_dir)]) == 2


def test_embeddings_of_two_weights_are_refused(run_dir: Path) -> None:
    embeddings(run_dir / "embeddings" / "tiny" / "b.h5", "cd" * 32)
    with pytest.raises(UserError, match="other weights"):
        provenance.make_record(run_dir, CONFIG)


def test_record_goes_nowhere_but_into_the_run(run_dir: Path, tmp_path: Path) -> None:
    command = ["provenance", "--run-dir", str(run_dir), "--config", "{}"]
    assert main([*command, "--output", str(tmp_path / "provenance.json")]) == 2
    none = tmp_path / "none"
    command = ["provenance", "--run-dir", str(none), "--config", "{}"]
    assert main([*command, "--output", str(none / "provenance.json")]) == 2


def test_crate_lists_every_file_with_its_hash(run_dir: Path) -> None:
    from rocrate.rocrate import ROCrate

    record = record_by_command(run_dir, "--crate", str(run_dir / "ro-crate-metadata.json"))
    crate = ROCrate(run_dir)
    parts = {part.id: part for part in crate.data_entities}
    assert len(parts) == len(record["files"]) + 1
    (action,) = crate.get_by_type("CreateAction")
    results = {entity["name"]: entity for entity in action["result"]}
    assert results.keys() == record["files"].keys()
    for name, facts in record["files"].items():
        assert results[name]["sha256"] == facts["sha256"]
        assert results[name].id in parts
    assert action["instrument"]["softwareVersion"] == record["versions"]["clipsieve"]
    assert action["startTime"] == record["times"]["first_result"]
