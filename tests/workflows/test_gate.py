"""The gate with a real runtime on real agents: what is as good as the live model stays, what is worse, slower or cannot be told goes back and stops the rollout."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ota.analysis.answers import kept_targets, scorer
from ota.core.gate import GateSpec
from ota.core.host_state import HostOutcome, HostState
from ota.core.playbook import BatchSize
from ota.core.setting import Setting
from ota.errors import UnreachableError
from ota.remote.bench_replies import BlockReply
from ota.remote.device import Device
from ota.remote.executor import ThreadExecutor
from ota.workflows.deploy import Result, roll_out
from ota.workflows.deploy_host import deploy_host
from ota.workflows.gate import Evaluation, held_to, stride
from ota.workflows.gate_plan import LaterGate
from ota.workflows.letters import opened, sealed, without_ends
from ota.workflows.order import Order
from tests.agent.networks import custom, dense
from tests.workflows.conftest import OLD, Bench, states

SAMPLES = 240
LIVE = dense([[1.0, 0.0], [0.0, 1.0]])
AS_GOOD = dense([[2.0, 0.0], [0.0, 2.0]])
WORSE = dense([[0.0, 1.0], [1.0, 0.0]])
SLOW = dense([[1.0, 0.0], [0.0, 1.0], *([[0.0, 0.0]] * 200_000)])
ACCURATE = GateSpec(accuracy_drop=0.02, budget_s=60.0)
FAST = GateSpec(latency_increase=1.0, budget_s=60.0)
LITERT = Setting(runtime="ai-edge-litert 2", threads=1)


def evaluation(fleet: Bench) -> Evaluation:
    """Return samples of two classes, sorted by class as folders of images are, and how they are scored: the greater value is the class."""
    low = np.random.RandomState(0).randint(1, 120, (SAMPLES, 1))
    first = np.arange(SAMPLES)[:, None] < SAMPLES // 2
    values = np.hstack([np.where(first, low + 100, low), np.where(first, low, low + 100)]).astype(np.uint8)
    header = {
        "format": 1, "count": SAMPLES, "shape": [2], "dtype": "uint8", "scale": [1], "offset": [0],
        "filter": "none", "compression": "none", "payload_bytes": values.nbytes,
    }  # fmt: skip
    targets = kept_targets((values[:, 1] > values[:, 0]).astype(np.int64))
    return Evaluation(
        dataset=fleet.shelve(json.dumps(header).encode() + b"\n" + values.tobytes()),
        samples=SAMPLES,
        metric="accuracy",
        score=scorer("accuracy", targets),
    )


def gated(fleet: Bench, content: bytes, gate: GateSpec, setting: Setting | None = None, **spec: Any) -> Order:
    """Return the order to deploy a model that has to pass a gate."""
    order = fleet.order(fleet.release(content, setting), gate=gate, **spec)
    return replace(order, gate=held_to(gate, evaluation(fleet)))


def deploy(fleet: Bench, content: bytes, gate: GateSpec, setting: Setting | None = None) -> HostOutcome:
    """Deploy a model that has to pass a gate on host `a`."""
    return deploy_host(fleet.host("a"), gated(fleet, content, gate, setting), fleet.ends())


@pytest.fixture
def board(fleet: Bench) -> Bench:
    """A fleet whose host `a` has a runtime and runs a model of before."""
    fleet.provision()
    fleet.deploy(LIVE)
    fleet.events.clear()
    return fleet


def of_gate(fleet: Bench) -> str:
    """Return what was told of the gate."""
    return next(
        line for line in fleet.told("ok") if "where" in line or "compare" in line or "same model" in line
    )


def test_a_model_as_good_as_the_live_one_is_confirmed(board: Bench) -> None:
    """All samples are answered by both, and the bounds are shown to be kept."""
    both = GateSpec(accuracy_drop=0.02, latency_increase=4.0)
    outcome = deploy(board, AS_GOOD, both)
    assert outcome.state is HostState.CONFIRMED, outcome.reason
    assert not outcome.gate_failed
    assert "accuracy 100 %, 100 % live, of 240 samples: lost at most 1.5 % where 2 % may be" in of_gate(board)
    assert "times the live model's over 20 blocks" in of_gate(board)
    assert board.current() == AS_GOOD


def test_a_less_accurate_model_goes_back(board: Bench) -> None:
    """The bound is broken after a few samples, which are spread over the classes, and the device runs what it ran before."""
    outcome = deploy(board, WORSE, ACCURATE)
    assert outcome.state is HostState.ROLLED_BACK
    assert outcome.gate_failed
    assert outcome.reason.startswith(
        "the model does not pass the gate: a bound is broken: accuracy 0 %, 100 % live, of "
    )
    assert board.current() == LIVE


def test_a_slower_model_goes_back_and_a_faster_one_stays(board: Bench) -> None:
    """The latency is that of the tail, against the live model in the same blocks."""
    slower = deploy(board, SLOW, FAST)
    assert slower.state is HostState.ROLLED_BACK
    assert "a bound is broken: p95 latency" in slower.reason
    board.deploy(SLOW)
    faster = deploy(board, LIVE, FAST)
    assert faster.state is HostState.CONFIRMED, faster.reason


@pytest.mark.parametrize(
    ("content", "state"),
    [(AS_GOOD, HostState.CONFIRMED), (WORSE, HostState.ROLLED_BACK)],
    ids=["good", "worse"],
)
def test_a_gate_travels_to_a_site(board: Bench, content: bytes, state: HostState) -> None:
    """An order that went through a letter, with a gate that is made only then, holds the model to the same bounds."""
    made = LaterGate(ACCURATE, None, lambda gate, _: held_to(gate, evaluation(board)))  # type: ignore[arg-type]  # not looked at
    order = opened(sealed(without_ends(replace(gated(board, content, ACCURATE), gate=made))))
    assert isinstance(order, Order)
    outcome = deploy_host(board.host("a"), order, board.ends())
    assert outcome.state is state, outcome.reason
    assert outcome.gate_failed is (state is HostState.ROLLED_BACK)


def test_what_cannot_be_told_does_not_pass(board: Bench) -> None:
    """240 samples without a single difference do not show a loss of 1 % at most."""
    outcome = deploy(board, AS_GOOD, GateSpec(accuracy_drop=0.01))
    assert outcome.state is HostState.ROLLED_BACK
    assert "a bound could not be shown to be kept: accuracy 100 %, 100 % live" in outcome.reason
    assert outcome.gate_failed


def test_a_budget_ends_the_measurement(board: Bench) -> None:
    """When the time is up, what was measured until then decides."""
    outcome = deploy(board, AS_GOOD, GateSpec(accuracy_drop=0.5, budget_s=0.001))
    assert outcome.state is HostState.CONFIRMED, outcome.reason
    assert "100 % live, of 240 samples" not in of_gate(board)


def test_the_first_model_of_a_device_passes(fleet: Bench) -> None:
    """There is nothing to compare with, and that is told."""
    fleet.provision()
    outcome = deploy(fleet, AS_GOOD, ACCURATE)
    assert outcome.state is HostState.CONFIRMED
    assert of_gate(fleet) == "nothing to compare with: there is no live release"


def test_the_same_model_passes_unmeasured(board: Bench) -> None:
    """A release that only brings other artifacts has the live model; under another setting it is measured."""
    release = board.release(LIVE, labels=b"glass")
    order = replace(gated(board, LIVE, ACCURATE), release=release)
    assert deploy_host(board.host("a"), order, board.ends()).state is HostState.CONFIRMED
    assert of_gate(board) == "the live release has the same model"
    board.events.clear()
    outcome = deploy(board, LIVE, ACCURATE, LITERT)
    assert outcome.state is HostState.CONFIRMED, outcome.reason
    assert "accuracy 100 %" in of_gate(board)


def test_a_live_model_that_does_not_run_is_no_measure(fleet: Bench) -> None:
    """What replaces a broken model passes, and why is told."""
    fleet.provision()
    fleet.deploy(OLD)
    outcome = deploy(fleet, AS_GOOD, ACCURATE)
    assert outcome.state is HostState.CONFIRMED
    assert of_gate(fleet).startswith("nothing to compare with: the live model does not load under ai-edge")


def test_a_model_that_does_not_run_does_not_pass(board: Bench) -> None:
    """The reason has the runtime's own words."""
    outcome = deploy(board, custom(2), ACCURATE)
    assert outcome.state is HostState.ROLLED_BACK
    assert outcome.gate_failed
    assert "the new model does not load under ai-edge-litert 2: " in outcome.reason
    assert board.current() == LIVE


