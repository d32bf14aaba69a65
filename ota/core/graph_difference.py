"""What one graph has otherwise than another, such as a quantized candidate than its float32 baseline: records, and sentences for people.

Invariant: values of weights are not compared, only what they are stored as; equal graphs have no difference and no sentence.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import Enum

from ota.core.graph import CASTS, FILTER_SLOTS, Graph, GraphTensor, OperatorCount, stored_as

_BIAS_SLOT = {"CONV_2D": 2, "DEPTHWISE_CONV_2D": 2, "FULLY_CONNECTED": 2, "TRANSPOSE_CONV": 3, "CONV_3D": 2}


class Role(Enum):
    """What a tensor is there for; the value is the word for one of them."""

    FILTER = "filter"
    BIAS = "bias"
    CONSTANT = "other constant"
    INNER = "inner tensor"

    def words(self, count: int) -> str:
        """Return the count and the word, such as `28 filters`."""
        plural = "biases" if self is Role.BIAS else f"{self.value}s"
        return f"{count} {self.value if count == 1 else plural}"


@dataclass(frozen=True, slots=True, kw_only=True)
class EndChange:
    """An input or output that differs, counted from 1; None on the side that has none. `end` is `input` or `output`."""

    end: str
    number: int
    before: GraphTensor | None
    after: GraphTensor | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorChange:
    """An operator that one graph has more of; `places` says where the added ones of QUANTIZE and DEQUANTIZE stand."""

    name: str
    before: int
    after: int
    places: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionChange:
    """An operator that both graphs use, in other versions."""

    name: str
    before: tuple[int, ...]
    after: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeChange:
    """What the tensors of one role are stored as on either side, the most frequent first; `name` of a count is the type, such as `int8 per channel`."""

    role: Role
    before: tuple[OperatorCount, ...]
    after: tuple[OperatorCount, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Differences:
    """Everything that two graphs differ in."""

    ends: tuple[EndChange, ...]
    operators: tuple[OperatorChange, ...]
    versions: tuple[VersionChange, ...]
    types: tuple[TypeChange, ...]


def differences(base: Graph, other: Graph) -> Differences:
    """Return what `other` has otherwise than `base`."""
    return Differences(
        ends=(
            *_ends("input", base.ends(base.inputs), other.ends(other.inputs)),
            *_ends("output", base.ends(base.outputs), other.ends(other.outputs)),
        ),
        operators=_operators(base, other),
        versions=_versions(base, other),
        types=_types(base, other),
    )


def sentences(found: Differences) -> tuple[str, ...]:
    """Return one short sentence for each difference, without a full stop: ends, operators, tensor types, versions."""
    return (
        *(_end_words(change) for change in found.ends),
        *(_operator_words(change) for change in found.operators),
        *(_type_words(change) for change in found.types),
        *(_version_words(change) for change in found.versions),
    )


def _ends(end: str, before: tuple[GraphTensor, ...], after: tuple[GraphTensor, ...]) -> list[EndChange]:
    changes = []
    for place in range(max(len(before), len(after))):
        old = before[place] if place < len(before) else None
        new = after[place] if place < len(after) else None
        if _seen(old) != _seen(new):
            changes.append(EndChange(end=end, number=place + 1, before=old, after=new))
    return changes


def _seen(tensor: GraphTensor | None) -> object:
    return tensor and (tensor.type, tensor.shape, tensor.quantization)


def _operators(base: Graph, other: Graph) -> tuple[OperatorChange, ...]:
    before = Counter(node.operator for node in base.nodes)
    after = Counter(node.operator for node in other.nodes)
    return tuple(
        OperatorChange(
            name=name,
            before=before[name],
            after=after[name],
            places=_places(other, name) if name in CASTS and after[name] else (),
        )
        for name in sorted(before | after)
        if before[name] != after[name]
    )


def _places(graph: Graph, cast: str) -> tuple[str, ...]:
    """Return where the nodes of QUANTIZE or DEQUANTIZE stand, each group with its count where that is not one."""
    counted: Counter[str] = Counter()
    fed: set[int] = set()
    for node in graph.nodes:
        if node.operator != cast or not node.inputs or not node.outputs:
            continue
        source, target = node.inputs[0], node.outputs[0]
        if source >= 0 and graph.tensors[source].constant:
            fed.update(graph.consumers(target))
            counted["weights"] += 1
        else:
            counted[_between(graph, source, target)] += 1
    weights = counted.pop("weights", 0)
    places = [f"{count} {place}" if count > 1 else place for place, count in counted.items()]
    if weights:
        count = f"{weights} " if places else ""
        places.append(f"{count}of weights before {_each(graph, fed)}")
    return tuple(places)


def _between(graph: Graph, source: int, target: int) -> str:
    if source in graph.inputs:
        return "right after the input"
    return "right before the output" if target in graph.outputs else "between operators"


def _each(graph: Graph, places: set[int]) -> str:
    """Return the operators that read dequantized weights, with `each` where none of their kind reads any other."""
    total = Counter(node.operator for node in graph.nodes)
    fed = Counter(graph.nodes[place].operator for place in places)
    return ", ".join(f"each {name}" if fed[name] == total[name] else name for name in sorted(fed))


def _versions(base: Graph, other: Graph) -> tuple[VersionChange, ...]:
    before, after = _used_versions(base), _used_versions(other)
    return tuple(
        VersionChange(name=name, before=before[name], after=after[name])
        for name in sorted(before.keys() & after.keys())
        if before[name] != after[name]
    )


def _used_versions(graph: Graph) -> dict[str, tuple[int, ...]]:
    found: dict[str, set[int]] = {}
    for node in graph.nodes:
        found.setdefault(node.operator, set()).add(node.version)
    return {name: tuple(sorted(versions)) for name, versions in found.items()}


def _types(base: Graph, other: Graph) -> tuple[TypeChange, ...]:
    before, after = _stored(base), _stored(other)
    return tuple(
        TypeChange(role=role, before=_counts(before[role]), after=_counts(after[role]))
        for role in Role
        if before[role] != after[role]
    )


def _stored(graph: Graph) -> dict[Role, Counter[str]]:
    """Return by role what the tensors are stored as; inputs and outputs of the graph are left out, they have changes of their own."""
    roles = _roles(graph)
    counted: dict[Role, Counter[str]] = {role: Counter() for role in Role}
    ends = {*graph.inputs, *graph.outputs}
    for place, tensor in enumerate(graph.tensors):
        if place in ends:
            continue
        role = roles.get(place, Role.CONSTANT) if tensor.constant else Role.INNER
        counted[role][stored_as(tensor) if role is Role.FILTER else tensor.type] += 1
    return counted


def _roles(graph: Graph) -> dict[int, Role]:
    """Return which tensors are filters and biases; through a DEQUANTIZE the constant behind it is the one."""
    producers = graph.producers()
    roles: dict[int, Role] = {}
    for node in graph.nodes:
        filtered = FILTER_SLOTS.get(node.operator)
        for role, slot in (
            (Role.FILTER, filtered and filtered[1]),
            (Role.BIAS, _BIAS_SLOT.get(node.operator)),
        ):
            if slot is None or slot >= len(node.inputs):
                continue
            tensor = node.inputs[slot]
            maker = producers.get(tensor)
            if maker is not None and graph.nodes[maker].operator == "DEQUANTIZE":
                tensor = next(iter(graph.nodes[maker].inputs), -1)
            roles[tensor] = role
    return roles


def _counts(counted: Counter[str]) -> tuple[OperatorCount, ...]:
    ranked = sorted(counted.items(), key=lambda pair: (-pair[1], pair[0]))
    return tuple(OperatorCount(name=name, count=count) for name, count in ranked)


def _end_words(change: EndChange) -> str:
    name = f"{change.end} {change.number}"
    if change.before is None:
        return f"{name} added: {_tensor_words(change.after)}"
    if change.after is None:
        return f"{name} removed: {_tensor_words(change.before)}"
    return f"{name} is {_tensor_words(change.after)} instead of {_tensor_words(change.before)}"


def _tensor_words(tensor: GraphTensor | None) -> str:
    if tensor is None:
        return "absent"
    return f"{tensor} {tensor.quantization}" if tensor.quantization else str(tensor)


def _operator_words(change: OperatorChange) -> str:
    count = change.after - change.before
    words = f"{abs(count)} {change.name} {'added' if count > 0 else 'removed'}"
    if count < 0 and change.after:
        words += f", {change.after} left"
    return f"{words}: {'; '.join(change.places)}" if change.places and count > 0 else words


def _type_words(change: TypeChange) -> str:
    before = " and ".join(f"{one.count} {one.name}" for one in change.before) or "none"
    if not change.after:
        return f"no {change.role.value} left, before {before}"
    if len(change.after) == 1:
        return f"{change.role.words(change.after[0].count)} {change.after[0].name}, before {before}"
    after = " and ".join(f"{one.count} {one.name}" for one in change.after)
    return f"{change.role.words(sum(one.count for one in change.after))}: {after}, before {before}"


def _version_words(change: VersionChange) -> str:
    before, after = (" and ".join(map(str, versions)) for versions in (change.before, change.after))
    return f"{change.name} version {after}, before {before}"
