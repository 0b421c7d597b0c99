"""What made a run, and whether its files are still those: one JSON, and the same as an RO-Crate.

The record lists every file of a finished run with its sha256, and beside them the resolved config,
the code's commit, the versions of what was used, the encoders' weights, the machine and the times.
Logs, benchmarks, hidden files (unfinished work) and the record itself are not results and not in it.
"""

from __future__ import annotations

import csv
import os
import platform
import subprocess
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from clipsieve import __version__
from clipsieve.errors import UserError
from clipsieve.io.files import hash_of, sha256_of

#: Raised when the layout of the record changes.
FORMAT_VERSION = 1
RECORD_NAME = "provenance.json"
CRATE_NAME = "ro-crate-metadata.json"
#: Folders of a run that hold no results.
NO_RESULTS = ("benchmarks", "logs")
#: Distributions whose versions can change a result, or made the run.
DISTRIBUTIONS = (
    "h5py",
    "joblib",
    "matplotlib",
    "numba",
    "numpy",
    "onnxruntime",
    "open_clip_torch",
    "opencv-python-headless",
    "pandas",
    "pillow",
    "pyarrow",
    "safetensors",
    "scikit-image",
    "scikit-learn",
    "scipy",
    "snakemake",
    "torch",
    "torchvision",
)


@dataclass(frozen=True)
class Differences:
    """What a run's files and its record disagree about; names are relative to the run."""

    changed: list[str]
    missing: list[str]
    unlisted: list[str]

    @property
    def as_recorded(self) -> bool:
        """Whether every recorded file is there with the recorded bytes (others may be there)."""
        return not self.changed and not self.missing


def result_files(run_dir: str | os.PathLike[str]) -> list[str]:
    """Return the names of a run's result files, relative to it, with `/`, sorted.

    Raises
    ------
    UserError
        `run_dir` is not a folder.
    """
    root = Path(run_dir)
    if not root.is_dir():
        raise UserError(f"{run_dir}: no such folder; give a run, as results/demo")
    names = []
    for folder, below, files in os.walk(root):
        at_root = Path(folder) == root
        below[:] = [d for d in below if not d.startswith(".") and not (at_root and d in NO_RESULTS)]
        for name in files:
            if name.startswith(".") or (at_root and name in (RECORD_NAME, CRATE_NAME)):
                continue
            names.append((Path(folder) / name).relative_to(root).as_posix())
    return sorted(names)


def hash_files(
    run_dir: str | os.PathLike[str], names: Iterable[str], *, threads: int = 1
) -> dict[str, dict[str, Any]]:
    """Return `{name: {"sha256": hex, "bytes": int}}` for files of a run, in the order given."""
    root = Path(run_dir)

    def facts(name: str) -> dict[str, Any]:
        path = root / name
        return {"sha256": sha256_of(path), "bytes": path.stat().st_size}

    listed = list(names)
    # hashlib lets go of the interpreter's lock, so threads are enough.
    with ThreadPoolExecutor(max_workers=max(1, threads)) as pool:
        return dict(zip(listed, pool.map(facts, listed), strict=True))


