"""Projects that Slurm works on: their images, their results as hashes, and Snakemake at work in them."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from tests.slurm.cluster import Cluster
from tests.workflow.conftest import Project

SMALL = "tests/slurm/small.yaml"
RUN = Path("results/small")
SETS = ("photos", "gan_a", "gan_b", "diff_a", "diff_b")
# A probe on selected columns: it needs four embeddings, two searches and a selection.
TARGET = "results/small/seed0/tiny/probes/components/gan_b.npz"
# The profile asks for the first time after 20 s; a test has not the time.
QUICK = ("--slurm-init-seconds-before-status-checks", "2")

Found = TypeVar("Found")


def make_images(folder: Path, count: int = 60) -> None:
    """Write small PNG image sets: smooth noise, and the same with each generator's own trace."""
    random = np.random.default_rng(20)
    waves = np.indices((64, 64)).sum(axis=0)
    for index in range(count):
        coarse = random.integers(40, 215, (8, 8, 3)).astype(np.uint8)
        photo = np.asarray(Image.fromarray(coarse).resize((64, 64), Image.Resampling.BICUBIC))
        for number, name in enumerate(SETS):
            trace = 12 * np.cos(np.pi * waves * number / 5)[..., None] if number else 0
            pixels = np.clip(photo + trace + random.normal(0, 3, photo.shape), 0, 255)
            (folder / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{index:03}.png")


def digests(project: Project) -> dict[str, str]:
    """Return the sha256 of every result file of the run, by name."""
    root = project.root / RUN
    found = {}
    for path in sorted(root.rglob("*")):
        parts = path.relative_to(root).parts
        hidden = any(part.startswith(".") for part in parts)
        if path.is_file() and parts[0] not in ("logs", "benchmarks") and not hidden:
            found["/".join(parts)] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def scanned(reference: Project, target: Path) -> Project:
    """Copy a finished project and leave its image tables and splits, and nothing made from them."""
    project = reference.copy(target.resolve())
    shutil.rmtree(project.root / RUN / "embeddings")
    shutil.rmtree(project.root / RUN / "seed0" / "tiny")
    shutil.rmtree(project.root / RUN / "logs")
    return project


def payloads(folder: Path, verb: str, output: str) -> list[int]:
    """Return the process ids of the clipsieve command that writes an output of a folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().decode().split("\0")
            there = os.readlink(entry / "cwd") == str(folder)
        except (OSError, UnicodeDecodeError):
            continue
        # the command itself, not a shell that has it in its script
        is_command = any(Path(word).name == "clipsieve" for word in words[:2])
        if there and is_command and verb in words[:3] and output in words:
            found.append(int(entry.name))
    return found


def wanted(project: Project) -> dict[str, dict[str, str]]:
    """Read what each job of a dry-run says it needs: comment of the Slurm job -> facts."""
    done = project.snakemake(
        "-n", TARGET, "--forcerun", "embed", "--cores", "64", "--configfile", SMALL
    )
    jobs = {}
    for block in re.split(r"\n(?=rule )", done.stdout + done.stderr)[1:]:
        rule = block[len("rule ") : block.index(":")]
        facts = dict(re.findall(r"^    (wildcards|threads|resources): (.*)$", block, re.M))
        values = re.findall(r"\w+=([^,\s]+)", facts.get("wildcards", ""))
        resources = dict(re.findall(r"(\w+)=([^,\s]+)", facts["resources"]))
        resources["threads"] = facts.get("threads", "1")
        jobs[f"rule_{rule}_wildcards_{'_'.join(values)}"] = resources
    return jobs


@dataclass
class Run:
    """Snakemake at work in a project, through Slurm; its jobs can be found and hit."""

    project: Project
    cluster: Cluster
    options: tuple[str, ...] = ()
    process: subprocess.Popen[str] = field(init=False)
    log: Path = field(init=False)

    def __post_init__(self) -> None:
        self.log = self.project.root / f"run-{time.monotonic_ns()}.log"
        command = [sys.executable, "-m", "snakemake", *self.options, *QUICK]
        command += ["--profile", "slurm", "--configfile", SMALL]
        with open(self.log, "w", encoding="utf-8") as output:
            self.process = subprocess.Popen(
                command,
                cwd=self.project.root,
                env=self.environment(),
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
            )

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *error: object) -> None:
        # only a failed test leaves Snakemake at work
        self.process.kill()
        self.process.wait()

    def environment(self) -> dict[str, str]:
        """Return the cluster's environment with this package and this Python in front."""
        env = self.cluster.environment({"PYTHONPATH": str(self.project.root / "src")})
        env["PATH"] = f"{Path(sys.executable).parent}:{env['PATH']}"
        return env

    def finish(self, timeout: float = 900) -> str:
        """Wait for Snakemake's end, which must be a good one, and return what it printed."""
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGINT)
            code = self.process.wait(120)
        text = self.log.read_text(encoding="utf-8")
        assert code == 0, text[-12000:]
        return text

    def wait(self, what: str, check: Callable[[], Found], timeout: float = 300) -> Found:
        """Ask until `check` gives something, and return it; fail when Snakemake ends before."""
        end = time.monotonic() + timeout
        while not (found := check()):
            ended = self.process.poll()
            if ended is not None or time.monotonic() > end:
                text = self.log.read_text(encoding="utf-8")
                raise AssertionError(f"{what}: not seen (Snakemake: {ended}){text[-8000:]}")
            time.sleep(0.02)
        return found

    def payload(self, verb: str, output: str) -> int:
        """Wait for the process that writes an output, and return its id."""
        root = self.project.root
        return self.wait(f"{verb} of {output}", lambda: payloads(root, verb, output))[0]

    def jobs(self, comment: str = "", state: str = "") -> list[dict[str, str]]:
        """Return this project's Slurm jobs of one rule and wildcards (or all), oldest first."""
        return [
            job
            for job in self.cluster.jobs()
            if job["WorkDir"] == str(self.project.root)
            and comment in ("", job["Comment"])
            and job["JobState"].startswith(state)
        ]
