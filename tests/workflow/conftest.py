"""One finished tiny run in a copy of the project; tests that change something take a copy of that."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock

ROOT = Path(__file__).parents[2]
PARTS = (
    "Snakefile",
    "config.yaml",
    "config",
    "workflow",
    "envs",
    "profiles",
    "slurm",
    "src",
    "tests/config",
)
TINY = "tests/config/tiny.yaml"
GENERATED = "tests/config/generated.yaml"


@dataclass(frozen=True)
class Project:
    """A copy of the project's files in a folder of its own."""

    root: Path

    def snakemake(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run Snakemake there, with the package of that copy."""
        environment = {
            **os.environ,
            "PYTHONPATH": str(self.root / "src"),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }
        done = subprocess.run(
            [sys.executable, "-m", "snakemake", *arguments],
            cwd=self.root, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if check and done.returncode:
            raise AssertionError(
                f"snakemake {arguments}: {done.stdout[-3000:]}{done.stderr[-6000:]}"
            )
        return done

    def planned(self, *arguments: str) -> dict[str, int]:
        """Jobs that a dry-run would start: rule name -> how many."""
        done = self.snakemake("-n", "--quiet", "host", "--cores", "2", *arguments)
        lines = (done.stdout + done.stderr).splitlines()
        starts = [i for i, line in enumerate(lines) if line.startswith("job ") and "count" in line]
        if not starts:
            assert "Nothing to be done" in done.stdout + done.stderr, done.stdout + done.stderr
            return {}
        found = {}
        for line in lines[starts[-1] + 2 :]:
            parts = line.split()
            if len(parts) != 2 or parts[0] == "total":
                break
            found[parts[0]] = int(parts[1])
        return {rule: count for rule, count in found.items() if rule != "all"}

    def copy(self, target: Path) -> Project:
        """A copy with the same times, so that nothing in it is out of date."""
        shutil.copytree(self.root, target, symlinks=True)
        return Project(target)


def bare_project(target: Path) -> Project:
    """The project's files without any result."""
    for part in PARTS:
        source = ROOT / part
        (target / part).parent.mkdir(parents=True, exist_ok=True)
        if source.is_symlink():
            (target / part).symlink_to(os.readlink(source))
        elif source.is_dir():
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, target / part, symlinks=True, ignore=ignore)
        else:
            shutil.copy2(source, target / part)
    return Project(target)


@pytest.fixture(scope="session")
def bare(tmp_path_factory) -> Project:
    """The project without results; not to be changed."""
    return bare_project(tmp_path_factory.mktemp("bare"))


@pytest.fixture(scope="session")
def finished(tmp_path_factory, worker_id) -> Project:
    """The project with the tiny run finished, made once for all workers; not to be changed."""
    own = tmp_path_factory.getbasetemp()
    shared = own if worker_id == "master" else own.parent
    root, done = shared / "finished", shared / "finished.done"
    with FileLock(shared / "finished.lock"):
        if not done.exists():
            bare_project(root).snakemake("--profile", "profiles/local", "--configfile", TINY)
            done.touch()
    return Project(root)


@pytest.fixture(scope="session")
def generated(tmp_path_factory, worker_id) -> Project:
    """The project with a run from prompts to Table 4, made once for all workers; not to be changed."""
    own = tmp_path_factory.getbasetemp()
    shared = own if worker_id == "master" else own.parent
    root, done = shared / "generated", shared / "generated.done"
    with FileLock(shared / "generated.lock"):
        if not done.exists():
            project = bare_project(root)
            project.snakemake("--profile", "profiles/local", "--configfile", GENERATED)
            done.touch()
    return Project(root)
