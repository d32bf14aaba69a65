"""Makes .tflite files of one operator, so small and so plain that nothing but the operator's version decides whether a runtime loads them.

Every operator of OPERATORS has tensors of the types and shapes that it works on, so that version 1 truly loads where the operator is known at
all. Built with FlatBuffers and the schema that ai-edge-litert ships; TensorFlow is not needed.
"""

from __future__ import annotations

import struct

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

from scripts.operator_shapes import OPERATORS, ROW, Operator, T, unary

VERSIONS = range(1, 17)
CUSTOM_OPERATORS = ("aeq.hadamard_rotation", "no-such-operator")
"""Operators with a name of their own: the one that makers of quantized files use, and one that nobody knows."""

_PACKED = {"float32": "f", "int32": "i", "int64": "q", "int8": "b", "uint8": "B", "int16": "h", "bool": "?"}
_BITS = {
    "int4": 4,
    "uint4": 4,
    "int2": 2,
    "float8_e4m3fn": 8,
    "float8_e5m2": 8,
    "float16": 16,
    "bfloat16": 16,
    "uint16": 16,
}
_HALF = b"\x00\x38"  # 0.5 as a float16
QUANTIZED = frozenset({"int8", "uint8", "int16", "int4", "int2", "uint4"})
"""Types whose tensors get a scale."""


def one_operator(name: str, version: int) -> bytes:
    """Return the file of one operator of OPERATORS in one version."""
    operator = OPERATORS[name]
    return _file(operator, getattr(schema.BuiltinOperator, name), version, "")


def one_custom(name: str) -> bytes:
    """Return the file of one operator with a name of its own, version 1."""
    return _file(Operator(inputs=(ROW,), outputs=(ROW,)), schema.BuiltinOperator.CUSTOM, 1, name)


def one_type(name: str) -> bytes:
    """Return a file that negates a row, with a spare tensor of the type `name`, such as int4, that no operator reads.

    It is a constant where the type is one that weights have, for a runtime may know a type's name and not how it is packed.
    """
    values = (0,) * 8 if name in _PACKED or name in _BITS else None
    return _file(
        unary("NegOptions"),
        schema.BuiltinOperator.NEG,
        1,
        "",
        spare=T(shape=(2, 4), type=name, values=values),
    )


def one_form(name: str, operator: Operator, version: int = 0) -> bytes:
    """Return the file of the operator `name` with the tensors of `operator`; version 0: the first that runtimes know."""
    first = 2 if name == "BROADCAST_TO" else 1
    return _file(operator, getattr(schema.BuiltinOperator, name), version or first, "")


def _file(operator: Operator, number: int, version: int, custom: str, spare: T | None = None) -> bytes:
    made = _Maker()
    graph = made.graph(operator, number)
    if spare is not None:
        made.tensor(graph, spare)
    model = schema.ModelT()
    model.version = 3
    model.subgraphs = [graph]
    model.operatorCodes = [_code(number, version, custom)]
    if "Composite" in operator.options:
        body = made.graph(unary("NegOptions"), schema.BuiltinOperator.NEG, code=1)
        model.subgraphs.append(body)
        model.operatorCodes.append(_code(schema.BuiltinOperator.NEG, 1, ""))
    model.buffers = made.buffers
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _code(number: int, version: int, custom: str) -> schema.OperatorCodeT:
    code = schema.OperatorCodeT()
    code.builtinCode, code.version = number, version
    code.deprecatedBuiltinCode = min(number, schema.BuiltinOperator.PLACEHOLDER_FOR_GREATER_OP_CODES)
    code.customCode = custom or None
    return code


class _Maker:
    """Collects the buffers of a file."""

    def __init__(self) -> None:
        self.buffers = [schema.BufferT()]

    def graph(self, operator: Operator, number: int, code: int = 0) -> schema.SubGraphT:
        graph = schema.SubGraphT()
        graph.tensors = []
        inputs = [self.tensor(graph, one) for one in operator.inputs]
        outputs = [self.tensor(graph, one) for one in operator.outputs]
        graph.inputs = [i for i, one in zip(inputs, operator.inputs, strict=True) if one.values is None]
        graph.outputs = outputs
        graph.operators = [_node(operator, number, code, inputs, outputs)]
        return graph

    def tensor(self, graph: schema.SubGraphT, one: T) -> int:
        tensor = schema.TensorT()
        tensor.shape, tensor.name = list(one.shape), f"tensor{len(graph.tensors)}"
        tensor.type, tensor.buffer = getattr(schema.TensorType, one.type.upper()), 0
        if one.values is not None:
            tensor.buffer = self._buffer(_content(one))
        if one.type in QUANTIZED or one.scaled:
            tensor.quantization = self._quantization(graph, one)
        graph.tensors.append(tensor)
        return len(graph.tensors) - 1

    def _buffer(self, content: bytes) -> int:
        buffer = schema.BufferT()
        buffer.data = list(content)
        self.buffers.append(buffer)
        return len(self.buffers) - 1

    def _quantization(self, graph: schema.SubGraphT, one: T) -> schema.QuantizationParametersT:
        made = schema.QuantizationParametersT()
        if not one.block:
            made.scale, made.zeroPoint = [one.scale] * one.channels, [one.zero_point] * one.channels
            made.quantizedDimension = one.dimension
            return made
        scales = T(shape=(*one.shape[:-1], one.shape[-1] // one.block), type="float16", values=(one.scale,))
        made.detailsType = schema.QuantizationDetails.BlockwiseQuantization
        made.details = schema.BlockwiseQuantizationT()
        made.details.scales, made.details.zeroPoints, made.details.blockSize = (
            self.tensor(graph, scales),
            -1,
            one.block,
        )
        return made


def _content(one: T) -> bytes:
    """Return a constant's bytes; types that Python cannot pack are zeros, and scales (float16) are one half each."""
    if one.type in _PACKED:
        values = [value if one.type == "float32" else int(value) for value in one.values or ()]
        return struct.pack(f"<{len(values)}{_PACKED[one.type]}", *values)
    count = 1
    for size in one.shape:
        count *= size
    if one.type == "float16":
        return _HALF * count
    return bytes((count * _BITS[one.type] + 7) // 8)


def _node(
    operator: Operator, number: int, code: int, inputs: list[int], outputs: list[int]
) -> schema.OperatorT:
    node = schema.OperatorT()
    node.opcodeIndex, node.inputs, node.outputs = code, inputs, outputs
    if operator.options:
        options = getattr(schema, f"{operator.options}T")()
        for name, value in operator.fields.items():
            setattr(options, name, value)
        if hasattr(schema.BuiltinOptions, operator.options):
            node.builtinOptionsType = getattr(schema.BuiltinOptions, operator.options)
            node.builtinOptions = options
        else:
            node.builtinOptions2Type = getattr(schema.BuiltinOptions2, operator.options)
            node.builtinOptions2 = options
    if number == schema.BuiltinOperator.CUSTOM:
        node.customOptions = []
    return node
