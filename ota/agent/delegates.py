"""Which of a network's operators the fast path (a delegate, such as XNNPACK's) took, as the runtime itself tells it.

The interpreter lists the graph's own operators first and then one `DELEGATE` for each partition that a delegate computes. What a partition replaced follows from
the graph: the operators on the way back from its outputs to its inputs.
"""

from __future__ import annotations

from typing import Any, Dict, List, Set

_DELEGATE = "DELEGATE"


def found(network: Any) -> Dict[str, Any]:
    """Return {nodes: names of the graph's operators, delegated: the places of those taken, partitions}; no nodes where the runtime does not tell."""
    tell = getattr(network, "_get_ops_details", None)
    if tell is None:
        return {"nodes": [], "delegated": [], "partitions": 0}
    listed = tell()
    nodes = [node for node in listed if node["op_name"] != _DELEGATE]
    parts = [node for node in listed if node["op_name"] == _DELEGATE]
    taken: Set[int] = set()
    for part in parts:
        taken |= _replaced(part, nodes)
    return {
        "nodes": [str(node["op_name"]) for node in nodes],
        "delegated": sorted(taken),
        "partitions": len(parts),
    }


def _replaced(part: Dict[str, Any], nodes: List[Dict[str, Any]]) -> Set[int]:
    producers = {int(tensor): place for place, node in enumerate(nodes) for tensor in node["outputs"]}
    inputs = {int(tensor) for tensor in part["inputs"]}
    taken: Set[int] = set()
    waiting = [int(tensor) for tensor in part["outputs"]]
    while waiting:
        place = producers.get(waiting.pop())
        if place is None or place in taken:
            continue
        taken.add(place)
        waiting += [int(tensor) for tensor in nodes[place]["inputs"] if int(tensor) not in inputs]
    return taken
