"""What this room keeps between runs, and the one method pair that it needs of whoever keeps it."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol


class Cache(Protocol):
    """Files kept on the controller between runs, by a key that says everything they depend on."""

    def get(self, key: str) -> Path | None:
        """Return the file kept under `key`, None where there is none."""
        ...

    def put(self, key: str, content: bytes) -> Path:
        """Keep `content` under `key` and return its file."""
        ...
