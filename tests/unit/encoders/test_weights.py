"""Where an encoder's weights come from: seeds, files, catalogue names, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from clipsieve.encoders import load_encoder  # noqa: E402
from clipsieve.errors import UserError  # noqa: E402
from tests.helpers.small_encoders import IMAGES, config, relative  # noqa: E402


def test_the_seed_decides_random_weights_and_touches_no_other_generator() -> None:
    before = torch.get_rng_state()
    one, same, other = (load_encoder({"model": config(), "seed": s}) for s in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    assert one.identity == same.identity
    assert one.identity["weights_sha256"] != other.identity["weights_sha256"]
    np.testing.assert_array_equal(one.encode_images(IMAGES)[0], same.encode_images(IMAGES)[0])
    assert relative(other.encode_images(IMAGES)[0], one.encode_images(IMAGES)[0]) > 0.1


def test_weights_from_files(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    source = load_encoder({"model": config(), "seed": 9})
    state = {k: v.contiguous() for k, v in source.model.state_dict().items()}
    expected = source.encode_images(IMAGES)[0]
    save_file(state, tmp_path / "whole.safetensors")
    torch.save(state, tmp_path / "whole.pt")
    save_file(
        {k: v for k, v in state.items() if k.startswith("visual.")}, tmp_path / "image.safetensors"
    )
    for name in ("whole.safetensors", "whole.pt", "image.safetensors"):
        encoder = load_encoder({"model": config(), "weights": str(tmp_path / name)})
        np.testing.assert_array_equal(encoder.encode_images(IMAGES)[0], expected)
        assert encoder.has_text == name.startswith("whole")
        assert encoder.identity["weights"] == name
    with pytest.raises(UserError, match="no text tower"):
        encoder.encode_texts(["a photo"])
    other = config({"width": 24})
    for name in ("whole.safetensors", "image.safetensors"):
        with pytest.raises(UserError, match=r"encoder weights.*size mismatch"):
            load_encoder({"model": other, "weights": str(tmp_path / name)})
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "whole.safetensors").read_bytes()[:5000])
    with pytest.raises(UserError, match="damaged"):
        load_encoder({"model": config(), "weights": str(tmp_path / "cut.safetensors")})


class Evil:
    def __reduce__(self) -> tuple:
        return (Path("/tmp/clipsieve-was-here").touch, ())


def test_a_torch_file_with_code_in_it_is_refused(tmp_path: Path) -> None:
    torch.save({"visual.proj": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(UserError, match="encoder weights"):
        load_encoder({"model": config(), "weights": str(tmp_path / "evil.pt")})
    assert not Path("/tmp/clipsieve-was-here").exists()


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"model": "ViT-B-16", "weights": "openai"}, "use ViT-B-16-quickgelu"),
        ({"model": "ViT-L-14", "weights": "openai"}, "use ViT-L-14-quickgelu"),
        ({"model": "RN50", "weights": "openai"}, "use RN50-quickgelu"),
        ({"model": "ViT-B-32", "weights": "laion400m_e32"}, "use ViT-B-32-quickgelu"),
        ({"model": "ViT-B-32-quickgelu", "weights": "laion2b_s34b_b79k"}, "no tag of"),
        ({"model": "ViT-B16"}, "ViT-B-16"),
        ({"model": "ViT-B-16", "weights": "opnai"}, "tags: openai"),
        ({"model": "ViT-B-16", "weights": "none/x.safetensors"}, "no such file"),
        ({"model": "tiny", "weights": "x.onnx"}, "x.onnx"),
        ({"model": "tiny", "precision": "int8"}, "precision 'int8': one of float32"),
        ({"model": "tiny", "pooling": "max"}, "pooling 'max': one of"),
        ({"model": "tiny", "wieghts": None}, "unknown key 'wieghts'"),
        ({"model": "tiny", "seed": -1}, "seed -1"),
        ({"model": {"embed_dim": 3}}, "lacks 'text_cfg'"),
        ({"model": config({"no_such_key": 1})}, "open_clip refuses"),
        ({"weights": "openai"}, "encoder model None"),
    ],
)
def test_mistakes_are_named(spec: dict, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load_encoder(spec)
    assert "\n" not in str(caught.value)
