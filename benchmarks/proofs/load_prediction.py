"""Loads every probed file again under every build of the runtime that installs here, and compares with what was foretold from the table.

A cell is one file of one operator: in a version, or in a form of a quantized file; the table was made from such files. Held out are forms in
versions that the table was not made from: there it must foretell what nobody tried. A false `loads` is a file that was foretold to load and did not; a
false `does not load` the other way round; `unknown` is neither, for then the device decides. Real files follow: the shared MobileNet as handed
in, under every recipe of LiteRT Quantizer and as TensorFlow's converter quantizes it.

Run: python -m benchmarks.proofs.load_prediction [--folder .ota/probe] [--python /path/to/python3.9]... [--model float32.tflite]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.proofs.figures import Figures
from ota.core.operators import Loads, loads
from ota.quantize.graph import read_graph
from scripts.one_operator import VERSIONS
from scripts.operator_forms import forms
from scripts.operator_shapes import OPERATORS
from scripts.probe_operators import DEFAULT_FOLDER, write_cells
from scripts.probe_runtimes import BUILDS, Answer, Build, installed, load

SHARED = Path(__file__).parent.parent.parent.parent / "shared" / "data"
MODEL = SHARED / "models" / "model_float32.tflite"
_SHOWN = 10
_QUANTIZE = Path(__file__).with_name("load_prediction_candidates.py")
_CONVERT = Path(__file__).with_name("load_prediction_converted.py")


@dataclass(slots=True)
class Tally:
    """How often each end was met; `wrong` are files that did otherwise than foretold."""

    cells: int = 0
    foretold_no: int = 0
    unknown: int = 0
    false_loads: int = 0
    false_refusals: int = 0
    wrong: list[str] = field(default_factory=list)

    def add(self, build: Build, path: Path, answer: Answer) -> None:
        """Compare one answer with what was foretold."""
        foretold = loads(read_graph(path.read_bytes()), build.label)
        loaded = answer.answer == "loads"
        self.cells += 1
        self.unknown += foretold.verdict is Loads.UNKNOWN
        self.foretold_no += foretold.verdict is Loads.DOES_NOT_LOAD
        if foretold.verdict is Loads.LOADS and not loaded:
            self.false_loads += 1
            self.wrong.append(f"{build.label}: {path.name} was to load: {answer.reason or answer.answer}")
        elif foretold.verdict is Loads.DOES_NOT_LOAD and loaded:
            self.false_refusals += 1
            self.wrong.append(f"{build.label}: {path.name} loads: foretold {foretold.reason}")

    def line(self, name: str) -> str:
        """Return the tally in one line."""
        return (
            f"{name:34}{self.cells:6} files  {self.foretold_no:5} foretold not to load  {self.unknown:4} unknown  "
            f"{self.false_loads} false loads  {self.false_refusals} false refusals"
        )


def compare(build: Build, python: Path, files: Sequence[Path]) -> Tally:
    """Load `files` under one build and compare."""
    tally = Tally()
    for path, answer in zip(files, load(python, files), strict=True):
        tally.add(build, path, answer)
    for line in tally.wrong[:_SHOWN]:
        print(f"  {line}")
    return tally


def held_out(folder: Path) -> list[Path]:
    """Write every form in the versions that it was not probed in, and return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for version in VERSIONS[1:]:
        for number, form in enumerate(forms(version)):
            path = folder / f"{version}-{number}-{form.operator}-{form.form}.tflite".replace(" ", "_")
            path.write_bytes(form.content)
            files.append(path)
    return files


def candidates(model: Path, folder: Path) -> list[Path]:
    """Return `model`, what is quantized from it here and what lies beside it; none, with a word, where it is not on this machine."""
    if not model.is_file():
        print(f"real files: skipped, {model.name} is not on this machine")
        return []
    folder.mkdir(parents=True, exist_ok=True)
    _make(_QUANTIZE, model, folder)
    saved = model.parent / "saved_model"
    if saved.is_dir():
        _make(_CONVERT, saved, folder)
    beside = {*model.parent.glob("*.tflite"), *(SHARED / "foreign").glob("*.tflite")}
    return [*sorted(beside), *sorted(folder.glob("*.tflite"))]


def _make(script: Path, source: Path, folder: Path) -> None:
    """Run a maker of files in a process of its own; what it says is heard only where it fails."""
    done = subprocess.run(
        [sys.executable, str(script), str(source), str(folder)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        print(f"{script.name} ended with {done.returncode}: {done.stderr[-300:]}")


def main() -> None:
    """Measure and print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, default=DEFAULT_FOLDER, help="where builds are installed once")
    parser.add_argument(
        "--python", action="append", default=[], help="an interpreter to use; may be repeated"
    )
    parser.add_argument("--model", type=Path, default=MODEL, help="a float32 .tflite")
    asked = parser.parse_args()
    cells = [cell.path for cell in write_cells(asked.folder / "cells")]
    real = candidates(asked.model, asked.folder / "candidates")
    held = held_out(asked.folder / "held-out")
    made, kept, used = Tally(), Tally(), Tally()
    builds = 0
    for build in BUILDS:
        python = installed(build, asked.folder, asked.python)
        if isinstance(python, str):
            print(f"{build.label}: skipped: {python}")
            continue
        builds += 1
        for total, files, what in (
            (made, cells, "cells"),
            (kept, held, "held out"),
            (used, real, "real files"),
        ):
            if files:
                tally = compare(build, python, files)
                print(tally.line(f"{build.label} {what}"))
                _sum(total, tally)
    _finish(builds, made, kept, used)


def _sum(total: Tally, tally: Tally) -> None:
    total.cells += tally.cells
    total.foretold_no += tally.foretold_no
    total.unknown += tally.unknown
    total.false_loads += tally.false_loads
    total.false_refusals += tally.false_refusals


def _finish(builds: int, made: Tally, kept: Tally, used: Tally) -> None:
    figures = Figures()
    figures.add("operators", len(OPERATORS), ">=", 27)
    figures.add("versions", len(VERSIONS), ">=", 16)
    figures.add("builds", builds, ">=", 5)
    figures.add("cells", made.cells, ">=", 2160)
    figures.add("false loads", made.false_loads, "=", 0)
    figures.add("false does-not-load", 100 * made.false_refusals / max(made.cells, 1), "<=", 1, unit=" %")
    figures.add("held out: cells", kept.cells, ">=", 2160)
    figures.add("held out: false loads", kept.false_loads, "=", 0)
    figures.add(
        "held out: false does-not-load", 100 * kept.false_refusals / max(kept.cells, 1), "<=", 1, unit=" %"
    )
    if used.cells:
        figures.add("real files x builds", used.cells, ">=", 20)
        figures.add("real files: false loads", used.false_loads, "=", 0)
        figures.add("real files: false does-not-load", used.false_refusals, "<=", used.cells // 100)
    figures.finish()


if __name__ == "__main__":
    main()
