"""Restrict: limit the controller's key to the agent on each device, and see that it still lets an `ota` in before the old way is left.

Invariants: a key that was limited over its own connection is tried over a second one while the first is open; where it does not reach the agent, what was there
is put back. A second run changes nothing. A host that fails is a value and stops no other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from ota.core.events import Event, StepFinished, Warned
from ota.core.inventory import Host
from ota.core.playbook import DeploySpec
from ota.core.restriction import Restriction, Scope
from ota.errors import HostError, OtaError, UnreachableError
from ota.remote.device import Device
from ota.remote.executor import FORKS, Executor
from ota.remote.restriction import Limit


@dataclass(frozen=True, slots=True, kw_only=True)
class RestrictEnds:
    """The outside world of a restriction; `become_of` says whom the agent works as, None: whom the controller signs in as. `key` None: the one in use."""

    connect: Callable[[Host], AbstractContextManager[Device]]
    executor: Executor
    become_of: Callable[[Host], str | None]
    emit: Callable[[Event], None]
    key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RestrictResult:
    """How one host ended: what the key is limited by, or why it is not."""

    host: Host
    restriction: Restriction | None = None
    warnings: tuple[str, ...] = ()
    error: OtaError | None = None

    @property
    def changed(self) -> bool:
        """Whether anything was done, or would be in check mode."""
        return self.restriction is not None and self.restriction.changed


def commands_of(spec: DeploySpec) -> tuple[str, ...]:
    """Return the shell commands that a rollout runs on a device."""
    check = () if spec.health_check is None else (spec.health_check.command,)
    return (*spec.before, *spec.after, *check)


def restrict(
    hosts: Sequence[Host],
    scopes: Mapping[str, Sequence[Scope]],
    ends: RestrictEnds,
    *,
    forks: int = FORKS,
    check: bool = False,
) -> tuple[RestrictResult, ...]:
    """Limit the key on every host to what `scopes` say of that host's name; `check` looks and changes nothing."""
    results = {}
    for outcome in ends.executor.run(
        lambda host: _one(host, tuple(scopes[host.name]), ends, check=check), hosts, forks=forks
    ):
        if outcome.error is not None:
            result = "unreachable" if isinstance(outcome.error, UnreachableError) else "failed"
            detail = outcome.error.render()
            ends.emit(StepFinished(host=outcome.host.name, step="restrict", result=result, detail=detail))
            results[outcome.host.name] = RestrictResult(host=outcome.host, error=outcome.error)
        else:
            results[outcome.host.name] = outcome.result()
    return tuple(results[host.name] for host in hosts)


def _one(host: Host, scopes: tuple[Scope, ...], ends: RestrictEnds, *, check: bool) -> RestrictResult:
    with ends.connect(host) as device:
        key = ends.key or device.public_key
        if key is None:
            raise HostError(
                "no SSH key let this run in, so there is none to restrict",
                where=host.name,
                hint="name the controller's public key: --controller-key FILE.pub",
            )
        in_use = key == device.public_key
        limit = Limit(key=key, in_use=in_use, become=ends.become_of(host), scopes=scopes)
        done = device.restrict(limit, look=check)
        if done.changed and in_use and not check:
            _try(host, device, ends)
    warnings = _warnings(done, in_use=in_use) if done.changed else ()
    for warning in warnings:
        ends.emit(Warned(host=host.name, message=warning))
    detail = f"would limit a key in {done.file}" if check and done.changed else done.file
    result = "changed" if done.changed else "ok"
    ends.emit(StepFinished(host=host.name, step="restrict", result=result, detail=detail))
    return RestrictResult(host=host, restriction=done, warnings=warnings)


def _try(host: Host, device: Device, ends: RestrictEnds) -> None:
    """Come in through the door; go back to the old line over the connection that is still open where that fails."""
    try:
        with ends.connect(host) as again:
            again.slot()
    except OtaError as error:
        device.restore_keys()
        raise HostError(
            "the restricted key does not reach the agent, so its line was put back as it was",
            where=host.name,
            found=error.reason,
            hint="see sshd's log there; OpenSSH 7.2 or later is needed, without a ForceCommand of its own",
        ) from error


def _warnings(done: Restriction, *, in_use: bool) -> tuple[str, ...]:
    found = []
    if in_use:
        way = (
            f"{done.others} other keys there have no forced command"
            if done.others
            else "no other key is there: only the console leads back"
        )
        found.append(
            f"the key of this run is the one that is limited: it opens no shell any more; to undo, remove everything in front of the key in {done.file} ({way})"
        )
    found += [f"the key had a forced command of its own, which goes: {command}" for command in done.replaced]
    if done.loose:
        found.append(
            f"{done.loose} can be changed by others than root, who become root by the sudoers line: move ota_root below folders of root's"
        )
    return tuple(found)
