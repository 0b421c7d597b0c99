"""Say where a run is: what is done, at work, failed and waiting, and how long it will take.

It reads files only, so it can be called at any time, from another terminal, and of a run on a
cluster, in the folder from which the workflow was started. The estimate comes from the benchmarks
of this run, and of the other runs beside it for rules that have not ended yet.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from clipsieve.errors import UserError

if TYPE_CHECKING:
    from clipsieve.provenance.plan import Progress

HELP = "say where a run is: done, running, failed, waiting, and the time left"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "run",
        nargs="?",
        metavar="RUN",
        help="the run's folder or id (default: the run that was started last)",
    )
    add("--line", action="store_true", help="print one line only")
    add("--json", action="store_true", help="print every job as JSON")
    add(
        "--watch",
        type=float,
        metavar="SECONDS",
        help="print a line every so many seconds until the run is over, then everything",
    )
    add(
        "--since",
        type=float,
        default=0.0,
        metavar="TIME",
        help="with --watch: wait for a run that starts after this time, in seconds since 1970"
        " (default %(default)s)",
    )
    add(
        "--while",
        type=int,
        dest="process",
        metavar="PROCESS",
        help="with --watch: stop, too, when the process with this number is over",
    )
    parser.epilog = (
        "status 1 says that a job has failed.\n\n"
        "examples:\n"
        "  clipsieve status\n"
        "  clipsieve status results/demo --watch 10"
    )


def run(args: argparse.Namespace) -> None:
    from clipsieve.provenance.plan import progress_of

    folder = _folder(args.run)
    if args.watch is not None and not _watch(folder, args.watch, args.since, args.process):
        return
    found = progress_of(folder)
    if args.json:
        print(json.dumps([vars(job) for job in found.jobs], indent=1))
    elif args.line:
        print(line(found))
    else:
        print(report(found))
    if found.of("failed"):
        raise SystemExit(1)


def _folder(given: str | None) -> Path:
    """Return the folder of the run that was asked for."""
    from clipsieve.provenance.plan import PLAN

    if given is not None:
        path = Path(given)
        return path if path.is_dir() else Path("results", given)
    plans = sorted(Path("results").glob(f"*/{PLAN}"), key=lambda path: path.stat().st_mtime)
    if not plans:
        raise UserError(
            "no run was started from this folder; start one, or give its folder, as results/demo"
        )
    return plans[-1].parents[1]


def _watch(folder: Path, seconds: float, since: float, process: int | None) -> bool:
    """Print a line now and then until the run is over; on a terminal it is always the same line.

    Returns False where the run never started: the process that was to start it had nothing to do.
    """
    from clipsieve.provenance.plan import is_alive, progress_of

    alone = sys.stdout.isatty()
    before, told = "", 0.0
    while True:
        at_work = process is None or is_alive(process)
        found = None
        with suppress(UserError):
            found = progress_of(folder)
        if found is None or found.started < since:
            if not at_work:
                return False
            time.sleep(min(seconds, 1.0))
            continue
        text = line(found)
        counts = text.partition(";")[0]
        if alone:
            print(f"\r\033[K{text[: shutil.get_terminal_size().columns - 1]}", end="", flush=True)
        elif counts != before or time.monotonic() - told > 60:
            print(text, flush=True)
            before, told = counts, time.monotonic()
        if found.ended is not None or not at_work:
            break
        for _ in range(max(1, round(seconds))):
            time.sleep(min(seconds, 1.0))
            if process is not None and not is_alive(process):
                break
    if alone:
        print()
    return True


def line(found: Progress) -> str:
    """Return one line: counts, what is at work, time so far and time left."""
    todo = [job for job in found.jobs if job.state != "kept"]
    if not todo:
        return f"run {found.run}: nothing had to be done"
    counts = Counter(job.state for job in todo)
    parts = [f"{counts['done']} of {len(todo)} jobs done"]
    for state in ("failed", "waiting"):
        if counts[state]:
            parts.append(f"{counts[state]} {state}")
    running = Counter(job.rule for job in todo if job.state == "running")
    if running:
        parts.append(f"running: {listed(running)}")
    end = found.ended if found.ended is not None else time.time()
    times = [
        f"{duration(end - found.started)} so far"
        if found.ended is None
        else f"took {duration(end - found.started)}"
    ]
    if found.left is not None:
        more = "or more " if found.unknown else ""
        times.append(f"about {duration(found.left)} {more}left")
    return f"run {found.run}: {', '.join(parts)}; {', '.join(times)}"


def report(found: Progress) -> str:
    """Return everything that a reader wants to know."""
    lines = [line(found)]
    kept = len(found.of("kept"))
    if kept:
        lines.append(f"  {kept} other {'jobs were' if kept > 1 else 'job was'} up to date")
    for job in found.of("running"):
        lines.append(
            f"  running  {job.rule} {job.name}, {duration(job.seconds)}: {job.last or 'no line yet'}"
        )
    for job in found.of("failed"):
        lines += [
            f"  failed   {job.rule} {job.name}: {job.last or 'its log is empty'}",
            f"           log: {job.log}",
        ]
    waiting = Counter(job.rule for job in found.of("waiting"))
    if waiting:
        word = "waiting" if found.ended is None else "not begun"
        lines.append(f"  {word}  {listed(waiting)}")
    if found.unknown:
        lines.append(f"  no estimate yet for {', '.join(found.unknown)}")
    if found.ended is not None and not found.succeeded and not found.of("failed"):
        lines.append("  the workflow was stopped; start it again to go on")
    return "\n".join(lines)


def listed(counts: Counter[str]) -> str:
    """Return rules with their numbers of jobs: `fit 12, table 3`."""
    return ", ".join(f"{rule} {n}" if n > 1 else rule for rule, n in counts.most_common())


def duration(seconds: float) -> str:
    """Return a time as a person says it.

    Examples
    --------
    >>> [duration(x) for x in (4, 75, 3720, 90_000)]
    ['4 s', '1 min 15 s', '1 h 2 min', '25 h']
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 3600:
        return f"{round(whole / 60)} min"
    if whole < 36_000:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{round(whole / 3600)} h"
