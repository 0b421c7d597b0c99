"""docs/performance.md: what the measurements say, in sentences; the raw tables are beside the results."""

from __future__ import annotations

import textwrap
from typing import Any

Found = dict[str, Any]
WHOLE: dict[str, Any] = {"break_long_words": False, "break_on_hyphens": False}


def page(measured: dict[str, Found]) -> str:
    """Return the page; a part that was measured at small sizes only is left out."""
    full = {part: found for part, found in measured.items() if not found["quick"]}
    machines = sorted({found["machine"] for found in full.values()})
    lines = [
        "# Performance",
        "",
        "`make bench` measures these times and writes this page. Every ratio compares two things that were timed in"
        " the same run on the same machine; the paper's own times come from other machines. All measured values are"
        " in [bench/results/README.md](../bench/results/README.md).",
    ]
    if machines:
        lines += ["", f"Measured on: {'; '.join(machines)}."]
    writers = {
        "paper_shape": _paper_shape,
        "search": _search,
        "probes": _probes,
        "encoders": _encoders,
        "throughput": _throughput,
        "statistics": _statistics,
        "folders": _folders,
    }
    for part, write in writers.items():
        if part in full:
            lines += ["", *write(full[part])]
    missing = [part for part in writers if part not in full]
    if missing:
        lines += ["", f"Not measured at full size: {', '.join(missing)} (`python -m bench PART`)."]
    wrapped = (
        line if line.startswith("|") else textwrap.fill(line, 110, **WHOLE) for line in lines
    )
    return "\n".join(wrapped) + "\n"


def _paper_shape(found: Found) -> list[str]:
    lines = [
        "## A run of the paper's shape",
        "",
        f"The workflow ran on synthetic embeddings with the numbers of the paper: {found['generators']} generators,"
        f" {found['images_of_each']:,} images of each, {len(found['searches'])} encoders and"
        f" {found['search_pairs']} search pairs.",
        f"Everything except embedding took {found['hours']:.1f} hours on {found['cores']} cores. (The paper reports"
        " less than 7 days on three servers.)",
        "",
        "| columns | one search (mean) | shortest and longest | all ordered pairs | searching all of them |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['columns']} | {row['seconds_mean']:.0f} s | {row['seconds_least']:.0f} s to"
        f" {row['seconds_most']:.0f} s | {row['all_ordered_pairs']} |"
        f" {row['their_hours_on_these_cores']:.1f} h on {found['cores']} cores |"
        for row in found["searches"]
    ]
    return [
        *lines,
        "",
        f"The last column is the mean of {found['searches'][0]['searches']} searches times the number of pairs, with"
        " one search per core.",
    ]


def _search(found: Found) -> list[str]:
    rows, two = found["against_the_plain_loop"], found["two_searches"]
    small, size = found["against_sequential_feature_selector"], rows[0]
    lines = [
        "## Component search",
        "",
        f"A search over {size['columns']} columns with {size['training_rows']:,} training rows and"
        f" {size['scoring_rows']} scoring rows is compared with a plain loop of {size['fits_of_the_plain_loop']:,}"
        f" scikit-learn fits. The time of the loop is extrapolated from {size['sampled_fits']} fits.",
        "",
        "| embeddings | search | search, one thread | plain loop | ratio, default threads | ratio, one thread |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['embeddings'].replace('unit', 'unit norm')} | {row['search_seconds']:.0f} s |"
        f" {row['search_on_one_thread_seconds']:.0f} s |"
        f" {row['plain_loop_seconds_extrapolated'] / 3600:.1f} h | {row['times_faster']:,.0f} |"
        f" {row['times_faster_both_on_one_thread']:.0f} |"
        for row in rows
    ]
    same = "the same columns" if small["same_columns_at_every_checked_length"] else "OTHER columns"
    return [
        *lines,
        "",
        f"Two searches take {two['seconds_side_by_side']:.0f} s side by side on one thread each, and"
        f" {two['seconds_after_one_another']:.0f} s one after the other, so the workflow runs them side by side.",
        f"With {small['columns']} columns, a search is {small['times_faster']:.0f} times faster than scikit-learn's"
        f" SequentialFeatureSelector and finds {same}.",
        "",
        "The time of a step grows with the number of columns and of training rows as follows:",
        "",
        "![Time of a step against the size of the problem](images/growth.svg)",
    ]


