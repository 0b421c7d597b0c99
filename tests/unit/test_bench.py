"""`python -m bench` measures a part and writes the page from what it measured."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run(root: Path, *parts: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    return subprocess.run(
        [sys.executable, "-m", "bench", *parts],
        cwd=root, env=environment, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip


def test_the_page_holds_what_was_measured_and_names_what_was_not(tmp_path):
    shutil.copytree(
        ROOT / "bench", tmp_path / "bench", ignore=shutil.ignore_patterns("results", "__pycache__")
    )
    (tmp_path / "docs" / "images").mkdir(parents=True)
    done = run(tmp_path, "probes", "search", "--quick")
    assert done.returncode == 0, done.stderr[-2000:]
    page = (tmp_path / "bench/results/README.md").read_text()
    probes = json.loads((tmp_path / "bench/results/probes.json").read_text())
    assert probes["quick"] is True
    assert all(row["same"] for row in probes["grid"])
    assert "## Probes" in page
    assert "## Search" in page
    assert "Not measured yet: encoders, throughput, statistics, paper_shape, folders" in page
    assert (tmp_path / "docs/images/growth.svg").stat().st_size > 2000
    said = (tmp_path / "docs/performance.md").read_text()
    assert (
        "Not measured at full size: paper_shape, search, probes, encoders, throughput, statistics, folders"
        in said
    )


def test_the_pages_are_made_from_the_kept_results(tmp_path):
    shutil.copytree(ROOT / "bench", tmp_path / "bench")
    (tmp_path / "docs" / "images").mkdir(parents=True)
    done = run(tmp_path, "--page")
    assert done.returncode == 0, done.stderr[-2000:]
    for name in ("docs/performance.md", "bench/results/README.md"):
        assert (tmp_path / name).read_text() == (ROOT / name).read_text()


def test_a_made_up_run_in_the_shape_of_the_papers_is_evaluated():
    size = ["--generators", "10", "--images", "6", "--sources", "2", "--draws", "2"]
    command = [sys.executable, "-m", "bench.statistics", *size, "--resamples", "100"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    # four sets on no pair and five shuffles; 6 families of 5 pairs, two draws of random; 10 ordered ones
    assert found["feature_sets_and_draws"] == 4 + 5 + 6 * 5 + 2 * 5 + 10 + 2 * 10
    whole, pair, one = 10 * 12, 8 * 10, 9 * 11  # probes times image sets
    assert found["scores"] == 6 * (9 * whole + 40 * pair + 30 * one)


def test_an_unknown_part_is_named(tmp_path):
    shutil.copytree(ROOT / "bench", tmp_path / "bench")
    done = run(tmp_path, "serch")
    assert done.returncode == 2
    assert (
        "no part 'serch'; one of: search, probes, encoders, throughput, statistics, paper_shape, folders"
        in done.stderr
    )
