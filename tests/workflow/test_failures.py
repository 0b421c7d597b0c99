"""Long commands cut off by a kill, a full disk, damaged files: the end result has the same bytes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from clipsieve.io import store
from clipsieve.io.tables import write_table
from tests.slurm.project import make_images

SPEC = json.dumps({"model": "tiny", "weights": None, "seed": 0})
COLUMNS = 120  # a search that is long enough to be stopped in the middle


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "CLIPSIEVE_LOG": "INFO"}


def start(*command: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "clipsieve", *map(str, command)],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # what runs behind a shell's & ignores Ctrl-C, and its children do, too
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def finish(process: subprocess.Popen[str], code: int = 0) -> str:
    printed, _ = process.communicate(timeout=400)
    assert process.returncode == code, printed
    return printed


def clipsieve(*command: object, code: int = 0) -> str:
    return finish(start(*command), code)


def stop_when(process: subprocess.Popen[str], seen: Callable[[], bool], how: int) -> None:
    """Send a signal as soon as something can be seen; the process must still be at work then."""
    end = time.monotonic() + 300
    while not seen():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end
        time.sleep(0.002)
    process.send_signal(how)
    if how == signal.SIGSTOP:
        # it stops a moment later, and may save something until then
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    assert process.poll() in (None, -how)


@dataclass(frozen=True)
class Work:
    """A long command: its options without the output, and the bytes that it makes undisturbed."""

    options: tuple[object, ...]
    suffix: str
    undisturbed: bytes

    def command(self, folder: Path) -> tuple[object, ...]:
        more = ("--shards", folder / "shards") if self.options[0] == "embed" else ()
        return (*self.options, *more, "--output", self.output(folder))

    def output(self, folder: Path) -> Path:
        return folder / f"result{self.suffix}"

    def progress(self, folder: Path) -> int:
        """How much is saved: shards of an embed, bytes of a search's side file."""
        if self.options[0] == "embed":
            return len(list(folder.rglob("shard-*.h5")))
        return sum(path.stat().st_size for path in folder.glob(".result.*.checkpoint"))

    def under_way(self, folder: Path) -> bool:
        return self.progress(folder) >= (2 if self.options[0] == "embed" else 6_000)

    def leftovers(self, folder: Path) -> list[str]:
        """Return the names below the folder that are neither the output nor meant to stay."""
        names = [path.name for path in folder.rglob("*") if path.is_file()]
        stay = (self.output(folder).name, "lock", "finished-")
        return [name for name in names if not name.startswith(stay) and not name.endswith(".lock")]


@pytest.fixture(scope="module")
def embed(tmp_path_factory: pytest.TempPathFactory) -> Work:
    """Embed 48 images in six shards."""
    folder = tmp_path_factory.mktemp("embed")
    make_images(folder / "data", count=48)
    table = folder / "photos.parquet"
    clipsieve(
        "scan", "--image-set", "photos", "--folder", folder / "data/photos",
        "--data-root", folder / "data", "--label", 1, "--source", "photos", "--output", table,
    )  # fmt: skip
    options = (
        "embed", "--images", table, "--data-root", folder / "data", "--image-set", "photos",
        "--encoder", "tiny", "--spec", SPEC, "--threads", 1, "--batch-size", 8,
        "--shard-size", 8,
    )  # fmt: skip
    return undisturbed(options, ".h5", folder)


@pytest.fixture(scope="module")
def search(tmp_path_factory: pytest.TempPathFactory) -> Work:
    """Search COLUMNS columns in one direction, on made-up embeddings."""
    folder = tmp_path_factory.mktemp("search")
    random = np.random.default_rng(7)
    sides: dict[str, list[Path]] = {"embeddings": [], "splits": []}
    for name, label, shift in (("a", 0, 0.35), ("real", 1, 0.0), ("b", 0, 0.2)):
        rows = random.normal(size=(300, COLUMNS)).astype(np.float32)
        rows[:, ::7] += shift
        ids = [f"{name}/{i}" for i in range(len(rows))]
        h5 = folder / f"{name}.h5"
        store.write_embeddings(h5, image_id=ids, embedding=rows)
        splits = pd.DataFrame(
            {
                "image_id": ids,
                "group": [str(i) for i in range(len(rows))],
                "label": label,
                "generator": None if label else name,
                "split": [("train", "train", "val", "test")[i % 4] for i in range(len(rows))],
            }
        )
        write_table(splits, folder / f"{name}.parquet")
        sides["embeddings"].append(h5)
        sides["splits"].append(folder / f"{name}.parquet")
    options = (
        "search",
        "--train-embeddings", *sides["embeddings"][:2], "--train-splits", *sides["splits"][:2],
        "--val-embeddings", *sides["embeddings"][:0:-1], "--val-splits", *sides["splits"][:0:-1],
    )  # fmt: skip
    return undisturbed(options, ".parquet", folder)


def undisturbed(options: tuple[object, ...], suffix: str, folder: Path) -> Work:
    work = Work(options, suffix, b"")
    place = folder / "undisturbed"
    place.mkdir()
    clipsieve(*work.command(place))
    return Work(options, suffix, work.output(place).read_bytes())


@pytest.fixture(params=["embed", "search"])
def work(request: pytest.FixtureRequest) -> Work:
    return request.getfixturevalue(request.param)


def test_killed_in_the_middle_goes_on_from_there(work: Work, tmp_path: Path) -> None:
    process = start(*work.command(tmp_path))
    stop_when(process, lambda: work.under_way(tmp_path), signal.SIGKILL)
    process.wait()
    assert not work.output(tmp_path).exists()
    saved = work.progress(tmp_path)
    printed = clipsieve(*work.command(tmp_path))
    if work.options[0] == "embed":
        assert f"photos: {8 * saved} of 48 images are done" in printed
    assert work.output(tmp_path).read_bytes() == work.undisturbed
    assert work.leftovers(tmp_path) == []


