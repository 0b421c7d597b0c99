"""The embed verb end to end: resuming, killing, adding images, bad images, one and two workers."""

from __future__ import annotations

import argparse
import hashlib
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
from PIL import Image  # noqa: E402

from clipsieve import store  # noqa: E402
from clipsieve.cli import embed  # noqa: E402
from clipsieve.encoders import load_encoder, shards  # noqa: E402
from clipsieve.encoders.encoder import Encoder  # noqa: E402
from clipsieve.errors import UserError  # noqa: E402
from clipsieve.json_option import json_object  # noqa: E402

SPEC = (
    '{"model": {"embed_dim": 16, "vision_cfg": {"image_size": 32, "layers": 2, "width": 24,'
    ' "head_width": 8, "patch_size": 16}, "text_cfg": {"vocab_size": 4, "width": 8, "heads": 1,'
    ' "layers": 1}}}'
)


def make_set(root: Path, count: int, start: int = 0) -> pd.DataFrame:
    root.mkdir(exist_ok=True)
    rows = []
    for i in range(start, start + count):
        path = root / f"{i:04d}.{'jpg' if i % 3 else 'png'}"
        pixels = np.random.default_rng(i).integers(0, 256, (6, 7, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((50, 40)).save(path)
        rows.append(row(path))
    return pd.DataFrame(rows).astype({"problem": "string"})


def row(path: Path, problem: str | None = None) -> dict:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return {"image_id": f"s/{path.name}", "path": path.name, "sha256": digest, "problem": problem}


def arguments(
    folder: Path, table: pd.DataFrame, name: str = "x", **changes: object
) -> argparse.Namespace:
    images = folder / f"{name}.parquet"
    table.to_parquet(images)
    parser = argparse.ArgumentParser()
    embed.add_arguments(parser)
    options: dict = {
        "images": images,
        "data-root": folder / "images",
        "image-set": "s",
        "encoder": "small",
        "spec": SPEC,
        "batch-size": 4,
        "shard-size": 8,
        "threads": 1,
        "shards": folder / f"{name}-shards",
        "output": folder / f"{name}.h5",
        "problems": folder / f"{name}-problems.parquet",
    }
    options |= {key.replace("_", "-"): value for key, value in changes.items()}
    return parser.parse_args([part for k, v in options.items() for part in (f"--{k}", str(v))])


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def counted(monkeypatch) -> list[int]:
    """How many images each forward pass saw."""
    passes: list[int] = []
    honest = Encoder.encode_pixels

    def counting(self: Encoder, pixels: torch.Tensor, pad: bool = False) -> tuple:
        passes.append(len(pixels))
        return honest(self, pixels, pad)

    monkeypatch.setattr(Encoder, "encode_pixels", counting)
    return passes


def test_the_file_holds_what_the_encoder_gives(tmp_path: Path) -> None:
    table = make_set(tmp_path / "images", 10)
    args = arguments(tmp_path, table)
    embed.run(args)
    found = store.read_embeddings(args.output)
    encoder = load_encoder(json_object(SPEC, "--spec"))
    images = [Image.open(tmp_path / "images" / p).convert("RGB") for p in table["path"]]
    embedding, heads = encoder.encode_images(images)
    assert list(found.image_id) == list(table["image_id"])
    np.testing.assert_allclose(found.embedding, embedding, atol=1e-6)
    np.testing.assert_allclose(store.read_heads(args.output), heads, atol=1e-6)
    np.testing.assert_array_equal(store.read_head_basis(args.output), encoder.head_basis())
    for key in ("model", "weights_sha256", "preprocessing", "precision", "versions", "encoder"):
        assert key in found.attributes
    assert pd.read_parquet(args.problems).empty


def test_workers_threads_shards_and_batches_change_no_byte(tmp_path: Path) -> None:
    table = make_set(tmp_path / "images", 21)
    outputs = []
    for name, changes in {
        "a": {"workers": 1},
        "b": {"workers": 2},
        "c": {"shard_size": 12},
    }.items():
        args = arguments(tmp_path, table, name, **changes)
        embed.run(args)
        outputs.append(digest(args.output))
    assert len(set(outputs)) == 1


def test_added_images_are_the_only_ones_embedded(tmp_path: Path, counted: list[int]) -> None:
    table = make_set(tmp_path / "images", 20)
    embed.run(arguments(tmp_path, table))
    first = store.read_embeddings(tmp_path / "x.h5")
    (tmp_path / "x.h5").unlink()  # as Snakemake does before it runs a rule again
    counted.clear()
    more = make_set(tmp_path / "images", 3, start=20)
    both = pd.concat([more.iloc[:1], table, more.iloc[1:]], ignore_index=True)
    embed.run(arguments(tmp_path, both))
    assert sum(counted) == 3
    second = store.read_embeddings(tmp_path / "x.h5")
    assert list(second.image_id) == list(both["image_id"])
    np.testing.assert_array_equal(second.embedding[1:21], first.embedding)
    embed.run(arguments(tmp_path, both, "fresh"))
    assert digest(tmp_path / "fresh.h5") == digest(tmp_path / "x.h5")
    counted.clear()
    (tmp_path / "x.h5").unlink()
    embed.run(arguments(tmp_path, table.iloc[5:15]))
    assert counted == []
    np.testing.assert_array_equal(
        store.read_embeddings(tmp_path / "x.h5").embedding, first.embedding[5:15]
    )


def test_a_finished_set_takes_its_room_once(tmp_path: Path) -> None:
    args = arguments(tmp_path, make_set(tmp_path / "images", 20))
    embed.run(args)
    kept = list(args.shards.glob("*/*.h5"))
    assert len(kept) == 1
    assert kept[0].samefile(args.output)
    embed.run(args)
    assert [p.samefile(args.output) for p in args.shards.glob("*/*.h5")] == [True]


def test_without_hard_links_the_shards_stay(
    tmp_path: Path, monkeypatch, counted: list[int]
) -> None:
    def no_links(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", no_links)
    args = arguments(tmp_path, make_set(tmp_path / "images", 20))
    embed.run(args)
    assert len(list(args.shards.glob("*/shard-*.h5"))) == 3
    before = digest(args.output)
    counted.clear()
    embed.run(args)
    assert counted == []
    assert digest(args.output) == before


def test_another_encoder_or_background_shares_nothing(tmp_path: Path, counted: list[int]) -> None:
    table = make_set(tmp_path / "images", 6)
    embed.run(arguments(tmp_path, table))
    for changes in (
        {"spec": SPEC[:-1] + ', "seed": 1}'},
        {"background": "0,0,0"},
        {"heads_dtype": "float16"},
    ):
        counted.clear()
        embed.run(arguments(tmp_path, table, **changes))
        assert sum(counted) == 6


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


def test_a_damaged_shard_is_made_again(tmp_path: Path, monkeypatch, counted: list[int]) -> None:
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


def bad_files(root: Path) -> list[dict]:
    good = (root / "0000.png").read_bytes()
    contents = {
        "empty.png": b"",
        "cut.png": good[: len(good) // 2],
        "page.jpg": b"<html>not found</html>",
        "changed.png": good + b"x",
    }
    rows = []
    for name, data in contents.items():
        (root / name).write_bytes(data)
        rows.append(row(root / name))
    (root / "changed.png").write_bytes(good)
    rows.append({"image_id": "s/gone.png", "path": "gone.png", "sha256": "0" * 64, "problem": None})
    rows.append(
        {"image_id": "s/known.png", "path": "known.png", "sha256": None, "problem": "too small"}
    )
    return rows


def test_bad_images_are_left_out_each_with_a_row(tmp_path: Path) -> None:
    table = make_set(tmp_path / "images", 9)
    bad = pd.DataFrame(bad_files(tmp_path / "images"))
    mixed = pd.concat([table.iloc[:4], bad, table.iloc[4:]], ignore_index=True)
    args = arguments(tmp_path, mixed, on_problem="skip")
    for _ in range(2):
        embed.run(args)
        assert list(store.read_embeddings(args.output).image_id) == list(table["image_id"])
        problems = pd.read_parquet(args.problems).set_index("path")["problem"]
        assert set(problems.index) == set(bad["path"])
        assert problems["empty.png"] == "empty file"
        assert problems["gone.png"] == "no such file"
        assert "sha256 differs" in problems["changed.png"]
        assert problems["known.png"] == "too small"
    with pytest.raises(UserError, match=r"empty\.png: empty file"):
        embed.run(arguments(tmp_path, mixed, "strict", on_problem="error"))


def test_the_same_picture_twice_is_embedded_once(tmp_path: Path, counted: list[int]) -> None:
    table = make_set(tmp_path / "images", 5)
    twin = tmp_path / "images" / "twin.png"
    twin.write_bytes((tmp_path / "images" / "0000.png").read_bytes())
    both = pd.concat([table, pd.DataFrame([row(twin)])], ignore_index=True)
    embed.run(arguments(tmp_path, both))
    assert sum(counted) == 5
    found = store.read_embeddings(tmp_path / "x.h5").embedding
    np.testing.assert_array_equal(found[0], found[5])


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


def test_float16_heads_are_near_and_half_the_size(tmp_path: Path) -> None:
    table = make_set(tmp_path / "images", 12)
    for dtype in ("float32", "float16", "none"):
        embed.run(arguments(tmp_path, table, dtype, heads_dtype=dtype))
    wide, narrow = (store.read_heads(tmp_path / f"{d}.h5") for d in ("float32", "float16"))
    assert 0 < np.linalg.norm(narrow - wide) / np.linalg.norm(wide) < 1e-3
    assert not store.has_heads(tmp_path / "none.h5")


def test_memory_is_bounded_by_the_batch_not_the_set() -> None:
    from clipsieve.encoders.pipeline import Job, batches

    alive = {"now": 0, "most": 0}
    lock = threading.Lock()

    class Pixels(torch.Tensor):
        pass

    def preprocess(_: Image.Image) -> torch.Tensor:
        with lock:
            alive["now"] += 1
            alive["most"] = max(alive["most"], alive["now"])
        return torch.zeros(3, 2, 2)

    import io

    buffer = io.BytesIO()
    Image.new("RGB", (3, 3)).save(buffer, "PNG")
    data = buffer.getvalue()

    class Memory(type(Path())):
        def read_bytes(self) -> bytes:
            return data

    jobs = [Job(hashlib.sha256(data).hexdigest(), Memory(str(i))) for i in range(500)]
    seen = []
    for batch in batches(jobs, preprocess, batch_size=5, workers=3):
        seen += [job.path.name for job in batch.jobs]
        time.sleep(0.001)
        with lock:
            alive["now"] -= len(batch.jobs)
    assert seen == [str(i) for i in range(500)]
    assert alive["most"] <= 5 * 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"spec": "{"}, "--spec: not JSON"),
        ({"spec": "[]"}, "JSON object"),
        ({"background": "1,2"}, "--background"),
        ({"batch_size": 0}, "--batch-size"),
        ({"threads": 0}, "--threads 0"),
        ({"images": "none.parquet"}, r"none\.parquet: no such file"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, changes: dict, message: str) -> None:
    table = make_set(tmp_path / "images", 1)
    with pytest.raises(UserError, match=message):
        embed.run(arguments(tmp_path, table, **changes))


def test_tables_that_cannot_be_right(tmp_path: Path) -> None:
    table = make_set(tmp_path / "images", 2)
    with pytest.raises(UserError, match="lacks the column sha256"):
        embed.run(arguments(tmp_path, table.drop(columns="sha256")))
    with pytest.raises(UserError, match="twice"):
        embed.run(arguments(tmp_path, pd.concat([table, table])))
    with pytest.raises(UserError, match="no image that can be embedded"):
        embed.run(arguments(tmp_path, table.assign(problem="broken")))
