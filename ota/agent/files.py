"""What is done to the device's files, composed of the primitives in `effects`: written, synced, renamed, never overwritten in place.

Invariant: when a function returns, what it did survives a power cut; when it is cut short, the old state or the new one is there, and what else it
left goes by the next `settle`.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from contextlib import contextmanager, suppress
from typing import Dict, Iterator, Optional, Tuple

from . import effects

CHUNK = 1024 * 1024
TEMPORARY = ".tmp"
_GONE = ".gone-"
READ_ONLY = "%s is on a read-only file system; mount it for writing (a failing card goes read-only by itself: see dmesg)"
_FULL = (errno.ENOSPC, errno.EDQUOT)


class FileFaultError(Exception):
    """A file operation that the device refused; the message says which and what to do."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def fault_of(error: OSError, path: str) -> FileFaultError:
    """Return the FileFaultError for an OSError on `path`."""
    if error.errno in _FULL:
        return FileFaultError("no_space", "the disk is full at %s; make room there" % path)
    if error.errno == errno.EROFS:
        return FileFaultError("read_only", READ_ONLY % path)
    if error.errno in (errno.EACCES, errno.EPERM):
        return FileFaultError(
            "permission",
            "%s may not be written by user %d; let it belong to that user" % (path, os.geteuid()),
        )
    if error.errno == errno.EIO:
        return FileFaultError(
            "io",
            "the disk fails at %s (%s); see dmesg, the card may have to be replaced" % (path, error.strerror),
        )
    return FileFaultError("io", "%s: %s" % (path, error.strerror or error))


