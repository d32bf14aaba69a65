"""The job of a rollback on one host: back to the previous or a named release, without model bytes, read back as proof."""

from __future__ import annotations

from ota.core.facts import SlotState
from ota.core.host_state import HostOutcome, HostState
from ota.core.inventory import Host
from ota.core.playbook import DeploySpec
from ota.errors import HostError, UnreachableError
from ota.remote.device import Device
from ota.workflows.deploy_host import Ends, health_check
from ota.workflows.steps import Steps


def check_rollback_host(host: Host, to: str | None, ends: Ends) -> HostOutcome:
    """Say what a rollback would do to a host, and change nothing there."""
    steps = Steps(host.name, ends.emit)
    with ends.connect(host) as device:
        slot = device.slot()
    steps.previous = slot.current
    target = to or slot.previous
    if target is None and slot.rolled_back_from is None:
        raise HostError("there is no previous release to go back to", where=host.name)
    if target is None or target == slot.current:
        steps.ok("current", slot.current or "")
        return steps.ended(HostState.CONFIRMED, release=slot.current, digest=slot.current_digest)
    reason = f"would go back from {slot.current or 'nothing'} to {target}, sending 0 bytes"
    steps.ok("would roll back", reason, changed=True)
    return steps.ended(HostState.PENDING, release=target, digest=slot.current_digest, reason=reason)


def rollback_host(host: Host, to: str | None, spec: DeploySpec, ends: Ends) -> HostOutcome:
    """Return a host to `to`, or to its previous release; one that went back already is left alone."""
    steps = Steps(host.name, ends.emit)
    with ends.connect(host) as device:
        slot = device.slot()
        steps.previous = slot.current
        back = device.rollback(to)
        if not back.changed:
            steps.ok("current", back.current or "")
            return steps.ended(HostState.CONFIRMED, release=back.current, digest=back.digest)
        steps.ok("roll back", f"from {slot.current} to {back.current}", changed=True)
        try:
            return _prove(device, slot, back.current, spec, ends, steps)
        except UnreachableError as error:
            reason = f"the connection was lost after the rollback: {error.problem}"
            return steps.ended(HostState.UNREACHABLE, release=back.current, reason=reason)
        except HostError as error:
            return steps.ended(
                HostState.FAILED, release=back.current, digest=back.digest, reason=error.reason
            )


def _prove(
    device: Device, before: SlotState, target: str | None, spec: DeploySpec, ends: Ends, steps: Steps
) -> HostOutcome:
    for command in spec.after:
        done = device.run(command, timeout_s=spec.command_timeout_s)
        if done.exit_code:
            raise HostError(
                f"the after command '{command}' ended with {done.exit_code}", where=device.host.name
            )
        steps.ok("after", command, changed=True)
    health_check(device, spec, ends.sleep, steps)
    back = device.slot()
    expected = next((held.model_digest for held in before.releases if held.id == target), None)
    if back.current != target or back.current_digest is None or back.current_digest != expected:
        raise HostError(f"read back {back.current}, where {target} was expected", where=device.host.name)
    steps.ok("read back", back.current_digest.short)
    return steps.ended(HostState.CONFIRMED, release=target, digest=back.current_digest)
