"""`ota inspect`: what a .tflite file holds, where it loads, and what a scheme has changed in it."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import click

from ota.cli.options import json_option
from ota.core.graph import Graph
from ota.core.scheme import SourceKind
from ota.errors import ContentError, Fault, MissingFileError, UsageError


@click.command(
    epilog="Examples: ota inspect model.tflite;  ota inspect int8.tflite --against float32.tflite;"
    "  ota inspect model.tflite --runtime 'tflite-runtime 2.14.0'"
)
@click.argument("model", type=click.Path(path_type=Path), metavar="MODEL.tflite")
@click.option(
    "--against",
    type=click.Path(path_type=Path),
    metavar="MODEL.tflite",
    help="Say what MODEL has otherwise than this file, such as the float32 baseline.",
)
@click.option(
    "--runtime",
    "runtimes",
    multiple=True,
    metavar="LABEL",
    help="Foretell loading under this runtime alone, such as 'ai-edge-litert 2.3.0'; may be repeated.",
)
@click.option("--netron", is_flag=True, help="Open the graph in Netron, where that is installed.")
@json_option
def inspect(
    *, model: Path, against: Path | None, runtimes: tuple[str, ...], netron: bool, as_json: bool
) -> None:
    """Show inputs, outputs, operators and tensor types of a .tflite file, and under which runtimes it loads."""
    from ota.core.graph_difference import differences
    from ota.core.operators import loads
    from ota.core.operators_table import RUNTIMES
    from ota.core.release import Digest
    from ota.report.documents import plain
    from ota.report.graph_documents import Inspected, inspect_document
    from ota.report.graph_view import inspect_view
    from ota.report.tables import show

    viewer = _netron() if netron else ""
    content, graph = _read(model)
    found = Inspected(
        path=str(model),
        digest=Digest.of(content),
        size_bytes=len(content),
        graph=graph,
        loads=tuple(loads(graph, runtime) for runtime in runtimes or reversed(RUNTIMES)),
        against=str(against or ""),
        differences=None if against is None else differences(_read(against)[1], graph),
    )
    if as_json:
        click.echo(json.dumps(plain(inspect_document(found)), indent=2))
    else:
        show(inspect_view(found))
    if viewer:
        subprocess.run([viewer, str(model.absolute())], check=False)


def _netron() -> str:
    found = shutil.which("netron")
    if found is None:
        raise UsageError("Netron is not installed", hint="pip install netron")
    return found


def _read(path: Path) -> tuple[bytes, Graph]:
    """Return a file and its graph; an error that says what it is instead."""
    from ota.quantize.flatbuffer import FlatbufferError
    from ota.quantize.graph import read_graph
    from ota.quantize.source import recognise

    kind = recognise(path).kind
    if kind is not SourceKind.TFLITE:
        words = "SavedModel" if kind is SourceKind.SAVED_MODEL else "Keras model"
        raise ContentError(
            Fault(
                file=str(path),
                problem=f"expected a .tflite file, found a {words}",
                hint="ota select converts it under every scheme",
            )
        )
    try:
        content = path.read_bytes()
        return content, read_graph(content)
    except OSError as error:
        raise MissingFileError(
            "the model cannot be read", where=str(path), found=error.strerror or str(error)
        ) from error
    except FlatbufferError as error:
        raise ContentError(Fault(file=str(path), problem=f"a damaged .tflite: {error}")) from error
