"""The embed verb stopped in the middle: killed again and again, half files, damaged shards, two at once."""

from __future__ import annotations

import argparse
import os
import signal
import threading
import time
import traceback
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


def in_a_child(args: argparse.Namespace) -> int:
    """Run the verb in a forked process (torch is loaded already, so it starts at once)."""
    pid = os.fork()
    if pid == 0:
        try:
            embed.run(args)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return pid


def shard_files(args: argparse.Namespace) -> set[Path]:
    return set(args.shards.glob("*/shard-*.h5"))


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
        before = shard_files(args)
        pid = in_a_child(args)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done or len(shard_files(args) - before) >= 2:
                break
            time.sleep(0.002)
        if done:
            assert os.waitstatus_to_exitcode(status) == 0
            break
        time.sleep(random.uniform(0, 0.03))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        kills += 1
        # Nothing that was finished is lost, and nothing half-written has a real name.
        assert before <= shard_files(args)
        for path in shard_files(args):
            # 121 images: the last shard has one
            assert len(store.read_embeddings(path).image_id) in (1, 7, 8)
    assert kills >= 3
    assert digest(args.output) == digest(whole.output)
    assert not list(args.output.parent.glob(".*.h5"))


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
    thread.join(timeout=20)
    assert entered[0] >= left
