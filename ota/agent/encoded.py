"""A file that comes as an encoding of it: its difference to a file that is here, or itself compressed.

Invariants: a base is used only where its bytes have the digest that the controller named; only the result's digest decides; what cannot be used
(no base, a changed one, an encoding that does not decode) costs time and bytes, and the whole file is asked for instead. An encoding that was cut
stays and is taken up again; what is decoded has a temporary name and ends at the size that was asked for.
"""

from __future__ import annotations

import os
import re
import time
from typing import Any, Callable, Dict, Iterator, Optional

from . import blobs, delta, effects, files
from .dialogue import Dialogue, RefusedError, Request

_MODEL = "model.tflite"
_TELL_S = 5.0
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")


def put(dialogue: Dialogue, root: str, request: Request) -> Dict[str, Any]:
    """Receive a file by the first of the request's forms that can be used here, each {sha256, size, base}, else as it is.

    The answer says how many bytes were sent, and by which form where it was one. While decoding takes long the controller is told so.
    """
    path = blobs.path_of(root, request["kind"], request["digest"])
    forms = request.get("forms") or []
    if os.path.isfile(path):
        # A run that was cut may have left the encoding that it was made from.
        for form in forms:
            files.remove(_partial(path, form))
        forms = []
    size, sent = int(request["size"]), 0
    if forms:
        files.make_folder(os.path.dirname(path))
    for number, form in enumerate(forms):
        if size - blobs.have_of(path, size) <= int(form["size"]) - blobs.have_of(_named(path, form), size):
            # So much of the whole file is here that this form spares nothing.
            continue
        base = None if form["base"] is None else _base(root, form["base"])
        if form["base"] is not None and base is None:
            continue
        sent += _fetch(dialogue, request, path, number, size)
        made = _decoded(_partial(path, form), base, path, request, _teller(dialogue))
        files.remove(_partial(path, form))
        if made:
            files.remove(path + blobs.PARTIAL)
            return {"sent": sent, "form": number}
    return {"sent": sent + blobs.put(dialogue, root, request)["sent"]}


def _fetch(dialogue: Dialogue, request: Request, path: str, number: int, size: int) -> int:
    """Receive an encoding, or what is missing of it, into its partial file; return how many bytes came."""
    form = request["forms"][number]
    partial, length = _partial(path, form), int(form["size"])
    have = blobs.resumable(partial, length)
    blobs.check_room(os.path.dirname(path), size + length - have, "a file of %d bytes" % size)
    if have == length > 0:
        return 0
    digest, sent = blobs.receive(dialogue, request, partial, have, length, number), length - have
    if digest != form["sha256"] and have:
        files.remove(partial)
        digest, sent = blobs.receive(dialogue, request, partial, 0, length, number), sent + length
    return sent


def _teller(dialogue: Dialogue) -> Callable[[], None]:
    """Return what tells the controller now and then that work goes on; it is asked for no word, which would lie among the bytes of a file."""
    told = [time.monotonic()]

    def tell() -> None:
        if time.monotonic() - told[0] > _TELL_S:
            told[0] = time.monotonic()
            dialogue.event(event="decoding")

    return tell


def _named(path: str, form: Dict[str, Any]) -> str:
    """Return what an encoding's partial file is named after: it lies beside the file, under its own digest."""
    if not _DIGEST.match(form["sha256"]):
        raise RefusedError("bad_request", "no such form: %s" % form["sha256"])
    return os.path.join(os.path.dirname(path), form["sha256"])


def _partial(path: str, form: Dict[str, Any]) -> str:
    return _named(path, form) + blobs.PARTIAL


def _base(root: str, digest: str) -> Optional[str]:
    """Return a file here that has this digest now, a candidate or a release's model; None where there is none."""
    for path in _bases(root, digest):
        if files.digest_of(path) == digest:
            return path
    return None


def _bases(root: str, digest: str) -> Iterator[str]:
    yield blobs.path_of(root, "candidates", digest)
    folder = os.path.join(root, "releases")
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
        yield os.path.join(folder, name, _MODEL)


def _decoded(
    encoded: str, base: Optional[str], path: str, request: Request, tell: Callable[[], None]
) -> bool:
    """Decode into a temporary file and give it the name `path`; say whether it has the digest. OSError where the disk takes no more."""
    temporary = path + files.TEMPORARY
    files.remove(temporary)
    try:
        with effects.create(temporary) as made:
            try:
                _decode(encoded, base, made, int(request["size"]), tell)
            except delta.DeltaError:
                return False
            made.sync()
        if files.digest_of(temporary) != request["digest"]:
            return False
        files.move(temporary, path)
        return True
    finally:
        files.remove(temporary)


def _decode(
    encoded: str, base: Optional[str], made: effects.File, size: int, tell: Callable[[], None]
) -> None:
    def write(data: bytes, place: int) -> None:
        made.write(data, place)
        tell()

    with open(encoded, "rb", buffering=0) as source, open(base or os.devnull, "rb", buffering=0) as old:

        def read_source(count: int, place: int) -> bytes:
            return os.pread(source.fileno(), count, place)

        def read_base(count: int, place: int) -> bytes:
            return os.pread(old.fileno(), count, place) if base else b""

        delta.decode(read_source, read_base, size, write, made.read)
