"""The encodings of files in the store, each made once and kept there; nothing of NumPy is loaded before one is to be made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock
from typing import Protocol

from ota.core.release import Digest
from ota.core.wire import Encoding
from ota.errors import MissingFileError, OtaError

_FORM = "encoded-1"
_MUCH = 0.5
"""A difference of less than this share of the file leaves compression nothing to win."""


class Kept(Protocol):
    """Files by a key, as the store keeps conversions."""

    def get(self, key: str) -> Path | None:
        """Return the file under `key`, whole, None where there is none."""
        ...

    def put(self, key: str, content: bytes) -> Path:
        """Keep `content` under `key` and return its file."""
        ...


class Encodings:
    """Called from the jobs of many hosts at once: the first makes an encoding, the others wait for it and find it made."""

    def __init__(self, blob: Callable[[Digest], Path], kept: Kept) -> None:
        self._blob = blob
        self._kept = kept
        self._one_at_a_time = Lock()

    def __call__(self, digest: Digest, bases: Sequence[Digest]) -> tuple[Encoding, ...]:
        """Return the forms in which a file may cross to a device that holds `bases`: a difference to the nearest of them, and the file compressed where that may be shorter.

        A base that is not in the store, or not whole there, is none; a store that takes nothing more gives no forms, for the file itself can be sent.
        """
        with self._one_at_a_time:
            try:
                return self._forms(digest, bases)
            except (OSError, OtaError):
                return ()

    def _forms(self, digest: Digest, bases: Sequence[Digest]) -> tuple[Encoding, ...]:
        content = self._blob(digest).read_bytes()
        there = {base: found for base in bases if (found := self._whole(base)) is not None}
        forms = []
        if there:
            nearest = min(there, key=lambda base: _distance(content, there[base]))
            key = f"{_FORM}:{digest.hex}:{nearest.hex}"
            forms.append(self._encoding(key, content, there[nearest], nearest))
        if not forms or forms[0].size_bytes > _MUCH * len(content):
            forms.append(self._encoding(f"{_FORM}:{digest.hex}", content, None, None))
        return tuple(form for form in forms if form.size_bytes < len(content))

    def _whole(self, digest: Digest) -> bytes | None:
        try:
            content = self._blob(digest).read_bytes()
        except (MissingFileError, OSError):
            return None
        return content if Digest.of(content) == digest else None

    def _encoding(self, key: str, content: bytes, base: bytes | None, of: Digest | None) -> Encoding:
        path = self._kept.get(key)
        if path is None:
            from ota.deltas.encode import delta, packed  # noqa: PLC0415 - NumPy, only where something is to be made

            path = self._kept.put(key, packed(content) if base is None else delta(content, base))
        made = path.read_bytes()
        return Encoding(path=path, digest=Digest.of(made), size_bytes=len(made), base=of)


def _distance(content: bytes, base: bytes) -> int:
    """Return how unlike two files are, at a few thousand places: enough to tell a fine-tuning from another scheme's file."""
    if abs(len(content) - len(base)) > len(content) // 10:
        return len(content) + len(base)
    step = max(1, len(content) // 4096)
    return sum(a != b for a, b in zip(content[::step], base[::step], strict=False))
