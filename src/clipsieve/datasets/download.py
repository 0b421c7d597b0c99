"""Downloads that can be cut at any moment: range resume, retries, hash, free disk, atomic rename."""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clipsieve.errors import UserError
from clipsieve.io.files import sha256_of
from clipsieve.io.locks import locked

log = logging.getLogger("clipsieve")

#: Bytes read from the network and written at once; a kill loses no more than this.
CHUNK = 1 << 20
#: Bytes that stay free on the disk beside the download.
MARGIN = 64 << 20
#: Answers after which a request is repeated.
RETRIED = (429, 500, 502, 503, 504)
#: Who asks; servers refuse requests without a name.
USER_AGENT = "clipsieve (research; downloads of public image sets)"


@dataclass(frozen=True)
class Downloaded:
    """A finished file: its size in bytes, its sha256, and whether it was there already."""

    bytes: int
    sha256: str
    was_there: bool


def new_session(*, retries: int = 5, backoff: float = 0.5) -> Any:
    """Return a `requests.Session` that repeats failed connections and answers of `RETRIED`.

    Parameters
    ----------
    retries
        Repeats of one request, default 5.
    backoff
        Seconds before the second repeat; doubled each time, at most two minutes. A server's
        Retry-After comes first.
    """
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3.util import Retry

    rule = Retry(
        total=retries,
        backoff_factor=backoff,
        backoff_jitter=backoff / 2,
        status_forcelist=RETRIED,
        respect_retry_after_header=True,
        raise_on_status=False,
    )
    session = requests.Session()
    session.headers["User-Agent"] = USER_AGENT
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(max_retries=rule))
    return session


def download(
    url: str,
    path: str | os.PathLike[str],
    *,
    sha256: str | None = None,
    size: int | None = None,
    session: Any = None,
    tries: int = 6,
    pause: float = 1.0,
    timeout: tuple[float, float] = (15.0, 60.0),
    progress: Callable[[int, int | None], None] | None = None,
) -> Downloaded:
    """Fetch a file whole, or go on where an earlier call was cut.

    What has come is kept beside the target, in ``<name>.part``, with the server's mark of its version
    in ``<name>.part.json``. The rest is asked for with a range and ``If-Range``: a file that changed
    meanwhile comes from its beginning, and so does one of a server without ranges or without such a
    mark where no hash is pinned. A call waits for another one that fetches the same file.

    Parameters
    ----------
    url
        http or https address.
    path
        Where the file goes; its folder is made. A file that is there with the pinned hash (or size,
        where no hash is known) is kept.
    sha256, size
        What the file must have; None where it is not known.
    session
        As `new_session` makes it (the default).
    tries
        Attempts at a body that breaks off; one that brought bytes does not count.
    pause
        Seconds before the second attempt; doubled each time.
    timeout
        Seconds to connect, and between two parts of the body.
    progress
        Told the number of bytes that are there, and of all, None where the server does not say.

    Raises
    ------
    UserError
        The address cannot be reached or refuses, the disk is too small (said before the first byte),
        or size or hash are not those that were pinned; then nothing is kept.
    """
    target = Path(path)
    _make_folder(target.parent)
    with locked(
        target.with_name(f".{target.name}.lock"), f"{target}: another process fetches it", wait=True
    ):
        if target.is_file():
            found = _kept(target, sha256, size)
            if found is not None:
                return found
        own = session or new_session()
        try:
            part = _fetch(url, target, sha256, size, own, tries, pause, timeout, progress)
        finally:
            if session is None:
                own.close()
        done = _check(url, part, sha256, size)
        os.replace(part, target)
        _mark_of(part).unlink(missing_ok=True)
        return done


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: cannot be made ({error.strerror})") from None


def _kept(target: Path, sha256: str | None, size: int | None) -> Downloaded | None:
    """Facts of a file that is there, None where it is not the one that is wanted."""
    known = target.stat().st_size
    if size is not None and known != size:
        return None
    found = sha256_of(target)
    if sha256 is not None and found != sha256:
        return None
    return Downloaded(known, found, was_there=True)


