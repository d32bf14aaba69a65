"""The releases on the device and the one that is current: stage, activate, confirm, revert, roll back, prune, state.

Invariants: `current` resolves to a complete, verified release or does not exist; it moves by one rename, after everything it leads to is
durable; an activation is pending until it is confirmed, and says where to go back to.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from typing import Any, Callable, Dict, List, Optional, Tuple

from . import admission, blobs, files, journal, releases, trial, trust
from .dialogue import RefusedError


def state(root: str, read: Optional[str] = None) -> Dict[str, Any]:
    """Return the slot as it is read back now: all releases, or the current one and `read` alone, and of the others what their manifests say, `intact` None."""
    current = _target(root, "current")
    pending = trial.read(root)
    back = _record(root, "rolled_back.json").get("from")
    reverted = _record(root, "reverted.json")
    digests = files.Digests()
    held = [
        _held(root, name, digests if read is None or name in (read, current) else None)
        for name in releases.ids(root)
    ]
    return {
        "model": releases.model_of(root),
        "current": current,
        "previous": _target(root, "previous"),
        "pending": pending.get("release") if pending else None,
        "current_sha256": digests.of(os.path.join(root, "current", releases.MODEL)),
        "rolled_back_from": back if back != current else None,
        "keyring": trust.version(root),
        "reverted": reverted if reverted and reverted.get("to") == current else None,
        "releases": held,
        "disk_free_bytes": files.free_bytes(root),
    }


def stage(root: str, release: str, manifest: str, signatures: Optional[Dict[str, Any]] = None) -> bool:
    """Build releases/<id> from blobs that are here; return whether anything was done. Every file is read back and compared.

    Nothing is built that may not run here (`admission`); the signatures stay with the release.
    """
    releases.check_id(release)
    content = releases.accepted(root, release, manifest)
    admission.admit(root, release, manifest, signatures)
    if os.path.isdir(releases.path_of(root, release)):
        in_use = (_target(root, "current"), _target(root, "previous"))
        repaired = releases.repair(root, release, in_use=release in in_use)
        return releases.sign(root, release, signatures) or repaired
    releases.build(root, release, manifest, content, signatures)
    with trial.switching(root):
        journal.append(root, "stage", release)
    return True


def activate(
    root: str,
    release: str,
    expected_current: Optional[str],
    lease_s: Optional[float] = None,
    after: Optional[List[Dict[str, Any]]] = None,
    guard: Callable[[str], None] = lambda _trial: None,
    ordered: Callable[[str], None] = lambda _release: None,
) -> Tuple[bool, Dict[str, Any]]:
    """Make a staged release current, on trial until `confirm`; return (changed, read-back).

    With a lease the trial ends by itself: `guard`, which is told the trial's name once it is durable and before the switch, sees to that.
    `ordered`, which is told the release, refuses what nobody with authority ordered.
    """
    digests = files.Digests()
    with trial.switching(root):
        releases.check_whole(root, release, digests.of)
        current, pending = _target(root, "current"), trial.read(root)
        if current == release:
            if pending and "lease_s" in pending:
                # The watchdog of its trial may have died; a second one does no harm.
                guard(pending["trial"])
            return False, read_back(root, digests.of)
        admission.admit(root, release, *releases.signed(root, release))
        ordered(release)
        if expected_current != current:
            raise RefusedError(
                "moved",
                "current is %s, not %s: somebody else changed this device" % (current, expected_current),
            )
        back_to, previous = current, _target(root, "previous")
        if pending:
            # A trial that nobody confirmed, or that was cut short before its switch, is no place to go back to: the one before it is.
            back_to, previous = pending.get("from"), pending.get("previous")
        record = trial.begin(root, release, back_to, previous, lease_s, after)
        if lease_s is not None:
            try:
                guard(record["trial"])
            except RefusedError:
                trial.restore(root, pending)
                raise
        if back_to is not None:
            _point(root, "previous", back_to)
        _point(root, "current", release)
        for name in ("rolled_back.json", "reverted.json"):
            files.remove(os.path.join(root, name))
        journal.append(root, "activate", release, back_to)
        return True, read_back(root, digests.of)


def confirm(root: str, release: str) -> None:
    """End the trial of a release: nobody has to go back any more."""
    with trial.switching(root):
        pending = trial.read(root)
        why = trial.ended(pending) if pending else _record(root, "reverted.json").get("why")
        current = _target(root, "current")
        if current != release or (pending and why):
            raise RefusedError(
                "moved", "current is %s, not %s%s" % (current, release, ": %s" % why if why else "")
            )
        if pending is not None:
            counter = admission.counter_of(root, release)
            trial.end(root)
            journal.append(root, "confirm", release, counter=counter)


def revert(root: str) -> Dict[str, Any]:
    """Go back from the release on trial to the one before, and make `previous` what it was; return the read-back."""
    with trial.switching(root):
        pending = trial.read(root)
        if pending is not None:
            _go_back(root, pending)
        return read_back(root)


def lapse(root: str) -> Optional[Dict[str, Any]]:
    """Go back where a trial has ended without confirmation, and note why; return the record of that trial, None where there is nothing to do."""
    with trial.switching(root):
        pending = trial.read(root)
        why = trial.ended(pending) if pending else ""
        if pending is None or not why:
            return None
        if pending.get("from") is not None and releases.damaged(root, pending["from"]):
            # Nothing better is here: what is on trial stays, until something whole is deployed.
            return None
        said = {"release": pending["release"], "to": pending.get("from"), "why": why, "time": time.time()}
        with files.unless_full():
            trial.write_record(os.path.join(root, "reverted.json"), said)
        _go_back(root, pending)
        return pending


def rollback(
    root: str, to: Optional[str], ordered: Callable[[str], None] = lambda _release: None
) -> Tuple[bool, Dict[str, Any]]:
    """Return to `to`, or to `previous`; return (changed, read-back). Afterwards there is no previous release.

    It is pending until it is confirmed, with nowhere else to go back to: a controller that lost this device finds what it has to finish.
    A release that was confirmed here needs no order; of another `ordered` is told, as for `activate`.
    """
    with trial.switching(root):
        current = _target(root, "current")
        target = to or _target(root, "previous")
        if target is None:
            if _record(root, "rolled_back.json").get("from") not in (None, current):
                return False, read_back(root)
            raise RefusedError("no_previous", "there is no previous release to go back to")
        if not os.path.isdir(releases.path_of(root, releases.check_id(target))):
            raise RefusedError(
                "unknown_release",
                "release %s is not on this device; here are: %s"
                % (target, ", ".join(releases.ids(root)) or "none"),
            )
        releases.check_whole(root, target)
        if target not in journal.confirmed(root):
            # It never ran here with a controller's word: a rollback is no way around the keyring. That it is older is what the order says.
            admission.admit(root, target, *releases.signed(root, target), back=True)
            ordered(target)
        if current == target:
            pending = trial.read(root) or {}
            if pending.get("release") == pending.get("from") == target:
                # A rollback that was cut short behind its switch.
                _point(root, "previous", None)
            return False, read_back(root)
        trial.write_record(os.path.join(root, "rolled_back.json"), {"from": current, "time": time.time()})
        trial.begin(root, target, target, None)
        _point(root, "current", target)
        _point(root, "previous", None)
        journal.append(root, "rollback", target, current)
        return True, read_back(root)


def prune(root: str, keep: int) -> List[str]:
    """Remove the oldest releases beyond `keep`, never one that is in use, and what cut transfers left; return the removed ids.

    The oldest is the one that the journal named longest ago: a board without a clock of its own tells the wrong time until it is on the network.
    """
    pending = trial.read(root) or {}
    in_use = {
        _target(root, "current"),
        _target(root, "previous"),
        pending.get("release"),
        pending.get("from"),
        pending.get("previous"),
    }
    named = journal.last_named(root)
    by_age = sorted(releases.ids(root), key=lambda name: (named.get(name, -1), name), reverse=True)
    kept = [name for name in by_age if name in in_use]
    removed = []
    for name in by_age:
        if name in in_use:
            continue
        if len(kept) < keep:
            kept.append(name)
        else:
            files.remove_tree(releases.path_of(root, name))
            removed.append(name)
    blobs.drop_partials(root)
    if removed:
        with trial.switching(root):
            journal.append(root, "prune", ",".join(removed))
    return removed


def verified(root: str, at: int = 0) -> Dict[str, Any]:
    """Return what a slot's state does not say: whether the journal is whole, with the digest of its line `at`, and why the current release's signatures are not good, empty where they are or none is needed."""
    unsigned = ""
    current = _target(root, "current")
    if current is not None:
        try:
            trust.authorise(root, *releases.signed(root, current))
        except RefusedError as refusal:
            unsigned = refusal.message
    return {"journal": journal.verify(root, at), "unsigned": unsigned}


def recover(root: str) -> None:
    """Remove what an interrupted run left half made, and make durable what it had not."""
    blobs.sweep(root)


def read_back(root: str, digest_of: Callable[[str], Optional[str]] = files.digest_of) -> Dict[str, Any]:
    """Return what `current` is and the digest of the bytes behind it, read now."""
    return {
        "current": _target(root, "current"),
        "current_sha256": digest_of(os.path.join(root, "current", releases.MODEL)),
    }


def _go_back(root: str, pending: Dict[str, Any]) -> None:
    """Return to where the trial's record says. A full disk, which the release on trial may have filled, costs only the notes of it."""
    target = pending.get("from")
    if target is None:
        files.remove(os.path.join(root, "current"))
    else:
        releases.check_whole(root, target)
        _point(root, "current", target)
    _point(root, "previous", pending.get("previous"))
    trial.end(root)
    with files.unless_full():
        journal.append(root, "revert", target, pending.get("release"))


