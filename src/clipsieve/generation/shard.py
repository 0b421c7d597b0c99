"""One shard of a generator's images: made one after the other, and gone on with where a kill stopped it.

The folder holds the images and a ledger of JSON lines: one a finished image, written after it.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from clipsieve.generation import records
from clipsieve.generation.making import (
    Made,
    Maker,
    Request,
    Settings,
    local_hashes,
    seed_for,
)
from clipsieve.images.encode import png_bytes
from clipsieve.io.files import hash_of, remove_leftovers, replacing, sha256_of
from clipsieve.io.locks import Lock, locked
from clipsieve.versions import GENERATION

if TYPE_CHECKING:
    import pandas as pd
    from PIL import Image

log = logging.getLogger("clipsieve")

LEDGER = ".ledger.jsonl"

#: Largest sample of a picture that counts as black: the rounding of a decoder, not a night scene.
BLACK = 2

COLUMNS = (
    "generator", "prompt_id", "k", "file", "text", "source_image", "seed", "attempt", "problem",
    "sha256", "width", "height", "batch", "seconds", "made_by",
)  # fmt: skip


@dataclass(frozen=True)
class Shard:
    """What a shard consists of.

    Parameters
    ----------
    settings : Settings
    prompts : DataFrame
        Rows of the prompt table: prompt_id, text and, where images are started from, image.
    folder : Path
        Where images and ledger lie; made if missing.
    image_root : Path or None
        Folder that the prompts' image paths start from.
    """

    settings: Settings
    prompts: pd.DataFrame
    folder: Path
    image_root: Path | None = None

    def requests(self) -> list[Request]:
        """Return every image of the shard with its first seed, in order."""
        found = []
        for row in self.prompts.to_dict("records"):
            image = row.get("image")
            path = None
            if isinstance(image, str) and self.image_root is not None:
                path = self.image_root / image
            for k in range(self.settings["images_per_prompt"]):
                seed = _seed(self.settings, row["prompt_id"], k, 0)
                found.append(Request(row["prompt_id"], row["text"], k, seed, path))
        return found


def _seed(settings: Settings, prompt_id: str, k: int, attempt: int) -> int:
    return seed_for(settings.generator, settings["seed"], prompt_id, k, attempt)


def make_shard(
    shard: Shard,
    load: Callable[[], Maker],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Make the images that are not there yet.

    Parameters
    ----------
    shard : Shard
    load : callable
        Loads the generator; called only where there is something to make.
    progress : callable
        Told the number of images made and to be made by this call.

    Returns
    -------
    rows : list of dict
        One for each attempt, in order, with the keys `COLUMNS`; `file` is None where there is no
        picture in the set.
    machines : dict
        What the images were made by: the hash in `made_by` -> facts of versions, device, weights.

    Raises
    ------
    UserError
        Another process works on this shard, or the generator fails.
    """
    shard.folder.mkdir(parents=True, exist_ok=True)
    busy = f"{shard.folder}: another process is making these images"
    with locked(shard.folder / ".lock", busy) as lock:
        return _make(shard, load, progress, lock)


