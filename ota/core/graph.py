"""What a .tflite file says of its graph, and which of its operators a device's fast path took: values, and questions that they answer.

Invariants: a tensor is named by its place in `Graph.tensors`, a node by its place in `Graph.nodes`; -1 as an input stands for one that is left
out. Operators are called as in the public TFLite schema, custom ones as in the file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass

FILTER_SLOTS = {
    "CONV_2D": (0, 1), "DEPTHWISE_CONV_2D": (0, 1), "FULLY_CONNECTED": (0, 1), "TRANSPOSE_CONV": (2, 1), "CONV_3D": (0, 1),
    "BATCH_MATMUL": (0, 1), "EMBEDDING_LOOKUP": (0, 1),
}  # fmt: skip
"""Operator with weights -> which of its inputs it reads, and which are the weights."""

CASTS = ("QUANTIZE", "DEQUANTIZE")
"""Operators that only change how numbers are stored."""

_COUNTING = frozenset({"int32", "int64", "bool"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantization:
    """How the integers of a tensor stand for numbers: number = scale * (integer - zero point).

    `scales` and `zero_points` hold the first few, `count` says how many scales there are: one for the whole tensor, or one for each slice along
    `dimension`. `block_size` is 0 except where each run of so many values has a scale of its own; those scales are a tensor themselves.
    """

    scales: tuple[float, ...] = ()
    zero_points: tuple[int, ...] = ()
    count: int = 0
    dimension: int = 0
    block_size: int = 0

    @property
    def per_channel(self) -> bool:
        """Whether there is more than one scale along a dimension."""
        return self.count > 1

    def __str__(self) -> str:
        if self.block_size:
            return f"a scale per block of {self.block_size}"
        if self.per_channel:
            return f"{self.count} scales along dimension {self.dimension}"
        zero_point = self.zero_points[0] if self.zero_points else 0
        return f"scale {scale_text(self.scales[0])} zero point {zero_point}" if self.scales else "no scale"


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphTensor:
    """One tensor: `constant` says that the file holds its values, in `size_bytes` bytes; otherwise that is 0."""

    name: str
    type: str
    shape: tuple[int, ...]
    quantization: Quantization | None = None
    constant: bool = False
    size_bytes: int = 0

    def __str__(self) -> str:
        return f"{self.type} [{','.join(map(str, self.shape))}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphNode:
    """One operator at its place in the graph; `inputs` and `outputs` are places in `Graph.tensors`, an input of -1 is left out."""

    operator: str
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorUse:
    """An operator that a file lists, in one version: `count` nodes use it, in every graph of the file; a runtime must know it even where 0 do."""

    name: str
    version: int
    count: int
    custom: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class OperatorForm:
    """In which form a node reads and writes: `int8`, or with weights `float32 x int4 per channel`; see `form_of`."""

    operator: str
    form: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """The first graph of a file, which is the one that runs, and what the file says as a whole.

    `operators`, `forms` and `types` (of tensors), each sorted, also count the graphs that loops, branches and composites call. `min_runtime_version` is what
    the converter wrote, empty where it wrote nothing; it is shown, not believed.
    """

    tensors: tuple[GraphTensor, ...]
    nodes: tuple[GraphNode, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    operators: tuple[OperatorUse, ...]
    types: tuple[str, ...]
    forms: tuple[OperatorForm, ...] = ()
    description: str = ""
    min_runtime_version: str = ""

    def ends(self, indexes: tuple[int, ...]) -> tuple[GraphTensor, ...]:
        """Return the tensors at `indexes`, such as `inputs`."""
        return tuple(self.tensors[index] for index in indexes)

    def producers(self) -> dict[int, int]:
        """Return for each tensor that a node writes the place of that node."""
        return {tensor: place for place, node in enumerate(self.nodes) for tensor in node.outputs}

    def consumers(self, tensor: int) -> Iterator[int]:
        """Yield the places of the nodes that read `tensor`."""
        return (place for place, node in enumerate(self.nodes) if tensor in node.inputs)


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorCount:
    """So many nodes of one operator."""

    name: str
    count: int

    def __str__(self) -> str:
        return f"{self.name} x{self.count}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delegation:
    """Which operators of a graph a delegate took and which it left to the runtime's own kernels, the most frequent first."""

    taken: tuple[OperatorCount, ...]
    left: tuple[OperatorCount, ...]

    @property
    def taken_count(self) -> int:
        """How many nodes the delegate took."""
        return sum(one.count for one in self.taken)

    @property
    def left_count(self) -> int:
        """How many nodes run outside the delegate."""
        return sum(one.count for one in self.left)

    def sentence(self, scheme: str, runtime: str, *, slower: bool) -> str:
        """Return where the operators of a candidate run, without a full stop; `slower`: it was measured to be slower than float32 there."""
        count = self.taken_count + self.left_count
        head = f"{scheme} is slower than float32 here: " if slower else f"{scheme}: "
        if not count:
            return f"{head}there is no operator"
        if not self.left:
            return f"{head}{runtime} takes {_all_of(count)} into its delegate"
        names = ", ".join(map(str, self.left))
        if not self.taken:
            verb = "runs" if count == 1 else "run"
            return f"{head}{_all_of(count)} {verb} outside the delegate under {runtime}: {names}"
        verb = "runs" if self.left_count == 1 else "run"
        return f"{head}{self.left_count} of {count} operators {verb} outside the delegate under {runtime}: {names}"


