"""Files of one operator, in a version or a form, on an emulated board: what was foretold of each from a table made on x86, and what it did."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ota.core.operators import Loads, loads
from ota.quantize.graph import read_graph
from scripts.probe_operators import write_cells
from scripts.probe_runtimes import load
from tests.emulated.boards import program


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What a board did with each file, by the file's name: whether it loaded, and whether that was foretold.

    `wrong` are those of which the opposite was foretold; of some nothing is.
    """

    loading: dict[str, bool]
    foretold: int
    wrong: tuple[str, ...]


def try_all(board: str, runtime: str, folder: Path) -> Tried:
    """Write all files into `folder` and load each under a runtime on a board."""
    files = [cell.path for cell in write_cells(folder)]
    python = program(board, runtime)
    label = python.parent.name.replace(f"{runtime}-", f"{runtime} ")
    answers = load(python, files)
    did = {file.name: answer.answer == "loads" for file, answer in zip(files, answers, strict=True)}
    verdicts = {file.name: loads(read_graph(file.read_bytes()), label).verdict for file in files}
    foretold = {
        name: verdict is Loads.LOADS for name, verdict in verdicts.items() if verdict is not Loads.UNKNOWN
    }
    wrong = tuple(name for name, loading in foretold.items() if did[name] != loading)
    return Tried(loading=did, foretold=len(foretold), wrong=wrong)
