"""A rule declares all that its command reads: each is run in a folder that holds its inputs and nothing else."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.helpers.rules import rules_with_command
from tests.workflow.conftest import GENERATED, ROOT, TINY, Project

# `weights` and `fetch` bring files and read none; the tiny run aligns no images, imports no embeddings, has no set in
# parts and generates no images from prompts, so these rules have tests of their own
ELSEWHERE = {
    *("weights", "fetch", "align", "detect", "import_embeddings", "join_embeddings"),
    *("prompts", "generate", "gather"),
}
# what is written besides the result: times, versions of packages, the folder
NOT_COMPARED = {"provenance.json", "ro-crate-metadata.json"}


@dataclass(frozen=True)
class Job:
    """A planned job: files relative to the project's root."""

    inputs: list[str]
    outputs: list[str]
    command: str


def planned_jobs(project: Project, *arguments: str) -> dict[str, Job]:
    """Of each rule the job with the most inputs."""
    done = project.snakemake("-n", "-p", "--forceall", "--cores", "2", *arguments)
    found: dict[str, Job] = {}
    for part in re.split(r"(?m)^(?:local)?rule ", done.stdout + done.stderr)[1:]:
        name = part.split(":", 1)[0]
        command = re.search(r"^Shell command: (.*)$", part, re.M)
        if command is None or name not in rules_with_command():
            continue
        lists = dict(re.findall(r"^    (input|output): (.*)$", part, re.M))
        files = {kind: lists.get(kind, "").split(", ") for kind in ("input", "output")}
        job = Job([f for f in files["input"] if f], files["output"], command[1])
        if name not in found or len(job.inputs) > len(found[name].inputs):
            found[name] = job
    return found


def run_alone(job: Job, project: Project, folder: Path) -> None:
    """Run a job's command where only its inputs are."""
    for file in job.inputs:
        source, target = project.root / file, folder / file
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copy2(source, target)
    log = re.search(r"2> (\S+)$", job.command)
    assert log is not None
    for file in [*job.outputs, log[1]]:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "src"),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(["bash", "-c", job.command], cwd=folder, env=environment, check=False)
    assert done.returncode == 0, (folder / log[1]).read_text()[-3000:]


def contents(path: Path) -> dict[str, bytes]:
    """A file's bytes, or those of every file below a folder but hidden ones, which keep track of threads."""
    files = [path] if path.is_file() else sorted(f for f in path.rglob("*") if f.is_file())
    return {
        str(file.relative_to(path)): file.read_bytes()
        for file in files
        if file == path or not file.name.startswith(".")
    }


@pytest.fixture(scope="module")
def jobs(finished) -> dict[str, Job]:
    return planned_jobs(finished, "--configfile", TINY, "--", "all", "detectors")


def test_every_rule_with_a_command_is_tried(jobs):
    assert jobs.keys() | ELSEWHERE == rules_with_command().keys()
    assert not jobs.keys() & ELSEWHERE
    assert "input:" not in rules_with_command()["weights"] + rules_with_command()["fetch"]


@pytest.mark.parametrize("rule", sorted(rules_with_command().keys() - ELSEWHERE))
def test_a_command_reads_only_what_its_rule_declares(rule, jobs, finished, tmp_path):
    job = jobs[rule]
    run_alone(job, finished, tmp_path)
    for file in job.outputs:
        made = contents(tmp_path / file)
        assert made, file
        # detectors are not part of the finished run
        if Path(file).name not in NOT_COMPARED and (finished.root / file).exists():
            assert made == contents(finished.root / file), file


def test_alignment_reads_only_what_its_rule_declares(finished, tmp_path):
    project = finished.copy(tmp_path / "p")
    target = "results/aligned/images/photographs.parquet"
    (project.root / "aligned.yaml").write_text("run: aligned\nalign: {size: 64, format: png}\n")
    options = ["--configfile", TINY, "aligned.yaml"]
    project.snakemake("--cores", "2", *options, "--", target)
    job = planned_jobs(project, *options, "--", target)["align"]
    run_alone(job, project, tmp_path / "alone")
    assert contents(tmp_path / "alone" / target) == contents(project.root / target)


@pytest.mark.parametrize(
    ("rule", "target"),
    [
        ("prompts", "data/generated/prompts/crops.parquet"),
        ("generate", "data/generated/shards/painted/1.parquet"),
        ("gather", "data/generated/painted.parquet"),
    ],
)
def test_images_from_prompts_need_only_what_their_rules_declare(generated, tmp_path, rule, target):
    job = planned_jobs(generated, "--configfile", GENERATED, "--", target)[rule]
    if rule == "gather":  # the pictures lie beside each shard's table
        job = Job(
            [*job.inputs, *(f.removesuffix(".parquet") for f in job.inputs)],
            job.outputs,
            job.command,
        )
    if rule == "generate":  # the program of the config is the user's
        job = Job([*job.inputs, "tests/config/painter.py"], job.outputs, job.command)
    run_alone(job, generated, tmp_path)
    for file in job.outputs:
        assert contents(tmp_path / file)
    if rule == "gather":
        assert contents(tmp_path / "data/generated/painted") == contents(
            generated.root / "data/generated/painted"
        )
    if rule == "generate":
        folder = "data/generated/shards/painted/1"
        assert contents(tmp_path / folder) == contents(generated.root / folder)
