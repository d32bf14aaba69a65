"""Whether a release can come to this root, told by looking alone, so that it is refused before its first byte: all may be written, and there is room."""

from __future__ import annotations

import os
from typing import Any, Dict, List

from . import blobs, files
from .dialogue import RefusedError

_FOLDERS = ("releases", "trust", "candidates", "artifacts")
_IN_PLACE = ("lock", "switch.lock", "journal.jsonl")


def check_writable(root: str) -> None:
    """See that this user may write all that a deployment writes.

    Raises:
        RefusedError: `no_folder`, `read_only` or `permission`; the message says what was found and what to do.
    """
    folders = [root, *(os.path.join(root, name) for name in _FOLDERS)]
    for path in folders:
        if os.path.lexists(path) and not os.path.isdir(path):
            raise RefusedError(
                "no_folder", "expected a folder at %s, found something else; move it away" % path
            )
    there = [path for path in folders if os.path.isdir(path)] or [_nearest(root)]
    in_place = [path for path in (os.path.join(root, name) for name in _IN_PLACE) if os.path.isfile(path)]
    closed = [path for path in there if not os.access(path, os.W_OK | os.X_OK)]
    closed += [path for path in in_place if not os.access(path, os.W_OK)]
    for path in closed:
        if os.statvfs(path).f_flag & os.ST_RDONLY:
            raise RefusedError("read_only", files.READ_ONLY % path)
    if closed:
        owners = ", ".join("%s of user %d" % (path, os.stat(path).st_uid) for path in closed)
        raise RefusedError(
            "permission",
            "expected what user %d may write, found %s; as root on the device: chown -R %d %s"
            % (os.geteuid(), owners, os.geteuid(), closed[0] if len(closed) == 1 else root),
        )


def check_room(root: str, wanted: List[Dict[str, Any]]) -> None:
    """See that there is room for all of these files, {kind, digest, size} each, that are not here; RefusedError `no_space` states the missing bytes."""
    rest = sum(blobs.rest_of(root, one["kind"], one["digest"], int(one["size"])) for one in wanted)
    if rest:
        blobs.check_room(root, rest, "%d bytes of this release" % rest)


def _nearest(path: str) -> str:
    """Return the nearest folder above a path that is not there."""
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    return path