def _probes(found: Found) -> list[str]:
    grid, fast, heads = found["grid"], found["fast"], found["heads"]
    size = grid[0]
    same = (
        "the result is the same to the last bit"
        if all(r["same"] for r in grid)
        else "the results DIFFER"
    )
    return [
        "## Probes and head ranking",
        "",
        f"With {size['n']:,} training rows, {size['n_val']} validation rows and {size['D']} columns, the 96-point grid"
        f" takes {size['seconds']:.1f} s, {size['ratio']:.0f} times faster than the plain loop over scikit-learn fits;"
        f" {same}. Where the first fit of the grid converges, the ratio is {max(r['ratio'] for r in grid):,.0f}.",
        f"The grid `fast` is another {fast['ratio']:.1f} times faster. It is not the same model: it chose another C for"
        f" {fast['different_C']} of {fast['draws']} data sets, and its accuracy on test rows differed by"
        f" {fast['test_accuracy_fast_minus_paper_mean']:+.4f} on average.",
        "",
        f"Ranking {heads['layers'] * heads['heads']} heads takes {heads['seconds_1_thread']:.2f} s on one thread,"
        f" {heads['ratio_both_on_1_thread']:.0f} times faster than scikit-learn on full-width head outputs. On two"
        f" threads each, the ratio is {heads['ratio_both_on_2_threads']:.0f};"
        f" scikit-learn took {heads['sklearn_seconds_1_thread']:.0f} s on one"
        f" thread and {heads['sklearn_seconds_2_threads']:.0f} s on two.",
    ]


def _encoders(found: Found) -> list[str]:
    return [
        "## Encoders",
        "",
        f"For {found['model']} on {found['threads']} threads, embedding images with head outputs takes"
        f" {found['heads_over_plain']:.2f} of the time of open_clip's own forward pass"
        f" ({found['plain_ms_per_image']:.0f} ms per image),"
        f" and `clipsieve embed` as a whole takes {found['embed_over_plain']:.2f} of it."
        f" Embeddings agree to {found['embedding_difference']:.0e}.",
        f"Cached head outputs are {found['cache_times_smaller']:.0f} times smaller than full-width ones:"
        f" {found['mb_per_1000_images']:.0f} MB per 1,000 images.",
        "",
        f"Embedding the whole vocabulary takes {found['vocabulary_seconds']:.0f} s. That is"
        f" {found['vocabulary_times_faster']:.0f} times faster than encoding every token at the full text length.",
    ]


def _throughput(found: Found) -> list[str]:
    """Decoding, and each way through a tower."""
    lines = [
        "## Decoding, head outputs and layers",
        "",
        "Reading, checking, decoding and preprocessing to 224 pixels, without a forward pass. The rate per second of"
        " one core is of processor time; the rate by the clock is that of two cores, which other work may share.",
        "",
        "| pictures, workers | images per second of one core | images per second by the clock |",
        "|---|---|---|",
    ]
    lines += [
        f"| {name} | {row['per_processor_second']:.0f} | {row['per_second']:.0f} |"
        for name, row in found["decoding"].items()
    ]
    lines += [
        "",
        "Each way through a tower against its plain forward pass, by processor time, with eight images at a time:",
        "",
        "| tower | way | time | peak memory | cached per image |",
        "|---|---|---|---|---|",
    ]
    for tower, ways in found["towers"].items():
        lines += [
            f"| {tower} | {way} | {row['over_plain']:.2f} | {row['peak_mb']:,.0f} MB |"
            f" {row['bytes_per_image'] / 1000:.0f} kB |"
            for way, row in ways.items()
        ]
    rate = found["decoding"]["256 px PNG and JPEG, 1 threads"]["per_processor_second"]
    lines += [
        "",
        f"So 16 cores decode about {16 * rate:,.0f} such small images per second. A GPU that embeds faster than that"
        " waits for them: add cores, or embed the set in parts on several machines. All of this was measured on"
        " processors alone. No GPU was to be had: pinned memory, `channels_last`, `compile` and the choice among"
        " several GPUs are untried there (the tests try them on a processor, and the locks with processes).",
    ]
    return lines


