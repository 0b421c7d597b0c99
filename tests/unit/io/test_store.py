from __future__ import annotations

import hashlib
import itertools
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipsieve.errors import UserError
from clipsieve.io import store

RNG = np.random.default_rng(0)
N, D, L, H, K = 150, 12, 3, 4, 8
EMBEDDING = RNG.normal(size=(N, D)).astype(np.float32)
HEADS = RNG.normal(size=(N, L, H, K)).astype(np.float32)
BASIS = RNG.normal(size=(L, H, K, K)).astype(np.float32)
IDS = [f"set/é {i}.png" for i in range(N)]


def write(path: Path, **changes: object) -> Path:
    arguments: dict = {
        "image_id": IDS,
        "embedding": EMBEDDING,
        "heads": HEADS,
        "head_basis": BASIS,
        "attributes": {
            "model": "m",
            "seed": 3,
            "preprocessing": {"size": 224, "mean": [0.5, 0.25]},
        },
    }
    store.write_embeddings(path, **(arguments | changes))
    return path


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5")
    found = store.read_embeddings(path)
    assert list(found.image_id) == IDS
    assert found.embedding.dtype == np.float32
    np.testing.assert_array_equal(found.embedding, EMBEDDING)
    assert found.attributes["preprocessing"] == {"size": 224, "mean": [0.5, 0.25]}
    assert found.attributes["seed"] == 3
    assert store.has_heads(path)
    assert store.heads_shape(path) == HEADS.shape
    np.testing.assert_array_equal(store.read_heads(path), HEADS)
    np.testing.assert_array_equal(store.read_head_basis(path), BASIS)


