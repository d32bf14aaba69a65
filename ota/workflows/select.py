"""Select, on the devices: facts, classes, then every candidate to every measured host and into the race there, and the finals over the fleet.

Invariants: two benchmarks never share a machine (hosts with one boot_id take turns); a host that fails or cannot be reached stops
no other; what was measured is kept as it arrives; what the devices answer is judged here, on the controller.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ota.core.device_class import DeviceClass, device_classes
from ota.core.events import Event, StepFinished
from ota.core.facts import Facts, Runtime
from ota.core.inventory import Host
from ota.core.measurement import Candidate, Contender, Failure
from ota.core.playbook import SelectSpec
from ota.core.release import Digest
from ota.core.samples import Block, Examination, HostLog, HostScores
from ota.core.wire import Timed
from ota.errors import OtaError, UnreachableError
from ota.remote.device import Device
from ota.remote.executor import Executor
from ota.workflows.crossings import Crossings, Outgoing
from ota.workflows.judging import Judge

Emit = Callable[[Event], None]
MOST_ROUNDS = 8
"""How often the finals are held at the most: each completes at least one contender."""


Score = Callable[[bytes, "tuple[int, ...]", Sequence[int]], "tuple[float, ...]"]
"""Returns one number for each of the samples (the third argument) from float32 outputs and their shape [samples, ...]; ValueError in words."""


class Kept(Protocol):
    """What was measured, kept between runs."""

    def blocks(self, host: str, context: str) -> tuple[Block, ...]:
        """Return the blocks of a host in a context, in their order."""
        ...

    def put_block(self, host: str, context: str, block: Block) -> None:
        """Keep a block."""
        ...

    def examinations(self, host: str, context: str) -> tuple[Examination, ...]:
        """Return the examinations of a host in a context."""
        ...

    def put_examination(self, host: str, context: str, examination: Examination) -> None:
        """Keep an examination."""
        ...

    def forget(self, host: str, context: str) -> None:
        """Drop what was measured on a host in a context."""
        ...

    def transfer(self, host: str, digest: Digest) -> tuple[float, int] | None:
        """Return (seconds, bytes) of a timed transfer of `digest` to `host`, None where none is known."""
        ...

    def put_transfer(self, host: str, digest: Digest, timed: Timed) -> None:
        """Remember a timed transfer."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is measured: the files, the data by digest, and how.

    `cannot_load` says why a file cannot load under a runtime (its label), empty where it can or where only the device can tell.
    """

    candidates: tuple[Candidate, ...]
    evaluation: Digest
    samples: int
    spec: SelectSpec
    score: Score
    cannot_load: Callable[[Candidate, str], str]
    judge: Judge


@dataclass(frozen=True, slots=True, kw_only=True)
class HostResult:
    """What one host contributed; `error` says why it contributed nothing, or why what it did cannot be used."""

    host: Host
    log: HostLog | None = None
    scores: tuple[HostScores, ...] = ()
    failures: tuple[Failure, ...] = ()
    error: OtaError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """The outside world of a selection; `now` returns UTC, ISO 8601. `fresh` measures anew what was measured before. `crossings` say in which form candidates cross."""

    connect: Callable[[Host], AbstractContextManager[Device]]
    executor: Executor
    kept: Kept
    blob: Callable[[Digest], Path]
    put_blob: Callable[[bytes], Digest]
    emit: Emit
    runtimes_for: Callable[[Host, Facts], tuple[Runtime, ...]]
    now: Callable[[], str]
    fresh: bool = False
    outgoing: Outgoing = field(default_factory=Outgoing)
    crossings: Crossings = field(default_factory=Crossings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A device whose facts are known, on a connection that stays open until the selection is over."""

    host: Host
    device: Device
    facts: Facts
    runtimes: tuple[Runtime, ...]


Unfinished = Mapping[str, tuple[Contender, ...]]
"""Per host: contenders that must be measured to the end before the fleet's decision stands."""
Finals = Callable[[Sequence[HostResult], Sequence[DeviceClass]], Unfinished]


class Session(Protocol):
    """One host's measuring, in rounds."""

    def run(self, must: Sequence[Contender] = ()) -> HostResult:
        """Race, or measure the contenders in `must` to the end; return everything that the host contributed so far."""
        ...


