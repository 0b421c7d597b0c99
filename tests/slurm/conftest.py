"""One Slurm, and one undisturbed local run that everything is compared with, a session."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.slurm.cluster import Cluster, missing_programs
from tests.slurm.project import SMALL, TARGET, Run, make_images, scanned
from tests.workflow.conftest import Project, bare_project


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A Slurm of its own for the session; one session at a time."""
    if missing := missing_programs():
        reason = f"Slurm is not installed: {', '.join(missing)} missing"
        if {"CLIPSIEVE_REQUIRE_ALL", "CLIPSIEVE_REQUIRE_SLURM"} & os.environ.keys():
            pytest.fail(reason)
        pytest.skip(reason)
    lock = Path(tempfile.gettempdir()) / f"clipsieve-slurm-tests-{os.getuid()}.lock"
    with open(lock, "w", encoding="utf-8") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with (
            tempfile.TemporaryDirectory(prefix="cs-slurm-", ignore_cleanup_errors=True) as root,
            Cluster(Path(root), cpus=32, memory_mb=96000, gpus=4) as running,
        ):
            yield running


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with the target made by this machine, undisturbed; not to be changed."""
    project = bare_project(tmp_path_factory.mktemp("reference").resolve())
    (project.root / SMALL).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(Path(__file__).with_name("small.yaml"), project.root / SMALL)
    make_images(project.root / "images")
    project.snakemake(TARGET, "--profile", "profiles/local", "--configfile", SMALL)
    return project


@pytest.fixture(scope="session")
def slurm_run(
    cluster: Cluster, reference: Project, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Run, str]:
    """The same target made through Slurm, undisturbed, and what Snakemake printed."""
    project = scanned(reference, tmp_path_factory.mktemp("slurm") / "p")
    with Run(project, cluster, (TARGET,)) as run:
        return run, run.finish()
