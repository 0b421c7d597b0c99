"""Image sets embedded in parts: the bytes of one job, arrays that stay in parts, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from clipsieve.cli import embed, main
from clipsieve.errors import UserError
from clipsieve.io import parts, store
from clipsieve.io.dataset import read_rows
from clipsieve.io.layers import read_layers
from tests.helpers.embed_runs import (
    SPEC,
    arguments,
    count_passes,
    digest,
    make_set,
    row,
)

LAYERS = {"layers_dtype": "float16"}


def in_part(folder: Path, table, number: int, size: int, **changes: object):
    args = arguments(folder, table, f"part{number}", **LAYERS, **changes)
    args.part = [number, size]
    embed.run(args)
    return args.output


@pytest.mark.parametrize("size", [5, 8, 11])
def test_joined_parts_are_the_bytes_of_one_job(tmp_path: Path, size: int) -> None:
    table = make_set(tmp_path / "images", 20)
    embed.run(arguments(tmp_path, table, "whole", **LAYERS))
    # one part more than there are rows for, as where the count of a folder was too high
    count = parts.number_of_parts(len(table), size) + 1
    files = [in_part(tmp_path, table, number, size) for number in range(count)]
    assert len(store.read_embeddings(files[-1]).image_id) == 0
    joined = tmp_path / "joined.h5"
    command = ["join-embeddings", "--parts", *map(str, files), "--output", str(joined)]
    assert main(command) == 0
    assert digest(joined) == digest(tmp_path / "whole.h5")


def test_more_rows_than_are_copied_at_a_time(tmp_path: Path) -> None:
    """Blocks that end within parts: HDF5 keeps the order in which chunks were written."""
    rng = np.random.default_rng(0)
    embedding = rng.normal(size=(700, 3)).astype(np.float32)
    heads = rng.normal(size=(700, 2, 2, 3)).astype(np.float32)
    arrays = {"embedding": embedding, "heads": heads, "layers": embedding[:, None].repeat(2, 1)}
    ids = [f"{i:04d}" for i in range(700)]
    shared = {
        "head_basis": rng.normal(size=(2, 2, 3, 3)).astype(np.float32),
        "attributes": {"encoder": "e", "versions": {"b": "1", "a": "2"}, "share": 0.5, "n": 3},
    }
    blocks = {name: np.split(array, [256, 512]) for name, array in arrays.items()}
    store.write_embeddings(
        tmp_path / "whole.h5", image_id=ids, image_sha256=ids, **blocks, **shared
    )
    files = []
    for start, stop in ((0, 300), (300, 310), (310, 700)):
        files.append(tmp_path / f"{start}.h5")
        part = {name: array[start:stop] for name, array in arrays.items()}
        names = ids[start:stop]
        store.write_embeddings(files[-1], image_id=names, image_sha256=names, **part, **shared)
    assert parts.join(files, tmp_path / "joined.h5") == 700
    assert digest(tmp_path / "joined.h5") == digest(tmp_path / "whole.h5")


def test_readers_do_not_notice_that_arrays_stay_in_parts(tmp_path: Path, monkeypatch) -> None:
    table = make_set(tmp_path / "images", 13)
    embed.run(arguments(tmp_path, table, "whole", **LAYERS))
    files = [in_part(tmp_path, table, number, 5) for number in range(3)]
    target = tmp_path / "moved" / "virtual.h5"
    parts.join(files, target, virtual=True)
    whole, virtual = tmp_path / "whole.h5", target
    monkeypatch.chdir("/")  # where the process stands does not matter
    one, other = store.read_embeddings(whole), store.read_embeddings(virtual)
    assert one.image_id.tolist() == other.image_id.tolist()
    np.testing.assert_array_equal(one.embedding, other.embedding)
    np.testing.assert_array_equal(store.read_image_sha256(whole), store.read_image_sha256(virtual))
    assert store.has_heads(virtual)
    assert store.heads_shape(whole) == store.heads_shape(virtual)
    np.testing.assert_array_equal(store.read_head_basis(whole), store.read_head_basis(virtual))
    rows = np.array([12, 0, 4, 5, 9])
    for read in (
        lambda path: store.read_heads(path),
        lambda path: store.read_heads(path, [(1, 2), (0, 0)], rows),
        lambda path: read_layers(path, [1], rows),
        lambda path: store.read_rows(path, rows)[0],
        lambda path: store.read_rows(path, rows)[2],
    ):
        np.testing.assert_array_equal(read(whole), read(virtual))
    assert virtual.stat().st_size < whole.stat().st_size / 2
    splits = tmp_path / "virtual.parquet"
    frame = table[["image_id"]].assign(group="g", label=1, generator=None, split="train")
    frame.to_parquet(splits)
    found = read_rows([virtual], [splits], ("train",), "x")
    np.testing.assert_array_equal(found.embedding, one.embedding)
    files[1].unlink()
    with pytest.raises(UserError, match=r"virtual\.h5: its part \.\./part1\.h5 is gone"):
        store.read_embeddings(virtual)


def test_damage_in_a_part_is_noticed_through_the_whole(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    files = []
    for number in range(2):
        files.append(tmp_path / f"{number}.h5")
        ids = [f"{number}{k}" for k in range(40)]
        array = rng.normal(size=(40, 64)).astype(np.float32)
        store.write_embeddings(files[-1], image_id=ids, image_sha256=ids, embedding=array)
    parts.join(files, tmp_path / "v.h5", virtual=True)
    data = bytearray(files[1].read_bytes())
    place = data.index(array[7].tobytes())
    data[place + 9] ^= 0x40
    files[1].write_bytes(data)
    with pytest.raises(UserError, match=r"v\.h5: damaged"):
        store.read_embeddings(tmp_path / "v.h5")


def test_added_images_are_embedded_in_the_last_part_alone(tmp_path: Path, monkeypatch) -> None:
    import pandas as pd

    table = make_set(tmp_path / "images", 8)
    for number in range(2):
        in_part(tmp_path, table, number, 5)
    before = digest(tmp_path / "part0.h5")
    passes = count_passes(monkeypatch)
    make_set(tmp_path / "images", 1, start=8)
    path = next((tmp_path / "images").glob("0008.*"))
    more = pd.concat([table, pd.DataFrame([row(path)]).astype({"problem": "string"})])
    for number in range(2):
        (tmp_path / f"part{number}.h5").unlink()
        in_part(tmp_path, more, number, 5)
    assert passes == [1]
    assert digest(tmp_path / "part0.h5") == before
    assert len(store.read_embeddings(tmp_path / "part1.h5").image_id) == 4


def test_parts_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    table = make_set(tmp_path / "images", 6)
    first = in_part(tmp_path, table, 0, 3)
    again = in_part(tmp_path, table, 1, 3, spec=SPEC.replace('"width": 24', '"width": 32'))
    with pytest.raises(UserError, match=r"part1\.h5: .* is not that of .*part0\.h5"):
        parts.join([first, again], tmp_path / "x.h5")
    with pytest.raises(UserError, match="an image is in two parts"):
        parts.join([first, first], tmp_path / "x.h5")
    beyond = in_part(tmp_path, table, 2, 3)
    with pytest.raises(UserError, match="no part has an image"):
        parts.join([beyond], tmp_path / "x.h5")
    with pytest.raises(UserError, match="--part -1 3: a number from 0"):
        in_part(tmp_path, table, -1, 3)
    assert not (tmp_path / "x.h5").exists()
