"""Fetch a set of the catalogue into a folder, and say what came."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from clipsieve.datasets.catalogue import Entry, RemoteFile, check_consent
from clipsieve.datasets.download import download, in_words, need_space, new_session
from clipsieve.datasets.unpack import Limits, is_archive, stem_of, unpack
from clipsieve.errors import UserError
from clipsieve.io.files import replacing

log = logging.getLogger("clipsieve")

#: What was fetched, kept in the set's folder: hashes of files whose hash no catalogue knows, and
#: which archives are unpacked.
STATE = ".fetched.json"


def fetch(
    entry: Entry,
    folder: Path,
    *,
    consent: str | None = None,
    only: Sequence[str] = (),
    keep_archives: bool = False,
    limits: Limits | None = None,
    session: Any = None,
    progress: Callable[[str], Callable[[int, int | None], None]] | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Fetch what is missing of a set and return the record of all of it.

    A kill loses at most one range of one file: what is finished is known from `STATE`.

    Parameters
    ----------
    entry
        The set.
    folder
        Where it goes.
    consent
        Name of the licence, for non-commercial sets.
    only
        Names of the files that are wanted; empty for all that are not optional.
    keep_archives
        Whether an archive stays after it was unpacked.
    limits
        What an archive may grow to.
    session
        For `download`.
    progress
        Gives the function that `download` tells about the file of this name.
    options
        Of `download` (`tries`, `pause`, `timeout`).

    Returns
    -------
    dict
        JSON-able: title, licence, layout, each file with its size and sha256 and whether the hash was
        pinned, the number of files in each folder that has an expected range, and warnings.

    Raises
    ------
    UserError
        No consent, a set that is to be had by hand only, an unknown file, too small a disk, and all
        that `download` and `unpack` raise.
    """
    check_consent(entry, consent)
    if entry.by_hand is not None and not (entry.files or entry.hub):
        if not any(folder.glob("[!.]*")):
            raise UserError(f"data set {entry.name}: no program can fetch it. {entry.by_hand}")
        return _record(entry, folder, {}, consent)
    wanted = _wanted(entry, only)
    state = _read_state(folder)
    _check_space(entry, folder, wanted, state)
    if entry.hub is not None:
        _snapshot(entry, folder)
    own = session or new_session()
    try:
        for item in wanted:
            known = state.get(item.name, {})
            if _finished(folder, item, known):
                log.info("%s: %s is there", entry.name, item.name)
                continue
            state[item.name] = _one(
                entry, folder, item, known, keep_archives, limits, own, progress, options
            )
            _write_state(folder, state)
    finally:
        if session is None:
            own.close()
    return _record(entry, folder, {item.name: state[item.name] for item in wanted}, consent)


def _wanted(entry: Entry, only: Sequence[str]) -> list[RemoteFile]:
    names = [item.name for item in entry.files]
    for name in only:
        if name not in names:
            raise UserError(
                f"data set {entry.name}: no file {name!r}; there is: {', '.join(names)}"
            )
    if only:
        return [item for item in entry.files if item.name in only]
    return [item for item in entry.files if not item.optional]


def _check_space(
    entry: Entry, folder: Path, wanted: Sequence[RemoteFile], state: Mapping[str, Any]
) -> None:
    """Say that the disk is too small before the first byte comes."""
    sizes = [
        item.bytes or item.about_bytes or 0
        for item in wanted
        if not _finished(folder, item, state.get(item.name, {}))
    ]
    here = folder
    while not here.exists():
        here = here.parent
    # images hardly shrink: an archive needs its own size once more while it is unpacked
    unpacked = [
        item.bytes or item.about_bytes or 0
        for item in wanted
        if item.unpack and not _finished(folder, item, state.get(item.name, {}))
    ]
    have = sum(f.stat().st_size for f in folder.glob("*.part")) if folder.exists() else 0
    total = sum(sizes) + sum(unpacked)
    if total > have:
        need_space(here, total - have, f"data set {entry.name}: ")


def _finished(folder: Path, item: RemoteFile, known: Mapping[str, Any]) -> bool:
    """Whether a file came before, with the hash that is wanted, and is still there."""
    if not known or (item.sha256 is not None and known.get("sha256") != item.sha256):
        return False
    if item.unpack:
        return bool(known.get("unpacked")) and (folder / stem_of(item.name)).is_dir()
    path = folder / item.name
    return path.is_file() and path.stat().st_size == known.get("bytes")


