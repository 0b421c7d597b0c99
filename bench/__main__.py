"""Measure everything and write docs/performance.md: `python -m bench [--quick] [PART ..]`.

Each part measures one thing in one process of its own; what it returns is kept in bench/results/<part>.json, so
parts can be measured one by one and the page is always made from all that are there.
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

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench" / "results"
STEP_TIME = "processor_milliseconds_of_each_further"
WIDEST = 10  # columns of a table
PARTS = ("search", "probes", "encoders", "statistics", "paper_shape")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", default=PARTS, help=f"of {', '.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that all runs")
    args = parser.parse_args()
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
    (ROOT / "docs" / "performance.md").write_text(page())


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


def page() -> str:
    lines = [
        "# Performance",
        "",
        "Measured by `make bench`: every ratio is of two things timed in one run on one machine, the sizes",
        "beside it.",
        "Where a part was measured at small sizes it says `quick`.",
    ]
    measured = {
        part: json.loads((RESULTS / f"{part}.json").read_text())
        for part in PARTS
        if (RESULTS / f"{part}.json").exists()
    }
    lines += ["", *(f"- {line}" for part, found in measured.items() for line in gist(part, found))]
    for part, found in measured.items():
        lines += ["", f"## {words(part).capitalize()}", "", found.pop("about"), ""]
        lines += [f"Machine: {found.pop('machine')}{', quick' if found.pop('quick') else ''}."]
        if part == "search":
            growth_figure(found)
            lines += ["", "![Time of a step against the size of the problem](images/growth.svg)"]
        lines += section(found, 3)
    missing = [part for part in PARTS if part not in measured]
    if missing:
        lines += ["", f"Not measured yet: {', '.join(missing)} (`python -m bench PART`)."]
    return "\n".join(lines) + "\n"


def gist(part: str, found: dict[str, Any]) -> list[str]:
    """A part in a sentence or two: what the tables below say of the full sizes."""
    if found["quick"]:
        return []
    if part == "search":
        return [
            f"A search, {row['columns']} columns, {row['embeddings'].replace('unit', 'unit-norm')} embeddings: "
            f"{row['search_seconds']:.0f} s, {row['times_faster']:,.0f} times faster than the plain loop of "
            f"scikit-learn fits, both with their default threads; {row['times_faster_both_on_one_thread']:.0f} times, "
            "both on one thread (the loop from sampled fits, extrapolated)."
            for row in found["against_the_plain_loop"]
        ]
    if part == "probes":
        heads, grid = found["heads"], found["grid"][0]
        same = "equal to the last bit" if grid["same"] else "NOT with the same result"
        return [
            f"The 96-point grid: {grid['ratio']:.1f} times faster than the plain loop, {same}.",
            f"Ranking {heads['layers'] * heads['heads']} heads: {heads['ratio_both_on_1_thread']:.1f} times faster "
            f"than scikit-learn on full-width outputs, both on one thread; "
            f"{heads['ratio_both_on_2_threads']:.1f} times, both on two.",
        ]
    if part == "encoders":
        return [
            f"Embeddings with head outputs: {found['heads_over_plain']:.2f} of the time of open_clip's own "
            f"forward pass; `embed` end to end: {found['embed_over_plain']:.2f}.",
            f"The vocabulary: {found['vocabulary_times_faster']:.0f} times faster than at full length.",
        ]
    if part == "statistics":
        run = found["a_run_in_the_shape_of_the_papers"]
        return [f"The statistics of a run of the paper's shape: {run['seconds']:.0f} s."]
    return [
        f"The paper's CPU side at its shape, all of it: {found['hours']:.1f} h on {found['cores']} cores "
        "(the paper: less than 7 days on three servers).",
        *(
            f"All {row['all_ordered_pairs']} ordered pairs searched at {row['columns']} columns: "
            f"{row['their_hours_on_these_cores']:.1f} h, one a core, by the mean of {row['searches']} searches of "
            "that run."
            for row in found["searches"]
        ),
    ]


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
