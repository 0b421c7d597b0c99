from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from clipsieve.cli.embed_texts import own_phrases  # noqa: E402
from clipsieve.encoders import load_encoder  # noqa: E402
from clipsieve.encoders.texts import can_be_cut, mark_duplicates, vocabulary_prompts  # noqa: E402

TEXT = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 4, "layers": 3}
VISION = {"image_size": 32, "layers": 1, "width": 16, "head_width": 8, "patch_size": 16}
TEXTS = [
    "cat",
    "a photograph of a very small cat that sits on a fence",
    "",
    "oil painting",
    "CAT",
    "!!!",
    "naïve café 猫",
    " ".join(["word"] * 120),
]


def config(text: dict, **more: object) -> dict:
    return {"embed_dim": 24, "vision_cfg": VISION, "text_cfg": TEXT | text, **more}


CUT = {
    "clip": config({}),
    "projection with bias": config({"proj_bias": True}, custom_text=True),
    "no projection": config({"proj_type": "none", "width": 24}, custom_text=True),
    "custom text tower": config({}, custom_text=True),
    "end token by id": config({"pool_type": "eos", "eos_id": 49407}),
}
FULL = {
    "last token": config({"pool_type": "last"}, custom_text=True),
    "class token": config({"embed_cls": True}, custom_text=True),
    "both ways": config({"no_causal_mask": True, "pool_type": "first"}, custom_text=True),
}


@pytest.mark.parametrize("name", [*CUT, *FULL])
def test_cut_prompts_equal_open_clips_full_length(name: str) -> None:
    encoder = load_encoder({"model": (CUT | FULL)[name], "seed": 4})
    assert can_be_cut(getattr(encoder.model, "text", encoder.model)) == (name in CUT)
    with torch.no_grad():
        expected = encoder.model.encode_text(encoder.tokenizer(TEXTS)).numpy()
    for batch_size in (1, 3, 100):
        found = encoder.encode_texts(TEXTS, batch_size=batch_size)
        error = np.linalg.norm(found - expected, axis=1) / np.linalg.norm(expected, axis=1)
        assert error.max() < 1e-5
    # The same tokens are encoded once.
    np.testing.assert_array_equal(found[0], found[4])


def test_cut_prompts_in_low_precision() -> None:
    wide = load_encoder({"model": config({}), "seed": 4}).encode_texts(TEXTS)
    narrow = load_encoder({"model": config({}), "seed": 4, "precision": "bfloat16"}).encode_texts(
        TEXTS
    )
    assert np.linalg.norm(narrow - wide) / np.linalg.norm(wide) < 0.02


def test_vocabulary_is_every_token_decoded() -> None:
    encoder = load_encoder({"model": "tiny"})
    tokenizer = encoder.tokenizer
    prompts, marks = vocabulary_prompts(tokenizer)
    assert len(prompts) == 49406
    # Independent: the tokenizer's own table of pieces, for words of plain letters.
    for token, piece in list(tokenizer.decoder.items())[5000:49000:997]:
        plain = piece.removesuffix("</w>")
        if plain.isascii() and plain.isalpha():
            assert prompts[token] == plain
    # A word with and without the end-of-word mark is the same prompt.
    first, second = tokenizer.encoder["cat"], tokenizer.encoder["cat</w>"]
    assert prompts[first] == prompts[second] == "cat"
    assert marks[max(first, second)] == min(first, second)
    repeated = np.flatnonzero(marks >= 0)
    assert 0 < len(repeated) < len(prompts) / 2
    assert (marks[marks[repeated]] == -1).all()


def test_near_duplicates() -> None:
    texts = [
        "Oil painting",
        "oil  painting",
        "oil painting.",
        "oil paintings",
        "!!!",
        "!!",
        "!!!",
        "Ｏｉｌ painting",
    ]
    assert mark_duplicates(texts).tolist() == [-1, 0, 0, -1, -1, -1, 4, 0]


def test_own_phrases_are_many_short_and_different() -> None:
    phrases = own_phrases()
    assert 300 <= len(phrases) <= 2000
    assert (mark_duplicates(phrases) == -1).all()
    assert all(phrase == phrase.strip() and 2 <= len(phrase) <= 60 for phrase in phrases)
    tokens = load_encoder({"model": "tiny"}).tokenizer(phrases)
    assert int((tokens != 0).sum(1).max()) <= 20


def test_no_texts_at_all() -> None:
    encoder = load_encoder({"model": "tiny"})
    assert encoder.encode_texts([]).shape == (0, encoder.embedding_size)
