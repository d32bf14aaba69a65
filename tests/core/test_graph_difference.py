"""What a scheme changed in a graph is found and said: the five figures of the published work, on a network of three operators."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ota.core.graph import Graph, GraphNode, GraphTensor, OperatorCount, Quantization
from ota.core.graph_difference import (
    EndChange,
    OperatorChange,
    Role,
    TypeChange,
    VersionChange,
    differences,
    sentences,
)

CHANNELS = Quantization(scales=(0.5, 0.25), count=8)
STEP = Quantization(scales=(0.5,), zero_points=(3,), count=1)
PIXEL = Quantization(scales=(1 / 127.5,), zero_points=(127,), count=1)
CHANCE = Quantization(scales=(1 / 256,), zero_points=(0,), count=1)


def tensor(
    kind: str, how: Quantization | None = None, *, constant: bool = False, shape: tuple[int, ...] = (1, 8)
) -> GraphTensor:
    """Return a tensor."""
    return GraphTensor(name="t", type=kind, shape=shape, quantization=how, constant=constant)


def node(operator: str, inputs: tuple[int, ...], output: int, version: int = 1) -> GraphNode:
    """Return a node with one output."""
    return GraphNode(operator=operator, version=version, inputs=inputs, outputs=(output,))


def graph(tensors: list[GraphTensor], nodes: list[GraphNode], entry: int, result: int) -> Graph:
    """Return a graph with one input and one output."""
    return Graph(
        tensors=tuple(tensors), nodes=tuple(nodes), inputs=(entry,), outputs=(result,), operators=(), types=()
    )


def network(
    *, inner: str = "float32", how: Quantization | None = None, filters: str = "float32", grain: Quantization | None = None,
    bias: str = "float32", version: int = 1,
) -> Graph:  # fmt: skip
    """Return input -> CONV_2D -> DEPTHWISE_CONV_2D -> SOFTMAX -> output; tensors 0, 1, 2 and 3, then filters and biases."""
    weights = [tensor(filters, grain, constant=True), tensor(bias, constant=True)] * 2
    return graph(
        [*(tensor(inner, how) for _ in range(4)), *weights],
        [
            node("CONV_2D", (0, 4, 5), 1, version),
            node("DEPTHWISE_CONV_2D", (1, 6, 7), 2, version),
            node("SOFTMAX", (2,), 3),
        ],
        0,
        3,
    )


FLOAT = network()
INT8 = network(inner="int8", how=STEP, filters="int8", grain=CHANNELS, bias="int32", version=3)


def with_casts(entry: GraphTensor, first: str, result: GraphTensor, last: str) -> Graph:
    """Return INT8 between a cast from `entry` and one to `result`."""
    nodes = (node(first, (8,), 0), *INT8.nodes, node(last, (3,), 9))
    return replace(INT8, tensors=(*INT8.tensors, entry, result), nodes=nodes, inputs=(8,), outputs=(9,))


def float16() -> Graph:
    """Return the network with float16 weights, each dequantized before it is used."""
    stored = [tensor("float16", constant=True) for _ in range(4)]
    casts = [node("DEQUANTIZE", (place + 4,), place) for place in range(4, 8)]
    plain = [tensor("float32") for _ in range(4)]
    return replace(FLOAT, tensors=(*FLOAT.tensors[:4], *plain, *stored), nodes=(*casts, *FLOAT.nodes))


FIGURES = {
    "U0: nothing": (FLOAT, ()),
    "U1: int8 filters, nothing else": (
        network(filters="int8", grain=CHANNELS, version=5),
        (
            "2 filters int8 per channel, before 2 float32",
            "CONV_2D version 5, before 1",
            "DEPTHWISE_CONV_2D version 5, before 1",
        ),
    ),
    "U2: QUANTIZE right after the float32 input, inner tensors int8": (
        with_casts(tensor("float32"), "QUANTIZE", tensor("float32"), "DEQUANTIZE"),
        (
            "1 DEQUANTIZE added: right before the output",
            "1 QUANTIZE added: right after the input",
            "2 filters int8 per channel, before 2 float32",
            "2 biases int32, before 2 float32",
            "4 inner tensors int8, before 2 float32",
            "CONV_2D version 3, before 1",
            "DEPTHWISE_CONV_2D version 3, before 1",
        ),
    ),
    "U3: uint8 input and output with their scales": (
        with_casts(tensor("uint8", PIXEL), "QUANTIZE", tensor("uint8", CHANCE), "QUANTIZE"),
        (
            "input 1 is uint8 [1,8] scale 1/127.5 zero point 127 instead of float32 [1,8]",
            "output 1 is uint8 [1,8] scale 1/256 zero point 0 instead of float32 [1,8]",
            "2 QUANTIZE added: right after the input; right before the output",
            "2 filters int8 per channel, before 2 float32",
            "2 biases int32, before 2 float32",
            "4 inner tensors int8, before 2 float32",
            "CONV_2D version 3, before 1",
            "DEPTHWISE_CONV_2D version 3, before 1",
        ),
    ),
    "U4: float16 weights, DEQUANTIZE before each convolution": (
        float16(),
        (
            "4 DEQUANTIZE added: of weights before each CONV_2D, each DEPTHWISE_CONV_2D",
            "2 filters float16, before 2 float32",
            "2 biases float16, before 2 float32",
            "6 inner tensors float32, before 2 float32",
        ),
    ),
}


@pytest.mark.parametrize(("other", "said"), FIGURES.values(), ids=FIGURES.keys())
def test_what_each_published_scheme_changed_is_said(other: Graph, said: tuple[str, ...]) -> None:
    """One short sentence for each difference, in the order ends, operators, tensor types, versions."""
    assert sentences(differences(FLOAT, other)) == said


def test_differences_are_records() -> None:
    """Who wants figures and not words finds them typed."""
    found = differences(FLOAT, FIGURES["U3: uint8 input and output with their scales"][0])
    assert found.ends[0] == EndChange(
        end="input", number=1, before=tensor("float32"), after=tensor("uint8", PIXEL)
    )
    assert found.operators == (
        OperatorChange(
            name="QUANTIZE", before=0, after=2, places=("right after the input", "right before the output")
        ),
    )
    assert found.types[0] == TypeChange(
        role=Role.FILTER,
        before=(OperatorCount(name="float32", count=2),),
        after=(OperatorCount(name="int8 per channel", count=2),),
    )
    assert found.versions[0] == VersionChange(name="CONV_2D", before=(1,), after=(3,))


def test_a_graph_has_no_difference_from_itself() -> None:
    """Equal graphs have nothing to say, whatever they hold."""
    for other, _ in FIGURES.values():
        assert sentences(differences(other, other)) == ()


def test_the_way_back_says_what_is_removed() -> None:
    """Against a quantized file, the float32 one has fewer operators and other types."""
    quantized = FIGURES["U2: QUANTIZE right after the float32 input, inner tensors int8"][0]
    said = sentences(differences(quantized, FLOAT))
    assert said[:2] == ("1 DEQUANTIZE removed", "1 QUANTIZE removed")
    assert "2 filters float32, before 2 int8 per channel" in said


def test_ends_that_come_and_go_are_said() -> None:
    """A second output is added or removed, not changed."""
    two = replace(FLOAT, outputs=(3, 2))
    assert "output 2 added: float32 [1,8]" in sentences(differences(FLOAT, two))
    assert "output 2 removed: float32 [1,8]" in sentences(differences(two, FLOAT))


def test_some_of_a_kind_are_not_each_of_it() -> None:
    """Where one convolution still reads float32 weights, DEQUANTIZE does not stand before each of them."""
    other = float16()
    kept = tuple(one for one in other.nodes if one.outputs[0] not in {6, 7})
    wider = replace(other, nodes=(*kept, node("CONV_2D", (1, 6, 7), 2)), tensors=other.tensors)
    said = " ".join(sentences(differences(FLOAT, wider)))
    assert "2 DEQUANTIZE added: of weights before CONV_2D" in said
