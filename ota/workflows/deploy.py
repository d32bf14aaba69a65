"""Deploy and roll back: one batch loop, with one job a host.

Invariants: a failure before the activation leaves `current` untouched; one after it sends the host back; success is only what was read back
from the device; a host that fails is a value and stops no other but through the rollout's own rules.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from ota.core.events import BatchStarted, Event
from ota.core.host_state import HostOutcome, HostState
from ota.core.inventory import Host
from ota.core.playbook import DeploySpec
from ota.core.rollout import Rollout, batches_of
from ota.errors import InterruptedRunError, OtaError, UnreachableError
from ota.remote.device import Device
from ota.remote.executor import Executor

Job = Callable[[Host], HostOutcome]
Connect = Callable[[Host], AbstractContextManager[Device]]


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
) -> Result:
    """Run `job` on `hosts` in the batches of `spec` until all ended or the rollout stops.

    `job` returns an outcome and raises OtaError only where it knows nothing better; Ctrl-C lets no host begin and is part of the result.
    """
    by_name = {host.name: host for host in hosts}
    rollout = Rollout(
        batches=batches_of([host.name for host in hosts], spec.serial),
        max_fail_percentage=spec.max_fail_percentage,
    )
    ended: dict[str, HostOutcome] = {}

    def one(host: Host) -> HostOutcome:
        outcome = _guarded(job, host)
        ended[host.name] = outcome
        return outcome

    number = 0
    try:
        while (batch := rollout.next_batch()) is not None:
            number += 1
            emit(BatchStarted(number=number, of=len(rollout.batches), hosts=batch))
            for outcome in executor.run(one, [by_name[name] for name in batch], forks=forks):
                rollout = rollout.record(outcome.result())
    except (KeyboardInterrupt, InterruptedRunError):
        known = {outcome.host for outcome in rollout.outcomes}
        for name, late in sorted(ended.items()):
            if name not in known:
                rollout = rollout.record(late)
        rollout = rollout.interrupt("interrupted")
        return Result(outcomes=rollout.finish(), stop=rollout.stop, interrupted=True)
    return Result(outcomes=rollout.finish(), stop=rollout.stop)


def _guarded(job: Job, host: Host) -> HostOutcome:
    try:
        return job(host)
    except InterruptedRunError:
        raise
    except OtaError as error:
        state = HostState.UNREACHABLE if isinstance(error, UnreachableError) else HostState.FAILED
        return HostOutcome(
            host=host.name,
            state=state,
            release=None,
            previous=None,
            changed=False,
            bytes_sent=0,
            digest=None,
            reason=error.reason,
        )
