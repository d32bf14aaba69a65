"""Files of one operator in one version on an emulated board: what was foretold of each, from a table made on x86, and what it did."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ota.core.operators import Loads, loads
from ota.quantize.graph import read_graph
from scripts.probe_operators import known, write_cells
from scripts.probe_runtimes import load
from tests.emulated.boards import program


@dataclass(frozen=True, slots=True, kw_only=True)
class Foretold:
    """How many files were tried, how many of them load, and the names of those of which something else was foretold."""

    tried: int
    loading: int
    wrong: tuple[str, ...]


def compare(board: str, runtime: str, folder: Path) -> Foretold:
    """Write all files into `folder` and load each under a runtime on a board."""
    cells = write_cells(folder)
    python = program(board, runtime)
    label = python.parent.name.replace(f"{runtime}-", f"{runtime} ")
    answers = load(python, [cell.path for cell in cells])
    did = [known(cell, answer) for cell, answer in zip(cells, answers, strict=True)]
    foretold = [loads(read_graph(cell.path.read_bytes()), label).verdict for cell in cells]
    expected = {Loads.LOADS: True, Loads.DOES_NOT_LOAD: False}
    wrong = tuple(
        cell.path.name
        for cell, verdict, loaded in zip(cells, foretold, did, strict=True)
        if expected.get(verdict) is not loaded
    )
    return Foretold(tried=len(cells), loading=sum(did), wrong=wrong)
