"""Every effect on the device's files, and no other module has any: written, synced, renamed, never overwritten in place.

Invariant: when a function returns, what it did survives a power cut; when it is cut short, the old state or the new one is there.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
from typing import Optional

CHUNK = 1024 * 1024


class FileFaultError(Exception):
    """A file operation that the device refused; the message says which and what to do."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def fault_of(error: OSError, path: str) -> FileFaultError:
    """Return the FileFaultError for an OSError on `path`."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return FileFaultError("no_space", "the disk is full at %s" % path)
    if error.errno == errno.EROFS:
        return FileFaultError("read_only", "%s is on a read-only file system" % path)
    if error.errno in (errno.EACCES, errno.EPERM):
        return FileFaultError("permission", "%s may not be written by this user" % path)
    return FileFaultError("io", "%s: %s" % (path, error.strerror or error))


def sync_folder(path: str) -> None:
    """Make the names in a folder durable."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(path: str) -> None:
    """Make a folder and those above it, durably; one that is there is left alone."""
    if os.path.isdir(path):
        return
    above = os.path.dirname(path)
    if above and above != path:
        make_folder(above)
    try:
        os.mkdir(path)
    except FileExistsError:
        return
    sync_folder(above)


def write_file(path: str, content: bytes) -> None:
    """Put `content` at `path` by a temporary name, durably."""
    temporary = path + ".tmp"
    with open(temporary, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    sync_folder(os.path.dirname(path))


def append_line(path: str, text: str) -> None:
    """Add one line to a file, durably; a torn last line of an earlier cut is closed first."""
    with open(path, "ab+") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.write(b"\n")
        file.write(text.encode("utf-8") + b"\n")
        file.flush()
        os.fsync(file.fileno())


def move(source: str, target: str) -> None:
    """Rename a file or folder durably; both lie in one folder."""
    os.replace(source, target)
    sync_folder(os.path.dirname(target))


def point(link: str, target: str) -> None:
    """Make the symbolic link `link` lead to `target` by one rename, durably."""
    temporary = link + ".tmp"
    remove(temporary)
    os.symlink(target, temporary)
    os.replace(temporary, link)
    sync_folder(os.path.dirname(link))


def remove(path: str) -> None:
    """Remove a file or link, durably; one that is not there is fine."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
    sync_folder(os.path.dirname(path))


def remove_tree(path: str) -> None:
    """Remove a folder and all below; the name goes first, so that a half removed folder is never taken for a whole one."""
    gone = os.path.join(os.path.dirname(path), ".gone-" + os.path.basename(path).lstrip("."))
    if path != gone:
        shutil.rmtree(gone, ignore_errors=True)
        os.rename(path, gone)
    shutil.rmtree(gone, ignore_errors=True)
    sync_folder(os.path.dirname(path))


def link_or_copy(source: str, target: str) -> None:
    """Give the content of `source` a second name, or copy it where links are not possible; durable but for the name."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
        with open(target, "rb") as file:
            os.fsync(file.fileno())


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
