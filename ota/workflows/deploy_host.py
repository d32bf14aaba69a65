"""The job of a deployment on one host: stage, verify, load check, activate, health check, gate, read back, confirm; else go back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from ota.core.facts import SlotState
from ota.core.host_state import HostOutcome, HostState
from ota.core.inventory import Host
from ota.core.playbook import DeploySpec
from ota.core.release import Release
from ota.errors import CommandEndedError, GateError, HostError, OtaError, UnreachableError
from ota.remote.answers import Lease, ReadBack
from ota.remote.device import Device
from ota.remote.dialogue import RefusedError
from ota.remote.requests import Asking
from ota.workflows.load_check import LoadCheck, is_wanted
from ota.workflows.order import Ends, Order
from ota.workflows.staging import Seen, is_staged, look, refuse_other_model, stage
from ota.workflows.steps import Steps, on_device, stop_here
from ota.workflows.trial import Switch, before, prove, reopen
from ota.workflows.trust import later

_UNTOUCHED = frozenset(
    (
        "moved",
        "locked",
        "damaged",
        "unordered",
        "replayed",
        "other_order",
        "older",
        "incompatible",
        "restricted",
    )
)
"""Refusals of an activation that come before it has written anything."""


def check_host(host: Host, order: Order, ends: Ends) -> HostOutcome:
    """Say what a deployment would do to a host, and change nothing there."""
    return on_device(host, ends, partial(_check, order, ends), target=order.release.id)


def deploy_host(host: Host, order: Order, ends: Ends) -> HostOutcome:
    """Bring a host to `order.release`, and back to what it had where the release does not prove itself there."""
    return on_device(host, ends, partial(_deploy, order, ends), target=order.release.id)


def _check(order: Order, ends: Ends, device: Device, steps: Steps) -> HostOutcome:
    release = order.release
    seen = _look(device, order, ends, steps)
    slot = seen.slot
    if _is_there(slot, release):
        steps.ok("current", release.id)
        return steps.ended(HostState.CONFIRMED, release=release.id, digest=slot.current_digest)
    size = sum(artifact.size_bytes for artifact in seen.missing(release))
    if slot.current == release.id:
        reason = f"would prove and confirm {release.id}, which is current, sending {size} bytes"
    else:
        reason = f"would go from {slot.current or 'nothing'} to {release.id}, sending {size} bytes"
    if seen.unready is not None:
        reason += f", and would be refused: {seen.unready.problem}"
    steps.ok("would deploy", reason, changed=True)
    return steps.ended(HostState.PENDING, release=release.id, digest=slot.current_digest, reason=reason)


def _deploy(order: Order, ends: Ends, device: Device, steps: Steps) -> HostOutcome:
    release = order.release
    seen = _look(device, order, ends, steps)
    slot = seen.slot
    if _is_there(slot, release):
        steps.ok("current", release.id)
        return steps.ended(HostState.CONFIRMED, release=release.id, digest=slot.current_digest)
    switch = Switch(
        release.id, lambda: _activation(device, slot, order), order.spec, gated=order.gate is not None
    )
    try:
        gate = _prepare(device, seen, order, ends, steps, switch)
        return _try(device, slot, order, ends, steps, switch, gate)
    except (UnreachableError, CommandEndedError) as lost:
        if not switch.may_have_been:
            raise
        if isinstance(lost, CommandEndedError):
            return _go_back(device, slot, order, ends, steps, lost)
        return _unconfirmed(order, steps, lost.reason)


def _prepare(
    device: Device, seen: Seen, order: Order, ends: Ends, steps: Steps, switch: Switch
) -> Callable[[], None]:
    """Bring the release and do all that comes before its activation, which goes in the same flight where that is nothing; return the gate behind it."""
    release, slot = order.release, seen.slot
    is_new = slot.current != release.id or not is_staged(slot, release.id)
    if is_new:
        _admitted(device, seen, order, steps)
        check = (
            LoadCheck(device, seen, order, order.probe, ends) if order.probe and is_wanted(order) else None
        )
        at_once = check is None and not order.spec.before and order.gate is None
        stop_here(ends)
        stage(device, seen, order, ends, steps, switch if at_once else check)
        if check is not None:
            check.judge(steps)
    gate = (lambda: None) if order.gate is None else order.gate(device, slot, order, ends, steps)
    if is_new:
        before(device, order.spec, ends, steps, reopen_after=slot.current is not None)
    return gate


def _try(
    device: Device,
    slot: SlotState,
    order: Order,
    ends: Ends,
    steps: Steps,
    switch: Switch,
    gate: Callable[[], None],
) -> HostOutcome:
    """Activate the release and have it prove itself; else go back."""
    release = order.release
    activated = False
    try:
        changed = switch.made(device).changed
        activated = True
        steps.ok("activate", release.id, changed=changed)
        return prove(
            device, release.id, release.model.digest, order.spec, ends, steps, read=switch.slot, gate=gate
        )
    except UnreachableError:
        raise
    except HostError as error:
        if not activated and isinstance(error, RefusedError) and error.code in _UNTOUCHED:
            return _left_alone(device, slot, order, steps, error)
        end = _go_back(device, slot, order, ends, steps, error)
        return replace(end, gate_failed=isinstance(error, GateError))
    except OtaError as error:
        if activated:
            raise
        # The order could not be signed, so none was given.
        return _left_alone(device, slot, order, steps, error)


def _activation(device: Device, slot: SlotState, order: Order) -> Asking[ReadBack]:
    """Return the activation, by a signed order where there is authority."""
    return device.activation(
        order.release.id,
        expected_current=slot.current,
        lease=_lease(order.spec),
        authority=order.authority,
    )


def _admitted(device: Device, seen: Seen, order: Order, steps: Steps) -> None:
    """Bring the device's keyring up to date, and see that it takes the release then."""
    keyring = seen.slot.keyring
    led = False
    if order.keyrings and not keyring:
        steps.note("this device takes unsigned releases too: ota provision gives it the project's keyring")
    elif later(device, keyring, order.keyrings):
        led = True
        steps.ok("keyring", f"version {order.keyrings[-1].keyring.version}", changed=True)
    if led or (keyring and not order.signatures):
        device.admit(order.release, order.signatures)
    elif seen.unadmitted is not None:
        raise seen.unadmitted


