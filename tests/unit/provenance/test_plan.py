"""Where a run is: made-up plans and files, as Snakemake and its jobs leave them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from clipsieve.cli import main
from clipsieve.provenance.plan import PLAN, end_plan, is_alive, progress_of, write_plan

HEAD = "s\th:m:s\n"


class Dag:
    """What `write_plan` asks of Snakemake's plan."""

    def __init__(self, jobs, needed):
        self.jobs, self._needed = jobs, needed

    def needrun(self, job):
        return job in self._needed


def job(rule, name="", benchmark=True):
    place = f"{rule}/{name}" if name else rule
    return SimpleNamespace(
        rule=SimpleNamespace(name=rule),
        wildcards={"run": "demo", "name": name} if name else {"run": "demo"},
        output=[f"results/demo/{place}.out"],
        log=[f"results/demo/logs/{place}.log"],
        benchmark=f"results/demo/benchmarks/{place}.tsv" if benchmark else None,
    )


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run of six jobs: one kept, one done, one at work, one that failed, two that wait."""
    monkeypatch.chdir(tmp_path)
    jobs = [job("scan", "old"), job("scan", "a"), job("scan", "b"), job("fit", "c")]
    jobs += [job("fit", "d"), job("table", benchmark=False)]
    folder = Path("results/demo")
    write_plan(folder / PLAN, Dag([*jobs, SimpleNamespace(output=[])], jobs[1:]), 2)
    write("benchmarks/scan/a.tsv", HEAD + "12.5\t0:00:12\n")
    write("logs/scan/b.log", "10:00:00 scan: 3 of 9\r10:00:01 scan: 4 of 9\n")
    write("logs/fit/c.log", "10:00:00 fit: begins\nclipsieve fit: no such file: x.h5\n\n")
    return folder


def write(name, text):
    path = Path("results/demo") / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def states(folder):
    return {(j.rule, j.name): j.state for j in progress_of(folder).jobs}


def test_every_job_is_where_its_files_say(run):
    assert states(run) == {
        ("scan", "old"): "kept", ("scan", "a"): "done", ("scan", "b"): "running",
        ("fit", "c"): "failed", ("fit", "d"): "waiting", ("table", ""): "waiting",
    }  # fmt: skip
    found = progress_of(run)
    by_name = {j.name: j for j in found.jobs}
    assert by_name["a"].seconds == 12.5
    assert by_name["b"].last == "10:00:01 scan: 4 of 9"
    assert by_name["c"].last == "clipsieve fit: no such file: x.h5"
    assert found.ended is None


def test_what_is_older_than_the_plan_does_not_count(run):
    for name in ("benchmarks/scan/a.tsv", "logs/scan/b.log"):
        os.utime(run / name, (time.time() - 1000,) * 2)
    assert states(run)["scan", "a"] == "waiting"
    assert states(run)["scan", "b"] == "waiting"


def test_what_was_at_work_has_failed_when_the_workflow_is_over(run):
    end_plan(run / PLAN, False)
    assert states(run)["scan", "b"] == "failed"
    assert progress_of(run).succeeded is False
    plan = json.loads((run / PLAN).read_text())
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    (run / PLAN).write_text(json.dumps({**plan, "ended": None, "process": gone.pid}))
    assert not is_alive(gone.pid)
    assert states(run)["scan", "b"] == "failed"
    assert progress_of(run).succeeded is False
    (run / PLAN).write_text(json.dumps({**plan, "ended": None, "process": 1, "host": "elsewhere"}))
    assert states(run)["scan", "b"] == "running"


def test_time_left_is_that_of_benchmarks(run):
    assert progress_of(run).unknown == ["fit", "table"]
    other = Path("results/other/benchmarks/fit/seed0/x.tsv")
    other.parent.mkdir(parents=True)
    other.write_text(HEAD + "40\t0:00:40\n")
    found = progress_of(run)
    assert found.unknown == ["table"]
    # one fit waits (40 s), a scan of 12.5 s is at work since the day's ten o'clock: on two cores the fit decides
    assert 40 <= found.left <= 52.5
    (run / "logs/scan/b.log").unlink()
    assert progress_of(run).left == pytest.approx(40)


def test_the_command_says_it_in_words(run, capsys):
    with pytest.raises(SystemExit) as status:
        main(["status"])
    assert status.value.code == 1
    said = capsys.readouterr().out
    assert said.startswith("run demo: 1 of 5 jobs done, 1 failed, 2 waiting, running: scan; ")
    assert "1 other job was up to date" in said
    assert "scan b" in said
    assert "scan: 4 of 9" in said
    assert "failed   fit c: clipsieve fit: no such file: x.h5" in said
    assert "log: results/demo/logs/fit/c.log" in said
    assert "waiting  fit, table" in said
    with pytest.raises(SystemExit):
        main(["status", "demo", "--json"])
    assert {j["state"] for j in json.loads(capsys.readouterr().out)} == {
        *("kept", "done", "running", "failed", "waiting"),
    }


def test_watching_ends_with_the_run(run, capsys):
    for name in ("scan/b", "fit/c", "fit/d"):
        write(f"benchmarks/{name}.tsv", HEAD + "1\t0:00:01\n")
    write("table.out", "")
    end_plan(run / PLAN, True)
    assert main(["status", str(run), "--watch", "0.1"]) == 0
    assert "5 of 5 jobs done; took" in capsys.readouterr().out


def test_watching_ends_where_nothing_starts(run, capsys):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    later = str(time.time() + 1000)
    options = ["--watch", "0.1", "--since", later, "--while", str(gone.pid)]
    assert main(["status", "demo", *options]) == 0
    assert capsys.readouterr().out == ""


def test_a_run_that_was_not_started_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["status"]) == 2
    assert "no run was started from this folder" in capsys.readouterr().err
    assert main(["status", "demo"]) == 2
    assert "has not been started" in capsys.readouterr().err
