"""Bring a release to a device beside the one that it runs: nothing is sent that is there, every digest is verified by the device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ota.core.events import Progressed, Warned
from ota.core.facts import Facts, SlotState
from ota.core.protocol import BlobKind
from ota.core.release import MODEL_ARTIFACT, Artifact, Digest, Release
from ota.core.wire import Encoding
from ota.errors import HostError
from ota.remote import requests
from ota.remote.device import Device
from ota.remote.dialogue import RefusedError
from ota.remote.flight import Flight, Reply
from ota.remote.requests import Along
from ota.workflows.crossings import said
from ota.workflows.order import Ends, Order
from ota.workflows.steps import Steps, stop_here

_REPAIRED = frozenset(("digest", "damaged", "retry", "size"))
"""Refusals after which the device removed what was damaged, so that sending it once more helps."""
_UNSENT = frozenset(("unsent",))
"""Refusals of what was sent unasked: it is sent as the device asks for it then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a device showed before a release comes to it: its slot, which files it has and which have begun to come, and why it would refuse, where it would."""

    slot: SlotState
    held: frozenset[Digest]
    begun: frozenset[Digest]
    facts: Facts | None = None
    unready: RefusedError | None = None
    unadmitted: RefusedError | None = None

    def missing(self, release: Release) -> tuple[Artifact, ...]:
        """Return the artifacts of a release that the device does not hold, the model first: none of one that is whole there."""
        if is_staged(self.slot, release.id):
            return ()
        return tuple(artifact for artifact in _in_order(release) if artifact.digest not in self.held)


def look(device: Device, order: Order, *, with_facts: bool = False) -> Seen:
    """Ask all that has to be known before a release comes, and change nothing: one wait."""
    release = order.release
    artifacts = _in_order(release)
    flight = device.flight()
    # A gate compares with a release that need not be the current one.
    slot = flight.add(requests.slot(release.id if order.gate is None else None))
    files: dict[BlobKind, list[Digest]] = {}
    for artifact in artifacts:
        files.setdefault(_kind(artifact), []).append(artifact.digest)
    if order.probe is not None:
        files[BlobKind.DATASET] = [order.probe]
    held = [flight.add(requests.held(kind, digests), then=False) for kind, digests in files.items()]
    ready = flight.add(requests.ready([(_kind(one), one) for one in artifacts], look=True), then=False)
    admitted = None
    if order.signatures:
        admitted = flight.add(requests.admit(release, order.signatures), then=False)
    facts = flight.add(requests.facts(), then=False) if with_facts else None
    flight.go()
    return Seen(
        slot=slot.value,
        held=frozenset().union(*(reply.value.whole for reply in held)),
        begun=frozenset().union(*(reply.value.begun for reply in held)),
        facts=None if facts is None else facts.value,
        unready=ready.refused,
        unadmitted=None if admitted is None else admitted.refused,
    )


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
    return held is not None and held.intact is True


def ready(device: Device, absent: Sequence[Artifact], *, look: bool = False) -> None:
    """Raise HostError where the device cannot take these artifacts, before a byte is sent; `look` changes nothing there."""
    device.ready([(_kind(artifact), artifact) for artifact in absent], look=look)


def send(device: Device, artifact: Artifact, ends: Ends, steps: Steps, bases: Sequence[Digest] = ()) -> None:
    """Bring one artifact to the device, or what it lacks of it, in the form that is there first; the device holds the models `bases`."""
    content, forms = ends.blob(artifact.digest), _forms(device, artifact, ends, bases)
    progress = _progress(device, ends)
    sent = ends.crossings.timed(
        device.host.name,
        artifact.size_bytes,
        lambda: device.put(_kind(artifact), artifact.digest, content, forms=forms, on_progress=progress),
    )
    _told(steps, artifact, sent.form, sent.bytes_sent)


def _forms(device: Device, artifact: Artifact, ends: Ends, bases: Sequence[Digest]) -> tuple[Encoding, ...]:
    """Return the forms in which a model should cross this link; none for other files, which are small."""
    if artifact.name != MODEL_ARTIFACT:
        return ()
    return ends.crossings.forms(
        device.host.name, artifact.digest, artifact.size_bytes, bases, device.round_trip_s
    )


def stage(
    device: Device, seen: Seen, order: Order, ends: Ends, steps: Steps, aboard: Aboard | None = None
) -> None:
    """Build a release on the device from what it has and what it is sent, one wait for all; what the device found damaged is sent once more.

    `aboard` goes in the same flight, and has answers only where the release was staged in it.
    """
    absent = seen.missing(order.release)
    if seen.unready is not None:
        # What an interrupted run left takes room, and goes before the device says so again.
        ready(device, absent)
    flight = device.flight()
    staging = _Staging(flight, order, ends, steps)
    if is_staged(seen.slot, order.release.id) and not order.signatures:
        steps.ok("stage", order.release.id)
    else:
        _load(device, seen, staging, absent)
    if aboard is not None:
        aboard.board(flight)
    with staging.watches:
        flight.go()
    refusal = staging.refusal
    if refusal is None:
        return
    if refusal.code not in _REPAIRED | _UNSENT:
        raise refusal
    bases: Sequence[Digest] = ()
    if refusal.code in _UNSENT:
        bases = _held(seen.slot)
    else:
        ends.emit(Warned(host=device.host.name, message=f"{refusal.problem}: sending it again"))
    for artifact in look(device, order).missing(order.release):
        send(device, artifact, ends, steps, bases)
    steps.ok("stage", order.release.id, changed=device.stage(order.release, order.signatures))


def _load(device: Device, seen: Seen, staging: _Staging, absent: Sequence[Artifact]) -> None:
    """Have files that are not there sent in the flight that stages the release; one whose transfer was cut goes on where the device says, before it."""
    bases, ends, steps = _held(seen.slot), staging.ends, staging.steps
    forms = {artifact.digest: _forms(device, artifact, ends, bases) for artifact in absent}
    was_cut = seen.begun & {*forms, *(form.digest for each in forms.values() for form in each)}
    for artifact in absent:
        if was_cut:
            send(device, artifact, ends, steps, bases)
        else:
            staging.bring(device, artifact, forms[artifact.digest])
    staging.stage()


class Aboard(Protocol):
    """Requests that go in the flight in which a release is staged, behind it."""

    def board(self, flight: Flight) -> object:
        """Add them."""
        ...


class _Staging:
    """The files and the staging of a release, as far as they go in one flight."""

    def __init__(self, flight: Flight, order: Order, ends: Ends, steps: Steps) -> None:
        self._flight = flight
        self._order = order
        self.ends = ends
        self.steps = steps
        self._replies: list[Reply[int] | Reply[bool]] = []
        self.watches = ExitStack()

    @property
    def refusal(self) -> RefusedError | None:
        """The first refusal, None where all was carried out."""
        return next((reply.refused for reply in self._replies if reply.refused is not None), None)

    def bring(self, device: Device, artifact: Artifact, forms: Sequence[Encoding]) -> None:
        """Send an artifact of which the device has nothing, in the best of these forms."""
        form = forms[0] if forms else None
        path = self.ends.blob(artifact.digest) if form is None else Path(form.path)
        watch = self.ends.crossings.watch(device.host.name, artifact.size_bytes, form)
        self.watches.callback(watch.close)
        along = Along(
            path=path,
            length=artifact.size_bytes if form is None else form.size_bytes,
            on_progress=_progress(device, self.ends),
            on_begin=watch.begin,
        )
        asking = requests.bring(_kind(artifact), artifact.digest, artifact.size_bytes, along, form)

        def told(sent: int) -> None:
            watch.end(sent)
            _told(self.steps, artifact, form, sent)

        self._replies.append(self._flight.add(asking, told=told))

    def stage(self) -> None:
        """Have the release built."""
        release = self._order.release

        def told(changed: bool) -> None:
            self.steps.ok("stage", release.id, changed=changed)

        asking = requests.stage(release, self._order.signatures)
        self._replies.append(self._flight.add(asking, told=told))


def _progress(device: Device, ends: Ends) -> Callable[[int, int], None]:
    def progress(done: int, total: int) -> None:
        stop_here(ends)
        ends.emit(Progressed(host=device.host.name, step="transfer", done=done, total=total))

    return progress


def _told(steps: Steps, artifact: Artifact, form: Encoding | None, sent: int) -> None:
    if sent:
        steps.bytes_sent += sent
        steps.ok("transfer", f"{artifact.name}, {sent} bytes{said(form)}", changed=True)


def _held(slot: SlotState) -> tuple[Digest, ...]:
    """Return the models of the releases on the device, but for those that are not whole; it sees itself whether it has one where it is used."""
    digests = (held.model_digest for held in slot.releases if held.intact is not False)
    return tuple(dict.fromkeys(digest for digest in digests if digest is not None))


def _in_order(release: Release) -> list[Artifact]:
    """Return a release's artifacts, the model first."""
    return sorted(release.manifest.artifacts, key=lambda one: _kind(one) is not BlobKind.CANDIDATE)


def _kind(artifact: Artifact) -> BlobKind:
    return BlobKind.CANDIDATE if artifact.name == MODEL_ARTIFACT else BlobKind.ARTIFACT
