"""The emulated boards that scripts/emulated-boards.sh makes: where they are, and what they say of networks.

OTA_EMULATED_BOARDS names their folder; without it that is .ota/emulated. Nothing here measures time: an emulator's is no board's.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ota.agent.runtime import MODULES
from ota.quantize.graph import read_graph

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(os.environ.get("OTA_EMULATED_BOARDS") or ROOT / ".ota" / "emulated").absolute()
CORES = ("cortex-a53", "cortex-a72", "cortex-a76")
"""Of the Raspberry Pi 3, 4 and 5."""
NATIVE = "x86_64"
"""The board that is this machine, without an emulator, under the x86_64 wheels."""
RUNTIMES = ("ai-edge-litert", "tflite-runtime")
SAMPLES = 4
_LIMIT_S = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a board says of a network; of one that does not load only the reason.

    `nodes` are (operator, inputs, outputs), the delegate's own among them: who takes what. `arithmetic` are the types that the operators
    give out, and int4 where tensors of the file have that, `outputs` the bytes of the first output for each sample, of type `kind`.
    """

    loads: bool
    reason: str = ""
    kind: str = "float32"
    arithmetic: tuple[str, ...] = ()
    nodes: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...] = ()
    outputs: tuple[bytes, ...] = ()

    @property
    def partitions(self) -> int:
        """How many pieces of the network the delegate took."""
        return sum(node[0] == "DELEGATE" for node in self.nodes)

    @property
    def informative(self) -> bool:
        """Whether outputs differ from sample to sample and do not stick at one value: only then equal bits say something."""
        commonest = np.unique(self.values, return_counts=True)[1].max()
        return len(set(self.outputs)) == len(self.outputs) and 2 * commonest <= self.values.size

    @property
    def values(self) -> np.ndarray:
        """The outputs as floats, one row a sample."""
        return np.stack([np.frombuffer(one, self.kind).astype(np.float64) for one in self.outputs])


Readings = Mapping[tuple[str, str], Mapping[str, Reading]]
"""(board, runtime) to network's name to what that board says of it."""


def missing() -> str:
    """Return why there are no emulated boards, empty where they are there."""
    if (FOLDER / "complete").is_file():
        return ""
    return "no emulated boards: `sh scripts/emulated-boards.sh` makes them (OTA_EMULATED_BOARDS names another folder)"


def program(board: str, runtime: str) -> Path:
    """Return the Python of a runtime on a board."""
    (path,) = (FOLDER / "boards" / board).glob(f"{runtime}-*/python")
    return path


def run(board: str, runtime: str, *arguments: str | Path) -> str:
    """Run that Python, isolated as the device's agent runs it, and return what it prints."""
    argv = [str(program(board, runtime)), "-I", *map(str, arguments)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=_LIMIT_S, check=False)
    if done.returncode:
        raise RuntimeError(f"{board}, {runtime}: exit code {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout


def read(board: str, runtime: str, files: Mapping[str, Path]) -> dict[str, Reading]:
    """Return what a board says of each network, by the name it goes under here."""
    names = {str(path): name for name, path in files.items()}
    script = Path(__file__).with_name("read_networks.py")
    lines = run(board, runtime, script, MODULES[runtime], str(SAMPLES), *names).splitlines()
    answers = [json.loads(line) for line in lines if line.startswith("{")]
    return {names[answer["file"]]: _reading(answer, files[names[answer["file"]]]) for answer in answers}


def read_all(files: Mapping[str, Path], say: Callable[[str], None] = lambda _: None) -> Readings:
    """Return what every board says, this machine's included."""
    readings = {}
    for runtime in RUNTIMES:
        for board in (NATIVE, *CORES):
            readings[board, runtime] = read(board, runtime, files)
            loaded = sum(one.loads for one in readings[board, runtime].values())
            say(f"{board:10} {program(board, runtime).parent.name:20} {loaded} of {len(files)} networks load")
    return readings


def everywhere(readings: Readings, names: Sequence[str]) -> list[tuple[str, str, str, Reading, Reading]]:
    """Return (core, runtime, network, this machine's reading, the core's) for every emulated board and each of `names`."""
    return [
        (core, runtime, name, readings[NATIVE, runtime][name], readings[core, runtime][name])
        for runtime in RUNTIMES
        for core in CORES
        for name in names
    ]


def _reading(answer: dict[str, Any], file: Path) -> Reading:
    if not answer["loads"]:
        return Reading(loads=False, reason=answer["reason"])
    packed = {"int4"} if "int4" in read_graph(file.read_bytes()).types else set()
    return Reading(
        loads=True,
        kind=answer["kind"],
        arithmetic=tuple(sorted({*answer["arithmetic"], *packed})),
        nodes=tuple((name, tuple(inputs), tuple(ends)) for name, inputs, ends in answer["nodes"]),
        outputs=tuple(bytes.fromhex(one) for one in answer["outputs"]),
    )
