"""Select: facts, then every candidate to every measured host and run there, then the verdict.

Invariants: two benchmarks never share a machine (hosts with one boot_id take turns); a host that fails or cannot be reached stops
no other; what the devices answer is turned into metrics here, on the controller.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ota.core.events import Event, Progressed, StepFinished, Warned
from ota.core.facts import Facts, Runtime
from ota.core.inventory import Host
from ota.core.measurement import Candidate, Failure, FailureKind, Measurement
from ota.core.playbook import SelectSpec
from ota.core.protocol import BlobKind
from ota.core.release import Digest
from ota.errors import HostError, OtaError, UnreachableError
from ota.remote.device import Device
from ota.remote.executor import Executor
from ota.remote.replies import BenchReply, Refusal

Emit = Callable[[Event], None]


class Evaluate(Protocol):
    """Turn a candidate's raw outputs into metrics; ValueError says in words what is wrong with them."""

    def __call__(self, outputs: bytes, shape: tuple[int, ...]) -> tuple[tuple[str, float], ...]:
        """Return (name, value) pairs of float32 `outputs` of `shape` [samples, ...]."""
        ...


class Records(Protocol):
    """What a selection keeps on the controller between runs."""

    def blob(self, digest: Digest) -> Path:
        """Return the path of a stored blob."""
        ...

    def put_blob(self, content: bytes) -> Digest:
        """Keep `content` and return its digest."""
        ...

    def transfer(self, host: str, digest: Digest) -> tuple[float, int] | None:
        """Return (seconds, bytes) of a timed transfer of `digest` to `host`, None where none is known."""
        ...

    def put_transfer(self, host: str, digest: Digest, seconds: float, sent: int) -> None:
        """Remember a timed transfer."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is measured: the files, the data by digest, and how."""

    candidates: tuple[Candidate, ...]
    evaluation: Digest
    samples: int
    spec: SelectSpec
    evaluate: Evaluate
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class HostResult:
    """What one host contributed; `error` says why it contributed nothing."""

    host: Host
    facts: Facts | None = None
    measurements: tuple[Measurement, ...] = ()
    failures: tuple[Failure, ...] = ()
    error: OtaError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """The outside world of a selection."""

    connect: Callable[[Host], AbstractContextManager[Device]]
    executor: Executor
    records: Records
    emit: Emit
    runtime_for: Callable[[Host, Facts], Runtime]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Opened:
    """A device whose facts are known, on a connection that stays open until the selection is over."""

    host: Host
    device: Device
    facts: Facts
    runtime: Runtime


def measure_fleet(
    hosts: Sequence[Host], prepare: Callable[[], Plan], ends: Ends, *, forks: int
) -> tuple[HostResult, ...]:
    """Return one result per host, in the order of `hosts`.

    Every device is reached before `prepare` converts anything, so that a wrong address costs seconds and not minutes.
    Raises what `prepare` raises; faults of hosts are values.
    """
    results: dict[str, HostResult] = {}
    opened: dict[str, _Opened] = {}
    with ExitStack() as stack:
        for outcome in ends.executor.run(lambda host: _open(host, ends, stack), hosts, forks=forks):
            if outcome.error is not None:
                results[outcome.host.name] = _failed(outcome.host, outcome.error, ends.emit)
            else:
                opened[outcome.host.name] = outcome.result()
        if opened:
            plan = prepare()
            turns = ends.executor.run_groups(
                lambda host: _measure_host(opened[host.name], plan, ends),
                _machines(opened.values()),
                forks=forks,
            )
            for turn in turns:
                results[turn.host.name] = (
                    _failed(turn.host, turn.error, ends.emit) if turn.error is not None else turn.result()
                )
    return tuple(results[host.name] for host in hosts)


def _open(host: Host, ends: Ends, stack: ExitStack) -> _Opened:
    device = stack.enter_context(ends.connect(host))
    facts = device.facts()
    runtime = ends.runtime_for(host, facts)
    ends.emit(
        StepFinished(
            host=host.name, step="facts", result="ok", detail=f"{facts.architecture}, {runtime.label}"
        )
    )
    return _Opened(host=host, device=device, facts=facts, runtime=runtime)


def _failed(host: Host, error: OtaError, emit: Emit) -> HostResult:
    result = "unreachable" if isinstance(error, UnreachableError) else "failed"
    emit(StepFinished(host=host.name, step="measure", result=result, detail=error.reason))
    return HostResult(host=host, error=error)


