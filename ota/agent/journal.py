"""The device's journal: a line for everything that was done to its releases, each with the SHA-256 of the line before.

Invariant: lines are only added, one writer at a time (`trial.switching`). A change of a line, or one taken out, breaks the chain there; a line that a power cut
tore is closed by the next, which vouches for what is left of it. Lines taken from the end leave no trace here: compare `head` with what was noted elsewhere.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from typing import Any, Dict, List, Optional, Set

from . import files

_FIRST = "0" * 64
_MOST = 64 * 1024 * 1024


def append(
    root: str, action: str, release: Optional[str], other: Optional[str] = None, counter: int = 0
) -> None:
    """Add what happened here, durably; `counter` is the release's, where it has one."""
    line: Dict[str, Any] = {"time": time.time(), "action": action, "release": release, "other": other}
    if counter:
        line["counter"] = counter
    line["prev"] = _digest(_last_line(_path(root)))
    files.append_line(_path(root), json.dumps(line, sort_keys=True))


def verify(root: str, at: int = 0) -> Dict[str, Any]:
    """Return how many lines there are, how many of them a cut tore, the digest of the last, and the number of the first line that does not follow the one before, None where all do.

    `earlier` is the digest of line `at`, empty where there are fewer.

    Lines of before the chain was kept, at the beginning, hold no digest.
    """
    lines = _lines(root)
    torn, broken, chained, before = 0, None, False, b""
    for number, line in enumerate(lines, 1):
        told = _told(line)
        if told is None:
            torn += 1
        elif "prev" in told:
            chained = True
            if told["prev"] != _digest(before) and broken is None:
                broken = number
        elif chained and broken is None:
            broken = number
        before = line
    earlier = "" if not 0 <= at <= len(lines) else _digest(lines[at - 1] if at else b"")
    return {"lines": len(lines), "torn": torn, "broken": broken, "head": _digest(before), "earlier": earlier}


def confirmed(root: str) -> Set[str]:
    """Return the releases that were confirmed on this device."""
    return {
        str(line["release"])
        for line in _records(root)
        if line.get("action") == "confirm" and "release" in line
    }


def newest(root: str) -> int:
    """Return the highest counter of the releases that were confirmed on this device, 0 where none had one."""
    counters = [line.get("counter") for line in _records(root) if line.get("action") == "confirm"]
    return max((number for number in counters if type(number) is int), default=0)


def last_named(root: str) -> Dict[str, int]:
    """Return for each release the place in the journal of the last line that is about it."""
    return {str(line["release"]): place for place, line in enumerate(_records(root)) if line.get("release")}


def _records(root: str) -> List[Dict[str, Any]]:
    """Return what each line says, nothing where a cut tore it."""
    return [_told(line) or {} for line in _lines(root)]


def _lines(root: str) -> List[bytes]:
    try:
        with open(_path(root), "rb") as file:
            lines = file.read(_MOST).split(b"\n")
    except FileNotFoundError:
        return []
    return lines[:-1] if lines[-1] == b"" else lines


def _told(line: bytes) -> Optional[Dict[str, Any]]:
    try:
        told = json.loads(line.decode("utf-8"))
    except ValueError:
        return None
    return told if isinstance(told, dict) else None


def _digest(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest() if line else _FIRST


def _last_line(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 64 * 1024))
            tail = file.read()
    except FileNotFoundError:
        return b""
    return (tail[:-1] if tail.endswith(b"\n") else tail).rpartition(b"\n")[2]


def _path(root: str) -> str:
    return os.path.join(root, "journal.jsonl")
