"""Where a run is: what Snakemake planned, held against the files that its jobs leave behind.

The workflow writes `plan.json` when it starts. From then on a job is done when its benchmark (or its
output) is newer than the plan, at work when its log is, and has failed when its log ends with a
mistake, or when the workflow is over. That holds for jobs on a cluster as well.
"""

from __future__ import annotations

import json
import os
import re
import socket
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clipsieve.errors import UserError
from clipsieve.io.files import replacing

PLAN = "logs/plan.json"
_MISTAKE = re.compile(r"clipsieve [a-z-]+: |[\w.]*(Error|Exception|Killed)\b")


def write_plan(path: Path, dag: Any, cores: int | None) -> None:
    """Write what a workflow is about to do; called when it starts, with Snakemake's own plan.

    Parameters
    ----------
    path
        `results/<run>/logs/plan.json`.
    dag
        Snakemake's plan: jobs, and which of them are needed.
    cores
        How many cores it may use; None where that is not known.
    """
    jobs = []
    for job in dag.jobs:
        if not job.output:
            continue
        jobs.append(
            {
                "rule": job.rule.name,
                "name": " ".join(
                    str(value) for key, value in job.wildcards.items() if key != "run"
                ),
                "output": [str(name) for name in job.output],
                "log": [str(name) for name in job.log],
                "benchmark": str(job.benchmark) if job.benchmark else None,
                "todo": bool(dag.needrun(job)),
            }
        )
    plan = {
        **{"started": time.time(), "ended": None, "succeeded": None, "cores": cores},
        **{"host": socket.gethostname(), "process": os.getpid(), "jobs": jobs},
    }
    _write(path, plan)


def end_plan(path: Path, succeeded: bool) -> None:
    """Say in the plan that the workflow is over."""
    with suppress(OSError, ValueError):
        plan = json.loads(path.read_text(encoding="utf-8"))
        _write(path, {**plan, "ended": time.time(), "succeeded": succeeded})


def _write(path: Path, plan: dict[str, Any]) -> None:
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(plan), encoding="utf-8")


@dataclass(frozen=True)
class Job:
    """One job of the plan, and where it is.

    Attributes
    ----------
    rule, name
        Its rule, and the values of its wildcards.
    state
        `done`, `running`, `failed`, `waiting`, or `kept`: nothing had to be done.
    seconds
        How long it took or has been at work; 0 for others.
    log
        Its log, where there is one.
    last
        The last line of the log.
    """

    rule: str
    name: str
    state: str
    seconds: float = 0.0
    log: str = ""
    last: str = ""


@dataclass(frozen=True)
class Progress:
    """Where a run is.

    Attributes
    ----------
    run
        Its id.
    started, ended
        Seconds since 1970; None while it is at work.
    succeeded
        None while it is at work, and where the workflow was killed.
    jobs
        Every job of the plan.
    left
        Seconds that are left, by what jobs of each rule took so far; None where that is not known.
    unknown
        Rules that wait and that no benchmark is known of.
    """

    run: str
    started: float
    ended: float | None
    succeeded: bool | None
    jobs: list[Job]
    left: float | None = None
    unknown: list[str] = field(default_factory=list)

    def of(self, *states: str) -> list[Job]:
        """Return the jobs in these states."""
        return [job for job in self.jobs if job.state in states]


def progress_of(run: Path, root: Path = Path()) -> Progress:
    """Read where a run is.

    Parameters
    ----------
    run
        Its folder, `results/<run>`.
    root
        The folder that the paths of the plan start from: that of the Snakefile.

    Raises
    ------
    UserError
        There is no plan, so that the run was never started, or by an older version.
    """
    path = run / PLAN
    try:
        plan = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(
            f"{run}: no {PLAN}; the workflow writes it when it starts, so this run has not been started"
        ) from None
    except ValueError as error:
        raise UserError(f"{path}: not readable JSON ({error})") from None
    started = float(plan["started"])
    over = plan["ended"] is not None or _is_gone(plan)
    jobs = [_job(one, started, over, root) for one in plan["jobs"]]
    ended = plan["ended"]
    if over and ended is None:
        ended = max(
            [started, *(_changed(root / log) for one in plan["jobs"] for log in one["log"])]
        )
    left, unknown = (None, []) if over else _left(jobs, run, plan, time.time() - started)
    return Progress(run.name, started, ended, plan["succeeded"], jobs, left, unknown)


