"""Operator versions that say what a file really needs: LiteRT Quantizer changes types and leaves the versions of the float file.

Why it matters: tflite-runtime 2.14 takes a dense layer with int8 weights per channel for version 1, loads it and answers nonsense; told version 12 it
refuses. The numbers are those of LiteRT's own rule (tflite/converter/tools/versioning/op_version.cc) for what the quantizer writes; that rule is silent about
float activations with int4 weights, and here they get a version that no build has which was seen to answer nonsense to them.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

_Needs = Mapping[tuple[str, str], int]

_WEIGHTED: Mapping[str, _Needs] = MappingProxyType(
    {
        "CONV_2D": {
            ("FLOAT32", "INT8"): 5,
            ("FLOAT32", "INT4"): 8,
            ("INT8", "INT8"): 3,
            ("INT8", "INT4"): 7,
        },
        "DEPTHWISE_CONV_2D": {("FLOAT32", "INT8"): 6, ("INT8", "INT8"): 3, ("INT8", "INT4"): 7},
        "FULLY_CONNECTED": {
            ("FLOAT32", "INT8"): 12,
            ("FLOAT32", "INT4"): 12,
            ("INT8", "INT8"): 4,
            ("INT8", "INT4"): 10,
            ("INT16", "INT4"): 13,
        },
        "EMBEDDING_LOOKUP": {("INT32", "INT8"): 4, ("INT32", "INT4"): 4},
    }
)
"""By operator: the types of input and weights, the weights with a scale for each channel, and the version it takes."""

_PER_TENSOR: Mapping[str, int] = MappingProxyType(
    {"CONV_2D": 2, "DEPTHWISE_CONV_2D": 4, "FULLY_CONNECTED": 3}
)
"""The same for float inputs and int8 weights with one scale."""

_BLOCKS = 13
_DEQUANTIZE: Mapping[str, int] = MappingProxyType({"INT4": 6, "FLOAT16": 3, "INT16": 3, "INT8": 2})
_INT8_AND_INT16: Mapping[str, tuple[int, int]] = MappingProxyType(
    {
        "ADD": (2, 3),
        "AVERAGE_POOL_2D": (2, 3),
        "BATCH_MATMUL": (2, 3),
        "CONCATENATION": (2, 3),
        "GATHER": (2, 4),
        "LOGISTIC": (2, 3),
        "MAXIMUM": (2, 4),
        "MAX_POOL_2D": (2, 3),
        "MEAN": (2, 3),
        "MIRROR_PAD": (2, 3),
        "MUL": (2, 4),
        "PACK": (2, 3),
        "PAD": (2, 3),
        "PADV2": (2, 3),
        "REDUCE_MIN": (2, 3),
        "RELU": (2, 3),
        "RESIZE_BILINEAR": (2, 4),
        "RESIZE_NEAREST_NEIGHBOR": (2, 4),
        "RSQRT": (2, 3),
        "SLICE": (2, 4),
        "SOFTMAX": (2, 3),
        "SUB": (2, 5),
        "TANH": (2, 3),
        "TRANSPOSE": (2, 5),
        "UNPACK": (2, 4),
    }
)
"""Versions for an int8 and an int16 input."""


def raise_versions(model: Any) -> None:
    """Raise the version of each operator of a `ModelT` where what it computes with needs that; none is lowered."""
    from ai_edge_litert import schema_py_generated as schema

    operators = {number: name for name, number in vars(schema.BuiltinOperator).items() if name.isupper()}
    types = {number: name for name, number in vars(schema.TensorType).items() if name.isupper()}
    for graph in model.subgraphs:
        for operator in graph.operators:
            code = model.operatorCodes[operator.opcodeIndex]
            inputs = [graph.tensors[index] for index in operator.inputs if index >= 0]
            version = _version(operators.get(code.builtinCode, ""), inputs, types, graph, operator)
            code.version = max(code.version, version)


def _version(name: str, inputs: list[Any], types: Mapping[int, str], graph: Any, operator: Any) -> int:
    """Return which version of the operator `name` reads such inputs, 1 where nothing is known."""
    if not inputs:
        return 1
    kinds = [types.get(tensor.type, "") for tensor in inputs]
    if name == "DEQUANTIZE":
        return 5 if kinds[0] == "INT8" and _scales(inputs[0]) > 1 else _DEQUANTIZE.get(kinds[0], 1)
    if name == "QUANTIZE":
        return 2 if types.get(graph.tensors[operator.outputs[0]].type) == "INT16" else 1
    if name in _WEIGHTED and len(kinds) > 1:
        return _weighted(name, kinds[0], kinds[1], inputs[1])
    int8, int16 = _INT8_AND_INT16.get(name, (1, 1))
    return {"INT8": int8, "INT16": int16}.get(kinds[0], 1)


def _weighted(name: str, activations: str, kind: str, weights: Any) -> int:
    if name == "FULLY_CONNECTED" and weights.quantization and weights.quantization.detailsType:
        return _BLOCKS
    if (activations, kind) == ("FLOAT32", "INT8") and _scales(weights) == 1:
        return _PER_TENSOR.get(name, 1)
    return _WEIGHTED[name].get((activations, kind), 1)


def _scales(tensor: Any) -> int:
    scales = tensor.quantization.scale if tensor.quantization else None
    return 0 if scales is None else len(scales)