def _mark_of(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _read_mark(part: Path, url: str) -> str | None:
    """The version of the file that the part belongs to; None where it is not known."""
    try:
        mark = json.loads(_mark_of(part).read_text(encoding="utf-8"))
        return str(mark["version"]) if mark["url"] == url and mark["version"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _version(headers: Any) -> str | None:
    """A strong mark of a version: only such a one may stand in If-Range (RFC 9110, 13.1.5)."""
    tag = headers.get("ETag", "")
    if tag.startswith('"'):
        return str(tag)
    modified = headers.get("Last-Modified")
    return str(modified) if modified and not tag else None


def _fetch(
    url: str,
    target: Path,
    sha256: str | None,
    size: int | None,
    session: Any,
    tries: int,
    pause: float,
    timeout: tuple[float, float],
    progress: Callable[[int, int | None], None] | None,
) -> Path:
    """Bring the part file to its full length."""
    import requests

    part = target.with_name(target.name + ".part")
    failed = 0
    while True:
        have = part.stat().st_size if part.exists() else 0
        if have and _read_mark(part, url) is None and sha256 is None:
            part.unlink()  # nothing would tell whether the rest belongs to it
            have = 0
        headers = {"Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have}-"
            if version := _read_mark(part, url):
                headers["If-Range"] = version
        try:
            with session.get(url, headers=headers, stream=True, timeout=timeout) as answer:
                if answer.status_code == 416:
                    total = _total(answer.headers.get("Content-Range", ""))
                    if total is not None and total == have:
                        return part
                    part.unlink(missing_ok=True)
                    raise requests.exceptions.ContentDecodingError("the range does not fit")
                if answer.status_code >= 400:
                    raise UserError(f"{url}: the server answers {_status(answer)}")
                whole = _write(url, answer, part, have, size, progress)
            if whole:
                return part
            error: Exception | None = None
        except (requests.RequestException, OSError) as caught:
            if isinstance(caught, OSError) and not isinstance(caught, requests.RequestException):
                raise
            error = caught
        now = part.stat().st_size if part.exists() else 0
        failed = 1 if now > have else failed + 1
        if failed >= tries:
            said = " ".join(str(error or "the body ends too early").split())
            raise UserError(
                f"{url}: can't be fetched ({said[:200]}); {now} bytes are kept, the next call goes on"
            ) from None
        time.sleep(min(60.0, pause * 2 ** (failed - 1)))


def _status(answer: Any) -> str:
    hints = {
        401: "; it wants a login or an accepted licence",
        403: "; it wants a login or an accepted licence",
        404: "; it is not there (any more)",
    }
    code = answer.status_code
    return f"{code} {answer.reason or ''}".strip() + hints.get(code, "")


def _total(content_range: str) -> int | None:
    """Length of the whole file, from ``bytes 0-9/100`` or ``bytes */100``."""
    last = content_range.rpartition("/")[2]
    return int(last) if last.isdigit() else None


def _write(
    url: str,
    answer: Any,
    part: Path,
    have: int,
    size: int | None,
    progress: Callable[[int, int | None], None] | None,
) -> bool:
    """Write an answer's body behind what is there, or anew; say whether it came whole."""
    goes_on = answer.status_code == 206
    if goes_on and not answer.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
        part.unlink(missing_ok=True)
        return False
    start = have if goes_on else 0
    length = answer.headers.get("Content-Length")
    coming = int(length) if length is not None and length.isdigit() else None
    total = _total(answer.headers.get("Content-Range", "")) if goes_on else coming
    expected = total if total is not None else size
    if size is not None and total is not None and total != size:
        part.unlink(missing_ok=True)
        raise UserError(f"{url}: has {total} bytes, {size} are expected; nothing is kept")
    if expected is not None:
        need_space(part.parent, expected - start, f"{url}: ")
    version = _version(answer.headers)
    if not goes_on:
        part.unlink(missing_ok=True)  # before the mark: what is there belongs to another version
    _mark_of(part).write_text(json.dumps({"url": url, "version": version}), encoding="utf-8")
    at = start
    with open(part, "ab" if goes_on else "wb") as handle:
        for block in answer.iter_content(CHUNK):
            handle.write(block)
            handle.flush()
            at += len(block)
            if expected is not None and at > expected:
                break
            if progress is not None:
                progress(at, expected)
        os.fsync(handle.fileno())
    return expected is None or at >= expected


def _check(url: str, part: Path, sha256: str | None, size: int | None) -> Downloaded:
    """Compare the whole file with what is pinned; remove it where it differs."""
    known = part.stat().st_size
    digest = sha256_of(part)
    wrong = None
    if size is not None and known != size:
        wrong = f"has {known} bytes, {size} are expected"
    elif sha256 is not None and digest != sha256:
        wrong = f"sha256 is {digest}, {sha256} is expected"
    if wrong:
        part.unlink()
        _mark_of(part).unlink(missing_ok=True)
        raise UserError(f"{url}: {wrong}; nothing is kept")
    return Downloaded(known, digest, was_there=False)


def need_space(folder: Path, wanted: int, where: str = "") -> None:
    """Refuse to begin what would fill the disk.

    Raises
    ------
    UserError
        Less than `wanted` bytes and `MARGIN` are free below `folder`.
    """
    free = shutil.disk_usage(folder).free
    if wanted + MARGIN > free:
        raise UserError(
            f"{where}{in_words(wanted)} are needed and {in_words(free)} are free in {folder}"
        )


def in_words(size: float) -> str:
    """Return a number of bytes as people write it.

    >>> in_words(834_000_000), in_words(512)
    ('834.0 MB', '512 B')
    """
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size:.0f} B"