@contextmanager
def unless_full() -> Iterator[None]:
    """Do what may be left undone where the disk is full: a note, never a step that another rests on."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise


def sync_folder(path: str) -> None:
    """Make the names in a folder durable."""
    effects.sync_folder(path)


def sync_file(path: str) -> None:
    """Make the content of a file durable; one that is not there is fine."""
    with suppress(FileNotFoundError), effects.reopen(path) as file:
        file.sync()


def make_folder(path: str) -> None:
    """Make a folder and those above it, durably; one that is there is left alone."""
    if os.path.isdir(path):
        return
    above = os.path.dirname(path)
    if above and above != path:
        make_folder(above)
    try:
        effects.mkdir(path)
    except FileExistsError as error:
        if os.path.isdir(path):
            return  # another agent was first
        message = "expected a folder at %s, found something else; move it away" % path
        raise FileFaultError("no_folder", message) from error
    effects.sync_folder(above)


def write_file(path: str, content: bytes, permitted: Optional[Tuple[int, int, int]] = None) -> None:
    """Put `content` at `path` by a temporary name, durably; `permitted` are its permissions, owner and group, those of any new file unless said."""
    temporary = path + TEMPORARY
    _drop(temporary)
    try:
        with effects.create(temporary) as file:
            if permitted is not None:
                file.permit(*permitted)
            file.write(content, 0)
            file.sync()
        effects.rename(temporary, path)
    except OSError:
        with suppress(OSError):
            _drop(temporary)
        raise
    effects.sync_folder(os.path.dirname(path))


def append_line(path: str, text: str) -> None:
    """Add one line to a file, durably; a torn last line of an earlier cut is closed first."""
    line = text.encode("utf-8") + b"\n"
    with open_kept(path) as file:
        size = file.size()
        if size and file.read(1, size - 1) != b"\n":
            line = b"\n" + line
        file.write(line, size)
        file.sync()


def open_kept(path: str) -> effects.File:
    """Open a file that is written in place, a journal or a lock; one that is not there is made, its name durable."""
    with suppress(FileNotFoundError):
        return effects.reopen(path)
    try:
        file = effects.create(path)
    except FileExistsError:
        # Another agent was first.
        return effects.reopen(path)
    effects.sync_folder(os.path.dirname(path))
    return file


def move(source: str, target: str) -> None:
    """Rename a file or folder durably; both lie in one folder."""
    effects.rename(source, target)
    effects.sync_folder(os.path.dirname(target))


def point(link: str, target: str) -> None:
    """Make the symbolic link `link` lead to `target` by one rename, durably."""
    temporary = link + TEMPORARY
    _drop(temporary)
    effects.symlink(target, temporary)
    effects.rename(temporary, link)
    effects.sync_folder(os.path.dirname(link))


def remove(path: str) -> None:
    """Remove a file or link, durably; one that is not there is fine."""
    if _drop(path):
        effects.sync_folder(os.path.dirname(path))


def remove_tree(path: str) -> None:
    """Remove a folder and all below; the name goes first and durably, so that a half removed folder is never taken for a whole one.

    What this user may not remove stays under a name that says so; `settle` tries again.
    """
    above, name = os.path.split(path)
    gone = path
    if not name.startswith(_GONE):
        gone = os.path.join(above, _GONE + name.lstrip("."))
        _empty(gone)
        effects.rename(path, gone)
    # Also where the name is that already: a run that was killed may have renamed it and not synced.
    effects.sync_folder(above)
    _empty(gone)
    effects.sync_folder(above)


def settle(folder: str) -> None:
    """Remove what an interrupted run left in a folder, and make the names there durable, for that run may have been killed before it did.

    What was left is a file or link with a temporary name, or a folder whose name begins with a dot.
    """
    if not os.path.isdir(folder):
        return
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        if os.path.isdir(path) and not os.path.islink(path):
            if name.startswith("."):
                remove_tree(path)
        elif name.endswith((TEMPORARY, ".again")):
            _drop(path)
    effects.sync_folder(folder)


def link_or_copy(source: str, target: str) -> None:
    """Give the content of `source` a second name, or copy it where links are not possible; durable but for the name."""
    try:
        effects.link(source, target)
    except FileExistsError:
        raise
    except OSError:
        _copy(source, target)


def _copy(source: str, target: str) -> None:
    with open(source, "rb") as original, effects.create(target) as file:
        done = 0
        for chunk in iter(lambda: original.read(CHUNK), b""):
            file.write(chunk, done)
            done += len(chunk)
        file.sync()


def _drop(path: str) -> bool:
    """Remove a file or link that may be there, not yet durably; return whether it was."""
    try:
        effects.unlink(path)
    except FileNotFoundError:
        return False
    return True


def _empty(folder: str) -> None:
    """Remove a folder that may be there with all in it, as far as this user may."""
    with suppress(OSError):
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
            if entry.is_dir(follow_symlinks=False):
                _empty(entry.path)
            else:
                with suppress(OSError):
                    effects.unlink(entry.path)
        effects.rmdir(folder)


def digest_of(path: str) -> Optional[str]:
    """Return the SHA-256 of a regular file in hex, None where there is none."""
    hashed = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return None
            while True:
                chunk = file.read(CHUNK)
                if not chunk:
                    return hashed.hexdigest()
                hashed.update(chunk)
    except OSError:
        return None


class Digests:
    """Digests of files for the length of one request: a file is read once, however many names lead to it."""

    def __init__(self) -> None:
        self._known: Dict[Tuple[int, int], Optional[str]] = {}

    def of(self, path: str) -> Optional[str]:
        """Return what `digest_of` returns."""
        try:
            found = os.stat(path)
        except OSError:
            return None
        file = (found.st_dev, found.st_ino)
        if file not in self._known:
            self._known[file] = digest_of(path)
        return self._known[file]


def free_bytes(path: str) -> int:
    """Return the bytes that this user may still write on the file system of `path` or of the nearest folder above it."""
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    numbers = os.statvfs(path)
    return numbers.f_bavail * numbers.f_frsize


def read_text(path: str, limit: int = 1024 * 1024) -> Optional[str]:
    """Return at most `limit` characters of a file, None where there is none."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(limit)
    except OSError:
        return None


def read_kept(path: str, limit: int = 1024 * 1024) -> Optional[str]:
    """Return at most `limit` characters of a file of ours, None where there is none; OSError where it cannot be read, for that is not the same."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(limit)
    except FileNotFoundError:
        return None