def test_a_runtime_that_is_not_there_is_told_before_anything_is_activated(board: Bench) -> None:
    """The device keeps what it runs; that is its own fault, not the model's."""
    outcome = deploy(board, AS_GOOD, ACCURATE, Setting(runtime="tflite-runtime 9", threads=1))
    assert outcome.state is HostState.FAILED
    assert not outcome.gate_failed
    assert "tflite-runtime 9 is not installed here" in outcome.reason
    assert outcome.release == board.release(LIVE).id


def test_a_trial_that_was_left_is_measured_against_the_model_before_it(board: Bench) -> None:
    """The next run finds the worse model current and unconfirmed, and sends the device back to what it ran before."""
    board.leave_on_trial(WORSE, previous=LIVE)
    outcome = deploy(board, WORSE, ACCURATE)
    assert outcome.state is HostState.ROLLED_BACK
    assert "accuracy 0 %, 100 % live" in outcome.reason
    assert board.current() == LIVE


class Cut(Device):
    """A device whose line is cut at its third block."""

    blocks = 0

    def bench(self, *given: Any, **more: Any) -> BlockReply:
        """Hold a block, or lose the line."""
        self.blocks += 1
        if self.blocks == 3:
            self.close()
            raise UnreachableError("the connection was cut", where=self.host.name)
        return super().bench(*given, **more)