def _held(root: str, name: str, digests: Optional[files.Digests]) -> Dict[str, Any]:
    """Return what is told of a release that is here; without `digests` nothing of it is read back."""
    said = _said(root, name)
    if digests is None:
        named = [one["sha256"] for one in said.get("artifacts", ()) if one.get("name") == releases.MODEL]
        intact, model = None, named[0] if named else None
    else:
        intact = not releases.damaged(root, name, digests.of)
        model = digests.of(releases.path_of(root, name, releases.MODEL))
    return {"id": name, "intact": intact, "model_sha256": model, "setting": said.get("setting")}


def _said(root: str, release: str) -> Dict[str, Any]:
    """Return what the manifest of a release says, empty where it is not what it was."""
    text = files.read_text(releases.path_of(root, release, "manifest.json"))
    if text is None or hashlib.sha256(text.encode("utf-8")).hexdigest()[:16] != release:
        return {}
    said: Dict[str, Any] = json.loads(text)
    return said


def _point(root: str, name: str, release: Optional[str]) -> None:
    link = os.path.join(root, name)
    if release is None:
        files.remove(link)
    elif _target(root, name) != release:
        files.point(link, os.path.join("releases", release))


def _target(root: str, name: str) -> Optional[str]:
    try:
        return os.path.basename(os.readlink(os.path.join(root, name)))
    except OSError:
        return None


def _record(root: str, name: str) -> Dict[str, Any]:
    return trial.read_record(os.path.join(root, name))
