"""The primitives through which every effect of the agent on files passes: one system call each, nothing composed.

Invariant: what is recorded is what happens, for no other module of the agent changes a file. Excepted are a virtual environment that pip fills, and what
benchmark processes, commands and `ssh-keygen` are handed in temporary files: none of it is part of the release store.

`observer`, where one is set, hears of each effect before it happens; what it raises keeps the effect from happening. Unset, it costs one comparison.
"""

from __future__ import annotations

import os
from types import TracebackType
from typing import Callable, NamedTuple, Optional, Type


class Effect(NamedTuple):
    """One effect on files.

    `name` is the function or method of this module. `other` is the second name of a rename (where to), a link (the new name) or a symlink (what it
    leads to); `data` and `offset` are what is written and where; a truncation's size is its `offset`.
    """

    name: str
    path: str
    other: str = ""
    data: bytes = b""
    offset: int = 0


observer: Optional[Callable[[Effect], None]] = None


def _tell(name: str, path: str, other: str = "", data: bytes = b"", offset: int = 0) -> None:
    if observer is not None:
        observer(Effect(name, path, other, data, offset))


class File:
    """A regular file, open for reading and writing, without a buffer: each effect is a system call."""

    def __init__(self, path: str, handle: int) -> None:
        self.path = path
        self._handle = handle

    def __enter__(self) -> "File":  # noqa: PYI034 - Python 3.7 has no Self
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.close()

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._handle

    def size(self) -> int:
        """Return the size in bytes."""
        return os.fstat(self._handle).st_size

    def read(self, count: int, offset: int) -> bytes:
        """Return at most `count` bytes from `offset`, none at the end."""
        return os.pread(self._handle, count, offset)

    def write(self, data: bytes, offset: int) -> None:
        """Write all of `data` at `offset`; OSError where the disk takes no more."""
        while data:
            _tell("write", self.path, data=data, offset=offset)
            done = os.pwrite(self._handle, data, offset)
            data, offset = data[done:], offset + done

    def truncate(self, size: int) -> None:
        """Cut the file to `size` bytes."""
        _tell("truncate", self.path, offset=size)
        os.ftruncate(self._handle, size)

    def sync(self) -> None:
        """Make the content durable; the name is its folder's affair."""
        _tell("sync", self.path)
        os.fsync(self._handle)

    def permit(self, mode: int, owner: int, group: int) -> None:
        """Give the file permissions and an owner; OSError where this user may not."""
        _tell("permit", self.path)
        os.fchmod(self._handle, mode)
        there = os.fstat(self._handle)
        if (there.st_uid, there.st_gid) != (owner, group):
            os.fchown(self._handle, owner, group)

    def close(self) -> None:
        """Close the file, which makes nothing durable."""
        os.close(self._handle)


def create(path: str) -> File:
    """Make an empty file that is not there yet; FileExistsError where something is."""
    _tell("create", path)
    return File(path, os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))


def reopen(path: str) -> File:
    """Open a file that is there; FileNotFoundError where none is. It has no effect by itself."""
    return File(path, os.open(path, os.O_RDWR | os.O_CLOEXEC))


def sync_folder(path: str) -> None:
    """Make the names in a folder durable."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _tell("sync_folder", path)
        os.fsync(handle)
    finally:
        os.close(handle)


def rename(source: str, target: str) -> None:
    """Give a file, link or folder another name, in place of what has that name."""
    _tell("rename", source, target)
    os.rename(source, target)


def link(source: str, target: str) -> None:
    """Give a file a second name."""
    _tell("link", source, target)
    os.link(source, target)


def symlink(target: str, path: str) -> None:
    """Make `path` lead to `target`."""
    _tell("symlink", path, target)
    os.symlink(target, path)


def unlink(path: str) -> None:
    """Take the name of a file or link away."""
    _tell("unlink", path)
    os.unlink(path)


def mkdir(path: str) -> None:
    """Make a folder."""
    _tell("mkdir", path)
    os.mkdir(path)


def rmdir(path: str) -> None:
    """Remove an empty folder."""
    _tell("rmdir", path)
    os.rmdir(path)
