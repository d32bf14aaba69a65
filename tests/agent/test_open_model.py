"""What an application on the device does: open the current model under the runtime and with the threads that it was measured with."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.agent.networks import dense

pytest.importorskip("ai_edge_litert", reason="ai-edge-litert is not installed here", exc_type=ImportError)

ROOT = Path(__file__).parent.parent.parent
VERSION = importlib.metadata.version("ai-edge-litert")
OWN = f"cp{sys.version_info[0]}{sys.version_info[1]}"
BARE_PYTHON = Path(sys.base_prefix, "bin", f"python{sys.version_info[0]}.{sys.version_info[1]}")
"""The interpreter that this environment was made from: it has no runtime of its own."""
BOOT = Path("/proc/sys/kernel/random/boot_id").read_text().strip()

TWO_LINES = 'import runpy\ninterpreter = runpy.run_path("{root}/current/open_model.py")["open_model"]()\n'
INFER = """
import json, os
import numpy
interpreter.set_tensor(interpreter.get_input_details()[0]["index"], numpy.array([[1, 2]], "float32"))
interpreter.invoke()
answer = interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).tolist()
print(json.dumps([answer, len(os.listdir("/proc/self/task")), type(interpreter).__module__]))
"""


class Board:
    """A device's root with releases as they lie there, and this environment's runtime as one installed on it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def install(self, version: str = VERSION, own: str = OWN) -> Path:
        """Provide the runtime, under that version and for that Python."""
        folder = self.root / "runtime" / f"ai-edge-litert-{version}-{own}"
        packages = folder / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
        packages.parent.mkdir(parents=True)
        packages.symlink_to(sysconfig.get_paths()["purelib"])
        (folder / "proven.json").write_text("{}")
        return folder

    def release(
        self, name: str, weights: list[list[float]], *, threads: int = 1, version: str | None = VERSION
    ) -> None:
        """Make a release and let `current` lead to it; `version` None: it was never measured."""
        folder = self.root / "releases" / name
        folder.mkdir(parents=True)
        (folder / "model.tflite").write_bytes(dense(weights))
        (folder / "open_model.py").write_bytes((ROOT / "ota" / "agent" / "open_model.py").read_bytes())
        package = "ai-edge-litert" if version else ""
        content = {"format": 1, "package": package, "version": version or "", "threads": threads}
        (folder / "runtime.json").write_text(json.dumps(content))
        current = self.root / "current"
        current.unlink(missing_ok=True)
        current.symlink_to(Path("releases", name))

    def run(self, code: str) -> subprocess.CompletedProcess[str]:
        """Run an application on the device's Python; `{root}` in its code is the ota_root."""
        return subprocess.run(
            [str(BARE_PYTHON), "-I", "-c", code.replace("{root}", str(self.root))],
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
        )

    def answer(self, code: str) -> tuple[list[list[float]], int, str]:
        """Return the outputs of an application, its operating system threads and the module of its Interpreter."""
        done = self.run(code + INFER)
        assert done.returncode == 0, done.stderr
        outputs, threads, module = json.loads(done.stdout)
        return outputs, threads, module

    def refusal(self, code: str = TWO_LINES) -> str:
        """Return the last line that a failing application wrote."""
        done = self.run(code)
        assert done.returncode != 0, done.stdout
        return done.stderr.strip().splitlines()[-1]


@pytest.fixture
def board(tmp_path: Path) -> Board:
    """A device whose path has characters that mean something to a pattern."""
    return Board(tmp_path / "ota [1]")


def test_two_lines_open_the_current_model(board: Board) -> None:
    """A Python without any runtime of its own gets an allocated Interpreter of the release's network."""
    board.install()
    board.release("a", [[1.0, 0.5], [-1.0, 2.0]])
    outputs, _, module = board.answer(TWO_LINES)
    assert outputs == [[2.0, 3.0]]
    assert module == "ai_edge_litert.interpreter"
    assert not list(board.root.rglob("releases/*/__pycache__"))


def test_the_measured_threads_are_used(board: Board) -> None:
    """With three inference threads the process has two more than with one."""
    board.install()
    wide = [[1.0] * 2] * 512
    board.release("a", wide, threads=1)
    _, alone, _ = board.answer(TWO_LINES)
    board.release("b", wide, threads=3)
    _, three, _ = board.answer(TWO_LINES)
    assert three == alone + 2