def form_of(node: GraphNode, tensors: tuple[GraphTensor, ...]) -> str:
    """Return the form of a node: the types that decide, beside its operator's version, whether a runtime takes it.

    With weights that is `type read x type stored`, for QUANTIZE and DEQUANTIZE what they read and write, else the types of all that is no
    constant; there integers that only say where or how many (int32, int64, bool) count only where there is nothing else.
    """
    reads = [tensors[place] if place >= 0 else None for place in node.inputs]
    writes = [tensors[place] for place in node.outputs if place >= 0]
    slots = FILTER_SLOTS.get(node.operator)
    if slots is not None and max(slots) < len(reads):
        entry, stored = reads[slots[0]], reads[slots[1]]
        return f"{entry.type if entry else 'none'} x {stored_as(stored) if stored else 'none'}"
    if node.operator in CASTS and reads and writes and reads[0]:
        return f"{stored_as(reads[0])} to {writes[0].type}"
    types = {one.type for one in (*reads, *writes) if one is not None and not one.constant}
    return " and ".join(sorted(types - _COUNTING or types)) or "constants"


def stored_as(tensor: GraphTensor) -> str:
    """Return how a tensor is stored: `int8`, `int8 per channel`, `int4 in blocks of 32`."""
    how = tensor.quantization
    if how is None:
        return tensor.type
    if how.block_size:
        return f"{tensor.type} in blocks of {how.block_size}"
    return f"{tensor.type} per channel" if how.per_channel else tensor.type


def delegation(graph: Graph, taken: Collection[int]) -> Delegation:
    """Return what a delegate took of `graph`; `taken` are places in `graph.nodes`, as a device reports them: one that names no node counts for nothing."""
    places = frozenset(taken)
    inside = Counter(node.operator for place, node in enumerate(graph.nodes) if place in places)
    outside = Counter(node.operator for place, node in enumerate(graph.nodes) if place not in places)
    return Delegation(taken=_counts(inside), left=_counts(outside))


def scale_text(scale: float) -> str:
    """Return a scale as a person would write it: `1/127.5` where it is the inverse of a multiple of a half, else six digits."""
    if 1e-6 < scale < 1:
        inverse = round(2 / scale) / 2
        if inverse <= 65536 and abs(scale * inverse - 1) < 1e-6:
            return f"1/{inverse:g}"
    return f"{scale:.6g}"


def _counts(counted: Counter[str]) -> tuple[OperatorCount, ...]:
    ranked = sorted(counted.items(), key=lambda pair: (-pair[1], pair[0]))
    return tuple(OperatorCount(name=name, count=count) for name, count in ranked)


def _all_of(count: int) -> str:
    return f"all {count} operators" if count > 1 else "the only operator"
