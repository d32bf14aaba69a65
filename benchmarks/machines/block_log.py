"""A real ext4 under a block write log: what reached the disk, in which order and with which flushes, and every disk that a power cut may leave of it.

qemu-storage-daemon serves an image through its `blklogwrites` driver as a FUSE file, which is mounted by a loop device. The log's form is that of the
kernel's dm-log-writes (Documentation/admin-guide/device-mapper/log-writes.rst).
"""

from __future__ import annotations

import os
import random
import shutil
import struct
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

_SECTOR = 512
_BLOCK = 4096
_HEADER = struct.Struct("<QQQQ")
_MAGIC = 0x6A736677736872
_FLUSH, _FUA, _DISCARD = 1, 2, 4
_DISK_BYTES = 24 << 20
_LOG_BYTES = 1 << 30
_WAIT_S = 10.0
_PROGRAMS = ("qemu-storage-daemon", "mke2fs", "mount", "umount")
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def missing() -> str:
    """Return why no file system can be recorded here, empty where one can."""
    absent = [name for name in _PROGRAMS if shutil.which(name, path=_PATH) is None]
    if absent:
        return f"{', '.join(absent)} is not here (apt-get install qemu-utils e2fsprogs fuse3)"
    if os.geteuid() != 0:
        return "only root may mount a file system"
    devices = [name for name in ("/dev/fuse", "/dev/loop-control") if not Path(name).exists()]
    return f"{', '.join(devices)} is not here" if devices else ""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the log: a write at a place in bytes, and whether it is on the disk when it ends; a flush writes nothing."""

    offset: int
    data: bytes
    is_flush: bool
    is_durable: bool


def make_disk(path: Path) -> None:
    """Make an ext4 that writes nothing in the background."""
    path.unlink(missing_ok=True)
    lazy = "lazy_itable_init=0,lazy_journal_init=0"
    _run("mke2fs", "-q", "-t", "ext4", "-b", "4096", "-E", lazy, path, f"{_DISK_BYTES >> 10}k")


@contextmanager
def mounted(image: Path, folder: Path) -> Iterator[Path]:
    """Mount an image as an ordinary ext4 that commits its journal each second; RuntimeError where it does not mount."""
    folder.mkdir(exist_ok=True)
    _run("mount", "-t", "ext4", "-o", "loop,commit=1", image, folder)
    try:
        yield folder
    finally:
        _unmount(folder)


class Recording:
    """The log of what is written to `image` while it is served; a context manager whose value is the file to mount."""

    def __init__(self, image: Path) -> None:
        self._image = image
        self._log = image.with_suffix(".log")
        self._served = image.with_suffix(".served")
        self._process: subprocess.Popen[bytes] | None = None
        self._read_to, self._entries = _SECTOR, list[Entry]()

    def __enter__(self) -> Path:
        self._log.unlink(missing_ok=True)
        with self._log.open("wb") as file:
            file.truncate(_LOG_BYTES)
        self._served.touch()
        size = self._served.stat().st_size
        self._process = subprocess.Popen((
            "qemu-storage-daemon",
            *("--blockdev", f"driver=file,node-name=disk,filename={self._image}"),
            *("--blockdev", f"driver=file,node-name=log,filename={self._log}"),
            *("--blockdev", f"driver=blklogwrites,node-name=both,file=disk,log=log,log-sector-size={_SECTOR}"),
            *("--export", f"type=fuse,id=served,node-name=both,mountpoint={self._served},writable=on"),
        ))  # fmt: skip
        ends = time.monotonic() + _WAIT_S
        while self._served.stat().st_size == size:
            if time.monotonic() > ends or self._process.poll() is not None:
                self.__exit__()
                raise RuntimeError("qemu-storage-daemon does not serve the disk")
            time.sleep(0.02)
        return self._served

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()

    def entries(self) -> Sequence[Entry]:
        """Return what has been logged until now."""
        with self._log.open("rb") as file:
            file.seek(0)
            if struct.unpack("<Q", file.read(8))[0] != _MAGIC:
                return ()
            file.seek(self._read_to)
            while any(header := file.read(_HEADER.size)):
                sector, sectors, flags, _ = _HEADER.unpack(header)
                file.seek(self._read_to + _SECTOR)
                size = sectors * _SECTOR
                data = bytes(size) if flags & _DISCARD else file.read(size)
                self._read_to += _SECTOR + (0 if flags & _DISCARD else size)
                file.seek(self._read_to)
                self._entries.append(
                    Entry(
                        offset=sector * _SECTOR,
                        data=data,
                        is_flush=bool(flags & _FLUSH),
                        is_durable=bool(flags & _FUA),
                    )
                )
        return tuple(self._entries)


@dataclass(frozen=True, slots=True)
class Cut:
    """A disk that a cut may leave behind the first `after` entries: `lost` blocks of those that no flush had followed are not on it."""

    after: int
    lost: int
    content: bytes


def cuts(start: bytes, entries: Sequence[Entry], *, draws: int, seed: int = 0) -> Iterator[Cut]:
    """Yield the disk at every entry: with all that was written, with nothing unflushed, and `draws` times with random blocks of it, in order."""
    chance = random.Random(seed)
    flushed = bytearray(start)
    loose: list[Entry] = []
    for after in range(len(entries) + 1):
        if after:
            entry = entries[after - 1]
            if entry.is_flush:
                for one in loose:
                    _put(flushed, one)
                loose = []
            loose += _blocks(entry)
        durable = {place for place, one in enumerate(loose) if one.is_durable}
        everything = set(range(len(loose)))
        kept = [everything]
        if everything - durable:
            kept.append(durable)
            kept += [durable | {one for one in everything if chance.random() < 0.5} for _ in range(draws)]
        for places in kept:
            content = bytearray(flushed)
            for place in sorted(places):
                _put(content, loose[place])
            yield Cut(after=after, lost=len(loose) - len(places), content=bytes(content))


def _blocks(entry: Entry) -> list[Entry]:
    """Return an entry as writes of one block each: a long write may be cut short anywhere."""
    return [
        replace(entry, offset=entry.offset + place, data=entry.data[place : place + _BLOCK])
        for place in range(0, len(entry.data), _BLOCK)
    ]


def _put(disk: bytearray, entry: Entry) -> None:
    disk[entry.offset : entry.offset + len(entry.data)] = entry.data


def _unmount(folder: Path) -> None:
    ends = time.monotonic() + _WAIT_S
    while True:
        try:
            return _run("umount", folder)
        except RuntimeError:
            if time.monotonic() > ends:
                raise
            time.sleep(0.05)


def _run(*argv: str | Path) -> None:
    done = subprocess.run(
        argv, capture_output=True, text=True, check=False, env={**os.environ, "PATH": _PATH}
    )
    if done.returncode:
        raise RuntimeError(f"{argv[0]} failed: {done.stderr[-2000:]}")