def _make(
    shard: Shard, load: Callable[[], Maker], progress: Callable[[int, int], None], lock: Lock
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    requests = shard.requests()
    weights = local_hashes(shard.settings)
    identities = {_name(r): identity_of(shard.settings, weights, r) for r in requests}
    ledger = _Ledger(shard.folder, identities)
    size = shard.settings["batch_size"]
    # a batch is made again as a whole: its pictures depend on their company
    batches = [requests[i : i + size] for i in range(0, len(requests), size)]
    todo = [batch for batch in batches if any(_name(r) not in ledger.rows for r in batch)]
    total, done = sum(map(len, todo)), 0
    log.info("%d images to make, %d kept", total, len(requests) - total)
    if todo:
        maker = load()
        made_by = ledger.machine(maker.facts)
        for batch in todo:
            lock.check()
            for request, rows in zip(batch, _attempts(shard, maker, batch), strict=True):
                ledger.add(_name(request), identities[_name(request)], rows, {"made_by": made_by})
            done += len(batch)
            progress(done, total)
    whole = [row for request in requests for row in ledger.rows[_name(request)]]
    return whole, ledger.machines


def _attempts(
    shard: Shard, maker: Maker, batch: Sequence[Request]
) -> list[list[tuple[dict[str, Any], Image.Image | None]]]:
    """Make a batch; what is filtered is made again alone, with the next seeds, if that is asked for."""
    settings = shard.settings
    started = time.monotonic()
    outcomes = _checked(maker, batch)
    seconds = (time.monotonic() - started) / len(batch)
    found = []
    for request, (picture, problem) in zip(batch, outcomes, strict=True):
        rows = [_row(shard, request, picture, problem, 0, len(batch), seconds)]
        attempt = 0
        while problem and settings["on_filtered"] == "again" and attempt < settings["tries"] - 1:
            attempt += 1
            again = replace(request, seed=_seed(settings, request.prompt_id, request.k, attempt))
            started = time.monotonic()
            ((picture, problem),) = _checked(maker, [again])
            seconds = time.monotonic() - started
            rows.append(_row(shard, again, picture, problem, attempt, 1, seconds))
        found.append(rows)
    return found


def _checked(maker: Maker, batch: Sequence[Request]) -> list[tuple[Image.Image | None, str | None]]:
    """Make a batch and look at every picture: the pipeline's word, then the pixels."""
    results: list[Made] = maker.make(batch)
    return [(m.picture, m.problem or problem_of(m.picture)) for m in results]


def problem_of(picture: Image.Image | None) -> str | None:
    """Return what is wrong with a picture: ``black``, ``of one colour``, ``none`` or nothing."""
    if picture is None:
        return "no picture"
    samples = np.asarray(picture.convert("RGB"))
    if samples.max() <= BLACK:
        return "black"
    if (samples == samples[0, 0]).all():
        return "of one colour"
    return None


def _row(
    shard: Shard,
    request: Request,
    picture: Image.Image | None,
    problem: str | None,
    attempt: int,
    batch: int,
    seconds: float,
) -> tuple[dict[str, Any], Image.Image | None]:
    kept = picture is not None and (not problem or shard.settings["on_filtered"] == "keep")
    image = None
    if request.image is not None and shard.image_root is not None:
        image = request.image.relative_to(shard.image_root).as_posix()
    return {
        "generator": shard.settings.generator,
        "prompt_id": request.prompt_id,
        "k": request.k,
        "file": _name(request) if kept else None,
        "text": request.text,
        "source_image": image,
        "seed": request.seed,
        "attempt": attempt,
        "problem": problem,
        "sha256": None,
        "width": picture.width if picture is not None else None,
        "height": picture.height if picture is not None else None,
        "batch": batch,
        "seconds": round(seconds, 3),
    }, (picture if kept else None)


def _name(request: Request) -> str:
    return f"{request.prompt_id}_{request.k}.png"


def identity_of(settings: Settings, weights: Mapping[str, str], request: Request) -> str:
    """Return the hash of all that decides one image; another hash means that it is made anew."""
    return hash_of(
        [
            GENERATION,
            settings.generator,
            records.identity(settings.entry),
            weights,
            request.prompt_id,
            request.text,
            request.k,
            sha256_of(request.image)
            if request.image is not None and request.image.is_file()
            else None,
        ]
    )


class _Ledger:
    """The finished images of a folder; lines of other settings, and images that are gone, count for nothing."""

    def __init__(self, folder: Path, identities: Mapping[str, str]) -> None:
        self.folder = folder
        self.path = folder / LEDGER
        self.rows: dict[str, list[dict[str, Any]]] = {}
        self.machines: dict[str, Any] = {}
        remove_leftovers(self.path)
        kept = [entry for entry in _lines(self.path) if self._holds(entry, identities)]
        with replacing(self.path) as temporary:
            temporary.write_text("".join(json.dumps(entry) + "\n" for entry in kept))
        self._remove_strangers(identities)

    def _holds(self, entry: dict[str, Any], identities: Mapping[str, str]) -> bool:
        if "machine" in entry:
            self.machines[entry["machine"]] = entry["facts"]
            return True
        name, rows = entry["name"], entry["rows"]
        if identities.get(name) != entry["identity"]:
            return False
        for row in rows:
            file = self.folder / row["file"] if row["file"] else None
            if file and not (file.is_file() and sha256_of(file) == row["sha256"]):
                return False
        self.rows[name] = rows
        return True

    def _remove_strangers(self, identities: Mapping[str, str]) -> None:
        """Remove pictures that no line tells of: half a kill's work, or of other prompts."""
        for path in self.folder.glob("*.png"):
            if path.name not in self.rows:
                path.unlink()
        for path in self.folder.glob(".*.png"):
            path.unlink()

    def machine(self, facts: dict[str, Any]) -> str:
        """Keep the facts of what makes images now, and return their hash."""
        key = hash_of(facts)[:12]
        if key not in self.machines:
            self.machines[key] = facts
            self._append({"machine": key, "facts": facts})
        return key

    def add(
        self,
        name: str,
        identity: str,
        attempts: Sequence[tuple[dict[str, Any], Image.Image | None]],
        more: dict[str, Any],
    ) -> None:
        """Write a picture whole, then the line that says so."""
        rows = []
        for row, picture in attempts:
            if picture is not None:
                with replacing(self.folder / name) as temporary:
                    temporary.write_bytes(png_bytes(picture))
                row["sha256"] = sha256_of(self.folder / name)
            rows.append({**row, **more})
        self.rows[name] = rows
        self._append({"name": name, "identity": identity, "rows": rows})

    def _append(self, entry: dict[str, Any]) -> None:
        with open(self.path, "a", encoding="utf-8") as handle:
            print(json.dumps(entry), file=handle, flush=True)


def _lines(path: Path) -> list[dict[str, Any]]:
    """Read a ledger; the line that was being written when a process was killed is passed over."""
    found = []
    if path.exists():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict) and (
                "machine" in entry or {"name", "rows", "identity"} <= entry.keys()
            ):
                found.append(entry)
    return found
