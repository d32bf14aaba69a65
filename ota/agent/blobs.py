"""Files by digest: datasets, candidates, artifacts, wheels; received to a temporary name, digested while received, resumed where cut."""

from __future__ import annotations

import errno
import hashlib
import os
import re
from typing import Any, Dict, List, Optional

from . import effects, files
from .dialogue import Dialogue, RefusedError, Request

KINDS = ("datasets", "candidates", "artifacts", "wheels")
MARGIN = 1024 * 1024
PARTIAL = ".partial"
_DIGEST = re.compile("[0-9a-f]{64}")


def path_of(root: str, kind: str, digest: str) -> str:
    """Return where a blob lies; RefusedError for a kind or digest that cannot be."""
    if kind not in KINDS or not _DIGEST.match(digest) or len(digest) != 64:
        raise RefusedError("bad_request", "no such blob: %s/%s" % (kind, digest))
    return os.path.join(root, kind, digest)


def held(root: str, kind: str, digests: List[str]) -> List[str]:
    """Return those of `digests` that are there whole, told by their names: a name is given only to verified bytes."""
    return [digest for digest in digests if os.path.isfile(path_of(root, kind, digest))]


def begun(root: str, kind: str) -> List[str]:
    """Return the digests of the files, and of encodings of files, whose transfer was cut, sorted."""
    if kind not in KINDS:
        raise RefusedError("bad_request", "no such kind of blob: %s" % (kind,))
    folder = os.path.join(root, kind)
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    return [name[: -len(PARTIAL)] for name in names if name.endswith(PARTIAL)]


def put(dialogue: Dialogue, root: str, request: Request) -> Dict[str, Any]:
    """Receive a blob and answer how many bytes were sent; one that is there costs none unless `again` times it anew."""
    path = path_of(root, request["kind"], request["digest"])
    size = int(request["size"])
    there = os.path.isfile(path)
    if there and not request.get("again"):
        return {"sent": 0}
    files.make_folder(os.path.dirname(path))
    partial = path + (".again" if there else PARTIAL)
    have = 0 if there else resumable(partial, size)
    check_room(os.path.dirname(path), size - have, "a file of %d bytes" % size)
    digest, sent = receive(dialogue, request, partial, have, size), size - have
    if digest != request["digest"] and have:
        # What a power cut left of it was not what had arrived.
        files.remove(partial)
        digest, sent = receive(dialogue, request, partial, 0, size), sent + size
    if digest != request["digest"]:
        files.remove(partial)
        raise RefusedError("digest", "the bytes that arrived have another SHA-256 (%s)" % digest)
    if there:
        files.remove(partial)
    else:
        files.move(partial, path)
    return {"sent": min(sent, size)}


def check_room(folder: str, rest: int, what: str) -> None:
    """See that `rest` more bytes have room in a folder, with a margin; RefusedError `no_space` states the missing bytes."""
    missing = rest + MARGIN - files.free_bytes(folder)
    if missing > 0:
        raise RefusedError(
            "no_space",
            "%d bytes are missing on the disk of %s for %s" % (missing, folder, what),
            missing_bytes=missing,
        )


def rest_of(root: str, kind: str, digest: str, size: int) -> int:
    """Return how many bytes of a file are still to come, by what is here of it."""
    path = path_of(root, kind, digest)
    return 0 if os.path.isfile(path) else size - have_of(path, size)


def have_of(path: str, size: int) -> int:
    """Return how many bytes of the file at `path` came before its transfer was cut."""
    try:
        have = os.path.getsize(path + PARTIAL)
    except OSError:
        have = 0
    return have if have <= size else 0


def resumable(partial: str, size: int) -> int:
    """Return how many bytes of a partial file are to be kept; one that is longer than the file is removed."""
    try:
        have = os.path.getsize(partial)
    except OSError:
        return 0
    if have > size:
        files.remove(partial)
        return 0
    return have


def receive(
    dialogue: Dialogue, request: Request, partial: str, have: int, size: int, form: Optional[int] = None
) -> str:
    """Take the rest of a file, or of an encoding of the number `form`, append it to `partial`, durably, and return the digest of the whole.

    What did not come along with the request is asked for.
    """
    dialogue.expect(request, have, size - have, form)
    hashed = hashlib.sha256()
    fault = None
    done = 0
    with _opened(partial, have) as file:
        while done < have:
            chunk = file.read(min(files.CHUNK, have - done), done)
            hashed.update(chunk)
            done += len(chunk)
        # Only now: what comes while nobody reads is lost where the connection is cut.
        dialogue.ask_for(request, have, form)
        for chunk in dialogue.body(size - have):
            if fault is None:
                try:
                    file.write(chunk, done)
                    hashed.update(chunk)
                    done += len(chunk)
                except OSError as error:
                    # The rest is read and dropped, so that the controller hears why.
                    fault = error
        if fault is None:
            try:
                file.sync()
            except OSError as error:
                fault = error
    if fault is not None:
        if fault.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            files.remove(partial)
        if fault.errno in (errno.ENOSPC, errno.EDQUOT):
            raise RefusedError(
                "no_space",
                "the disk is full at %s: %d of %d bytes were written, %d are missing; make room there"
                % (os.path.dirname(partial), done, size, size - done),
                missing_bytes=size - done,
            )
        raise files.fault_of(fault, partial)
    return hashed.hexdigest()


def _opened(partial: str, have: int) -> effects.File:
    """Return the partial file; a new one where nothing of it is to be kept."""
    if have:
        return effects.reopen(partial)
    files.remove(partial)
    return effects.create(partial)


def drop_partials(root: str) -> None:
    """Remove the partial files of transfers that were cut and never taken up."""
    for kind in KINDS:
        folder = os.path.join(root, kind)
        for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
            if name.endswith(PARTIAL):
                files.remove(os.path.join(folder, name))


def sweep(root: str) -> None:
    """Settle the folders that releases, blobs and the keyring lie in; partial files stay, they are resumed."""
    files.settle(root)
    files.sync_file(os.path.join(root, "journal.jsonl"))
    for name in ("releases", "trust", *KINDS):
        files.settle(os.path.join(root, name))
    releases = os.path.join(root, "releases")
    for name in sorted(os.listdir(releases)) if os.path.isdir(releases) else ():
        files.settle(os.path.join(releases, name))
