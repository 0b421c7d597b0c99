"""The embed verb stopped in the middle: killed again and again, half files, damaged shards, two at once."""

from __future__ import annotations

import argparse
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch")

from clipsieve.cli import embed  # noqa: E402
from clipsieve.encoders import shards  # noqa: E402
from clipsieve.errors import UserError  # noqa: E402
from clipsieve.io import store  # noqa: E402
from tests.helpers.embed_runs import arguments, count_passes, digest, make_set, row  # noqa: E402


def in_a_child(args: argparse.Namespace, prepare: Callable[[], None]) -> int:
    """Run the verb in a forked process (torch is loaded already) and return its exit code.

    `prepare` runs in the child first and arranges what kills it: a moment of the child's own work,
    so that a busy machine changes nothing.
    """
    pid = os.fork()
    if pid == 0:
        try:
            prepare()
            embed.run(args)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def die_after(shards_written: int, seconds: float) -> None:
    """Let this process be killed so much of its own processor time after its n-th new shard."""
    honest, written = shards.ShardCache.add, []

    def counting(*call: object) -> None:
        honest(*call)
        written.append(1)
        if len(written) == shards_written:
            signal.signal(signal.SIGPROF, signal.SIG_DFL)
            signal.setitimer(signal.ITIMER_PROF, seconds)

    shards.ShardCache.add = counting


def die_at(module: object, name: str, call: int) -> None:
    """Let this process be killed in place of the n-th call of a function."""
    honest, calls = getattr(module, name), []

    def counting(*args: object, **options: object) -> object:
        calls.append(1)
        if len(calls) == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return honest(*args, **options)

    setattr(module, name, counting)


def shard_files(args: argparse.Namespace) -> set[Path]:
    return set(args.shards.glob("*/shard-*.h5"))


def finished_images(args: argparse.Namespace) -> set[str]:
    """The sha256 of every image whose embedding is in a shard, or in an output that was kept."""
    files = [*shard_files(args), *args.shards.glob("*/finished-*.h5")]
    return {key for path in files for key in store.read_image_sha256(path)}


def test_killed_again_and_again_it_ends_with_the_same_file(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    table = make_set(tmp_path / "images", 120)
    bad = tmp_path / "images" / "bad.png"
    bad.write_bytes((tmp_path / "images" / "0000.png").read_bytes()[:60])
    table = pd.concat(
        [table.iloc[:30], pd.DataFrame([row(bad)]), table.iloc[30:]], ignore_index=True
    )
    whole = arguments(tmp_path, table, "whole")
    embed.run(whole)
    args = arguments(tmp_path, table, "killed")
    kills, random = 0, np.random.default_rng(0)
    for _ in range(100):
        before = finished_images(args)
        delay = random.uniform(1e-4, 0.03)
        code = in_a_child(args, lambda delay=delay: die_after(2, delay))
        # Nothing that was finished is lost, and nothing half-written has a real name.
        assert before <= finished_images(args)
        for path in shard_files(args):
            # 121 images: the last shard has one
            assert len(store.read_embeddings(path).image_id) in (1, 7, 8)
        if code == 0:
            break
        assert code == -signal.SIGPROF
        kills += 1
    assert code == 0
    assert kills >= 2
    assert digest(args.output) == digest(whole.output)
    assert not list(args.output.parent.glob(".*.h5"))


@pytest.mark.parametrize(
    ("module", "name", "call"),
    [(os, "link", 1), (os, "replace", 6), (Path, "unlink", 7), (Path, "unlink", 8)],
    ids=["before the link", "before the rename", "at a shard", "at the next shard"],
)
def test_killed_while_shards_that_the_output_holds_are_dropped(
    tmp_path: Path, monkeypatch, module: object, name: str, call: int
) -> None:
    args = arguments(tmp_path, make_set(tmp_path / "images", 20))
    images = set(pd.read_parquet(args.images)["sha256"])
    assert in_a_child(args, lambda: die_at(module, name, call)) == -signal.SIGKILL
    before = digest(args.output)
    assert finished_images(args) == images
    passes = count_passes(monkeypatch)
    embed.run(args)
    assert not passes
    assert digest(args.output) == before
    assert not shard_files(args)


def test_half_a_file_of_a_killed_process_is_removed(tmp_path: Path) -> None:
    args = arguments(tmp_path, make_set(tmp_path / "images", 3))
    (tmp_path / ".x.99999-0123abcd.h5").write_bytes(b"half")
    embed.run(args)
    assert not list(tmp_path.glob(".*.h5"))


def test_a_damaged_shard_is_made_again(tmp_path: Path, monkeypatch) -> None:
    counted = count_passes(monkeypatch)
    monkeypatch.setattr(shards.ShardCache, "keep_finished", lambda *_: None)
    args = arguments(tmp_path, make_set(tmp_path / "images", 20))
    embed.run(args)
    before = digest(args.output)
    broken = min(shard_files(args))
    broken.write_bytes(broken.read_bytes()[:-200])
    counted.clear()
    embed.run(args)
    assert 0 < sum(counted) <= 8
    assert digest(args.output) == before


def test_a_second_process_waits_or_is_refused(tmp_path: Path) -> None:
    entered = []
    with shards.opened(tmp_path, {"a": 1}):
        with (
            pytest.raises(UserError, match="another process"),
            shards.opened(tmp_path, {"a": 1}, wait=False),
        ):
            pass
        with shards.opened(tmp_path, {"a": 2}, wait=False):
            pass

        def wait() -> None:
            with shards.opened(tmp_path, {"a": 1}):
                entered.append(time.monotonic())

        thread = threading.Thread(target=wait)
        thread.start()
        time.sleep(0.2)
        assert not entered
        left = time.monotonic()
    thread.join(timeout=120)
    assert entered[0] >= left
