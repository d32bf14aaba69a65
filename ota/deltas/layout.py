"""Where the numbers of a .tflite file lie in it: weights, biases, scales and zero points, tensor by tensor.

Invariant: what is returned lies within the file, in order and without overlap; a file that is no such flatbuffer has no numbers, which costs bytes
and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass

from ota.core.flatbuffer_tables import Content, FlatbufferError, Table

_IDENTIFIER = b"TFL3"
_MODEL_GRAPHS, _MODEL_BUFFERS = 2, 4
_GRAPH_TENSORS, _GRAPH_NODES = 0, 3
_NODE_INPUTS = 1
_TENSOR_TYPE, _TENSOR_BUFFER, _TENSOR_QUANTIZATION = 1, 2, 4
_SCALE, _ZERO_POINT = 2, 3
_WIDTHS = {0: 4, 1: 2, 2: 4, 4: 4, 7: 2, 8: 2}
"""Bytes of an element, by the schema's number of its type: float32, float16, int32, int64 (as two), int16, complex64 (never); others are bytes."""


@dataclass(frozen=True, slots=True, order=True)
class Numbers:
    """A run of numbers of one kind; `kind` tells runs apart whose differences look alike, such as `w0` for float32 weights."""

    start: int
    length: int
    kind: str
    width: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """Scales that should be the float32 at `factor` times each of the scales at `factors`: those of a bias."""

    place: int
    count: int
    factors: int
    factor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The numbers of a file, and what may follow from others of them."""

    numbers: tuple[Numbers, ...] = ()
    products: tuple[Product, ...] = ()


def layout_of(content: bytes) -> Layout:
    """Return the layout of a file; an empty one where it is no .tflite file or is damaged."""
    if content[4:8] != _IDENTIFIER:
        return Layout()
    try:
        model = Content(content).root()
        buffers = [table.span(0) for table in model.tables(_MODEL_BUFFERS)]
        found: set[Numbers] = set()
        products: list[Product] = []
        for graph in model.tables(_MODEL_GRAPHS):
            tensors = list(graph.tables(_GRAPH_TENSORS))
            for tensor in tensors:
                found.update(_numbers_of(tensor, buffers))
            for node in graph.tables(_GRAPH_NODES):
                products += _product_of(node, tensors)
    except FlatbufferError:
        return Layout()
    return Layout(numbers=_apart(found), products=tuple(products))


def _numbers_of(tensor: Table, buffers: list[tuple[int, int]]) -> list[Numbers]:
    kind, place = tensor.scalar(_TENSOR_TYPE, "b"), tensor.scalar(_TENSOR_BUFFER, "I")
    found = []
    if place < len(buffers) and buffers[place][1]:
        width = _WIDTHS.get(kind, 1)
        found.append(Numbers(*buffers[place], f"w{kind}", width if buffers[place][1] % width == 0 else 1))
    scales, points = _quantization(tensor)
    if scales[1]:
        found.append(Numbers(*scales, "s", 4))
    if points[1]:
        found.append(Numbers(*points, "z", 4))
    return found


def _quantization(tensor: Table) -> tuple[tuple[int, int], tuple[int, int]]:
    table = tensor.table(_TENSOR_QUANTIZATION)
    return ((0, 0), (0, 0)) if table is None else (table.span(_SCALE, 4), table.span(_ZERO_POINT, 8))


def _product_of(node: Table, tensors: list[Table]) -> list[Product]:
    """Operators with weights and a bias have them as their second and third input."""
    inputs = node.numbers(_NODE_INPUTS, "i")[:3]
    if len(inputs) < 3 or any(not 0 <= index < len(tensors) for index in inputs):
        return []
    factor, factors, bias = (_quantization(tensors[index])[0] for index in inputs)
    if factor[1] != 4 or not bias[1] or factors[1] != bias[1]:
        return []
    return [Product(place=bias[0], count=bias[1] // 4, factors=factors[0], factor=factor[0])]


def _apart(found: set[Numbers]) -> tuple[Numbers, ...]:
    """Return the runs in order; of two that overlap, as a crafted file may have them, the first."""
    apart: list[Numbers] = []
    for one in sorted(found):
        if not apart or apart[-1].start + apart[-1].length <= one.start:
            apart.append(one)
    return tuple(apart)
