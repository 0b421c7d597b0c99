"""The small workflow through Slurm: what each job asked for, and the same bytes as a local run."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import yaml

from tests.slurm.project import SMALL, TARGET, digests, wanted

ROOT = Path(__file__).parents[2]


def megabytes(tres: str) -> int:
    amount, unit = re.search(r"mem=(\d+)([MG])", tres).groups()
    return int(amount) * {"M": 1, "G": 1024}[unit]


def minutes(limit: str) -> int:
    days, _, clock = limit.rpartition("-")
    hours, mins, seconds = map(int, clock.split(":"))
    assert seconds == 0
    return (int(days or 0) * 24 + hours) * 60 + mins


def rule_of(job: dict[str, str]) -> str:
    return re.match(r"rule_(\w+?)_wildcards_", job["Comment"]).group(1)


def test_results_are_bit_identical_to_a_local_run(slurm_run, reference):
    run, _ = slurm_run
    assert digests(run.project) == digests(reference)
    assert (run.project.root / TARGET).is_file()


def test_every_job_went_through_slurm_once(slurm_run):
    run, printed = slurm_run
    jobs = run.jobs()
    assert Counter(map(rule_of, jobs)) == {"embed": 4, "search": 2, "select": 1, "fit": 1}
    assert {job["JobState"] for job in jobs} == {"COMPLETED"}
    assert "8 of 8 steps (100%) done" in printed


def test_each_job_asked_for_what_its_rule_says(slurm_run, reference):
    run, _ = slurm_run
    rules = wanted(reference)
    jobs = run.jobs()
    assert {job["Comment"] for job in jobs} == rules.keys()
    for job in jobs:
        asked = rules[job["Comment"]]
        assert int(job["CPUs/Task"]) == int(asked["threads"]), job["Comment"]
        assert megabytes(job["TRES"]) == int(asked["mem_mb"]), job["Comment"]
        assert minutes(job["TimeLimit"]) == int(asked["runtime"]), job["Comment"]
        assert job.get("TresPerJob") == ("gres:gpu:1" if "gpu" in asked else None)


def test_gpu_rules_alone_went_to_the_gpu_partition(slurm_run):
    run, _ = slurm_run
    places = {(rule_of(job), job["Partition"]) for job in run.jobs()}
    assert places == {("embed", "gpu"), ("search", "cpu"), ("select", "cpu"), ("fit", "cpu")}


def test_gpu_partition_is_named_in_one_place():
    """A site that renames it edits one line; this fails when the name is written a second time."""
    partitions = yaml.safe_load((ROOT / "profiles/slurm/partitions.yaml").read_text())["partitions"]
    with_gpus = [name for name, limits in partitions.items() if limits.get("max_gpu")]
    assert with_gpus == ["gpu"]
    profile = yaml.safe_load((ROOT / "profiles/slurm/config.yaml").read_text())
    assert "slurm_partition" not in str(profile)
    rules = "".join(path.read_text() for path in (ROOT / "workflow/rules").glob("*.smk"))
    assert "slurm_partition" not in rules


def test_logs_are_where_the_profile_says(slurm_run):
    run, printed = slurm_run
    folder = run.project.root / "logs/slurm"
    places = re.findall(r"has been submitted with SLURM jobid \d+ \(log: (\S+)\)", printed)
    assert len(places) == 8
    assert all(Path(place).is_relative_to(folder) for place in places)
    # kept for failed jobs alone
    assert not list(folder.rglob("*.log"))
    assert (run.project.root / "results/small/logs/embed/tiny/photos.log").is_file()


def test_profile_works_as_typed_from_the_root(reference):
    done = reference.snakemake("--profile", "slurm", "-n", "--quiet", "rules")
    assert "Using profile slurm" in done.stdout + done.stderr


def test_no_file_of_the_profile_is_taken_for_a_value():
    """Snakemake turns a value that names a file in the profile's folder into that file's path."""
    profile = yaml.safe_load((ROOT / "profiles/slurm/config.yaml").read_text())
    files = {path.name for path in (ROOT / "profiles/slurm").iterdir()}
    named = {value for value in profile.values() if isinstance(value, str)} & files
    assert named == {"partitions.yaml"}
    assert not (ROOT / "profiles/default").exists()


def test_second_run_has_nothing_to_do(slurm_run):
    run, _ = slurm_run
    done = run.project.snakemake("-n", TARGET, "--profile", "slurm", "--configfile", SMALL)
    assert "Nothing to be done" in done.stdout + done.stderr
