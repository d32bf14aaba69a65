"""What is recorded and cut: a literal table of the agent's operations, each from the state that it begins in.

An operation is steps, each a function of the root; all of them together may be run again from whatever state, and then end as they did undisturbed.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from ota.agent import blobs, dialogue, encoded, slot
from ota.agent import trial as trial_of
from ota.deltas.encode import delta

from .releases import Small, small

A, B, C, D = (small(name) for name in "ABCD")
TUNED = small("tuned A", tuned_from="A")

Step = Callable[[str], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """`before` is run in peace; `steps` are recorded, cut, and run again. Steps named `activate` or `rollback` end with a trial."""

    name: str
    before: tuple[Step, ...]
    steps: tuple[tuple[str, Step], ...]


class Feed(dialogue.Dialogue):
    """The controller's end of a transfer, in memory."""

    def __init__(self, content: bytes, chunk: int = 4096, form: bytes = b"") -> None:
        """Hold what is to be sent, and the form of it that the agent may ask for instead."""
        super().__init__(io.BytesIO(), io.BytesIO())
        self._whole, self._form = content, form
        self._content = content
        self._chunk = chunk
        self._start = 0

    def event(self, **fields: Any) -> None:
        """Hear where to begin, and of what."""
        self._start = int(fields["start"])
        self._content = self._form if "form" in fields else self._whole

    def body(self, count: int) -> Iterator[bytes]:
        """Send the rest."""
        for at in range(self._start, self._start + count, self._chunk):
            yield self._content[at : at + self._chunk]


def put(release: Small, name: str, root: str, *, again: bool = False) -> None:
    """Transfer one file of a release."""
    content = dict(release.files)[name]
    artifact = next(one for one in json.loads(release.manifest)["artifacts"] if one["name"] == name)
    kind = "candidates" if name == "model.tflite" else "artifacts"
    request = {"kind": kind, "digest": artifact["sha256"], "size": len(content), "again": again}
    blobs.put(Feed(content), root, request)


def put_difference(release: Small, base: Small, root: str) -> None:
    """Transfer a release's model as its difference to that of one that is there."""
    content, old = dict(release.files)["model.tflite"], dict(base.files)["model.tflite"]
    made = delta(content, old)
    form = {"sha256": sha256(made).hexdigest(), "size": len(made), "base": sha256(old).hexdigest()}
    request = {
        "kind": "candidates",
        "digest": sha256(content).hexdigest(),
        "size": len(content),
        "forms": [form],
    }
    encoded.put(Feed(content, form=made), root, request)


def puts(release: Small, *, again: bool = False) -> tuple[tuple[str, Step], ...]:
    """Return the steps that transfer all files of a release."""
    return tuple((f"put {name}", partial(put, release, name, again=again)) for name, _ in release.files)


def stage(release: Small, root: str) -> None:
    """Build the release."""
    slot.stage(root, release.id, release.manifest)


def activate(release: Small, root: str) -> None:
    """Bring a release on trial."""
    slot.activate(root, release.id, slot.read_back(root)["current"])


def activate_leased(release: Small, root: str) -> None:
    """Bring a release on a trial that ends by itself; its watchdog is not of the file system."""
    slot.activate(root, release.id, slot.read_back(root)["current"], 3600.0, [])


def restart(root: str) -> None:
    """Let the machine have been started anew since the trial began."""
    path = str(Path(root, "pending.json"))
    trial_of.write_record(path, {**trial_of.read_record(path), "boot_id": "another start"})


def confirm(release: Small, root: str) -> None:
    """End its trial."""
    slot.confirm(root, release.id)


def roll_back(to: str | None, root: str) -> None:
    """Go back to `to`, or to previous unless an earlier run did."""
    slot.rollback(root, to)


def prune(keep: int, root: str) -> None:
    """Remove old releases."""
    slot.prune(root, keep)


def damage(release: Small, root: str) -> None:
    """Spoil a file of a release and its blob, as a failing disk does."""
    path = Path(root, "releases", release.id, "runtime.json")
    path.unlink()
    path.write_bytes(b"spoilt")


def trial(release: Small) -> tuple[tuple[str, Step], ...]:
    """Return the steps up to a release's trial."""
    return (
        *puts(release),
        ("stage", partial(stage, release)),
        ("activate", partial(activate, release)),
    )


def deployed(release: Small) -> tuple[tuple[str, Step], ...]:
    """Return the steps of a whole deployment."""
    return (*trial(release), ("confirm", partial(confirm, release)))


def leased(release: Small) -> tuple[tuple[str, Step], ...]:
    """Return the steps up to a release's trial with a lease."""
    return (
        *puts(release),
        ("stage", partial(stage, release)),
        ("activate", partial(activate_leased, release)),
    )


def done(*groups: tuple[tuple[str, Step], ...]) -> tuple[Step, ...]:
    """Return the bare steps of these groups."""
    return tuple(step for group in groups for _, step in group)


OPERATIONS = (
    Operation(name="first deployment", before=(), steps=deployed(A)),
    Operation(name="deployment", before=done(deployed(A)), steps=deployed(B)),
    Operation(
        name="third deployment, old ones pruned",
        before=done(deployed(A), deployed(B)),
        steps=(*deployed(C), ("prune", partial(prune, 2))),
    ),
    Operation(name="deployment over a trial", before=done(deployed(A), trial(B)), steps=deployed(C)),
    Operation(name="return of a release", before=done(deployed(A), deployed(B)), steps=deployed(A)),
    Operation(
        name="deployment with a lease",
        before=done(deployed(A)),
        steps=(*leased(B), ("confirm", partial(confirm, B))),
    ),
    Operation(
        name="return after a restart",
        before=(*done(deployed(A), deployed(B), leased(C)), restart),
        steps=(("lapse", slot.lapse),),
    ),
    Operation(
        name="return to none after a restart",
        before=(*done(leased(A)), restart),
        steps=(("lapse", slot.lapse),),
    ),
    Operation(name="confirm", before=done(deployed(A), trial(B)), steps=(("confirm", partial(confirm, B)),)),
    Operation(name="revert", before=done(deployed(A), trial(B)), steps=(("revert", slot.revert),)),
    Operation(
        name="revert to the one before two",
        before=done(deployed(A), deployed(B), trial(C)),
        steps=(("revert", slot.revert),),
    ),
    Operation(name="revert to none", before=done(trial(A)), steps=(("revert", slot.revert),)),
    Operation(
        name="rollback",
        before=done(deployed(A), deployed(B)),
        steps=(("rollback", partial(roll_back, None)), ("confirm", partial(confirm, A))),
    ),
    Operation(
        name="rollback to a named release",
        before=done(deployed(A), deployed(B), deployed(C)),
        steps=(("rollback", partial(roll_back, A.id)), ("confirm", partial(confirm, A))),
    ),
    Operation(
        name="prune",
        before=done(deployed(A), deployed(B), deployed(C), deployed(D)),
        steps=(("prune", partial(prune, 1)),),
    ),
    Operation(
        name="transfer timed again",
        before=done(deployed(A)),
        steps=puts(A, again=True),
    ),
    Operation(
        name="transfer of a difference",
        before=done(deployed(A)),
        steps=(
            ("put the difference", partial(put_difference, TUNED, A)),
            *puts(TUNED),
            ("stage", partial(stage, TUNED)),
        ),
    ),
    Operation(
        name="repair",
        before=(*done(deployed(A), deployed(B)), partial(damage, A)),
        steps=(*puts(A), ("stage", partial(stage, A))),
    ),
)
