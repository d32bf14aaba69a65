"""One benchmark at a time on one machine, whoever runs it and in whatever ota_root.

The lock is a flock on a file that every user of the machine may open: to read it is enough to lock it, nothing is ever written to it, a link in its place is not
followed and what is no plain file is not taken.
"""

from __future__ import annotations

import fcntl
import os
import stat
import time
from contextlib import contextmanager
from typing import Callable, Iterator, Optional, Sequence

from .dialogue import RefusedError

FOLDERS = ("/run/lock", "/tmp")  # noqa: S108 - every user of this machine must find it
NAME = "ota-bench.lock"
WAIT_S = 60.0
_LOOK_S = 0.1


@contextmanager
def alone(
    tick: Callable[[], None], wait_s: float = WAIT_S, folders: Sequence[str] = FOLDERS
) -> Iterator[None]:
    """Hold the machine's benchmark lock; where no lock can be had at all, none is held. `tick` is called while waiting.

    Raises:
        RefusedError: somebody else held it for `wait_s` seconds.
    """
    handle = _opened(folders)
    try:
        until = time.monotonic() + wait_s
        while handle is not None and not _taken(handle):
            if time.monotonic() >= until:
                raise RefusedError(
                    "busy", "another benchmark has been running on this machine for %g s" % wait_s
                )
            tick()
            time.sleep(_LOOK_S)
        yield
    finally:
        if handle is not None:
            os.close(handle)


def _taken(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _opened(folders: Sequence[str]) -> Optional[int]:
    """Open the lock file, made where it is missing and readable by everybody whatever our umask says."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    for folder in folders:
        for more in (0, os.O_CREAT | os.O_EXCL, 0):
            try:
                handle = os.open(os.path.join(folder, NAME), flags | more, 0o644)
            except OSError:
                continue
            if stat.S_ISREG(os.fstat(handle).st_mode):
                if more:
                    os.fchmod(handle, 0o644)
                return handle
            os.close(handle)
    return None
