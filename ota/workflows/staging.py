"""Bring a release to a device beside the one that it runs: nothing is sent that is there, every digest is verified by the device."""

from __future__ import annotations

from collections.abc import Sequence

from ota.core.events import Progressed, Warned
from ota.core.facts import SlotState
from ota.core.protocol import BlobKind
from ota.core.release import MODEL_ARTIFACT, Artifact, Release
from ota.errors import HostError
from ota.remote.device import Device
from ota.remote.dialogue import RefusedError
from ota.workflows.order import Ends, Order
from ota.workflows.steps import Steps, stop_here

_REPAIRED = frozenset(("digest", "damaged", "retry", "size"))
"""Refusals after which the device removed what was damaged, so that sending it once more helps."""


def refuse_other_model(device: Device, slot: SlotState, model: str) -> None:
    """Raise HostError where the device's root holds another model's releases, before a byte is sent."""
    if slot.model not in {None, model}:
        raise HostError(
            f"{device.root} holds releases of the model '{slot.model}', not of '{model}'",
            where=device.host.name,
            hint="give each model an ota_root of its own",
        )


def is_staged(slot: SlotState, release_id: str | None) -> bool:
    """Say whether a release lies on the device whole, as read back."""
    held = slot.held(release_id)
    return held is not None and held.intact


def missing(device: Device, release: Release) -> tuple[Artifact, ...]:
    """Return the artifacts of a release that the device does not hold."""
    absent: list[Artifact] = []
    for kind in (BlobKind.CANDIDATE, BlobKind.ARTIFACT):
        of_kind = [artifact for artifact in release.manifest.artifacts if _kind(artifact) is kind]
        there = device.held(kind, [artifact.digest for artifact in of_kind]) if of_kind else frozenset()
        absent += [artifact for artifact in of_kind if artifact.digest not in there]
    return tuple(absent)


def ready(device: Device, absent: Sequence[Artifact], *, look: bool = False) -> None:
    """Raise HostError where the device cannot take these artifacts, before a byte is sent; `look` changes nothing there."""
    device.ready([(_kind(artifact), artifact) for artifact in absent], look=look)


def send(device: Device, artifact: Artifact, ends: Ends, steps: Steps) -> None:
    """Bring one artifact to the device, or what it lacks of it."""

    def progress(done: int, total: int) -> None:
        stop_here(ends)
        ends.emit(Progressed(host=device.host.name, step="transfer", done=done, total=total))

    sent = device.put(_kind(artifact), artifact.digest, ends.blob(artifact.digest), on_progress=progress)
    if sent.bytes_sent:
        steps.bytes_sent += sent.bytes_sent
        steps.ok("transfer", f"{artifact.name}, {sent.bytes_sent} bytes", changed=True)


def stage(device: Device, slot: SlotState, order: Order, ends: Ends, steps: Steps) -> None:
    """Build a release on the device from what it has and what it is sent; what the device found damaged is sent once more."""
    staged = is_staged(slot, order.release.id)
    absent = () if staged else missing(device, order.release)
    ready(device, absent)
    if staged and not order.signatures:
        steps.ok("stage", order.release.id)
        return
    try:
        _send_and_stage(device, absent, order, ends, steps)
    except RefusedError as refusal:
        if refusal.code not in _REPAIRED:
            raise
        ends.emit(Warned(host=device.host.name, message=f"{refusal.problem}: sending it again"))
        _send_and_stage(device, missing(device, order.release), order, ends, steps)


def _send_and_stage(
    device: Device, absent: Sequence[Artifact], order: Order, ends: Ends, steps: Steps
) -> None:
    for artifact in absent:
        send(device, artifact, ends, steps)
    steps.ok("stage", order.release.id, changed=device.stage(order.release, order.signatures))


def _kind(artifact: Artifact) -> BlobKind:
    return BlobKind.CANDIDATE if artifact.name == MODEL_ARTIFACT else BlobKind.ARTIFACT
