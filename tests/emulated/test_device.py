"""A device whose Python is an emulated board's: the real agent and its benchmark in an ARM process, over the local transport."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ota.core.facts import Runtime
from ota.core.protocol import BlobKind
from ota.core.runtime import Unsupported, choose_runtimes
from ota.remote.bench_replies import Examined, TurnRequest
from tests.agent.networks import dense, dense_int8
from tests.agent.test_bench import WEIGHTS, dataset, outputs
from tests.emulated.boards import RUNTIMES, missing, program
from tests.remote.test_device import blob, open_device

pytestmark = [pytest.mark.skipif(bool(missing()), reason=missing()), pytest.mark.timeout(300)]

BOARDS = {
    "cortex-a53": "Raspberry Pi 3 Model B Rev 1.2",
    "cortex-a72": "Raspberry Pi 4 Model B Rev 1.4",
    "cortex-a76": "Raspberry Pi 5 Model B Rev 1.0",
}
SAMPLES = np.array([[1, 2], [3, 4], [60, 0], [7, 7], [0, 1]], np.uint8)


@pytest.mark.parametrize(("core", "board"), BOARDS.items())
def test_an_emulated_board_is_given_the_runtime_for_arm(core: str, board: str, tmp_path: Path) -> None:
    """The agent says of itself that it is that board, 64-bit ARM, with four processors, and the wheels chosen for it are those that it runs here."""
    python = program(core, RUNTIMES[0])
    with open_device(tmp_path / "root", python=str(python)) as device:
        facts = device.facts()
    assert (facts.cpu_model, facts.architecture, facts.cpu_count) == (board, "aarch64", 4)
    choices = choose_runtimes(facts)
    assert not isinstance(choices, Unsupported)
    choice = choices[0]
    assert (choice.architecture, f"{choice.package}-{choice.version}") == ("aarch64", python.parent.name)


@pytest.mark.parametrize("package", RUNTIMES)
def test_candidates_are_measured_by_the_agent_in_an_arm_process(package: str, tmp_path: Path) -> None:
    """Two candidates are run in one block, each turn in a process of its own: exact outputs, and what the delegate takes."""
    python = str(program("cortex-a72", package))
    version = Path(python).parent.name.removeprefix(f"{package}-")
    runtime = Runtime(id="emulated", package=package, version=version, python=python)
    folder = tmp_path / "root" / "runtime" / runtime.id
    folder.mkdir(parents=True)
    record = {"id": runtime.id, "package": package, "version": version, "python": python}
    (folder / "proven.json").write_text(json.dumps(record))
    networks = [dense(WEIGHTS), dense_int8([[4, 0], [0, 4]], scales=(0.5, 0.25, 1.0))]
    with open_device(tmp_path / "root", python=python) as device:
        data, path = blob(tmp_path, dataset(SAMPLES, [1.0], [0.0]))
        device.put(BlobKind.DATASET, data, path)
        digests = []
        for network in networks:
            digest, path = blob(tmp_path, network)
            device.put(BlobKind.CANDIDATE, digest, path)
            digests.append(digest)
        asked = [TurnRequest(digest=digest, runtime=runtime, threads=1) for digest in digests]
        plain, integer = device.bench(data, asked, warmup=1, warmup_s=0.0).turns
        looked_at = device.examine(data, [(digest, runtime, 1) for digest in digests])
    taken = [one.delegated for one in looked_at if isinstance(one, Examined)]
    assert taken == [(0,), (0,) if package == RUNTIMES[0] else ()]
    values = SAMPLES.astype(np.float32)
    assert np.allclose(outputs(plain), values @ np.array(WEIGHTS, np.float32).T, rtol=1e-5)
    assert np.array_equal(outputs(integer), values)
