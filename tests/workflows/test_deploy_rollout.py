"""The batch loop with real agents: dead hosts, canaries, and Ctrl-C."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from ota.core.host_state import HostOutcome, HostState
from ota.core.inventory import Host
from ota.core.playbook import BatchSize, DeploySpec, HealthCheck
from ota.errors import HostError
from ota.remote.executor import Outcome, ThreadExecutor
from ota.workflows.deploy import Result, roll_out
from ota.workflows.deploy_host import deploy_host
from tests.workflows.conftest import NEW, OLD, Bench, states

T = TypeVar("T")
ONE_BY_ONE = (BatchSize(count=1),)


def test_a_dead_host_stops_no_other_in_its_batch(fleet: Bench) -> None:
    """An unreachable host is a value; those beside it are deployed."""
    fleet.dead.add("b")
    result = fleet.roll(NEW, ["a", "b", "c"])
    assert states(result) == {"a": "confirmed", "b": "unreachable", "c": "confirmed"}
    assert result.outcomes[1].reason == "no route to host"
    assert result.stop == ""


def test_a_failing_canary_stops_the_rollout(fleet: Bench) -> None:
    """Hosts behind a batch that broke the budget are skipped and untouched, and say why."""
    fleet.dead.add("a")
    result = fleet.roll(NEW, ["a", "b", "c"], serial=ONE_BY_ONE, max_fail_percentage=0)
    assert states(result) == {"a": "unreachable", "b": "skipped", "c": "skipped"}
    assert result.stop.startswith("batch 1 of 3: a did not make it")
    assert result.outcomes[1].reason == f"not begun: {result.stop}"
    assert not fleet.root("b").exists()


def test_a_rollout_that_may_fail_everywhere_goes_on(fleet: Bench) -> None:
    """`max_fail_percentage: 100` with batches of one does not stop at the first host."""
    fleet.dead.add("a")
    result = fleet.roll(NEW, ["a", "b"], serial=ONE_BY_ONE, max_fail_percentage=100)
    assert states(result) == {"a": "unreachable", "b": "confirmed"}


def test_an_error_that_a_job_lets_through_is_that_hosts_own(fleet: Bench) -> None:
    """A job that raises is a failed host, told as it happens, and stops no other."""

    def job(host: Host) -> HostOutcome:
        if host.name == "a":
            raise HostError("no", where="a", hint="try this")
        return deploy_host(host, fleet.order(fleet.release(NEW)), fleet.ends())

    hosts = [fleet.host("a"), fleet.host("b")]
    result = roll_out(hosts, DeploySpec(), job, executor=ThreadExecutor(), emit=fleet.events.append, forks=2)
    assert states(result) == {"a": "failed", "b": "confirmed"}
    assert fleet.told("failed") == [result.outcomes[0].reason] == ["no; try this"]


def interrupt() -> None:
    """Press Ctrl-C."""
    os.kill(os.getpid(), signal.SIGINT)


def roll(fleet: Bench, hosts: str, executor: object, stop: Callable[[], None], **more: object) -> Result:
    """Roll out one by one, with a health check that passes at its second try."""
    check = HealthCheck(command="test -e tried || { touch tried; false; }", retries=1)
    order = fleet.order(fleet.release(NEW), serial=ONE_BY_ONE, health_check=check)
    ends = fleet.ends(**more)
    return roll_out(
        [fleet.host(name) for name in hosts],
        order.spec,
        lambda host: deploy_host(host, order, ends),
        executor=executor,  # type: ignore[arg-type]
        emit=fleet.events.append,
        forks=1,
        stop=stop,
    )


def test_ctrl_c_finishes_what_was_activated_and_begins_nothing(fleet: Bench) -> None:
    """The host under way behind its activation is proven, those behind it never begin, and the result says who stopped."""
    stop = threading.Event()

    def sleep(_seconds: float) -> None:
        if fleet.root("b").exists():
            interrupt()
            assert stop.wait(10)

    result = roll(fleet, "abc", ThreadExecutor(stop.set), stop.set, stopping=stop.is_set, sleep=sleep)
    assert (result.interrupted, result.stop) == (True, "interrupted")
    assert states(result) == {"a": "confirmed", "b": "confirmed", "c": "skipped"}
    assert result.outcomes[2].reason == "not begun: interrupted"
    assert fleet.current("b") == NEW
    assert not fleet.root("c").exists()


def test_ctrl_c_before_the_activation_leaves_the_host_as_it_was(fleet: Bench) -> None:
    """A host that had not activated anything keeps its release and is skipped, without a word of failure."""
    fleet.deploy(OLD)
    stop = threading.Event()

    def stopping() -> bool:
        if not stop.is_set():
            interrupt()
            assert stop.wait(10)
        return True

    result = roll(fleet, "ab", ThreadExecutor(stop.set), stop.set, stopping=stopping)
    assert states(result) == {"a": "skipped", "b": "skipped"}
    assert result.outcomes[0].reason == "stopped before anything was activated"
    assert fleet.current() == OLD


class Impatient:
    """An executor that leaves its jobs behind as soon as a host is under way, as one does whose patience has an end."""

    def __init__(self) -> None:
        self.under_way = threading.Event()

    def run(self, job: Callable[[Host], T], hosts: Iterable[Host], *, forks: int = 1) -> Iterator[Outcome[T]]:
        """Start the jobs, wait until one is under way, and be interrupted."""
        assert forks == 1
        for host in hosts:
            threading.Thread(target=job, args=(host,), daemon=True).start()
        assert self.under_way.wait(10)
        raise KeyboardInterrupt
        yield

    def run_groups(
        self, job: Callable[[Host], T], groups: Iterable[Sequence[Host]], *, forks: int = 1
    ) -> Iterator[Outcome[T]]:
        """Do the same."""
        return self.run(job, [host for group in groups for host in group], forks=forks)


def test_the_result_waits_for_hosts_under_way(fleet: Bench) -> None:
    """A health check that takes longer than the executor waits is waited for all the same: nothing is told of a host before it has ended."""
    executor = Impatient()

    def sleep(_seconds: float) -> None:
        executor.under_way.set()
        assert threading.Event().wait(0.3) is False

    result = roll(fleet, "a", executor, lambda: None, sleep=sleep)
    assert result.interrupted
    assert states(result) == {"a": "confirmed"}
    assert fleet.warnings() == ["stopping when a are safe; Ctrl-C again leaves them as they are"]


def test_a_second_ctrl_c_leaves_a_host_under_way_and_says_so(fleet: Bench) -> None:
    """A host that nobody waited for is failed with what may be true of it, never skipped."""
    executor, release = Impatient(), threading.Event()

    def sleep(_seconds: float) -> None:
        executor.under_way.set()
        while not fleet.warnings():
            assert not release.wait(0.01)
        interrupt()
        release.wait(30)

    result = roll(fleet, "ab", executor, lambda: None, sleep=sleep)
    release.set()
    assert states(result) == {"a": "failed", "b": "skipped"}
    assert result.outcomes[0].reason.startswith("the run was broken off while this host was under way: ")
    assert result.outcomes[0].state is HostState.FAILED
    assert fleet.warnings()[-1] == "stopped at once"
