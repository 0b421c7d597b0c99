"""One process at a time, on every file system: a lock of the kernel where there is one, and a lease.

A lock is a file that names its holder: machine, process, and a beat that is written every few seconds.
Where `flock` works, the file is locked as well. Where the file system refuses it (NFS without a lock
daemon answers ENOLCK, others EOPNOTSUPP; Lustre mounted without locks ENOSYS), the record alone
counts. It is read in both cases: some mounts lock among the processes of one node only.

A holder is dead when its machine is this one and has no such process, and expired when its beat has
not moved for `Times.expiry` seconds. That is measured by the clock of the process that waits, so the
clocks of two machines need not agree.

Two processes that find the same expired lease both put their own record in its place and look again
after a moment: the last one has it (Fischer's algorithm; Lamport, ACM TOCS 5(1), 1987). A holder that
stood still for so long that another took over finds out at its next beat, and `Lock.check` refuses.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clipsieve.errors import UserError

log = logging.getLogger("clipsieve")

#: What a lock rests on: the kernel's lock and the record, or the record alone.
FLOCK, LEASE = "flock", "lease"
#: What a file system answers that has no locks.
REFUSED = frozenset({errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS})
_MOST = 4096


@dataclass(frozen=True)
class Times:
    """Seconds between two beats, until a lease without a beat has expired, and to look again."""

    beat: float = 10.0
    expiry: float = 60.0
    settle: float = 2.0


TIMES = Times()


@dataclass
class Lock:
    """A lock that this process holds.

    Attributes
    ----------
    path
        The lock file.
    kind
        `FLOCK` or `LEASE`.
    """

    path: Path
    kind: str
    handle: int
    record: dict[str, Any]
    times: Times
    lost: bool = False
    _ended: threading.Event = field(default_factory=threading.Event)

    def check(self) -> None:
        """Refuse (UserError) where another process has taken the lock over in the meantime."""
        if self.lost:
            raise UserError(
                f"{self.path}: this process stood still for so long that another one took its place;"
                " it writes nothing more"
            )

    def _beat(self) -> None:
        count = 0
        while not self._ended.wait(self.times.beat):
            count += 1
            if not _is_file(self.path, self.handle):
                self.lost = True
                return
            # in place: that needs no room on a full disk, and never touches the record of a successor
            with suppress(OSError):
                os.pwrite(self.handle, _written(self.record, count), 0)
                os.fsync(self.handle)

    def _release(self, beating: threading.Thread) -> None:
        self._ended.set()
        beating.join()
        try:
            if self.record["pid"] != os.getpid() or not _is_file(self.path, self.handle):
                return
            if self.kind == LEASE:
                os.unlink(self.path)
            else:
                os.ftruncate(self.handle, 0)
                fcntl.flock(self.handle, fcntl.LOCK_UN)
        finally:
            os.close(self.handle)


@contextmanager
def locked(
    path: str | os.PathLike[str], busy: str, *, wait: bool = False, times: Times = TIMES
) -> Iterator[Lock]:
    """Hold a lock while the block runs.

    Parameters
    ----------
    path
        The lock file; its folder must be there. After a lock of the kernel it stays, empty.
    busy
        What is said while another process holds the lock, as ``x.h5: another process writes it``.
    wait
        Whether to wait for the other process. Without it, the wait lasts until the other process is
        known to be alive or dead, at most `Times.expiry` seconds.
    times
        For tests.

    Raises
    ------
    UserError
        Another process holds the lock and `wait` is false; or the folder may not be written.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, locked(Path(folder, "lock"), "busy") as lock:
    ...     lock.kind in (FLOCK, LEASE)
    True
    """
    lock = _acquire(Path(path), busy, wait, times)
    beating = threading.Thread(target=lock._beat, name="lock", daemon=True)
    beating.start()
    try:
        yield lock
    finally:
        lock._release(beating)


def kind_in(folder: str | os.PathLike[str]) -> str:
    """Return what locks in a folder rest on: `FLOCK`, or `LEASE` where its file system refuses flock.

    Raises
    ------
    OSError
        The folder may not be written, or flock fails for another reason.
    """
    trial = os.path.join(folder, f".lock-{os.getpid()}-{secrets.token_hex(4)}")
    handle = os.open(trial, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return FLOCK
    except OSError as error:
        if error.errno in REFUSED:
            return LEASE
        raise
    finally:
        os.close(handle)
        os.unlink(trial)


def machine() -> str:
    """Return what tells this machine from others, its restarts and containers apart."""
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(os.readlink("/proc/self/ns/pid"))  # process ids mean something in it alone
    return " ".join(parts)


def is_alive(pid: int, started: str | None) -> bool:
    """Say whether this machine has a process of that id, and (where known) of that start."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    found = _start_of(pid)
    return found is None or started is None or found == started


def _start_of(pid: int) -> str | None:
    """When a process was started, in the kernel's ticks; "" for one that has ended and waits to be reaped."""
    try:
        # the name in parentheses may hold blanks
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "" if words[0] == "Z" else words[19]
    except (OSError, IndexError):
        return None


