"""One process at a time: with flock, without it, between two machines, after a kill and a standstill."""

from __future__ import annotations

import ctypes.util
import errno
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from clipsieve.errors import UserError
from clipsieve.io import locks
from clipsieve.io.locks import FLOCK, LEASE, Times, kind_in, locked

#: Short, so that a test waits a moment where a user waits a minute.
QUICK = Times(beat=0.05, expiry=0.6, settle=0.05)
NO_LOCKS = [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS]


def refuse(monkeypatch, code: int | None) -> None:
    """Let flock answer as a file system without locks does; None leaves it as it is."""

    def refusing(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    if code is not None:
        monkeypatch.setattr(fcntl, "flock", refusing)


@pytest.fixture(params=[None, *NO_LOCKS], ids=["flock", "ENOLCK", "EOPNOTSUPP", "ENOSYS"])
def code(request, monkeypatch):
    refuse(monkeypatch, request.param)
    return request.param


def in_a_child(work: Callable[[], None], host: str | None = None) -> int:
    """Run `work` in a forked process, on a machine of this name if one is given; return its id."""
    pid = os.fork()
    if pid == 0:
        try:
            if host is not None:
                locks.machine = lambda: f"{host} boot pid:[1]"
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return pid


def hold(path: Path, seconds: float = 60.0) -> Callable[[], None]:
    def work() -> None:
        with locked(path, "busy", times=QUICK):
            path.with_suffix(".held").touch()
            time.sleep(seconds)

    return work


def held(path: Path) -> None:
    for _ in range(1000):
        if path.with_suffix(".held").exists():
            return
        time.sleep(0.01)
    raise AssertionError("the child never got the lock")


def end(pid: int) -> int:
    os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_what_a_lock_rests_on_is_known_before(tmp_path, code):
    assert kind_in(tmp_path) == (FLOCK if code is None else LEASE)
    assert not list(tmp_path.iterdir())
    with locked(tmp_path / "lock", "busy") as lock:
        assert lock.kind == kind_in(tmp_path)


def test_a_held_lock_is_refused_and_its_holder_named(tmp_path, code):
    path = tmp_path / "lock"
    with (
        locked(path, "first", times=QUICK),
        pytest.raises(UserError, match=rf"^second \(process {os.getpid()} on "),
        locked(path, "second", times=QUICK),
    ):
        pass
    with locked(path, "third", times=QUICK):
        pass
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".lock-")]


def test_a_killed_holder_on_this_machine_is_followed_at_once(tmp_path, code):
    path = tmp_path / "lock"
    pid = in_a_child(hold(path))
    held(path)
    with pytest.raises(UserError, match=f"process {pid} on"), locked(path, "busy"):
        pass
    end(pid)
    start = time.monotonic()
    with locked(path, "busy", times=Times(beat=10, expiry=1000, settle=0.05)):
        assert time.monotonic() - start < 5


@pytest.mark.parametrize("code", NO_LOCKS)
def test_a_holder_on_another_machine_is_refused_while_it_lives(tmp_path, monkeypatch, code):
    refuse(monkeypatch, code)
    path = tmp_path / "lock"
    pid = in_a_child(hold(path), "node1")
    try:
        held(path)
        for _ in range(3):
            with (
                pytest.raises(UserError, match=f"process {pid} on node1"),
                locked(path, "busy", times=QUICK),
            ):
                pass
    finally:
        end(pid)


def test_a_holder_killed_on_another_machine_is_followed_when_it_expires(tmp_path, code):
    path = tmp_path / "lock"
    pid = in_a_child(hold(path), "node1")
    held(path)
    end(pid)
    # nothing on this machine may be taken for the process of the other one
    record = json.loads(path.read_bytes())
    record["pid"] = os.getpid()
    path.write_bytes(json.dumps(record).encode())
    start = time.monotonic()
    with locked(path, "busy", times=QUICK) as lock:
        assert time.monotonic() - start >= QUICK.expiry
        lock.check()
        assert json.loads(path.read_bytes())["machine"] == locks.machine()


def test_a_kernel_lock_among_one_node_only_does_not_hide_another_node(tmp_path):
    """Lustre's option localflock: both nodes get their own kernel's lock on the same file."""
    path = tmp_path / "lock"

    def without_the_kernel() -> None:
        fcntl.flock = lambda *_: None
        hold(path)()

    pid = in_a_child(without_the_kernel, "node1")
    try:
        held(path)
        with (
            pytest.raises(UserError, match=f"process {pid} on node1"),
            locked(path, "busy", times=QUICK),
        ):
            pass
    finally:
        end(pid)


@pytest.mark.parametrize("mine", [None, errno.ENOLCK])
def test_nodes_with_and_without_flock_see_each_other(tmp_path, monkeypatch, mine):
    path = tmp_path / "lock"
    theirs = errno.ENOLCK if mine is None else None

    def work() -> None:
        if theirs is not None:
            refuse(monkeypatch, theirs)
        hold(path)()

    pid = in_a_child(work, "node1")
    refuse(monkeypatch, mine)
    try:
        held(path)
        with pytest.raises(UserError, match="on node1"), locked(path, "busy", times=QUICK):
            pass
    finally:
        end(pid)
    with locked(path, "busy", times=QUICK, wait=True):
        pass


