"""Faster ways: the same pixels from every decoder, embeddings within the stated tolerance, own GPUs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from clipsieve.cli import embed  # noqa: E402
from clipsieve.encoders import devices, load_encoder, speed  # noqa: E402
from clipsieve.encoders.speed import speed_up  # noqa: E402
from clipsieve.errors import UserError  # noqa: E402
from clipsieve.io import store  # noqa: E402
from tests.helpers.embed_runs import arguments, digest, make_set  # noqa: E402
from tests.helpers.small_encoders import IMAGES, TOWERS, config, relative  # noqa: E402


def test_threads_and_processes_give_the_same_bytes(tmp_path: Path) -> None:
    table = make_set(tmp_path / "images", 10)
    bad = table.iloc[[0]].assign(image_id="s/bad", path="bad.png")
    (tmp_path / "images" / "bad.png").write_bytes(b"no picture")
    import hashlib

    import pandas as pd

    bad["sha256"] = hashlib.sha256(b"no picture").hexdigest()
    table = pd.concat([table, bad])
    for decoder in ("threads", "processes"):
        options = {"decoder": decoder, "workers": 2, "on_problem": "skip"}
        embed.run(arguments(tmp_path, table, decoder, **options))
    assert digest(tmp_path / "threads.h5") == digest(tmp_path / "processes.h5")
    problems = [
        pd.read_parquet(tmp_path / f"{d}-problems.parquet") for d in ("threads", "processes")
    ]
    pd.testing.assert_frame_equal(*problems)
    assert problems[0]["image_id"].tolist() == ["s/bad"]


@pytest.mark.parametrize("name", list(TOWERS))
def test_without_heads_the_embedding_has_the_same_bits(name: str) -> None:
    encoder = load_encoder({"model": TOWERS[name], "seed": 1})
    pixels = torch.stack([encoder.preprocess(image) for image in IMAGES])
    whole = encoder.encode(pixels, pad=True)
    plain = encoder.encode(pixels, pad=True, heads=False)
    assert whole.heads is not None
    assert plain.heads is None
    np.testing.assert_array_equal(whole.embedding, plain.embedding)


@pytest.mark.parametrize(
    "model", [{"timm": "convnext_atto"}, TOWERS["registers"], TOWERS["pool attention"], config()]
)
def test_channels_last_stays_within_the_tolerance(model: dict) -> None:
    encoder = load_encoder({"model": model, "seed": 1})
    before = encoder.encode_images(IMAGES)
    identity = dict(encoder.identity)
    found = speed_up(encoder, channels_last=True)
    assert found <= speed.SPEED_TOLERANCE["float32"]
    after = encoder.encode_images(IMAGES)
    assert relative(after[0], before[0]) < 1e-5
    if before[1] is not None:
        assert relative(after[1], before[1]) < 1e-5
    assert encoder.identity == {**identity, "channels_last": True}
    weights = [m.weight for m in encoder.model.visual.modules() if isinstance(m, torch.nn.Conv2d)]
    assert weights[0].is_contiguous(memory_format=torch.channels_last)


def test_a_compiled_tower_stays_within_the_tolerance() -> None:
    encoder = load_encoder({"model": TOWERS["CLS token, LayerScale"], "seed": 1})
    pixels = torch.stack([encoder.preprocess(image) for image in IMAGES])
    before = encoder.encode(pixels, pad=True).embedding
    speed_up(encoder, compiled=True)
    assert encoder.identity["compiled"]
    assert relative(encoder.encode(pixels, pad=True, heads=False).embedding, before) < 1e-5


def test_what_cannot_be_compiled_is_refused(tmp_path: Path) -> None:
    encoder = load_encoder({"model": config()})
    with pytest.raises(UserError, match="--compile: not for inline with pooling cls_projected"):
        speed_up(encoder, compiled=True)
    args = arguments(tmp_path, make_set(tmp_path / "images", 1))
    args.compile = True
    with pytest.raises(UserError, match="neither head outputs nor layers"):
        embed.run(args)


def test_a_way_that_moves_the_embedding_too_far_is_refused(monkeypatch) -> None:
    encoder = load_encoder({"model": TOWERS["CLIP"], "seed": 1})
    honest = type(encoder).encode
    calls = []

    def drifting(self, pixels, **options):
        found = honest(self, pixels, **options)
        calls.append(1)
        return type(found)(found.embedding * (1 + 1e-4 * (len(calls) > 1)), None, None)

    monkeypatch.setattr(type(encoder), "encode", drifting)
    with pytest.raises(UserError, match=r"by 1\.0e-04 of its length; allowed is 1e-05"):
        speed_up(encoder, channels_last=True)


TAKE = """
import sys, time
from pathlib import Path
from clipsieve.encoders.devices import take_device
print(take_device(2, Path(sys.argv[1])), flush=True)
sys.stdin.read()
"""


def test_each_process_takes_a_gpu_of_its_own_and_frees_it_as_it_ends(tmp_path: Path) -> None:
    def start() -> subprocess.Popen:
        command = [sys.executable, "-c", TAKE, str(tmp_path)]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)

    processes = []
    try:
        for _ in range(3):
            processes.append(start())
            processes[-1].number = int(processes[-1].stdout.readline())
        assert [process.number for process in processes[:2]] == [0, 1]
        assert processes[2].number in (0, 1)  # shared, since both are taken
        processes[0].kill()
        processes[0].wait()
        processes.append(start())
        assert int(processes[3].stdout.readline()) == 0
    finally:
        for process in processes:
            process.kill()
            process.wait()


def test_one_gpu_is_not_locked_and_a_process_keeps_its_own(tmp_path: Path, monkeypatch) -> None:
    assert devices.take_device(1, tmp_path) == 0
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(devices, "_HELD", {})
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, 5")
    assert devices.take_device(2, tmp_path) == devices.take_device(2, tmp_path) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["3.lock"]
    for lock in devices._HELD.values():
        lock.release()


def test_pixels_that_are_embedded_with_layers_are_stored(tmp_path: Path) -> None:
    from clipsieve.io.layers import read_layers
    from tests.helpers.embed_runs import SPEC

    table = make_set(tmp_path / "images", 5)
    embed.run(arguments(tmp_path, table, "with", layers_dtype="float32"))
    embed.run(arguments(tmp_path, table, "without"))
    import json

    from PIL import Image

    encoder = load_encoder(json.loads(SPEC))
    images = [Image.open(tmp_path / "images" / p).convert("RGB") for p in table["path"]]
    pixels = torch.stack([encoder.preprocess(image) for image in images])
    expected = encoder.encode(pixels, pad=True, layers=True)
    np.testing.assert_array_equal(read_layers(tmp_path / "with.h5"), expected.layers)
    one, other = (store.read_embeddings(tmp_path / f"{n}.h5") for n in ("with", "without"))
    np.testing.assert_array_equal(one.embedding, other.embedding)
    assert one.attributes["layers_dtype"] == "float32"
    assert "layers_dtype" not in other.attributes