def test_model_and_setting_are_of_one_release(board: Board) -> None:
    """An activation between the two lines' halves does not mix releases."""
    board.install()
    board.release("b", [[7.0, 7.0]], version="0.0.1")
    board.release("a", [[1.0, 0.5]])
    code = (
        "import os, runpy\n"
        'opener = runpy.run_path("{root}/current/open_model.py")["open_model"]\n'
        'os.unlink("{root}/current")\nos.symlink("releases/b", "{root}/current")\n'
        "interpreter = opener()\n"
    )
    assert board.answer(code)[0] == [[2.0]]


@pytest.mark.parametrize(
    ("pending", "opened"),
    [
        ({"release": "b", "from": "a", "boot_id": "an earlier start"}, [[2.0]]),
        ({"release": "b", "from": None, "boot_id": "an earlier start"}, [[6.0]]),
        ({"release": "b", "from": "a", "boot_id": BOOT}, [[6.0]]),
        ({"release": "b", "from": "a"}, [[6.0]]),
        ({"release": "c", "from": "a", "boot_id": "an earlier start"}, [[6.0]]),
        ([], [[6.0]]),
    ],
    ids=["restarted", "nothing before", "this start", "no lease", "another", "no record"],
)
def test_what_was_on_trial_at_a_restart_is_not_opened(
    board: Board, pending: object, opened: list[list[float]]
) -> None:
    """After a restart the application gets the release before an unconfirmed one, though `current` still leads to that."""
    board.install()
    board.release("a", [[2.0, 0.0]])
    board.release("b", [[6.0, 0.0]])
    (board.root / "pending.json").write_text(json.dumps(pending))
    outputs, _, _ = board.answer(TWO_LINES)
    assert outputs == opened


def test_a_release_that_was_never_measured_takes_what_is_there(board: Board) -> None:
    """Without a package in runtime.json any runtime that this Python loads will do."""
    board.install(version="0.0.1", own="cp27")
    board.install()
    board.release("a", [[1.0, 0.5]], version=None)
    assert board.answer(TWO_LINES)[0] == [[2.0]]


def test_another_python_is_told_which_one_to_use(board: Board) -> None:
    """The message has the runtime's own interpreter."""
    folder = board.install(own="cp27")
    board.release("a", [[1.0, 0.5]])
    assert board.refusal() == (
        f"RuntimeError: ai-edge-litert {VERSION} is installed for another Python than this one, {OWN}: "
        f"run the application with {folder}/bin/python"
    )


def test_a_runtime_that_is_not_there_is_named(board: Board) -> None:
    """Another version than the measured one does not count, nor does a folder whose runtime never proved itself."""
    board.install(version="0.0.1")
    (board.install() / "proven.json").unlink()
    board.release("a", [[1.0, 0.5]])
    assert board.refusal() == (
        f"RuntimeError: ai-edge-litert {VERSION} is not installed on this device: ota provision installs it"
    )


def test_a_process_that_has_another_runtime_is_told(board: Board) -> None:
    """A release that changes the runtime is not opened under the one that the process loaded before."""
    board.install()
    board.release("a", [[1.0, 0.5]])
    board.install(version="0.0.1")
    board.release("b", [[1.0, 0.5]], version="0.0.1")
    first = TWO_LINES.replace("current", "releases/a")
    said = board.refusal(first + TWO_LINES)
    assert said.startswith("RuntimeError: ai-edge-litert 0.0.1 is wanted, and this process has ")
    assert said.endswith("start the application anew and open the model first")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"package": "ai-edge-litert", "version": "2"}'])
def test_a_damaged_runtime_json_is_told(text: str, board: Board) -> None:
    """What is no description of a runtime is named, with what helps."""
    board.release("a", [[1.0, 0.5]])
    (board.root / "current" / "runtime.json").write_text(text)
    assert board.refusal().endswith("runtime.json is damaged: deploy the release again")


@pytest.mark.parametrize("minor", range(7, 14))
def test_every_supported_python_runs_it(minor: int, board: Board) -> None:
    """From Python 3.7 on the two lines work, or say in one sentence why not."""
    versions = Path("~/.pyenv/versions").expanduser().glob(f"3.{minor}.*/bin/python3")
    found = [path for path in (Path(f"/usr/bin/python3.{minor}"), *versions) if path.is_file()]
    if not found:
        pytest.skip(f"no Python 3.{minor} here")
    board.install(own="cp27")
    board.release("a", [[1.0, 0.5]])
    done = subprocess.run(
        [str(found[0]), "-I", "-c", TWO_LINES.replace("{root}", str(board.root))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert f"is installed for another Python than this one, cp3{minor}: run" in done.stderr
