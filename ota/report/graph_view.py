"""A .tflite file's graph for people: its ends, operators and types, where it loads, and what it has otherwise than another."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from ota.core.graph import GraphTensor
from ota.core.graph_difference import sentences
from ota.core.operators import Loads
from ota.report.graph_documents import Inspected, tensor_types
from ota.report.tables import human_bytes, plain_table

_STYLES = {Loads.LOADS: "green", Loads.DOES_NOT_LOAD: "red", Loads.UNKNOWN: "yellow"}


def inspect_view(found: Inspected) -> RenderableType:
    """Return everything that was found out of one file."""
    parts: list[RenderableType] = [
        _head(found),
        _ends(found),
        _operators(found),
        _types(found),
        _loads(found),
    ]
    if found.differences is not None:
        said = sentences(found.differences) or ("nothing: the graphs are alike",)
        parts.append(f"\n[bold]Otherwise than {escape(_printable(found.against))}[/bold]")
        parts += [f"  {escape(_printable(sentence))}" for sentence in said]
    return Group(*parts)


def _head(found: Inspected) -> str:
    graph = found.graph
    lines = [
        f"[bold]{escape(_printable(found.path))}[/bold]  {human_bytes(found.size_bytes)}",
        f"  digest {found.digest}",
    ]
    if graph.description:
        lines.append(f"  made by {escape(_printable(graph.description))}")
    if graph.min_runtime_version:
        lines.append(
            f"  its converter asks for TensorFlow Lite {escape(_printable(graph.min_runtime_version))}"
        )
    return "\n".join(lines) + "\n"


def _ends(found: Inspected) -> Table:
    table = plain_table("Inputs and outputs", "", "name", "type", "quantized")
    graph = found.graph
    for word, indexes in (("input", graph.inputs), ("output", graph.outputs)):
        for number, tensor in enumerate(graph.ends(indexes), 1):
            table.add_row(
                f"{word} {number}",
                escape(_printable(tensor.name)),
                str(tensor).replace("[", "\\["),
                _how(tensor),
            )
    return table


def _how(tensor: GraphTensor) -> str:
    return str(tensor.quantization) if tensor.quantization else "no"


def _operators(found: Inspected) -> Table:
    table = plain_table("\nOperators", "operator")
    for name in ("version", "count"):
        table.add_column(name, justify="right")
    for use in sorted(found.graph.operators, key=lambda one: (-one.count, one.name)):
        name = escape(_printable(use.name)) + (" (custom)" if use.custom else "")
        table.add_row(name, str(use.version), str(use.count))
    return table


def _types(found: Inspected) -> Table:
    table = plain_table("\nTensors by type", "type")
    for name in ("tensors", "constants", "size"):
        table.add_column(name, justify="right")
    for one in tensor_types(found.graph):
        table.add_row(one.type, str(one.count), str(one.constants), human_bytes(one.constant_bytes))
    return table


def _loads(found: Inspected) -> Table:
    table = plain_table("\nLoads under", "runtime", "foretold", "why")
    for one in found.loads:
        style = _STYLES[one.verdict]
        verdict = f"[{style}]{one.verdict.value}[/{style}]"
        table.add_row(escape(_printable(one.runtime)), verdict, escape(_printable(one.reason)))
    return table


def _printable(text: str) -> str:
    """Return text from a file without what would steer a terminal."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)