def _lease(spec: DeploySpec) -> Lease:
    return Lease(seconds=spec.lease_s, after=spec.after, command_timeout_s=spec.command_timeout_s)


def _look(device: Device, order: Order, ends: Ends, steps: Steps) -> Seen:
    seen = look(device, order, with_facts=is_wanted(order))
    slot = seen.slot
    ends.met(device.host, slot)
    if slot.reverted is not None:
        steps.note(slot.reverted.sentence)
    steps.previous = slot.current
    refuse_other_model(device, slot, order.release.manifest.model)
    return seen


def _is_there(slot: SlotState, release: Release) -> bool:
    return (
        slot.current == release.id
        and slot.pending is None
        and slot.current_digest == release.model.digest
        and is_staged(slot, release.id)
    )


def _left_alone(device: Device, slot: SlotState, order: Order, steps: Steps, error: OtaError) -> HostOutcome:
    complaints = reopen(device, order.spec) if order.spec.before and slot.current else ()
    reason = "; ".join((error.reason, *complaints))
    return steps.ended(HostState.FAILED, release=slot.current, digest=slot.current_digest, reason=reason)


def _go_back(
    device: Device, slot: SlotState, order: Order, ends: Ends, steps: Steps, error: HostError
) -> HostOutcome:
    """Return to what was current before, and have the application open it again; the outcome says why, and what became of it."""
    release = order.release
    try:
        if not isinstance(error, CommandEndedError):
            back, complaints = _revert(device, order)
        else:
            # The agent died and its host lives: another agent takes its place.
            device.close()
            with ends.connect(device.host) as again:
                back, complaints = _revert(again, order)
    except UnreachableError as lost:
        return _unconfirmed(order, steps, f"{error.reason}; then {lost.reason}")
    except HostError as worse:
        reason = f"{error.reason}; and it could not go back, {release.id} is current and unconfirmed: {worse.reason}"
        return steps.ended(HostState.FAILED, release=release.id, reason=reason)
    reason = "; ".join((error.reason, *complaints))
    if back.current == release.id:
        reason += "; there was no other release to go back to"
        return steps.ended(HostState.FAILED, release=release.id, digest=back.digest, reason=reason)
    steps.ok("revert", back.current or "no release: there was none before", changed=True)
    if not _reads_back(back, slot):
        found = "nothing" if back.digest is None else back.digest.short
        reason += f"; and {back.current}, to which it went back, does not read back as it was: found {found}"
        return steps.ended(HostState.FAILED, release=back.current, digest=back.digest, reason=reason)
    return steps.ended(HostState.ROLLED_BACK, release=back.current, digest=back.digest, reason=reason)


def _revert(device: Device, order: Order) -> tuple[ReadBack, tuple[str, ...]]:
    back = device.revert()
    return back, reopen(device, order.spec) if back.current else ()


def _reads_back(back: ReadBack, slot: SlotState) -> bool:
    if back.current is None:
        return back.digest is None
    held = {held.id: held.model_digest for held in slot.releases}
    return back.digest is not None and back.digest == held.get(back.current)


def _unconfirmed(order: Order, steps: Steps, how: str) -> HostOutcome:
    reason = (
        f"the connection was lost while {order.release.id} was activated: it may be active and unconfirmed; "
        f"run ota deploy again to finish or undo it ({how})"
    )
    return steps.ended(HostState.UNREACHABLE, release=order.release.id, reason=reason)
