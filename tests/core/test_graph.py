"""Graphs as values: forms, scales in words, and what a delegate took."""

from __future__ import annotations

import pytest

from ota.core.graph import (
    Delegation,
    Graph,
    GraphNode,
    GraphTensor,
    OperatorCount,
    Quantization,
    delegation,
    form_of,
    scale_text,
)


def chain(*operators: str) -> Graph:
    """Return a graph of operators one after the other, each with a tensor in and out."""
    tensors = tuple(
        GraphTensor(name=f"t{n}", type="float32", shape=(1, 4)) for n in range(len(operators) + 1)
    )
    nodes = tuple(
        GraphNode(operator=name, version=1, inputs=(n,), outputs=(n + 1,)) for n, name in enumerate(operators)
    )
    return Graph(
        tensors=tensors, nodes=nodes, inputs=(0,), outputs=(len(operators),), operators=(), types=("float32",)
    )


MOBILE = chain(*["CONV_2D", "DEPTHWISE_CONV_2D"] * 13, "CONV_2D", "MEAN", "SOFTMAX")

SENTENCES = {
    "most are left": (
        (27, 28),
        True,
        (
            "int8 is slower than float32 here: 27 of 29 operators run outside the delegate under tflite-runtime 2.14.0:"
            " CONV_2D x14, DEPTHWISE_CONV_2D x13"
        ),
    ),
    "one is left": (
        tuple(range(28)),
        False,
        "int8: 1 of 29 operators runs outside the delegate under tflite-runtime 2.14.0: SOFTMAX x1",
    ),
    "all are taken": (
        tuple(range(29)),
        False,
        "int8: tflite-runtime 2.14.0 takes all 29 operators into its delegate",
    ),
    "places that are no node count for nothing": (
        (*range(29), -1, 29, 10**9),
        False,
        "int8: tflite-runtime 2.14.0 takes all 29 operators into its delegate",
    ),
    "none is taken": (
        (),
        True,
        (
            "int8 is slower than float32 here: all 29 operators run outside the delegate under tflite-runtime 2.14.0:"
            " CONV_2D x14, DEPTHWISE_CONV_2D x13, MEAN x1, SOFTMAX x1"
        ),
    ),
}


@pytest.mark.parametrize(("taken", "slower", "sentence"), SENTENCES.values(), ids=SENTENCES.keys())
def test_a_delegation_is_said_in_one_sentence(taken: tuple[int, ...], slower: bool, sentence: str) -> None:
    """What a delegate left is named with counts, the most frequent first."""
    found = delegation(MOBILE, taken)
    assert found.sentence("int8", "tflite-runtime 2.14.0", slower=slower) == sentence
    assert found.taken_count + found.left_count == len(MOBILE.nodes)


def test_a_graph_without_operators_has_a_sentence_too() -> None:
    """Nothing to take and nothing to leave is said as such."""
    assert delegation(chain(), ()) == Delegation(taken=(), left=())
    assert delegation(chain(), ()).sentence("float32", "r", slower=False) == "float32: there is no operator"
    assert str(OperatorCount(name="ADD", count=2)) == "ADD x2"


SCALES = {1 / 127.5: "1/127.5", 1 / 256: "1/256", 0.0244801: "0.0244801", 2.0: "2", 0.0: "0", 1e-30: "1e-30"}


@pytest.mark.parametrize(("scale", "text"), SCALES.items())
def test_a_scale_is_written_as_a_person_would(scale: float, text: str) -> None:
    """Inverses of halves are fractions, anything else has six digits."""
    assert scale_text(scale) == text


QUANTIZATIONS = {
    "per tensor": (
        Quantization(scales=(1 / 127.5,), zero_points=(127,), count=1),
        "scale 1/127.5 zero point 127",
    ),
    "per channel": (Quantization(scales=(0.1, 0.2), count=64, dimension=3), "64 scales along dimension 3"),
    "in blocks": (Quantization(block_size=32), "a scale per block of 32"),
    "without a zero point": (Quantization(scales=(0.5,), count=1), "scale 1/2 zero point 0"),
}


@pytest.mark.parametrize(("how", "text"), QUANTIZATIONS.values(), ids=QUANTIZATIONS.keys())
def test_a_quantization_is_said_in_words(how: Quantization, text: str) -> None:
    """Scale and zero point where there is one, else how many and along what."""
    assert str(how) == text


def _tensor(kind: str, *, constant: bool = False, scales: int = 0, block: int = 0) -> GraphTensor:
    how = (
        Quantization(scales=(0.5,) * min(scales, 4), count=scales, block_size=block)
        if scales or block
        else None
    )
    return GraphTensor(name="t", type=kind, shape=(1,), constant=constant, quantization=how)


FLOAT, INT8, WHERE = _tensor("float32"), _tensor("int8", scales=1), _tensor("int32", constant=True)
FORMS = {
    "weights per channel": ("CONV_2D", (FLOAT, _tensor("int8", constant=True, scales=8)), FLOAT, "float32 x int8 per channel"),
    "weights in blocks": ("FULLY_CONNECTED", (FLOAT, _tensor("int4", block=32)), FLOAT, "float32 x int4 in blocks of 32"),
    "a transposed convolution reads its third": ("TRANSPOSE_CONV", (WHERE, FLOAT, INT8), INT8, "int8 x float32"),
    "a cast": ("QUANTIZE", (FLOAT,), INT8, "float32 to int8"),
    "constants do not count": ("MEAN", (INT8, WHERE), INT8, "int8"),
    "integers that say where do not count": ("GATHER", (FLOAT, _tensor("int32")), FLOAT, "float32"),
    "unless there is nothing else": ("ADD", (_tensor("int32"),) * 2, _tensor("int32"), "int32"),
    "two types": ("ADD", (FLOAT, INT8), FLOAT, "float32 and int8"),
}  # fmt: skip


@pytest.mark.parametrize(("operator", "reads", "writes", "form"), FORMS.values(), ids=FORMS.keys())
def test_the_form_of_a_node_names_the_types_that_decide(
    operator: str, reads: tuple[GraphTensor, ...], writes: GraphTensor, form: str
) -> None:
    """What is read, how weights are stored, and nothing that decides nothing."""
    node = GraphNode(operator=operator, version=1, inputs=tuple(range(len(reads))), outputs=(len(reads),))
    assert form_of(node, (*reads, writes)) == form


def test_a_node_with_left_out_inputs_has_a_form() -> None:
    """An input of -1 is no tensor, least of all the last one."""
    node = GraphNode(operator="CONV_2D", version=1, inputs=(-1, -1), outputs=())
    assert form_of(node, (FLOAT,)) == "none x none"
    assert form_of(GraphNode(operator="ADD", version=1, inputs=(-1,), outputs=()), (FLOAT,)) == "constants"