def _machines(opened: Iterable[_Opened]) -> tuple[tuple[Host, ...], ...]:
    """Return the hosts by the machine that they run on: equal boot_id, shared processors."""
    groups: dict[str, list[Host]] = {}
    for one in sorted(opened, key=lambda o: o.host.name):
        groups.setdefault(one.facts.boot_id, []).append(one.host)
    return tuple(tuple(group) for group in groups.values())


def _measure_host(one: _Opened, plan: Plan, ends: Ends) -> HostResult:
    one.device.put(BlobKind.DATASET, plan.evaluation, ends.records.blob(plan.evaluation))
    transfers: dict[Digest, tuple[float, int]] = {}
    failures: list[Failure] = []
    for candidate in plan.candidates:
        try:
            transfers[candidate.digest] = _transfer(one, candidate, ends)
        except UnreachableError:
            raise
        except HostError as error:
            failures.append(_failure(one.host, candidate, FailureKind.TRANSFER, error.reason))
    there = tuple(c for c in plan.candidates if c.digest in transfers)
    measurements, refused = _bench(one, there, transfers, plan, ends)
    ends.emit(
        StepFinished(
            host=one.host.name,
            step="measure",
            result="ok",
            detail=f"{len(measurements)} candidates measured, {len(failures) + len(refused)} failed",
        )
    )
    return HostResult(
        host=one.host, facts=one.facts, measurements=measurements, failures=(*failures, *refused)
    )


def _transfer(one: _Opened, candidate: Candidate, ends: Ends) -> tuple[float, int]:
    """Bring a candidate to a device; return (seconds, bytes) of the one time that its transfer was timed there."""
    known = ends.records.transfer(one.host.name, candidate.digest)
    sent = one.device.put(
        BlobKind.CANDIDATE, candidate.digest, ends.records.blob(candidate.digest), timed=known is None
    )
    ends.emit(
        StepFinished(
            host=one.host.name,
            step=f"transfer {candidate.scheme}",
            result="changed" if sent.bytes_sent else "ok",
            detail=f"{sent.bytes_sent} bytes",
        )
    )
    if known is not None:
        return known
    ends.records.put_transfer(one.host.name, candidate.digest, sent.seconds, sent.bytes_sent)
    return sent.seconds, sent.bytes_sent


def _bench(
    one: _Opened,
    candidates: Sequence[Candidate],
    transfers: Mapping[Digest, tuple[float, int]],
    plan: Plan,
    ends: Ends,
) -> tuple[tuple[Measurement, ...], tuple[Failure, ...]]:
    """Run the candidates on one device, interleaved, and turn its raw answers into measurements and failures."""
    replies = one.device.bench(
        one.runtime,
        plan.evaluation,
        [candidate.digest for candidate in candidates],
        threads=plan.spec.threads,
        blocks=plan.spec.blocks,
        warmup=plan.spec.warmup,
        seed=plan.seed,
        on_progress=lambda done, total: ends.emit(
            Progressed(host=one.host.name, step="measure", done=done, total=total)
        ),
    )
    measurements: list[Measurement] = []
    failures: list[Failure] = []
    for candidate, reply in zip(candidates, replies, strict=True):
        if isinstance(reply, Refusal):
            failures.append(_failure(one.host, candidate, FailureKind(reply.kind), reply.reason))
            continue
        try:
            metrics = plan.evaluate(reply.outputs, reply.output_shape)
        except ValueError as error:
            failures.append(_failure(one.host, candidate, FailureKind.RUN, str(error)))
            continue
        measurements.append(
            _measurement(one, candidate, reply, transfers[candidate.digest], metrics, plan, ends)
        )
    for failure in failures:
        ends.emit(Warned(host=one.host.name, message=f"{failure.scheme}: {failure.reason}"))
    return tuple(measurements), tuple(failures)


def _measurement(
    one: _Opened,
    candidate: Candidate,
    reply: BenchReply,
    transfer: tuple[float, int],
    metrics: tuple[tuple[str, float], ...],
    plan: Plan,
    ends: Ends,
) -> Measurement:
    seconds, sent = transfer
    return Measurement(
        host=one.host.name,
        scheme=candidate.scheme,
        digest=candidate.digest,
        size_bytes=candidate.size_bytes,
        transfer_s=seconds,
        transfer_bytes=sent,
        load_ns=reply.load_ns,
        latencies_ns=reply.latencies_ns,
        blocks=reply.blocks,
        metrics=metrics,
        outputs=ends.records.put_blob(reply.outputs),
        peak_memory_bytes=reply.peak_memory_bytes,
        runtime=one.runtime.label,
        threads=plan.spec.threads,
    )


def _failure(host: Host, candidate: Candidate, kind: FailureKind, reason: str) -> Failure:
    return Failure(scheme=candidate.scheme, kind=kind, reason=reason, host=host.name)
