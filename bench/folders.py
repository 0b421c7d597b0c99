"""Folders of many small files: scanned, scanned again, and looked at while a run is planned.

Makes the files, measures, and removes them. Processor time is what counts on a machine that is busy with
other things; the time on the clock and the peak memory are beside it.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Row = dict[str, Any]

SIZES = (20_000, 60_000, 200_000)
FILES_A_FOLDER = 1000
SIDE = 24


def make(root: Path, start: int, stop: int) -> None:
    """Write small JPEG files, each of other content: the pixels are the same, a comment differs."""
    from PIL import Image

    rng = np.random.default_rng(0)
    pictures = []
    for _ in range(64):
        coarse = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(
            buffer, "JPEG", quality=85
        )
        pictures.append(buffer.getvalue())
    old = time.time() - 1000
    for k in range(start, stop):
        folder = root / f"{k // FILES_A_FOLDER:06d}"
        if k % FILES_A_FOLDER == 0:
            folder.mkdir(parents=True, exist_ok=True)
        note = f"{k:09d}".encode()
        data = pictures[k % len(pictures)]
        path = folder / f"{k:09d}.jpg"
        path.write_bytes(data[:2] + b"\xff\xfe\0\x0b" + note + data[2:])
        os.utime(path, (old, old))


def measured(*arguments: str) -> dict[str, float]:
    """Run a command in a process of its own; seconds on the clock, of the processor, and peak memory."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"{arguments}: status {status}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "seconds": round(time.monotonic() - start, 1),
        "processor_seconds": round(processor, 1),
        "peak_mib": round(used.ru_maxrss / 1024),
    }


def hashing(root: Path) -> dict[str, float]:
    """Read and hash every file in a plain loop: what a scan cannot be faster than."""
    code = (
        "import hashlib, os, sys\n"
        "for folder, _, files in os.walk(sys.argv[1]):\n"
        "    for name in files:\n"
        "        hashlib.sha256(open(os.path.join(folder, name), 'rb').read()).hexdigest()\n"
    )
    return measured("-c", code, str(root))


def scan(base: Path) -> dict[str, float]:
    """Scan with a record beside the table."""
    return measured(
        "-m", "clipsieve", "scan", "--image-set", "many", "--folder", str(base / "many"),
        "--data-root", str(base), "--label", "1", "--source", "many", "--threads", "2",
        "--known", str(base / "known.parquet"), "--fingerprint", "bench",
        "--output", str(base / "many.parquet"),
    )  # fmt: skip


def planning(base: Path) -> dict[str, float]:
    """What planning does with the folder: list it, and ask each file for its size and time."""
    code = (
        "import sys; from pathlib import Path\n"
        "from clipsieve.images.fingerprint import fingerprint\n"
        "fingerprint(Path(sys.argv[1]), None, Path(sys.argv[2]))\n"
    )
    return measured("-c", code, str(base / "many"), str(base / "known.parquet"))


def dry_run(base: Path) -> dict[str, float]:
    """`snakemake -n` over a run with the folder as its source and as one generator."""
    half = base / "many"
    config = {
        "run": "many", "data_root": str(base),
        "sources": {"many": {"folder": "many"}},
        "generators": {
            "few": {"family": "gan", "source": "many", "folder": f"many/{0:06d}"},
            "all": {"family": "diffusion", "source": "many", "folder": half.name},
        },
        "encoders": {"tiny_one": {"model": "tiny"}},
        "use": {
            "generators": ["few", "all"], "encoders": ["tiny_one"], "texts": [],
            "feature_sets": ["all"], "controls": [],
        },
        "pairs": [],
    }  # fmt: skip
    path = base / "many.json"
    path.write_text(json.dumps(config))
    return measured(
        "-m", "snakemake", "-n", "-q", "all", "--configfile", str(path), "--directory", str(base),
        "--snakefile", str(Path(__file__).parents[1] / "Snakefile"),
    )  # fmt: skip


def rows_of(sizes: Sequence[int], scan_up_to: int, base: Path) -> Iterator[Row]:
    """Measure a folder that grows from size to size; it is removed at the end."""
    there = 0
    shutil.rmtree(base, ignore_errors=True)
    try:
        for size in sorted(sizes):
            make(base / "many", there, size)
            there = size
            (base / "known.parquet").unlink(missing_ok=True)
            row: Row = {"files": size}
            if size <= scan_up_to:
                row["hash_in_a_loop"] = hashing(base / "many")
                row["scan"] = scan(base)
                row["scan_again"] = scan(base)
            row["planning"] = planning(base)
            row["dry_run"] = dry_run(base)
            yield row
    finally:
        shutil.rmtree(base, ignore_errors=True)


def summary(rows: Sequence[Row]) -> dict[str, Any]:
    """The rows as tables, and lines fitted to processor time and peak memory against files."""
    found: dict[str, Any] = {}
    for part in ("hash_in_a_loop", "scan", "scan_again", "planning", "dry_run"):
        mine = [{"files": row["files"], **row[part]} for row in rows if part in row]
        found[part] = mine
        if len(mine) > 1:
            files = [row["files"] for row in mine]
            for name, scale, unit in (
                ("processor_seconds", 1e3, "processor_milliseconds_a_file"),
                ("peak_mib", 1024, "kib_a_file"),
            ):
                slope, start = np.polyfit(files, [row[name] for row in mine], 1)
                found[f"growth_of_{part}_{name}"] = {unit: slope * scale, "at_the_start": start}
    return found


def run(quick: bool) -> dict[str, Any]:
    """Measure, for `python -m bench folders`."""
    sizes = (500, 1000, 2000) if quick else SIZES
    with tempfile.TemporaryDirectory() as folder:
        return summary(list(rows_of(sizes, max(sizes), Path(folder, "base"))))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--scan-up-to", type=int, default=max(SIZES), help="plan only above this")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "many-files")
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write")
    args = parser.parse_args()
    rows = []
    for row in rows_of(args.sizes, args.scan_up_to, args.folder):
        rows.append(row)
        print(json.dumps(row), flush=True)
        args.output.write_text(json.dumps(summary(rows), indent=1) + "\n")


if __name__ == "__main__":
    main()
