"""The ONNX reader against messages written by Google's own protocol-buffer library."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from clipsieve.demo.convert import dequantised_parameters, open_clip_image_tower
from clipsieve.demo.onnx_reader import OnnxGraph, OnnxNode, read_onnx
from clipsieve.errors import UserError

protobuf = pytest.importorskip("google.protobuf")
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory  # noqa: E402

RNG = np.random.default_rng(0)
F = descriptor_pb2.FieldDescriptorProto
FIELDS = {
    "Tensor": [
        ("dims", 1, F.TYPE_INT64, True, None),
        ("data_type", 2, F.TYPE_INT32, False, None),
        ("float_data", 4, F.TYPE_FLOAT, True, None),
        ("int32_data", 5, F.TYPE_INT32, True, None),
        ("int64_data", 7, F.TYPE_INT64, True, None),
        ("name", 8, F.TYPE_STRING, False, None),
        ("raw_data", 9, F.TYPE_BYTES, False, None),
        ("doc_string", 12, F.TYPE_STRING, False, None),
        ("data_location", 14, F.TYPE_INT32, False, None),
    ],
    "Node": [
        ("input", 1, F.TYPE_STRING, True, None),
        ("output", 2, F.TYPE_STRING, True, None),
        ("name", 3, F.TYPE_STRING, False, None),
        ("op_type", 4, F.TYPE_STRING, False, None),
        ("domain", 7, F.TYPE_STRING, False, None),
    ],
    "Graph": [
        ("node", 1, F.TYPE_MESSAGE, True, ".t.Node"),
        ("name", 2, F.TYPE_STRING, False, None),
        ("initializer", 5, F.TYPE_MESSAGE, True, ".t.Tensor"),
    ],
    "Model": [
        ("ir_version", 1, F.TYPE_INT64, False, None),
        ("producer_name", 2, F.TYPE_STRING, False, None),
        ("graph", 7, F.TYPE_MESSAGE, False, ".t.Graph"),
    ],
}


def message_classes() -> dict:
    file = descriptor_pb2.FileDescriptorProto(name="t.proto", package="t", syntax="proto2")
    for name, fields in FIELDS.items():
        message = file.message_type.add(name=name)
        for field, number, kind, many, other in fields:
            label = F.LABEL_REPEATED if many else F.LABEL_OPTIONAL
            added = message.field.add(name=field, number=number, type=kind, label=label)
            if other:
                added.type_name = other
            if many and kind in (F.TYPE_FLOAT, F.TYPE_INT32):
                added.options.packed = True
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"t.{name}"))
        for name in FIELDS
    }


def model_file(path: Path) -> dict[str, np.ndarray]:
    kinds = message_classes()
    arrays = {
        "weights": RNG.normal(size=(3, 4, 2)).astype(np.float32),
        "bytes": RNG.integers(-128, 128, (5, 6)).astype(np.int8),
        "listed": RNG.normal(size=7).astype(np.float32),
        "small": np.array([-3, 0, 200000], np.int32),
        "shape": np.array([-1, 2**40], np.int64),
        "scalar": np.float32(2.5).reshape(()),
        "nothing": np.zeros((0, 3), np.float32),
    }
    model = kinds["Model"](ir_version=8, producer_name="test")
    model.graph.name = "g"
    model.graph.node.add(
        input=["x", "weights"], output=["y"], name="/a/b", op_type="MatMul", domain="d"
    )
    model.graph.node.add(op_type="Constant", output=["c"])
    for name, array in arrays.items():
        tensor = model.graph.initializer.add(name=name, dims=list(array.shape), doc_string="d")
        if name == "listed":
            tensor.data_type = 1
            tensor.float_data.extend(array.tolist())
        elif name == "small":
            tensor.data_type = 6
            tensor.int32_data.extend(array.tolist())
        elif name == "shape":
            # Not packed: proto2's default, one varint a value.
            tensor.data_type = 7
            tensor.raw_data = array.tobytes()
        else:
            tensor.data_type = 3 if array.dtype == np.int8 else 1
            tensor.raw_data = array.tobytes()
    path.write_bytes(model.SerializeToString())
    return arrays


def test_reads_what_protobuf_wrote(tmp_path: Path) -> None:
    arrays = model_file(tmp_path / "m.onnx")
    graph = read_onnx(tmp_path / "m.onnx")
    assert graph.nodes[0] == OnnxNode("MatMul", "/a/b", ("x", "weights"), ("y",))
    assert graph.nodes[1].op_type == "Constant"
    assert set(graph.tensors) == set(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(graph.tensors[name], array)
        assert graph.tensors[name].dtype == array.dtype


@pytest.mark.parametrize("content", [b"", b"not an onnx file at all", bytes(50)])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.onnx").write_bytes(content)
    with pytest.raises(UserError, match=r"x\.onnx: not a readable ONNX file"):
        read_onnx(tmp_path / "x.onnx")


def test_cut_files_are_refused(tmp_path: Path) -> None:
    model_file(tmp_path / "m.onnx")
    data = (tmp_path / "m.onnx").read_bytes()
    for share in (0.3, 0.6, 0.95):
        (tmp_path / "cut.onnx").write_bytes(data[: int(len(data) * share)])
        with pytest.raises(UserError, match="not a readable ONNX file"):
            read_onnx(tmp_path / "cut.onnx")


def quantised(**changes: np.ndarray) -> OnnxGraph:
    weight = RNG.integers(-128, 128, (4, 3)).astype(np.int8)
    tensors = {
        "w_quantized": weight,
        "w_scale": np.array([0.5, 2.0, 0.25], np.float32),
        "w_zero_point": np.zeros(3, np.int8),
    } | changes
    node = OnnxNode(
        "MatMulInteger", "/a/fc1/MatMul_quant", ("x", "w_quantized", "z", "w_zero_point"), ("y",)
    )
    return OnnxGraph((node,), tensors)


def test_dequantising_is_scale_times_integer() -> None:
    graph = quantised()
    found = dequantised_parameters(graph)["a.fc1.weight"]
    for row in range(4):
        for column, scale in enumerate((0.5, 2.0, 0.25)):
            assert found[row, column] == graph.tensors["w_quantized"][row, column] * scale


def test_quantisation_of_another_kind_is_refused() -> None:
    with pytest.raises(UserError, match=r"a\.fc1\.weight: zero points other than 0"):
        dequantised_parameters(quantised(w_zero_point=np.array([0, 1, 0], np.int8)))
    with pytest.raises(UserError, match=r"a\.fc1\.weight: no scale per output channel"):
        dequantised_parameters(quantised(w_scale=np.ones(4, np.float32)))


def test_missing_and_left_over_parameters_are_named() -> None:
    with pytest.raises(UserError, match=r"class_embedding is missing"):
        open_clip_image_tower({})
