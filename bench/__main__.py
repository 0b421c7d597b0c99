"""Measure everything and write docs/performance.md: `python -m bench [--quick] [PART ..]`.

Each part measures one thing in a process of its own. Its result is kept in bench/results/<part>.json, so parts can be
measured one by one. The page, and the raw tables in bench/results/README.md, are always made from all results.
`python -m bench --page` writes both without measuring anything.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench.page import page

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench" / "results"
STEP_TIME = "processor_milliseconds_of_each_further"
WIDEST = 10  # columns of a table
PARTS = ("search", "probes", "encoders", "throughput", "statistics", "paper_shape", "folders")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", default=PARTS, help=f"of {', '.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that all runs")
    parser.add_argument("--page", action="store_true", help="write the pages, measure nothing")
    args = parser.parse_args()
    if args.page:
        write_pages()
        return
    unknown = sorted(set(args.parts) - set(PARTS))
    if unknown:
        parser.error(f"no part {unknown[0]!r}; one of: {', '.join(PARTS)}")
    if len(args.parts) > 1:
        for part in args.parts:
            quick = ["--quick"] if args.quick else []
            command = [sys.executable, "-m", "bench", part, *quick]
            subprocess.run(command, check=True, cwd=ROOT)
        return
    (part,) = args.parts
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps(measure(part, args.quick), indent=1, default=plain)
    (RESULTS / f"{part}.json").write_text(text + "\n")
    print(f"{part}: {text}")
    write_pages()


def plain(value: Any) -> Any:
    """Numbers of numpy as Python's."""
    return value.tolist()


def measure(part: str, quick: bool) -> dict[str, Any]:
    module = importlib.import_module(f"bench.{part}")
    return {
        "about": " ".join((module.__doc__ or "").split("\n\n")[0].split()),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "quick": quick,
        **module.run(quick),
    }


def write_pages() -> None:
    """Write docs/performance.md with its figure, and the raw tables."""
    measured = {
        part: json.loads((RESULTS / f"{part}.json").read_text())
        for part in PARTS
        if (RESULTS / f"{part}.json").exists()
    }
    if "search" in measured:
        growth_figure(measured["search"])
    (ROOT / "docs" / "performance.md").write_text(page(measured))
    (RESULTS / "README.md").write_text(raw(measured))


def raw(measured: dict[str, dict[str, Any]]) -> str:
    """Return every measured value as tables."""
    lines = [
        "# Measured values",
        "",
        "`make bench` writes these tables; [docs/performance.md](../../docs/performance.md) says what they show.",
        "A part that was measured at small sizes says `quick`.",
    ]
    for part, found in measured.items():
        found = dict(found)
        lines += ["", f"## {words(part).capitalize()}", "", found.pop("about"), ""]
        lines += [f"Machine: {found.pop('machine')}{', quick' if found.pop('quick') else ''}."]
        lines += section(found, 3)
    missing = [part for part in PARTS if part not in measured]
    if missing:
        lines += ["", f"Not measured yet: {', '.join(missing)} (`python -m bench PART`)."]
    return "\n".join(lines) + "\n"


def growth_figure(found: dict[str, Any]) -> None:
    """Time of a step against columns and against training rows, both axes logarithmic."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "clipsieve"  # the same drawing is the same file
    from matplotlib import pyplot, ticker

    figure, axes = pyplot.subplots(1, 2, figsize=(7.5, 3), layout="constrained")
    for ax, axis in zip(axes, ("columns", "training_rows"), strict=True):
        rows = found[f"growth_with_{axis}"]
        other = "training_rows" if axis == "columns" else "columns"
        x = [row[axis] for row in rows]
        ax.loglog(x, [row[STEP_TIME] for row in rows], "o-", color="#0059a8")
        ax.set(xlabel=words(axis), ylabel="ms a step", title=f"{rows[0][other]:,} {words(other)}")
        ax.set_xticks(x, [f"{value:,}" for value in x], rotation=45)
        ax.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter(ticker.StrMethodFormatter("{x:,.0f}"))
        ax.minorticks_off()
        ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(ROOT / "docs" / "images" / "growth.svg", metadata={"Date": None})


def section(found: dict[str, Any], level: int) -> list[str]:
    """Plain values as one table; lists of mappings and mappings as sections of their own."""
    plain = {k: v for k, v in found.items() if not isinstance(v, dict | list)}
    lines = []
    if plain:
        lines += ["", "| | |", "|---|---|"]
        lines += [f"| {words(k)} | {number(v)} |" for k, v in plain.items()]
    for key, value in found.items():
        if isinstance(value, dict):
            lines += ["", f"{'#' * level} {words(key)}", *section(value, level + 1)]
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            columns = list(dict.fromkeys(c for row in value for c in row))
            table = [[words(c), *(number(row.get(c, "")) for row in value)] for c in columns]
            if len(columns) <= WIDEST:  # else one row a column, which a page can hold
                table = [list(row) for row in zip(*table, strict=True)]
            lines += ["", f"{'#' * level} {words(key)}", ""]
            lines += [f"| {' | '.join(row)} |" for row in table]
            lines.insert(len(lines) - len(table) + 1, "|---" * len(table[0]) + "|")
        elif isinstance(value, list):
            lines += ["", f"{words(key)}: {', '.join(map(number, value))}"]
    return lines


def words(name: str) -> str:
    return str(name).replace("_", " ")


def number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value)


if __name__ == "__main__":
    main()