def _is_gone(plan: dict[str, Any]) -> bool:
    """Tell whether the workflow's process was on this machine and is no more."""
    return plan["host"] == socket.gethostname() and not is_alive(int(plan["process"]))


def is_alive(process: int) -> bool:
    """Tell whether a process of this machine is at work."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    # one that is over, and that nobody has asked for its status yet, is not at work
    with suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return True


def _job(one: dict[str, Any], started: float, over: bool, root: Path) -> Job:
    log = next(iter(one["log"]), "")
    if not one["todo"]:
        return Job(one["rule"], one["name"], "kept", log=log)
    ends = [one["benchmark"]] if one["benchmark"] else one["output"]
    finished = min(_changed(root / name) for name in ends)
    if finished >= started:
        seconds = _seconds(root / one["benchmark"]) if one["benchmark"] else 0.0
        return Job(one["rule"], one["name"], "done", seconds or 0.0, log)
    written = _changed(root / log) if log else 0.0
    if written < started:
        return Job(one["rule"], one["name"], "waiting", log=log)
    last = _last_line(root / log)
    failed = over or _MISTAKE.match(last) is not None
    seconds = max(0.0, time.time() - max(started, _begun(root / log)))
    return Job(one["rule"], one["name"], "failed" if failed else "running", seconds, log, last)


def _changed(path: Path) -> float:
    """When a file was last changed; 0 where there is none."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _begun(path: Path) -> float:
    """When a log was begun, by the time of its first line; else when it was last changed."""
    changed = _changed(path)
    with suppress(OSError), path.open(encoding="utf-8", errors="replace") as file:
        if match := re.match(r"(\d\d):(\d\d):(\d\d) ", file.readline()):
            hours, minutes, seconds = map(int, match.groups())
            day = time.localtime(changed)
            first = time.mktime((*day[:3], hours, minutes, seconds, *day[6:]))
            return first if first <= changed else first - 86_400
    return changed


def _last_line(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 4096))
            lines = file.read().decode(errors="replace").replace("\r", "\n").split("\n")
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def _seconds(path: Path) -> float | None:
    """Return the seconds of a benchmark file; None where there is none that can be read."""
    try:
        head, row = path.read_text(encoding="utf-8").splitlines()[:2]
        return float(dict(zip(head.split("\t"), row.split("\t"), strict=False))["s"])
    except (OSError, ValueError, KeyError):
        return None


def _left(
    jobs: Iterable[Job], run: Path, plan: dict[str, Any], elapsed: float
) -> tuple[float | None, list[str]]:
    """Return the seconds that are left, and waiting rules of which nothing is known."""
    spent: dict[str, list[float]] = {}
    jobs = list(jobs)
    for job in jobs:
        if job.state == "done" and job.seconds:
            spent.setdefault(job.rule, []).append(job.seconds)
    unfinished = [job for job in jobs if job.state in ("waiting", "running")]
    for rule in {job.rule for job in unfinished} - spent.keys():
        found = map(_seconds, _benchmarks(run.parent, rule))
        spent[rule] = [seconds for seconds in found if seconds is not None]
    usual = {rule: sum(found) / len(found) for rule, found in spent.items() if found}
    work = sum(
        max(0.0, usual[job.rule] - (job.seconds if job.state == "running" else 0.0))
        for job in unfinished
        if job.rule in usual
    )
    unknown = sorted({job.rule for job in unfinished} - usual.keys())
    if len(unknown) == len({job.rule for job in unfinished}) and unknown:
        return None, unknown
    done = sum(job.seconds for job in jobs if job.state == "done")
    # as fast as so far, once there is something to judge by; else all cores at work
    abreast = done / elapsed if done > 60 and elapsed > 60 else float(plan["cores"] or 1)
    abreast = max(abreast, 0.1)
    longest = max((usual.get(job.rule, 0.0) for job in unfinished), default=0.0)
    return max(work / abreast, min(longest, work)), unknown


def _benchmarks(results: Path, rule: str) -> list[Path]:
    """Return benchmark files of a rule in all runs beside this one, the newest hundred."""
    found = [
        *results.glob(f"*/benchmarks/{rule}.tsv"),
        *results.glob(f"*/benchmarks/{rule}/**/*.tsv"),
    ]
    return sorted(found, key=_changed)[-100:]
