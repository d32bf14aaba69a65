"""The releases on the device and the one that is current: stage, activate, confirm, revert, roll back, prune, state.

Invariants: `current` resolves to a complete, verified release or does not exist; it moves by one rename, after everything it leads to is
durable; an activation is pending until it is confirmed, and says where to go back to.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from typing import Any, Callable, Dict, List, Optional, Tuple

from . import blobs, files, trial
from .dialogue import RefusedError

MODEL = "model.tflite"
_ID = re.compile("[0-9a-f]{16}")


def state(root: str) -> Dict[str, Any]:
    """Return the slot as it is read back now."""
    current = _target(root, "current")
    pending = trial.read(root)
    back = _record(root, "rolled_back.json").get("from")
    reverted = _record(root, "reverted.json")
    releases = [
        {
            "id": name,
            "intact": not damaged(root, name),
            "model_sha256": files.digest_of(_path(root, name, MODEL)),
        }
        for name in _releases(root)
    ]
    return {
        "model": _model(root),
        "current": current,
        "previous": _target(root, "previous"),
        "pending": pending.get("release") if pending else None,
        "current_sha256": files.digest_of(os.path.join(root, "current", MODEL)),
        "rolled_back_from": back if back != current else None,
        "reverted": reverted if reverted and reverted.get("to") == current else None,
        "setting": _setting(root, current),
        "releases": releases,
        "disk_free_bytes": files.free_bytes(root),
    }


def stage(root: str, release: str, manifest: str) -> bool:
    """Build releases/<id> from blobs that are here; return whether anything was done. Every file is read back and compared."""
    _check_id(release)
    content = json.loads(manifest)
    if hashlib.sha256(manifest.encode("utf-8")).hexdigest()[:16] != release:
        raise RefusedError("manifest", "the manifest is not that of release %s" % release)
    other = _model(root)
    if other is not None and other != content["model"]:
        raise RefusedError(
            "other_model",
            "%s holds releases of the model '%s', not of '%s'; give each model an ota_root of its own"
            % (root, other, content["model"]),
        )
    if os.path.isdir(_path(root, release)):
        return _repair(root, release)
    files.make_folder(os.path.join(root, "releases"))
    temporary = os.path.join(root, "releases", "." + release + ".tmp")
    if os.path.isdir(temporary):
        files.remove_tree(temporary)
    files.make_folder(temporary)
    for artifact in content["artifacts"]:
        _place(root, artifact, os.path.join(temporary, _name(artifact)))
    files.write_file(os.path.join(temporary, "manifest.json"), manifest.encode("utf-8"))
    files.sync_folder(temporary)
    files.move(temporary, _path(root, release))
    journal(root, "stage", release)
    return True


def damaged(root: str, release: str) -> List[str]:
    """Return the names of the files of a release that differ from its manifest; `manifest.json` where that is missing or wrong."""
    text = files.read_text(_path(root, release, "manifest.json"))
    if text is None or hashlib.sha256(text.encode("utf-8")).hexdigest()[:16] != release:
        return ["manifest.json"]
    return [
        artifact["name"]
        for artifact in json.loads(text)["artifacts"]
        if files.digest_of(_path(root, release, artifact["name"])) != artifact["sha256"]
    ]


def activate(
    root: str,
    release: str,
    expected_current: Optional[str],
    lease_s: Optional[float] = None,
    after: Optional[List[Dict[str, Any]]] = None,
    guard: Callable[[str], None] = lambda _trial: None,
) -> Tuple[bool, Dict[str, Any]]:
    """Make a staged release current, on trial until `confirm`; return (changed, read-back).

    With a lease the trial ends by itself: `guard`, which is told the trial's name once it is durable and before the switch, sees to that.
    """
    with trial.switching(root):
        _check_whole(root, release)
        current, pending = _target(root, "current"), trial.read(root)
        if current == release:
            return False, read_back(root)
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
                if pending is None:
                    trial.end(root)
                raise
        if back_to is not None:
            _point(root, "previous", back_to)
        _point(root, "current", release)
        for name in ("rolled_back.json", "reverted.json"):
            files.remove(os.path.join(root, name))
        journal(root, "activate", release, back_to)
        return True, read_back(root)


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
            trial.end(root)
            journal(root, "confirm", release)


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
        said = {"release": pending["release"], "to": pending.get("from"), "why": why, "time": time.time()}
        trial.write_record(os.path.join(root, "reverted.json"), said)
        _go_back(root, pending)
        return pending


def rollback(root: str, to: Optional[str]) -> Tuple[bool, Dict[str, Any]]:
    """Return to `to`, or to `previous`; return (changed, read-back). Afterwards there is no previous release.

    It is pending until it is confirmed, with nowhere else to go back to: a controller that lost this device finds what it has to finish.
    """
    with trial.switching(root):
        current = _target(root, "current")
        target = to or _target(root, "previous")
        if target is None:
            if _record(root, "rolled_back.json").get("from") not in (None, current):
                return False, read_back(root)
            raise RefusedError("no_previous", "there is no previous release to go back to")
        if not os.path.isdir(_path(root, _check_id(target))):
            raise RefusedError(
                "unknown_release",
                "release %s is not on this device; here are: %s"
                % (target, ", ".join(_releases(root)) or "none"),
            )
        _check_whole(root, target)
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
        journal(root, "rollback", target, current)
        return True, read_back(root)


def prune(root: str, keep: int) -> List[str]:
    """Remove the oldest releases beyond `keep`, never one that is in use; return the removed ids."""
    pending = trial.read(root) or {}
    in_use = {
        _target(root, "current"),
        _target(root, "previous"),
        pending.get("release"),
        pending.get("from"),
        pending.get("previous"),
    }
    by_age = sorted(_releases(root), key=lambda name: os.path.getmtime(_path(root, name)), reverse=True)
    kept = [name for name in by_age if name in in_use]
    removed = []
    for name in by_age:
        if name in in_use:
            continue
        if len(kept) < keep:
            kept.append(name)
        else:
            files.remove_tree(_path(root, name))
            removed.append(name)
    if removed:
        journal(root, "prune", ",".join(removed))
    return removed


def recover(root: str) -> None:
    """Remove what an interrupted run left half made."""
    folder = os.path.join(root, "releases")
    for name in os.listdir(folder) if os.path.isdir(folder) else ():
        if name.startswith("."):
            files.remove_tree(os.path.join(folder, name))
    blobs.sweep(root)


def read_back(root: str) -> Dict[str, Any]:
    """Return what `current` is and the digest of the bytes behind it, read now."""
    return {
        "current": _target(root, "current"),
        "current_sha256": files.digest_of(os.path.join(root, "current", MODEL)),
    }


def journal_alone(root: str, action: str, release: Optional[str], other: Optional[str] = None) -> None:
    """Note what happened here, from outside of a change of this module."""
    with trial.switching(root):
        journal(root, action, release, other)


def journal(root: str, action: str, release: Optional[str], other: Optional[str] = None) -> None:
    """Note what happened here."""
    line = {"time": time.time(), "action": action, "release": release, "other": other}
    files.append_line(os.path.join(root, "journal.jsonl"), json.dumps(line, sort_keys=True))


def _go_back(root: str, pending: Dict[str, Any]) -> None:
    target = pending.get("from")
    if target is None:
        files.remove(os.path.join(root, "current"))
    else:
        _check_whole(root, target)
        _point(root, "current", target)
    _point(root, "previous", pending.get("previous"))
    trial.end(root)
    journal(root, "revert", target, pending.get("release"))


def _repair(root: str, release: str) -> bool:
    """Replace, one rename each, the files of a release that is here already and that no longer match; return whether any did not."""
    bad = damaged(root, release)
    if "manifest.json" in bad:
        if release in (_target(root, "current"), _target(root, "previous")):
            raise RefusedError(
                "damaged",
                "release %s is in use and its manifest is damaged; deploy another release first" % release,
            )
        files.remove_tree(_path(root, release))
        raise RefusedError(
            "retry", "release %s was damaged beyond repair and removed; run the command again" % release
        )
    for artifact in _manifest(root, release)["artifacts"]:
        if artifact["name"] in bad:
            fresh = _path(root, release, artifact["name"]) + ".tmp"
            files.remove(fresh)
            _place(root, artifact, fresh)
            files.move(fresh, _path(root, release, artifact["name"]))
    return bool(bad)


def _setting(root: str, release: Optional[str]) -> Any:
    """Return how a release is to be run; None where it does not say, or its manifest is not what it was."""
    text = files.read_text(_path(root, release, "manifest.json")) if release else None
    if text is None or hashlib.sha256(text.encode("utf-8")).hexdigest()[:16] != release:
        return None
    return json.loads(text).get("setting")


def _manifest(root: str, release: str) -> Dict[str, Any]:
    return trial.read_record(_path(root, release, "manifest.json"))


def _place(root: str, artifact: Dict[str, Any], target: str) -> None:
    for kind in ("candidates", "artifacts"):
        source = blobs.path_of(root, kind, artifact["sha256"])
        if os.path.isfile(source):
            if files.digest_of(source) != artifact["sha256"]:
                files.remove(source)
                raise RefusedError(
                    "damaged",
                    "%s was damaged on the device's disk and removed; run the command again"
                    % artifact["name"],
                )
            files.link_or_copy(source, target)
            if files.digest_of(target) != artifact["sha256"]:
                raise RefusedError("digest", "%s does not read back as it was written" % artifact["name"])
            return
    raise RefusedError("missing", "%s is not on the device" % artifact["name"])


def _name(artifact: Dict[str, Any]) -> str:
    name = str(artifact["name"])
    if not re.match(r"[A-Za-z0-9_][A-Za-z0-9._-]*$", name) or name == "manifest.json":
        raise RefusedError("bad_request", "not a name for an artifact: %r" % name)
    return name


def _check_id(release: object) -> str:
    if not isinstance(release, str) or len(release) != 16 or not _ID.match(release):
        raise RefusedError("bad_request", "not a release id: %r" % (release,))
    return release


def _check_whole(root: str, release: str) -> None:
    bad = damaged(root, _check_id(release))
    if bad:
        raise RefusedError("damaged", "release %s is not whole on the device: %s" % (release, ", ".join(bad)))


def _path(root: str, release: str, *names: str) -> str:
    return os.path.join(root, "releases", release, *names)


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


def _releases(root: str) -> List[str]:
    try:
        return sorted(name for name in os.listdir(os.path.join(root, "releases")) if _ID.match(name))
    except OSError:
        return []


def _model(root: str) -> Optional[str]:
    for name in _releases(root):
        text = files.read_text(_path(root, name, "manifest.json"))
        if text is not None:
            try:
                return str(json.loads(text)["model"])
            except (ValueError, KeyError, TypeError):
                continue
    return None


def _record(root: str, name: str) -> Dict[str, Any]:
    return trial.read_record(os.path.join(root, name))