def versions() -> dict[str, str]:
    """Return the versions of clipsieve, Python and the installed ones of `DISTRIBUTIONS`."""
    found = {"clipsieve": __version__, "python": platform.python_version()}
    for name in DISTRIBUTIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def code_state(folder: str | os.PathLike[str] | None = None) -> dict[str, Any] | None:
    """Return the git commit of the code and whether tracked files differ from it.

    Parameters
    ----------
    folder
        A folder inside the repository; by default that of this package.

    Returns
    -------
    dict or None
        `commit` and `modified`; None where the folder is in no git repository, or git is not there.
    """
    where = Path(folder) if folder is not None else Path(__file__).parent
    try:
        commit = _git(where, "rev-parse", "HEAD")
        status = _git(where, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return None
    return {"commit": commit, "modified": bool(status)}


def encoders_of(run_dir: str | os.PathLike[str]) -> dict[str, dict[str, Any]]:
    """Return what the embeddings say of the encoder that made them, by encoder.

    Raises
    ------
    UserError
        An embeddings file can't be read, or two files of one encoder come from different weights.
    """
    from clipsieve.io.store import read_attributes

    found: dict[str, dict[str, Any]] = {}
    for path in sorted(Path(run_dir).glob("embeddings/*/*.h5")):
        if path.name.startswith("."):
            continue
        attributes = read_attributes(path)
        for key in ("kind", "format_version", "image_set", "images"):
            attributes.pop(key, None)
        first = found.setdefault(path.parent.name, attributes)
        if first.get("weights_sha256") != attributes.get("weights_sha256"):
            raise UserError(
                f"{path}: made with other weights than the other files of {path.parent.name}; "
                "delete it and embed again"
            )
    return found


def job_costs(run_dir: str | os.PathLike[str]) -> dict[str, dict[str, float]]:
    """Sum the benchmark files of a run by rule: jobs, seconds, and the largest memory in MB."""
    folder = Path(run_dir) / "benchmarks"
    costs: dict[str, dict[str, float]] = {}
    for path in sorted(folder.rglob("*.tsv")):
        rule = path.relative_to(folder).parts[0].removesuffix(".tsv")
        cost = costs.setdefault(rule, {"jobs": 0, "seconds": 0.0, "max_rss_mb": 0.0})
        with open(path, newline="", encoding="utf-8") as handle:
            for row in csv.DictReader(handle, delimiter="\t"):
                cost["jobs"] += 1
                cost["seconds"] += _number(row.get("s"))
                cost["max_rss_mb"] = max(cost["max_rss_mb"], _number(row.get("max_rss")))
    return costs


def make_record(
    run_dir: str | os.PathLike[str],
    config: Mapping[str, Any],
    *,
    code_dir: str | os.PathLike[str] | None = None,
    threads: int = 1,
) -> dict[str, Any]:
    """Return the record of a finished run; nothing is written.

    Parameters
    ----------
    run_dir
        The run, `results/<run>`.
    config
        The resolved config, JSON-able.
    code_dir
        A folder of the repository whose commit is recorded; by default that of this package.
    threads
        Files hashed at once.

    Raises
    ------
    UserError
        The folder is missing or empty, or embeddings of one encoder come from different weights.
    """
    names = result_files(run_dir)
    if not names:
        raise UserError(f"{run_dir}: holds no results yet")
    files = hash_files(run_dir, names, threads=threads)
    changes = [(Path(run_dir) / name).stat().st_mtime for name in names]
    encoders = encoders_of(run_dir)
    manifest = files.get("manifest.parquet")
    return {
        "format_version": FORMAT_VERSION,
        "run": Path(run_dir).resolve().name,
        "code": code_state(code_dir),
        "versions": versions(),
        "host": {
            "name": platform.node(),
            "platform": platform.platform(),
            "machine": platform.machine(),
            "cpus": os.cpu_count(),
        },
        "times": {
            "first_result": _utc(min(changes)),
            "last_result": _utc(max(changes)),
            "recorded": _utc(datetime.now(UTC).timestamp()),
        },
        "jobs": job_costs(run_dir),
        "manifest_sha256": manifest["sha256"] if manifest else None,
        "weights_sha256": {name: e.get("weights_sha256") for name, e in encoders.items()},
        "licences": {
            name: config.get("encoders", {}).get(name, {}).get("licence") for name in encoders
        },
        "encoders": encoders,
        "config_sha256": hash_of(config),
        "config": dict(config),
        "results_sha256": results_hash(files),
        "files": files,
    }


def results_hash(files: Mapping[str, Mapping[str, Any]]) -> str:
    """Return one hash of all names and contents: equal for two runs with the same bytes."""
    return hash_of({name: facts["sha256"] for name, facts in files.items()})


def compare(
    run_dir: str | os.PathLike[str], record: Mapping[str, Any], *, threads: int = 1
) -> Differences:
    """Hash a run's files again and say which are not as the record has them.

    Raises
    ------
    UserError
        The folder is missing, or the record is not one of this format or was edited.
    """
    files = _files_of(record)
    present = set(result_files(run_dir))
    there = [name for name in files if name in present]
    now = hash_files(run_dir, there, threads=threads)
    return Differences(
        changed=[name for name in there if now[name]["sha256"] != files[name]["sha256"]],
        missing=[name for name in files if name not in present],
        unlisted=sorted(present - files.keys()),
    )


def _files_of(record: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    if record.get("format_version") != FORMAT_VERSION:
        raise UserError(
            f"{RECORD_NAME}: format version {record.get('format_version')!r}, "
            f"this version reads {FORMAT_VERSION}"
        )
    files = record.get("files")
    if not isinstance(files, dict) or record.get("results_sha256") != results_hash(files):
        raise UserError(f"{RECORD_NAME}: its list of files does not match its own results_sha256")
    return files


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def _number(text: str | None) -> float:
    try:
        return float(text or 0)
    except ValueError:
        # Snakemake writes NA and - for jobs too short to be sampled.
        return 0.0


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