class _Watch:
    """What one waiting process has seen of a holder."""

    def __init__(self, times: Times) -> None:
        self.times = times
        self.seen: bytes | None = None
        self.since = 0.0
        self.alive = False
        self.holder = "a process that is not known"

    def is_free(self, content: bytes) -> bool:
        """Judge a lock file's content; `alive` says whether the holder is known to live."""
        self.alive = False
        record = _read(content)
        if not content:
            return True
        if record is not None:
            self.holder = f"process {record['pid']} on {str(record['machine']).split()[0]}"
            if record["machine"] == machine():
                self.alive = is_alive(record["pid"], record["started"])
                return not self.alive
        now = time.monotonic()
        if content != self.seen:
            # the beat of the same holder has moved
            before = _read(self.seen) if self.seen else None
            same = bool(record and before and record["token"] == before["token"])
            self.alive = same
            self.seen, self.since = content, now
        return now - self.since >= self.times.expiry


def _acquire(path: Path, busy: str, wait: bool, times: Times) -> Lock:
    watch = _Watch(times)
    told, pause = False, 0.02
    try:
        kind = kind_in(path.parent)
        while True:
            lock = (_by_flock if kind == FLOCK else _by_lease)(path, watch)
            if lock is not None:
                return lock
            if watch.alive and not wait:
                raise UserError(f"{busy} ({watch.holder})")
            if not told and wait:
                log.info("%s (%s); waiting for it", busy, watch.holder)
            elif not told:
                log.info("%s (%s); looking whether it is still alive", busy, watch.holder)
            told = True
            time.sleep(pause)
            pause = min(2 * pause, 1.0, times.beat)
    except OSError as error:
        raise UserError(f"{path}: cannot be locked ({error.strerror})") from None


def _by_flock(path: Path, watch: _Watch) -> Lock | None:
    """Try to lock the file that stands there, and to write our record into it."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    kept = False
    try:
        content = os.pread(handle, _MOST, 0)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            watch.is_free(content)
            watch.alive = True
            return None
        content = os.pread(handle, _MOST, 0)
        if not _is_file(path, handle) or not watch.is_free(content):
            return None
        record = _record()
        os.ftruncate(handle, 0)
        os.pwrite(handle, _written(record, 0), 0)
        os.fsync(handle)
        kept = True
        return Lock(path, FLOCK, handle, record, watch.times)
    finally:
        if not kept:
            os.close(handle)


def _by_lease(path: Path, watch: _Watch) -> Lock | None:
    """Try to put our record where none is, or in the place of a dead or expired one."""
    try:
        content = path.read_bytes()[:_MOST]
    except FileNotFoundError:
        content = None
    if content is not None and not watch.is_free(content):
        return None
    record = _record()
    own = path.with_name(f".lock-{record['pid']}-{record['token']}")
    handle = os.open(own, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    kept = False
    try:
        os.pwrite(handle, _written(record, 0), 0)
        os.fsync(handle)
        if content is None:
            kept = _linked(own, path)
        else:
            with suppress(FileNotFoundError):
                if path.read_bytes()[:_MOST] == content:
                    os.replace(own, path)
                    time.sleep(watch.times.settle)
                    kept = _is_file(path, handle)
        return Lock(path, LEASE, handle, record, watch.times) if kept else None
    finally:
        with suppress(FileNotFoundError):
            os.unlink(own)
        if not kept:
            os.close(handle)


def _linked(own: Path, path: Path) -> bool:
    """Give the record its name if no file has it; a link is made by one process alone, also on NFS."""
    try:
        os.link(own, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}:
            raise
        # no links here: the name is taken first, and the record put in its place
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
        except FileExistsError:
            return False
        os.replace(own, path)
    return True


def _record() -> dict[str, Any]:
    return {
        "machine": machine(),
        "pid": os.getpid(),
        "started": _start_of(os.getpid()),
        "token": secrets.token_hex(8),
    }


def _written(record: dict[str, Any], beat: int) -> bytes:
    """A record as bytes, of the same length for every beat."""
    return json.dumps({**record, "beat": f"{beat:012d}"}, sort_keys=True).encode() + b"\n"


def _read(content: bytes) -> dict[str, Any] | None:
    """Return a record, None where the content is another program's or half written."""
    try:
        record = json.loads(content)
    except ValueError:
        return None
    whole = isinstance(record, dict) and {"machine", "pid", "started", "token"} <= record.keys()
    return record if whole and isinstance(record["pid"], int) else None


def _is_file(path: Path, handle: int) -> bool:
    """Say whether the open file is still the one that stands at the path."""
    try:
        there, own = os.stat(path), os.fstat(handle)
    except OSError as error:
        # what is gone was taken away; other trouble (a server that does not answer) says nothing
        return error.errno not in {errno.ENOENT, errno.ESTALE}
    return (there.st_dev, there.st_ino) == (own.st_dev, own.st_ino)
