"""Arrays that others made: three formats, matched with an image table, and everything wrong named."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from clipsieve.errors import UserError
from clipsieve.io import imported

RNG = np.random.default_rng(4)
IDS = [f"sd14/{i}.png" for i in range(6)]
EMBEDDING = RNG.normal(size=(6, 5)).astype(np.float32)
HEADS = RNG.normal(size=(6, 2, 3, 4)).astype(np.float16)
TABLE = pd.DataFrame(
    {
        "image_id": IDS,
        "path": [f"folder/sd14/{i}.png" for i in range(6)],
        "problem": pd.array([None] * 5 + ["damaged"], dtype="string"),
    }
)


def save(target: Path, /, **arrays: object) -> Path:
    if target.suffix == ".npz":
        np.savez(target, **arrays)
    elif target.suffix == ".parquet":
        columns = {k: list(v) if k == "embedding" else v for k, v in arrays.items()}
        pd.DataFrame(columns).to_parquet(target)
    else:
        with h5py.File(target, "w") as file:
            for name, array in arrays.items():
                texts = name in ("image_id", "path", "text")
                file[name] = np.array(array, dtype=h5py.string_dtype()) if texts else array
    return target


@pytest.mark.parametrize("ending", [".npz", ".h5", ".parquet"])
@pytest.mark.parametrize("key", ["image_id", "path", "in folder"])
def test_rows_are_found_by_id_or_path_in_any_order(tmp_path: Path, ending: str, key: str) -> None:
    order = np.array([4, 0, 5, 2, 1, 3])
    names = {
        "image_id": IDS,
        "path": TABLE["path"].tolist(),
        "in folder": [i.partition("/")[2] for i in IDS],
    }[key]
    name = "image_id" if key == "image_id" else "path"
    arrays = {name: np.array(names)[order], "embedding": EMBEDDING[order].astype(np.float64)}
    found = imported.read_images(save(tmp_path / f"a{ending}", **arrays))
    assert found.embedding.dtype == np.float32
    rows = imported.match_rows(found, TABLE, "a")
    np.testing.assert_array_equal(found.embedding[rows], EMBEDDING[:5])


def test_heads_keep_their_type_and_have_the_identity_for_a_basis(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npz", image_id=IDS, embedding=EMBEDDING, heads=HEADS)
    found = imported.read_images(path)
    assert found.heads.dtype == np.float16
    np.testing.assert_array_equal(found.heads, HEADS)
    np.testing.assert_array_equal(found.head_basis[1, 2], np.eye(4))
    basis = RNG.normal(size=(2, 3, 4, 4))
    path = save(tmp_path / "b.h5", image_id=IDS, embedding=EMBEDDING, heads=HEADS, head_basis=basis)
    np.testing.assert_allclose(imported.read_images(path).head_basis, basis, rtol=1e-6)


def nan_at(array: np.ndarray, value: float = np.nan) -> np.ndarray:
    changed = array.copy()
    changed.reshape(-1)[3] = value
    return changed


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_id": None}, "neither image_id nor path"),
        ({"embedding": None}, "no embedding in it"),
        ({"embedding": EMBEDDING[:4]}, r"shape \[4, 5\] for 6 names"),
        ({"embedding": EMBEDDING[:, :1]}, "D at least 2"),
        ({"embedding": nan_at(EMBEDDING)}, "embedding: NaN"),
        ({"embedding": EMBEDDING.astype(str)}, "numbers are wanted"),
        ({"embedding": EMBEDDING * (np.arange(6) != 2)[:, None]}, "the vector of row 2 is zero"),
        ({"image_id": [*IDS[:5], IDS[0]]}, "'sd14/0.png' stands twice"),
        ({"heads": HEADS[:, 0]}, r"heads has shape \[6, 3, 4\]"),
        ({"heads": nan_at(HEADS, np.inf)}, "heads: NaN or infinite"),
        ({"heads": HEADS, "head_basis": np.zeros((2, 3, 4, 5))}, "head_basis has shape"),
        ({"head_basis": np.zeros((2, 3, 4, 4))}, "head_basis without heads"),
    ],
)
def test_what_is_wrong_with_a_file_is_named(tmp_path: Path, changes: dict, message: str) -> None:
    arrays = {"image_id": np.array(IDS), "embedding": EMBEDDING} | changes
    path = save(tmp_path / "a.npz", **{k: v for k, v in arrays.items() if v is not None})
    with pytest.raises(UserError, match=message):
        imported.read_images(path)


def test_files_that_are_not_what_they_should_be(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(b"PK nonsense")
    (tmp_path / "a.csv").write_text("image_id\n")
    np.savez(tmp_path / "p.npz", image_id=np.array([{"a": 1}], dtype=object), embedding=EMBEDDING)
    for name, message in (("a.npz", "can't be read"), ("a.csv", "must end in"), ("b.h5", "no such file"),
                          ("p.npz", "can't be read")):  # fmt: skip
        with pytest.raises(UserError, match=message):
            imported.read_images(tmp_path / name)
    uneven = pd.DataFrame({"image_id": ["a", "b"], "embedding": [[1.0, 2.0], [1.0]]})
    uneven.to_parquet(tmp_path / "u.parquet")
    with pytest.raises(UserError, match="different widths"):
        imported.read_images(tmp_path / "u.parquet")


def test_images_of_the_table_and_of_the_file_must_be_the_same(tmp_path: Path) -> None:
    few = imported.read_images(save(tmp_path / "a.npz", image_id=IDS[1:], embedding=EMBEDDING[1:]))
    with pytest.raises(UserError, match=r"1 of 5 images have no embedding.*'sd14/0\.png'"):
        imported.match_rows(few, TABLE, "a")
    strange = [*IDS[:5], "sd14/other.png"]
    found = imported.read_images(save(tmp_path / "b.npz", image_id=strange, embedding=EMBEDDING))
    with pytest.raises(UserError, match=r"1 of 6 images are not in the image table.*other\.png"):
        imported.match_rows(found, TABLE, "b")


def test_the_file_of_an_image_set(tmp_path: Path) -> None:
    save(tmp_path / "sd14.npz", image_id=IDS, embedding=EMBEDDING)
    assert imported.file_of(str(tmp_path), "sd14") == tmp_path / "sd14.npz"
    assert imported.file_of({"sd14": "x.h5"}, "sd14") == Path("x.h5")
    with pytest.raises(UserError, match="no file is named for the image set 'glide'"):
        imported.file_of({"sd14": "x.h5"}, "glide")
    with pytest.raises(UserError, match="no file of the image set 'glide'"):
        imported.file_of(str(tmp_path), "glide")
    save(tmp_path / "sd14.h5", image_id=IDS, embedding=EMBEDDING)
    with pytest.raises(UserError, match=r"sd14\.h5 and sd14\.npz"):
        imported.file_of(str(tmp_path), "sd14")


@pytest.mark.parametrize("ending", [".npz", ".h5", ".parquet"])
def test_texts_with_their_vectors(tmp_path: Path, ending: str) -> None:
    names = [f"a photo of {i}" for i in range(6)]
    texts, vectors = imported.read_texts(
        save(tmp_path / f"t{ending}", text=names, embedding=EMBEDDING)
    )
    assert texts == names
    np.testing.assert_array_equal(vectors, EMBEDDING)
    for changes, message in (
        ({"text": [*names[:5], names[0]]}, "stands twice"),
        ({"text": [*names[:5], " "]}, "a text is empty"),
        ({"embedding": np.zeros((6, 5))}, "is zero"),
    ):
        arrays = {"text": names, "embedding": EMBEDDING} | changes
        with pytest.raises(UserError, match=message):
            imported.read_texts(save(tmp_path / f"w{ending}", **arrays))
