"""A store that several controllers share, at any address that fsspec knows: candidates, datasets, outputs and selections; each controller keeps its own beside it.

Invariants: what comes from there is untrusted: a blob counts only where its SHA-256 is the one that it is called by, a record only where it can be read whole; what
is half written is written again. A store that cannot be read or written costs a warning and the slower way, never a wrong file and never the run.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from importlib import import_module
from typing import Any, TypeVar

from ota.core.release import Digest
from ota.errors import UsageError

T = TypeVar("T")
Warn = Callable[[str], None]
_FORMAT = 1
_MOST_RECORD = 1 << 28


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A selection as others find it: its record as it was kept, to the byte, its signatures (name, armored), and the answers of its candidates.

    Each answer is (candidate, host, runtime, probe, outputs), digests in hex.
    """

    record: str
    signatures: tuple[tuple[str, str], ...]
    answers: tuple[tuple[str, str, str, str, str], ...]


class SharedStore:
    """One address. After a fault it is left aside, for reading or for writing, and `warn` was told why; methods may be called from any thread."""

    def __init__(self, files: Any, folder: str, address: str, warn: Warn) -> None:
        self._files = files
        self._folder = folder.rstrip("/") + "/ota"
        self._address = address
        self._warn = warn
        self._aside: set[str] = set()

    @classmethod
    def open(cls, address: str, warn: Warn) -> SharedStore:
        """Return the store at an address, without looking at it yet.

        Raises:
            UsageError: nobody here knows such addresses.
        """
        try:
            # fsspec is an extra, and what it needs for an address is another.
            files, folder = import_module("fsspec.core").url_to_fs(address)
        except ImportError as error:
            raise UsageError(
                "the shared store needs a library that is not installed",
                where=_without_secret(address),
                found=str(error),
                hint="pip install 'ota[s3]' for s3://, fsspec and its driver for others",
            ) from error
        except ValueError as error:
            raise UsageError(
                "this is no address of a store", where=_without_secret(address), found=str(error)
            ) from error
        return cls(files, folder, _without_secret(address), warn)

    def blob(self, digest: Digest) -> bytes | None:
        """Return a blob, None where it is not there whole."""
        content = self._read(self._blob_path(digest))
        if content is not None and Digest.of(content) != digest:
            self.tell(f"has a damaged file for {digest.short}, which is left aside")
            return None
        return content

    def put_blob(self, content: bytes) -> None:
        """Keep a blob where it is not there whole already."""
        path = self._blob_path(Digest.of(content))
        if self._size(path) != len(content):
            self._write(path, content)

    def conversion(self, key: str) -> bytes | None:
        """Return what was made under a key of the conversions' cache, None where nothing was."""
        found = self._read(self._conversion_path(key))
        try:
            return None if found is None else self.blob(Digest(found.decode("ascii", "replace")))
        except ValueError:
            return None

    def keep(self, key: str, content: bytes) -> None:
        """Keep what was made under a key."""
        self.put_blob(content)
        path = self._conversion_path(key)
        if self._size(path) is None:
            self._write(path, Digest.of(content).hex.encode())

    def selections(self, play: str, model: str) -> tuple[str, ...]:
        """Return the ids of a play's selections, oldest first."""
        folder = self._selections_path(play, model)
        paths = self._tried("read", lambda: self._files.ls(folder, detail=False)) or ()
        names = (path.rsplit("/", 1)[-1] for path in paths)
        return tuple(sorted(name.removesuffix(".json") for name in names if name.endswith(".json")))

    def selection(self, play: str, model: str, identity: str) -> Published | None:
        """Return a selection by its whole id, None where it is not there whole."""
        content = self._read(f"{self._selections_path(play, model)}/{identity}.json")
        if content is None:
            return None
        try:
            return _published(content)
        except (ValueError, TypeError, KeyError) as error:
            self.tell(f"has a damaged record of the selection {identity}: {error}")
            return None

    def publish(self, play: str, model: str, identity: str, published: Published) -> None:
        """Keep a selection for others."""
        content = {
            "format": _FORMAT,
            "record": published.record,
            "signatures": [list(one) for one in published.signatures],
            "answers": [list(one) for one in published.answers],
        }
        path = f"{self._selections_path(play, model)}/{identity}.json"
        self._write(path, json.dumps(content).encode())

    def tell(self, what: str) -> None:
        """Warn of something about this store."""
        self._warn(f"the shared store {self._address} {what}")

    def _blob_path(self, digest: Digest) -> str:
        return f"{self._folder}/blobs/{digest.hex[:2]}/{digest.hex}"

    def _conversion_path(self, key: str) -> str:
        return f"{self._folder}/conversions/{sha256(key.encode()).hexdigest()}"

    def _selections_path(self, play: str, model: str) -> str:
        return f"{self._folder}/selections/{model}/{sha256(play.encode()).hexdigest()[:16]}"

    def _read(self, path: str) -> bytes | None:
        return self._tried("read", lambda: bytes(self._files.cat_file(path)))

    def _size(self, path: str) -> int | None:
        return self._tried("written", lambda: int(self._files.info(path)["size"]))

    def _write(self, path: str, content: bytes) -> None:
        self._tried("written", lambda: self._put(path, content))

    def _put(self, path: str, content: bytes) -> None:
        """Write a file by a temporary name where the address is a folder; object stores put whole objects."""
        parent = path.rsplit("/", 1)[0]
        is_folder = "file" in self._files.protocol
        first = f"{parent}/.{uuid.uuid4().hex}" if is_folder else path
        try:
            self._files.pipe_file(first, content)
        except FileNotFoundError:
            # Where there are folders at all, this one is not there yet.
            self._files.makedirs(parent, exist_ok=True)
            self._files.pipe_file(first, content)
        if is_folder:
            self._files.mv(first, path)

    def _tried(self, what: str, action: Callable[[], T]) -> T | None:
        """Return what the store answers, None where it has nothing or fails; drivers raise errors of their own kinds."""
        if what in self._aside:
            return None
        try:
            return action()
        except FileNotFoundError:
            return None
        except Exception as error:  # noqa: BLE001 - every driver has its own tree of errors, and none may end the run
            self._aside.add(what)
            said = str(error).splitlines()[0][:300] if str(error) else type(error).__name__
            self.tell(f"cannot be {what}: {said}; going on without it")
            return None


def _published(content: bytes) -> Published:
    if len(content) > _MOST_RECORD:
        raise ValueError(f"expected at most {_MOST_RECORD} bytes, found {len(content)}")
    fields = json.loads(content)
    if fields["format"] != _FORMAT or not isinstance(fields["record"], str):
        raise ValueError("a form that this ota does not know")
    signatures = tuple((_text(name), _text(armored)) for name, armored in fields["signatures"])
    answers = tuple(tuple(map(_text, one)) for one in fields["answers"])
    if any(len(one) != 5 for one in answers):
        raise ValueError("a form that this ota does not know")
    return Published(record=fields["record"], signatures=signatures, answers=answers)  # type: ignore[arg-type]  # counted above


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected text, found {value!r}"[:100])
    return value


def _without_secret(address: str) -> str:
    """Return an address without the user and password that some have."""
    scheme, found, rest = address.partition("://")
    host, slash, path = rest.partition("/")
    return scheme + found + host.rpartition("@")[2] + slash + path if found else address
