"""Checks of a run before it starts: images, encoders, machine, and what the run will cost."""

from __future__ import annotations

import filecmp
import importlib.util
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clipsieve.config import WEIGHT_FILES, Run
from clipsieve.errors import UserError

# For a first guess of a run's length with ViT-B/16. Two CPU cores took 0.23 s an image in the demo; the GPU's
# number is assumed, not measured.
SECONDS_PER_IMAGE = {"cpu": 0.3, "gpu": 0.01}
SAMPLE = 20
#: Numbers that the layers of an image have, with ViT-B and with ViT-L.
LAYERS = (12 * 768, 24 * 1024)


@dataclass(frozen=True)
class Finding:
    """One line of the doctor: verdict `ok`, `note` or `WRONG`, and a sentence."""

    verdict: str
    text: str


def check_run(run: Run, results: Path, *, decode_sample: bool = True) -> list[Finding]:
    """Check everything that a run needs.

    Parameters
    ----------
    run
        A resolved config.
    results
        Folder that runs are written to; made if missing, to try it.
    decode_sample
        Whether to decode the first images of each folder.
    """
    counts: dict[str, int] = {}
    findings = [Finding("ok", _summary(run))]
    findings += _image_sets(run, counts, decode_sample)
    if decode_sample:
        findings += _both_classes(run)
    for encoder in run.encoders:
        entry = run.config["encoders"][encoder]
        if run.is_imported(encoder):
            findings += _imported(run, encoder)
        else:
            findings += _encoder(encoder, entry)
        if entry["weights"] is not None or entry["licence"] is not None:
            said = entry["licence"] or f"not said (encoders.{encoder}.licence)"
            findings.append(Finding("ok", f"encoder {encoder}: licence of the weights: {said}"))
    findings += _machine()
    findings += _locks(run, results)
    findings += _cost(run, counts, results)
    return findings


def _summary(run: Run) -> str:
    return (
        f"config: run {run.config['run']}, {len(run.generators)} generators, {len(run.sources)} sources, "
        f"{len(run.encoders)} encoders, {len(run.pairs)} pairs, seeds {list(run.config['seeds'])}"
    )


def _image_sets(run: Run, counts: dict[str, int], decode_sample: bool) -> Iterator[Finding]:
    from clipsieve.images.colour import in_words
    from clipsieve.images.containers import located
    from clipsieve.images.facts import file_facts
    from clipsieve.images.listing import list_files
    from clipsieve.images.members import read_set

    root = Path(run.config["data_root"])
    for image_set in run.image_sets:
        entry = run.entry(image_set)
        folder = root / entry["folder"]
        if entry["make"] and not list_files(folder):
            yield Finding("note", f"images {image_set}: not made yet; the workflow makes them")
            continue
        if not folder.is_dir() and not list_files(folder):
            yield Finding("WRONG", f"images {image_set}: no folder {folder}")
            continue
        label = 0 if image_set in run.generators else 1
        options = {k: entry[k] for k in ("layout", "group_pattern", "metadata", "real_values")}
        try:
            listing = read_set(folder, label=label, **options)
        except UserError as error:
            yield Finding("WRONG", f"images {image_set}: {folder}: {error}")
            continue
        found = listing.members
        good = [member for member in found if member.problem is None]
        counts[image_set] = len(good)
        if not good:
            first = f"; {found[0].path}: {found[0].problem}" if found else ""
            yield Finding("WRONG", f"images {image_set}: {folder} has no file of this set{first}")
            continue
        problems = [(member.path, member.problem) for member in found if member.problem]
        sample = good[:SAMPLE] if decode_sample else []
        undecoded = 0
        profiles = []
        for member in sample:
            facts = file_facts(located(folder, member.path))
            profiles.append(facts.colour_profile)
            if facts.problem is not None:
                undecoded += 1
                problems.append((member.path, facts.problem))
        text = f"images {image_set}: {len(good)} files in {len({m.group for m in good})} groups in {folder}"
        if problems:
            text += f"; {len(problems)} with a problem, first {problems[0][0]} ({problems[0][1]})"
        text += "".join(f"; {line}" for line in listing.notes)
        unusable = bool(sample) and undecoded == len(sample)
        yield Finding("WRONG" if unusable else "note" if problems else "ok", text)
        yield from (Finding("note", f"images {image_set}: {line}") for line in listing.warnings)
        said = in_words(profiles)
        if said and run.config["embed"]["colour_profiles"] == "ignore":
            yield Finding("note", f"images {image_set}: of the first {len(sample)}, {said}")


