"""The commands that take over embeddings of images and of texts: what the files hold, and refusals."""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

from clipsieve.cli import embed_texts, encoder, import_embeddings
from clipsieve.errors import UserError
from clipsieve.io import store

RNG = np.random.default_rng(5)
IDS = [f"s/{i}.png" for i in range(4)]


def arguments(module: ModuleType, **options: object) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    words = []
    for key, value in options.items():
        words += [f"--{key.replace('_', '-')}", *([] if value == "" else [str(value)])]
    return parser.parse_args(words)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    table = pd.DataFrame({"image_id": IDS, "path": IDS, "sha256": [str(i) * 64 for i in range(4)]})
    table["problem"] = pd.array([None, None, "damaged", None], dtype="string")
    table.to_parquet(tmp_path / "s.parquet")
    np.savez(
        tmp_path / "s.npz",
        image_id=IDS[::-1],
        embedding=np.arange(4.0, 0, -1)[:, None] * np.ones(3),
        heads=RNG.normal(size=(4, 2, 2, 3)).astype(np.float32),
    )
    return tmp_path


def images(folder: Path, **changes: object) -> argparse.Namespace:
    options = {
        "images": folder / "s.parquet",
        "image_set": "s",
        "encoder": "mine",
        "source": folder / "s.npz",
        "output": folder / "s.h5",
    }
    return arguments(import_embeddings, **(options | changes))


def test_a_file_is_taken_over_in_the_order_of_the_table(folder: Path) -> None:
    import_embeddings.run(images(folder, heads=""))
    found = store.read_embeddings(folder / "s.h5")
    assert list(found.image_id) == [IDS[0], IDS[1], IDS[3]]
    np.testing.assert_array_equal(found.embedding[:, 0], [1, 2, 4])
    assert list(store.read_image_sha256(folder / "s.h5")) == ["0" * 64, "1" * 64, "3" * 64]
    digest = hashlib.sha256((folder / "s.npz").read_bytes()).hexdigest()
    assert found.attributes["source_sha256"] == digest
    assert found.attributes["encoder"] == "mine"
    given = np.load(folder / "s.npz")["heads"]
    np.testing.assert_array_equal(store.read_heads(folder / "s.h5"), given[[3, 2, 0]])
    np.testing.assert_array_equal(store.read_head_basis(folder / "s.h5")[1, 1], np.eye(3))
    import_embeddings.run(images(folder))
    assert not store.has_heads(folder / "s.h5")


def test_heads_that_are_asked_for_must_be_there(folder: Path) -> None:
    np.savez(folder / "s.npz", image_id=IDS, embedding=np.ones((4, 3)))
    with pytest.raises(UserError, match="has_heads: false"):
        import_embeddings.run(images(folder, heads=""))


def test_layers_are_taken_over_where_they_are_asked_for(folder: Path) -> None:
    from clipsieve.io.layers import layers_shape, read_layers

    layers = RNG.normal(size=(4, 2, 6)).astype(np.float16)
    shared = {"image_id": IDS[::-1], "embedding": np.ones((4, 3))}
    np.savez(folder / "s.npz", layers=layers, **shared)
    import_embeddings.run(images(folder, layers=""))
    np.testing.assert_array_equal(read_layers(folder / "s.h5"), layers[[3, 2, 0]])
    import_embeddings.run(images(folder))
    assert layers_shape(folder / "s.h5") is None
    np.savez(folder / "s.npz", **shared)
    with pytest.raises(UserError, match=r"no layers in it .*has_layers: false"):
        import_embeddings.run(images(folder, layers=""))
    for wrong, said in (
        (layers[:, 0], r"layers has shape \[4, 6\]"),
        (layers * np.nan, "layers: NaN"),
    ):
        np.savez(folder / "s.npz", layers=wrong, **shared)
        with pytest.raises(UserError, match=said):
            import_embeddings.run(images(folder))


def test_an_encoder_of_embeddings_has_no_head_maps(folder: Path) -> None:
    encoder.run(arguments(encoder, spec='{"embeddings": "arrays"}', output=folder / "maps.h5"))
    assert store.read_head_maps(folder / "maps.h5").head_basis is None


def test_texts_are_taken_over_with_their_vectors(folder: Path, caplog) -> None:
    import_embeddings.run(images(folder))
    vectors = RNG.normal(size=(3, 3))
    vectors[2] = vectors[0]
    np.savez(folder / "t.npz", text=["A dog", "a cat", "a  dog."], embedding=vectors)
    options = {
        "encoder": "mine",
        "spec": '{"embeddings": "arrays"}',
        "kind": "embeddings",
        "file": folder / "t.npz",
        "embeddings": folder / "s.h5",
        "output": folder / "t.h5",
    }
    embed_texts.run(arguments(embed_texts, **options))
    found = store.read_texts(folder / "t.h5")
    assert list(found.text) == ["A dog", "a cat", "a  dog."]
    assert list(found.duplicate_of) == [-1, -1, 0]
    np.testing.assert_allclose(found.embedding, vectors, rtol=1e-6)
    assert "1 vectors stand under more than one text" in caplog.text
    np.savez(folder / "t.npz", text=["a"], embedding=np.ones((1, 4)))
    with pytest.raises(
        UserError, match="vectors of 4 numbers; embeddings of images by mine have 3"
    ):
        embed_texts.run(arguments(embed_texts, **options))
    del options["embeddings"]
    with pytest.raises(UserError, match="needs --file and --embeddings"):
        embed_texts.run(arguments(embed_texts, **options))
