"""Small files of the controller, whole or not at all, and there after a power cut: what keys, keyrings, journals and known hosts have in common."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path


def write(path: Path, content: bytes, *, mode: int = 0o644, replace: bool) -> None:
    """Put `content` at `path` with `mode`, which it has from its first byte; without `replace` FileExistsError where something is there.

    Raises:
        OSError: the disk refuses; nothing is left over.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            temporary.replace(path)
        else:
            os.link(temporary, path)  # a link, unlike a rename, never replaces what is there
    finally:
        with suppress(OSError):
            temporary.unlink()
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
