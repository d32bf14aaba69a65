"""The graph of a .tflite file, read without TensorFlow and without NumPy; the file is untrusted.

Field numbers are those of the public TFLite schema (version 3). Whatever is wrong with the file is a FlatbufferError: an operator, a tensor or a
buffer that is named and not there, a list that is longer than the file, a file that is cut short.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

from ota.core.flatbuffer_tables import Content, FlatbufferError, Table
from ota.core.graph import Graph, GraphNode, GraphTensor, OperatorForm, OperatorUse, Quantization, form_of
from ota.quantize.graph_operators import CUSTOM, OPERATORS, TYPES

IDENTIFIER = b"TFL3"
"""Bytes 4 to 8 of every .tflite file."""

_MODEL_CODES, _MODEL_GRAPHS, _MODEL_DESCRIPTION, _MODEL_BUFFERS, _MODEL_METADATA = 1, 2, 3, 4, 6
_CODE_SHORT, _CODE_CUSTOM, _CODE_VERSION, _CODE_BUILTIN = 0, 1, 2, 3
_GRAPH_TENSORS, _GRAPH_INPUTS, _GRAPH_OUTPUTS, _GRAPH_NODES = 0, 1, 2, 3
_NODE_CODE, _NODE_INPUTS, _NODE_OUTPUTS = 0, 1, 2
_TENSOR_SHAPE, _TENSOR_TYPE, _TENSOR_BUFFER, _TENSOR_NAME, _TENSOR_QUANTIZATION = 0, 1, 2, 3, 4
_SCALE, _ZERO_POINT, _DETAILS_TYPE, _DETAILS, _DIMENSION = 2, 3, 4, 5, 6
_BLOCKWISE, _BLOCK_SIZE = 2, 2
_BUFFER_DATA, _BUFFER_OFFSET, _BUFFER_SIZE = 0, 1, 2
_METADATA_NAME, _METADATA_BUFFER = 0, 1
_MIN_RUNTIME = "min_runtime_version"
_FIRST_FEW = 4
_METADATA_BYTES = 64
_DAMAGED = "the file is cut short or damaged"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One graph of a file; the first is the one that runs."""

    tensors: tuple[GraphTensor, ...]
    nodes: tuple[GraphNode, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Code:
    name: str
    version: int
    custom: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Buffer:
    constant: bool
    size_bytes: int
    head: bytes


def read_graph(content: bytes) -> Graph:
    """Return the graph of the .tflite file `content`; FlatbufferError where it is not one, is damaged or cut short."""
    model = _model(content)
    codes, buffers = _codes(model), _buffers(model)
    parts = _parts(model, codes, buffers)
    used = Counter((node.operator, node.version) for part in parts for node in part.nodes)
    listed = {(code.name, code.version): code.custom for code in codes}
    main = parts[0]
    return Graph(
        tensors=main.tensors,
        nodes=main.nodes,
        inputs=main.inputs,
        outputs=main.outputs,
        operators=tuple(
            OperatorUse(name=name, version=version, count=used[name, version], custom=custom)
            for (name, version), custom in sorted(listed.items())
        ),
        types=tuple(sorted({tensor.type for part in parts for tensor in part.tensors})),
        forms=tuple(
            sorted(
                {
                    OperatorForm(operator=node.operator, form=form_of(node, part.tensors))
                    for part in parts
                    for node in part.nodes
                }
            )
        ),
        description=model.text(_MODEL_DESCRIPTION),
        min_runtime_version=_min_runtime(model, buffers),
    )


def read_parts(content: bytes) -> tuple[Part, ...]:
    """Return every graph of the .tflite file `content`, at least one; FlatbufferError as for `read_graph`."""
    model = _model(content)
    return _parts(model, _codes(model), _buffers(model))


def _model(content: bytes) -> Table:
    if content[4:8] != IDENTIFIER:
        raise FlatbufferError("the identifier TFL3 is missing")
    return Content(content).root()


def _codes(model: Table) -> tuple[_Code, ...]:
    return tuple(_code(table) for table in model.tables(_MODEL_CODES))


def _code(table: Table) -> _Code:
    """Old files have the number in a byte, newer ones in both fields; as the runtime does, the greater counts."""
    number = max(table.scalar(_CODE_SHORT, "b"), table.scalar(_CODE_BUILTIN, "i"))
    version = table.scalar(_CODE_VERSION, "i", default=1)
    if number == CUSTOM:
        return _Code(name=table.text(_CODE_CUSTOM), version=version, custom=True)
    name = OPERATORS[number] if 0 <= number < len(OPERATORS) else f"operator {number}"
    return _Code(name=name, version=version, custom=False)


def _buffers(model: Table) -> tuple[_Buffer, ...]:
    return tuple(_buffer(table) for table in model.tables(_MODEL_BUFFERS))


def _buffer(table: Table) -> _Buffer:
    """Files over 2 GB keep their data behind the flatbuffer, at an offset greater than 1."""
    head = table.bytes_of(_BUFFER_DATA, _METADATA_BYTES)
    if head:
        return _Buffer(constant=True, size_bytes=table.length(_BUFFER_DATA), head=head)
    if table.scalar(_BUFFER_OFFSET, "Q") > 1:
        return _Buffer(constant=True, size_bytes=table.scalar(_BUFFER_SIZE, "Q"), head=b"")
    return _Buffer(constant=False, size_bytes=0, head=b"")


def _parts(model: Table, codes: tuple[_Code, ...], buffers: tuple[_Buffer, ...]) -> tuple[Part, ...]:
    parts = tuple(_part(table, codes, buffers) for table in model.tables(_MODEL_GRAPHS))
    if not parts:
        raise FlatbufferError("it holds no graph")
    return parts


def _part(table: Table, codes: tuple[_Code, ...], buffers: tuple[_Buffer, ...]) -> Part:
    tensors = tuple(_tensor(one, buffers) for one in table.tables(_GRAPH_TENSORS))
    inputs, outputs = table.numbers(_GRAPH_INPUTS, "i"), table.numbers(_GRAPH_OUTPUTS, "i")
    if any(not 0 <= index < len(tensors) for index in (*inputs, *outputs)):
        raise FlatbufferError("an input or output names a tensor that is not there")
    nodes = tuple(_node(one, codes, len(tensors)) for one in table.tables(_GRAPH_NODES))
    return Part(tensors=tensors, nodes=nodes, inputs=inputs, outputs=outputs)


def _node(table: Table, codes: tuple[_Code, ...], tensors: int) -> GraphNode:
    place = table.scalar(_NODE_CODE, "I")
    inputs, outputs = table.numbers(_NODE_INPUTS, "i"), table.numbers(_NODE_OUTPUTS, "i")
    if place >= len(codes):
        raise FlatbufferError("a node names an operator that is not there")
    if any(not -1 <= index < tensors for index in (*inputs, *outputs)):
        raise FlatbufferError("a node names a tensor that is not there")
    return GraphNode(operator=codes[place].name, version=codes[place].version, inputs=inputs, outputs=outputs)


def _tensor(table: Table, buffers: tuple[_Buffer, ...]) -> GraphTensor:
    kind, place = table.scalar(_TENSOR_TYPE, "b"), table.scalar(_TENSOR_BUFFER, "I")
    if place >= max(len(buffers), 1):
        raise FlatbufferError(_DAMAGED)
    buffer = buffers[place] if buffers else _Buffer(constant=False, size_bytes=0, head=b"")
    return GraphTensor(
        name=table.text(_TENSOR_NAME),
        type=TYPES[kind] if 0 <= kind < len(TYPES) else f"type {kind}",
        shape=table.numbers(_TENSOR_SHAPE, "i"),
        quantization=_quantization(table.table(_TENSOR_QUANTIZATION)),
        constant=buffer.constant,
        size_bytes=buffer.size_bytes,
    )


def _quantization(table: Table | None) -> Quantization | None:
    """Converters write empty records for tensors that are not quantized: those are None. A scale that is no number becomes 0."""
    if table is None:
        return None
    details = table.table(_DETAILS) if table.scalar(_DETAILS_TYPE, "B") == _BLOCKWISE else None
    count = table.length(_SCALE)
    if not count and details is None:
        return None
    scales = table.numbers(_SCALE, "f", _FIRST_FEW)
    return Quantization(
        scales=tuple(scale if math.isfinite(scale) else 0.0 for scale in scales),
        zero_points=table.numbers(_ZERO_POINT, "q", _FIRST_FEW),
        count=count,
        dimension=table.scalar(_DIMENSION, "i"),
        block_size=0 if details is None else details.scalar(_BLOCK_SIZE, "i"),
    )


def _min_runtime(model: Table, buffers: tuple[_Buffer, ...]) -> str:
    for table in model.tables(_MODEL_METADATA):
        place = table.scalar(_METADATA_BUFFER, "I")
        if table.text(_METADATA_NAME) == _MIN_RUNTIME and place < len(buffers):
            return buffers[place].head.split(b"\0")[0].decode("ascii", "replace")
    return ""
