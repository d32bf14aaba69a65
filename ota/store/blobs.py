"""Files by their SHA-256 under one folder: written once, by a temporary name, never changed."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from ota.core.release import Digest


class Blobs:
    """A folder of blobs; two processes may use it at once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, digest: Digest) -> Path:
        """Return where a blob lies or would lie."""
        return self._folder / digest.hex[:2] / digest.hex

    def has(self, digest: Digest) -> bool:
        """Return whether the blob is there."""
        return self.path(digest).is_file()

    def put(self, content: bytes) -> Digest:
        """Keep `content` and return its digest; OSError where the disk refuses."""
        digest = Digest.of(content)
        path = self.path(digest)
        if path.is_file() and path.stat().st_size == len(content):
            return digest
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(file.name).replace(path)
        return digest
