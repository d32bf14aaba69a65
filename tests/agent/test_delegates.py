"""Which operators a delegate took, from listings as the runtimes give them."""

from __future__ import annotations

from typing import Any

import pytest

from ota.agent.delegates import found


def _node(name: str, inputs: list[int], outputs: list[int]) -> dict[str, Any]:
    return {"op_name": name, "inputs": inputs, "outputs": outputs}


class _Told:
    """A runtime's interpreter as far as it is asked here."""

    def __init__(self, *nodes: dict[str, Any]) -> None:
        self._nodes = list(nodes)

    def _get_ops_details(self) -> list[dict[str, Any]]:
        return self._nodes


CHAIN = (
    _node("CONV_2D", [0, 10], [1]),
    _node("DEPTHWISE_CONV_2D", [1, 11], [2]),
    _node("MEAN", [2], [3]),
    _node("SOFTMAX", [3], [4]),
)
FORK = (
    _node("CONV_2D", [0, 10], [1]),
    _node("RELU", [1], [2]),
    _node("LOGISTIC", [1], [3]),
    _node("MUL", [2, 3], [4]),
)

LISTINGS = {
    "no delegate": (CHAIN, (), []),
    "all in one part": (CHAIN, (_node("DELEGATE", [0, 10, 11], [4]),), [0, 1, 2, 3]),
    "a part in the middle": (CHAIN, (_node("DELEGATE", [1, 11], [3]),), [1, 2]),
    "two parts with a gap": (
        CHAIN,
        (_node("DELEGATE", [0, 10], [1]), _node("DELEGATE", [2], [4])),
        [0, 2, 3],
    ),
    "branches that meet": (FORK, (_node("DELEGATE", [1], [4]),), [1, 2, 3]),
    "one branch of two": (FORK, (_node("DELEGATE", [1], [2]),), [1]),
    "a part with two outputs": (FORK, (_node("DELEGATE", [0, 10], [2, 3]),), [0, 1, 2]),
    "an operator without an input": (
        (_node("CONV_2D", [0, 10, -1], [1]),),
        (_node("DELEGATE", [0, 10, -1], [1]),),
        [0],
    ),
}


@pytest.mark.parametrize(("graph", "parts", "taken"), LISTINGS.values(), ids=LISTINGS.keys())
def test_a_part_replaces_what_lies_between_its_ends(
    graph: tuple[dict[str, Any], ...], parts: tuple[dict[str, Any], ...], taken: list[int]
) -> None:
    """The graph's operators come in their order, and taken are those on the way from a part's outputs back to its inputs."""
    assert found(_Told(*graph, *parts)) == {
        "nodes": [node["op_name"] for node in graph],
        "delegated": taken,
        "partitions": len(parts),
    }


def test_a_runtime_that_does_not_tell_is_no_fault() -> None:
    """An old runtime without the listing leaves the operators empty."""
    assert found(object()) == {"nodes": [], "delegated": [], "partitions": 0}
