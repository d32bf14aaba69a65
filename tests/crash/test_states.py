"""The agent under power cuts: every state that a cut may leave of its operations is recovered from; and planted faults are found."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks.crash.operations import OPERATIONS, Operation
from benchmarks.crash.place import Place, place
from benchmarks.crash.planted import ORDERS, SYNCED, settling_found, syncs_found
from benchmarks.crash.simulator import Simulator


@pytest.fixture
def here() -> Iterator[Place]:
    """Give a folder in memory."""
    with place() as folder:
        yield folder


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_every_state_that_a_cut_leaves_is_recovered_from(operation: Operation, here: Place) -> None:
    """Cut at each effect, and again inside recovery: one of both releases is current and whole, nothing is left over, and the operation converges."""
    simulator = Simulator(operation, here, limit=100, deeper=20)
    simulator.cut(simulator.history)
    assert simulator.count.bad == []
    assert simulator.count.states > len(simulator.history.trace)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_a_cut_after_a_kill_is_recovered_from(operation: Operation, here: Place) -> None:
    """What a killed run left unsynced is made durable by the next one before it builds on it."""
    simulator = Simulator(operation, here, limit=30)
    simulator.cut(simulator.history, again=0)
    simulator.cut_killed(again=0)
    assert simulator.count.bad == []


@pytest.mark.parametrize("operation", ORDERS, ids=lambda operation: operation.name)
def test_a_planted_wrong_order_is_found(operation: Operation, here: Place) -> None:
    """An operation that does the right things in the wrong order leaves a bad state somewhere."""
    simulator = Simulator(operation, here)
    simulator.cut(simulator.history, again=0)
    assert simulator.count.bad


@pytest.mark.parametrize("operation", SYNCED, ids=lambda operation: operation.name)
def test_each_missing_sync_is_found(operation: Operation, here: Place) -> None:
    """Without any one of its syncs, those done twice aside, an operation leaves a bad state somewhere."""
    syncs = syncs_found(operation, here)
    assert syncs.missed == ()
    assert len(syncs.found) > len(syncs.repeated)


def test_a_recovery_that_syncs_nothing_is_found(here: Place) -> None:
    """What a killed run renamed and did not sync is lost under what was built on it."""
    assert settling_found(here) > 0
