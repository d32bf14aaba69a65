"""The load check with a real runtime: what does not load, does not run or answers otherwise than measured never becomes current."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path

import pytest

from ota.analysis.agreement import agreement
from ota.core.host_state import HostOutcome, HostState
from ota.core.release import Digest, Release
from ota.core.setting import Setting
from ota.store.known_answer import KnownAnswer
from ota.store.store import Store
from ota.workflows.deploy_host import deploy_host
from ota.workflows.releases import Agreeing, _zeros
from tests.agent.networks import custom, dense
from tests.workflows.conftest import OLD, Bench

GOOD = dense([[1.0, 2.0], [-3.0, 4.0]])
ONES = b'{"format":1,"count":2,"shape":[2],"dtype":"uint8","scale":[1],"offset":[0],"filter":"none","compression":"none","payload_bytes":4}\n\1\1\2\1'


def try_out(
    fleet: Bench, release: Release, *, samples: bytes = ONES, measured: tuple[float, ...] = ()
) -> HostOutcome:
    """Deploy over an older release, tried with `samples`, where `measured` is what was answered to them elsewhere."""
    probe = fleet.shelve(samples)
    with Store.open(fleet.folder / ".ota") as store:
        if measured:
            outputs = store.put_blob(struct.pack(f"<{len(measured)}f", *measured))
            answer = KnownAnswer(host="z", runtime="ai-edge-litert 2", probe=probe, outputs=outputs)
            store.put_answer(release.model.digest, answer)
        agree = Agreeing(store, probe, lambda a, b, same: agreement(a, b, same_runtime=same))
        return deploy_host(fleet.host("a"), fleet.order(release, probe=probe), fleet.ends(agree=agree))


@pytest.fixture
def board(fleet: Bench) -> Bench:
    """A fleet whose host `a` has a runtime and an older release."""
    fleet.provision()
    fleet.deploy(OLD)
    fleet.events.clear()
    return fleet


def test_a_model_that_answers_as_measured_is_activated(board: Bench) -> None:
    """The samples (1, 1) and (2, 1) run on the device, and its answers agree with those measured elsewhere."""
    outcome = try_out(board, board.release(GOOD), measured=(3.0, 1.0, 4.0, -2.0))
    assert outcome.state is HostState.CONFIRMED, outcome.reason
    assert "2 samples under ai-edge-litert 2" in board.told("ok")
    assert board.current() == GOOD


def test_a_model_that_answers_otherwise_stays_out(board: Bench) -> None:
    """One output that is not what was measured is enough; the device keeps what it runs."""
    outcome = try_out(board, board.release(GOOD), measured=(3.0, 1.0, 4.0, 2.0))
    assert outcome.state is HostState.FAILED
    assert outcome.reason == (
        "the model's answers are not to be trusted: outputs differ by 4 from those measured: at most 0.03 was expected"
    )
    assert board.current() == OLD


BROKEN = {
    "not a model": (b"....TFL3 what is this?", ONES, "the model does not load under ai-edge-litert 2: "),
    "cut short": (GOOD[:-100], ONES, "the model does not load under ai-edge-litert 2: "),
    "an operator nobody knows": (custom(2), ONES, "alien-op"),
    "another input": (dense([[1.0, 2.0, 3.0]]), ONES, "the network takes [1, 3]: expected [1, 2]"),
    "answers that are no numbers": (
        dense([[math.nan, 1.0]]),
        ONES,
        "the outputs hold NaN or infinite values",
    ),
}


@pytest.mark.parametrize(("model", "samples", "said"), BROKEN.values(), ids=BROKEN.keys())
def test_a_model_that_does_not_work_there_stays_out(
    model: bytes, samples: bytes, said: str, board: Bench
) -> None:
    """The reason has the runtime's own words, and the device keeps what it runs."""
    outcome = try_out(board, board.release(model), samples=samples)
    assert outcome.state is HostState.FAILED
    assert said in outcome.reason
    assert board.current() == OLD
    assert outcome.release == board.release(OLD).id


def test_a_model_that_was_never_measured_is_run_on_zeros(board: Bench) -> None:
    """A release from a file loads and runs, and its answers are finite numbers."""
    outcome = try_out(board, board.release(GOOD), samples=_zeros((2,)))
    assert outcome.state is HostState.CONFIRMED, outcome.reason
    assert "1 sample under ai-edge-litert 2" in board.told("ok")


def test_a_board_without_a_runtime_is_told_to_be_provisioned(fleet: Bench) -> None:
    """Nothing is activated that cannot be tried."""
    outcome = try_out(fleet, fleet.release(GOOD))
    assert outcome.state is HostState.FAILED
    assert outcome.reason == "no runtime is installed for this board; ota provision"
    assert fleet.current() is None


def test_a_play_may_do_without_the_load_check(fleet: Bench) -> None:
    """The file is taken as it is, on a board without any runtime."""
    release = fleet.release(b"....TFL3 nobody loads this")
    order = fleet.order(release, probe=fleet.shelve(ONES), load_check=False)
    outcome = deploy_host(fleet.host("a"), order, fleet.ends())
    assert outcome.state is HostState.CONFIRMED, outcome.reason
    assert "load check" not in fleet.told("ok")


def test_only_the_releases_own_files_count_as_sent(board: Bench, tmp_path: Path) -> None:
    """The samples that a model is tried with are no bytes of the release."""
    outcome = try_out(board, board.release(GOOD))
    assert outcome.bytes_sent == len(GOOD)
    assert (board.root("a") / "datasets" / Digest.of(ONES).hex).is_file()
    assert tmp_path == board.folder


MEASURED = Setting(runtime="ai-edge-litert 2", threads=2)


def test_the_runtime_that_the_release_names_is_used(board: Bench) -> None:
    """With two runtimes there, the one that the release was measured under is asked, not the first."""
    first = board.root("a") / "runtime" / "first"
    first.mkdir()
    record = {"id": "first", "package": "ai-edge-litert", "version": "1", "python": "/no/such/python"}
    (first / "proven.json").write_text(json.dumps(record))
    outcome = try_out(board, board.release(GOOD, MEASURED))
    assert outcome.state is HostState.CONFIRMED, outcome.reason
    assert "2 samples under ai-edge-litert 2" in board.told("ok")


def test_a_runtime_that_is_not_there_keeps_the_release_out(board: Bench) -> None:
    """Nothing is tried under another runtime than the measured one."""
    outcome = try_out(board, board.release(GOOD, Setting(runtime="tflite-runtime 2.14.0", threads=1)))
    assert outcome.state is HostState.FAILED
    assert outcome.reason == "tflite-runtime 2.14.0 is not installed here; ota provision"
    assert board.current() == OLD