def _statistics(found: Found) -> list[str]:
    one, run = found["one_matrix"], found["a_run_in_the_shape_of_the_papers"]
    return [
        "## Statistics",
        "",
        f"The statistics of a run of the paper's shape ({run['generators']} generators, {run['feature_sets_and_draws']}"
        f" feature sets and draws, {run['resamples']:,} resamples) take {run['seconds']:.0f} s on"
        f" {run['threads']} threads and at most {run['MiB_at_most'] / 1024:.1f} GiB of memory.",
        f"One transfer matrix with intervals takes {one['seconds_of_one_core']:.1f} s; a loop over scikit-learn's"
        f" metrics takes {one['ratio']:,.0f} times as long.",
    ]


def _folders(found: Found) -> list[str]:
    by_size = {row["files"]: {"scan": row} for row in found["scan"]}
    for part in ("scan_again", "dry_run"):
        for row in found[part]:
            by_size.setdefault(row["files"], {})[part] = row
    lines = [
        "## Many small files",
        "",
        "A folder of JPEG files of about 900 bytes is scanned, scanned again without a change, and planned over"
        " (`snakemake -n` with the folder as two of three image sets, and none embedded yet). Times are"
        " processor seconds, as the machine was busy.",
        "",
        "| files | scan | peak memory | scan again | `snakemake -n` | peak memory |",
        "|---|---|---|---|---|---|",
    ]
    for files, parts in sorted(by_size.items()):
        scan, again, plan = (parts.get(name) for name in ("scan", "scan_again", "dry_run"))
        cells = [_seconds(scan), _memory(scan), _seconds(again), _seconds(plan), _memory(plan)]
        lines.append(f"| {files:,} | {' | '.join(cells)} |")
    each = {
        part: found[f"growth_of_{part}_processor_seconds"]["processor_milliseconds_a_file"]
        for part in ("hash_in_a_loop", "scan", "scan_again", "dry_run")
    }
    memory = found["growth_of_scan_peak_mib"]
    gib = (memory["at_the_start"] + memory["kib_a_file"] * 1e6 / 1024) / 1024
    planning = found["growth_of_dry_run_processor_seconds"]["at_the_start"] + 1000 * each["dry_run"]
    lines += [
        "",
        f"By straight lines through these sizes, a new file costs {each['scan']:.2f} ms of the processor (decoding,"
        f" hashes and facts; to read it and take its sha256 alone costs {each['hash_in_a_loop']:.3f} ms), and an"
        f" unchanged one {each['scan_again']:.2f} ms. Memory grows by {memory['kib_a_file']:.1f} KiB a file.",
        f"For 1,000,000 such files the lines give {each['scan'] * 1000 / 60:.0f} minutes of the processor for the first"
        f" scan, {each['scan_again'] * 1000 / 60:.0f} minutes for a later one, {gib:.1f} GiB, and {planning:.0f} s for"
        " planning a run with two such sets. These four numbers are extrapolated, not measured.",
        "Jobs other than the scan do not list the folder.",
    ]
    return lines


def _seconds(row: Found | None) -> str:
    return "not measured" if row is None else f"{row['processor_seconds']:.1f} s"


def _memory(row: Found | None) -> str:
    return "not measured" if row is None else f"{row['peak_mib']:.0f} MiB"