def _both_classes(run: Run) -> Iterator[Finding]:
    """Name the files that a source and a generator have byte for byte."""
    from clipsieve.images.members import read_members

    root = Path(run.config["data_root"])
    by_size: dict[int, dict[int, list[Path]]] = {}
    for image_set in run.image_sets:
        entry = run.entry(image_set)
        label = 0 if image_set in run.generators else 1
        options = {k: entry[k] for k in ("layout", "group_pattern", "metadata", "real_values")}
        folder = root / entry["folder"]
        try:
            found = read_members(folder, label=label, **options) if folder.is_dir() else []
        except UserError:
            continue  # said above
        for member in found:
            path = folder / member.path
            if member.problem is None and path.is_file() and (size := path.stat().st_size):
                by_size.setdefault(size, {}).setdefault(label, []).append(path)
    pairs = []
    for size, sides in by_size.items():
        if len(sides) == 2:
            real: dict[bytes, Path] = {}
            for path in sides[1]:
                real.setdefault(_glance(path, size), path)
            for path in sides[0]:
                twin = real.get(_glance(path, size))
                if twin is not None and filecmp.cmp(path, twin, shallow=False):
                    pairs.append((path, twin))
    if pairs:
        generated, photograph = pairs[0]
        goes_on = run.config["audit"]["on_leak"] == "warn"
        yield Finding(
            "note" if goes_on else "WRONG",
            f"images: {len(pairs)} files are in both classes, byte for byte, as {photograph} (real) and"
            f" {generated} (generated); correct the folders, leave the files out, or set audit.on_leak: warn",
        )


