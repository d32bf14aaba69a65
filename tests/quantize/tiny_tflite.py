"""Builds the smallest .tflite file: one input [1, 2], weights [3, 2], one output [1, 3], no operator."""

from __future__ import annotations

import flatbuffers

_TYPES = {"float32": 0, "float16": 1, "int32": 2, "uint8": 3, "int8": 9}


def tiny_tflite(*, entry: str = "float32", weights: str = "float32") -> bytes:
    """Return the file's bytes; integer tensors get a scale."""
    builder = flatbuffers.Builder(0)
    tensors = [
        _tensor(builder, (1, 2), entry, 0),
        _tensor(builder, (3, 2), weights, 1),
        _tensor(builder, (1, 3), "float32", 0),
    ]
    listed, inputs, outputs = _tables(builder, tensors), _numbers(builder, [0]), _numbers(builder, [2])
    builder.StartObject(5)
    for field, offset in ((0, listed), (1, inputs), (2, outputs)):
        builder.PrependUOffsetTRelativeSlot(field, offset, 0)
    graphs = _tables(builder, [builder.EndObject()])
    buffers = _tables(builder, [_buffer(builder, b""), _buffer(builder, bytes(24))])
    builder.StartObject(8)
    builder.PrependUint32Slot(0, 3, 0)
    builder.PrependUOffsetTRelativeSlot(2, graphs, 0)
    builder.PrependUOffsetTRelativeSlot(4, buffers, 0)
    builder.Finish(builder.EndObject(), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _tensor(builder: flatbuffers.Builder, shape: tuple[int, ...], kind: str, buffer: int) -> int:
    shaped = _numbers(builder, list(shape))
    quantized = 0
    if "int" in kind:
        builder.StartVector(4, 1, 4)
        builder.PrependFloat32(0.5)
        scale = builder.EndVector()
        builder.StartObject(7)
        builder.PrependUOffsetTRelativeSlot(2, scale, 0)
        quantized = builder.EndObject()
    builder.StartObject(8)
    builder.PrependUOffsetTRelativeSlot(0, shaped, 0)
    builder.PrependInt8Slot(1, _TYPES[kind], 0)
    builder.PrependUint32Slot(2, buffer, 0)
    if quantized:
        builder.PrependUOffsetTRelativeSlot(4, quantized, 0)
    return int(builder.EndObject())


def _buffer(builder: flatbuffers.Builder, content: bytes) -> int:
    data = builder.CreateByteVector(content)
    builder.StartObject(3)
    builder.PrependUOffsetTRelativeSlot(0, data, 0)
    return int(builder.EndObject())


def _numbers(builder: flatbuffers.Builder, numbers: list[int]) -> int:
    builder.StartVector(4, len(numbers), 4)
    for number in reversed(numbers):
        builder.PrependInt32(number)
    return int(builder.EndVector())


def _tables(builder: flatbuffers.Builder, offsets: list[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())
