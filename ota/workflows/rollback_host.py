"""The job of a rollback on one host: back to the previous or a named release, without model bytes, read back as proof.

Invariant: a rollback that was cut short is on trial on the device until it is proven, so that the next one finishes it.
"""

from __future__ import annotations

from functools import partial

from ota.core.facts import HeldRelease, SlotState
from ota.core.host_state import HostOutcome, HostState
from ota.core.inventory import Host
from ota.core.release import RELEASE_ID_DIGITS, Digest
from ota.errors import HostError, OtaError, UnreachableError
from ota.remote.answers import ReadBack
from ota.remote.device import Device
from ota.remote.dialogue import RefusedError
from ota.remote.flight import Reply
from ota.workflows.order import Ends, Return
from ota.workflows.staging import refuse_other_model
from ota.workflows.steps import Steps, on_device
from ota.workflows.trial import Switch, before, prove, reopen
from ota.workflows.trust import later


def check_rollback_host(host: Host, order: Return, ends: Ends) -> HostOutcome:
    """Say what a rollback would do to a host, and change nothing there."""
    return on_device(host, ends, partial(_check, order))


def rollback_host(host: Host, order: Return, ends: Ends) -> HostOutcome:
    """Return a host to `order.to`, or to its previous release; one that went back already is left alone."""
    whole = order.to is not None and len(order.to) == RELEASE_ID_DIGITS
    return on_device(host, ends, partial(_rollback, order, ends), target=order.to if whole else None)


def _check(order: Return, device: Device, steps: Steps) -> HostOutcome:
    slot = device.slot()
    steps.previous = slot.current
    target = _target(device, slot, order)
    if target.id == slot.current and slot.pending is None:
        return _unchanged(slot, steps)
    reason = f"would go back from {slot.current or 'nothing'} to {target.id}, sending 0 bytes"
    steps.ok("would roll back", reason, changed=True)
    return steps.ended(HostState.PENDING, release=target.id, digest=slot.current_digest, reason=reason)


def _rollback(order: Return, ends: Ends, device: Device, steps: Steps) -> HostOutcome:
    slot = device.slot()
    ends.met(device.host, slot)
    steps.previous = slot.current
    target = _target(device, slot, order)
    if target.id == slot.current and slot.pending is None:
        return _unchanged(slot, steps)
    digest = _digest(device, target)
    before(device, order.spec, ends, steps, reopen_after=slot.current is not None)
    back: ReadBack | None = None
    try:
        back, read = _went_back(device, slot, target.id, order)
        steps.ok("roll back", f"from {slot.current or 'nothing'} to {target.id}", changed=back.changed)
        return prove(device, target.id, digest, order.spec, ends, steps, read=read)
    except UnreachableError as lost:
        reason = (
            f"the connection was lost while it went back to {target.id}: "
            f"run ota rollback again to finish ({lost.reason})"
        )
        return steps.ended(HostState.UNREACHABLE, release=target.id, reason=reason)
    except OtaError as error:
        if back is not None and not isinstance(error, HostError):
            raise
        return _failed(device, back, order, steps, error)


def _went_back(
    device: Device, slot: SlotState, release_id: str, order: Return
) -> tuple[ReadBack, Reply[SlotState] | None]:
    """Have the device go back, by a signed order where it asks for one: a key is needed, and its passphrase, only there."""
    switch = Switch(release_id, lambda: device.return_to(release_id), order.spec)
    try:
        return switch.made(device), switch.slot
    except RefusedError as refusal:
        if refusal.code != "unordered" or order.authority is None:
            raise
    later(device, slot.keyring, order.keyrings)
    switch = Switch(release_id, lambda: device.return_to(release_id, order.authority), order.spec)
    return switch.made(device), switch.slot


def _failed(
    device: Device, back: ReadBack | None, order: Return, steps: Steps, error: OtaError
) -> HostOutcome:
    if back is None:
        complaints = reopen(device, order.spec) if order.spec.before and steps.previous else ()
        reason = "; ".join((error.reason, *complaints))
        return steps.ended(HostState.FAILED, release=steps.previous, reason=reason)
    reason = f"{error.reason}; {back.current} is current and unconfirmed, run ota rollback again to prove it"
    return steps.ended(HostState.FAILED, release=back.current, digest=back.digest, reason=reason)


def _unchanged(slot: SlotState, steps: Steps) -> HostOutcome:
    steps.ok("current", slot.current or "")
    return steps.ended(HostState.CONFIRMED, release=slot.current, digest=slot.current_digest)


def _target(device: Device, slot: SlotState, order: Return) -> HeldRelease:
    """Return the release to go back to; the current one where the last thing that happened was a rollback.

    Raises:
        HostError: there is none, it is not on the device, or it is damaged there.
    """
    refuse_other_model(device, slot, order.model)
    name = order.to or slot.previous or (slot.current if slot.rolled_back_from else None)
    if name is None:
        raise HostError("there is no previous release to go back to", where=device.host.name)
    # The beginning of an id is enough where it is unique: tables show no more of it.
    fitting = [held for held in slot.releases if held.id.startswith(name)]
    if len(fitting) != 1:
        here = ", ".join(held.id for held in slot.releases) or "none"
        what = "more than one release" if fitting else "no release"
        raise HostError(f"{what} on this device is {name}; here are: {here}", where=device.host.name)
    held = fitting[0]
    if not held.intact:
        raise HostError(
            f"release {name} is damaged on the device",
            where=device.host.name,
            hint="ota deploy sends what is damaged again",
        )
    return held


def _digest(device: Device, release: HeldRelease) -> Digest:
    if release.model_digest is None:
        raise HostError(f"release {release.id} has no model on the device", where=device.host.name)
    return release.model_digest
