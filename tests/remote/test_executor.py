"""Work on many hosts: outcomes as they end, failures as values, groups in turn, and Ctrl-C."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time

import pytest

from ota.core.inventory import Host
from ota.errors import ExitCode, HostError, InterruptedRunError, UsageError
from ota.remote.executor import Outcome, ThreadExecutor

HOSTS = tuple(Host(name=name) for name in ("a", "b", "c", "d"))


def test_outcomes_arrive_as_jobs_end_not_in_the_order_of_hosts() -> None:
    """A fast host's outcome does not wait for a slow one's."""
    gate = threading.Event()

    def job(host: Host) -> str:
        if host.name == "a":
            assert gate.wait(10)
        return host.name.upper()

    seen: list[str] = []
    for outcome in ThreadExecutor().run(job, HOSTS):
        seen.append(outcome.result())
        if len(seen) == 3:
            gate.set()
    assert seen[-1] == "A"
    assert sorted(seen) == ["A", "B", "C", "D"]


def test_a_host_that_fails_is_a_value_and_stops_no_other() -> None:
    """An OtaError of one host comes back as its outcome, and the others end well."""

    def job(host: Host) -> str:
        if host.name == "b":
            raise HostError("the disk is full", where=host.name)
        return host.name

    outcomes = {outcome.host.name: outcome for outcome in ThreadExecutor().run(job, HOSTS)}
    assert [outcomes[name].value for name in "acd"] == ["a", "c", "d"]
    assert outcomes["b"].value is None
    assert str(outcomes["b"].error) == "b: the disk is full"
    with pytest.raises(HostError, match="the disk is full"):
        outcomes["b"].result()


def test_a_programmers_slip_is_raised_in_the_callers_thread_and_closes_what_runs() -> None:
    """An exception that is no OtaError is not taken for a broken host."""
    closed: list[bool] = []

    def job(host: Host) -> str:
        return {}[host.name]  # type: ignore[no-any-return]

    with pytest.raises(KeyError):
        list(ThreadExecutor(lambda: closed.append(True)).run(job, HOSTS))
    assert closed == [True]


@pytest.mark.parametrize("forks", [1, 2, 3])
def test_at_most_forks_jobs_run_at_once(forks: int) -> None:
    """The count of running jobs reaches `forks` and never exceeds it."""
    running, most, guard = 0, 0, threading.Lock()

    def job(_: Host) -> None:
        nonlocal running, most
        with guard:
            running += 1
            most = max(most, running)
        time.sleep(0.05)
        with guard:
            running -= 1

    assert len(list(ThreadExecutor().run(job, HOSTS * 3, forks=forks))) == 12
    assert most == forks


def test_hosts_of_one_group_run_one_after_the_other_in_order() -> None:
    """Two hosts that share a machine never run at the same time, while another group does."""
    log: list[tuple[str, str]] = []
    meet = threading.Barrier(2, timeout=10)

    def job(host: Host) -> None:
        log.append(("begin", host.name))
        if host.name in {"a", "c"}:
            meet.wait()
        log.append(("end", host.name))

    names = [o.host.name for o in ThreadExecutor().run_groups(job, [HOSTS[:2], HOSTS[2:]], forks=2)]
    assert sorted(names) == ["a", "b", "c", "d"]
    assert log.index(("end", "a")) < log.index(("begin", "b"))
    assert log.index(("end", "c")) < log.index(("begin", "d"))


def test_a_failure_in_a_group_does_not_end_the_group() -> None:
    """The next host of a group has its turn after one that failed."""

    def job(host: Host) -> str:
        if host.name == "a":
            raise HostError("gone", where="a")
        return host.name

    outcomes = list(ThreadExecutor().run_groups(job, [HOSTS[:2]], forks=1))
    assert [(o.host.name, o.value) for o in outcomes] == [("a", None), ("b", "b")]


def test_after_cancel_nothing_begins() -> None:
    """A run that was cancelled raises instead of starting jobs, and closes connections once."""
    closed: list[bool] = []
    executor = ThreadExecutor(lambda: closed.append(True))
    executor.cancel()
    executor.cancel()
    begun: list[str] = []
    with pytest.raises(InterruptedRunError, match="the run was stopped before its end"):
        list(executor.run(lambda host: begun.append(host.name), HOSTS))
    assert begun == []
    assert closed == [True]


def test_no_hosts_and_no_forks() -> None:
    """No host means no outcome; a count of forks below 1 is refused with exit code 64."""
    assert list(ThreadExecutor().run(lambda host: host.name, ())) == []
    with pytest.raises(UsageError, match="--forks has to be a number from 1: found 0") as raised:
        ThreadExecutor().run(lambda host: host.name, HOSTS, forks=0)
    assert raised.value.exit_code is ExitCode.USAGE


def test_a_caller_that_stops_early_lets_nothing_new_begin() -> None:
    """Closing the iterator leaves the hosts that wait alone."""
    begun: list[str] = []
    outcomes = ThreadExecutor().run(lambda host: begun.append(host.name) or time.sleep(0.1), HOSTS, forks=1)
    first = next(outcomes)
    outcomes.close()  # type: ignore[attr-defined]
    time.sleep(0.3)
    assert isinstance(first, Outcome)
    assert len(begun) <= 2


PROGRAM = """
import sys, threading
from ota.core.inventory import Host
from ota.errors import HostError
from ota.remote.executor import ThreadExecutor
closed = threading.Event()
def job(host):
    print(f"begin {host.name}\\n", end="", flush=True)
    closed.wait(60)
    print(f"end {host.name}\\n", end="", flush=True)
try:
    for _ in ThreadExecutor(closed.set).run(job, [Host(name=n) for n in "abcd"], forks=2):
        pass
except KeyboardInterrupt:
    print("interrupted", flush=True)
    sys.exit(130)
"""


def test_ctrl_c_closes_what_runs_begins_nothing_and_is_raised_again() -> None:
    """SIGINT in a real process: two of four jobs had begun, they end by the callback, the others never begin."""
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        begun = sorted([process.stdout.readline(), process.stdout.readline()])
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read().split("\n")
        code = process.wait(20)
    assert begun == ["begin a\n", "begin b\n"]
    assert code == 130
    assert sorted(line for line in rest if line) == ["end a", "end b", "interrupted"]
    assert time.monotonic() - began < 5
