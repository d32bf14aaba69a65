"""The encodings of files in the store, each made once and kept there; nothing of NumPy is loaded before one may be worth making."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Protocol, TypeAlias

from ota.core.release import Digest
from ota.core.wire import Crossing, Encoding, Foretold
from ota.errors import MissingFileError, OtaError

_FORM = "encoded-1"


class Kept(Protocol):
    """Files by a key, as the store keeps conversions."""

    def get(self, key: str) -> Path | None:
        """Return the file under `key`, whole, None where there is none."""
        ...

    def put(self, key: str, content: bytes) -> Path:
        """Keep `content` under `key` and return its file."""
        ...


@dataclass(frozen=True, slots=True)
class _Prospect:
    """A form that could be made."""

    base: Digest | None
    foretold: Foretold


_Pair: TypeAlias = "tuple[Digest, frozenset[Digest]]"
"""A file, and what the device holds."""


class Encodings:
    """Called from the jobs of many hosts at once: the first makes an encoding, those that want it too wait for it and find it made, the others do not wait."""

    def __init__(self, blob: Callable[[Digest], Path], kept: Kept) -> None:
        self._blob = blob
        self._kept = kept
        self._looking = Lock()
        self._making = Lock()
        self._nearest: dict[_Pair, tuple[Digest | None, float]] = {}
        self._foretold: dict[_Pair, tuple[_Prospect, ...]] = {}
        self._made: dict[str, Encoding | None] = {}

    def __call__(self, digest: Digest, bases: Sequence[Digest], crossing: Crossing) -> tuple[Encoding, ...]:
        """Return the forms in which a file may cross to a device that holds `bases`: those that are made already, and the one that is worth making.

        A base that is not in the store, or not whole there, is none; a store that takes nothing more gives no forms, for the file itself can be sent.
        """
        try:
            return self._forms(digest, bases, crossing)
        except (OSError, OtaError):
            return ()

    def _forms(self, digest: Digest, bases: Sequence[Digest], crossing: Crossing) -> tuple[Encoding, ...]:
        forms = [form for base in (*bases, None) if (form := self._there(digest, base)) is not None]
        least = min((form.size_bytes for form in forms), default=crossing.size_bytes)
        worth = [
            one
            for one in self._prospects(digest, bases, crossing, least)
            if one.base not in {form.base for form in forms} and crossing.worth_making(one.foretold, least)
        ]
        if worth:
            best = min(worth, key=lambda one: one.foretold.size_bytes)
            forms.append(self._made_now(digest, best.base))
        return tuple(form for form in forms if form.size_bytes < crossing.size_bytes)

    def _prospects(
        self, digest: Digest, bases: Sequence[Digest], crossing: Crossing, least: int
    ) -> tuple[_Prospect, ...]:
        """Return the file compressed and the difference to the nearest base, as foretold; looks closer only as long as the best that could be found pays."""
        size, key = crossing.size_bytes, (digest, frozenset(bases))
        if not crossing.worth_making(Foretold(size_bytes=0, work_bytes=0 if bases else size), least):
            return ()
        with self._looking:
            if key not in self._nearest:
                self._nearest[key] = self._look(digest, bases)
            nearest, unlike = self._nearest[key]
            if not crossing.worth_making(Foretold(size_bytes=0, work_bytes=int(size * unlike)), least):
                return ()
            if key not in self._foretold:
                self._foretold[key] = self._foretell(digest, nearest)
            return self._foretold[key]

    def _look(self, digest: Digest, bases: Sequence[Digest]) -> tuple[Digest | None, float]:
        """Return the nearest base that is whole, and which share of the file is unlike it."""
        if not bases:
            return None, 1.0
        content = self._blob(digest).read_bytes()
        there = {base: found for base in bases if (found := self._whole(base)) is not None}
        unlike = {base: _unlike(content, found) for base, found in there.items()}
        nearest = min(unlike, key=lambda base: unlike[base], default=None)
        return nearest, 1.0 if nearest is None else min(1.0, unlike[nearest])

    def _foretell(self, digest: Digest, nearest: Digest | None) -> tuple[_Prospect, ...]:
        from ota.deltas.encode import foretold  # noqa: PLC0415 - NumPy, only where something may be to be made

        content = self._blob(digest).read_bytes()
        packed = _Prospect(None, foretold(content, None))
        if nearest is None:
            return (packed,)
        return packed, _Prospect(nearest, foretold(content, self._base(nearest)))

    def _whole(self, digest: Digest) -> bytes | None:
        try:
            content = self._blob(digest).read_bytes()
        except (MissingFileError, OSError):
            return None
        return content if Digest.of(content) == digest else None

    def _there(self, digest: Digest, base: Digest | None) -> Encoding | None:
        """Return an encoding that was made before; the store is asked once for each."""
        key = _key(digest, base)
        if key not in self._made:
            path = self._kept.get(key)
            self._made[key] = None if path is None else _encoding(path, base)
        return self._made[key]

    def _made_now(self, digest: Digest, base: Digest | None) -> Encoding:
        with self._making:
            made = self._made.get(_key(digest, base))
            if made is None:
                from ota.deltas.encode import delta, packed  # noqa: PLC0415 - NumPy, as above

                content = self._blob(digest).read_bytes()
                encoded = packed(content) if base is None else delta(content, self._base(base))
                made = _encoding(self._kept.put(_key(digest, base), encoded), base)
                self._made[_key(digest, base)] = made
            return made

    def _base(self, digest: Digest) -> bytes:
        content = self._whole(digest)
        if content is None:
            raise MissingFileError("a base is not whole any more", where=str(digest))
        return content


def _encoding(path: Path, base: Digest | None) -> Encoding:
    content = path.read_bytes()
    return Encoding(path=path, digest=Digest.of(content), size_bytes=len(content), base=base)


def _key(digest: Digest, base: Digest | None) -> str:
    return f"{_FORM}:{digest.hex}" if base is None else f"{_FORM}:{digest.hex}:{base.hex}"


def _unlike(content: bytes, base: bytes) -> float:
    """Return which share of two files differs, by a few thousand places: enough to tell a fine-tuning from another scheme's file; above 1 where they differ in length."""
    if abs(len(content) - len(base)) > len(content) // 10:
        return 1.0 + len(base) / max(len(content), 1)
    step = max(1, len(content) // 4096)
    here, there = content[::step], base[::step]
    return sum(a != b for a, b in zip(here, there, strict=False)) / max(len(here), 1)
