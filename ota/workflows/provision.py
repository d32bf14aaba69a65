"""Provision: facts, the choice of a runtime, its wheels once for the whole fleet, and the installation on each device, offline.

Invariants: a host whose runtime is there and proves itself receives nothing; disk space is checked before the first byte; a host that fails, is
refused or cannot be reached is a value and stops no other. Wheels stay on the controller; on a device they are removed once the runtime
proved itself (they would take a third of its space again and are needed by nothing), and left where an installation was cut, so that the
next run sends only the rest.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass

from ota.core.events import Event, Progressed, StepFinished, Warned
from ota.core.facts import Facts, Runtime
from ota.core.inventory import Host
from ota.core.protocol import BlobKind
from ota.core.runtime import RuntimeChoice, Unsupported, choose_runtime
from ota.errors import HostError, OtaError, UnreachableError
from ota.remote.device import Device
from ota.remote.executor import FORKS, Executor
from ota.wheels import Wheel

_SPARE_BYTES = 16 * 1024 * 1024
"""What has to stay free on a device beside wheels and runtime, for the virtual environment and the device itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvisionEnds:
    """The outside world of a provisioning: `fetch` brings wheels to the controller, `preference_of` reads `ota_runtime`."""

    connect: Callable[[Host], AbstractContextManager[Device]]
    executor: Executor
    fetch: Callable[[RuntimeChoice], tuple[Wheel, ...]]
    preference_of: Callable[[Host], tuple[str, ...]]
    emit: Callable[[Event], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvisionResult:
    """How one host ended; `runtime` is None where `error` says why, or where check mode only says what would be installed (`planned`)."""

    host: Host
    facts: Facts | None = None
    planned: str = ""
    runtime: Runtime | None = None
    changed: bool = False
    bytes_sent: int = 0
    error: OtaError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Opened:
    """A device, what it said of itself, what it is to get, and the runtime that proved itself already."""

    device: Device
    facts: Facts
    choice: RuntimeChoice
    proven: Runtime | None


def provision(
    hosts: Sequence[Host], ends: ProvisionEnds, *, forks: int = FORKS, check: bool = False
) -> tuple[ProvisionResult, ...]:
    """Bring every host its runtime and return one result per host, in the order of `hosts`.

    `check` looks and decides, and changes nothing. Faults of hosts, and of the downloads for them, are values.
    """
    results: dict[str, ProvisionResult] = {}
    opened: dict[str, _Opened] = {}
    with ExitStack() as stack:
        for outcome in ends.executor.run(
            lambda host: _open(host, ends, stack, check=check), hosts, forks=forks
        ):
            if outcome.error is not None:
                results[outcome.host.name] = _failed(outcome.host, outcome.error, ends)
            else:
                opened[outcome.host.name] = outcome.result()
        wheels: dict[RuntimeChoice, tuple[Wheel, ...]] = {}
        waiting = []
        for host in (host for host in hosts if host.name in opened):
            early = _before_install(host, opened[host.name], wheels, ends, check=check)
            if early is None:
                waiting.append(host)
            else:
                results[host.name] = early
        for ended in ends.executor.run(
            lambda host: _install(host, opened[host.name], wheels[opened[host.name].choice], ends),
            waiting,
            forks=forks,
        ):
            results[ended.host.name] = (
                _failed(ended.host, ended.error, ends) if ended.error is not None else ended.result()
            )
    return tuple(results[host.name] for host in hosts)


def _open(host: Host, ends: ProvisionEnds, stack: ExitStack, *, check: bool) -> _Opened:
    device = stack.enter_context(ends.connect(host))
    facts = device.facts()
    ends.emit(
        StepFinished(
            host=host.name,
            step="facts",
            result="ok",
            detail=f"{facts.architecture}, Python {'.'.join(map(str, facts.python))}, {facts.libc}",
        )
    )
    choice = choose_runtime(facts, ends.preference_of(host))
    if isinstance(choice, Unsupported):
        raise HostError(choice.reason, where=host.name, hint=choice.hint)
    noted = next((runtime for runtime in facts.runtimes if runtime.id == choice.id), None)
    proven = noted if noted is None or check else _prove(device, choice)
    return _Opened(device=device, facts=facts, choice=choice, proven=proven)


def _prove(device: Device, choice: RuntimeChoice) -> Runtime | None:
    """Let a runtime that is noted as installed prove itself once more; None where it has to be installed anew."""
    try:
        runtime, _ = device.install_runtime(
            id=choice.id,
            package=choice.package,
            version=choice.version,
            wheels=(),
            system_site_packages=choice.system_site_packages,
        )
    except UnreachableError:
        raise
    except HostError:
        return None
    return runtime


def _before_install(
    host: Host,
    one: _Opened,
    wheels: dict[RuntimeChoice, tuple[Wheel, ...]],
    ends: ProvisionEnds,
    *,
    check: bool,
) -> ProvisionResult | None:
    """Return the result of a host that needs nothing or can get nothing; else see that its wheels are here and return None."""
    if one.proven is not None:
        ends.emit(StepFinished(host=host.name, step="provision", result="ok", detail=one.choice.label))
        return ProvisionResult(host=host, facts=one.facts, runtime=one.proven)
    if check:
        detail = f"would install {one.choice.label}"
        ends.emit(StepFinished(host=host.name, step="provision", result="changed", detail=detail))
        return ProvisionResult(host=host, facts=one.facts, planned=one.choice.label, changed=True)
    try:
        if one.choice not in wheels:
            wheels[one.choice] = ends.fetch(one.choice)
    except OtaError as error:
        return _failed(
            host,
            HostError(error.problem, where=host.name, found=error.found, hint=error.hint),
            ends,
            one.facts,
        )
    return None


def _install(host: Host, one: _Opened, wheels: Sequence[Wheel], ends: ProvisionEnds) -> ProvisionResult:
    choice = one.choice
    held = one.device.held(BlobKind.WHEEL, [wheel.digest for wheel in wheels])
    missing = [wheel for wheel in wheels if wheel.digest not in held]
    _check_disk(host, one.facts, wheels, missing)
    sent = _send(host, one.device, missing, ends)
    runtime, changed = one.device.install_runtime(
        id=choice.id,
        package=choice.package,
        version=choice.version,
        wheels=[(wheel.filename, wheel.digest) for wheel in wheels],
        system_site_packages=choice.system_site_packages,
    )
    _remove_wheels(one.device, one.facts, wheels)
    if choice.note:
        ends.emit(Warned(host=host.name, message=choice.note))
    ends.emit(
        StepFinished(
            host=host.name,
            step="provision",
            result="changed" if changed else "ok",
            detail=f"{runtime.label}, {sent} bytes sent",
        )
    )
    return ProvisionResult(host=host, facts=one.facts, runtime=runtime, changed=changed, bytes_sent=sent)


def _check_disk(host: Host, facts: Facts, wheels: Sequence[Wheel], missing: Sequence[Wheel]) -> None:
    needed = _SPARE_BYTES + sum(w.size_bytes for w in missing) + sum(w.unpacked_bytes for w in wheels)
    if facts.disk_free_bytes < needed:
        raise HostError(
            "not enough free disk for the runtime; nothing was sent",
            where=host.name,
            expected=f"{needed} bytes on the file system of {facts.root}",
            found=f"{facts.disk_free_bytes} bytes",
            hint=f"free {needed - facts.disk_free_bytes} bytes there, or let ota_root name another file system",
        )


def _send(host: Host, device: Device, wheels: Sequence[Wheel], ends: ProvisionEnds) -> int:
    total = sum(wheel.size_bytes for wheel in wheels)
    before = sent = 0
    for wheel in wheels:

        def report(done: int, _of: int, before: int = before) -> None:
            ends.emit(Progressed(host=host.name, step="provision", done=before + done, total=total))

        sent += device.put(BlobKind.WHEEL, wheel.digest, wheel.path, on_progress=report).bytes_sent
        before += wheel.size_bytes
    return sent


def _remove_wheels(device: Device, facts: Facts, wheels: Sequence[Wheel]) -> None:
    """Give the space back; what cannot be removed harms nothing."""
    paths = [f"{facts.root}/wheels/{wheel.digest.hex}" for wheel in wheels]
    device.run(f"rm -f -- {shlex.join(paths)}", timeout_s=60.0)


def _failed(host: Host, error: OtaError, ends: ProvisionEnds, facts: Facts | None = None) -> ProvisionResult:
    result = "unreachable" if isinstance(error, UnreachableError) else "failed"
    ends.emit(StepFinished(host=host.name, step="provision", result=result, detail=error.render()))
    return ProvisionResult(host=host, facts=facts, error=error)