def test_some_heads_and_rows_in_the_order_asked(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5")
    wanted = [(2, 1), (0, 3), (2, 0)]
    rows = np.array([100, 3, 3, 77])
    expected = np.stack([HEADS[rows, layer, head] for layer, head in wanted], axis=1)
    np.testing.assert_array_equal(store.read_heads(path, wanted, rows), expected)
    mask = np.arange(N) % 7 == 0
    np.testing.assert_array_equal(store.read_heads(path, rows=mask), HEADS[mask])
    embedding, heads, layers = store.read_rows(path, rows)
    assert layers is None
    np.testing.assert_array_equal(embedding, EMBEDDING[rows])
    np.testing.assert_array_equal(heads, HEADS[rows])
    with pytest.raises(UserError, match=r"no head \(3, 0\)"):
        store.read_heads(path, [(3, 0)])


def test_blocks_and_the_whole_give_the_same_bytes(tmp_path: Path) -> None:
    whole = write(tmp_path / "a.h5")
    cuts = [0, 1, 65, 129, N]
    spans = list(itertools.pairwise(cuts))
    blocks = write(
        tmp_path / "b.h5",
        embedding=(EMBEDDING[a:b] for a, b in spans),
        heads=(HEADS[a:b] for a, b in spans),
    )
    digests = {hashlib.sha256(p.read_bytes()).hexdigest() for p in (whole, blocks)}
    assert len(digests) == 1


def test_without_heads(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", heads=None, head_basis=None)
    assert not store.has_heads(path)
    for read in (store.read_heads, store.read_head_basis):
        with pytest.raises(UserError, match=r"a\.h5.*no head"):
            read(path)


def test_float16_heads_are_kept_narrow_and_read_wide(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", heads=HEADS.astype(np.float16))
    found = store.read_heads(path)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, HEADS.astype(np.float16).astype(np.float32))
    assert path.stat().st_size < write(tmp_path / "b.h5").stat().st_size


def test_every_flipped_byte_of_data_is_noticed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5")
    data = path.read_bytes()
    for array, read in ((EMBEDDING, store.read_embeddings), (HEADS[:64, 1], store.read_heads)):
        place = data.find(array.tobytes()[:64])
        assert place > 0
        broken = bytearray(data)
        broken[place + 5] ^= 0x10
        (tmp_path / "broken.h5").write_bytes(broken)
        with pytest.raises(UserError, match=r"broken\.h5.*damaged"):
            read(tmp_path / "broken.h5")


def test_ids_are_checksummed_too(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5")
    data = path.read_bytes()
    place = data.find(b"120.png")
    (tmp_path / "b.h5").write_bytes(data[:place] + b"121" + data[place + 3 :])
    with pytest.raises(UserError, match="damaged"):
        store.read_embeddings(tmp_path / "b.h5")


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_a_cut_file_is_refused_by_name(tmp_path: Path, share: float) -> None:
    data = write(tmp_path / "a.h5").read_bytes()
    (tmp_path / "cut.h5").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(UserError, match=r"cut\.h5"):
        store.read_embeddings(tmp_path / "cut.h5")


def test_missing_wrong_kind_and_other_version(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        store.read_embeddings(tmp_path / "none.h5")
    path = write(tmp_path / "a.h5")
    with pytest.raises(UserError, match="holds 'embeddings', not 'texts'"):
        store.read_texts(path)
    with h5py.File(path, "r+") as file:
        file.attrs["format_version"] = 999
    with pytest.raises(UserError, match="format version 999"):
        store.read_embeddings(path)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_infinity_are_refused_both_ways(tmp_path: Path, bad: float) -> None:
    broken = EMBEDDING.copy()
    broken[17, 3] = bad
    with pytest.raises(ValueError, match="NaN or infinite"):
        write(tmp_path / "a.h5", embedding=broken)
    assert not list(tmp_path.iterdir())
    path = write(tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        file["embedding"][17, 3] = bad
        file["heads"][5, 1, 1, 1] = bad
    for read in (store.read_embeddings, store.read_heads):
        with pytest.raises(UserError, match=r"a\.h5: NaN or infinite"):
            read(path)


def test_misfits_are_refused(tmp_path: Path) -> None:
    for changes in (
        {"image_id": [*IDS[:-1], IDS[0]]},
        {"image_id": IDS[:-1]},
        {"heads": HEADS[:-1]},
        {"head_basis": None},
        {"embedding": EMBEDDING[:-3], "heads": HEADS[:-3]},
    ):
        with pytest.raises(ValueError):  # noqa: PT011
            write(tmp_path / "a.h5", **changes)
    assert not list(tmp_path.iterdir())


@settings(max_examples=8, deadline=None)
@given(
    texts=st.lists(
        st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20),
        min_size=1,
        max_size=9,
    ),
    numbers=st.data(),
)
def test_texts_of_any_script_come_back(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], numbers: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("texts") / "t.h5"
    embedding = RNG.normal(size=(len(texts), 3)).astype(np.float32)
    marks = np.array([numbers.draw(st.integers(-1, i - 1)) for i in range(len(texts))])
    store.write_texts(path, text=texts, embedding=embedding, duplicate_of=marks)
    found = store.read_texts(path)
    assert list(found.text) == texts
    np.testing.assert_array_equal(found.embedding, embedding)
    np.testing.assert_array_equal(found.duplicate_of, marks)


def test_duplicate_marks_must_name_an_earlier_text(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="duplicate_of"):
        store.write_texts(
            tmp_path / "t.h5",
            text=["a", "b"],
            embedding=np.ones((2, 3)),
            duplicate_of=np.array([1, -1]),
        )


def test_head_maps(tmp_path: Path) -> None:
    projection = RNG.normal(size=(L, H, D, K)).astype(np.float32)
    path = tmp_path / "e.h5"
    store.write_head_maps(path, head_basis=BASIS, head_projection=projection)
    np.testing.assert_array_equal(store.read_head_maps(path).head_projection, projection)
    some = store.read_head_maps(path, [(2, 3), (0, 1)])
    np.testing.assert_array_equal(some.head_basis, np.stack([BASIS[2, 3], BASIS[0, 1]]))
    np.testing.assert_array_equal(store.read_head_basis(path), BASIS)
    store.write_head_maps(path, head_basis=None, head_projection=None)
    assert store.read_head_maps(path).head_basis is None


def test_reading_never_imports_torch() -> None:
    code = (
        "import sys, clipsieve.io.store, clipsieve.encoders, clipsieve.images.decode, clipsieve.demo.wheels,"
        " clipsieve.encoders.spec, clipsieve.cli.embed, clipsieve.cli.embed_texts, clipsieve.cli.weights;"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_matrix_that_all_heads_share_takes_its_room_once(tmp_path: Path) -> None:
    one = RNG.normal(size=(K, K)).astype(np.float32)
    shared = np.broadcast_to(one, (L, H, K, K))
    path = write(tmp_path / "a.h5", head_basis=shared)
    np.testing.assert_array_equal(store.read_head_basis(path), shared)
    maps = tmp_path / "maps.h5"
    store.write_head_maps(maps, head_basis=shared, head_projection=shared)
    some = store.read_head_maps(maps, [(2, 3), (0, 1)])
    np.testing.assert_array_equal(some.head_projection, np.stack([one, one]))
    for file in (path, maps):
        with h5py.File(file) as stored:
            assert stored["head_basis"].shape == (1, 1, K, K)