def test_killed_again_and_again(search: Work, tmp_path: Path) -> None:
    for _ in range(3):
        process = start(*search.command(tmp_path))
        before = search.progress(tmp_path)

        def further(before: int = before) -> bool:
            return search.progress(tmp_path) > before

        stop_when(process, further, signal.SIGKILL)
        process.wait()
    clipsieve(*search.command(tmp_path))
    assert search.output(tmp_path).read_bytes() == search.undisturbed


def test_two_at_once_never_write_over_each_other(work: Work, tmp_path: Path) -> None:
    """The first is stopped while it holds the lock; the second must wait for it or refuse."""
    first = start(*work.command(tmp_path))
    stop_when(first, lambda: work.under_way(tmp_path), signal.SIGSTOP)
    saved = work.progress(tmp_path)
    second = start(*work.command(tmp_path))
    try:
        time.sleep(6 if work.options[0] == "embed" else 3)
        assert work.progress(tmp_path) == saved
        assert not work.output(tmp_path).exists()
    finally:
        first.send_signal(signal.SIGCONT)
    finish(first)
    second.communicate(timeout=400)
    assert second.returncode in (0, 2)
    assert work.output(tmp_path).read_bytes() == work.undisturbed


def test_interrupted_command_says_so_and_keeps_its_work(search: Work, tmp_path: Path) -> None:
    process = start(*search.command(tmp_path))
    stop_when(process, lambda: search.under_way(tmp_path), signal.SIGINT)
    printed = finish(process, 130)
    assert "finished work is kept" in printed
    assert search.progress(tmp_path) > 0
    clipsieve(*search.command(tmp_path))
    assert search.output(tmp_path).read_bytes() == search.undisturbed


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        reason = f"no tmpfs can be mounted here: {done.stderr.strip()}"
        if "CLIPSIEVE_REQUIRE_ALL" in os.environ:
            pytest.fail(reason)
        pytest.skip(reason)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill(folder: Path, room: int) -> Path:
    """Take all but `room` kB of a file system; return the file that does."""
    ballast = folder / "ballast"
    ballast.write_bytes(bytes(shutil.disk_usage(folder).free - room * 1024))
    return ballast


def check_full_disk(work: Work, folder: Path, room: int) -> None:
    ballast = fill(folder, room)
    process = start(*work.command(folder))
    printed, _ = process.communicate(timeout=400)
    assert process.returncode
    assert f"clipsieve {work.options[0]}: No space left on the device" in printed
    assert not work.output(folder).exists()
    ballast.unlink()
    clipsieve(*work.command(folder))
    assert work.output(folder).read_bytes() == work.undisturbed
    assert work.leftovers(folder) == []


def test_full_disk_in_the_middle_of_embed(embed: Work, small_disk: Path) -> None:
    check_full_disk(embed, small_disk, room=80)


@pytest.mark.parametrize("room", [4, 16], ids=lambda kilobytes: f"{kilobytes}kB")
def test_full_disk_in_search(search: Work, small_disk: Path, room: int) -> None:
    check_full_disk(search, small_disk, room)


def test_half_written_embeddings_are_refused_by_name(search: Work, tmp_path: Path) -> None:
    """A copy that broke off: the reader names the file and writes nothing."""
    options = list(search.options)
    whole = Path(str(options[2]))
    half = tmp_path / whole.name
    data = whole.read_bytes()
    options[2] = half
    damaged = Work(tuple(options), search.suffix, search.undisturbed)
    for cut in (len(data) // 2, len(data) - 100, 0):
        half.write_bytes(data[:cut])
        printed = clipsieve(*damaged.command(tmp_path), code=2)
        assert str(half) in printed
        assert "Traceback" not in printed
        assert not damaged.output(tmp_path).exists()
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 0xFF
    half.write_bytes(flipped)
    assert str(half) in clipsieve(*damaged.command(tmp_path), code=2)
    half.write_bytes(data)
    clipsieve(*damaged.command(tmp_path))
    assert damaged.output(tmp_path).read_bytes() == search.undisturbed


def test_damaged_shards_are_made_again(embed: Work, tmp_path: Path) -> None:
    process = start(*embed.command(tmp_path))
    stop_when(process, lambda: embed.progress(tmp_path) >= 3, signal.SIGKILL)
    process.wait()
    first, second, *_ = sorted(tmp_path.rglob("shard-*.h5"))
    first.write_bytes(first.read_bytes()[:1000])
    data = bytearray(second.read_bytes())
    data[-200] ^= 0xFF
    second.write_bytes(data)
    clipsieve(*embed.command(tmp_path))
    assert embed.output(tmp_path).read_bytes() == embed.undisturbed


def test_damaged_result_is_made_again_once_it_is_deleted(embed: Work, tmp_path: Path) -> None:
    """The cache of finished work shares the output's bytes on disk, damage included."""
    clipsieve(*embed.command(tmp_path))
    output = embed.output(tmp_path)
    rows = store.read_embeddings(output).embedding.tobytes()
    position = output.read_bytes().index(rows[:256]) + 40
    with open(output, "r+b") as handle:
        handle.seek(position)
        byte = handle.read(1)[0]
        handle.seek(position)
        handle.write(bytes([byte ^ 0x10]))
    output.unlink()
    clipsieve(*embed.command(tmp_path))
    assert output.read_bytes() == embed.undisturbed
