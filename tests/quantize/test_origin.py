"""How a file was made is told as its tool was told, and what it needs as it lists it."""

from __future__ import annotations

import json

import pytest

from ota.core.graph import Graph, OperatorUse
from ota.core.scheme import AS_IS, SCHEMES, SourceKind, Tool
from ota.quantize.origin import HANDED_IN, origin_of

GRAPH = Graph(
    tensors=(), nodes=(), inputs=(), outputs=(), types=(),
    operators=(OperatorUse(name="CONV_2D", version=3, count=27), OperatorUse(name="Mine", version=1, count=1, custom=True)),
)  # fmt: skip


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.name)
def test_every_scheme_has_an_origin(scheme) -> None:
    """Tool and recipe are those of the scheme, the recipe is JSON, and two schemes of a tool differ in it."""
    origin = origin_of(scheme.name, GRAPH, SourceKind.KERAS)
    assert origin.tool == scheme.tool.value
    assert json.loads(origin.recipe)
    others = {
        origin_of(one.name, GRAPH, SourceKind.KERAS).recipe
        for one in SCHEMES
        if one.tool is scheme.tool and one.name != scheme.name
    }
    assert origin.recipe not in others


@pytest.mark.parametrize("scheme", ["float32", AS_IS.name])
def test_a_file_that_was_handed_in_was_made_by_nobody(scheme: str) -> None:
    """A .tflite that is measured as it came names no converter; what the quantizer makes of it does."""
    origin = origin_of(scheme, GRAPH, SourceKind.TFLITE)
    assert (origin.tool, origin.recipe) == (HANDED_IN, "{}")
    assert origin_of("static_int8", GRAPH, SourceKind.TFLITE).tool == Tool.QUANTIZER.value


def test_operators_are_told_with_version_and_count() -> None:
    """Each operator that the file lists is one entry."""
    words = origin_of("int8", GRAPH, SourceKind.KERAS).operators
    assert words == ("CONV_2D version 3, 27 nodes", "Mine version 1, 1 node, custom")