@dataclass(slots=True, kw_only=True)
class Fleet:
    """The devices of a selection while it runs."""

    ends: Ends
    forks: int
    opened: dict[str, Opened] = field(default_factory=dict)
    results: dict[str, HostResult] = field(default_factory=dict)
    classes: tuple[DeviceClass, ...] = ()

    def open(self, hosts: Sequence[Host], measured: Iterable[str], per_class: int, stack: ExitStack) -> None:
        """Reach every host, read its facts and sort it into its class; a host's fault is a result."""
        for outcome in self.ends.executor.run(lambda host: self._open(host, stack), hosts, forks=self.forks):
            if outcome.error is not None:
                self.failed(outcome.host, outcome.error)
            else:
                self.opened[outcome.host.name] = outcome.result()
        self.classes = device_classes(
            [
                (host.name, one.facts, tuple(runtime.label for runtime in one.runtimes))
                for host in hosts
                if (one := self.opened.get(host.name)) is not None
            ],
            measure=measured,
            per_class=per_class,
        )

    def measure(self, sessions: Mapping[str, Session], todo: Unfinished) -> None:
        """Run the sessions of the hosts in `todo`, one at a time on each machine, and note their results."""
        turns = self.ends.executor.run_groups(
            lambda host: sessions[host.name].run(todo[host.name]), self._machines(todo), forks=self.forks
        )
        for turn in turns:
            if turn.error is not None:
                self.failed(turn.host, turn.error)
            else:
                self.results[turn.host.name] = turn.result()

    def failed(self, host: Host, error: OtaError) -> None:
        """Note that a host contributes nothing."""
        result = "unreachable" if isinstance(error, UnreachableError) else "failed"
        self.ends.emit(StepFinished(host=host.name, step="measure", result=result, detail=error.reason))
        self.results[host.name] = HostResult(host=host, error=error)

    def _open(self, host: Host, stack: ExitStack) -> Opened:
        device = stack.enter_context(self.ends.connect(host))
        facts = device.facts()
        runtimes = self.ends.runtimes_for(host, facts)
        labels = ", ".join(runtime.label for runtime in runtimes)
        self.ends.emit(
            StepFinished(host=host.name, step="facts", result="ok", detail=f"{facts.architecture}, {labels}")
        )
        return Opened(host=host, device=device, facts=facts, runtimes=runtimes)

    def _machines(self, names: Iterable[str]) -> tuple[tuple[Host, ...], ...]:
        """Return the hosts by the machine that they run on: equal boot_id, shared processors."""
        groups: dict[str, list[Host]] = {}
        for name in sorted(names):
            groups.setdefault(self.opened[name].facts.boot_id, []).append(self.opened[name].host)
        return tuple(tuple(group) for group in groups.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a fleet contributed: a result per reached or failed host, in the order of the hosts, and the device classes."""

    results: tuple[HostResult, ...]
    classes: tuple[DeviceClass, ...]


def measure_fleet(
    hosts: Sequence[Host],
    measured: Iterable[str],
    prepare: Callable[[], Plan],
    session: Callable[[Opened, Plan, Ends], Session],
    finals: Finals,
    ends: Ends,
    *,
    per_class: int,
    forks: int,
) -> Measured:
    """Measure `per_class` hosts of each device class among the hosts named `measured`; the others are only asked for their facts.

    Every device is reached before `prepare` converts anything, so that a wrong address costs seconds and not minutes.
    Raises what `prepare` raises; faults of hosts are values.
    """
    with ExitStack() as stack:
        fleet = Fleet(ends=ends, forks=forks)
        fleet.open(hosts, measured, per_class, stack)
        chosen = [name for group in fleet.classes for name in group.measured]
        if chosen:
            plan = prepare()
            sessions = {name: session(fleet.opened[name], plan, ends) for name in chosen}
            fleet.measure(sessions, dict.fromkeys(chosen, ()))
            for _ in range(MOST_ROUNDS):
                done = [fleet.results[name] for name in chosen if fleet.results[name].error is None]
                unfinished = finals(done, fleet.classes) if done else {}
                if not unfinished:
                    break
                fleet.measure(sessions, unfinished)
    order = [host.name for host in hosts if host.name in fleet.results]
    return Measured(results=tuple(fleet.results[name] for name in order), classes=fleet.classes)
