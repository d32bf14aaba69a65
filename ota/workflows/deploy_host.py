"""The job of a deployment on one host: stage, verify, load check, activate, health check, read back, confirm; else go back."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ota.core.events import Event, Progressed
from ota.core.facts import Facts, Runtime, SlotState
from ota.core.host_state import HostOutcome, HostState
from ota.core.inventory import Host
from ota.core.playbook import DeploySpec
from ota.core.protocol import BlobKind
from ota.core.release import MODEL_ARTIFACT, Artifact, Digest, Release
from ota.errors import HostError, InterruptedRunError, UnreachableError
from ota.remote.device import Device, Refusal
from ota.workflows.deploy import Connect
from ota.workflows.steps import Steps

UNCONFIRMED = "the connection was lost after {release} was activated: it is on trial and unconfirmed; run ota deploy again to finish or undo it"


class Agree(Protocol):
    """Compare a device's answers to the probe samples with those that were measured."""

    def __call__(self, digest: Digest, host: str, runtime: str, outputs: bytes) -> str:
        """Return why `outputs` of the candidate `digest` do not agree, empty where they do or nothing is known."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What one host shall run. `probe` is a small dataset to try the model with, None where there is none."""

    release: Release
    spec: DeploySpec
    probe: Digest | None
    threads: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """The outside world of a deployment; `stopping` says whether a person asked to stop."""

    connect: Connect
    emit: Callable[[Event], None]
    blob: Callable[[Digest], Path]
    runtime_for: Callable[[Host, Facts], Runtime]
    agree: Agree
    stopping: Callable[[], bool] = lambda: False
    sleep: Callable[[float], None] = time.sleep


def check_host(host: Host, order: Order, ends: Ends) -> HostOutcome:
    """Say what a deployment would do to a host, and change nothing there."""
    steps = Steps(host.name, ends.emit)
    release = order.release
    with ends.connect(host) as device:
        slot = device.slot()
        steps.previous = slot.current
        if _is_there(slot, release):
            steps.ok("current", release.id)
            return steps.ended(HostState.CONFIRMED, release=release.id, digest=slot.current_digest)
        missing = () if _is_staged(slot, release) else _missing(device, release)
    size = sum(artifact.size_bytes for artifact in missing)
    reason = f"would go from {slot.current or 'nothing'} to {release.id}, sending {size} bytes"
    steps.ok("would deploy", reason, changed=True)
    return steps.ended(HostState.PENDING, release=release.id, digest=slot.current_digest, reason=reason)


def deploy_host(host: Host, order: Order, ends: Ends) -> HostOutcome:
    """Bring a host to `order.release`, and back to what it had where the release does not prove itself there."""
    steps = Steps(host.name, ends.emit)
    release = order.release
    with ends.connect(host) as device:
        slot = device.slot()
        steps.previous = slot.current
        if _is_there(slot, release):
            steps.ok("current", release.id)
            return steps.ended(HostState.CONFIRMED, release=release.id, digest=slot.current_digest)
        try:
            if slot.current != release.id or not _is_staged(slot, release):
                _stage(device, slot, order, ends, steps)
                _load_check(device, order, ends, steps)
                _commands(device, order.spec.before, "before", order.spec, steps)
            _stop_here(ends)
            activated = device.activate(release.id, expected_current=slot.current)
        except InterruptedRunError as stopped:
            return steps.ended(HostState.SKIPPED, reason=stopped.problem, changed=False)
        steps.ok("activate", release.id, changed=activated.changed)
        try:
            return _prove(device, order, ends, steps)
        except UnreachableError as error:
            reason = f"{UNCONFIRMED.format(release=release.id)} ({error.problem})"
            return steps.ended(HostState.UNREACHABLE, release=release.id, reason=reason)
        except HostError as error:
            return _go_back(device, order, steps, error)


def _is_there(slot: SlotState, release: Release) -> bool:
    return (
        slot.current == release.id
        and slot.pending is None
        and slot.current_digest == release.model.digest
        and _is_staged(slot, release)
    )


def _is_staged(slot: SlotState, release: Release) -> bool:
    return any(held.id == release.id and held.intact for held in slot.releases)


def _kind(artifact: Artifact) -> BlobKind:
    return BlobKind.CANDIDATE if artifact.name == MODEL_ARTIFACT else BlobKind.ARTIFACT


def _missing(device: Device, release: Release) -> tuple[Artifact, ...]:
    """Return the artifacts that the device does not hold."""
    missing: list[Artifact] = []
    for kind in (BlobKind.CANDIDATE, BlobKind.ARTIFACT):
        of_kind = [artifact for artifact in release.manifest.artifacts if _kind(artifact) is kind]
        there = device.held(kind, [artifact.digest for artifact in of_kind]) if of_kind else frozenset()
        missing += [artifact for artifact in of_kind if artifact.digest not in there]
    return tuple(missing)


def _stop_here(ends: Ends) -> None:
    if ends.stopping():
        raise InterruptedRunError("stopped before anything was activated")