def test_who_stood_still_too_long_writes_nothing_more(tmp_path, monkeypatch):
    refuse(monkeypatch, errno.ENOLCK)
    path = tmp_path / "lock"
    said = tmp_path / "said"

    def work() -> None:
        with locked(path, "busy", times=QUICK) as lock:
            path.with_suffix(".held").touch()
            for _ in range(2000):
                try:
                    lock.check()
                except UserError as error:
                    said.write_text(str(error))
                    return
                time.sleep(0.01)

    pid = in_a_child(work, "node1")
    held(path)
    os.kill(pid, signal.SIGSTOP)
    with locked(path, "busy", times=QUICK) as lock:
        os.kill(pid, signal.SIGCONT)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert "another one took its place" in said.read_text()
        time.sleep(3 * QUICK.beat)
        # what the first one left behind does not end our hold
        lock.check()
        assert json.loads(path.read_bytes())["pid"] == os.getpid()


def test_one_of_many_gets_a_dead_lock(tmp_path, code):
    """Eight processes find the lock of a dead node at once; never are two inside."""
    path, inside = tmp_path / "lock", tmp_path / "inside"
    path.write_bytes(
        json.dumps({"machine": "gone x", "pid": 1, "started": None, "token": "t"}).encode()
    )

    def work() -> None:
        with locked(path, "busy", wait=True, times=QUICK):
            handle = os.open(inside, os.O_CREAT | os.O_EXCL)
            time.sleep(0.05)
            os.close(handle)
            inside.unlink()

    children = [in_a_child(work, f"node{k}") for k in range(8)]
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
    assert codes == [0] * 8


@pytest.mark.parametrize("left", [b"", b"\0\0\0", b"123\nnode7\n", b'{"machine": "x"'])
def test_what_other_programs_left_is_followed(tmp_path, code, left):
    path = tmp_path / "lock"
    path.write_bytes(left)
    with locked(path, "busy", times=QUICK) as lock:
        lock.check()


def test_no_links_no_locks(tmp_path, monkeypatch):
    refuse(monkeypatch, errno.ENOSYS)

    def no_link(*_: object) -> None:
        raise OSError(errno.EPERM, "no links")

    monkeypatch.setattr(os, "link", no_link)
    with locked(tmp_path / "lock", "a") as lock:
        lock.check()
        with pytest.raises(UserError, match="b"), locked(tmp_path / "lock", "b"):
            pass
    assert not list(tmp_path.iterdir())


def test_a_folder_that_may_not_be_written_is_named(tmp_path):
    tmp_path.chmod(0o555)

    def work() -> None:
        os.chdir(tmp_path)
        if os.geteuid() == 0:  # root may write everywhere
            os.setuid(65534)
        with (
            pytest.raises(UserError, match=r"cannot be locked .Permission"),
            locked("lock", "busy"),
        ):
            pass

    assert os.waitstatus_to_exitcode(os.waitpid(in_a_child(work), 0)[1]) == 0


def test_other_trouble_with_flock_is_one_line(tmp_path, monkeypatch):
    refuse(monkeypatch, errno.EIO)
    with pytest.raises(UserError, match="cannot be locked"), locked(tmp_path / "lock", "busy"):
        pass


INTERPOSED = """
#include <errno.h>
#include <stdlib.h>
int flock(int fd, int operation) { errno = atoi(getenv("FLOCK_ANSWERS")); return -1; }
"""


@pytest.fixture(scope="module")
def interposed(tmp_path_factory) -> Path:
    """A library that answers for flock below Python, for every library of the process."""
    compiler = shutil.which("cc")
    if compiler is None or ctypes.util.find_library("c") is None:
        pytest.skip("no C compiler")
    folder = tmp_path_factory.mktemp("flock")
    (folder / "flock.c").write_text(INTERPOSED)
    built = folder / "flock.so"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-o", built, folder / "flock.c"], check=True
    )  # fmt: skip
    return built


@pytest.mark.parametrize("code", NO_LOCKS)
def test_a_search_runs_where_flock_is_refused(tmp_path, interposed, code):
    script = """
        import sys
        import numpy as np
        from clipsieve.io.locks import kind_in
        from clipsieve.selection import greedy_elimination
        rng = np.random.default_rng(0)
        X, y = rng.normal(size=(80, 4)), np.arange(80) % 2
        found = greedy_elimination(X[:50], y[:50], X[50:], y[50:], checkpoint=sys.argv[1])
        print(kind_in("."), len(found.removed))
    """
    environment = {**os.environ, "LD_PRELOAD": str(interposed), "FLOCK_ANSWERS": str(code)}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(tmp_path / "side.jsonl")],
        env=environment, cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == [LEASE, "3"]
    assert {path.name for path in tmp_path.iterdir()} == {"side.jsonl"}
