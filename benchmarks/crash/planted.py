"""Faults planted to see whether the simulator finds them: orders that look right and are not, and syncs left out."""
# These are variants of the agent's code, which is written so.
# ruff: noqa: PTH112, PTH113, PTH115, PTH118, PTH120

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ota.agent import blobs, effects, files, journal, slot
from ota.agent import trial as trial_of

from .operations import A, B, C, Operation, Step, confirm, deployed, done, prune, puts, stage, trial
from .place import Place
from .releases import Small
from .simulator import Simulator


def switch_before_trial(release: Small, root: str) -> None:
    """Move `current`, and only then write down that it is a trial."""
    back_to = slot.read_back(root)["current"]
    if back_to == release.id:
        return
    _point(root, "previous", back_to)
    _point(root, "current", release.id)
    _write_pending(root, release.id, back_to)
    journal.append(root, "activate", release.id, back_to)


def switch_by_two_names(release: Small, root: str) -> None:
    """Remove `current` and make it anew, instead of one rename."""
    back_to = slot.read_back(root)["current"]
    if back_to == release.id:
        return
    _write_pending(root, release.id, back_to)
    _point(root, "previous", back_to)
    files.remove(os.path.join(root, "current"))
    effects.symlink(os.path.join("releases", release.id), os.path.join(root, "current"))
    effects.sync_folder(root)
    journal.append(root, "activate", release.id, back_to)


def trial_written_in_place(release: Small, root: str) -> None:
    """Write pending.json without a temporary name."""
    back_to = slot.read_back(root)["current"]
    if back_to == release.id:
        return
    text = json.dumps({"release": release.id, "from": back_to, "previous": None}).encode()
    with files.open_kept(os.path.join(root, "pending.json")) as file:
        file.truncate(0)
        file.write(text, 0)
        file.sync()
    _point(root, "previous", back_to)
    _point(root, "current", release.id)
    journal.append(root, "activate", release.id, back_to)


def named_before_whole(release: Small, root: str) -> None:
    """Give a release its name, and only then sync what it holds."""
    path = os.path.join(root, "releases", release.id)
    temporary = os.path.join(root, "releases", f".{release.id}.tmp")
    if os.path.isdir(path):
        return
    files.make_folder(os.path.dirname(path))
    files.make_folder(temporary)
    for artifact in json.loads(release.manifest)["artifacts"]:
        kind = next(
            kind
            for kind in ("candidates", "artifacts")
            if os.path.isfile(os.path.join(root, kind, artifact["sha256"]))
        )
        effects.link(blobs.path_of(root, kind, artifact["sha256"]), os.path.join(temporary, artifact["name"]))
    with effects.create(os.path.join(temporary, "manifest.json")) as file:
        file.write(release.manifest.encode(), 0)
        files.move(temporary, path)
        file.sync()
    effects.sync_folder(path)
    journal.append(root, "stage", release.id)


def removed_by_its_own_name(keep: int, root: str) -> None:
    """Empty a release's folder under the name of the release."""
    used = {Path(os.readlink(os.path.join(root, name))).name for name in ("current", "previous")}
    for path in sorted(Path(root, "releases").iterdir())[: 9 - keep]:
        if path.name not in used:
            for entry in sorted(path.iterdir()):
                effects.unlink(str(entry))
            effects.rmdir(str(path))
    effects.sync_folder(os.path.join(root, "releases"))


def trial_ended_before_way_back(root: str) -> None:
    """Revert: remove pending.json, and only then move `current`."""
    pending = trial_of.read(root)
    if pending is None:
        return
    files.remove(os.path.join(root, "pending.json"))
    _point(root, "current", pending["from"])
    _point(root, "previous", pending["previous"])
    journal.append(root, "revert", pending["from"])


def _write_pending(root: str, release: str, back_to: str | None) -> None:
    record = {"release": release, "from": back_to, "previous": None, "time": time.time()}
    files.write_file(os.path.join(root, "pending.json"), json.dumps(record).encode())