def _stage(device: Device, slot: SlotState, order: Order, ends: Ends, steps: Steps) -> None:
    """Send what the device lacks and build the release there, every digest verified by the device."""
    release = order.release
    if _is_staged(slot, release):
        steps.ok("stage", release.id)
        return

    def progress(done: int, total: int) -> None:
        _stop_here(ends)
        ends.emit(Progressed(host=device.host.name, step="transfer", done=done, total=total))

    for artifact in _missing(device, release):
        sent = device.put(_kind(artifact), artifact.digest, ends.blob(artifact.digest), on_progress=progress)
        steps.bytes_sent += sent.bytes_sent
        steps.ok("transfer", f"{artifact.name}, {sent.bytes_sent} bytes", changed=True)
    steps.ok("stage", release.id, changed=device.stage(release))


def _load_check(device: Device, order: Order, ends: Ends, steps: Steps) -> None:
    """Run the model on the device before it is activated: what does not load or answers otherwise than measured stays out."""
    if order.probe is None:
        steps.ok("load check", "no samples to try it with: this release comes from a file")
        return
    digest = order.release.model.digest
    if digest not in device.held(BlobKind.CANDIDATE, [digest]):
        device.put(BlobKind.CANDIDATE, digest, ends.blob(digest))
    runtime = ends.runtime_for(device.host, device.facts())
    device.put(BlobKind.DATASET, order.probe, ends.blob(order.probe))
    (reply,) = device.bench(runtime, order.probe, [digest], threads=order.threads, blocks=1, warmup=0, seed=0)
    if isinstance(reply, Refusal):
        raise HostError(
            f"the model does not {reply.kind} under {runtime.label}: {reply.reason}", where=device.host.name
        )
    reason = ends.agree(digest, device.host.name, runtime.label, reply.outputs)
    if reason:
        raise HostError(
            f"the model answers otherwise than when it was measured: {reason}", where=device.host.name
        )
    steps.ok("load check", f"{len(reply.latencies_ns)} samples under {runtime.label}")


def _commands(device: Device, commands: tuple[str, ...], what: str, spec: DeploySpec, steps: Steps) -> None:
    for command in commands:
        done = device.run(command, timeout_s=spec.command_timeout_s)
        if done.exit_code:
            raise HostError(
                f"the {what} command '{command}' ended with {done.exit_code}: {_last_line(done.output)}",
                where=device.host.name,
            )
        steps.ok(what, command, changed=True)


def health_check(device: Device, spec: DeploySpec, sleep: Callable[[float], None], steps: Steps) -> None:
    """Run the play's health check until it passes or its retries are used up; HostError then."""
    check = spec.health_check
    if check is None:
        return
    done = device.run(check.command, timeout_s=check.timeout_s)
    for _ in range(check.retries):
        if not done.exit_code:
            break
        sleep(check.delay_s)
        done = device.run(check.command, timeout_s=check.timeout_s)
    if not done.exit_code:
        steps.ok("health check", check.command)
        return
    raise HostError(
        f"the health check '{check.command}' failed {check.retries + 1} times, last with {done.exit_code}: {_last_line(done.output)}",
        where=device.host.name,
    )


def _prove(device: Device, order: Order, ends: Ends, steps: Steps) -> HostOutcome:
    """See that the activated release works and is what lies on the disk, and end its trial."""
    release = order.release
    _commands(device, order.spec.after, "after", order.spec, steps)
    health_check(device, order.spec, ends.sleep, steps)
    back = device.slot()
    if back.current != release.id or back.current_digest != release.model.digest:
        found = "nothing" if back.current_digest is None else back.current_digest.short
        raise HostError(
            f"read back {found} where {release.model.digest.short} was expected", where=device.host.name
        )
    device.confirm(release.id)
    steps.ok("confirm", f"{release.id}, read back {back.current_digest.short}")
    removed = device.prune(order.spec.keep_releases)
    if removed:
        steps.ok("prune", ", ".join(removed), changed=True)
    return steps.ended(HostState.CONFIRMED, release=release.id, digest=back.current_digest)


def _go_back(device: Device, order: Order, steps: Steps, error: HostError) -> HostOutcome:
    """Return to what was current before, and have the application open it again; the outcome says why, and what became of it."""
    try:
        back = device.revert()
        steps.ok("revert", back.current or "no release: there was none before", changed=True)
        for command in order.spec.after if back.current else ():
            device.run(command, timeout_s=order.spec.command_timeout_s)
    except UnreachableError as lost:
        reason = f"{error.reason}; {UNCONFIRMED.format(release=order.release.id)} ({lost.problem})"
        return steps.ended(HostState.UNREACHABLE, release=order.release.id, reason=reason)
    except HostError as worse:
        reason = f"{error.reason}; and it could not go back: {worse.reason}"
        return steps.ended(HostState.FAILED, release=order.release.id, reason=reason)
    return steps.ended(
        HostState.ROLLED_BACK, release=back.current, digest=back.digest, reason=error.reason, changed=True
    )


def _last_line(output: str) -> str:
    lines = output.strip().splitlines()
    return lines[-1][:300] if lines else "it said nothing"
