"""Weights of a quantised ONNX export, in files that onnx itself writes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from clipsieve.demo.convert import (
    dequantised_parameters,
    open_clip_image_tower,
    read_onnx,
    weights_of,
)
from clipsieve.errors import UserError

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

RNG = np.random.default_rng(0)


def quantised(**changes: np.ndarray) -> onnx.ModelProto:
    tensors = {
        "w_quantized": RNG.integers(-128, 128, (4, 3)).astype(np.int8),
        "w_scale": np.array([0.5, 2.0, 0.25], np.float32),
        "w_zero_point": np.zeros(3, np.int8),
        "vision_model.bias": RNG.normal(size=3).astype(np.float32),
        "another.bias": np.zeros(3, np.float32),
    } | changes
    nodes = [
        helper.make_node(
            "MatMulInteger",
            ["x", "w_quantized", "z", "w_zero_point"],
            ["y"],
            name="/a/fc1/MatMul_quant",
        ),
        # of two activations: no weight
        helper.make_node("MatMulInteger", ["x", "y"], ["s"], name="/a/scores/MatMul_quant"),
    ]
    weights = [numpy_helper.from_array(array, name) for name, array in tensors.items()]
    return helper.make_model(helper.make_graph(nodes, "g", [], [], initializer=weights))


def test_dequantising_is_scale_times_integer() -> None:
    model = quantised()
    found = dequantised_parameters(model)
    assert set(found) == {"a.fc1.weight", "vision_model.bias"}
    for row in range(4):
        for column, scale in enumerate((0.5, 2.0, 0.25)):
            integer = weights_of(model)["w_quantized"][row, column]
            assert found["a.fc1.weight"][row, column] == integer * scale


def test_a_file_holds_the_same(tmp_path: Path) -> None:
    model = quantised()
    onnx.save(model, tmp_path / "m.onnx")
    found = dequantised_parameters(read_onnx(tmp_path / "m.onnx"))
    for name, array in dequantised_parameters(model).items():
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize("content", [b"", b"not an onnx file at all", bytes(50)])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.onnx").write_bytes(content)
    with pytest.raises(UserError, match=r"x\.onnx: not a readable ONNX file"):
        read_onnx(tmp_path / "x.onnx")


def test_weights_in_another_file_are_not_followed(tmp_path: Path) -> None:
    model = quantised()
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../secret")
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(UserError, match=r"m\.onnx: not a readable ONNX file"):
        read_onnx(tmp_path / "m.onnx")


def test_a_cut_file_is_refused(tmp_path: Path) -> None:
    onnx.save(quantised(), tmp_path / "m.onnx")
    data = (tmp_path / "m.onnx").read_bytes()
    (tmp_path / "cut.onnx").write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match="not a readable ONNX file"):
        read_onnx(tmp_path / "cut.onnx")


def test_quantisation_of_another_kind_is_refused() -> None:
    with pytest.raises(UserError, match=r"a\.fc1\.weight: zero points other than 0"):
        dequantised_parameters(quantised(w_zero_point=np.array([0, 1, 0], np.int8)))
    with pytest.raises(UserError, match=r"a\.fc1\.weight: no scale per output channel"):
        dequantised_parameters(quantised(w_scale=np.ones(4, np.float32)))


def test_missing_and_left_over_parameters_are_named() -> None:
    with pytest.raises(UserError, match=r"class_embedding is missing"):
        open_clip_image_tower({})
