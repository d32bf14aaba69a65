"""Deploy and roll back: one batch loop, with one job a host; after a stop, the way back of those that the play's policy undoes.

Invariants: a failure before the activation leaves `current` untouched; one after it sends the host back; success is only what was read back
from the device; a host that fails is a value and stops no other but through the rollout's own rules; after Ctrl-C no host begins, and what is
told of the hosts under way is what became of them; what a host ended in is noted before it counts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from threading import Event as Flag

from ota.core.events import BatchMoved, BatchStarted, Event, Paused, ReturnStarted, StepFinished, Warned
from ota.core.host_state import HostOutcome, HostState
from ota.core.inventory import Host
from ota.core.playbook import DeploySpec, OnFailure
from ota.core.rollout import BAD, Rollout, Wanted, batches_of
from ota.core.rollout_log import (
    BatchBegun,
    HostBegun,
    HostEnded,
    HostReturned,
    Record,
    Returning,
    Standing,
    Stopped,
)
from ota.errors import InterruptedRunError, OtaError, UnreachableError
from ota.remote.executor import Executor

Job = Callable[[Host], HostOutcome]
WayHome = Callable[[Host, str], HostOutcome]
"""Returns a host to a named release."""
_LOOK_S = 0.05
_BROKEN_OFF = "the run was broken off while this host was under way: its release may be active and unconfirmed; run the command again to finish or undo it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How a rollout ended: an outcome for each host, why it stopped before its end, and whether a person stopped it."""

    outcomes: tuple[HostOutcome, ...]
    stop: str = ""
    interrupted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What goes around a rollout: the way back, the journal, the clock.

    `home` is the job of a return, None: nothing returns. `wanted` is what read-backs are compared with. `note` keeps one record, durably, before
    what follows from it; `standing` is where an earlier run left this rollout; `sleep` waits that many seconds.
    """

    home: WayHome | None = None
    wanted: tuple[Wanted, ...] = ()
    note: Callable[[Record], None] = lambda _: None
    standing: Standing | None = None
    sleep: Callable[[float], None] = time.sleep


def roll_out(
    hosts: Sequence[Host],
    spec: DeploySpec,
    job: Job,
    *,
    executor: Executor,
    emit: Callable[[Event], None],
    forks: int,
    stop: Callable[[], None] = lambda: None,
    frame: Frame | None = None,
) -> Result:
    """Run `job` on `hosts` in the batches of `spec` until all ended or the rollout stops, and send back those that `spec.on_failure` names.

    `job` returns an outcome and raises OtaError only where it knows nothing better. Ctrl-C is part of the result: `stop` is called, no host
    begins, those under way are waited for; a second Ctrl-C leaves them alone, and their outcomes say so. What `frame.note` raises ends the run
    in the same way, and is raised again.
    """
    run = _Run(hosts, spec, job, emit, frame or Frame())
    try:
        run.batches(executor, forks)
        run.returns(executor, forks)
    except (KeyboardInterrupt, InterruptedRunError):
        stop()
        run.settle()
        return Result(outcomes=run.rollout.finish(), stop=run.rollout.stop, interrupted=True)
    except OtaError:
        stop()
        run.settle()
        raise
    return Result(outcomes=run.rollout.finish(), stop=run.rollout.stop)


class _Work:
    """One job over many hosts: which have begun, left and ended."""

    def __init__(self) -> None:
        self.begun: set[str] = set()
        self.left: set[str] = set()
        self.ended: dict[str, HostOutcome] = {}

    def under_way(self) -> list[str]:
        """Return the hosts that have begun and not left."""
        return sorted(self.begun - self.left)


class _Run:
    """A rollout under way: where it stands, and what is done to its hosts now."""

    def __init__(
        self, hosts: Sequence[Host], spec: DeploySpec, job: Job, emit: Callable[[Event], None], frame: Frame
    ) -> None:
        self._hosts = {host.name: host for host in hosts}
        self._job = job
        self._emit = emit
        self._frame = frame
        self._pause_s = spec.pause_s
        self._stopped = Flag()
        self._forth, self._back = _Work(), _Work()
        self._batches_begun = frame.standing.batches_begun if frame.standing else 0
        self._before = {one.host: one.current for one in frame.standing.found} if frame.standing else {}
        self._proven: dict[str, HostOutcome] = {}
        if frame.standing is None:
            self.rollout = Rollout(
                batches=batches_of([host.name for host in hosts], spec.serial),
                max_fail_percentage=spec.max_fail_percentage,
                on_failure=OnFailure.STOP if frame.home is None else spec.on_failure,
                wanted=frame.wanted,
            )
        else:
            self.rollout, proven = frame.standing.taken_up()
            self._proven = {end.host: end for end in proven}

    def batches(self, executor: Executor, forks: int) -> None:
        """Carry out one batch after the other."""
        changed = False
        while (batch := self.rollout.next_batch()) is not None:
            number = self.rollout.number_of(batch[0])
            if changed:
                self._pause(number)
            self._emit(BatchStarted(number=number, of=len(self.rollout.batches), hosts=batch))
            if number > self._batches_begun:
                self._frame.note(BatchBegun(number=number, hosts=batch))
            changed, bad = False, 0
            ends = executor.run(self._one, [self._hosts[name] for name in batch], forks=forks)
            for done, outcome in enumerate(ends, 1):
                end = outcome.result()
                changed |= end.changed
                bad += end.state in BAD
                self.rollout = self.rollout.record(end)
                self._emit(BatchMoved(number=number, done=done, of=len(batch), bad=bad))
        if self.rollout.stop:
            self._frame.note(Stopped(reason=self.rollout.stop))

    def returns(self, executor: Executor, forks: int) -> None:
        """Send back the hosts that a stop undoes."""
        ways = self.rollout.to_return()
        if not ways:
            return
        names = tuple(way.host for way in ways)
        self._frame.note(Returning(ways=ways))
        self._emit(ReturnStarted(hosts=names, reason=self.rollout.stop))
        to = {way.host: way.release for way in ways}

        def one(host: Host) -> HostOutcome:
            return self._return(host, to[host.name])

        for outcome in executor.run(one, [self._hosts[name] for name in names], forks=forks):
            self.rollout = self.rollout.record_return(outcome.result())

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
        for name in sorted(self._forth.begun - {outcome.host for outcome in self.rollout.outcomes}):
            self.rollout = self.rollout.record(self._forth.ended.get(name) or _unknown(name))
        for name in sorted(set(self._back.ended) - {outcome.host for outcome in self.rollout.returns}):
            self.rollout = self.rollout.record_return(self._back.ended[name])

    def _pause(self, number: int) -> None:
        if self._pause_s > 0 and number > self._batches_begun:
            self._emit(Paused(number=number, seconds=self._pause_s))
            self._frame.sleep(self._pause_s)

    def _under_way(self) -> list[str]:
        return [*self._forth.under_way(), *self._back.under_way()]

    def _one(self, host: Host) -> HostOutcome:
        with _Turn(self._forth, host, self._stopped) as turn:
            self._frame.note(HostBegun(host=host.name))
            end = self._continued(self._guarded(host, self._job))
            if end is not self._proven.get(host.name):
                self._frame.note(HostEnded(outcome=end))
            return turn.end(end)

    def _return(self, host: Host, release: str) -> HostOutcome:
        home = self._frame.home
        if home is None:
            raise ValueError("nothing was to return")
        with _Turn(self._back, host, self._stopped) as turn:
            end = self._guarded(host, lambda one: home(one, release))
            if end.state is HostState.SKIPPED:
                raise InterruptedRunError("the run was stopped before this host went back", where=host.name)
            self._frame.note(HostReturned(outcome=end))
            return turn.end(end)

    def _continued(self, end: HostOutcome) -> HostOutcome:
        """Return how a host ended over all runs of this rollout: what it ran before is what the first one found."""
        proven = self._proven.get(end.host)
        if proven is not None and end.state is HostState.CONFIRMED and not end.changed:
            return proven
        if end.host not in self._before or end.state is HostState.SKIPPED:
            return end
        before = self._before[end.host]
        lost = end.state is HostState.UNREACHABLE
        return replace(end, previous=before, changed=end.changed or lost or end.release != before)

    def _guarded(self, host: Host, job: Job) -> HostOutcome:
        try:
            return job(host)
        except OtaError as error:
            state = _state_of(error)
            self._emit(
                StepFinished(host=host.name, step=state.value, result=state.value, detail=error.reason)
            )
            return _without_release(host.name, state, error.reason)


class _Turn:
    """A host's turn at a job: begun, and left in any case; InterruptedRunError where the run was stopped before it."""

    def __init__(self, work: _Work, host: Host, stopped: Flag) -> None:
        self._work = work
        self._host = host.name
        self._stopped = stopped

    def __enter__(self) -> _Turn:  # noqa: PYI034 - Self is not in 3.10
        if self._stopped.is_set():
            raise InterruptedRunError("the run was stopped before this host began", where=self._host)
        self._work.begun.add(self._host)
        return self

    def end(self, outcome: HostOutcome) -> HostOutcome:
        """Keep how the host ended."""
        self._work.ended[self._host] = outcome
        return outcome

    def __exit__(self, *_: object) -> None:
        self._work.left.add(self._host)


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
