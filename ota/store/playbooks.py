"""Playbooks as they were read, so that one which nobody changed is not taken apart and checked again: that takes longer than all else before the first device.

Invariant: what is kept is taken only for the same bytes under the same path, read by the same code.
"""

from __future__ import annotations

import json
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import ota
from ota import durable
from ota.core.playbook import Playbook
from ota.store.codec import RecordError, from_plain, to_plain

_READERS = ("core", "formats")
"""The rooms whose code decides what a playbook means."""


class KeptPlaybooks:
    """A folder of them; where it cannot be written nothing is kept, and what is damaged is not there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, path: Path) -> Playbook | None:
        """Return the playbook at `path` as it was read, None where it was not as it is now."""
        try:
            plain = json.loads(self._file(path).read_bytes())
            if plain["of"] != _of(path):
                return None
            return from_plain(Playbook, plain["playbook"])
        except (OSError, ValueError, KeyError, TypeError, RecordError):
            return None

    def put(self, path: Path, playbook: Playbook) -> None:
        """Keep a playbook as it was read from `path`, in place of what it was before; not where there is no store yet."""
        with suppress(OSError):
            plain = {"of": _of(path), "playbook": to_plain(playbook)}
            if self._folder.parent.is_dir():
                self._folder.mkdir(exist_ok=True)
                durable.write(self._file(path), json.dumps(plain).encode(), replace=True)

    def _file(self, path: Path) -> Path:
        return self._folder / f"{sha256(str(path).encode()).hexdigest()[:32]}.json"


def _of(path: Path) -> str:
    """Return what a playbook is read from: its bytes, where it lies, and the code as it lies there."""
    digest = sha256(f"{ota.__version__}\n{path.absolute()}\n".encode())
    digest.update(path.read_bytes())
    package = Path(ota.__file__).parent
    for file in sorted(file for room in _READERS for file in (package / room).glob("*.py")):
        found = file.stat()
        digest.update(f"\n{file.name} {found.st_size} {found.st_mtime_ns}".encode())
    return digest.hexdigest()
