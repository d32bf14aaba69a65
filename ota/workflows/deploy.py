"""Deploy and roll back: one batch loop, with one job a host.

Invariants: a failure before the activation leaves `current` untouched; one after it sends the host back; success is only what was read back
from the device; a host that fails is a value and stops no other but through the rollout's own rules; after Ctrl-C no host begins, and what is
told of the hosts under way is what became of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Event as Flag

from ota.core.events import BatchStarted, Event, StepFinished, Warned
from ota.core.host_state import HostOutcome, HostState
from ota.core.inventory import Host
from ota.core.playbook import DeploySpec
from ota.core.rollout import Rollout, batches_of
from ota.errors import InterruptedRunError, OtaError, UnreachableError
from ota.remote.executor import Executor

Job = Callable[[Host], HostOutcome]
_LOOK_S = 0.05
_BROKEN_OFF = "the run was broken off while this host was under way: its release may be active and unconfirmed; run the command again to finish or undo it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How a rollout ended: an outcome for each host, why it stopped before its end, and whether a person stopped it."""

    outcomes: tuple[HostOutcome, ...]
    stop: str = ""
    interrupted: bool = False


def roll_out(
    hosts: Sequence[Host],
    spec: DeploySpec,
    job: Job,
    *,
    executor: Executor,
    emit: Callable[[Event], None],
    forks: int,
    stop: Callable[[], None] = lambda: None,
) -> Result:
    """Run `job` on `hosts` in the batches of `spec` until all ended or the rollout stops.

    `job` returns an outcome and raises OtaError only where it knows nothing better. Ctrl-C is part of the result: `stop` is called, no host
    begins, those under way are waited for; a second Ctrl-C leaves them alone, and their outcomes say so.
    """
    run = _Run(hosts, spec, job, emit)
    try:
        run.batches(executor, forks)
    except (KeyboardInterrupt, InterruptedRunError):
        stop()
        run.settle()
        return Result(outcomes=run.rollout.finish(), stop=run.rollout.stop, interrupted=True)
    return Result(outcomes=run.rollout.finish(), stop=run.rollout.stop)


class _Run:
    """A rollout under way: where it stands, and which hosts have begun, left and ended."""

    def __init__(
        self, hosts: Sequence[Host], spec: DeploySpec, job: Job, emit: Callable[[Event], None]
    ) -> None:
        self.rollout = Rollout(
            batches=batches_of([host.name for host in hosts], spec.serial),
            max_fail_percentage=spec.max_fail_percentage,
        )
        self._hosts = {host.name: host for host in hosts}
        self._job = job
        self._emit = emit
        self._stopped = Flag()
        self._begun: set[str] = set()
        self._left: set[str] = set()
        self._ended: dict[str, HostOutcome] = {}

    def batches(self, executor: Executor, forks: int) -> None:
        """Carry out one batch after the other."""
        number = 0
        while (batch := self.rollout.next_batch()) is not None:
            number += 1
            self._emit(BatchStarted(number=number, of=len(self.rollout.batches), hosts=batch))
            for outcome in executor.run(self._one, [self._hosts[name] for name in batch], forks=forks):
                self.rollout = self.rollout.record(outcome.result())

    def settle(self) -> None:
        """Let no host begin, wait for those under way, and record what became of them."""
        self._stopped.set()
        self.rollout = self.rollout.interrupt("interrupted")
        try:
            waiting = self._under_way()
            if waiting:
                names = ", ".join(waiting)
                self._emit(
                    Warned(message=f"stopping when {names} are safe; Ctrl-C again leaves them as they are")
                )
            while self._under_way():
                time.sleep(_LOOK_S)
        except KeyboardInterrupt:
            self._emit(Warned(message="stopped at once"))
        recorded = {outcome.host for outcome in self.rollout.outcomes}
        for name in sorted(self._begun - recorded):
            self.rollout = self.rollout.record(self._ended.get(name) or _unknown(name))

    def _under_way(self) -> list[str]:
        return sorted(self._begun - self._left)

    def _one(self, host: Host) -> HostOutcome:
        if self._stopped.is_set():
            raise InterruptedRunError("the run was stopped before this host began", where=host.name)
        self._begun.add(host.name)
        try:
            self._ended[host.name] = outcome = self._guarded(host)
        finally:
            self._left.add(host.name)
        return outcome

    def _guarded(self, host: Host) -> HostOutcome:
        try:
            return self._job(host)
        except OtaError as error:
            state = _state_of(error)
            self._emit(
                StepFinished(host=host.name, step=state.value, result=state.value, detail=error.reason)
            )
            return _without_release(host.name, state, error.reason)


def _state_of(error: OtaError) -> HostState:
    if isinstance(error, InterruptedRunError):
        return HostState.SKIPPED
    return HostState.UNREACHABLE if isinstance(error, UnreachableError) else HostState.FAILED


def _unknown(host: str) -> HostOutcome:
    return _without_release(host, HostState.FAILED, _BROKEN_OFF)


def _without_release(host: str, state: HostState, reason: str) -> HostOutcome:
    return HostOutcome(
        host=host,
        state=state,
        release=None,
        previous=None,
        changed=False,
        bytes_sent=0,
        digest=None,
        reason=reason,
    )
