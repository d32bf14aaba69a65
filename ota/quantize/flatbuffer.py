"""What a .tflite file says of itself, read from the flatbuffer without TensorFlow.

Field numbers are those of the public TFLite schema (version 3). The file is untrusted: whatever is wrong with it comes out as
FlatbufferError, and nothing is read that the file does not hold.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from flatbuffers import number_types
from flatbuffers.table import Table

IDENTIFIER = b"TFL3"
"""Bytes 4 to 8 of every .tflite file."""

_TYPES = (
    "float32", "float16", "int32", "uint8", "int64", "string", "bool", "int16", "complex64", "int8", "float64",
    "complex128", "uint64", "resource", "variant", "uint32", "uint16", "int4", "bfloat16",
)  # fmt: skip
_MODEL_SUBGRAPHS, _MODEL_BUFFERS = 2, 4
_GRAPH_TENSORS, _GRAPH_INPUTS, _GRAPH_OUTPUTS = 0, 1, 2
_TENSOR_SHAPE, _TENSOR_TYPE, _TENSOR_BUFFER, _TENSOR_QUANTIZATION = 0, 1, 2, 4
_QUANTIZATION_SCALE = 2
_BUFFER_DATA, _BUFFER_OFFSET = 0, 1
_MAX_TENSORS = 1_000_000


class FlatbufferError(ValueError):
    """The bytes are not a complete .tflite file; the message is one clause."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """A tensor's shape (the batch is its first dimension) and its element type, such as `float32`."""

    shape: tuple[int, ...]
    type: str

    def __str__(self) -> str:
        return f"{self.type} [{','.join(map(str, self.shape))}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """The inputs and outputs of a .tflite file; `quantized` says in a few words what in it is quantized, empty for a float file."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    quantized: str = ""

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """The shape of one sample of the first input, without the batch."""
        return self.inputs[0].shape[1:]

    @property
    def output_count(self) -> int:
        """How many numbers the first output holds for one sample."""
        count = 1
        for size in self.outputs[0].shape[1:]:
            count *= size
        return count


def read_network(content: bytes) -> Network:
    """Return what the .tflite file `content` says of itself; FlatbufferError where it is not one or is cut short."""
    if content[4:8] != IDENTIFIER:
        raise FlatbufferError("the identifier TFL3 is missing")
    try:
        return _read(content)
    except (struct.error, IndexError, TypeError, OverflowError) as error:
        raise FlatbufferError("the file is cut short or damaged") from error


def _read(content: bytes) -> Network:
    model = Table(content, struct.unpack_from("<I", content)[0])
    graphs = list(_tables(model, _MODEL_SUBGRAPHS))
    if not graphs:
        raise FlatbufferError("it holds no graph")
    tensors = list(_tables(graphs[0], _GRAPH_TENSORS))
    inputs, outputs = (_pick(tensors, graphs[0], field) for field in (_GRAPH_INPUTS, _GRAPH_OUTPUTS))
    if not inputs or not outputs:
        raise FlatbufferError("it has no input or no output")
    constant = [_has_data(buffer) for buffer in _tables(model, _MODEL_BUFFERS)]
    return Network(inputs=inputs, outputs=outputs, quantized=_quantized(inputs, outputs, graphs, constant))


def _quantized(
    inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...], graphs: list[Table], constant: list[bool]
) -> str:
    """Say what is quantized: integer inputs or outputs, or weights that are integers with a scale or float16."""
    for word, ends in (("input", inputs), ("output", outputs)):
        for end in ends:
            if end.type in {"uint8", "int8", "int16", "float16"}:
                return f"{end.type} {word}"
    for graph in graphs:
        for table in _tables(graph, _GRAPH_TENSORS):
            kind = _tensor(table).type
            index = _scalar(table, _TENSOR_BUFFER, number_types.Uint32Flags)
            if not constant[index] or kind not in {"uint8", "int8", "int16", "int4", "float16", "bfloat16"}:
                continue
            if kind.endswith("float16") or _has_scale(table):
                return f"{kind} weights"
    return ""


def _pick(tensors: list[Table], graph: Table, field: int) -> tuple[Tensor, ...]:
    indexes = _numbers(graph, field)
    if any(not 0 <= index < len(tensors) for index in indexes):
        raise FlatbufferError("an input or output names a tensor that is not there")
    return tuple(_tensor(tensors[index]) for index in indexes)


def _tensor(table: Table) -> Tensor:
    kind = _scalar(table, _TENSOR_TYPE, number_types.Int8Flags)
    return Tensor(
        shape=_numbers(table, _TENSOR_SHAPE),
        type=_TYPES[kind] if 0 <= kind < len(_TYPES) else f"type {kind}",
    )


def _has_scale(tensor: Table) -> bool:
    offset = _field(tensor, _TENSOR_QUANTIZATION)
    if not offset:
        return False
    quantization = Table(tensor.Bytes, tensor.Indirect(tensor.Pos + offset))
    return _length(quantization, _QUANTIZATION_SCALE) > 0


def _has_data(buffer: Table) -> bool:
    """Files over 2 GB keep their data behind the flatbuffer, at an offset greater than 1."""
    length = _length(buffer, _BUFFER_DATA)
    if length and buffer.Vector(_field(buffer, _BUFFER_DATA)) + length > len(buffer.Bytes):
        raise FlatbufferError("the file is cut short or damaged")
    return length > 0 or _scalar(buffer, _BUFFER_OFFSET, number_types.Uint64Flags) > 1


def _field(table: Table, number: int) -> int:
    return int(table.Offset(4 + 2 * number))


def _scalar(table: Table, number: int, flags: object) -> int:
    offset = _field(table, number)
    return int(table.Get(flags, table.Pos + offset)) if offset else 0


def _length(table: Table, number: int) -> int:
    offset = _field(table, number)
    return int(table.VectorLen(offset)) if offset else 0


def _numbers(table: Table, number: int) -> tuple[int, ...]:
    """Return a vector of int32."""
    count = _length(table, number)
    if not count:
        return ()
    return struct.unpack_from(f"<{_bounded(count)}i", table.Bytes, table.Vector(_field(table, number)))


def _tables(table: Table, number: int) -> Iterator[Table]:
    count = _length(table, number)
    if count:
        start = table.Vector(_field(table, number))
        for index in range(_bounded(count)):
            yield Table(table.Bytes, table.Indirect(start + 4 * index))


def _bounded(count: int) -> int:
    if count > _MAX_TENSORS:
        raise FlatbufferError("a list in it is too long to be true")
    return count
