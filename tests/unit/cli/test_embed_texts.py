from __future__ import annotations

import argparse
import hashlib
import io
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from clipsieve.cli import embed_texts as embed_text  # noqa: E402
from clipsieve.encoders import load_encoder  # noqa: E402
from clipsieve.errors import UserError  # noqa: E402
from clipsieve.io import store  # noqa: E402


def parsed(folder: Path, kind: str, *more: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    embed_text.add_arguments(parser)
    fixed = ["--encoder", "tiny", "--spec", '{"model": "tiny"}', "--threads", "1"]
    places = ["--cache", str(folder / "cache"), "--output", str(folder / "t.h5")]
    return parser.parse_args([*fixed, *places, "--kind", kind, *more])


def test_own_phrases(tmp_path: Path) -> None:
    embed_text.run(parsed(tmp_path, "phrases"))
    found = store.read_texts(tmp_path / "t.h5")
    assert list(found.text) == embed_text.own_phrases()
    encoder = load_encoder({"model": "tiny"})
    with torch.no_grad():
        expected = encoder.model.encode_text(encoder.tokenizer(list(found.text[:5]))).numpy()
    np.testing.assert_allclose(found.embedding[:5], expected, atol=1e-5 * np.abs(expected).max())
    assert found.attributes["weights_sha256"] == encoder.identity["weights_sha256"]


def test_the_whole_vocabulary(tmp_path: Path) -> None:
    args = parsed(tmp_path, "vocabulary")
    args.spec = (
        '{"model": {"embed_dim": 4, "vision_cfg": {"image_size": 16, "layers": 1, "width": 8,'
        ' "head_width": 8, "patch_size": 16}, "text_cfg": {"width": 8, "heads": 1, "layers": 1}}}'
    )
    embed_text.run(args)
    found = store.read_texts(tmp_path / "t.h5")
    assert len(found.text) == 49406
    assert "photograph" in set(found.text)
    repeats = np.flatnonzero(found.duplicate_of >= 0)
    assert len(repeats) > 1000


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("\ufeffein Haus\n\n  a dog \r\nA dog\n猫", encoding="utf-8")
    embed_text.run(parsed(tmp_path, "file", "--file", str(tmp_path / "mine.txt")))
    found = store.read_texts(tmp_path / "t.h5")
    assert list(found.text) == ["ein Haus", "a dog", "A dog", "猫"]
    assert found.duplicate_of.tolist() == [-1, -1, 1, -1]


@pytest.mark.parametrize(
    ("content", "message"), [(b"", "no text"), (b"\xff\xfe\xfa", "UTF-8"), (None, "can't be read")]
)
def test_files_that_will_not_do(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "mine.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        embed_text.run(parsed(tmp_path, "file", "--file", str(path)))


def test_a_list_is_fetched_with_consent_and_hash_alone(tmp_path: Path, monkeypatch) -> None:
    data = b"a red house\na blue house\n"
    calls = []

    def answer(url: str, timeout: float) -> io.BytesIO:
        calls.append(url)
        return io.BytesIO(data)

    monkeypatch.setattr("urllib.request.urlopen", answer)
    address = ["--url", "https://example.org/list.txt"]
    right = ["--sha256", hashlib.sha256(data).hexdigest()]
    with pytest.raises(UserError, match="licence"):
        embed_text.run(parsed(tmp_path, "url", *address, *right))
    with pytest.raises(UserError, match="https"):
        embed_text.run(parsed(tmp_path, "url", "--url", "http://x/y", *right, "--consent"))
    with pytest.raises(UserError, match="needs --url and --sha256"):
        embed_text.run(parsed(tmp_path, "url", "--consent"))
    assert not calls
    with pytest.raises(UserError, match=rf"is {right[1]} \(2 lines\): if it is the right list"):
        embed_text.run(parsed(tmp_path, "url", *address, "--consent"))
    assert len(calls) == 1
    with pytest.raises(UserError, match="sha256 is"):
        embed_text.run(parsed(tmp_path, "url", *address, "--sha256", "0" * 64, "--consent"))
    assert not list((tmp_path / "cache").rglob("*.txt"))
    for _ in range(2):
        embed_text.run(parsed(tmp_path, "url", *address, *right, "--consent"))
    assert len(calls) == 3
    assert list(store.read_texts(tmp_path / "t.h5").text) == ["a red house", "a blue house"]


def test_an_encoder_without_texts_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    state = load_encoder({"model": "tiny"}).model.state_dict()
    save_file(
        {k: v for k, v in state.items() if k.startswith("visual.")}, tmp_path / "v.safetensors"
    )
    args = parsed(tmp_path, "phrases")
    args.spec = f'{{"model": "tiny", "weights": "{tmp_path}/v.safetensors"}}'
    with pytest.raises(UserError, match="encoder tiny: its weights hold no text tower"):
        embed_text.run(args)
