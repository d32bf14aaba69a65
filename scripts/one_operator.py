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
CUSTOM_OPERATORS = (
    "AudioSpectrogram",
    "Mfcc",
    "NumericVerify",
    "TFLite_Detection_PostProcess",
    "no-such-operator",
)
"""Operators with a name of their own that some runtimes bring along; what counts is whether the name is resolved."""

_FORMS = {"float32": "f", "int32": "i", "int64": "q", "int8": "b", "bool": "?"}


def one_operator(name: str, version: int) -> bytes:
    """Return the file of one operator of OPERATORS in one version."""
    operator = OPERATORS[name]
    return _file(operator, getattr(schema.BuiltinOperator, name), version, "")


def one_custom(name: str) -> bytes:
    """Return the file of one operator with a name of its own, version 1."""
    return _file(Operator(inputs=(ROW,), outputs=(ROW,)), schema.BuiltinOperator.CUSTOM, 1, name)


def one_type(name: str) -> bytes:
    """Return a file that negates a row, with a spare tensor of the type `name`, such as INT4, that no operator reads."""
    return _file(unary("NegOptions"), schema.BuiltinOperator.NEG, 1, "", spare=T(shape=(2, 4), type=name))


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
            buffer = schema.BufferT()
            buffer.data = list(struct.pack(f"<{len(one.values)}{_FORMS[one.type]}", *one.values))
            self.buffers.append(buffer)
            tensor.buffer = len(self.buffers) - 1
        if one.type == "int8":
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale, tensor.quantization.zeroPoint = [0.5], [0]
        graph.tensors.append(tensor)
        return len(graph.tensors) - 1


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
