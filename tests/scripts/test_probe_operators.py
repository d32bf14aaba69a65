"""The table of probed cells is true of the runtime that is installed here, and the script that makes it counts as it says."""

from __future__ import annotations

import importlib.metadata
import random
import sys
from pathlib import Path

import pytest

from ota.core.operators import Loads, loads
from ota.core.operators_table import RUNTIMES
from ota.quantize.graph import read_graph
from scripts.probe_operators import Cell, span, write_cells
from scripts.probe_runtimes import BUILDS, Answer, Build, installed, load
from tests.agent.networks import custom, dense, dense_int8

HERE = f"ai-edge-litert {importlib.metadata.version('ai-edge-litert')}"
SHARED = Path(__file__).parent.parent.parent.parent / "shared" / "data"


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> tuple[Cell, ...]:
    """Every file that the script tries."""
    return write_cells(tmp_path_factory.mktemp("cells"))


def _foretold_and_seen(files: list[Path]) -> list[tuple[str, Loads, Answer]]:
    answers = load(Path(sys.executable), files)
    return [
        (file.name, loads(read_graph(file.read_bytes()), HERE).verdict, answer)
        for file, answer in zip(files, answers, strict=True)
    ]


def test_four_hundred_cells_load_here_as_foretold(cells: tuple[Cell, ...]) -> None:
    """Of cells drawn at random none is foretold to load and does not, and none the other way round."""
    if HERE not in RUNTIMES:
        pytest.skip(f"{HERE} is not one of the probed builds")
    drawn = random.Random(11).sample(cells, 400)
    compared = _foretold_and_seen([cell.path for cell in drawn])
    wrong = [
        (name, verdict, answer)
        for name, verdict, answer in compared
        if verdict is not Loads.UNKNOWN and (verdict is Loads.LOADS) != (answer.answer == "loads")
    ]
    assert wrong == []
    assert {verdict for _, verdict, _ in compared} >= {Loads.LOADS, Loads.DOES_NOT_LOAD}


NETWORKS = {
    "float": (dense([[1.0, 2.0]]), "loads"),
    "int8": (dense_int8([[1, 2]], scales=(0.5, 0.25, 1.0)), "loads"),
    "custom": (custom(3), "unknown"),
}


@pytest.mark.parametrize(("content", "answer"), NETWORKS.values(), ids=NETWORKS.keys())
def test_the_networks_of_the_benchmark_load_as_foretold(content: bytes, answer: str, tmp_path: Path) -> None:
    """The tiny networks that the agent's tests run are foretold right under every probed build, and load so here."""
    file = tmp_path / "network.tflite"
    file.write_bytes(content)
    expected = Loads.LOADS if answer == "loads" else Loads.DOES_NOT_LOAD
    assert {loads(read_graph(content), runtime).verdict for runtime in RUNTIMES} == {expected}
    assert [one.answer for one in load(Path(sys.executable), [file])] == [answer]


def test_real_files_load_here_as_foretold() -> None:
    """The shared network and files of other makers; the one with an operator of an accelerator does not load anywhere."""
    files = sorted(SHARED.glob("*/*.tflite"))
    if not files:
        pytest.skip("the real data is not on this machine (shared/data)")
    for name, verdict, answer in _foretold_and_seen(files):
        assert (verdict is Loads.LOADS) == (answer.answer == "loads"), (name, verdict, answer)
        assert verdict is (Loads.DOES_NOT_LOAD if "vela" in name else Loads.LOADS), name


def test_a_file_that_is_none_fails_and_the_rest_is_still_answered(tmp_path: Path) -> None:
    """Answers keep the order of the files, whatever is among them."""
    good, bad, absent = tmp_path / "good", tmp_path / "bad", tmp_path / "absent"
    good.write_bytes(dense([[1.0]]))
    bad.write_bytes(b"....TFL3 nonsense")
    found = load(Path(sys.executable), [good, bad, absent, good])
    assert [one.answer for one in found] == ["loads", "failed", "failed", "loads"]


def test_a_file_that_ends_the_process_is_dead_and_the_rest_is_still_answered(tmp_path: Path) -> None:
    """An interpreter that dies at one file is started again for the next."""
    python = tmp_path / "python"
    python.write_text(
        "#!/bin/sh\nwhile read -r file; do case $file in *deadly) exit 139;; esac;"
        ' printf \'{"answer": "loads", "reason": ""}\\n\'; done\n'
    )
    python.chmod(0o755)
    found = load(python, [Path("a"), Path("deadly"), Path("b"), Path("deadly"), Path("c")])
    assert [one.answer for one in found] == ["loads", "died", "loads", "died", "loads"]


SPANS = {
    "from one": ({1: True, 2: True, 3: False}, (1, 2)),
    "from two": ({1: False, 2: True, 3: True, 4: False}, (2, 3)),
    "a gap ends it": ({1: True, 2: False, 3: True}, (1, 1)),
    "none": ({1: False, 2: False}, (1, 0)),
}


@pytest.mark.parametrize(("found", "expected"), SPANS.values(), ids=SPANS.keys())
def test_a_span_has_no_gap(found: dict[int, bool], expected: tuple[int, int]) -> None:
    """Only versions in a row count as known."""
    assert span(found) == expected


def test_a_build_for_which_there_is_no_python_says_so(tmp_path: Path) -> None:
    """What cannot be installed is a reason, not an exception, and leaves nothing behind."""
    reason = installed(Build(package="tflite-runtime", version="0", pythons=(0,)), tmp_path)
    assert reason == "no Python 3 with one of the minor versions (0,) is here"
    assert list(tmp_path.iterdir()) == []


def test_every_build_is_a_column() -> None:
    """The table has a column for each build that the script knows."""
    assert tuple(build.label for build in BUILDS) == RUNTIMES