def test_a_line_cut_in_the_gate_is_no_verdict(board: Bench) -> None:
    """Nobody confirmed: the next run takes the device up where it is found and measures from the beginning."""
    board.kind = Cut
    lost = deploy(board, AS_GOOD, ACCURATE)
    assert lost.state is HostState.UNREACHABLE
    assert not lost.gate_failed
    board.kind = Device
    outcome = deploy(board, AS_GOOD, ACCURATE)
    assert outcome.state is HostState.CONFIRMED, outcome.reason
    assert "of 240 samples" in of_gate(board)


def rolled(board: Bench, content: bytes, hosts: list[str]) -> Result:
    """Roll a model out in batches of one where all may fail; every host has to pass."""
    order = gated(board, content, ACCURATE, serial=(BatchSize(count=1),), max_fail_percentage=100.0)
    return roll_out(
        [board.host(name) for name in hosts],
        order.spec,
        lambda host: deploy_host(host, order, board.ends()),
        executor=ThreadExecutor(),
        emit=board.events.append,
        forks=1,
    )


def test_a_canary_that_does_not_pass_stops_the_rollout(board: Bench) -> None:
    """However many hosts may fail: the fault is the model's. The next batch is not begun."""
    result = rolled(board, WORSE, ["a", "b"])
    assert states(result) == {"a": "rolled_back", "b": "skipped"}
    assert result.stop == "batch 1 of 2: the model did not pass the gate on a"
    assert not board.root("b").exists()


@pytest.mark.parametrize("samples", [1, 2, 3, 10, 97, 240, 1000, 5000])
def test_a_stride_visits_each_sample_once_and_spreads_the_first(samples: int) -> None:
    """Any first tenth of the visits has as much of one half of the set as of the other, within three samples."""
    step = stride(samples)
    places = [number * step % samples for number in range(samples)]
    assert sorted(places) == list(range(samples))
    low = 0
    for count, place in enumerate(places, 1):
        low += place < samples / 2
        assert abs(low - count / 2) <= 3
