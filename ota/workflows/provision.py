"""Provision: facts, the choice of runtimes, their wheels once for the whole fleet, and the installation on each device, side by side and offline.

Invariants: a host whose runtimes are there and prove themselves receives nothing; disk space is checked before the first byte, and what does not
fit beside the preferred runtime is left out with a warning; one runtime that does not install stops no other, and a host fails when it ends with
none; a host that fails, is refused or cannot be reached is a value and stops no other. Wheels stay on the controller; on a device they are removed
once the runtime proved itself or was refused (they would take a third of its space again and are needed by nothing), and left where an installation
was cut, so that the next run sends only the rest.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass

from ota.core.events import Event, Progressed, StepFinished, Warned
from ota.core.facts import Facts, Runtime
from ota.core.inventory import Host
from ota.core.keyring import SignedKeyring
from ota.core.protocol import BlobKind
from ota.core.runtime import RuntimeChoice, Unsupported, choose_runtimes
from ota.errors import HostError, OtaError, UnreachableError
from ota.remote.device import Device
from ota.remote.dialogue import RefusedError
from ota.remote.executor import FORKS, Executor
from ota.wheels import Wheel
from ota.workflows.trust import first_or_later

_SPARE_BYTES = 16 * 1024 * 1024
"""What has to stay free on a device beside wheels and runtime, for the virtual environment and the device itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvisionEnds:
    """The outside world of a provisioning: `fetch` brings wheels to the controller, `preference_of` reads `ota_runtime` and `hook_of` `ota_boot_hook`.

    `keyrings` are all of the project's, the oldest first.
    """

    connect: Callable[[Host], AbstractContextManager[Device]]
    executor: Executor
    fetch: Callable[[RuntimeChoice], tuple[Wheel, ...]]
    preference_of: Callable[[Host], tuple[str, ...]]
    emit: Callable[[Event], None]
    hook_of: Callable[[Host], str] = lambda _host: "none"
    keyrings: tuple[SignedKeyring, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvisionResult:
    """How one host ended; `runtimes` are those that it has now, in order of preference, none where `error` says why.

    `planned` is what check mode would install; `warnings` say why a runtime that would run there is left out.
    """

    host: Host
    facts: Facts | None = None
    planned: tuple[str, ...] = ()
    runtimes: tuple[Runtime, ...] = ()
    changed: bool = False
    bytes_sent: int = 0
    warnings: tuple[str, ...] = ()
    error: OtaError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Opened:
    """A device, what it said of itself, what it is to get, and the runtimes that proved themselves already."""

    device: Device
    facts: Facts
    choices: tuple[RuntimeChoice, ...]
    proven: Mapping[RuntimeChoice, Runtime]

    @property
    def missing(self) -> tuple[RuntimeChoice, ...]:
        """What has to be installed."""
        return tuple(choice for choice in self.choices if choice not in self.proven)


def provision(
    hosts: Sequence[Host], ends: ProvisionEnds, *, forks: int = FORKS, check: bool = False
) -> tuple[ProvisionResult, ...]:
    """Bring every host its runtimes and return one result per host, in the order of `hosts`.

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
        wheels = _Wheels(ends)
        waiting = []
        for host in (host for host in hosts if host.name in opened):
            one = opened[host.name]
            if one.missing and not check:
                wheels.get(one)
                waiting.append(host)
            else:
                results[host.name] = _nothing_to_install(host, one, ends, check=check)
        for ended in ends.executor.run(
            lambda host: _install_all(host, opened[host.name], wheels, ends), waiting, forks=forks
        ):
            results[ended.host.name] = (
                _failed(ended.host, ended.error, ends) if ended.error is not None else ended.result()
            )
    return tuple(results[host.name] for host in hosts)


class _Wheels:
    """The wheels of each choice, downloaded once; a download that fails is a reason for every host that needed it."""

    def __init__(self, ends: ProvisionEnds) -> None:
        self._ends = ends
        self._found: dict[RuntimeChoice, tuple[Wheel, ...] | OtaError] = {}

    def get(self, one: _Opened) -> None:
        """Bring the wheels that a host needs to the controller."""
        for choice in one.missing:
            if choice not in self._found:
                try:
                    self._found[choice] = self._ends.fetch(choice)
                except OtaError as error:
                    self._found[choice] = error

    def of(self, choice: RuntimeChoice, host: Host) -> tuple[Wheel, ...]:
        """Return the wheels of a choice; HostError where they could not be had."""
        found = self._found[choice]
        if isinstance(found, OtaError):
            raise HostError(found.problem, where=host.name, found=found.found, hint=found.hint)
        return found


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
    choices = choose_runtimes(facts, ends.preference_of(host))
    if isinstance(choices, Unsupported):
        raise HostError(choices.reason, where=host.name, hint=choices.hint)
    noted = {runtime.id: runtime for runtime in facts.runtimes}
    proven: dict[RuntimeChoice, Runtime] = {}
    for choice in choices:
        there = noted.get(choice.id)
        found = there if there is None or check else _prove(device, choice)
        if found is not None:
            proven[choice] = found
    return _Opened(device=device, facts=facts, choices=choices, proven=proven)


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


def _nothing_to_install(host: Host, one: _Opened, ends: ProvisionEnds, *, check: bool) -> ProvisionResult:
    """Return the result of a host that has everything, or of check mode."""
    planned = tuple(choice.label for choice in one.missing)
    hooked = not planned and not check and _settled(host, one.device, ends)
    if planned:
        detail = f"would install {', '.join(planned)}"
        ends.emit(StepFinished(host=host.name, step="provision", result="changed", detail=detail))
    else:
        labels = ", ".join(choice.label for choice in one.choices)
        ends.emit(StepFinished(host=host.name, step="provision", result="ok", detail=labels))
    runtimes = tuple(one.proven[choice] for choice in one.choices if choice in one.proven)
    return ProvisionResult(
        host=host, facts=one.facts, planned=planned, runtimes=runtimes, changed=bool(planned) or hooked
    )


def _install_all(host: Host, one: _Opened, wheels: _Wheels, ends: ProvisionEnds) -> ProvisionResult:
    """Install what is missing, in order of preference; HostError where the host ends with no runtime at all."""
    runtimes = dict(one.proven)
    faults: list[tuple[RuntimeChoice, HostError]] = []
    sent, free = 0, one.facts.disk_free_bytes
    for choice in one.missing:
        try:
            files = wheels.of(choice, host)
            runtimes[choice], bytes_sent = _install(host, one, choice, files, free, ends)
            sent += bytes_sent
            free -= sum(wheel.unpacked_bytes for wheel in files)
        except UnreachableError:
            raise
        except HostError as error:
            faults.append((choice, error))
    if not runtimes:
        raise _none_installed(host, faults)
    warnings = tuple(
        f"{choice.label} is left out: {fault.reason.removeprefix(choice.label).strip()}"
        for choice, fault in faults
    )
    notes = tuple(choice.note for choice in runtimes if len(runtimes) == 1 and choice.note)
    for warning in (*warnings, *notes):
        ends.emit(Warned(host=host.name, message=warning))
    hooked = _settled(host, one.device, ends)
    return ProvisionResult(
        host=host,
        facts=one.facts,
        runtimes=tuple(runtimes[choice] for choice in one.choices if choice in runtimes),
        changed=len(runtimes) > len(one.proven) or hooked,
        bytes_sent=sent,
        warnings=warnings,
    )


def _settled(host: Host, device: Device, ends: ProvisionEnds) -> bool:
    """Bring the keyring and the boot hook; return whether anything was done."""
    trusted = bool(ends.keyrings) and first_or_later(device, device.slot().keyring, ends.keyrings)
    if trusted:
        version = ends.keyrings[-1].keyring.version
        ends.emit(StepFinished(host=host.name, step="keyring", result="changed", detail=f"version {version}"))
    return _hook(host, device, ends) or trusted


def _hook(host: Host, device: Device, ends: ProvisionEnds) -> bool:
    """Install the boot hook and return whether anything was done; a device that has no place for one is told of."""
    choice = ends.hook_of(host)
    if choice == "none":
        return False
    hook = device.boot_hook(choice)
    if hook.kind == "none":
        ends.emit(
            Warned(
                host=host.name,
                message="no boot hook: neither systemd nor cron may be used here, so a release that was not confirmed before a power cut is left "
                "by the next run of ota, not at boot",
            )
        )
        return False
    result = "changed" if hook.changed else "ok"
    ends.emit(
        StepFinished(host=host.name, step="boot hook", result=result, detail=f"{hook.kind} {hook.name}")
    )
    return hook.changed


def _none_installed(host: Host, faults: Sequence[tuple[RuntimeChoice, HostError]]) -> HostError:
    """Return one fault that says why each runtime is not there."""
    (_, first), *others = faults
    if not others:
        return first
    reasons = "; ".join(
        f"{choice.label}: {fault.problem.removeprefix(choice.label).strip()}"
        + (f" ({fault.found})" if fault.found else "")
        for choice, fault in faults
    )
    return HostError(
        "no runtime could be installed", where=host.name, found=reasons, hint=first.hint or others[0][1].hint
    )


def _install(
    host: Host,
    one: _Opened,
    choice: RuntimeChoice,
    wheels: Sequence[Wheel],
    free_bytes: int,
    ends: ProvisionEnds,
) -> tuple[Runtime, int]:
    """Install one runtime and return it and the bytes sent; what was not cut leaves no wheels behind."""
    held = one.device.held([(BlobKind.WHEEL, wheel.digest) for wheel in wheels])
    missing = [wheel for wheel in wheels if wheel.digest not in held]
    _check_disk(host, one.facts, wheels, missing, free_bytes)
    sent = _send(host, one.device, missing, ends)
    try:
        runtime, changed = one.device.install_runtime(
            id=choice.id,
            package=choice.package,
            version=choice.version,
            wheels=[(wheel.filename, wheel.digest) for wheel in wheels],
            system_site_packages=choice.system_site_packages,
        )
    except RefusedError:
        _remove_wheels(one.device, one.facts, wheels)
        raise
    _remove_wheels(one.device, one.facts, wheels)
    result = "changed" if changed else "ok"
    detail = f"{runtime.label}, {sent} bytes sent"
    ends.emit(StepFinished(host=host.name, step="provision", result=result, detail=detail))
    return runtime, sent


def _check_disk(
    host: Host, facts: Facts, wheels: Sequence[Wheel], missing: Sequence[Wheel], free_bytes: int
) -> None:
    needed = _SPARE_BYTES + sum(w.size_bytes for w in missing) + sum(w.unpacked_bytes for w in wheels)
    if free_bytes < needed:
        raise HostError(
            "not enough free disk for the runtime; nothing was sent",
            where=host.name,
            expected=f"{needed} bytes on the file system of {facts.root}",
            found=f"{free_bytes} bytes",
            hint=f"free {needed - free_bytes} bytes there, or let ota_root name another file system",
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
