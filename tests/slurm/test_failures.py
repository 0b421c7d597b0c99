"""Jobs that are hit by everything a cluster does to jobs: the results have the same bytes."""

from __future__ import annotations

import os
import re
import signal
import time

from tests.slurm.cluster import NODE
from tests.slurm.project import SMALL, TARGET, Run, digests, payloads, scanned
from tests.slurm.test_run import megabytes, minutes

EMBED = "rule_embed_wildcards_small_tiny_{}"
SEARCH = "rule_search_wildcards_small_0_tiny_{}"


def embedding(image_set: str) -> str:
    return f"results/small/embeddings/tiny/{image_set}.h5"


def test_every_kind_of_failure_in_one_run(cluster, reference, tmp_path):
    """Node drained and resumed; jobs cancelled, killed, over memory, over time; all in one run."""
    project = scanned(reference, tmp_path / "p")
    cluster.call("scontrol", "update", f"NodeName={NODE}", "State=DRAIN", "Reason=test")
    # The first attempt of two jobs gets too little memory, and too little time.
    memory = "embed:mem_mb=250 if wildcards.image_set == 'photos' and attempt == 1 else 8000"
    runtime = "embed:runtime=1 if wildcards.image_set == 'gan_b' and attempt == 1 else 120"
    with Run(project, cluster, (TARGET, "--set-resources", memory, runtime)) as run:
        run.wait("four jobs in the queue", lambda: len(run.jobs(state="PENDING")) == 4)
        time.sleep(2)
        assert not run.jobs(state="RUNNING")
        cluster.call("scontrol", "update", f"NodeName={NODE}", "State=RESUME")

        os.kill(run.payload("embed", embedding("gan_b")), signal.SIGSTOP)
        os.kill(run.payload("embed", embedding("diff_a")), signal.SIGKILL)
        (cancelled,) = run.wait("gan_a", lambda: run.jobs(EMBED.format("gan_a"), "RUNNING"))
        cluster.call("scancel", cancelled["JobId"])
        search = "results/small/seed0/tiny/searches/gan_a--diff_a.parquet"
        os.kill(run.payload("search", search), signal.SIGKILL)
        printed = run.finish()

    assert digests(project) == digests(reference)
    states = {
        image_set: [job["JobState"] for job in run.jobs(EMBED.format(image_set))]
        for image_set in ("photos", "gan_a", "diff_a", "gan_b")
    }
    assert states == {
        "photos": ["FAILED", "COMPLETED"],
        "gan_a": ["CANCELLED", "COMPLETED"],
        "diff_a": ["FAILED", "COMPLETED"],
        "gan_b": ["TIMEOUT", "COMPLETED"],
    }
    first, second = run.jobs(SEARCH.format("gan_a_diff_a"))
    assert (first["JobState"], second["JobState"]) == ("FAILED", "COMPLETED")
    # The second attempt of the search asks for twice as much, as its rule says.
    assert megabytes(second["TRES"]) == 2 * megabytes(first["TRES"])
    assert minutes(second["TimeLimit"]) == 2 * minutes(first["TimeLimit"])
    # Logs of jobs that failed are kept, where the run said that they are.
    kept = re.findall(r"SLURM jobid (\d+) \(log: (\S+)\)", printed)
    failed = {job["JobId"] for job in run.jobs() if job["JobState"] != "COMPLETED"}
    assert len(failed) == 5
    assert {number for number, path in kept if os.path.exists(path)} == failed


def test_snakemake_killed_and_started_again_while_its_job_runs_on(cluster, reference, tmp_path):
    project = scanned(reference, tmp_path / "p")
    output = embedding("gan_a")
    with Run(project, cluster, (output,)) as run:
        first = run.payload("embed", output)
        shards = project.root / "results/small/embeddings/tiny/.shards/gan_a"
        run.wait("the lock", lambda: list(shards.rglob("lock")))
        os.kill(first, signal.SIGSTOP)
        run.process.kill()
        run.process.wait()
    (job,) = run.jobs(EMBED.format("gan_a"))
    assert job["JobState"] == "RUNNING"

    project.snakemake("--unlock", "--cores", "1", "--configfile", SMALL)
    with Run(project, cluster, (output,)) as again:
        try:
            second = again.wait(
                "a second job at the same output",
                lambda: set(payloads(project.root, "embed", output)) - {first},
            )
            log = project.root / "results/small/logs/embed/tiny/gan_a.log"
            again.wait("the second job waiting", lambda: "waiting for it" in log.read_text())
            assert len(second) == 1
            assert not (project.root / output).exists()
        finally:
            os.kill(first, signal.SIGCONT)
        again.finish()

    states = [job["JobState"] for job in again.jobs(EMBED.format("gan_a"))]
    assert states == ["COMPLETED", "COMPLETED"]
    name = "embeddings/tiny/gan_a.h5"
    assert digests(project)[name] == digests(reference)[name]
