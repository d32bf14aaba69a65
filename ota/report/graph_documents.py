"""What `ota inspect --json` prints: a .tflite file's graph, where it loads, and what it has otherwise than another."""

from __future__ import annotations

from dataclasses import dataclass

from ota.core.graph import Graph, GraphTensor, OperatorCount
from ota.core.graph_difference import Differences, sentences
from ota.core.operators import LoadPrediction
from ota.core.release import Digest
from ota.report.document_types import FORMAT


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphTensorDocument:
    """A tensor; `scales` and `zero_points` are the first few of `scale_count`, none where it is not quantized; `block_size` 0: no blocks."""

    name: str
    type: str
    shape: list[int]
    scales: list[float]
    zero_points: list[int]
    scale_count: int
    quantized_dimension: int
    block_size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorUseDocument:
    """An operator in one version, and how many nodes use it."""

    name: str
    version: int
    count: int
    custom: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorTypeDocument:
    """How many tensors have a type, and the bytes of those that are constants."""

    type: str
    count: int
    constants: int
    constant_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadPredictionDocument:
    """`verdict` is `loads`, `does not load` or `unknown`."""

    runtime: str
    verdict: str
    reasons: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class EndChangeDocument:
    """An input or output that differs, counted from 1; null on the side that has none."""

    end: str
    number: int
    before: GraphTensorDocument | None
    after: GraphTensorDocument | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorChangeDocument:
    """An operator that one graph has more of."""

    name: str
    before: int
    after: int
    places: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionChangeDocument:
    """An operator in other versions."""

    name: str
    before: list[int]
    after: list[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredDocument:
    """So many tensors stored as `type`, such as `int8 per channel`."""

    type: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeChangeDocument:
    """What filters, biases, other constants or inner tensors are stored as on either side."""

    role: str
    before: list[StoredDocument]
    after: list[StoredDocument]


@dataclass(frozen=True, slots=True, kw_only=True)
class DifferencesDocument:
    """What the file has otherwise than `against`; `sentences` says all of it in words."""

    against: str
    sentences: list[str]
    ends: list[EndChangeDocument]
    operators: list[OperatorChangeDocument]
    types: list[TypeChangeDocument]
    versions: list[VersionChangeDocument]


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectDocument:
    """`ota inspect --json`; `differences` is null without --against."""

    format: int
    model: str
    digest: str
    size_bytes: int
    description: str
    min_runtime_version: str
    inputs: list[GraphTensorDocument]
    outputs: list[GraphTensorDocument]
    operators: list[OperatorUseDocument]
    types: list[TensorTypeDocument]
    loads: list[LoadPredictionDocument]
    differences: DifferencesDocument | None


GRAPH_DOCUMENTS: dict[str, type] = {"inspect": InspectDocument}
"""By the name of its schema in docs/schemas/."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspected:
    """What `ota inspect` has found out: of the file `path`, where it loads, and against another file called `against`, where one was named."""

    path: str
    digest: Digest
    size_bytes: int
    graph: Graph
    loads: tuple[LoadPrediction, ...]
    against: str = ""
    differences: Differences | None = None


def inspect_document(found: Inspected) -> InspectDocument:
    """Return everything that was found out of one file."""
    graph = found.graph
    return InspectDocument(
        format=FORMAT,
        model=found.path,
        digest=str(found.digest),
        size_bytes=found.size_bytes,
        description=graph.description,
        min_runtime_version=graph.min_runtime_version,
        inputs=[_tensor(tensor) for tensor in graph.ends(graph.inputs)],
        outputs=[_tensor(tensor) for tensor in graph.ends(graph.outputs)],
        operators=[
            OperatorUseDocument(name=use.name, version=use.version, count=use.count, custom=use.custom)
            for use in graph.operators
        ],
        types=tensor_types(graph),
        loads=[
            LoadPredictionDocument(runtime=one.runtime, verdict=one.verdict.value, reasons=list(one.reasons))
            for one in found.loads
        ],
        differences=None if found.differences is None else _differences(found.differences, found.against),
    )


def tensor_types(graph: Graph) -> list[TensorTypeDocument]:
    """Return the types of the tensors of `graph`, that with the most bytes first."""
    documents = []
    for name in sorted({tensor.type for tensor in graph.tensors}):
        tensors = [tensor for tensor in graph.tensors if tensor.type == name]
        documents.append(
            TensorTypeDocument(
                type=name,
                count=len(tensors),
                constants=sum(tensor.constant for tensor in tensors),
                constant_bytes=sum(tensor.size_bytes for tensor in tensors),
            )
        )
    return sorted(documents, key=lambda one: -one.constant_bytes)


def _tensor(tensor: GraphTensor) -> GraphTensorDocument:
    how = tensor.quantization
    return GraphTensorDocument(
        name=tensor.name,
        type=tensor.type,
        shape=list(tensor.shape),
        scales=list(how.scales) if how else [],
        zero_points=list(how.zero_points) if how else [],
        scale_count=how.count if how else 0,
        quantized_dimension=how.dimension if how else 0,
        block_size=how.block_size if how else 0,
    )


def _differences(found: Differences, against: str) -> DifferencesDocument:
    return DifferencesDocument(
        against=against,
        sentences=list(sentences(found)),
        ends=[
            EndChangeDocument(
                end=change.end,
                number=change.number,
                before=_tensor(change.before) if change.before else None,
                after=_tensor(change.after) if change.after else None,
            )
            for change in found.ends
        ],
        operators=[
            OperatorChangeDocument(
                name=change.name, before=change.before, after=change.after, places=list(change.places)
            )
            for change in found.operators
        ],
        types=[
            TypeChangeDocument(
                role=change.role.value, before=_stored(change.before), after=_stored(change.after)
            )
            for change in found.types
        ],
        versions=[
            VersionChangeDocument(name=change.name, before=list(change.before), after=list(change.after))
            for change in found.versions
        ],
    )


def _stored(counts: tuple[OperatorCount, ...]) -> list[StoredDocument]:
    return [StoredDocument(type=one.name, count=one.count) for one in counts]
