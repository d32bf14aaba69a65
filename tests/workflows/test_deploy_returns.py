"""What a stop undoes, with real agents: the way back, hosts out of reach on it, the pause between batches, and Ctrl-C in either."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from ota.core.events import BatchStarted, Paused, ReturnStarted
from ota.core.host_state import HostOutcome, HostState
from ota.core.inventory import Host
from ota.core.playbook import BatchSize, HealthCheck, OnFailure
from ota.core.rollout_log import Record, Returning, Stopped
from ota.errors import UsageError
from ota.remote.executor import ThreadExecutor
from ota.workflows.deploy import Frame, Result, roll_out
from ota.workflows.deploy_host import deploy_host
from ota.workflows.rollback_host import rollback_host
from tests.workflows.conftest import NEW, OLD, Bench, states

ONE_BY_ONE = (BatchSize(count=1),)


def roll(
    fleet: Bench,
    hosts: str,
    *,
    at_return: Callable[[str], None] = lambda _: None,
    sleep: Callable[[float], None] = lambda _: None,
    note: Callable[[Record], None] = lambda _: None,
    **spec: object,
) -> Result:
    """Roll the new model out one by one; the last of `hosts` is unwell with it unless `well`."""
    check = HealthCheck(command=f"test $(basename $PWD) != {hosts[-1]} || grep -q old current/model.tflite", retries=0)  # fmt: skip
    given: dict[str, object] = {
        "serial": ONE_BY_ONE,
        "max_fail_percentage": 0.0,
        "health_check": check,
        **spec,
    }
    order = fleet.order(fleet.release(NEW), **given)

    def home(host: Host, release: str) -> HostOutcome:
        at_return(host.name)
        return rollback_host(host, fleet.back(release, **given), fleet.ends())

    return roll_out(
        [fleet.host(name) for name in hosts],
        order.spec,
        lambda host: deploy_host(host, order, fleet.ends()),
        executor=ThreadExecutor(),
        emit=fleet.events.append,
        forks=1,
        frame=Frame(home=home, sleep=sleep, note=note),
    )


@pytest.fixture
def old(fleet: Bench) -> Bench:
    """Three devices that run the old model."""
    for host in "abc":
        assert fleet.deploy(OLD, host).state is HostState.CONFIRMED
    fleet.events.clear()
    return fleet


POLICIES = {
    "stop": (OnFailure.STOP, {"a": "confirmed", "b": "confirmed", "c": "rolled_back"}),
    "rollback_batch": (OnFailure.ROLLBACK_BATCH, {"a": "confirmed", "b": "confirmed", "c": "rolled_back"}),
    "rollback_all": (OnFailure.ROLLBACK_ALL, {"a": "rolled_back", "b": "rolled_back", "c": "rolled_back"}),
}


@pytest.mark.parametrize(("policy", "ends"), POLICIES.values(), ids=POLICIES.keys())
def test_a_policy_decides_what_devices_run_after_a_stop(
    policy: OnFailure, ends: dict[str, str], old: Bench
) -> None:
    """What is told of each host is what its device runs, and the reason names the earlier release and why."""
    result = roll(old, "abc", on_failure=policy)
    assert states(result) == ends
    for end in result.outcomes:
        assert old.current(end.host) == (NEW if end.state is HostState.CONFIRMED else OLD)
        release = old.release(OLD if end.state is HostState.ROLLED_BACK else NEW)
        assert (end.release, end.digest, end.previous) == (
            release.id,
            release.model.digest,
            old.release(OLD).id,
        )
    if policy is OnFailure.ROLLBACK_ALL:
        assert result.outcomes[0].reason == f"returned to {old.release(OLD).id}: {result.stop}"
        (event,) = [event for event in old.events if isinstance(event, ReturnStarted)]
        assert event == ReturnStarted(hosts=("a", "b"), reason=result.stop)


def test_a_whole_batch_returns_with_its_failed_host(old: Bench) -> None:
    """Under rollback_batch those beside the failed host go back too, and no other."""
    result = roll(
        old, "abc", on_failure=OnFailure.ROLLBACK_BATCH, serial=(BatchSize(count=1), BatchSize(count=2))
    )
    assert [old.current(host) for host in "abc"] == [NEW, OLD, OLD]
    assert states(result) == {"a": "confirmed", "b": "rolled_back", "c": "rolled_back"}


def test_a_host_out_of_reach_on_its_way_back_is_unknown_and_healed_by_name(old: Bench) -> None:
    """It is to run its earlier release from now on; the others return, and a rollback to that release heals it when it is back."""

    def gone(host: str) -> None:
        if host == "a":
            old.dead.add("a")

    result = roll(old, "abc", on_failure=OnFailure.ROLLBACK_ALL, at_return=gone)
    assert states(result) == {"a": "unknown", "b": "rolled_back", "c": "rolled_back"}
    lost = result.outcomes[0]
    assert (lost.release, lost.digest) == (old.release(OLD).id, None)
    assert "run ota rollback again when it is back (no route to host)" in lost.reason
    assert [old.current(host) for host in "abc"] == [NEW, OLD, OLD]
    old.dead.clear()
    assert old.rollback(lost.release, host="a").state is HostState.CONFIRMED
    assert old.current("a") == OLD


def test_a_device_that_ran_nothing_before_keeps_what_it_has_and_fails(fleet: Bench) -> None:
    """There is no earlier release to return to: it says so."""
    fleet.deploy(OLD, "b")
    result = roll(fleet, "ab", on_failure=OnFailure.ROLLBACK_ALL)
    assert states(result) == {"a": "failed", "b": "rolled_back"}
    assert result.outcomes[0].reason.startswith("there is no earlier release to return to: it keeps")
    assert fleet.current("a") == NEW


def test_nothing_returns_where_no_way_back_is_given(old: Bench) -> None:
    """A loop without a way home, as that of a rollback, only stops."""
    result = old.roll(
        NEW,
        ["a", "b"],
        serial=ONE_BY_ONE,
        on_failure=OnFailure.ROLLBACK_ALL,
        max_fail_percentage=0,
        health_check=HealthCheck(command="test $(basename $PWD) = a", retries=0),
    )
    assert states(result) == {"a": "confirmed", "b": "rolled_back"}


def test_batches_are_apart_by_the_pause_where_something_changed(old: Bench) -> None:
    """The wait is told and waited before each batch but the first; a run that changes nothing waits for nothing."""
    slept: list[float] = []
    well = HealthCheck(command="true", retries=0)
    roll(old, "abc", pause_s=7.0, sleep=slept.append, health_check=well)
    assert slept == [7.0, 7.0]
    kinds = [e for e in old.events if isinstance(e, Paused | BatchStarted)]
    assert [type(event) for event in kinds] == [BatchStarted, Paused, BatchStarted, Paused, BatchStarted]
    assert kinds[1] == Paused(number=2, seconds=7.0)
    roll(old, "abc", pause_s=7.0, sleep=slept.append, health_check=well)
    assert slept == [7.0, 7.0]


def press(*_: object) -> None:
    """Press Ctrl-C."""
    os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_ends_a_pause(old: Bench) -> None:
    """The hosts behind it are skipped, those before it stay, and nothing returns."""
    result = roll(old, "abc", pause_s=600.0, sleep=press, on_failure=OnFailure.ROLLBACK_ALL)
    assert (result.interrupted, result.stop) == (True, "interrupted")
    assert states(result) == {"a": "confirmed", "b": "skipped", "c": "skipped"}


def test_ctrl_c_on_the_way_back_ends_with_the_host_under_way(old: Bench) -> None:
    """The host that goes back arrives; the next does not begin, and says that it was to return and did not yet."""
    result = roll(old, "abc", on_failure=OnFailure.ROLLBACK_ALL, at_return=press)
    assert result.interrupted
    assert [old.current(host) for host in "abc"] == [OLD, NEW, OLD]
    assert states(result) == {"a": "rolled_back", "b": "confirmed", "c": "rolled_back"}
    assert result.outcomes[1].reason == (
        f"it was to return to {old.release(OLD).id} and did not yet: ota deploy --resume takes it up"
    )


def test_a_journal_that_cannot_be_written_ends_the_rollout_safely(old: Bench, tmp_path: Path) -> None:
    """The error is raised when no host is under way any more, and no further host was begun."""

    def note(record: Record) -> None:
        if isinstance(record, Stopped | Returning):
            raise UsageError("a rollout's journal cannot be written", where=str(tmp_path))

    with pytest.raises(UsageError, match="cannot be written"):
        roll(old, "abc", on_failure=OnFailure.ROLLBACK_ALL, note=note)
    assert [old.current(host) for host in "abc"] == [NEW, NEW, OLD]
