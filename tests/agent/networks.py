"""Tiny networks for the benchmark's tests, built without TensorFlow: one FULLY_CONNECTED or one custom operator."""

from __future__ import annotations

import struct

import flatbuffers

FLOAT32, INT8 = 0, 9
_FULLY_CONNECTED, _CUSTOM = 9, 32


def dense(weights: list[list[float]]) -> bytes:
    """Return a float network [1, k] -> [1, n] that multiplies by `weights` [n, k]."""
    rows, columns = len(weights), len(weights[0])
    data = struct.pack(f"<{rows * columns}f", *(value for row in weights for value in row))
    return _network(
        [
            ((1, columns), FLOAT32, 0, None),
            ((rows, columns), FLOAT32, 1, None),
            ((1, rows), FLOAT32, 0, None),
        ],
        data,
    )


def dense_int8(weights: list[list[int]], *, scales: tuple[float, float, float]) -> bytes:
    """Return an int8 network [1, k] -> [1, n]; `scales` are those of input, weights and output, zero points 3, 0 and -2."""
    rows, columns = len(weights), len(weights[0])
    data = struct.pack(f"<{rows * columns}b", *(value for row in weights for value in row))
    entry, kernel, result = scales
    return _network(
        [
            ((1, columns), INT8, 0, (entry, 3)),
            ((rows, columns), INT8, 1, (kernel, 0)),
            ((1, rows), INT8, 0, (result, -2)),
        ],
        data,
        version=4,
    )


def custom(columns: int) -> bytes:
    """Return a network whose only operator no runtime knows."""
    data = struct.pack("<f", 1.0)
    return _network(
        [((1, columns), FLOAT32, 0, None), ((1, 1), FLOAT32, 1, None), ((1, 1), FLOAT32, 0, None)],
        data,
        operator="alien-op",
    )


Spec = tuple[tuple[int, ...], int, int, "tuple[float, int] | None"]


def _network(tensors: list[Spec], data: bytes, *, version: int = 1, operator: str = "") -> bytes:
    builder = flatbuffers.Builder(1024)
    made = [_tensor(builder, *tensor) for tensor in tensors]
    listed = _vector(builder, made)
    inputs, outputs = _ints(builder, [0]), _ints(builder, [2])
    operators = _vector(builder, [_operator(builder, custom_operator=bool(operator))])
    builder.StartObject(5)
    for field, offset in ((0, listed), (1, inputs), (2, outputs), (3, operators)):
        builder.PrependUOffsetTRelativeSlot(field, offset, 0)
    graphs = _vector(builder, [builder.EndObject()])
    codes = _vector(builder, [_code(builder, version, operator)])
    buffers = _vector(builder, [_buffer(builder, b""), _buffer(builder, data)])
    builder.StartObject(8)
    builder.PrependUint32Slot(0, 3, 0)
    for field, offset in ((1, codes), (2, graphs), (4, buffers)):
        builder.PrependUOffsetTRelativeSlot(field, offset, 0)
    builder.Finish(builder.EndObject(), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _tensor(
    builder: flatbuffers.Builder,
    shape: tuple[int, ...],
    kind: int,
    buffer: int,
    quantization: tuple[float, int] | None,
) -> int:
    shaped = _ints(builder, list(shape))
    quantized = 0
    if quantization is not None:
        builder.StartVector(4, 1, 4)
        builder.PrependFloat32(quantization[0])
        scale = builder.EndVector()
        builder.StartVector(8, 1, 8)
        builder.PrependInt64(quantization[1])
        zero = builder.EndVector()
        builder.StartObject(7)
        builder.PrependUOffsetTRelativeSlot(2, scale, 0)
        builder.PrependUOffsetTRelativeSlot(3, zero, 0)
        quantized = builder.EndObject()
    builder.StartObject(8)
    builder.PrependUOffsetTRelativeSlot(0, shaped, 0)
    builder.PrependInt8Slot(1, kind, 0)
    builder.PrependUint32Slot(2, buffer, 0)
    if quantized:
        builder.PrependUOffsetTRelativeSlot(4, quantized, 0)
    return int(builder.EndObject())


def _operator(builder: flatbuffers.Builder, *, custom_operator: bool) -> int:
    inputs, outputs = _ints(builder, [0, 1, -1]), _ints(builder, [2])
    options = 0
    if not custom_operator:
        builder.StartObject(5)
        options = builder.EndObject()
    builder.StartObject(9)
    builder.PrependUOffsetTRelativeSlot(1, inputs, 0)
    builder.PrependUOffsetTRelativeSlot(2, outputs, 0)
    if options:
        builder.PrependUint8Slot(3, 8, 0)
        builder.PrependUOffsetTRelativeSlot(4, options, 0)
    return int(builder.EndObject())


def _code(builder: flatbuffers.Builder, version: int, operator: str) -> int:
    name = builder.CreateString(operator) if operator else 0
    number = _CUSTOM if operator else _FULLY_CONNECTED
    builder.StartObject(4)
    builder.PrependInt8Slot(0, number, 0)
    if name:
        builder.PrependUOffsetTRelativeSlot(1, name, 0)
    builder.PrependInt32Slot(2, version, 1)
    builder.PrependInt32Slot(3, number, 0)
    return int(builder.EndObject())


def _buffer(builder: flatbuffers.Builder, content: bytes) -> int:
    data = 0
    if content:
        builder.StartVector(1, len(content), 16)
        builder.head -= len(content)
        builder.Bytes[builder.head : builder.head + len(content)] = content
        data = builder.EndVector()
    builder.StartObject(3)
    if data:
        builder.PrependUOffsetTRelativeSlot(0, data, 0)
    return int(builder.EndObject())


def _ints(builder: flatbuffers.Builder, numbers: list[int]) -> int:
    builder.StartVector(4, len(numbers), 4)
    for number in reversed(numbers):
        builder.PrependInt32(number)
    return int(builder.EndVector())


def _vector(builder: flatbuffers.Builder, offsets: list[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())