def _one(
    entry: Entry,
    folder: Path,
    item: RemoteFile,
    known: Mapping[str, Any],
    keep_archives: bool,
    limits: Limits | None,
    session: Any,
    progress: Callable[[str], Callable[[int, int | None], None]] | None,
    options: Mapping[str, Any],
) -> dict[str, Any]:
    """Fetch one file, check it, and unpack it where it is an archive."""
    path = folder / item.name
    pinned = item.sha256 or (known.get("sha256") if known.get("url") == item.url else None)
    size = item.bytes
    log.info(
        "%s: fetching %s, %s, from %s",
        entry.name,
        item.name,
        in_words(size) if size else f"about {in_words(item.about_bytes)}" if item.about_bytes
        else "of unknown size",
        item.url,
    )  # fmt: skip
    if pinned is None:
        log.warning(
            "%s: the sha256 of %s is not known; that of this download is recorded",
            entry.name,
            item.name,
        )
    done = download(
        item.url,
        path,
        sha256=pinned,
        size=size,
        session=session,
        progress=progress(item.name) if progress else None,
        **options,
    )
    fact = {
        "url": item.url,
        "bytes": done.bytes,
        "sha256": done.sha256,
        "pinned": item.sha256 is not None,
        "unpacked": False,
        "files": None,
    }
    log.info("%s: %s has sha256 %s", entry.name, item.name, done.sha256)
    if not item.unpack:
        return fact
    if not is_archive(item.name):
        raise UserError(f"data set {entry.name}: {item.name} is no zip or tar archive")
    target = folder / stem_of(item.name)
    if target.exists():  # from a call that was cut after the rename, or an older version
        _move_aside(target)
    fact.update(unpacked=True, files=unpack(path, target, limits=limits))
    log.info("%s: %s files in %s", entry.name, fact["files"], target)
    if not keep_archives:
        path.unlink()
    return fact


def _move_aside(target: Path) -> None:
    """Give a folder that is in the way another name; what a person put there is not deleted."""
    for k in range(1, 1000):
        other = target.with_name(f"{target.name}.old{k}")
        if not other.exists():
            os.replace(target, other)
            log.warning("%s: was there already; it is now %s", target, other.name)
            return
    raise UserError(f"{target}: is there already; move it away")


def _snapshot(entry: Entry, folder: Path) -> None:
    """Fetch a repository of the hub at its revision, by the hub's own client."""
    hub = entry.hub
    assert hub is not None
    try:
        import huggingface_hub
    except ImportError:
        raise UserError(
            f"data set {entry.name}: {hub.repo} is fetched by huggingface_hub, which is not installed"
            " here (pip install huggingface_hub)"
        ) from None
    log.info("%s: fetching %s at %s from the hub", entry.name, hub.repo, hub.revision)
    try:
        huggingface_hub.snapshot_download(
            hub.repo,
            repo_type=hub.type,
            revision=hub.revision,
            allow_patterns=list(hub.allow) or None,
            local_dir=str(folder),
        )
    # the client has many exceptions of its own, of httpx and of the system
    except Exception as error:
        said = " ".join(str(error).split())[:200]
        raise UserError(
            f"data set {entry.name}: {hub.repo} at {hub.revision} can't be had from the hub"
            f" ({type(error).__name__}: {said}); where it is gated, accept its terms and log in"
        ) from None


def _read_state(folder: Path) -> dict[str, dict[str, Any]]:
    try:
        found = json.loads((folder / STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _write_state(folder: Path, state: Mapping[str, Any]) -> None:
    with replacing(folder / STATE) as temporary:
        temporary.write_text(json.dumps(state, indent=1, sort_keys=True), encoding="utf-8")


def _record(
    entry: Entry, folder: Path, state: Mapping[str, Any], consent: str | None
) -> dict[str, Any]:
    """What a reader must know of a fetched set; counts outside their range are warned of."""
    from clipsieve.images.listing import list_files

    counts, warnings = {}, []
    for name, (low, high) in entry.expected.items():
        place = folder / name
        if not place.is_dir():
            continue  # of a file that was not asked for
        counts[name] = count = len(list_files(place))
        if not low <= count <= high:
            warnings.append(f"{name} has {count} files; {low} to {high} are expected")
    for line in warnings:
        log.warning("%s: %s", entry.name, line)
    return {
        "dataset": entry.name,
        "title": entry.title,
        "licence": entry.licence,
        "non_commercial": entry.non_commercial,
        "consent": consent,
        "layout": entry.layout,
        "hub": None if entry.hub is None else vars(replace(entry.hub)),
        "files": [{"name": name, **fact} for name, fact in state.items()],
        "counts": counts,
        "warnings": warnings,
        "sources": dict(entry.sources),
    }
