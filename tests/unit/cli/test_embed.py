"""The embed verb end to end: what the file holds, added images, bad images, one and two workers."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch")
from PIL import Image  # noqa: E402

from clipsieve.cli import embed  # noqa: E402
from clipsieve.cli.options import json_object  # noqa: E402
from clipsieve.encoders import load_encoder  # noqa: E402
from clipsieve.errors import UserError  # noqa: E402
from clipsieve.io import store  # noqa: E402
from tests.helpers.embed_runs import (  # noqa: E402
    SPEC,
    arguments,
    count_passes,
    digest,
    make_set,
    row,
)


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


def test_added_images_are_the_only_ones_embedded(tmp_path: Path, monkeypatch) -> None:
    counted = count_passes(monkeypatch)
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


def test_without_hard_links_the_shards_stay(tmp_path: Path, monkeypatch) -> None:
    counted = count_passes(monkeypatch)

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


def test_another_encoder_or_background_shares_nothing(tmp_path: Path, monkeypatch) -> None:
    counted = count_passes(monkeypatch)
    table = make_set(tmp_path / "images", 6)
    embed.run(arguments(tmp_path, table))
    for changes in (
        {"spec": SPEC[:-1] + ', "seed": 1}'},
        {"background": "0,0,0"},
        {"colour_profiles": "srgb"},
        {"heads_dtype": "float16"},
    ):
        counted.clear()
        embed.run(arguments(tmp_path, table, **changes))
        assert sum(counted) == 6
        if "colour_profiles" in changes:  # an exported detector takes it from there
            facts = store.read_attributes(tmp_path / "x.h5")
            assert facts["colour_profiles"] == "srgb"


def bad_files(root: Path) -> list[dict]:
    good = (root / "0000.png").read_bytes()
    contents = {
        "empty.png": b"",
        "cut.png": good[: len(good) // 2],
        "page.jpg": b"<html>not found</html>",
    }
    rows = []
    for name, data in contents.items():
        (root / name).write_bytes(data)
        rows.append(row(root / name))
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
        assert problems["known.png"] == "too small"
    with pytest.raises(UserError, match=r"known\.png: too small"):
        embed.run(arguments(tmp_path, mixed, "strict", on_problem="error"))
    unknown = mixed[mixed["problem"].isna()]
    with pytest.raises(UserError, match=r"empty\.png: empty file"):
        embed.run(arguments(tmp_path, unknown, "strict", on_problem="error"))


@pytest.mark.parametrize("what", ["away", "another"])
def test_a_file_that_cannot_be_read_stops_embed_and_is_read_when_it_is_back(
    tmp_path: Path, what: str
) -> None:
    table = make_set(tmp_path / "images", 9)
    path = tmp_path / "images/0003.png"
    kept = path.read_bytes()
    if what == "away":
        path.unlink()
    else:
        path.write_bytes(kept + b"x")
    args = arguments(tmp_path, table, on_problem="skip")
    with pytest.raises(UserError, match=r"0003\.png: (can't be read|changed since)"):
        embed.run(args)
    path.write_bytes(kept)
    embed.run(args)
    assert list(store.read_embeddings(args.output).image_id) == list(table["image_id"])


def test_heads_that_are_asked_for_must_be_there(tmp_path: Path) -> None:
    table = make_set(tmp_path / "images", 2)
    spec = SPEC.replace('"layers": 2', '"layers": 2, "pool_type": "avg"')
    with pytest.raises(
        UserError, match=r"encoder small: no head outputs, since .*has_heads: false"
    ):
        embed.run(arguments(tmp_path, table, spec=spec, heads_dtype="float32"))
    embed.run(arguments(tmp_path, table, spec=spec))
    assert not store.has_heads(tmp_path / "x.h5")


def test_the_same_picture_twice_is_embedded_once(tmp_path: Path, monkeypatch) -> None:
    counted = count_passes(monkeypatch)
    table = make_set(tmp_path / "images", 5)
    twin = tmp_path / "images" / "twin.png"
    twin.write_bytes((tmp_path / "images" / "0000.png").read_bytes())
    both = pd.concat([table, pd.DataFrame([row(twin)])], ignore_index=True)
    embed.run(arguments(tmp_path, both))
    assert sum(counted) == 5
    found = store.read_embeddings(tmp_path / "x.h5").embedding
    np.testing.assert_array_equal(found[0], found[5])


def test_float16_heads_are_near_and_half_the_size(tmp_path: Path) -> None:
    table = make_set(tmp_path / "images", 12)
    for dtype in ("float32", "float16", "none"):
        embed.run(arguments(tmp_path, table, dtype, heads_dtype=dtype))
    wide, narrow = (store.read_heads(tmp_path / f"{d}.h5") for d in ("float32", "float16"))
    assert 0 < np.linalg.norm(narrow - wide) / np.linalg.norm(wide) < 1e-3
    assert not store.has_heads(tmp_path / "none.h5")


def test_memory_is_bounded_by_the_batch_not_the_set(monkeypatch: pytest.MonkeyPatch) -> None:
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

    monkeypatch.setattr("clipsieve.encoders.pipeline.read_image_bytes", lambda path: data)
    jobs = [Job(hashlib.sha256(data).hexdigest(), Path(str(i))) for i in range(500)]
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
    with pytest.raises(UserError, match="no column 'sha256'"):
        embed.run(arguments(tmp_path, table.drop(columns="sha256")))
    with pytest.raises(UserError, match="twice"):
        embed.run(arguments(tmp_path, pd.concat([table, table])))
    with pytest.raises(UserError, match="no image that can be embedded"):
        embed.run(arguments(tmp_path, table.assign(problem="broken")))
