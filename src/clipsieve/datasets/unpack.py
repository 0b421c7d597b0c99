"""Archives of others unpacked without harm: no path outside, no links, no devices, no bombs."""

from __future__ import annotations

import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from clipsieve.datasets.download import in_words, need_space
from clipsieve.errors import UserError

#: Endings of archives that `unpack` takes.
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Limits:
    """What an archive may grow to.

    Attributes
    ----------
    members
        Files and folders, default five million.
    bytes
        All files together, default 2 TB.
    ratio
        All files together as a multiple of the archive, default 200; images hardly shrink at all.
        What unpacks to less than 64 MiB may have any.
    """

    members: int = 5_000_000
    bytes: int = 2_000_000_000_000
    ratio: float = 200.0


_RATIO_FROM = 64 << 20


def is_archive(name: str) -> bool:
    """Say whether a file's name is that of an archive that `unpack` takes."""
    return name.lower().endswith(ARCHIVES)


def stem_of(name: str) -> str:
    """Return an archive's name without its ending.

    >>> stem_of("CNN_synth_testset.zip"), stem_of("a.b.tar.gz")
    ('CNN_synth_testset', 'a.b')
    """
    ending = max((e for e in ARCHIVES if name.lower().endswith(e)), key=len, default="")
    return name[: len(name) - len(ending)] if ending else name


def unpack(archive: Path, folder: Path, *, limits: Limits | None = None) -> int:
    """Unpack a zip or tar archive into a folder that appears whole or not at all.

    Files go to a hidden folder beside `folder`, which takes its name at the end. An earlier attempt
    that was cut is removed first. Modes, owners and times are not taken over.

    Parameters
    ----------
    archive
        Zip, tar, or tar compressed by gzip, bzip2 or xz.
    folder
        Must not exist yet.
    limits
        `Limits` (the default: its defaults).

    Returns
    -------
    int
        Number of files.

    Raises
    ------
    UserError
        Naming the archive and the member: a path outside or one that stands twice, a link, a device,
        an encrypted or damaged member, a limit that is passed, a disk that is too small.
    """
    allowed = limits or Limits()
    if folder.exists():
        raise UserError(f"{folder}: is there already; nothing is unpacked over it")
    scratch = folder.with_name(f".{folder.name}.unpacking")
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        scratch.mkdir(parents=True)
        count = 0
        for name, size, stream in _files(archive, allowed, scratch):
            _write(archive, scratch, name, size, stream)
            count += 1
        if count == 0:
            raise UserError(f"{archive}: holds no file")
        os.replace(scratch, folder)
        return count
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error) as error:
        raise UserError(f"{archive}: damaged ({' '.join(str(error).split())})") from None
    except (RuntimeError, NotImplementedError) as error:  # zipfile: encrypted, unknown method
        raise UserError(f"{archive}: can't be unpacked ({error})") from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _files(archive: Path, limits: Limits, scratch: Path) -> Iterator[tuple[str, int, IO[bytes]]]:
    """Yield path, size and content of each file, once all that can be known before is checked."""
    if zipfile.is_zipfile(archive):
        yield from _zip_files(archive, limits, scratch)
    elif tarfile.is_tarfile(archive):
        yield from _tar_files(archive, limits, scratch)
    else:
        raise UserError(f"{archive}: is neither a zip nor a tar archive")


def _zip_files(
    archive: Path, limits: Limits, scratch: Path
) -> Iterator[tuple[str, int, IO[bytes]]]:
    with zipfile.ZipFile(archive) as opened:
        budget = _Budget(archive, limits)
        seen: set[str] = set()
        wanted = []
        for info in opened.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise UserError(f"{archive}: {info.filename!r} is a link or a device; refused")
            name = _checked(archive, info.filename)
            budget.take(info.filename, info.file_size)
            if not info.is_dir() and name:
                _once(archive, name, seen)
                wanted.append((name, info))
        need_space(scratch, budget.bytes, f"{archive}: to unpack it ")
        for name, info in wanted:
            with opened.open(info) as stream:
                yield name, info.file_size, stream


def _tar_files(
    archive: Path, limits: Limits, scratch: Path
) -> Iterator[tuple[str, int, IO[bytes]]]:
    # one pass: the list of a compressed tar costs as much as to unpack it
    with tarfile.open(archive, "r:*") as opened:
        budget = _Budget(archive, limits)
        seen: set[str] = set()
        for member in opened:
            if not (member.isreg() or member.isdir()):
                raise UserError(f"{archive}: {member.name!r} is a link or a device; refused")
            name = _checked(archive, member.name)
            budget.take(member.name, member.size)
            if member.isdir() or not name:
                continue
            _once(archive, name, seen)
            need_space(scratch, member.size, f"{archive}: to unpack it ")
            stream = opened.extractfile(member)
            if stream is not None:
                yield name, member.size, stream
            opened.members.clear()  # type: ignore[attr-defined] # else all headers stay in memory


class _Budget:
    """Members and bytes so far; refuses more than the limits allow."""

    def __init__(self, archive: Path, limits: Limits) -> None:
        self.archive, self.limits = archive, limits
        self.members = self.bytes = 0
        packed = max(1, archive.stat().st_size)
        self.most = min(limits.bytes, max(_RATIO_FROM, int(limits.ratio * packed)))

    def take(self, name: str, size: int) -> None:
        self.members += 1
        self.bytes += max(0, size)
        if self.members > self.limits.members:
            raise UserError(f"{self.archive}: more than {self.limits.members} members; refused")
        if self.bytes > self.most:
            raise UserError(
                f"{self.archive}: unpacks to more than {in_words(self.most)} (at {name!r}); refused"
            )


def _checked(archive: Path, name: str) -> str:
    """Return a member's path in its plain form; refuse one that leads outside."""
    plain = os.path.normpath(name.replace("\\", "/")) if name else "."
    if "\0" in name or plain.startswith("/") or plain.split("/")[0] == ".." or ":" in plain[:2]:
        raise UserError(f"{archive}: {name!r} leads out of its folder; refused")
    return "" if plain == "." else plain


def _once(archive: Path, name: str, seen: set[str]) -> None:
    if name in seen:
        raise UserError(f"{archive}: {name!r} stands in it twice; refused")
    seen.add(name)


def _write(archive: Path, scratch: Path, name: str, size: int, stream: IO[bytes]) -> None:
    target = scratch / name
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with open(target, "xb") as sink:
            left = size
            while block := stream.read(_CHUNK):
                left -= len(block)
                if left < 0:
                    raise UserError(f"{archive}: {name!r} is longer than it says; refused")
                sink.write(block)
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        raise UserError(f"{archive}: {name!r} is both a file and a folder; refused") from None
    if left:
        raise UserError(f"{archive}: {name!r} is shorter than it says; damaged")
