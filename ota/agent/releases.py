"""The folders of releases: built whole from blobs under a temporary name, told whole from damaged, repaired file by file.

Invariant: a folder with a release's name was whole and durable when it got that name.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from typing import Any, Callable, Dict, List, Optional, Tuple

from . import blobs, files, trial
from .dialogue import RefusedError

MODEL = "model.tflite"
SIGNATURES = "signatures.json"
_ID = re.compile("[0-9a-f]{16}")
_MOST_MANIFEST = 1024 * 1024
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")


def accepted(root: str, release: str, manifest: str) -> Dict[str, Any]:
    """Return what a manifest says; RefusedError where it is not that of the release, or of another model than those here."""
    content = read_manifest(manifest)
    if hashlib.sha256(manifest.encode("utf-8")).hexdigest()[:16] != release:
        raise RefusedError("manifest", "the manifest is not that of release %s" % release)
    other = model_of(root)
    if other is not None and other != content["model"]:
        raise RefusedError(
            "other_model",
            "%s holds releases of the model '%s', not of '%s'; give each model an ota_root of its own"
            % (root, other, content["model"]),
        )
    return content


def read_manifest(text: str) -> Dict[str, Any]:
    """Return what a manifest says; RefusedError `oversized`, or `manifest` where it is none."""
    if len(text) > _MOST_MANIFEST:
        raise RefusedError(
            "oversized",
            "expected a manifest of %d characters at most, found %d" % (_MOST_MANIFEST, len(text)),
        )
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict) or not _sound(content):
        raise RefusedError("manifest", "this is no manifest of a form that this agent knows")
    return content


def _sound(content: Dict[str, Any]) -> bool:
    artifacts = content.get("artifacts")
    return (
        content.get("format") == 1
        and isinstance(content.get("model"), str)
        and isinstance(artifacts, list)
        and all(map(_sound_artifact, artifacts))
        and len({one["name"] for one in artifacts}) == len(artifacts)
        and _texts(content.get("compatible", []))
        and _texts(content.get("boards", []))
        and _natural(content.get("counter", 0))
    )


def _sound_artifact(one: Any) -> bool:
    return (
        isinstance(one, dict)
        and isinstance(one.get("name"), str)
        and isinstance(one.get("sha256"), str)
        and _DIGEST.match(one["sha256"]) is not None
        and _natural(one.get("size_bytes"))
    )


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _natural(value: Any) -> bool:
    return type(value) is int and value >= 0


def build(
    root: str, release: str, manifest: str, content: Dict[str, Any], signatures: Optional[Dict[str, Any]]
) -> None:
    """Build the folder of a release that is not here; every file is read back and compared."""
    files.make_folder(os.path.join(root, "releases"))
    temporary = os.path.join(root, "releases", "." + release + ".tmp")
    if os.path.isdir(temporary):
        files.remove_tree(temporary)
    files.make_folder(temporary)
    for artifact in content["artifacts"]:
        _place(root, artifact, os.path.join(temporary, _name(artifact)))
    files.write_file(os.path.join(temporary, "manifest.json"), manifest.encode("utf-8"))
    if signatures:
        trial.write_record(os.path.join(temporary, SIGNATURES), signatures)
    files.sync_folder(temporary)
    files.move(temporary, path_of(root, release))


def sign(root: str, release: str, signatures: Optional[Dict[str, Any]]) -> bool:
    """Keep other signatures with a release that is here; return whether they were others."""
    path = path_of(root, release, SIGNATURES)
    if not signatures or trial.read_record(path) == signatures:
        return False
    trial.write_record(path, signatures)
    return True


def signed(root: str, release: str) -> Tuple[str, Dict[str, Any]]:
    """Return the manifest's text of a release that is here, and its signatures, none where it came without; OSError where one cannot be read."""
    text = files.read_kept(path_of(root, release, "manifest.json"))
    if text is None:
        raise RefusedError("damaged", "release %s has no manifest on the device; deploy it again" % release)
    return text, trial.read_record(path_of(root, release, SIGNATURES))


def damaged(
    root: str, release: str, digest_of: Callable[[str], Optional[str]] = files.digest_of
) -> List[str]:
    """Return the names of the files of a release that differ from its manifest; `manifest.json` where that is missing or wrong."""
    text = files.read_text(path_of(root, release, "manifest.json"))
    if text is None or hashlib.sha256(text.encode("utf-8")).hexdigest()[:16] != release:
        return ["manifest.json"]
    return [
        artifact["name"]
        for artifact in json.loads(text)["artifacts"]
        if digest_of(path_of(root, release, artifact["name"])) != artifact["sha256"]
    ]


