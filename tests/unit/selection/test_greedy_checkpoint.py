"""A search survives kill -9 and goes on to the same list, bit by bit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from clipsieve.errors import UserError
from clipsieve.selection import greedy_elimination
from clipsieve.selection.greedy import checkpoint as greedy_checkpoint


def data(seed=0, n=150, m=80, d=60):
    rng = np.random.default_rng(seed)
    y, yv = np.arange(n) % 2, np.arange(m) % 2
    X, V = rng.standard_normal((n, d)) + 1, rng.standard_normal((m, d)) + 1
    shift = rng.standard_normal(d) * 0.3
    X[y == 0] += shift
    V[yv == 0] += shift + 0.3 * rng.standard_normal(d)
    return X, y, V, yv


def same(a, b):
    for name in (
        "removed",
        "scores",
        "kept",
        "ties",
        "ties_exact",
        "certified",
        "log_losses",
        "refinements",
    ):
        left, right = getattr(a, name), getattr(b, name)
        assert left.dtype == right.dtype, name
        assert left.tobytes() == right.tobytes(), name
    assert a.params == b.params
    assert a.initial_score == b.initial_score


SCRIPT = """
import sys
import numpy as np
from clipsieve.selection import greedy_elimination
sys.path.insert(0, sys.argv[3])
from test_greedy_checkpoint import data
def step(*_):
    # goes on when it is told to, so it never finishes before the parent has killed it
    print("step", flush=True)
    sys.stdin.readline()
greedy_elimination(*data(), checkpoint=sys.argv[1], progress=step)
"""


def test_kill_at_any_moment(tmp_path):
    """Killed again and again, at a random moment or right after a step; then finished here."""
    rng = np.random.default_rng(7)
    path = tmp_path / "search.jsonl"
    found = 0
    for _ in range(5):
        with subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(path), "", os.path.dirname(__file__)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as child:
            assert child.stdin is not None
            assert child.stdout is not None
            for _ in range(int(rng.integers(1, 10))):
                assert child.stdout.readline() == "step\n"
                child.stdin.write("\n")
                child.stdin.flush()
            time.sleep(float(rng.uniform(0, 0.005)))
            child.send_signal(signal.SIGKILL)
            child.wait()
            assert child.returncode == -signal.SIGKILL
        before, found = found, len(greedy_checkpoint.read(path, greedy_checkpoint_key(path))[0])
        assert found > before
    same(greedy_elimination(*data(), checkpoint=path), greedy_elimination(*data()))


def greedy_checkpoint_key(path):
    head = greedy_checkpoint.decode(path.read_bytes().splitlines(keepends=True)[0])
    assert head is not None
    return head["key"]


@pytest.mark.parametrize("cut", [1, 5, 37, 200, 1001, 3000])
def test_a_file_cut_anywhere_resumes(tmp_path, cut):
    small = data(1, 60, 40, 14)
    path = tmp_path / "search.jsonl"
    whole = greedy_elimination(*small, checkpoint=path)
    text = path.read_bytes()
    path.write_bytes(text[: min(cut, len(text) - 3)])
    same(greedy_elimination(*small, checkpoint=path), whole)
    assert path.read_bytes() == text


def test_a_broken_line_and_what_follows_is_done_again(tmp_path):
    small = data(1, 60, 40, 14)
    path = tmp_path / "search.jsonl"
    whole = greedy_elimination(*small, checkpoint=path)
    text = path.read_bytes()
    lines = text.splitlines(keepends=True)
    lines[4] = lines[4].replace(b'"ties":', b'"tiez":')
    path.write_bytes(b"".join(lines))
    same(greedy_elimination(*small, checkpoint=path), whole)
    assert path.read_bytes() == text


def test_a_shorter_search_is_gone_on_with(tmp_path):
    small = data(1, 60, 40, 14)
    path = tmp_path / "search.jsonl"
    greedy_elimination(*small, checkpoint=path, stop_at=9)
    steps = []
    whole = greedy_elimination(*small, checkpoint=path, progress=lambda *a: steps.append(a[0]))
    assert steps == list(range(6, 14))
    same(whole, greedy_elimination(*small))
    short = greedy_elimination(*small, checkpoint=path, stop_at=9)
    np.testing.assert_array_equal(short.removed, whole.removed[:5])


def test_other_data_or_parameters_are_refused(tmp_path):
    small = data(1, 60, 40, 14)
    path = tmp_path / "search.jsonl"
    greedy_elimination(*small, checkpoint=path, stop_at=10)
    before = path.read_bytes()
    other = (small[0] + 1e-9, *small[1:])
    for arguments, options in ((other, {}), (small, {"C": 2.0}), (small, {"tie": "first"})):
        with pytest.raises(UserError, match="other data or parameters"):
            greedy_elimination(*arguments, checkpoint=path, **options)
    assert path.read_bytes() == before


def test_a_file_that_is_no_side_file_is_left_alone(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("not a search\n")
    with pytest.raises(UserError, match="not a side file"):
        greedy_elimination(*data(1, 60, 40, 14), checkpoint=path)
    assert path.read_text() == "not a search\n"


def test_a_second_process_is_kept_out(tmp_path):
    path = tmp_path / "search.jsonl"
    with greedy_checkpoint.opened(path, "key"), pytest.raises(UserError, match="another process"):
        greedy_elimination(*data(1, 60, 40, 14), checkpoint=path)


def test_packing_keeps_every_bit():
    values = np.array([0.1, -0.0, 1e-310, np.pi, 1e308])
    assert greedy_checkpoint.unpack(greedy_checkpoint.pack(values)).tobytes() == values.tobytes()
