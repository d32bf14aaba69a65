"""What a device under trial is led through: small releases, one cycle of deployment, rollback, return and prune, and what `current` may be at each instant."""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import shake_128
from pathlib import Path

from ota.core.protocol import BlobKind
from ota.core.release import MODEL_ARTIFACT, Artifact, Digest, Manifest, Release
from ota.remote.answers import Lease
from ota.remote.device import Device
from ota.remote.transport import Transport

MODEL = "trial"
LEASE = Lease(seconds=600)
KEPT = 3
_JUDGE = Path(__file__).with_name("judge.py").read_text()


@dataclass(frozen=True, slots=True, kw_only=True)
class Shipment:
    """A release and the bytes of its files, by name."""

    release: Release
    contents: dict[str, bytes]


def shipment(number: int) -> Shipment:
    """Return the release of that number: a model of 60 to 120 kB and two files beside it, all of other bytes than any other's."""
    sizes = {MODEL_ARTIFACT: 60_000 + 15_013 * (number % 5), "labels.txt": 700, "open.txt": 90}
    contents = {name: shake_128(f"{name} {number}".encode()).digest(size) for name, size in sizes.items()}
    artifacts = tuple(
        Artifact(name=name, digest=Digest.of(content), size_bytes=len(content))
        for name, content in contents.items()
    )
    return Shipment(release=Release(manifest=Manifest(model=MODEL, artifacts=artifacts)), contents=contents)


@dataclass(slots=True, kw_only=True)
class Course:
    """What has been asked of a device; `may_be` are the releases that may be current on its disk now, `step` is what was last asked.

    While a switch is asked for, both are possible; once it was answered, only the new one: an answer is a promise that a cut does not undo.
    """

    may_be: frozenset[str | None] = frozenset((None,))
    step: str = ""

    def begin(self, step: str, target: str | None = None) -> None:
        """Note that a request goes out, and where it leads."""
        self.step = step
        if target is not None:
            self.may_be |= {target}

    def done(self, current: str | None) -> None:
        """Note that the device answered that this is current."""
        self.may_be = frozenset((current,))


def deploy(device: Device, what: Shipment, folder: Path, course: Course) -> None:
    """Bring a release to the device and make it current, confirmed, as `ota deploy` does."""
    course.begin("put")
    for name, content in what.contents.items():
        path = folder / Digest.of(content).hex
        if not path.exists():
            path.write_bytes(content)
        device.put(
            BlobKind.CANDIDATE if name == MODEL_ARTIFACT else BlobKind.ARTIFACT, Digest.of(content), path
        )
    course.begin("stage")
    device.stage(what.release)
    current = device.slot().current
    course.begin("activate", what.release.id)
    device.activate(what.release.id, expected_current=current, lease=LEASE)
    course.done(what.release.id)
    course.begin("confirm")
    device.confirm(what.release.id)


def cycle(device: Device, what: Shipment, folder: Path, course: Course) -> None:
    """Deploy a release, roll it back, deploy it again and prune; the device holds an earlier release already."""
    (before,) = course.may_be
    if before is None:
        raise ValueError("nothing to roll back to")
    deploy(device, what, folder, course)
    course.begin("rollback", before)
    device.rollback()
    course.done(before)
    course.begin("confirm the rollback")
    device.confirm(before)
    deploy(device, what, folder, course)
    course.begin("prune")
    device.prune(KEPT)
    course.begin("nothing")


def judged(transport: Transport, python: str, root: str, course: Course) -> str:
    """Return what is wrong with the device's disk as it is found, before any agent runs; empty where nothing is. Notes what is current."""
    channel = transport.open((python, "-c", _JUDGE, root))
    channel.close_write()
    answer = json.loads(channel.read_line(4096))
    channel.close()
    current = answer["current"]
    found = unfit(current, answer["wrong"], course.may_be)
    if not found:
        course.done(current)
    return found


def unfit(current: str | None, wrong: str, may_be: frozenset[str | None]) -> str:
    """Return what a judge's words mean where these releases may be current; empty where nothing is wrong."""
    if wrong:
        return f"{current}: {wrong}"
    if current not in may_be:
        return f"current is {current}, not {' or '.join(map(str, may_be))}"
    return ""


def converged(device: Device, before: Shipment, what: Shipment, folder: Path, course: Course) -> str:
    """Deploy `what` after a cut of its cycle, and return what is not as after an undisturbed deployment; empty where nothing is."""
    # The first request that changes anything undoes a trial that nobody confirmed before the cut.
    course.may_be |= {before.release.id}
    deploy(device, what, folder, course)
    slot = device.slot()
    if slot.current != what.release.id or slot.current_digest != what.release.model.digest:
        return f"the next run ends with {slot.current}"
    if slot.pending is not None or not all(held.intact for held in slot.releases):
        return f"the next run leaves {slot.pending} on trial, releases {slot.releases}"
    return ""
