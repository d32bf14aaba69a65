"""Bring a release to a device beside the one that it runs: nothing is sent that is there, every digest is verified by the device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ota.core.events import Progressed, Warned
from ota.core.facts import SlotState
from ota.core.protocol import BlobKind
from ota.core.release import MODEL_ARTIFACT, Artifact, Digest, Release
from ota.core.wire import Encoding, preferred, worth_encoding
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
    artifacts = sorted(release.manifest.artifacts, key=lambda one: _kind(one) is not BlobKind.CANDIDATE)
    there = device.held([(_kind(artifact), artifact.digest) for artifact in artifacts])
    return tuple(artifact for artifact in artifacts if artifact.digest not in there)


def ready(device: Device, absent: Sequence[Artifact], *, look: bool = False) -> None:
    """Raise HostError where the device cannot take these artifacts, before a byte is sent; `look` changes nothing there."""
    device.ready([(_kind(artifact), artifact) for artifact in absent], look=look)


def send(device: Device, artifact: Artifact, ends: Ends, steps: Steps, bases: Sequence[Digest] = ()) -> None:
    """Bring one artifact to the device, or what it lacks of it, in the form that is there first; the device holds the models `bases`."""

    def progress(done: int, total: int) -> None:
        stop_here(ends)
        ends.emit(Progressed(host=device.host.name, step="transfer", done=done, total=total))

    content, forms = ends.blob(artifact.digest), _forms(device, artifact, ends, bases)
    sent = device.put(_kind(artifact), artifact.digest, content, forms=forms, on_progress=progress)
    if sent.bytes_sent:
        steps.bytes_sent += sent.bytes_sent
        steps.ok("transfer", f"{artifact.name}, {sent.bytes_sent} bytes{_said(sent.form)}", changed=True)


def _forms(device: Device, artifact: Artifact, ends: Ends, bases: Sequence[Digest]) -> tuple[Encoding, ...]:
    """Return the forms in which a model should cross this link; none for other files, which are small."""
    if artifact.name != MODEL_ARTIFACT:
        return ()
    link = device.link
    if link.bytes_per_s is None:
        link = replace(link, bytes_per_s=ends.speed(device.host.name))
    if not worth_encoding(artifact.size_bytes, link):
        return ()
    return preferred(artifact.size_bytes, ends.encodings(artifact.digest, bases), link)


def _said(form: Encoding | None) -> str:
    if form is None:
        return ""
    return ", compressed" if form.base is None else f", the difference to {form.base.short}"


def stage(device: Device, slot: SlotState, order: Order, ends: Ends, steps: Steps) -> None:
    """Build a release on the device from what it has and what it is sent; what the device found damaged is sent once more."""
    staged = is_staged(slot, order.release.id)
    absent = () if staged else missing(device, order.release)
    ready(device, absent)
    if staged and not order.signatures:
        steps.ok("stage", order.release.id)
        return
    try:
        _send_and_stage(device, absent, order, ends, steps, _held(slot))
    except RefusedError as refusal:
        if refusal.code not in _REPAIRED:
            raise
        ends.emit(Warned(host=device.host.name, message=f"{refusal.problem}: sending it again"))
        _send_and_stage(device, missing(device, order.release), order, ends, steps)


def _send_and_stage(
    device: Device,
    absent: Sequence[Artifact],
    order: Order,
    ends: Ends,
    steps: Steps,
    bases: Sequence[Digest] = (),
) -> None:
    for artifact in absent:
        send(device, artifact, ends, steps, bases)
    steps.ok("stage", order.release.id, changed=device.stage(order.release, order.signatures))


def _held(slot: SlotState) -> tuple[Digest, ...]:
    """Return the models of the releases that lie on the device whole, as read back."""
    digests = (held.model_digest for held in slot.releases if held.intact)
    return tuple(dict.fromkeys(digest for digest in digests if digest is not None))


def _kind(artifact: Artifact) -> BlobKind:
    return BlobKind.CANDIDATE if artifact.name == MODEL_ARTIFACT else BlobKind.ARTIFACT