def repair(root: str, release: str, *, in_use: bool) -> bool:
    """Replace, one rename each, the files of a release that is here already and that no longer match; return whether any did not."""
    bad = damaged(root, release)
    if "manifest.json" in bad:
        if in_use:
            raise RefusedError(
                "damaged",
                "release %s is in use and its manifest is damaged; deploy another release first" % release,
            )
        files.remove_tree(path_of(root, release))
        raise RefusedError(
            "retry", "release %s was damaged beyond repair and removed; run the command again" % release
        )
    for artifact in manifest_of(root, release)["artifacts"]:
        if artifact["name"] in bad:
            fresh = path_of(root, release, artifact["name"]) + ".tmp"
            files.remove(fresh)
            _place(root, artifact, fresh)
            files.move(fresh, path_of(root, release, artifact["name"]))
    return bool(bad)


def manifest_of(root: str, release: str) -> Dict[str, Any]:
    """Return what the manifest of a release says."""
    return trial.read_record(path_of(root, release, "manifest.json"))


def _place(root: str, artifact: Dict[str, Any], target: str) -> None:
    for kind in ("candidates", "artifacts"):
        source = blobs.path_of(root, kind, artifact["sha256"])
        if os.path.isfile(source):
            _check_size(source, artifact)
            files.link_or_copy(source, target)
            if files.digest_of(target) == artifact["sha256"]:
                return
            if files.digest_of(source) == artifact["sha256"]:
                raise RefusedError("digest", "%s does not read back as it was written" % artifact["name"])
            files.remove(source)
            raise RefusedError(
                "damaged",
                "%s was damaged on the device's disk and removed; run the command again" % artifact["name"],
            )
    raise RefusedError("missing", "%s is not on the device" % artifact["name"])


def _check_size(source: str, artifact: Dict[str, Any]) -> None:
    """See that a file has the size that the manifest says, before it is read; one that has not is removed, so that it is sent again."""
    expected, found = artifact["size_bytes"], os.path.getsize(source)
    if found != expected:
        files.remove(source)
        raise RefusedError(
            "size",
            "%s: expected %d bytes, found %d; it was removed: run the command again"
            % (artifact["name"], expected, found),
        )


def _name(artifact: Dict[str, Any]) -> str:
    name = str(artifact["name"])
    if not re.match(r"[A-Za-z0-9_][A-Za-z0-9._-]*$", name) or name in ("manifest.json", SIGNATURES):
        raise RefusedError("bad_request", "not a name for an artifact: %r" % name)
    return name


def check_id(release: object) -> str:
    """Return a release id; RefusedError where it is none."""
    if not isinstance(release, str) or len(release) != 16 or not _ID.match(release):
        raise RefusedError("bad_request", "not a release id: %r" % (release,))
    return release


def check_whole(root: str, release: str, digest_of: Callable[[str], Optional[str]] = files.digest_of) -> None:
    """See that every file of a release is as its manifest says; RefusedError where one is not."""
    bad = damaged(root, check_id(release), digest_of)
    if bad:
        raise RefusedError("damaged", "release %s is not whole on the device: %s" % (release, ", ".join(bad)))


def path_of(root: str, release: str, *names: str) -> str:
    """Return where a release, or a file of it, lies."""
    return os.path.join(root, "releases", release, *names)


def ids(root: str) -> List[str]:
    """Return the releases that are here, sorted."""
    try:
        return sorted(name for name in os.listdir(os.path.join(root, "releases")) if _ID.match(name))
    except OSError:
        return []


def model_file(root: str, digest: str) -> Optional[str]:
    """Return a file of that model's bytes: the candidate, or else the model of a release that is here, read back; None where there is neither."""
    candidate = blobs.path_of(root, "candidates", digest)
    if os.path.isfile(candidate):
        return candidate
    for name in ids(root):
        path = path_of(root, name, MODEL)
        if files.digest_of(path) == digest:
            return path
    return None


def current_of(root: str) -> Optional[str]:
    """Return the release that `current` names, None where there is none."""
    try:
        return os.path.basename(os.readlink(os.path.join(root, "current")))
    except OSError:
        return None


def model_of(root: str) -> Optional[str]:
    """Return whose releases are here, None where there are none."""
    for name in ids(root):
        text = files.read_text(path_of(root, name, "manifest.json"))
        if text is not None:
            try:
                return str(json.loads(text)["model"])
            except (ValueError, KeyError, TypeError):
                continue
    return None