def _glance(path: Path, size: int) -> bytes:
    """Return a little of a file's begin, middle and end: what is equal here is then compared whole.

    A file that cannot be read has its own name, which no other equals.
    """
    try:
        with open(path, "rb") as handle:
            parts = []
            for start in (0, size // 2, max(0, size - 512)):
                handle.seek(start)
                parts.append(handle.read(512))
    except OSError:
        return os.fsencode(path)
    return b"".join(parts)


def _imported(run: Run, name: str) -> Iterator[Finding]:
    """Look for the files of embeddings that the user brings; the workflow checks what is in them."""
    from clipsieve.io.imported import file_of

    files = []
    for image_set in run.image_sets:
        try:
            files.append(file_of(run.config["encoders"][name]["embeddings"], image_set))
        except UserError as error:
            yield Finding("WRONG", f"encoder {name}: {error}")
            continue
        if not files[-1].is_file():
            yield Finding("WRONG", f"encoder {name}: {files[-1]}: no such file")
    yield Finding("ok", f"encoder {name}: embeddings of your own for {len(files)} image sets")


def _encoder(name: str, entry: dict[str, Any]) -> Iterator[Finding]:
    if importlib.util.find_spec("open_clip") is None:
        yield Finding(
            "WRONG",
            f"encoder {name}: open_clip is not installed here (pip install clipsieve[embed])",
        )
        return
    weights = entry["weights"]
    model = entry["model"]
    if weights is None:
        yield Finding("note", f"encoder {name}: random weights; its words mean nothing")
    elif entry["wheel"] and not Path(weights).exists():
        yield Finding(
            "note", f"encoder {name}: {weights} will be made from {entry['wheel']['requirement']}"
        )
    elif Path(weights).suffix in WEIGHT_FILES:
        found = Path(weights).is_file()
        text = f"encoder {name}: weights {weights}"
        yield Finding("ok" if found else "WRONG", text if found else f"{text}: no such file")
    elif weights.startswith("hf-hub:") or _is_timm(model):
        yield Finding(
            "note",
            f"encoder {name}: weights {weights} are fetched from a model hub at first use; on compute nodes "
            "without a network, run the rule encoder on a machine that has one",
        )
    elif isinstance(model, str) and not model.startswith("hf-hub:"):
        from clipsieve.encoders.load import known_tag

        try:
            known_tag(model, weights)
        except UserError as error:
            yield Finding("WRONG", f"encoder {name}: {error}")
            return
        yield Finding(
            "note",
            f"encoder {name}: weights {weights} of {model} are fetched from a model hub at first use; on compute "
            "nodes without a network, run the rule encoder on a machine that has one",
        )


def _is_timm(model: Any) -> bool:
    return "timm" in model if isinstance(model, dict) else str(model).startswith("timm/")


def _machine() -> Iterator[Finding]:
    gpu = shutil.which("nvidia-smi") is not None or Path("/dev/nvidia0").exists()
    yield Finding(
        "ok" if gpu else "note",
        "GPU: visible" if gpu else "GPU: none visible here; embedding runs on the CPU",
    )


def _locks(run: Run, results: Path) -> Iterator[Finding]:
    """Take a lock as the commands do, in each folder where they do."""
    from clipsieve.io.locks import LEASE, TIMES, locked

    results.mkdir(parents=True, exist_ok=True)
    folders = {_nearest(results / run.config["run"]): "embed and search"}
    root = Path(run.config["data_root"])
    entries = [run.entry(image_set) for image_set in run.image_sets]
    made = any(entry["make"] or entry.get("generate") for entry in entries)
    if made or any(Path(entry["folder"]).parts[0] == "fetched" for entry in entries):
        folders.setdefault(_nearest(root), "commands that make or fetch images")
    for folder, users in folders.items():
        try:
            with (
                tempfile.TemporaryDirectory(dir=folder) as inner,
                locked(Path(inner, "lock"), f"{folder}: locked by another process") as lock,
            ):
                kind = lock.kind
        except (OSError, UserError) as error:
            yield Finding("WRONG", f"locks: {folder}: {users} cannot lock files there ({error})")
            continue
        if kind == LEASE:
            yield Finding(
                "note",
                f"locks: the file system of {folder} has no flock, so {users} use lease files; after a job was"
                f" killed on another node, the next attempt waits {TIMES.expiry:.0f} s for its lease to expire",
            )
        else:
            yield Finding("ok", f"locks: flock works in {folder}, for {users}")


def _nearest(folder: Path) -> Path:
    """Return the folder itself, or the nearest one above it that exists."""
    return next(place for place in (folder, *folder.absolute().parents) if place.is_dir())


def _number_bytes(run: Run) -> int:
    return {"float32": 4, "float16": 2}[run.config["embed"]["heads_dtype"]]


def _cost(run: Run, counts: dict[str, int], results: Path) -> Iterator[Finding]:
    images = sum(counts.values())
    if not images:
        yield Finding("note", "cost: no image is there yet to estimate from")
        return
    # 4 bytes a number: embedding and 144 to 384 heads of 64 numbers, the larger taken
    gigabytes = images * len(run.encoders) * (768 + 384 * 64) * 4 / 1e9
    with_layers = [encoder for encoder in run.encoders if run.has_layers(encoder)]
    if with_layers:
        each = images * len(with_layers) * _number_bytes(run) / 1e9
        smallest, largest = (numbers * each for numbers in LAYERS)
        yield Finding(
            "note",
            f"disk: layers of {', '.join(with_layers)} take {smallest:.1f} GB (12 blocks of width 768, as"
            f" ViT-B has) to {largest:.1f} GB (24 of 1,024, ViT-L)",
        )
        gigabytes += largest
    free = shutil.disk_usage(results).free / 1e9
    text = f"disk: embeddings take at most {gigabytes:.1f} GB, {free:.0f} GB are free in {results}"
    yield Finding("ok" if free > 1.5 * gigabytes else "WRONG", text)
    hours = {k: images * len(run.encoders) * s / 3600 for k, s in SECONDS_PER_IMAGE.items()}
    yield Finding(
        "note",
        f"time: {images} images, {len(run.encoders)} encoders; as a guess, embedding takes {hours['cpu']:.1f} h "
        f"on two cores, {hours['gpu']:.1f} h on a GPU with ViT-B/16; larger encoders take longer",
    )
