"""Read the weights and the node names of an ONNX file without running it or needing `onnx`.

An ONNX file is one protocol-buffer message. The few fields that hold weights are read here straight
from the wire format (https://protobuf.dev/programming-guides/encoding/); field numbers are those of
`onnx.proto3`: ModelProto.graph = 7; GraphProto.node = 1, .initializer = 5; NodeProto.input = 1,
.output = 2, .name = 3, .op_type = 4; TensorProto.dims = 1, .data_type = 2, .float_data = 4,
.int32_data = 5, .int64_data = 7, .name = 8, .raw_data = 9, .data_location = 14.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clipsieve.errors import UserError

# TensorProto.DataType -> little-endian numpy type.
_TYPES = {1: "<f4", 2: "u1", 3: "i1", 5: "<i2", 6: "<i4", 7: "<i8", 9: "?", 10: "<f2", 11: "<f8"}


@dataclass(frozen=True)
class OnnxNode:
    """One operation of the graph: its kind, its name, and the names of what it reads and writes."""

    op_type: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class OnnxGraph:
    """The nodes in the file's order and the initialisers (weights) by name."""

    nodes: tuple[OnnxNode, ...]
    tensors: dict[str, np.ndarray]


def read_onnx(path: str | Path) -> OnnxGraph:
    """Read the graph of an ONNX file; the arrays are copies, in the file's types.

    Raises
    ------
    UserError
        If the file is not a readable ONNX model with its weights inside.
    """
    try:
        return _graph(memoryview(Path(path).read_bytes()))
    except (OSError, ValueError, IndexError, KeyError) as error:
        raise UserError(f"{path}: not a readable ONNX file ({error})") from error


def _graph(model: memoryview) -> OnnxGraph:
    nodes: list[OnnxNode] = []
    tensors: dict[str, np.ndarray] = {}
    found = False
    for field, value in _fields(model):
        if field != 7 or isinstance(value, int):
            continue
        found = True
        for inner, part in _fields(value):
            if inner == 1 and not isinstance(part, int):
                nodes.append(_node(part))
            elif inner == 5 and not isinstance(part, int):
                name, array = _tensor(part)
                tensors[name] = array
    if not found:
        raise ValueError("no graph in it")
    return OnnxGraph(tuple(nodes), tensors)


def _node(message: memoryview) -> OnnxNode:
    inputs: list[str] = []
    outputs: list[str] = []
    name = op_type = ""
    for field, value in _fields(message):
        if isinstance(value, int) or field > 4:
            continue
        text = str(value, "utf-8")
        if field == 1:
            inputs.append(text)
        elif field == 2:
            outputs.append(text)
        elif field == 3:
            name = text
        else:
            op_type = text
    return OnnxNode(op_type, name, tuple(inputs), tuple(outputs))


def _tensor(message: memoryview) -> tuple[str, np.ndarray]:
    dims: list[int] = []
    kind = 0
    name = ""
    raw: memoryview | None = None
    packed: dict[int, memoryview] = {}
    for field, value in _fields(message):
        if field == 1:
            dims += [value] if isinstance(value, int) else list(_varints(value))
        elif field == 2 and isinstance(value, int):
            kind = value
        elif field == 8 and not isinstance(value, int):
            name = str(value, "utf-8")
        elif field == 9 and not isinstance(value, int):
            raw = value
        elif field == 14 and value == 1:
            raise ValueError(f"tensor {name!r} keeps its data in another file")
        elif field in (4, 5, 7) and not isinstance(value, int):
            packed[field] = value
    dtype = np.dtype(_TYPES[kind]) if kind in _TYPES else None
    if dtype is None:
        raise ValueError(f"tensor {name!r} has the unknown data type {kind}")
    if raw is not None:
        array = np.frombuffer(raw, dtype=dtype)
    elif 4 in packed:
        array = np.frombuffer(packed[4], dtype="<f4")
    else:
        integers = [
            v - (1 << 64) if v >> 63 else v
            for v in _varints(packed.get(5, packed.get(7, memoryview(b""))))
        ]
        array = np.asarray(integers, dtype=dtype)
    return name, array.reshape(dims).copy()


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Walk the fields of one message: a number for varints, bytes for everything else."""
    position, end = 0, len(message)
    while position < end:
        key, position = _varint(message, position)
        field, wire = key >> 3, key & 7
        if wire == 0:
            number, position = _varint(message, position)
            yield field, number
            continue
        if wire == 2:
            size, position = _varint(message, position)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise ValueError(f"unknown wire type {wire}")
        if position + size > end:
            raise ValueError("truncated")
        yield field, message[position : position + size]
        position += size


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    result = shift = 0
    while True:
        byte = message[position]
        position += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, position
        shift += 7
        if shift > 63:
            raise ValueError("number too long")


def _varints(message: memoryview) -> Iterator[int]:
    position = 0
    while position < len(message):
        number, position = _varint(message, position)
        yield number
