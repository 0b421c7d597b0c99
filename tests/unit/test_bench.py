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
    page = (tmp_path / "docs/performance.md").read_text()
    probes = json.loads((tmp_path / "bench/results/probes.json").read_text())
    assert probes["quick"] is True
    assert all(row["same"] for row in probes["grid"])
    assert "## Probes" in page
    assert "## Search" in page
    assert "Not measured yet: encoders, statistics, paper_shape" in page
    assert (tmp_path / "docs/images/growth.svg").stat().st_size > 2000


def test_an_unknown_part_is_named(tmp_path):
    shutil.copytree(ROOT / "bench", tmp_path / "bench")
    done = run(tmp_path, "serch")
    assert done.returncode == 2
    assert (
        "no part 'serch'; one of: search, probes, encoders, statistics, paper_shape" in done.stderr
    )