def _point(root: str, name: str, release: str | None) -> None:
    if release is None:
        files.remove(os.path.join(root, name))
    else:
        files.point(os.path.join(root, name), os.path.join("releases", release))


def _activated(step: Step) -> tuple[tuple[str, Step], ...]:
    return (
        *puts(B),
        ("stage", partial(stage, B)),
        ("activate", step),
        ("confirm", partial(confirm, B)),
    )


ORDERS = (
    Operation(
        name="the switch before its trial is written down",
        before=done(deployed(A)),
        steps=_activated(partial(switch_before_trial, B)),
    ),
    Operation(
        name="the switch by removing and making a name",
        before=done(deployed(A)),
        steps=_activated(partial(switch_by_two_names, B)),
    ),
    Operation(
        name="the trial written in place",
        before=done(deployed(A)),
        steps=_activated(partial(trial_written_in_place, B)),
    ),
    Operation(
        name="a release named before it is whole",
        before=done(deployed(A)),
        steps=(*puts(B), ("stage", partial(named_before_whole, B))),
    ),
    Operation(
        name="a release removed under its own name",
        before=done(deployed(A), deployed(B), deployed(C)),
        steps=(("prune", partial(removed_by_its_own_name, 1)),),
    ),
    Operation(
        name="the trial ended before the way back",
        before=done(deployed(A), trial(B)),
        steps=(("revert", trial_ended_before_way_back),),
    ),
)

SYNCED = (
    Operation(
        name="deployment of a second release, then the first pruned",
        before=done(deployed(A), deployed(B)),
        steps=(*deployed(C), ("prune", partial(prune, 2))),
    ),
    Operation(name="first deployment", before=(), steps=deployed(A)),
    Operation(name="revert", before=done(deployed(A), trial(B)), steps=(("revert", slot.revert),)),
)


def orders_found(place: Place) -> dict[str, bool]:
    """Return for each planted order whether a bad state was found."""
    found = {}
    for operation in ORDERS:
        simulator = Simulator(operation, place)
        simulator.cut(simulator.history, again=0)
        found[operation.name] = bool(simulator.count.bad)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Syncs:
    """Syncs by step and what they sync, each left out in turn: found by a bad state; not found, but repeated in the same step; not found."""

    found: tuple[str, ...]
    repeated: tuple[str, ...]
    missed: tuple[str, ...]


def syncs_found(operation: Operation, place: Place) -> Syncs:
    """Leave out each sync of an operation in turn."""
    simulator = Simulator(operation, place)
    history = simulator.history
    simulator.cut(history, again=0)
    steps = [next(one.step for one in history.moments if one.at > at) for at in range(len(history.trace))]
    told = {at: (steps[at], history.trace[at].name, history.trace[at].path) for at in history.syncs()}
    kinds: dict[str, list[str]] = {"found": [], "repeated": [], "missed": []}
    for at, what in told.items():
        before = len(simulator.count.bad)
        simulator.cut(history, frozenset({at}), again=0)
        again = list(told.values()).count(what) > 1
        kind = "found" if len(simulator.count.bad) > before else "repeated" if again else "missed"
        kinds[kind].append(f"{what[0]}: {what[1]} {what[2] or 'of the root'}")
    return Syncs(**{kind: tuple(texts) for kind, texts in kinds.items()})


def settling_found(place: Place) -> int:
    """Leave out the syncs of recovery after a killed deployment; return after how many kills a bad state was found."""
    simulator = Simulator(SYNCED[0], place)
    found = 0
    for kill_at in range(1, len(simulator.history.trace) + 1):
        history = simulator.record(simulator.history.start, kill_at)
        before = len(simulator.count.bad)
        lost = frozenset(history.syncs(history.first, history.moments[0].at))
        simulator.cut(history, lost, again=0)
        found += len(simulator.count.bad) > before
    return found
