"""A real ext4 under a block write log: the agent's deployments and a rollback, rebuilt and mounted at every cut point, are judged; a planted unsafe switch is found.

At every entry of the log the disk is rebuilt with all that was written, with nothing of what no flush had followed, and with random parts of it; its
journal is replayed by mounting it. What is judged is what an application finds then: a complete release, the old one or the new one, and after an
acknowledged switch the new one. Of some disks the next deployment, by the real agent, must end as undisturbed.

Run it by `make proof-write-log`, or `python -m benchmarks.proofs.write_log [DRAWS]`: random parts at each entry, 2 unless told.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from benchmarks.machines import block_log
from benchmarks.machines.block_log import Cut, Entry, Recording, mounted
from benchmarks.machines.cycle import MODEL, Course, converged, cycle, deploy, shipment, unfit
from benchmarks.machines.judge import judge
from ota.core.connection import Connection
from ota.core.inventory import Host
from ota.errors import OtaError
from ota.remote import local
from ota.remote.device import Device

from .figures import Figures

_HOST = Host(name="here")
_SETTLE_S = 2.5
"""Longer than the journal's interval: it commits names before delayed allocation has written what they name."""
_CONVERGE_EVERY = 40
_OLD, _NEW = shipment(0), shipment(1)

Action = Callable[[Path, Path, Course], None]
"""Does something to the root on the recorded disk; the second folder is the controller's, for blobs."""


@dataclass(slots=True, kw_only=True)
class Noted(Course):
    """A course that notes at which entry of the log what may be current changed."""

    recording: Recording
    notes: list[tuple[int, frozenset[str | None]]] = field(default_factory=list)

    def begin(self, step: str, target: str | None = None) -> None:
        """Note it before the request goes out."""
        Course.begin(self, step, target)
        self.note()

    def done(self, current: str | None) -> None:
        """Note it when the answer is there: what is logged until now is all that it may rest on."""
        Course.done(self, current)
        self.note()

    def note(self) -> None:
        """Note what may be current from here on."""
        self.notes.append((len(self.recording.entries()), self.may_be))

    def at(self, entry: int) -> frozenset[str | None]:
        """Return what may be current when the power is cut behind that many entries."""
        return next(may_be for place, may_be in reversed(self.notes) if place <= entry)


@dataclass(slots=True)
class Verdict:
    """What became of the disks of one recording."""

    entries: int
    flushes: int
    states: int = 0
    converged: int = 0
    bad: list[str] = field(default_factory=list)


def agent(root: Path, blobs: Path, course: Course) -> None:
    """Deploy, roll back, deploy again and prune by the real agent."""
    with _device(root) as device:
        cycle(device, _NEW, blobs, course)


def unsafe(root: Path, _: Path, course: Course) -> None:
    """Write the release and switch as one does who has not thought of power cuts: nothing is synced, and the link is gone for a moment."""
    course.begin("unsafe switch", _NEW.release.id)
    folder = root / "releases" / _NEW.release.id
    folder.mkdir()
    (folder / "manifest.json").write_text(_NEW.release.manifest.to_json())
    for name, content in _NEW.contents.items():
        (folder / name).write_bytes(content)
    (root / "current").unlink()
    (root / "current").symlink_to(f"releases/{_NEW.release.id}")
    course.done(_NEW.release.id)


def record(action: Action, folder: Path) -> tuple[bytes, Sequence[Entry], Noted]:
    """Run an action on a disk that holds the old release; return the disk before, what was written, and what may be current when."""
    disk, mount, blobs = folder / "disk.img", folder / "mount", folder / "blobs"
    blobs.mkdir(exist_ok=True)
    block_log.make_disk(disk)
    with mounted(disk, mount) as here, _device(here / "ota") as device:
        deploy(device, _OLD, blobs, Course())
    start = disk.read_bytes()
    recording = Recording(disk)
    course = Noted(recording=recording, may_be=frozenset((_OLD.release.id,)))
    with recording as served:
        course.note()
        with mounted(served, mount) as here:
            action(here / "ota", blobs, course)
            time.sleep(_SETTLE_S)
            entries = recording.entries()
    return start, entries, course


def examine(action: Action, folder: Path, *, draws: int, every: int = 1) -> Verdict:
    """Record an action, and judge every disk that a cut may leave of it, or each so-many-th."""
    start, entries, course = record(action, folder)
    verdict = Verdict(entries=len(entries), flushes=sum(entry.is_flush for entry in entries))
    for number, cut in enumerate(islice(block_log.cuts(start, entries, draws=draws), 0, None, every)):
        goes_on = action is agent and number % _CONVERGE_EVERY == 0
        found = _judged(cut, course.at(cut.after), folder, goes_on=goes_on)
        verdict.states += 1
        verdict.converged += goes_on
        if found:
            verdict.bad.append(found)
    return verdict


def _judged(cut: Cut, may_be: frozenset[str | None], folder: Path, *, goes_on: bool) -> str:
    image = folder / "cut.img"
    image.write_bytes(cut.content)
    try:
        with mounted(image, folder / "mount") as here:
            current, wrong = judge(here / "ota")
            found = unfit(current, wrong, may_be)
            if goes_on and not found:
                with _device(here / "ota") as device:
                    found = converged(device, _OLD, _NEW, folder / "blobs", Course(may_be=may_be))
    except (RuntimeError, OtaError) as error:
        return str(error)
    return found


def _device(root: Path) -> Device:
    transport = local.connect(_HOST, Connection(kind="local", address="here"))
    return Device.open(_HOST, transport, model=MODEL, root=str(root), python=sys.executable)


def main() -> None:
    """Examine the agent and the unsafe switch."""
    if block_log.missing():
        print(f"skipped: {block_log.missing()}")
        return
    draws = int(sys.argv[1]) if len(sys.argv) > 1 else 2
    verdicts = {}
    for name, action in {"the agent": agent, "an unsafe switch": unsafe}.items():
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="ota-write-log-") as folder:
            verdict = verdicts[name] = examine(action, Path(folder), draws=draws)
        print(
            f"\n{name}: {verdict.entries} entries, {verdict.flushes} of them flushes; {verdict.states} disks,"
        )
        print(
            f"    {verdict.converged} of them led on, {len(verdict.bad)} bad, in {time.monotonic() - began:.0f} s"
        )
        for text, times in Counter(verdict.bad).most_common(6):
            print(f"    {times:4} x {text}")
    figures = Figures()
    figures.add("disks that a cut may leave of the agent's work", verdicts["the agent"].states, ">=", 300)
    figures.add("bad", len(verdicts["the agent"].bad), "<=", 0)
    figures.add("disks on which the next run converges", verdicts["the agent"].converged, ">=", 8)
    figures.add("planted unsafe switch: bad disks found", len(verdicts["an unsafe switch"].bad), ">=", 1)
    figures.finish()


if __name__ == "__main__":
    main()
